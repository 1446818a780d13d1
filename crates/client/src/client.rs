//! The client: a handle that is cheap to clone, and what stands behind it.

use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use openagents_protocol::call::{
    AgentInfo, Call, GetPermissions, ListAgents, ListMods, ModInfo, Permissions, Subscribe, Subscription,
    Unsubscribe, UpdateAgent,
};
use openagents_protocol::frame::{Hello, SessionKind, Welcome};
use openagents_protocol::{
    ChannelName, ErrorBody, ErrorCode, Event, EventId, EventResponse, InvalidName, Json, Sequence, frame,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connect::Connect;
use crate::connector::Connector;
use crate::deliveries::Deliveries;
use crate::error::{CallError, ConnectError, PublishError, not_connected};
use crate::handler::{Handler, HandlerHandle, HandlerOutcome, IntoPatterns};
use crate::hub::{Hub, Wait};
use crate::lanes::Lanes;
use crate::link::Link;
use crate::outbox::Repeat;
use crate::progress::Progress;
use crate::seen::Seen;
use crate::send::{DEFAULT_TIMEOUT, PendingPublish, SendEvent, deadline, publish, send_all};
use crate::stream::EventStream;
use crate::workspace::Workspace;

/// An agent's way into a workspace.
///
/// Cloning is cheap, and all clones are the same agent. When the last one is dropped, everything it started
/// ends and its connection closes; the workspace then waits for the lease to run out before it tells others.
/// [`AgentClient::disconnect`] leaves at once.
///
/// A handler that holds a clone keeps the client alive as long as it is registered. Hold an
/// [`AgentClient::downgrade`]d one where the last handle is to be dropped rather than disconnected.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use openagents_client::AgentClient;
///
/// let client = AgentClient::new("demo-agent");
/// client.connect_to_server("localhost", 8700).await?;
/// client.workspace().channel("general").post("Hello!").await;
/// client.disconnect().await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct AgentClient {
    handle: Arc<Handle>,
}

/// An [`AgentClient`] that does not keep it alive.
#[derive(Clone)]
pub struct WeakAgentClient {
    handle: Weak<Handle>,
}

/// What all clones share. Tasks never hold it, so its end is the end of the last clone.
struct Handle {
    core: Arc<Core>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.cancel.cancel();
        self.core.hub.close();
    }
}

/// What stands behind the handle.
pub(crate) struct Core {
    /// The id that was given.
    written_id: Option<String>,
    pub(crate) hub: Arc<Hub>,
    /// The current session; guarded for a few lines only.
    link: Mutex<Option<Arc<Link>>>,
    /// How far the latest session that consumed is; guarded for a few lines only.
    progress: Mutex<Option<Arc<Progress>>>,
    /// Held while a session is made or ended, so that these happen one after the other.
    changing: tokio::sync::Mutex<()>,
    /// What was handled, in whichever session.
    pub(crate) seen: Arc<Seen>,
    pub(crate) lanes: Arc<Lanes>,
    pub(crate) tasks: TaskTracker,
    pub(crate) cancel: CancellationToken,
}

impl AgentClient {
    /// A client for the agent with this id. The id is checked when it connects.
    pub fn new(agent_id: impl Into<String>) -> Self {
        Self::with_id(Some(agent_id.into()))
    }

    /// A client that gets a unique id from the workspace when it connects.
    pub fn anonymous() -> Self {
        Self::with_id(None)
    }

    fn with_id(written_id: Option<String>) -> Self {
        let core = Arc::new(Core::new(written_id));
        Self {
            handle: Arc::new(Handle { core }),
        }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.handle.core
    }

    /// A handle that does not keep the client alive.
    pub fn downgrade(&self) -> WeakAgentClient {
        WeakAgentClient {
            handle: Arc::downgrade(&self.handle),
        }
    }

    /// The id of the agent; empty for an anonymous client that never connected.
    pub fn agent_id(&self) -> String {
        match self.core().link() {
            Some(link) => link.welcome().agent_id.clone(),
            None => self.core().written_id.clone().unwrap_or_default(),
        }
    }

    /// Connects to a server and joins its workspace when awaited.
    ///
    /// The host may be a name, an address or a URL. From then on the connection is kept: when it breaks the
    /// client reconnects and goes on where it stopped, until [`AgentClient::disconnect`] or until the
    /// workspace ends the session for good. Connecting again leaves the first session before the second is
    /// tried; handlers, streams and waits go over to it. What this client handled before is not handled again,
    /// unless [`Connect::after`] says where to begin.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] tells what was wrong; there is no further attempt.
    pub fn connect_to_server(&self, host: impl Into<String>, port: u16) -> Connect {
        Connect::new(self.clone(), host.into(), port)
    }

    /// Whether a session is connected now; false while it reconnects.
    pub fn is_connected(&self) -> bool {
        self.core().link().is_some_and(|link| link.is_connected())
    }

    /// Leaves the workspace gracefully: what is handled is acknowledged, what is queued is sent, and others
    /// learn of it. False if there was no session.
    ///
    /// Open waits end without an event, and streams end. Handlers stay registered for another
    /// `connect_to_server`; what was delivered and has not begun to be handled comes again then.
    pub async fn disconnect(&self) -> bool {
        let _changing = self.core().changing.lock().await;
        let Some(link) = self.core().link() else {
            return false;
        };
        let was_alive = link.outbox.end_reason().is_none();
        link.leave().await;
        self.core().set_link(None);
        was_alive
    }

    /// Waits until the session is over: left by [`AgentClient::disconnect`], or ended for good by the workspace, which
    /// then says why. Another connection in its place is not the end, and without a session it is over already.
    pub async fn closed(&self) -> Option<ErrorBody> {
        while let Some(link) = self.core().link() {
            link.ended().await;
            if link.is_replaced() {
                // The next session begins, or fails to, before this lock is free.
                drop(self.core().changing.lock().await);
                continue;
            }
            return link
                .outbox
                .end_reason()
                .filter(|reason| *reason != not_connected());
        }
        None
    }

    /// Hands no more events to handlers in this session, and waits until those that run have returned: the first half
    /// of leaving in good order. What has not begun comes again in the next session. Everything can still be sent, and
    /// waits still get their answers.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it waits no longer; handlers get nothing more all the same.
    pub async fn drain(&self) {
        if let Some(link) = self.core().link() {
            link.dispatch.drain().await;
        }
    }

    /// The workspace: channels and agents by name.
    pub fn workspace(&self) -> Workspace {
        Workspace::new(self.clone())
    }

    /// What the server said when the latest connection began; none before the first.
    pub fn welcome(&self) -> Option<Arc<Welcome>> {
        self.core().link().map(|link| link.welcome())
    }

    /// The end of the log as far as this client knows; none before the first connection.
    pub fn head(&self) -> Option<Sequence> {
        self.core().link().map(|link| link.progress.head())
    }

    /// Calls the handler for every event whose name matches one of the patterns; `()` means every event.
    ///
    /// Events of one source are handled one after the other, those of different sources concurrently. Several
    /// handlers that want the same event run in the order of their registration. What arrived before the first
    /// handler, stream or wait was held back for it. A handler that returns an error or panics is logged and
    /// stops nobody. The event is acknowledged when all its handlers have returned; one that never returns
    /// holds up its source, and after 1,024 further events everything.
    ///
    /// A message sent from inside a handler to the agent whose event it handles is linked to it by itself: its
    /// `response_to` names the event.
    ///
    /// # Errors
    ///
    /// Tells which pattern breaks which rule; nothing is registered then.
    pub fn register_event_handler<P, F, Fut>(
        &self,
        patterns: P,
        handler: F,
    ) -> Result<HandlerHandle, InvalidName>
    where
        P: IntoPatterns,
        F: Fn(Event) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: HandlerOutcome> + Send + 'static,
    {
        let patterns = patterns.into_patterns()?;
        let hub = &self.core().hub;
        let id = hub.register(|id| Handler::new(id, patterns, handler));
        self.core().open_hub();
        if hub.follows_system()
            && let Some(link) = self.core().link()
        {
            link.follow_system();
        }
        Ok(HandlerHandle::new(hub, id))
    }

    /// Every event as a stream, from now on.
    pub fn events(&self) -> EventStream {
        EventStream::new(self.deliveries())
    }

    /// Every event from now on, each to be finished by itself.
    pub fn deliveries(&self) -> Deliveries {
        let deliveries = Deliveries::new(&self.core().hub);
        self.core().open_hub();
        deliveries
    }

    /// What [`AgentClient::wait_event`] looks at, for conditions that cannot be called where events arrive: what no
    /// wait returned yet, then every event from now on.
    pub fn deliveries_looking_back(&self) -> Deliveries {
        let deliveries = Deliveries::looking_back(&self.core().hub);
        self.core().open_hub();
        deliveries
    }

    /// The next event for which the condition holds; none after the timeout, or when the client disconnects.
    ///
    /// It also looks back: at events that no wait returned yet and that arrived after the latest acknowledged
    /// publish or wait of this client, at most 5 s ago. So nothing is lost between sending and waiting.
    /// Handlers see the event as well. The condition is called where events arrive and should be quick.
    pub async fn wait_event(
        &self,
        condition: impl Fn(&Event) -> bool + Send + Sync + 'static,
        timeout: Duration,
    ) -> Option<Event> {
        let deadline = deadline(timeout);
        let mut wait: Wait = self.core().hub.wait(Box::new(condition));
        wait.look_back();
        self.core().open_hub();
        let Ok(found) = tokio::time::timeout_at(deadline, &mut wait.receiver).await else {
            wait.gave_up();
            return None;
        };
        found.ok().map(Arc::unwrap_or_clone)
    }

    /// Sends an event to an agent, a channel or everyone; resolves with what the workspace says to it.
    ///
    /// An event without an id gets one, so that it arrives once even where it has to be sent again. Who sends
    /// it is known by the session; a `source_id` given here is ignored. While the client reconnects it waits.
    /// When no acknowledgement comes in time, the answer is `timed_out`: the event may still be delivered.
    pub fn send_event(&self, event: Event) -> SendEvent {
        SendEvent::new(self.core(), event)
    }

    /// Sends many events in this order, without waiting for the answer to one before the next; one answer for each.
    ///
    /// Each waits at most this long from when it is its turn.
    pub async fn send_events(
        &self,
        events: impl IntoIterator<Item = Event>,
        timeout: Duration,
    ) -> Vec<EventResponse> {
        let events = events.into_iter().collect();
        send_all(self.core(), events, timeout).await
    }

    /// Queues an event at once; the answer of the workspace can be awaited later or never.
    ///
    /// # Errors
    ///
    /// [`PublishError`] if there is no session, or if 1,024 events wait for their acknowledgement.
    pub fn publish(&self, event: Event) -> Result<PendingPublish, PublishError> {
        publish(self.core().link(), event)
    }

    /// Sends a free payload, a JSON object, to one agent, as the event `agent.message`.
    pub fn send_agent_message(&self, agent_id: &str, payload: impl Into<Json>) -> SendEvent {
        self.send_event(
            Event::new("agent.message")
                .to(agent_address(agent_id))
                .payload(payload),
        )
    }

    /// The agents that are connected, this one included.
    pub async fn list_agents(&self) -> Result<Vec<AgentInfo>, CallError> {
        Ok(self.call(ListAgents::default()).await?.agents)
    }

    /// The agents that are connected and have this among their capabilities.
    pub async fn find_agents(&self, capability: &str) -> Result<Vec<AgentInfo>, CallError> {
        let params = ListAgents {
            capability: Some(capability.to_owned()),
            ..Default::default()
        };
        Ok(self.call(params).await?.agents)
    }

    /// Tells others what this agent does now, such as `busy`; `online` takes it back. It shows while the agent is
    /// connected.
    pub async fn set_status(&self, status: &str) -> Result<AgentInfo, CallError> {
        let params = UpdateAgent {
            status: Some(status.to_owned()),
            ..Default::default()
        };
        self.call(params).await
    }

    /// Tells others something else of this agent: all of its metadata, a JSON object.
    pub async fn set_metadata(&self, metadata: impl Into<Json>) -> Result<AgentInfo, CallError> {
        let metadata = metadata.into();
        let params = UpdateAgent {
            metadata: Some(metadata.clone()),
            ..Default::default()
        };
        let info = self.call(params).await?;
        if let Some(link) = self.core().link() {
            link.set_metadata(metadata);
        }
        Ok(info)
    }

    /// What this agent may do.
    pub async fn permissions(&self) -> Result<Permissions, CallError> {
        self.call(GetPermissions {}).await
    }

    /// Whether this agent has a permission, such as `delete_posts`; false when it cannot be found out.
    pub async fn has_permission(&self, name: &str) -> bool {
        self.permissions()
            .await
            .is_ok_and(|permissions| permissions.allows(name))
    }

    /// The extensions of the workspace.
    pub async fn list_mods(&self) -> Result<Vec<ModInfo>, CallError> {
        Ok(self.call(ListMods::default()).await?.mods)
    }

    /// Narrows what the workspace sends to this agent: with subscriptions, only what one of them selects, and
    /// always the answers to its own messages. They stay with the agent until they are ended.
    ///
    /// Without channels, events are selected wherever they are sent.
    pub async fn subscribe_events(
        &self,
        patterns: impl IntoPatterns,
        channels: Option<&[&str]>,
    ) -> Result<Subscription, CallError> {
        let invalid = |field: &str, error: &InvalidName| CallError::Refused(ErrorBody::name(field, error));
        let patterns = patterns
            .into_patterns()
            .map_err(|error| invalid("patterns", &error))?;
        let parse = |names: &[&str]| names.iter().map(|name| ChannelName::from_written(name)).collect();
        let channels: Result<Option<Vec<_>>, _> = channels.map(parse).transpose();
        let channels = channels.map_err(|error| invalid("channels", &error))?;
        self.call(Subscribe { patterns, channels }).await
    }

    /// Ends a subscription.
    pub async fn unsubscribe_events(&self, subscription_id: &str) -> Result<(), CallError> {
        let parsed: Result<EventId, InvalidName> = subscription_id.parse();
        let subscription_id =
            parsed.map_err(|error| CallError::Refused(ErrorBody::name("subscription_id", &error)))?;
        self.call(Unsubscribe { subscription_id }).await?;
        Ok(())
    }

    /// Makes any call of the protocol, such as [`ListAgents`], and waits up to 30 s for the answer.
    ///
    /// While the client reconnects it waits. Calls that only read, and those that change nothing the second
    /// time, are repeated when the connection breaks.
    pub async fn call<C: Call>(&self, params: C) -> Result<C::Reply, CallError> {
        self.call_within(params, DEFAULT_TIMEOUT).await
    }

    /// Makes any call of the protocol with another timeout.
    pub async fn call_within<C: Call>(&self, params: C, timeout: Duration) -> Result<C::Reply, CallError> {
        let reply = self.core().request(C::METHOD, &params, timeout).await?;
        frame::read(reply.as_str()).map_err(CallError::InvalidReply)
    }
}

impl fmt::Debug for AgentClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("AgentClient");
        shown
            .field("agent_id", &self.agent_id())
            .field("connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}

impl WeakAgentClient {
    /// The client, if a handle of it is left.
    pub fn upgrade(&self) -> Option<AgentClient> {
        self.handle.upgrade().map(|handle| AgentClient { handle })
    }
}

impl fmt::Debug for WeakAgentClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WeakAgentClient").finish_non_exhaustive()
    }
}

impl Core {
    pub(crate) fn new(written_id: Option<String>) -> Self {
        let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
        let seen = Arc::new(Seen::default());
        Self {
            written_id,
            hub: Arc::new(Hub::default()),
            link: Mutex::new(None),
            progress: Mutex::new(None),
            changing: tokio::sync::Mutex::new(()),
            lanes: Arc::new(Lanes::new(&tasks, &cancel)),
            seen,
            tasks,
            cancel,
        }
    }

    pub(crate) fn written_id(&self) -> Option<&str> {
        self.written_id.as_deref()
    }

    pub(crate) fn link(&self) -> Option<Arc<Link>> {
        self.link.lock().expect("poisoned").clone()
    }

    fn set_link(&self, link: Option<Arc<Link>>) {
        *self.link.lock().expect("poisoned") = link;
    }

    /// Somebody wants events now: what was held back is for them.
    pub(crate) fn open_hub(&self) {
        if self.hub.open()
            && let Some(link) = self.link()
        {
            link.dispatch.release();
        }
    }

    /// Where another session goes on, and the log in which that counts. The workspace may have lost the last moments of
    /// what was acknowledged, and would begin before what was handled here already: out of order.
    fn position(&self) -> Option<(Sequence, String)> {
        // An id that the workspace makes is another one each time.
        self.written_id.as_ref()?;
        self.progress.lock().expect("poisoned").as_ref()?.position()
    }

    /// Begins a session in place of the one before.
    pub(crate) async fn join(&self, connector: Connector, mut hello: Hello) -> Result<(), ConnectError> {
        let _changing = self.changing.lock().await;
        let before = self.link();
        if let Some(before) = &before {
            before.make_way().await;
            self.set_link(None);
        }
        let consuming = hello.session == SessionKind::Consuming;
        if hello.after.is_some() {
            self.seen.forget();
        } else if consuming {
            (hello.after, hello.log) = self.position().unzip();
        }
        let opened = connector.open(hello.clone()).await.inspect_err(|_| {
            if before.is_some() {
                self.hub.close();
            }
        })?;
        self.hub.begin_session();
        let link = Link::start(connector, hello, opened, self);
        if consuming {
            *self.progress.lock().expect("poisoned") = Some(Arc::clone(&link.progress));
        }
        self.set_link(Some(Arc::clone(&link)));
        if self.hub.is_open() {
            // Somebody may have come while there was no session to release anything.
            link.dispatch.release();
        }
        Ok(())
    }

    async fn request<C: Call>(&self, method: &str, params: &C, timeout: Duration) -> Result<Json, CallError> {
        let params = serde_json::value::to_raw_value(params)
            .map(Json::from_raw)
            .map_err(|error| {
                CallError::Refused(ErrorBody::field(
                    ErrorCode::InvalidField,
                    "params",
                    error.to_string(),
                ))
            })?;
        let Some(link) = self.link() else {
            return Err(CallError::NotConnected(not_connected()));
        };
        let deadline = deadline(timeout);
        let late = |_| CallError::TimedOut(timeout);
        let space = tokio::time::timeout_at(deadline, link.outbox.space())
            .await
            .map_err(late)?;
        let space = space.map_err(CallError::NotConnected)?;
        let queued = link.outbox.request(space, method, params, repeat(method));
        let (id, response) = queued.map_err(CallError::NotConnected)?;
        let Ok(answered) = tokio::time::timeout_at(deadline, response).await else {
            link.outbox.give_up(id);
            return Err(CallError::TimedOut(timeout));
        };
        answered.unwrap_or_else(|_| Err(CallError::NotConnected(not_connected())))
    }
}

/// Whether doing it twice is the same as doing it once.
fn repeat(method: &str) -> Repeat {
    const REPEATABLE: [&str; 8] = [
        "join_channel",
        "leave_channel",
        "update_agent",
        "set_topic",
        "configure_channel",
        "set_permissions",
        "archive_channel",
        "react",
    ];
    let reads = ["get_", "list_", "read_", "search_", "explain", "follow_"];
    if reads.iter().any(|prefix| method.starts_with(prefix)) || REPEATABLE.contains(&method) {
        Repeat::Allowed
    } else {
        Repeat::Never
    }
}

/// The address of an agent whose id is written with or without `agent:`.
pub(crate) fn agent_address(agent_id: &str) -> String {
    format!("agent:{}", bare_agent_id(agent_id))
}

pub(crate) fn bare_agent_id(agent_id: &str) -> &str {
    agent_id.strip_prefix("agent:").unwrap_or(agent_id)
}
