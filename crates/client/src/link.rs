//! One session with a server, across as many connections as it takes.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use openagents_protocol::call::{Call, FollowSystem};
use openagents_protocol::frame::{
    Ack, Backlog, ClientFrame, Hello, Leave, Published, Response, ServerFrame, Welcome,
};
use openagents_protocol::{ErrorBody, ErrorCode, Json, Sequence};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::client::Core;
use crate::connector::http::Transfer;
use crate::connector::{Broken, Connector, Opened, Receiver, Sender};
use crate::dispatch::{Arrivals, Dispatch, Overrun};
use crate::error::{CallError, ConnectError, not_connected};
use crate::hub::Hub;
use crate::outbox::{Outbox, Repeat};
use crate::progress::Progress;

/// After this much silence the server is asked whether it is there.
const ASK_AFTER: Duration = Duration::from_secs(15);

/// After this much silence the connection counts as dead.
const DEAD_AFTER: Duration = Duration::from_secs(30);

/// How long the server may take to close after a goodbye.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// How long leaving may take in all, writing what is queued included.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// How long an acknowledgement may wait for something to be written with it, or for more to acknowledge: one for each
/// event would cost both sides more than the event itself.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_millis(2);

/// The most events that are handed over together: about what is read at once.
const TOGETHER: usize = 16;

/// A connection that lived this long makes the next attempts start with short delays again.
const STABLE_AFTER: Duration = Duration::from_secs(5);

/// A session as the client sees it.
pub(crate) struct Link {
    pub(crate) outbox: Outbox,
    pub(crate) dispatch: Dispatch,
    pub(crate) progress: Arc<Progress>,
    hub: Arc<Hub>,
    /// Of the latest connection.
    welcome: Mutex<Arc<Welcome>>,
    connected: AtomicBool,
    /// Wakes the writer.
    wake: Arc<Notify>,
    leave: CancellationToken,
    /// Ends the task at once.
    cancel: CancellationToken,
    ended: CancellationToken,
    /// Whether another session takes its place, so that waits and streams go on.
    replaced: AtomicBool,
    /// What the agent says of itself, for the next hello; guarded for a moment only.
    metadata: Mutex<Option<Json>>,
    transfer: Transfer,
}

impl Link {
    /// Begins a session of a client over a connection that was just opened; its task ends with the client.
    pub(crate) fn start(connector: Connector, hello: Hello, opened: Opened, core: &Core) -> Arc<Self> {
        let wake = Arc::new(Notify::new());
        let welcome = &opened.welcome;
        let progress = Progress::new(welcome, &core.seen, Arc::clone(&wake));
        let progress = Arc::new(progress);
        let link = Arc::new(Self {
            outbox: Outbox::new(Arc::clone(&wake)),
            dispatch: Dispatch::new(&core.hub, &progress, &core.seen, &core.lanes),
            progress,
            hub: Arc::clone(&core.hub),
            welcome: Mutex::new(Arc::new(opened.welcome.clone())),
            connected: AtomicBool::new(true),
            wake,
            leave: CancellationToken::new(),
            cancel: core.cancel.child_token(),
            ended: CancellationToken::new(),
            replaced: AtomicBool::new(false),
            metadata: Mutex::new(hello.metadata.clone()),
            transfer: Transfer {
                connector: connector.clone(),
                credentials: hello.token.clone().or_else(|| hello.password_hash.clone()),
                tasks: core.tasks.clone(),
            },
        });
        let session = Session {
            link: Arc::clone(&link),
            connector,
            hello,
        };
        core.tasks.spawn(async move {
            let reason = session
                .link
                .cancel
                .run_until_cancelled(Box::pin(session.run(opened)))
                .await;
            session.link.end(&reason.unwrap_or_else(not_connected));
        });
        link
    }

    /// Sends the content of files to the server of this session, and fetches it.
    pub(crate) fn transfer(&self) -> &Transfer {
        &self.transfer
    }

    /// Asks for the events of the workspace itself; the next hello does, should this get lost.
    pub(crate) fn follow_system(&self) {
        if let Some(space) = self.outbox.try_space() {
            let params = Json::empty_object();
            drop(
                self.outbox
                    .request(space, FollowSystem::METHOD, params, Repeat::Allowed),
            );
        }
    }

    /// The agent says something else of itself, also when it comes back.
    pub(crate) fn set_metadata(&self, metadata: Json) {
        *self.metadata.lock().expect("poisoned") = Some(metadata);
    }

    fn metadata(&self) -> Option<Json> {
        self.metadata.lock().expect("poisoned").clone()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    pub(crate) fn welcome(&self) -> Arc<Welcome> {
        Arc::clone(&self.welcome.lock().expect("poisoned"))
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Whether the client goes on in another session.
    pub(crate) fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Relaxed)
    }

    /// Says goodbye, after everything queued was written, and waits for the end; a server that does not take
    /// it is left without.
    pub(crate) async fn leave(&self) {
        self.leave.cancel();
        if tokio::time::timeout(GONE_WITHIN, self.ended.cancelled())
            .await
            .is_err()
        {
            self.cancel.cancel();
        }
    }

    /// The same, for a client that goes on in another session.
    pub(crate) async fn make_way(&self) {
        self.replaced.store(true, Ordering::Relaxed);
        self.leave().await;
    }

    /// Ends it for good.
    fn end(&self, reason: &ErrorBody) {
        self.connected.store(false, Ordering::Relaxed);
        self.dispatch.stop();
        self.outbox.end(reason);
        if !self.replaced.load(Ordering::Relaxed) {
            self.hub.close();
        }
        self.ended.cancel();
    }

    fn resume(&self, welcome: Welcome) {
        self.progress.resume(&welcome);
        *self.welcome.lock().expect("poisoned") = Arc::new(welcome);
        self.connected.store(true, Ordering::Relaxed);
    }
}

/// Why a connection is over.
enum End {
    /// The client left.
    Left,
    /// The server ended the session.
    Dismissed(ErrorBody),
    /// It broke.
    Broken(Broken),
}

/// The task of a session.
struct Session {
    link: Arc<Link>,
    connector: Connector,
    /// As it was said first.
    hello: Hello,
}

/// What the halves of a connection tell each other.
struct Line {
    started: Instant,
    /// When something was heard last, in milliseconds after the start.
    heard_ms: AtomicU64,
    ping: AtomicBool,
    pong: AtomicBool,
    max_frame_bytes: u64,
}

impl Session {
    /// Goes on over one connection after the other; returns why there is no further one.
    async fn run(&self, first: Opened) -> ErrorBody {
        let (mut opened, mut backoff) = (first, Backoff::new());
        loop {
            let started = Instant::now();
            let agent = opened.welcome.agent_id.clone();
            let error = match self.serve(opened).await {
                End::Left => return not_connected(),
                End::Dismissed(error) if !error.is_retryable() => {
                    tracing::warn!(agent, code = %error.code, %error, "the workspace ended the session for good");
                    return error;
                }
                End::Dismissed(error) => error.to_string(),
                End::Broken(broken) => broken.to_string(),
            };
            tracing::warn!(agent, error, "connection lost, reconnecting");
            self.link.connected.store(false, Ordering::Relaxed);
            self.link.outbox.rewind();
            if STABLE_AFTER < started.elapsed() {
                backoff = Backoff::new();
            }
            opened = match self.reconnect(&mut backoff).await {
                Ok(opened) => opened,
                Err(reason) => return reason,
            };
            self.link.resume(opened.welcome.clone());
            tracing::info!(agent, "connection restored");
        }
    }

    /// Tries until it works, the client leaves, or the workspace says no for good.
    async fn reconnect(&self, backoff: &mut Backoff) -> Result<Opened, ErrorBody> {
        loop {
            let attempt = async {
                tokio::time::sleep(backoff.next_delay()).await;
                self.connector.open(self.resuming()).await
            };
            match self.link.leave.run_until_cancelled(attempt).await {
                None => return Err(not_connected()),
                Some(Ok(opened)) => return Ok(opened),
                Some(Err(ConnectError::Refused(error))) if !error.is_retryable() => {
                    tracing::warn!(code = %error.code, %error, "the workspace refused to resume the session");
                    return Err(error);
                }
                Some(Err(error)) => tracing::debug!(code = error.code(), %error, "could not reconnect yet"),
            }
        }
    }

    /// The hello that goes on where this client stopped. A process that lives has lost nothing so far, so it
    /// wants everything.
    fn resuming(&self) -> Hello {
        let welcome = self.link.welcome();
        Hello {
            agent_id: Some(welcome.agent_id.clone()),
            session_key: Some(welcome.session_key.clone()),
            after: Some(self.link.progress.handled()),
            log: welcome.log.clone(),
            backlog: Some(Backlog::All),
            metadata: self.link.metadata(),
            follow_system: self.link.hub.follows_system(),
            ..self.hello.clone()
        }
    }

    async fn serve(&self, opened: Opened) -> End {
        let line = Line {
            started: Instant::now(),
            heard_ms: AtomicU64::new(0),
            ping: AtomicBool::new(false),
            pong: AtomicBool::new(false),
            max_frame_bytes: opened.welcome.max_frame_bytes,
        };
        // One task drives all three: frames that arrive together are answered together, and a write that is
        // stuck stops neither reading nor the watch.
        tokio::select! {
            end = self.read(opened.receiver, &line) => end,
            end = self.write(opened.sender, &line) => end,
            broken = self.watch(&line) => End::Broken(broken),
        }
    }

    async fn read(&self, mut receiver: Receiver, line: &Line) -> End {
        let mut arrivals = Arrivals::default();
        std::future::poll_fn(|context| self.poll_read(context, &mut receiver, line, &mut arrivals)).await
    }

    /// Takes what is there. Events that come together are handed over together, before what comes after them.
    fn poll_read(
        &self,
        context: &mut Context<'_>,
        receiver: &mut Receiver,
        line: &Line,
        arrivals: &mut Arrivals,
    ) -> Poll<End> {
        loop {
            let polled = receiver.poll_next(context);
            if let Poll::Ready(Ok((ServerFrame::Event(event), frame))) = polled {
                arrivals.push(event, &frame);
                if arrivals.len() == TOGETHER
                    && let Err(end) = self.hand_over(line, arrivals)
                {
                    return Poll::Ready(end);
                }
                continue;
            }
            let handed_over = self.hand_over(line, arrivals);
            let Poll::Ready(frame) = polled else {
                return handed_over.map_or_else(Poll::Ready, |()| Poll::Pending);
            };
            let frame = frame.map(|(frame, _)| frame);
            if let Err(end) = handed_over.and_then(|()| self.take(frame, line)) {
                return Poll::Ready(end);
            }
        }
    }

    fn hand_over(&self, line: &Line, arrivals: &mut Arrivals) -> Result<(), End> {
        if arrivals.len() == 0 {
            return Ok(());
        }
        let now = Instant::now();
        line.hear(now);
        if self.link.leave.is_cancelled() {
            arrivals.clear();
            return Ok(());
        }
        self.link.dispatch.arrive(now, arrivals).map_err(|Overrun| {
            let error = ErrorBody::new(ErrorCode::LimitReached, "more events than the window allows");
            End::Broken(Broken::Protocol(error))
        })
    }

    fn take(&self, frame: Result<ServerFrame, Broken>, line: &Line) -> Result<(), End> {
        line.hear(Instant::now());
        match frame {
            Ok(ServerFrame::Published(published)) => self.published(*published),
            Ok(ServerFrame::Response(response)) => self.responded(response),
            Ok(ServerFrame::Ping(served)) => {
                line.pong.store(true, Ordering::Relaxed);
                self.link.wake.notify_one();
                self.served(served.through);
            }
            Ok(ServerFrame::Pong(served)) => self.served(served.through),
            Ok(ServerFrame::Goodbye(_)) if self.link.leave.is_cancelled() => return Err(End::Left),
            Ok(ServerFrame::Goodbye(dismissal)) => {
                let reason = ErrorBody::new(dismissal.code, dismissal.message);
                return Err(End::Dismissed(reason));
            }
            Ok(ServerFrame::Error(error)) => {
                tracing::warn!(code = %error.code, %error, "the server could not read a frame");
            }
            Ok(other) => tracing::debug!(?other, "unexpected frame"),
            Err(Broken::Protocol(error)) => {
                // A newer server may say more than we understand.
                tracing::warn!(code = %error.code, %error, "a frame from the server could not be read");
            }
            Err(_) if self.link.leave.is_cancelled() => return Err(End::Left),
            Err(broken) => return Err(End::Broken(broken)),
        }
        Ok(())
    }

    fn served(&self, through: Sequence) {
        // Before the first handler nothing is acknowledged, not even what was filtered.
        if self.link.hub.is_open() {
            self.link.progress.served(through);
        }
    }

    fn published(&self, published: Published) {
        let waiting = self.link.outbox.published(published.id);
        if let Some(receipt) = &published.response.data {
            // First the waits, so that whoever learns of the acknowledgement finds them up to date.
            self.link
                .hub
                .published(receipt.event_id.as_str(), receipt.sequence);
        }
        if let Some(waiting) = waiting {
            // Whoever sent it may be gone by now.
            waiting.send(published.response).ok();
        }
    }

    fn responded(&self, response: Response) {
        let result = match (response.result, response.error) {
            (_, Some(error)) => Err(CallError::Refused(error)),
            (Some(result), None) => Ok(result),
            (None, None) => {
                let message = "it has neither a result nor an error";
                Err(CallError::InvalidReply(ErrorBody::new(
                    ErrorCode::InvalidFrame,
                    message,
                )))
            }
        };
        self.link.outbox.responded(response.id, result);
    }

    async fn write(&self, mut sender: Sender, line: &Line) -> End {
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        let (mut armed, mut due) = (false, false);
        loop {
            let leaving = self.link.leave.is_cancelled();
            if let Err(broken) = self.write_what_waits(&mut sender, line, due || leaving).await {
                return End::Broken(broken);
            }
            if leaving {
                let goodbye = ClientFrame::Goodbye(Leave::default()).encode();
                let said = async {
                    sender.feed(goodbye.into()).await?;
                    sender.flush().await
                };
                if said.await.is_ok() {
                    // The server closes; reading ends the connection then.
                    tokio::time::sleep(LEAVE_WITHIN).await;
                }
                return End::Left;
            }
            // A timer that runs goes on, even if what it was for went out with something else: setting it is what costs.
            if !armed && self.link.progress.is_unacknowledged() {
                timer.as_mut().reset(Instant::now() + ACKNOWLEDGE_WITHIN);
                armed = true;
            }
            due = tokio::select! {
                () = self.link.wake.notified() => false,
                () = self.link.leave.cancelled() => false,
                () = &mut timer, if armed => true,
            };
            armed &= !due;
        }
    }

    /// Writes it, and with it what is handled, which is written by itself once it is due.
    async fn write_what_waits(&self, sender: &mut Sender, line: &Line, due: bool) -> Result<(), Broken> {
        let mut wrote = false;
        for (wanted, frame) in [(&line.pong, ClientFrame::Pong), (&line.ping, ClientFrame::Ping)] {
            if wanted.swap(false, Ordering::Relaxed) {
                sender.feed(frame.encode().into()).await?;
                wrote = true;
            }
        }
        loop {
            let frames = self.link.outbox.take_unwritten(line.max_frame_bytes);
            if frames.is_empty() {
                break;
            }
            for frame in frames {
                sender.feed(frame).await?;
            }
            wrote = true;
        }
        if (wrote || due || self.link.progress.is_pressing())
            && let Some(through) = self.link.progress.take_acknowledgement()
        {
            sender
                .feed(ClientFrame::Ack(Ack { through }).encode().into())
                .await?;
            wrote = true;
        }
        if wrote { sender.flush().await } else { Ok(()) }
    }

    /// Asks after some silence, and gives up after more.
    async fn watch(&self, line: &Line) -> Broken {
        loop {
            let heard = line.heard();
            tokio::time::sleep_until(heard + ASK_AFTER).await;
            if line.heard() != heard {
                continue;
            }
            line.ping.store(true, Ordering::Relaxed);
            self.link.wake.notify_one();
            tokio::time::sleep_until(heard + DEAD_AFTER).await;
            if line.heard() == heard {
                return Broken::Silent;
            }
        }
    }
}

impl Line {
    fn hear(&self, now: Instant) {
        let elapsed = now.duration_since(self.started).as_millis();
        self.heard_ms
            .store(u64::try_from(elapsed).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn heard(&self) -> Instant {
        self.started + Duration::from_millis(self.heard_ms.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use openagents_protocol::frame::PROTOCOL_VERSION;
    use tokio::io::DuplexStream;
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::Message;

    use super::*;
    use crate::connector::endpoint::Endpoint;
    use crate::connector::tls::TlsFiles;

    /// A session over a pipe, and the other end of it. Where it would reconnect to, nobody listens.
    async fn session() -> (Arc<Link>, WebSocketStream<DuplexStream>) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let (near, far) = tokio::join!(
            tokio_tungstenite::client_async("ws://server/ws", near),
            tokio_tungstenite::accept_async(far)
        );
        let welcome = Welcome {
            protocol: PROTOCOL_VERSION,
            server: "0.0.0".into(),
            workspace: "lab".into(),
            agent_id: "me".into(),
            session_key: "key".into(),
            log: None,
            head: Sequence::ZERO,
            cursor: Sequence::ZERO,
            lease_ms: 30_000,
            window: 1024,
            max_frame_bytes: 1 << 20,
        };
        let opened = Opened::over(near.unwrap().0, welcome);
        let endpoint = Endpoint::parse("127.0.0.1", 1, false).unwrap();
        let connector = Connector::prepare(endpoint, None, TlsFiles::default(), Duration::from_secs(1))
            .await
            .unwrap();
        let core = Core::new(None);
        (
            Link::start(connector, Hello::default(), opened, &core),
            far.unwrap(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_asked_about_and_then_counts_as_a_break() {
        let (link, mut server) = session().await;
        let start = Instant::now();
        let asked = server.next().await.unwrap().unwrap();
        assert!(matches!(asked, Message::Text(text) if text.as_str() == r#"{"type":"ping"}"#));
        assert_eq!(start.elapsed().as_secs(), 15);
        assert!(link.is_connected());
        // The next thing the server sees is that the client hung up.
        while let Some(Ok(_)) = pin!(&mut server).next().await {}
        assert_eq!(start.elapsed().as_secs(), 30);
        assert!(!link.is_connected());
        link.leave().await;
    }
}
