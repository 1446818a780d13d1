//! From the call that publishes to the handler that is called.

use clap::Args;
use hdrhistogram::Histogram;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use anyhow::Context;
use openagents_client::Event;

use crate::command::bench::{Extent, PATIENCE, message_to};
use crate::connect::Endpoint;
use crate::outcome::receipt;
use crate::output::{self, Output};

/// Messages that are sent first and do not count.
const WARM_UP: u64 = 100;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    extent: Extent,
    /// Bytes of text in a message
    #[arg(long, value_name = "BYTES", default_value_t = 256)]
    size: usize,
    #[command(flatten)]
    endpoint: Endpoint,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let Arguments {
        extent,
        size,
        endpoint,
    } = arguments;
    let sender = endpoint.join().await?;
    let receiver = endpoint.join().await?;
    // One message is under way at a time.
    let (arrival, mut arrivals) = mpsc::channel(1);
    let source = sender.agent_id();
    receiver.register_event_handler("direct.message.received", move |event: Event| {
        let now = Instant::now();
        let (arrival, ours) = (arrival.clone(), event.source_id == source);
        async move {
            if ours {
                arrival.send(now).await.map_err(|_| "the measurement ended")
            } else {
                Ok(())
            }
        }
    })?;

    let mut times = Histogram::<u64>::new(3).context("cannot keep times")?;
    let mut message = message_to(&receiver.agent_id(), size);
    let mut sent = 0;
    let mut started = Instant::now();
    while sent < extent.count().saturating_add(WARM_UP) && started.elapsed() < extent.duration() {
        // Without an id each is a message of its own.
        message.event_id.clear();
        let event = message.clone();
        let before = Instant::now();
        let pending = sender.publish(event)?;
        let arrived = timeout(PATIENCE, arrivals.recv())
            .await
            .context("a message did not arrive")?;
        let arrived = arrived.context("the handler ended")?;
        receipt(pending.await)?;
        sent += 1;
        if sent == WARM_UP {
            started = Instant::now();
        } else if WARM_UP < sent {
            let nanoseconds = arrived.duration_since(before).as_nanos();
            times
                .record(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
                .context("cannot keep a time")?;
        }
    }
    sender.disconnect().await;
    receiver.disconnect().await;
    report(&times, size, output)
}

fn report(times: &Histogram<u64>, size: usize, output: Output) -> anyhow::Result<()> {
    #[expect(clippy::cast_precision_loss, reason = "times below an hour fit a double")]
    let microseconds = |nanoseconds: u64| nanoseconds as f64 / 1000.0;
    let at = |quantile| microseconds(times.value_at_quantile(quantile));
    let (median, high, highest) = (at(0.5), at(0.99), microseconds(times.max()));
    let count = times.len();
    match output {
        Output::Json => output::json(&json!({
            "bench": "latency",
            "messages": count,
            "size": size,
            "p50_us": median,
            "p99_us": high,
            "max_us": highest,
        }))?,
        Output::Human => output::line(format!(
            "{count} messages of {size} bytes, one way: p50 {median:.0} µs, p99 {high:.0} µs, max {highest:.0} µs"
        ))?,
    }
    Ok(())
}
