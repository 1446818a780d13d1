//! One WebSocket connection: frames in, frames out.

use std::error::Error as _;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::{FutureExt, SinkExt};
use openagents_protocol::frame::{
    Addressed, ClientFrame, Dismissal, Hello, PROTOCOL_VERSION, Published, Request, Response, ServedThrough,
    ServerFrame, WINDOW, Welcome, addressed,
};
use openagents_protocol::{AgentId, Draft, ErrorBody, ErrorCode};
use openagents_workspace::{Attach, Deliveries, Outgoing, Session, Workspace};
use tokio::time::{Duration, Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite;

use crate::host::{Credentials, Host};

/// Calls of one connection that may be answered at the same time; further frames wait.
const MAX_CALLS: usize = 64;

/// Bytes of answers with which no further ones are made before they are written.
const TOGETHER: usize = 256 * 1024;

/// Messages that are taken before it is seen what else there is to do.
const IN_A_ROW: usize = 32;

/// Frames that cannot be understood before the connection is closed.
const MAX_ERRORS: u32 = 20;

/// Serves a connection from its hello to its end.
pub(crate) async fn serve(mut socket: WebSocket, host: Arc<Host>) {
    let stopping = host.stopping.clone();
    let hello = tokio::select! {
        () = stopping.cancelled() => Err(dismissal(ErrorCode::ShuttingDown, "the server is going down")),
        hello = timeout(host.limits.hello_timeout, read_hello(&mut socket, &host)) => hello
            .unwrap_or_else(|_| Err(dismissal(ErrorCode::HelloExpected, "no hello came in time"))),
    };
    let workspace = host.workspace();
    let begun = match hello {
        Ok(Some(hello)) => begin(&workspace, &host, hello).await,
        Ok(None) => return,
        Err(dismissal) => Err(dismissal),
    };
    match begun {
        Ok((session, deliveries, welcome)) => {
            let frame = ServerFrame::Welcome(Box::new(welcome)).encode();
            if send(&mut socket, &host, vec![text(frame)]).await.is_ok() {
                Connection::new(socket, &host, session).run(deliveries).await;
            }
        }
        Err(dismissal) => say_goodbye(&mut socket, &host, dismissal).await,
    }
}

/// The first frame; none when the client went away before it.
async fn read_hello(socket: &mut WebSocket, host: &Host) -> Result<Option<Hello>, Dismissal> {
    loop {
        let message = match socket.recv().await {
            Some(Ok(message)) => message,
            Some(Err(error)) => return blame(&error, host).map_or(Ok(None), Err),
            None => return Ok(None),
        };
        let frame = match message {
            Message::Text(text) => ClientFrame::decode(text.as_str()),
            Message::Binary(_) => return Err(dismissal(ErrorCode::InvalidFrame, "frames are text")),
            Message::Close(_) => return Ok(None),
            Message::Ping(_) | Message::Pong(_) => continue,
        };
        return match frame {
            Ok(ClientFrame::Hello(hello)) => Ok(Some(*hello)),
            Ok(_) => Err(dismissal(ErrorCode::HelloExpected, "the first frame is a hello")),
            Err(error) => Err(Dismissal {
                code: error.code,
                message: error.message,
            }),
        };
    }
}

async fn begin(
    workspace: &Workspace,
    host: &Host,
    hello: Hello,
) -> Result<(Session, Deliveries, Welcome), Dismissal> {
    let refuse = |error: ErrorBody| Dismissal {
        code: error.code,
        message: error.message,
    };
    if hello.protocol != PROTOCOL_VERSION {
        let message = format!("this server speaks version {PROTOCOL_VERSION} of the protocol");
        return Err(Dismissal {
            code: ErrorCode::UnsupportedProtocol,
            message,
        });
    }
    let credentials = Credentials {
        token: hello.token,
        password_hash: hello.password_hash,
    };
    let principal = host.authenticate(&credentials).await.map_err(refuse)?;
    let agent_id = hello.agent_id.as_deref().map(AgentId::from_written).transpose();
    let agent_id = agent_id.map_err(|error| refuse(ErrorBody::name("agent_id", &error)))?;
    let attach = Attach {
        principal,
        agent_id,
        kind: hello.session,
        session_key: hello.session_key,
        metadata: hello.metadata,
        after: hello.after,
        log: hello.log,
        backlog: hello.backlog.unwrap_or(workspace.settings().backlog),
    };
    let (session, deliveries) = workspace.attach(attach).await.map_err(refuse)?;
    if hello.follow_system {
        session.follow_system();
    }
    let settings = workspace.settings();
    let welcome = Welcome {
        protocol: PROTOCOL_VERSION,
        server: env!("CARGO_PKG_VERSION").to_owned(),
        workspace: settings.name.clone(),
        agent_id: session.caller().agent_id.to_string(),
        session_key: session.key().clone(),
        log: Some(workspace.log_id()),
        head: workspace.head(),
        cursor: session.start(),
        lease_ms: u64::try_from(settings.lease.as_millis()).unwrap_or(u64::MAX),
        window: u32::try_from(WINDOW).expect("a small constant"),
        max_frame_bytes: host.limits.max_frame_bytes as u64,
    };
    tracing::debug!(agent = %session.caller().agent_id, client = hello.client.as_deref(), "a session begins");
    Ok((session, deliveries, welcome))
}

struct Connection<'a> {
    socket: WebSocket,
    host: &'a Host,
    session: Session,
    calls: FuturesUnordered<BoxFuture<'static, Message>>,
    heard: Instant,
    asked: bool,
    errors: u32,
}

/// How a connection ends.
enum End {
    /// The client left, for this reason.
    Left(Option<String>),
    /// The connection broke; the agent keeps its lease.
    Dropped,
    /// The server ends it.
    Dismissed(Dismissal),
}

impl<'a> Connection<'a> {
    fn new(socket: WebSocket, host: &'a Host, session: Session) -> Self {
        let calls = FuturesUnordered::new();
        Self {
            socket,
            host,
            session,
            calls,
            heard: Instant::now(),
            asked: false,
            errors: 0,
        }
    }

    async fn run(mut self, deliveries: Deliveries) {
        match self.exchange(deliveries).await {
            End::Left(reason) => {
                self.session.leave(reason).await;
                let close = SinkExt::close(&mut self.socket);
                drop(timeout(self.host.limits.drain, close).await);
            }
            End::Dropped => {}
            End::Dismissed(dismissal) => say_goodbye(&mut self.socket, self.host, dismissal).await,
        }
    }

    async fn exchange(&mut self, deliveries: Deliveries) -> End {
        // Deliveries own what they took, so the future lives on until it resolves, whatever else happens.
        let mut next = pin!(take_next(deliveries));
        let mut silence = pin!(sleep_until(self.heard + self.host.limits.ping_after));
        let mut expiry = pin!(expiry(self.session.expires_in()));
        // Set once the client said goodbye: it still gets the receipts of what it published before.
        let mut leaving: Option<Option<String>> = None;
        loop {
            if let Some(reason) = &leaving
                && !self.session.awaits_receipts()
            {
                return End::Left(reason.clone());
            }
            let reading = leaving.is_none() && self.has_room();
            tokio::select! {
                (deliveries, outgoing) = &mut next => {
                    next.set(take_next(deliveries));
                    let begun = Instant::now();
                    if let ControlFlow::Break(end) = self.deliver(outgoing).await {
                        return end;
                    }
                    self.was_deaf_since(begun);
                }
                message = self.socket.recv(), if reading => {
                    self.session.occupied();
                    let begun = Instant::now();
                    self.heard = begun;
                    self.asked = false;
                    self.session.heard();
                    match self.receive_all(message).await {
                        ControlFlow::Continue(()) => self.was_deaf_since(begun),
                        ControlFlow::Break(End::Left(reason)) => {
                            leaving = Some(reason);
                            silence.set(sleep_until(Instant::now() + self.host.limits.drain));
                        }
                        ControlFlow::Break(end) => return end,
                    }
                }
                Some(answer) = self.calls.next() => {
                    self.session.occupied();
                    let begun = Instant::now();
                    let answers = self.further_answers(answer);
                    if self.send(answers).await.is_err() {
                        return End::Dropped;
                    }
                    self.was_deaf_since(begun);
                }
                () = &mut expiry => {
                    return End::Dismissed(dismissal(ErrorCode::TokenExpired, "the token has expired: ask for a new one"));
                }
                () = &mut silence => {
                    self.session.occupied();
                    if let Some(reason) = leaving {
                        return End::Left(reason);
                    }
                    if let ControlFlow::Break(end) = self.mind_silence(reading).await {
                        return end;
                    }
                    let limits = &self.host.limits;
                    let patience = if self.asked { limits.pong_within } else { Duration::ZERO };
                    silence.set(sleep_until(self.heard + limits.ping_after + patience));
                }
            }
        }
    }

    /// Whether it may read a frame now.
    fn has_room(&self) -> bool {
        self.session.has_room() && self.calls.len() < MAX_CALLS
    }

    /// Takes a message and those that came with it.
    async fn receive_all(&mut self, first: Option<Result<Message, axum::Error>>) -> ControlFlow<End> {
        self.receive(first).await?;
        for _ in 1..IN_A_ROW {
            if !self.has_room() {
                break;
            }
            let Some(message) = self.socket.recv().now_or_never() else {
                break;
            };
            self.receive(message).await?;
        }
        ControlFlow::Continue(())
    }

    /// Answers that are there, beginning with this one, to be written together.
    fn further_answers(&mut self, answer: Message) -> Vec<Message> {
        let length = |message: &Message| message.to_text().map_or(0, str::len);
        let mut bytes = length(&answer);
        let mut answers = vec![answer];
        while bytes < TOGETHER
            && let Some(Some(answer)) = self.calls.next().now_or_never()
        {
            bytes += length(&answer);
            answers.push(answer);
        }
        answers
    }

    async fn deliver(&mut self, outgoing: Vec<Outgoing>) -> ControlFlow<End> {
        let mut frames = Vec::with_capacity(outgoing.len());
        let mut end = None;
        for item in outgoing {
            frames.push(match item {
                Outgoing::Event(event) => match Utf8Bytes::try_from(event.frame()) {
                    Ok(text) => Message::Text(text),
                    Err(_) => continue,
                },
                Outgoing::Published(id, outcome) => text(
                    ServerFrame::Published(Box::new(Published {
                        id,
                        response: outcome.into(),
                    }))
                    .encode(),
                ),
                Outgoing::Probe => self.ping(),
                Outgoing::End(dismissal) => {
                    end = Some(End::Dismissed(dismissal));
                    break;
                }
            });
        }
        if self.send(frames).await.is_err() {
            return ControlFlow::Break(End::Dropped);
        }
        end.map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }

    async fn receive(&mut self, message: Option<Result<Message, axum::Error>>) -> ControlFlow<End> {
        let message = match message {
            None => return ControlFlow::Break(End::Dropped),
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                tracing::debug!(%error, agent = %self.session.caller().agent_id, "the connection broke");
                return ControlFlow::Break(blame(&error, self.host).map_or(End::Dropped, End::Dismissed));
            }
        };
        match message {
            Message::Text(text) => match ClientFrame::decode(text.as_str()) {
                Ok(frame) => self.handle(frame).await,
                Err(error) => self.complain_about(text.as_str(), error).await,
            },
            Message::Binary(_) => {
                self.complain(ErrorBody::new(ErrorCode::InvalidFrame, "frames are text"))
                    .await
            }
            Message::Ping(_) | Message::Pong(_) => ControlFlow::Continue(()),
            // Whoever closes by the book leaves, with or without a goodbye.
            Message::Close(_) => ControlFlow::Break(End::Left(None)),
        }
    }

    /// Tells the client which of its publishes or requests was not understood, where the frame says so much.
    async fn complain_about(&mut self, frame: &str, error: ErrorBody) -> ControlFlow<End> {
        let answer = match addressed(frame) {
            Some(Addressed::Publish(id)) => ServerFrame::Published(Box::new(Published {
                id,
                response: Err(error).into(),
            })),
            Some(Addressed::Request(id)) => ServerFrame::Response(Response {
                id,
                result: None,
                error: Some(error),
            }),
            None => return self.complain(error).await,
        };
        self.send_one(text(answer.encode())).await
    }

    async fn handle(&mut self, frame: ClientFrame) -> ControlFlow<End> {
        match frame {
            ClientFrame::Publish(publish) => {
                let outcome = match Draft::parse(publish.event) {
                    Ok(draft) => self.session.submit(publish.id, draft).await,
                    Err(error) => Err(error),
                };
                let Err(error) = outcome else {
                    return ControlFlow::Continue(());
                };
                let refusal = Published {
                    id: publish.id,
                    response: Err(error).into(),
                };
                self.send_one(text(ServerFrame::Published(Box::new(refusal)).encode()))
                    .await
            }
            ClientFrame::Request(request) => {
                self.calls.push(answer(self.session.clone(), request).boxed());
                ControlFlow::Continue(())
            }
            ClientFrame::Ack(ack) => {
                self.session.acknowledge(ack.through);
                ControlFlow::Continue(())
            }
            ClientFrame::Ping => {
                let through = self.session.served_through();
                self.send_one(text(ServerFrame::Pong(ServedThrough { through }).encode()))
                    .await
            }
            ClientFrame::Pong => ControlFlow::Continue(()),
            ClientFrame::Goodbye(leave) => ControlFlow::Break(End::Left(leave.reason)),
            _ => {
                self.complain(ErrorBody::new(
                    ErrorCode::UnexpectedFrame,
                    "the session has begun already",
                ))
                .await
            }
        }
    }

    /// Tells the client that it was not understood; ends the connection when that happens too often.
    async fn complain(&mut self, error: ErrorBody) -> ControlFlow<End> {
        self.errors += 1;
        if self.errors == MAX_ERRORS {
            let message = format!(
                "{MAX_ERRORS} frames could not be understood, the last one: {}",
                error.message
            );
            return ControlFlow::Break(End::Dismissed(Dismissal {
                code: error.code,
                message,
            }));
        }
        self.send_one(text(ServerFrame::Error(error).encode())).await
    }

    /// Since then the client was not listened to, because something that came before had to wait for room in the log or
    /// on the line: that is no silence of the client.
    fn was_deaf_since(&mut self, begun: Instant) {
        self.heard += begun.elapsed();
    }

    /// Asks a silent client whether it is there, and gives up on one that does not answer.
    async fn mind_silence(&mut self, reading: bool) -> ControlFlow<End> {
        let after = self.host.limits.ping_after;
        let silent = self.heard.elapsed();
        if silent < after || !reading {
            // Not silent, or not listened to: then the silence is not the client's.
            if !reading {
                self.heard = Instant::now();
            }
            return ControlFlow::Continue(());
        }
        if after + self.host.limits.pong_within <= silent {
            return ControlFlow::Break(End::Dismissed(dismissal(
                ErrorCode::TimedOut,
                "nothing came for too long",
            )));
        }
        self.asked = true;
        let ping = self.ping();
        self.send_one(ping).await
    }

    fn ping(&self) -> Message {
        text(
            ServerFrame::Ping(ServedThrough {
                through: self.session.served_through(),
            })
            .encode(),
        )
    }

    async fn send_one(&mut self, message: Message) -> ControlFlow<End> {
        match self.send(vec![message]).await {
            Ok(()) => ControlFlow::Continue(()),
            Err(()) => ControlFlow::Break(End::Dropped),
        }
    }

    async fn send(&mut self, messages: Vec<Message>) -> Result<(), ()> {
        send(&mut self.socket, self.host, messages).await
    }
}

/// Resolves when the token that admitted a session ends; never, for one that does not.
async fn expiry(after: Option<Duration>) {
    match after {
        Some(after) => tokio::time::sleep(after).await,
        None => std::future::pending().await,
    }
}

async fn take_next(mut deliveries: Deliveries) -> (Deliveries, Vec<Outgoing>) {
    let outgoing = deliveries.next().await;
    (deliveries, outgoing)
}

async fn answer(session: Session, request: Request) -> Message {
    let outcome = session.call(&request.method, &request.params).await;
    let (result, error) = match outcome {
        Ok(result) => (Some(result), None),
        Err(error) => (None, Some(error)),
    };
    text(
        ServerFrame::Response(Response {
            id: request.id,
            result,
            error,
        })
        .encode(),
    )
}

/// Writes messages and flushes once; a client that takes nothing for too long is given up.
async fn send(socket: &mut WebSocket, host: &Host, messages: Vec<Message>) -> Result<(), ()> {
    let write = async {
        for message in messages {
            socket.feed(message).await?;
        }
        socket.flush().await
    };
    match timeout(host.limits.write_timeout, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(()),
    }
}

async fn say_goodbye(socket: &mut WebSocket, host: &Host, dismissal: Dismissal) {
    let reason = Utf8Bytes::from(dismissal.code.as_str());
    let frame = text(ServerFrame::Goodbye(dismissal).encode());
    let close = Message::Close(Some(CloseFrame {
        code: close_code::NORMAL,
        reason,
    }));
    // The client may be gone already; there is nothing left to do for it then. If it is not, it reads this even though
    // the connection is closed at once: see `Socket`.
    if send(socket, host, vec![frame, close]).await.is_err() {
        tracing::debug!("a client left before the goodbye");
    }
}

/// What the client is told when reading from it fails; nothing when it is gone.
fn blame(error: &axum::Error, host: &Host) -> Option<Dismissal> {
    // Where axum's WebSocket is built on another version than ours, no error is found and the connection just ends.
    let error = error
        .source()
        .and_then(|source| source.downcast_ref::<tungstenite::Error>())?;
    match error {
        tungstenite::Error::Capacity(_) => Some(Dismissal {
            code: ErrorCode::TooLarge,
            message: format!("a frame has at most {} bytes", host.limits.max_frame_bytes),
        }),
        tungstenite::Error::Utf8(_) => Some(dismissal(ErrorCode::InvalidFrame, "a frame is not UTF-8")),
        _ => None,
    }
}

fn text(frame: String) -> Message {
    Message::Text(frame.into())
}

fn dismissal(code: ErrorCode, message: &str) -> Dismissal {
    Dismissal {
        code,
        message: message.to_owned(),
    }
}
