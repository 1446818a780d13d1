//! The floors of what is durable: the disk, and our storage engine without anything around it.

use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;

use anyhow::Result;
use openagents_protocol::Source;
use openagents_protocol::record::{Act, Body, Header};
use openagents_store::{Durability, Entry, EventLog, Options, Store};
use tokio::time::Instant;

use super::text;
use crate::bench::{self, Bench};

/// Bytes that are written over and over again, so that the size of the file does not change.
const BLOCK: usize = 4096;

/// Times of `fdatasync` behind a write of one page into a file that has it.
pub(crate) fn syncs(bench: &Bench, count: usize) -> Result<Vec<Duration>> {
    let path = bench.data("sync");
    let mut file = std::fs::File::create(&path)?;
    file.write_all(&[0; BLOCK])?;
    file.sync_all()?;
    let mut samples = Vec::with_capacity(count);
    for number in 0..count {
        let begun = Instant::now();
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&[number.to_le_bytes()[0]; BLOCK])?;
        file.sync_data()?;
        samples.push(begun.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(samples)
}

/// Times of appending one event with fsync.
pub(crate) async fn commits(bench: &Bench, count: usize) -> Result<Vec<Duration>> {
    let data = bench.data("engine");
    let options = Options {
        durability: Durability::Fsync,
        ..Options::default()
    };
    let (store, _) = Store::open(&data, options)?;
    let mut samples = Vec::with_capacity(count);
    for _ in 0..count {
        let entry = entry()?;
        let begun = Instant::now();
        store.log.append(vec![entry]).await?;
        samples.push(begun.elapsed());
    }
    store.log.close().await?;
    bench::remove(&data)?;
    Ok(samples)
}

/// A direct message as the log gets it.
pub(crate) fn entry() -> Result<Entry> {
    let body = Body {
        payload: text::json_payload(),
        ..Body::empty()
    };
    let (name, destination) = ("direct.message.received".parse()?, "agent:receiver".parse()?);
    let source = Source::Agent("sender".parse()?);
    let act = Act::Message { reply_to: None };
    let header = Header::new(name, source, destination, 0, act, &body);
    Ok(Entry { header, body })
}
