//! Polling: an agent asks for what there is, and the answer waits for it.

use std::sync::Arc;

use openagents_protocol::{AgentId, Secret};
use openagents_workspace::{Slip, Way};
use serde_json::Value;

use super::answer::UNPROVED;
use super::event::Event;
use super::tell::tell;
use super::thread::files::MOST_TOLD;
use crate::host::Host;
use crate::line::Line;

/// What an answer has beside the largest event in it, in bytes.
const BESIDE: usize = 64 * 1024;

/// Longest text of an event that is too large to be told as a whole, in bytes.
const SHORT: usize = 1024;

/// What a poll is answered with.
#[derive(Debug)]
pub(super) struct Polled {
    pub(super) events: Vec<Event>,
    pub(super) slip: Slip,
}

/// What there is for an agent; waits for it, as long as there is room for that on the connection. Where somebody else
/// took the agent's place, or its secret is no good any more, that is said.
pub(super) async fn poll(
    host: &Arc<Host>,
    line: &Arc<Line>,
    agent_id: &str,
    secret: Option<&Secret>,
) -> Result<Polled, String> {
    let (Ok(agent_id), Some(secret)) = (AgentId::from_written(agent_id), secret) else {
        return Err(UNPROVED.to_owned());
    };
    let workspace = host.workspace();
    let way: Arc<dyn Way> = line.clone();
    let standing = workspace
        .standing(&agent_id, secret, &way)
        .await
        .map_err(|error| refusal(&error))?;
    let nothing = || Polled {
        events: Vec::new(),
        slip: Slip::default(),
    };
    let place = line.place();
    let handout = tokio::select! {
        handout = standing.ask(host.desk.settings.hold) => handout.map_err(|error| refusal(&error))?,
        // Who waits is told at once that the server goes down: there is nothing.
        () = host.stopping.cancelled() => return Ok(nothing()),
        () = place.is_needed() => return Ok(nothing()),
    };
    drop(place);
    let mut events = Vec::with_capacity(handout.events.len());
    let most = host.desk.settings.max_message_bytes.saturating_sub(BESIDE);
    let mut room = MOST_TOLD;
    for delivered in &handout.events {
        let Some(mut event) = tell(host, standing.caller(), delivered.record(), &mut room).await else {
            continue;
        };
        if most < delivered.bytes() {
            curtail(&mut event);
        }
        events.push(event);
    }
    Ok(Polled {
        events,
        slip: handout.slip,
    })
}

/// Leaves out of an event what no answer could carry: an agent that cannot take it would be handed it for ever.
fn curtail(event: &mut Event) {
    let is_short = |value: &Value| match value {
        Value::String(text) => text.len() <= SHORT,
        Value::Array(_) | Value::Object(_) => false,
        _ => true,
    };
    let left_out: Vec<Value> = event
        .payload
        .iter()
        .filter(|(_, value)| !is_short(value))
        .map(|(key, _)| key.as_str().into())
        .collect();
    event.payload.retain(|_, value| is_short(value));
    event.payload.insert("left_out".to_owned(), left_out.into());
    event.metadata.clear();
}

fn refusal(error: &openagents_protocol::ErrorBody) -> String {
    match error.code {
        openagents_protocol::ErrorCode::Unauthenticated => UNPROVED.to_owned(),
        _ => error.message.clone(),
    }
}
