//! What programs of the 0.9 interface get: our server beside the official one.

use std::time::Duration;

use anyhow::Result;
use openagents_e2e::Dice;

use super::{FSYNC, OFFICIAL, Section, latency};
use crate::bench::Bench;
use crate::book::{About, Book, Unit};
use crate::peers::legacy::{Listener, Ports, Reference, Transport, posts};
use crate::peers::ours::Ours;

/// How long posts are measured.
const TIME: Duration = Duration::from_secs(3);
/// Messages to an official client in one run.
const MESSAGES: usize = 4;
/// The time before each, in milliseconds. The client itself waits a second before every poll, so that a message has to come
/// at any moment of that second.
const PAUSE: (u64, u64) = (1_000, 2_000);

pub(crate) fn case(transport: Transport, connections: usize) -> String {
    let plural = if connections == 1 { "" } else { "s" };
    format!(
        "posts over {}, {connections} connection{plural}",
        transport.name()
    )
}

pub(super) async fn measure(bench: &Bench, book: &mut Book) -> Result<()> {
    for _ in 0..bench.runs() {
        for transport in Transport::ALL {
            for connections in [1, 16] {
                let case = case(transport, connections);
                let about = |system| About::new(Section::Posts, &case, system);
                // The official server becomes slower with everything it has stored, so each case has new ones.
                let ours = Ours::serve(bench, "fsync").await?;
                let ports = Ports::same(ours.port);
                let rate = posts(ports, transport, connections, bench.long(TIME)).await?;
                book.note(about(FSYNC), "posts", Unit::PerSecond, rate);
                ours.kill().await?;
                let official = Reference::serve().await?;
                let rate = posts(official.ports, transport, connections, bench.long(TIME)).await?;
                book.note(about(OFFICIAL), "posts", Unit::PerSecond, rate);
                official.kill().await?;
            }
        }
    }
    Ok(())
}

/// The official client at both servers: from the call that sends to the handler.
pub(super) async fn measure_client(bench: &Bench, book: &mut Book) -> Result<()> {
    let ours = Ours::serve(bench, "fsync").await?;
    let official = Reference::serve().await?;
    let mut listeners = Vec::new();
    for transport in Transport::ALL {
        for (system, ports) in [(FSYNC, Ports::same(ours.port)), (OFFICIAL, official.ports)] {
            listeners.push((transport, system, Listener::join(ports, transport).await?));
        }
    }
    let mut dice = Dice::new(1);
    for _ in 0..bench.runs() {
        for _ in 0..bench.many(MESSAGES) {
            for (transport, system, listener) in &mut listeners {
                tokio::time::sleep(dice.milliseconds(PAUSE.0, PAUSE.1)).await;
                let time = listener.milliseconds().await?;
                note_time(book, *transport, system, "", time);
            }
        }
        let load = latency::loaded(&ours).await?;
        for _ in 0..bench.many(MESSAGES) {
            for (transport, system, listener) in &mut listeners {
                if *system == FSYNC {
                    tokio::time::sleep(dice.milliseconds(PAUSE.0, PAUSE.1)).await;
                    let time = listener.milliseconds().await?;
                    note_time(book, *transport, system, latency::LOADED, time);
                }
            }
        }
        load.end().await;
    }
    for (_, _, listener) in listeners {
        listener.end().await?;
    }
    official.kill().await?;
    ours.kill().await
}

fn note_time(book: &mut Book, transport: Transport, system: &str, besides: &str, time: f64) {
    let case = format!(
        "a direct message every few seconds, over {} {besides}",
        transport.name()
    );
    let about = About::new(Section::OfficialClient, case.trim_end(), system);
    book.note(about, "time", Unit::Millis, time);
}
