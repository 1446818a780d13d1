//! `cargo xtask map`: the rules of `ARCHITECTURE.md` that a machine can check.
//!
//! Each rule is one sentence and one function that lists what breaks it. All of them run, so that one look
//! shows everything there is to repair.

mod chapters;
mod graph;
mod house;
mod naming;
mod speech;

use anyhow::{Result, bail};

use crate::place::Place;
use crate::print::{self, Look};
use house::House;

/// A sentence that is true of the source, and a way to find where it is not.
struct Rule {
    sentence: &'static str,
    /// What breaks the rule, one line each.
    broken: fn(&House) -> Vec<String>,
}

const RULES: &[Rule] = &[
    Rule {
        sentence: "crates use each other only in the direction of the drawing",
        broken: graph::direction,
    },
    Rule {
        sentence: "HTTP, gRPC and WebSocket libraries stay in server, client and e2e",
        broken: graph::transport,
    },
    Rule {
        sentence: "only store knows a storage engine",
        broken: graph::storage,
    },
    Rule {
        sentence: "client is built without any server-side crate",
        broken: graph::small_client,
    },
    Rule {
        sentence: "types of workspace are not serializable",
        broken: naming::plain_workspace,
    },
    Rule {
        sentence: "every crate takes the lints of the workspace",
        broken: naming::shared_lints,
    },
    Rule {
        sentence: "a module with children is a file beside its folder, never mod.rs",
        broken: naming::no_mod_rs,
    },
    Rule {
        sentence: "files are named for what is in them",
        broken: naming::telling_names,
    },
    Rule {
        sentence: "every crate has its paragraph in ARCHITECTURE.md",
        broken: chapters::described,
    },
    Rule {
        sentence: "every file in changes/ says something",
        broken: chapters::changes,
    },
    Rule {
        sentence: "the project speaks only of itself",
        broken: speech::only_of_itself,
    },
];

/// Checks every rule and lists what breaks them.
pub(crate) fn run(place: &Place) -> Result<()> {
    let house = House::read(place)?;
    let mut count = 0;
    for rule in RULES {
        let broken = (rule.broken)(&house);
        let mark = if broken.is_empty() {
            print::paint(Look::Green, "holds ")
        } else {
            print::paint(Look::Red, "BROKEN")
        };
        print::note(&format!("{mark} {}", rule.sentence));
        for line in &broken {
            print::note(&format!("         {line}"));
        }
        count += usize::from(!broken.is_empty());
    }
    if count != 0 {
        bail!("{count} of {} rules of the map are broken", RULES.len());
    }
    Ok(())
}
