//! Where each event is, by its id.

use std::sync::LazyLock;

use rusqlite::{Connection, Statement, Transaction};

use super::{EventKind, Indexed};
use crate::database::to_integer;

/// Rows of one statement, which looks for the place of each from that of the one before: new ids mostly follow each
/// other.
const TOGETHER: usize = 32;

/// The columns of a row.
const COLUMNS: usize = 12;

static LIST_ONE: LazyLock<String> = LazyLock::new(|| insertion(1));
static LIST_TOGETHER: LazyLock<String> = LazyLock::new(|| insertion(TOGETHER));

/// Lists events. The first one with an id keeps it, unless it is held: then the one that was released takes its place.
pub(super) fn list(transaction: &Transaction<'_>, events: &[&Indexed]) -> rusqlite::Result<()> {
    let mut parts = events.chunks_exact(TOGETHER);
    for part in &mut parts {
        list_part(transaction, &LIST_TOGETHER, part)?;
    }
    for event in parts.remainder() {
        list_part(transaction, &LIST_ONE, std::slice::from_ref(event))?;
    }
    Ok(())
}

/// Lists as many events as the statement has rows.
fn list_part(transaction: &Transaction<'_>, insertion: &str, events: &[&Indexed]) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(insertion)?;
    for (row, event) in events.iter().enumerate() {
        bind(&mut statement, row * COLUMNS, event)?;
    }
    if statement.raw_execute()? == events.len() {
        return Ok(());
    }
    for event in events {
        if !is_listed(transaction, event)? {
            release(transaction, event)?;
        }
    }
    Ok(())
}

fn insertion(rows: usize) -> String {
    let row = format!("(?{})", ", ?".repeat(COLUMNS - 1));
    let rows = vec![row; rows].join(", ");
    format!(
        "INSERT OR IGNORE INTO events
             (event_id, sequence, source, digest, destination, thread, kind, titled, audience, root, hops, time_ms)
         VALUES {rows}"
    )
}

/// Puts an event into the parameters after so many others.
fn bind(statement: &mut Statement<'_>, before: usize, event: &Indexed) -> rusqlite::Result<()> {
    let audience = event.audience.as_ref().map(serde_json::to_string).transpose();
    let audience = audience.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    statement.raw_bind_parameter(before + 1, event.event_id.as_str())?;
    statement.raw_bind_parameter(before + 2, to_integer(event.sequence))?;
    statement.raw_bind_parameter(before + 3, event.source.as_str())?;
    statement.raw_bind_parameter(before + 4, event.digest.as_bytes().as_slice())?;
    statement.raw_bind_parameter(before + 5, event.destination.written())?;
    statement.raw_bind_parameter(before + 6, event.thread.as_ref().map(AsRef::<str>::as_ref))?;
    statement.raw_bind_parameter(before + 7, event.kind.stored())?;
    statement.raw_bind_parameter(before + 8, event.titled)?;
    statement.raw_bind_parameter(before + 9, audience)?;
    statement.raw_bind_parameter(before + 10, event.chain.root.as_ref().map(AsRef::<str>::as_ref))?;
    statement.raw_bind_parameter(before + 11, event.chain.hops)?;
    statement.raw_bind_parameter(before + 12, event.chain.time_ms.cast_signed())
}

/// Whether the row of its id is that of this very event.
fn is_listed(connection: &Connection, event: &Indexed) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM events WHERE event_id = ?1 AND sequence = ?2)")?
        .query_one((event.event_id.as_str(), to_integer(event.sequence)), |row| {
            row.get(0)
        })
}

/// Lets a released event take the place of the held one of its id, whose content is remembered for the day it is to be
/// erased.
fn release(transaction: &Transaction<'_>, event: &Indexed) -> rusqlite::Result<()> {
    let held = EventKind::Held.stored();
    transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO superseded (event_id, sequence)
             SELECT event_id, sequence FROM events WHERE event_id = ?1 AND kind = ?2",
        )?
        .execute((event.event_id.as_str(), held))?;
    transaction
        .prepare_cached(
            "UPDATE events SET sequence = ?3, kind = ?4, root = ?5, hops = ?6, time_ms = ?7
             WHERE event_id = ?1 AND kind = ?2",
        )?
        .execute((
            event.event_id.as_str(),
            held,
            to_integer(event.sequence),
            event.kind.stored(),
            event.chain.root.as_ref().map(AsRef::<str>::as_ref),
            event.chain.hops,
            event.chain.time_ms.cast_signed(),
        ))?;
    Ok(())
}
