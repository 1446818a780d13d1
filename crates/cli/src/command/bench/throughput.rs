//! Messages one behind the other: one frame and one acknowledgement each.

use std::collections::VecDeque;

use clap::Args;
use serde_json::json;
use tokio::time::Instant;

use crate::command::bench::{Counter, Extent, message_to, per_second};
use crate::connect::Endpoint;
use crate::outcome::receipt;
use crate::output::{self, Output};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    extent: Extent,
    /// Bytes of text in a message
    #[arg(long, value_name = "BYTES", default_value_t = 256)]
    size: usize,
    /// Most messages sent and not yet acknowledged
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    window: u16,
    #[command(flatten)]
    endpoint: Endpoint,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let Arguments {
        extent,
        size,
        window,
        endpoint,
    } = arguments;
    let sender = endpoint.join().await?;
    let mut counter = Counter::join(&endpoint, "direct.message.received", sender.agent_id()).await?;
    let message = message_to(&counter.client.agent_id(), size);

    let started = Instant::now();
    let mut pending = VecDeque::with_capacity(usize::from(window));
    let mut sent = 0;
    while sent < extent.count() && started.elapsed() < extent.duration() {
        // Acknowledgements come in the order of the messages.
        if pending.len() == usize::from(window)
            && let Some(oldest) = pending.pop_front()
        {
            receipt(Box::pin(oldest).await)?;
        }
        pending.push_back(sender.publish(message.clone())?);
        sent += 1;
    }
    for publish in pending {
        receipt(publish.await)?;
    }
    let acknowledged = started.elapsed();
    counter.wait_for(sent).await?;
    let delivered = started.elapsed();
    sender.disconnect().await;
    counter.client.disconnect().await;

    let (acknowledged, delivered) = (per_second(sent, acknowledged), per_second(sent, delivered));
    match output {
        Output::Json => output::json(&json!({
            "bench": "throughput",
            "messages": sent,
            "size": size,
            "window": window,
            "acknowledged_per_second": acknowledged,
            "delivered_per_second": delivered,
        }))?,
        Output::Human => output::line(format!(
            "{sent} messages of {size} bytes, {window} in flight: \
             {acknowledged:.0} acknowledged/s, {delivered:.0} delivered/s"
        ))?,
    }
    Ok(())
}
