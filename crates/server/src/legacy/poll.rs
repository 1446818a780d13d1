//! Polling: an agent asks for what there is, and the answer waits for it.

use std::sync::Arc;

use openagents_protocol::{AgentId, Secret};
use openagents_workspace::{Slip, Way};

use super::answer::UNPROVED;
use super::event::Event;
use super::tell::tell;
use crate::host::Host;

/// What a poll is answered with.
#[derive(Debug)]
pub(super) struct Polled {
    pub(super) events: Vec<Event>,
    pub(super) slip: Slip,
}

/// What there is for an agent; waits for it. Where somebody else took the agent's place, or its secret is no good any
/// more, that is said.
pub(super) async fn poll(
    host: &Arc<Host>,
    way: &Arc<dyn Way>,
    agent_id: &str,
    secret: Option<&Secret>,
) -> Result<Polled, String> {
    let (Ok(agent_id), Some(secret)) = (AgentId::from_written(agent_id), secret) else {
        return Err(UNPROVED.to_owned());
    };
    let workspace = host.workspace();
    let standing = workspace
        .standing(&agent_id, secret, way)
        .await
        .map_err(|error| refusal(&error))?;
    let handout = tokio::select! {
        handout = standing.ask(host.desk.settings.hold) => handout.map_err(|error| refusal(&error))?,
        // Who waits is told at once that the server goes down: there is nothing.
        () = host.stopping.cancelled() => return Ok(Polled { events: Vec::new(), slip: Slip::default() }),
    };
    let mut events = Vec::with_capacity(handout.events.len());
    for delivered in &handout.events {
        events.extend(tell(host, standing.caller(), delivered.record()).await);
    }
    Ok(Polled {
        events,
        slip: handout.slip,
    })
}

fn refusal(error: &openagents_protocol::ErrorBody) -> String {
    match error.code {
        openagents_protocol::ErrorCode::Unauthenticated => UNPROVED.to_owned(),
        _ => error.message.clone(),
    }
}
