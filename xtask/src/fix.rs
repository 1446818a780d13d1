//! `cargo xtask fix`: what a machine can do before a person looks.

use anyhow::Result;

use crate::place::Place;
use crate::step::{self, Step};

/// Applies the suggestions of the lints, then formats: a fix may leave lines too long.
pub(crate) fn run(place: &Place) -> Result<()> {
    step::run_all(
        place,
        &[
            Step {
                title: "lint: apply the suggestions of clippy",
                run: apply_suggestions,
            },
            Step {
                title: "format: rustfmt",
                run: format,
            },
        ],
    )
}

fn apply_suggestions(place: &Place) -> Result<()> {
    let arguments = [
        "clippy",
        "--fix",
        "--allow-dirty",
        "--allow-staged",
        "--workspace",
        "--all-targets",
    ];
    place.cargo().args(arguments).run()
}

fn format(place: &Place) -> Result<()> {
    place.cargo().args(["fmt", "--all"]).run()?;
    place
        .cargo()
        .args(["fmt", "--manifest-path", "fuzz/Cargo.toml"])
        .run()
}
