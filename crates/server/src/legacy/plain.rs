//! Events as they come: who may send them, who handles them, and those that are delivered as they are.

use std::sync::Arc;

use openagents_protocol::{Address, Draft, ErrorBody, ErrorCode, Event, Receipt, Visibility};
use openagents_workspace::{Caller, Slip, Way};
use serde_json::{Value, json};

use super::answer::{Answer, UNPROVED};
use super::event::{Aside, written};
use super::poll::poll;
use super::request::Request;
use super::{cache, discovery, system, thread};
use crate::host::Host;
use crate::line::Line;

/// An extension that lets files travel inside of messages.
pub(super) const SIMPLE_MESSAGING: &str = "openagents.mods.communication.simple_messaging";

/// What came of an event.
#[derive(Debug, Default)]
pub(super) struct Processed {
    pub(super) answer: Answer,
    /// Of what is handed out with the answer.
    pub(super) slip: Slip,
}

impl From<Answer> for Processed {
    fn from(answer: Answer) -> Self {
        Self {
            answer,
            slip: Slip::default(),
        }
    }
}

/// Takes an event: a command of the system, a request to an extension, or one to be delivered.
pub(super) async fn process(host: &Arc<Host>, line: &Arc<Line>, request: Request) -> Processed {
    if request.event_name == "system.poll_messages" {
        return poll_by_event(host, line, &request).await;
    }
    let way: Arc<dyn Way> = line.clone();
    if let Some(answer) = system::before_joining(host, &way, &request).await {
        return answer.into();
    }
    let workspace = host.workspace();
    let proved = request.agent_id().zip(request.secret.as_ref());
    let recognised = proved.and_then(|(agent_id, secret)| workspace.recognise(&agent_id, secret, &way).ok());
    let Some(caller) = recognised else {
        let unknown = request.event_name.as_str().starts_with("system.") && request.secret.is_none();
        let is_there = request
            .agent_id()
            .is_some_and(|id| system::is_registered(host, &id));
        return Answer::refused(if unknown && !is_there {
            system::NOT_REGISTERED
        } else {
            UNPROVED
        })
        .into();
    };
    if let Err(error) = workspace.take_request(&caller.agent_id) {
        return Answer::refused(error.message).into();
    }
    if let Some(answer) = system::answer(host, &caller, &request).await {
        return answer.into();
    }
    by_extensions(host, &caller, request).await.into()
}

/// Hands an event to the extensions; to those that are told of it it is delivered where none of them answers.
async fn by_extensions(host: &Arc<Host>, caller: &Caller, mut request: Request) -> Answer {
    let mods = &host.desk.settings.mods;
    let addressed = request.addressed_mod().map(str::to_owned);
    if let Some(name) = &addressed
        && !mods.names().contains(&name.as_str())
    {
        return Answer::refused(format!("Target mod {name} not found"));
    }
    let asks = |name: &str| addressed.as_deref().is_none_or(|addressed| addressed == name);
    let mut answer = None;
    if mods.messaging && asks(thread::MOD) {
        answer = thread::answer(host, caller, &mut request).await;
    }
    if answer.is_none() && mods.discovery && asks(discovery::MOD) {
        answer = discovery::answer(host, caller, &request).await;
    }
    if answer.is_none() && mods.shared_cache && asks(cache::MOD) {
        answer = cache::answer(host, caller, &request).await;
    }
    if answer.is_none() && mods.simple_messaging && asks(SIMPLE_MESSAGING) {
        answer = cache::simple(host, caller, &request).await;
    }
    if answer.is_none() && mods.simple_messaging && carries_files(&request) {
        cache::take_files(host, caller, &mut request).await;
    }
    match (answer, addressed) {
        (Some(answer), _) => answer,
        (None, Some(name)) => Answer::refused(format!("Event not processed by mod {name}, mod returns None")),
        (None, None) => deliver(host, caller, request).await,
    }
}

/// Whether the files inside of an event are kept apart from it.
fn carries_files(request: &Request) -> bool {
    let kinds = [
        "agent.direct_message.",
        "thread.direct_message.",
        "agent.broadcast_message.",
    ];
    kinds
        .iter()
        .any(|kind| request.event_name.as_str().starts_with(kind))
}

async fn poll_by_event(host: &Arc<Host>, line: &Arc<Line>, request: &Request) -> Processed {
    // What is for one agent is read by this agent.
    let own = request
        .text("agent_id")
        .is_none_or(|asked| asked == request.source);
    if !own {
        return Answer::refused(UNPROVED).into();
    }
    match poll(host, line, &request.source, request.secret.as_ref()).await {
        Ok(polled) => {
            let message = format!("Retrieved {} messages", polled.events.len());
            let mut data = json!({"messages": polled.events});
            if let Some(request_id) = request.text("request_id") {
                data["request_id"] = request_id.into();
            }
            Processed {
                answer: Answer::system("poll_messages", message, data),
                slip: polled.slip,
            }
        }
        Err(reason) => Answer::refused(reason).into(),
    }
}

/// Delivers an event as it is.
async fn deliver(host: &Arc<Host>, caller: &Caller, mut request: Request) -> Answer {
    let message = format!("Event {} delivered to destination", request.event_name);
    let Some(target) = request.target.clone() else {
        return Answer::accepted(message);
    };
    if target == "system"
        || target == "mod"
        || target.starts_with("system:")
        || target.starts_with("unknown:")
    {
        return Answer::accepted(message);
    }
    let mut event = Event::new(request.event_name.as_str());
    event.event_id = request.event_id.to_string();
    event.payload = Value::Object(std::mem::take(&mut request.payload)).into();
    event.visibility = request.visibility;
    if !request.metadata.is_empty() {
        event.metadata = Some(Value::Object(std::mem::take(&mut request.metadata)).into());
    }
    let group = target.strip_prefix("group:");
    event.destination_id = Some(match group {
        Some(_) => written(&Address::Everyone),
        None => target.clone(),
    });
    let mut draft = match Draft::parse_from_outside(event) {
        Ok(draft) => draft,
        Err(error) => return error.into(),
    };
    if let Some(group) = group {
        draft.visibility = Visibility::Restricted;
        draft.allowed_agents = Some(host.workspace().agents_in_group(group));
    }
    if written(&draft.intent.destination()) != target || group.is_some() {
        let aside = Aside {
            to: Some(target),
            ..Aside::default()
        };
        draft.body.aside = aside.stored();
    }
    match host.workspace().publish(caller, draft).await {
        Ok(_) => Answer::accepted(message),
        // The same id again is answered as the first time, whatever else is in the event.
        Err(error) if error.code == ErrorCode::EventIdReused => Answer::accepted(message),
        Err(error) => error.into(),
    }
}

/// Publishes what the server itself has to say.
pub(super) async fn announce(host: &Host, name: &str, to: &str, payload: Value, aside: &Aside) {
    let event = Event::new(name).to(to).payload(payload);
    let outcome = host.workspace().announce(event, aside.stored()).await;
    if let Err(error) = outcome {
        tracing::warn!(%error, event_name = name, "could not announce");
    }
}

/// A receipt, or the refusal in the words of this interface. A repetition of an id is no refusal.
pub(super) fn accepted(outcome: Result<Receipt, ErrorBody>) -> Result<Option<Receipt>, Answer> {
    match outcome {
        Ok(receipt) => Ok(Some(receipt)),
        Err(error) if error.code == ErrorCode::EventIdReused => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The time now, in seconds since 1970.
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds since 1970 fit a double for 280,000 years"
)]
pub(super) fn now(host: &Host) -> f64 {
    host.workspace().settings().clock.now_ms() as f64 / 1000.0
}
