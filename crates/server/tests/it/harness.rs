//! What the tests share: a server, a client of frames, a client of HTTP; every wait has a limit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use openagents_protocol::call::{CreateToken, CreatedToken};
use openagents_protocol::frame::{Dismissal, ServerFrame, Welcome};
use openagents_protocol::record::Role;
use openagents_protocol::{ErrorBody, ErrorCode, Event, EventResponse};
use openagents_server::{Caller, Config, Durability, Server};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Longer than anything here takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Waits for something that must happen.
pub(crate) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, future)
        .await
        .expect("it did not happen in time")
}

/// A server with a workspace of its own.
pub(crate) struct Running {
    pub(crate) server: Server,
    pub(crate) directory: TempDir,
}

impl Running {
    /// With every default, open, on loopback.
    pub(crate) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::bind(config(&directory, change)).await.unwrap();
        Self { server, directory }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        within(LIMIT, TcpStream::connect(self.server.local_addr()))
            .await
            .unwrap()
    }

    /// A session of this agent.
    pub(crate) async fn join(&self, agent_id: &str) -> Client {
        self.hello(json!({"agent_id": agent_id})).await.unwrap()
    }

    /// A session, or why there is none.
    pub(crate) async fn hello(&self, hello: Value) -> Result<Client, Dismissal> {
        Client::over(self.connect().await).await.hello(hello).await
    }

    /// A WebSocket without a session yet.
    pub(crate) async fn websocket(&self) -> Client {
        Client::over(self.connect().await).await
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> Request<'_> {
        Request {
            running: self,
            head: format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n"),
            host: self.server.local_addr().to_string(),
            body: String::new(),
        }
    }

    /// A new token, made past the wire.
    pub(crate) async fn token(&self, role: Role, agent_id: Option<&str>) -> CreatedToken {
        let params = CreateToken {
            role,
            agent_id: agent_id.map(|id| id.parse().unwrap()),
            expires_in_seconds: None,
        };
        self.make_token(params).await
    }

    pub(crate) async fn make_token(&self, params: CreateToken) -> CreatedToken {
        let operator = Caller::new("operator".parse().unwrap(), Role::Admin);
        self.server
            .workspace()
            .create_token(&operator, params)
            .await
            .unwrap()
    }
}

pub(crate) fn config(directory: &TempDir, change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::new(directory.path());
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.workspace.durability = Durability::Memory;
    change(&mut config);
    config
}

/// The event that posts a text.
pub(crate) fn post(channel: &str, text: &str) -> Value {
    json!({
        "event_name": "channel.message.posted",
        "destination_id": format!("channel:{channel}"),
        "payload": {"content": {"text": text}},
    })
}

/// The event that sends a text to an agent.
pub(crate) fn direct(agent_id: &str, text: &str) -> Value {
    json!({
        "event_name": "direct.message.received",
        "destination_id": format!("agent:{agent_id}"),
        "payload": {"content": {"text": text}},
    })
}

/// Two sessions talk, so neither was disturbed.
pub(crate) async fn exchange(one: &mut Client, other: &mut Client) {
    for (text, forth) in [("are you there?", true), ("I am", false)] {
        let (from, to) = if forth {
            (&mut *one, &mut *other)
        } else {
            (&mut *other, &mut *one)
        };
        assert!(from.publish(post("general", text)).await.success);
        while to.event().await.text() != Some(text) {}
    }
}

/// A client of frames. It answers pings whenever it reads.
pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<TcpStream>,
    pub(crate) welcome: Option<Welcome>,
    events: VecDeque<Event>,
    next_id: u64,
}

impl Client {
    pub(crate) async fn over(stream: TcpStream) -> Self {
        let url = format!("ws://{}/ws", stream.peer_addr().unwrap());
        let (socket, _) = within(LIMIT, tokio_tungstenite::client_async(url, stream))
            .await
            .unwrap();
        Self {
            socket,
            welcome: None,
            events: VecDeque::new(),
            next_id: 0,
        }
    }

    pub(crate) async fn hello(mut self, hello: Value) -> Result<Self, Dismissal> {
        let mut frame = json!({"type": "hello", "protocol": 1});
        frame
            .as_object_mut()
            .unwrap()
            .extend(hello.as_object().unwrap().clone());
        self.send(&frame).await;
        match self.frame().await {
            Some(ServerFrame::Welcome(welcome)) => {
                self.welcome = Some(*welcome);
                Ok(self)
            }
            Some(ServerFrame::Goodbye(dismissal)) => Err(dismissal),
            other => panic!("neither welcome nor goodbye: {other:?}"),
        }
    }

    pub(crate) fn session_key(&self) -> String {
        self.welcome.as_ref().unwrap().session_key.expose().to_owned()
    }

    pub(crate) async fn send(&mut self, frame: &Value) {
        self.send_message(Message::text(frame.to_string())).await;
    }

    pub(crate) async fn send_message(&mut self, message: Message) {
        within(LIMIT, self.socket.send(message)).await.unwrap();
    }

    /// The next frame; none at the end.
    pub(crate) async fn frame(&mut self) -> Option<ServerFrame> {
        // One limit for all of it: a server that only pings is not waited for.
        within(LIMIT, self.next_but_pings()).await
    }

    async fn next_but_pings(&mut self) -> Option<ServerFrame> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => match ServerFrame::decode(text.as_str()).unwrap() {
                    ServerFrame::Ping(_) => self.send(&json!({"type": "pong"})).await,
                    frame => return Some(frame),
                },
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The next frame that is no event; events wait for [`Client::event`].
    async fn answer(&mut self) -> Option<ServerFrame> {
        loop {
            match self.frame().await {
                Some(ServerFrame::Event(event)) => self.events.push_back(Arc::unwrap_or_clone(event)),
                other => return other,
            }
        }
    }

    pub(crate) async fn event(&mut self) -> Event {
        if let Some(event) = self.events.pop_front() {
            return event;
        }
        match self.frame().await {
            Some(ServerFrame::Event(event)) => Arc::unwrap_or_clone(event),
            other => panic!("no event: {other:?}"),
        }
    }

    pub(crate) async fn event_named(&mut self, name: &str) -> Event {
        loop {
            let event = self.event().await;
            if event.event_name == name {
                return event;
            }
        }
    }

    /// Every event up to the one with this text, which is not among them.
    pub(crate) async fn events_until(&mut self, text: &str) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let event = self.event().await;
            if event.text() == Some(text) {
                return events;
            }
            events.push(event);
        }
    }

    pub(crate) async fn publish(&mut self, event: Value) -> EventResponse {
        self.next_id += 1;
        self.send(&json!({"type": "publish", "id": self.next_id, "event": event}))
            .await;
        match self.answer().await {
            Some(ServerFrame::Published(published)) if published.id == self.next_id => published.response,
            other => panic!("no answer to a publish: {other:?}"),
        }
    }

    pub(crate) async fn refused(&mut self, event: Value) -> (ErrorCode, Option<String>) {
        let response = self.publish(event).await;
        assert!(!response.success);
        blame(response.error.unwrap())
    }

    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Result<Value, ErrorBody> {
        self.next_id += 1;
        self.send(&json!({"type": "request", "id": self.next_id, "method": method, "params": params}))
            .await;
        match self.answer().await {
            Some(ServerFrame::Response(response)) => match response.error {
                Some(error) => Err(error),
                None => Ok(response.result.unwrap().value().clone()),
            },
            other => panic!("no answer to a call: {other:?}"),
        }
    }

    /// The error that a frame is answered with; one that says which publish or request it was is answered as such.
    pub(crate) async fn error(&mut self) -> (ErrorCode, Option<String>) {
        match self.answer().await {
            Some(ServerFrame::Error(error)) => blame(error),
            Some(ServerFrame::Published(published)) => blame(published.response.error.unwrap()),
            Some(ServerFrame::Response(response)) => blame(response.error.unwrap()),
            other => panic!("no error: {other:?}"),
        }
    }

    /// The reason for which the server ends the session; the connection is closed after it.
    pub(crate) async fn goodbye(&mut self) -> ErrorCode {
        match self.answer().await {
            Some(ServerFrame::Goodbye(dismissal)) => {
                assert!(self.frame().await.is_none(), "nothing comes after a goodbye");
                dismissal.code
            }
            other => panic!("no goodbye: {other:?}"),
        }
    }
}

pub(crate) fn blame(error: ErrorBody) -> (ErrorCode, Option<String>) {
    assert!(!error.message.is_empty());
    (error.code, error.field)
}

/// A request in the making.
pub(crate) struct Request<'a> {
    running: &'a Running,
    head: String,
    host: String,
    body: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Request<'_> {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.head.extend([name, ": ", value, "\r\n"]);
        self
    }

    pub(crate) fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    pub(crate) fn acting_as(self, agent_id: &str) -> Self {
        self.header("x-agent-id", agent_id)
    }

    pub(crate) fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.text(&body.to_string())
    }

    pub(crate) fn text(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self.header("content-type", "application/json")
    }

    pub(crate) async fn send(self) -> Reply {
        let stream = self.running.connect().await;
        self.over(stream).await
    }

    pub(crate) async fn over(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Reply {
        let Self { head, host, body, .. } = self;
        let length = body.len();
        let request = format!("{head}host: {host}\r\ncontent-length: {length}\r\n\r\n{body}");
        within(LIMIT, stream.write_all(request.as_bytes())).await.unwrap();
        let mut answer = Vec::new();
        within(LIMIT, stream.read_to_end(&mut answer)).await.unwrap();
        Reply::read(&answer)
    }
}

impl Reply {
    fn read(answer: &[u8]) -> Self {
        let answer = std::str::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            status,
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The body of a success.
    pub(crate) fn ok(&self) -> Value {
        assert!((200..300).contains(&self.status), "{self:?}");
        self.json()
    }

    /// The status of a refusal, with its code and field.
    pub(crate) fn refusal(&self) -> (u16, ErrorCode, Option<String>) {
        let error: ErrorBody = serde_json::from_value(self.json()["error"].clone()).unwrap();
        let (code, field) = blame(error);
        (self.status, code, field)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let line = self
            .head
            .lines()
            .find(|line| line.starts_with(&format!("{name}:")));
        line.map(|line| line[name.len() + 1..].trim())
    }
}
