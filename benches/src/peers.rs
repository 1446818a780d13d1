//! The systems that are measured: ours, and what it stands beside.

pub(crate) mod echo;
pub(crate) mod engine;
pub(crate) mod legacy;
pub(crate) mod nats;
pub(crate) mod ours;
pub(crate) mod text;

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// How long anything may stay away before it counts as lost.
const PATIENCE: Duration = Duration::from_mins(1);

/// Publishes that wait for their acknowledgement where many are in flight.
pub(crate) const IN_FLIGHT: usize = 1000;

/// Somebody who sends one message after the other to somebody else.
pub(crate) trait OneWay: Send {
    /// Sends one; the time from before the call to the moment in which the other side's code has it.
    fn send(&mut self) -> impl Future<Output = Result<Duration>> + Send;
}

/// Somebody whose publishes are acknowledged.
pub(crate) trait Publishes: Send + Sync + 'static {
    /// Sends one; what is returned ends with the acknowledgement.
    fn publish(
        &self,
    ) -> impl Future<Output = Result<impl Future<Output = Result<()>> + Send + 'static>> + Send;
}

/// The times of so many messages.
pub(crate) async fn one_way(pair: &mut impl OneWay, count: usize) -> Result<Vec<Duration>> {
    let mut samples = Vec::with_capacity(count);
    for _ in 0..count {
        samples.push(within(pair.send()).await??);
    }
    Ok(samples)
}

/// Publishes until then, each after the acknowledgement of the one before; how many.
pub(crate) async fn one_at_a_time(publisher: &impl Publishes, until: Instant) -> Result<u64> {
    let mut sent = 0;
    while Instant::now() < until {
        within(publisher.publish().await?).await??;
        sent += 1;
    }
    Ok(sent)
}

/// Publishes while the condition on the number holds, many in flight, and waits for all acknowledgements; how many.
pub(crate) async fn pipelined(publisher: &impl Publishes, go_on: impl Fn(u64) -> bool) -> Result<u64> {
    let (in_flight, mut settling) = mpsc::channel(IN_FLIGHT);
    let settled = TaskTracker::new().spawn(async move {
        while let Some(acknowledged) = settling.recv().await {
            within(acknowledged).await??;
        }
        anyhow::Ok(())
    });
    let mut sent = 0;
    while go_on(sent) {
        let Ok(room) = in_flight.reserve().await else {
            break;
        };
        room.send(publisher.publish().await?);
        sent += 1;
    }
    drop(in_flight);
    settled.await??;
    Ok(sent)
}

/// Publishes so many a second, in time with the clock, until it is dropped; what there is no room for is left out.
pub(crate) async fn at_rate(publisher: &impl Publishes, per_second: u32) {
    const TICKS: u32 = 1000;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / TICKS);
    loop {
        ticks.tick().await;
        for _ in 0..per_second / TICKS {
            let Ok(acknowledged) = publisher.publish().await else {
                break;
            };
            drop(acknowledged);
        }
    }
}

/// Waits for what has to come.
pub(crate) async fn within<F: Future>(future: F) -> Result<F::Output> {
    tokio::time::timeout(PATIENCE, future)
        .await
        .context("something did not arrive")
}
