//! What the hosts of a round share.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use openagents_e2e::Dice;
use openagents_server::{Clock, Durability};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::archive::Archive;
use crate::journal::{Entry, Fact, Journal};
use crate::plan::{Flaw, Plan};

/// When every round begins, by the wall clock: milliseconds since 1970.
const EPOCH_MS: u64 = 1_800_000_000_000;

/// What the hosts of a round share. Their tasks are in one thread, but the client and the server do not know that.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) plan: Plan,
    /// The folder of the workspace.
    pub(crate) data: PathBuf,
    pub(crate) journal: Journal,
    /// Where something may be removed, what there ever was.
    pub(crate) archive: Archive,
    /// Since the beginning of the round.
    now_ms: AtomicU64,
    /// How far the wall clock of the server is off.
    skew_ms: AtomicI64,
    /// The wall clock of the process; absent where nobody simulates it.
    wall: Option<File>,
    lives: Vec<AtomicU32>,
    /// When the server answered each agent last.
    answered_ms: Vec<AtomicU64>,
    /// The faults are over: agents finish what they do and begin nothing new.
    pub(crate) over: AtomicBool,
    /// The server is to stop and start again, in good order.
    pub(crate) restart: Notify,
    /// The server is to stop for good.
    pub(crate) stop: CancellationToken,
    pub(crate) stopped: AtomicBool,
}

impl Scene {
    pub(crate) fn new(plan: Plan, data: &Path) -> Arc<Self> {
        let wall = std::env::var_os("SIMULATED_CLOCK").map(|path| {
            let file = File::options().write(true).open(path);
            file.expect("the clock of the simulation can be set")
        });
        let scene = Self {
            data: data.to_owned(),
            journal: Journal::default(),
            archive: Archive::default(),
            now_ms: AtomicU64::new(0),
            skew_ms: AtomicI64::new(0),
            wall,
            // The last one is for the server.
            lives: (0..=plan.agents.len()).map(|_| AtomicU32::new(0)).collect(),
            answered_ms: plan.agents.iter().map(|_| AtomicU64::new(0)).collect(),
            over: AtomicBool::new(false),
            restart: Notify::new(),
            stop: CancellationToken::new(),
            stopped: AtomicBool::new(false),
            plan,
        };
        scene.pass(Duration::ZERO);
        Arc::new(scene)
    }

    /// It is this much later than at the beginning.
    pub(crate) fn pass(&self, elapsed: Duration) {
        let now_ms = u64::try_from(elapsed.as_millis()).expect("rounds are short");
        self.now_ms.store(now_ms, Ordering::Relaxed);
        if let Some(wall) = &self.wall {
            let nanoseconds = (EPOCH_MS + now_ms) * 1_000_000;
            wall.write_all_at(&nanoseconds.to_ne_bytes(), 0)
                .expect("the clock of the simulation can be set");
        }
    }

    /// Whether the process was started with `preload/simulated.c`, so that chance and the disk are simulated too.
    pub(crate) fn is_simulated(&self) -> bool {
        self.wall.is_some()
    }

    /// The wall clock of the server jumps.
    pub(crate) fn jump(&self, by_ms: i64) {
        self.skew_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// The wall clock of the server.
    pub(crate) fn clock(self: &Arc<Self>) -> Clock {
        let scene = Arc::clone(self);
        Clock::new(move || {
            let now_ms = EPOCH_MS + scene.now_ms.load(Ordering::Relaxed);
            now_ms.saturating_add_signed(scene.skew_ms.load(Ordering::Relaxed))
        })
    }

    /// Another process of a host begins; the server is the host after the agents.
    pub(crate) fn begin(&self, host: usize) -> u32 {
        let life = self.lives[host].fetch_add(1, Ordering::Relaxed) + 1;
        self.tell(self.name(host), life, Fact::Began);
        life
    }

    /// The server answered an agent.
    pub(crate) fn answered(&self, host: usize) {
        self.answered_ms[host].store(self.now_ms.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether the server answered every agent within the last moments.
    pub(crate) fn is_everybody_there(&self) -> bool {
        let now_ms = self.now_ms.load(Ordering::Relaxed);
        self.answered_ms
            .iter()
            .all(|answered_ms| now_ms - answered_ms.load(Ordering::Relaxed) < 4_000)
    }

    fn name(&self, host: usize) -> &str {
        match self.plan.agents.get(host) {
            Some(agent) => &agent.name,
            None => "server",
        }
    }

    pub(crate) fn tell(&self, who: &str, life: u32, fact: Fact) {
        self.journal.write(Entry {
            at_ms: self.now_ms.load(Ordering::Relaxed),
            who: who.to_owned(),
            life,
            fact,
        });
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Chance of its own for whoever needs some, the same in every run of a seed.
    pub(crate) fn dice(&self, whose: u64, life: u32) -> Dice {
        Dice::new(self.plan.seed ^ (whose + 1).wrapping_mul(0x9e37_79b9) ^ (u64::from(life) << 40))
    }

    /// What the server of this round promises; a flawed one promises less than it says.
    pub(crate) fn durability(&self) -> Durability {
        match self.plan.flaw {
            Some(Flaw::AcknowledgesTooEarly) => Durability::Os,
            _ => self.plan.durability,
        }
    }
}
