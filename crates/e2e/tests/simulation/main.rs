//! The real router, store and client in a simulated network and time, played from seeds.
//!
//! A round has a server with a real store on a real directory, and several agents with the real client; both get the
//! streams of a simulated network. Everything runs in one thread. In the processes that [`player`] starts, chance and the
//! wall clock follow from the seed as well, so that a seed that fails fails again.

mod agent;
mod answers;
mod archive;
mod checker;
mod disk;
mod flawed;
mod journal;
mod model;
mod network;
mod plan;
mod player;
mod removals;
mod round;
mod scene;
mod server;

use futures_util::{StreamExt, TryStreamExt};
use plan::{Plan, Removing};
use player::Player;
use round::Verdict;

/// Plays one round in this process; the one it was started for, if it was.
#[test]
fn a_round_holds() -> anyhow::Result<()> {
    if player::play_ours()?.is_some() {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let verdict = round::play(Plan::new(7, None, Removing::None), &directory.path().join("data"))?;
    assert!(verdict.broken.is_empty(), "{:#?}", verdict.broken);
    Ok(())
}

#[tokio::test]
async fn a_seed_plays_the_same_round_every_time() -> anyhow::Result<()> {
    let player = Player::new().await?;
    // With everything kept, and with what is old removed.
    for seed in [1, 3] {
        let (first, second) = tokio::try_join!(player.play(seed, None), player.play(seed, None))?;
        assert_eq!(first.trace, second.trace);
        assert_eq!(first.removed.is_some_and(|removed| 0 < removed), seed == 3);
    }
    Ok(())
}

/// The checker finds what is wrong with a broken build, and with each of them something that fits.
#[tokio::test]
async fn the_checker_catches_every_flaw() -> anyhow::Result<()> {
    let player = Player::new().await?;
    let player = &player;
    let flaws = [
        ("acknowledges_too_early", "is not in the log"),
        ("loses_deliveries", "was never handled by"),
        ("doubles_deliveries", "in the log it is at None"),
        ("leaks_messages", "which is not for it"),
        ("mixes_answers", "was answered with"),
        ("forgets_cursors", "went back from"),
        ("removes_unread", "who was there lately, had handled it"),
        ("keeps_silent", "which was never told so"),
        ("loses_records", "and no record says so"),
    ];
    assert_eq!(flaws.map(|(flaw, _)| flaw), plan::Flaw::ALL.map(|(name, _)| name));
    let rounds = futures_util::stream::iter(flaws);
    let rounds = rounds.map(async |(flaw, sign)| anyhow::Ok((flaw, sign, player.play(2, Some(flaw)).await?)));
    let rounds: Vec<_> = rounds.buffered(2).try_collect().await?;
    for (flaw, sign, verdict) in rounds {
        let found = verdict.broken.iter().any(|broken| broken.contains(sign));
        assert!(found, "{flaw}: {:#?}", verdict.broken);
    }
    Ok(())
}

/// `SIMULATION_SEED` is the first seed, `SIMULATION_ROUNDS` how many there are from there on, and `SIMULATION_RETENTION` says
/// which of them remove what is old: `some` (every third), `all` or `none`.
#[tokio::test]
async fn rounds_of_many_seeds_hold() -> anyhow::Result<()> {
    let number = |name, default| std::env::var(name).map_or(Ok(default), |text| text.parse());
    let (first, rounds) = (number("SIMULATION_SEED", 1)?, number("SIMULATION_ROUNDS", 4)?);
    let player = Player::new().await?;
    let seeds = futures_util::stream::iter(first..first + rounds);
    let verdicts = seeds.map(|seed| player.play(seed, None)).buffered(2);
    let verdicts: Vec<Verdict> = verdicts
        .inspect_ok(|verdict| println!("{}", verdict.row()))
        .try_collect()
        .await?;
    let broken = verdicts.iter().filter(|verdict| !verdict.broken.is_empty());
    let broken: Vec<u64> = broken.map(|verdict| verdict.seed).collect();
    assert!(broken.is_empty(), "broken promises in the rounds of {broken:?}");
    Ok(())
}
