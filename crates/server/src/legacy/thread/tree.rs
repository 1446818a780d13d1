//! Threads as trees, for histories.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use openagents_protocol::call::{ListMessages, MAX_PAGE};
use openagents_protocol::record::Record;
use openagents_protocol::{ErrorBody, EventId};
use openagents_workspace::Caller;
use serde_json::{Value, json};

use super::history::stored_event;
use super::levels::{DEEPEST, known_level};
use crate::host::Host;

/// The threads of the messages on a page. The workspace has one flat thread for what is a tree here, and several where
/// a branch grew too deep.
#[derive(Debug, Default)]
pub(super) struct Threads {
    nodes: HashMap<EventId, Node>,
    /// The threads that were read.
    read: HashSet<EventId>,
    /// About what the messages take.
    bytes: usize,
}

/// No further thread is read for an answer with so many bytes of threads.
const MAX_BYTES: usize = 1024 * 1024;

#[derive(Debug)]
struct Node {
    record: Record,
    level: u64,
    root: EventId,
    replies: Vec<EventId>,
}

impl Threads {
    /// Reads the threads that these messages are in, and tells for how many of the messages one answer has room for them:
    /// for the first at least.
    pub(super) async fn of(
        host: &Arc<Host>,
        caller: &Caller,
        records: &[(&Record, u64)],
    ) -> Result<(Self, usize), ErrorBody> {
        let mut threads = Self::default();
        for (index, (record, replies)) in records.iter().enumerate() {
            let flat = match &record.header.thread {
                Some(root) => root,
                None if 0 < *replies => &record.header.event_id,
                None => continue,
            };
            if threads.read.contains(flat) {
                continue;
            }
            if MAX_BYTES <= threads.bytes {
                return Ok((threads, index));
            }
            threads.read.insert(flat.clone());
            threads.read(host, caller, flat).await?;
        }
        Ok((threads, records.len()))
    }

    async fn read(&mut self, host: &Arc<Host>, caller: &Caller, flat: &EventId) -> Result<(), ErrorBody> {
        let workspace = host.workspace();
        let Ok(root) = workspace.readable_message(caller, flat).await else {
            // It was deleted, and its replies stand alone.
            return Ok(());
        };
        let params = ListMessages {
            thread_id: Some(flat.clone()),
            after: Some(0),
            limit: Some(MAX_PAGE),
            ..ListMessages::default()
        };
        let (replies, _) = workspace.read_messages(caller, params).await?;
        for record in std::iter::once(root).chain(replies) {
            self.add(record);
        }
        Ok(())
    }

    /// Adds a message; those before it are there already.
    fn add(&mut self, record: Record) {
        self.bytes += record.body.as_ref().map_or(0, |body| body.payload.as_str().len());
        let id = record.header.event_id.clone();
        let parent = record
            .reply_to()
            .cloned()
            .filter(|_| known_level(&record) != Some(0));
        let above = parent.and_then(|parent| self.nodes.get_mut(&parent));
        let (level, root) = match above {
            Some(parent) if parent.level < DEEPEST => {
                parent.replies.push(id.clone());
                (parent.level + 1, parent.root.clone())
            }
            _ => (0, id.clone()),
        };
        let node = Node {
            record,
            level,
            root,
            replies: Vec::new(),
        };
        self.nodes.insert(id, node);
    }

    /// The level of a message in its thread; none where it is in none.
    pub(super) fn level(&self, id: &EventId) -> Option<u64> {
        let node = self.nodes.get(id)?;
        (0 < node.level || !node.replies.is_empty()).then_some(node.level)
    }

    /// What a history says of the thread of a message: the whole tree with the first message, and only where the message
    /// stands with the others.
    pub(super) fn info(&self, host: &Host, id: &EventId) -> Value {
        let Some(node) = self.nodes.get(id).filter(|_| self.level(id).is_some()) else {
            return Value::Null;
        };
        let mut info = json!({
            "thread_id": node.root.as_str(),
            "is_root": node.level == 0,
            "thread_level": node.level,
            "children_count": node.replies.len(),
            "root_message_id": node.root.as_str(),
        });
        if node.level == 0 {
            info["thread_structure"] = self.structure(host, node);
        }
        info
    }

    /// At most as deep as threads go.
    fn structure(&self, host: &Host, node: &Node) -> Value {
        let below = node.replies.iter().filter_map(|id| self.nodes.get(id));
        let replies: Vec<Value> = below.map(|reply| self.structure(host, reply)).collect();
        json!({"message": stored_event(host, &node.record), "level": node.level, "replies": replies})
    }
}
