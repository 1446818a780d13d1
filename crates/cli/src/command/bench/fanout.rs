//! Posts to a channel that many agents are in.

use anyhow::Context;
use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use tokio::time::Instant;

use crate::command::bench::{Counter, per_second};
use crate::connect::Endpoint;
use crate::outcome::receipt;
use crate::output::{self, Output};

/// The channel everything goes to; one for all measurements, so that they do not fill the list of channels.
const CHANNEL: &str = "bench";

/// Agents that join at once.
const JOINING: usize = 16;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Agents in the channel
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    agents: u32,
    /// Posts
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Bytes of text in a post
    #[arg(long, value_name = "BYTES", default_value_t = 256)]
    size: usize,
    #[command(flatten)]
    endpoint: Endpoint,
}

pub(crate) async fn run(arguments: Arguments, output: Output) -> anyhow::Result<()> {
    let Arguments {
        agents,
        count,
        size,
        endpoint,
    } = arguments;
    let poster = endpoint.join().await?;
    let channel = poster.workspace().channel(CHANNEL);
    let joining = (0..agents).map(|_| Counter::join(&endpoint, "channel.message.posted", poster.agent_id()));
    let mut readers: Vec<Counter> = stream::iter(joining)
        .buffer_unordered(JOINING)
        .try_collect()
        .await?;
    // Makes the channel where it is missing, and shows that everybody is in it.
    receipt(channel.post("bench begins").await)?;
    wait_for_all(&mut readers, 1).await?;

    let text = "x".repeat(size);
    let started = Instant::now();
    let posts = (0..count).map(|_| {
        let post = channel.post(&text);
        async { receipt(post.await) }
    });
    let accepted: Result<Vec<_>, _> = stream::iter(posts).buffered(100).try_collect().await;
    accepted.context("a post was refused")?;
    let acknowledged = started.elapsed();
    wait_for_all(&mut readers, 1 + u64::from(count)).await?;
    let elapsed = started.elapsed();
    let leaving = readers.iter().map(|reader| reader.client.disconnect());
    stream::iter(leaving).buffer_unordered(JOINING).count().await;
    poster.disconnect().await;

    let deliveries = u64::from(agents) * u64::from(count);
    let rate = per_second(deliveries, elapsed);
    match output {
        Output::Json => output::json(&json!({
            "bench": "fanout",
            "agents": agents,
            "posts": count,
            "size": size,
            "acknowledged_ms": acknowledged.as_secs_f64() * 1000.0,
            "delivered_ms": elapsed.as_secs_f64() * 1000.0,
            "deliveries_per_second": rate,
        }))?,
        Output::Human => output::line(format!(
            "{count} posts of {size} bytes to {agents} agents: all delivered in {:.1} ms, {rate:.0} deliveries/s",
            elapsed.as_secs_f64() * 1000.0
        ))?,
    }
    Ok(())
}

async fn wait_for_all(readers: &mut [Counter], expected: u64) -> anyhow::Result<()> {
    for reader in readers {
        reader.wait_for(expected).await?;
    }
    Ok(())
}
