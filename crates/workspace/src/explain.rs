//! Why an agent got an event, or did not.

use openagents_protocol::call::{Check, Explain, Explanation};
use openagents_protocol::record::{Act, MODERATION, Record};
use openagents_protocol::{Address, AgentId, ErrorBody, ErrorCode, Sequence};

use crate::calls::{agent_id, unreadable};
use crate::commit::is_presence;
use crate::entitlement::{is_delivered, is_selected, is_visible, may_receive};
use crate::state::{Agent, State};
use crate::workspace::{Caller, Inner, Workspace};

/// What was looked at so far.
#[derive(Debug, Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn add(&mut self, name: &str, passed: bool, detail: impl Into<String>) {
        self.0.push(Check {
            name: name.to_owned(),
            passed,
            detail: detail.into(),
        });
    }

    /// The first reason against is the verdict; without one, how it went on is.
    fn conclude(self, agent_id: &AgentId, otherwise: String) -> Explanation {
        let against = self.0.iter().find(|check| !check.passed);
        let verdict = match against {
            Some(check) => format!("{agent_id} does not get it: {}", check.detail),
            None => otherwise,
        };
        Explanation {
            verdict,
            checks: self.0,
        }
    }
}

impl Workspace {
    /// Tells why an agent got an event, or did not.
    ///
    /// # Errors
    ///
    /// `invalid_name`, `forbidden` unless the caller is the agent, the author of the event or a moderator.
    pub async fn explain(&self, caller: &Caller, params: Explain) -> Result<Explanation, ErrorBody> {
        let agent_id = agent_id("agent_id", &params.agent_id)?;
        let inner = self.inner();
        let found = inner
            .find_event(&params.event_id)
            .await
            .map_err(|error| unreadable(&error))?;
        let wrote = |record: &Record| record.header.source.agent() == Some(&caller.agent_id);
        if !caller.rights().moderates() && caller.agent_id != agent_id && !found.as_ref().is_some_and(wrote) {
            let message = "only the agent itself, the author of the event and moderators may ask";
            return Err(ErrorBody::new(ErrorCode::Forbidden, message));
        }
        let mut checks = Checks::default();
        let Some(record) = found else {
            let detail = format!(
                "no event {} is stored: it was never accepted, or it is ephemeral",
                params.event_id
            );
            checks.add("stored", false, detail);
            return Ok(checks.conclude(&agent_id, String::new()));
        };
        let snapshot = self.snapshot();
        let otherwise = inner.examine(&snapshot.state, &agent_id, &record, &mut checks);
        // Who it is not for learns that, and nothing more of it.
        if caller.agent_id == agent_id && !caller.rights().moderates() && !wrote(&record) {
            checks.withhold(&record, &snapshot.state, &agent_id);
        }
        Ok(checks.conclude(&agent_id, otherwise))
    }
}

impl Checks {
    /// Keeps from an agent what it may not read.
    fn withhold(&mut self, record: &Record, state: &State, agent_id: &AgentId) {
        if !may_receive(state, agent_id, record) {
            self.0.clear();
            self.add("stored", false, "there is no such event for this agent");
        }
    }
}

impl Inner {
    /// Looks at everything that decides about one event and one agent; returns how it went where nothing speaks
    /// against.
    fn examine(&self, state: &State, agent_id: &AgentId, record: &Record, checks: &mut Checks) -> String {
        let header = &record.header;
        let at = record.sequence;
        let deleted = match record.body {
            Some(_) => "",
            None => ", and its content was deleted",
        };
        let detail = format!("it is {} at sequence {at}{deleted}", header.name);
        checks.add("stored", true, detail);
        if let Act::Held { limit, .. } = &header.act {
            let who = match limit.as_str() {
                MODERATION => "the channel is moderated".to_owned(),
                limit => format!("the loop guard holds it ({limit})"),
            };
            let detail = format!("{who}; `openagents unblock` delivers it");
            checks.add("held", false, detail);
        }
        let Some(agent) = state.agents.get(agent_id) else {
            checks.add("agent", false, format!("no agent {agent_id} was ever here"));
            return String::new();
        };
        let first = agent.first_sequence;
        checks.add(
            "agent",
            true,
            format!("{agent_id} is known since sequence {first}"),
        );
        examine_entitlement(state, agent_id, agent, record, checks);
        let selected = is_selected(agent, agent_id, header);
        let detail = match (agent.subscriptions.len(), selected) {
            (0, _) => "it has no subscriptions, so everything it may read is selected".to_owned(),
            (count, true) => format!("one of its {count} subscriptions selects it, or it answers the agent"),
            (count, false) => format!("none of its {count} subscriptions selects it"),
        };
        checks.add("subscription", selected, detail);
        let connected = self.live.is_live(agent_id);
        let cursor = self.cursor(agent_id).unwrap_or(Sequence::ZERO);
        if is_presence(&header.act) {
            return format!("{agent_id} got it if it was connected then: presence is told to nobody later");
        }
        match (at <= cursor, connected) {
            (true, _) => format!(
                "{agent_id} got it, unless it wanted less of its backlog: everything through sequence {cursor} is handled"
            ),
            (false, true) => {
                format!("{agent_id} is connected and has not acknowledged it yet: handled through {cursor}")
            }
            (false, false) => {
                format!("{agent_id} gets it when it comes back: it is away and has handled through {cursor}")
            }
        }
    }
}

/// Whether the event goes to the agent, and whether it may read it.
fn examine_entitlement(
    state: &State,
    agent_id: &AgentId,
    agent: &Agent,
    record: &Record,
    checks: &mut Checks,
) {
    let header = &record.header;
    let to = &header.destination;
    let concerned = match to {
        Address::Agent(addressee) => addressee == agent_id,
        Address::Channel(_) | Address::Everyone => is_delivered(&header.act),
        Address::System | Address::Mod(_) => false,
    };
    checks.add("destination", concerned, format!("it goes to {to}"));
    let visible = is_visible(agent_id, header);
    let detail = format!("its visibility is {:?}", header.visibility).to_lowercase();
    checks.add("visibility", visible, detail);
    match to {
        Address::Channel(channel) => {
            let then = state.was_member(agent_id, channel, record.sequence);
            let detail = format!(
                "it was {}a member of {channel} at sequence {}",
                if then { "" } else { "not " },
                record.sequence
            );
            checks.add("membership", then, detail);
            let now = state.is_member(agent_id, channel);
            let blind = state.is_blind(agent_id);
            let detail = format!(
                "it is {}a member of {channel} now{}",
                if now { "" } else { "not " },
                if blind {
                    ", and its group may not read channels"
                } else {
                    ""
                }
            );
            checks.add("entitlement", now && !blind, detail);
        }
        Address::Everyone => {
            let known = agent.first_sequence <= record.sequence;
            let detail = if known {
                "it was known then"
            } else {
                "it was not known yet then"
            };
            checks.add("membership", known, detail);
        }
        _ => {}
    }
    let echo = header.source.agent() == Some(agent_id) && *to != Address::Agent(agent_id.clone());
    if echo {
        checks.add("echo", false, "it wrote it itself, and nobody gets what it wrote");
    }
}
