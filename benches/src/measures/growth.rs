//! What a message costs in a workspace that has more and more of everything.

use anyhow::Result;
use openagents_client::AgentClient;

use super::{MEMORY, Section};
use crate::bench::Bench;
use crate::book::{About, Book};
use crate::peers::one_way;
use crate::peers::ours::{Messages, Ours};
use crate::statistics::float;

/// Messages of one run.
const MESSAGES: usize = 500;
/// Channels that there are.
const CHANNELS: [u64; 4] = [10, 100, 1_000, 9_000];
/// Subscriptions of all agents together.
const SUBSCRIPTIONS: [u64; 3] = [10, 100, 1_000];
/// Agents that have them.
const SUBSCRIBERS: u64 = 10;

pub(super) async fn measure(bench: &Bench, book: &mut Book) -> Result<()> {
    channels(bench, book).await?;
    subscriptions(bench, book).await
}

async fn channels(bench: &Bench, book: &mut Book) -> Result<()> {
    let server = Ours::serve(bench, "memory").await?;
    let maker = server.join("maker").await?;
    let mut made = 0;
    for channels in
        CHANNELS.map(|channels| bench.many(usize::try_from(channels).unwrap_or(usize::MAX)) as u64)
    {
        while made < channels {
            maker
                .workspace()
                .create_channel(&format!("channel-{made}"), "")
                .await?;
            made += 1;
        }
        let to = format!("channel:channel-{}", made - 1);
        let mut messages = Messages::begin_at(&server, &format!("reader-{made}"), &to).await?;
        let case = format!("{channels} channels");
        let about = About::new(Section::Growth, &case, MEMORY).of_size(float(channels));
        time(bench, book, about, &mut messages).await?;
        messages.end().await;
    }
    server.kill().await
}

async fn subscriptions(bench: &Bench, book: &mut Book) -> Result<()> {
    let server = Ours::serve(bench, "memory").await?;
    let mut subscribers: Vec<AgentClient> = Vec::new();
    for number in 0..SUBSCRIBERS {
        subscribers.push(server.join(&format!("subscriber-{number}")).await?);
    }
    let mut made = 0;
    let mut messages = Messages::begin_at(&server, "reader", "channel:general").await?;
    for subscriptions in SUBSCRIPTIONS {
        while made < subscriptions {
            for subscriber in &subscribers {
                subscriber
                    .subscribe_events(format!("task.kind-{made}.*").as_str(), None)
                    .await?;
                made += 1;
            }
        }
        let case = format!("{subscriptions} subscriptions to something else");
        let about = About::new(Section::Growth, &case, MEMORY).of_size(float(subscriptions));
        time(bench, book, about, &mut messages).await?;
    }
    messages.end().await;
    server.kill().await
}

async fn time(bench: &Bench, book: &mut Book, about: About<'_>, messages: &mut Messages) -> Result<()> {
    one_way(messages, MESSAGES / 5).await?;
    for _ in 0..bench.runs() {
        book.note_times(about, one_way(messages, MESSAGES).await?);
    }
    Ok(())
}
