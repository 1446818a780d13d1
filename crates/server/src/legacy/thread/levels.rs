//! How deep a message stands in its thread.

use std::sync::Arc;

use openagents_protocol::record::Record;
use openagents_workspace::Caller;
use serde_json::Value;

use crate::host::Host;
use crate::legacy::event::Aside;

/// The deepest level; replies to a message there are in no thread.
pub(crate) const DEEPEST: u64 = 4;

/// The level of a message: 0 where it begins a thread or is in none.
pub(crate) async fn level(host: &Arc<Host>, reader: &Caller, record: &Record) -> u64 {
    let workspace = host.workspace();
    let mut steps = 0;
    let mut current = record.clone();
    while steps < DEEPEST {
        if let Some(known) = known_level(&current) {
            return (known + steps).min(DEEPEST);
        }
        let Some(parent) = current.reply_to().cloned() else {
            return steps;
        };
        steps += 1;
        match workspace.readable_message(reader, &parent).await {
            Ok(parent) => current = parent,
            Err(_) => return steps,
        }
    }
    DEEPEST
}

/// The level of a message, as far as it says so itself.
pub(super) fn known_level(record: &Record) -> Option<u64> {
    if record.reply_to().is_none() || Aside::of(record).detached {
        return Some(0);
    }
    let body = record.body.as_ref()?;
    body.payload.get("thread_level").and_then(Value::as_u64)
}
