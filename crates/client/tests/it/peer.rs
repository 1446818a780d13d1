//! A server made of nothing but frames: every test says what it sends and when.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use openagents_client::AgentClient;
use openagents_protocol::frame::{
    ClientFrame, Dismissal, Hello, Publish, Published, Response, ServedThrough, ServerFrame, Welcome,
};
use openagents_protocol::{ErrorBody, ErrorCode, Event, EventResponse, Json, Receipt, Recipient, Sequence};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Longer than anything here takes; a test that gets here has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> F::Output {
    tokio::time::timeout(limit, future)
        .await
        .expect("it takes too long")
}

pub(crate) struct Peer {
    listener: TcpListener,
    pub(crate) port: u16,
}

pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

/// The server's side of a connection.
pub(crate) struct Line {
    socket: WebSocketStream<Box<dyn Socket>>,
    pub(crate) hello: Hello,
}

impl Peer {
    pub(crate) async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port }
    }

    /// A client with this id, connected, and the other end of its connection.
    pub(crate) async fn joined(&self, agent_id: &str) -> (AgentClient, Line) {
        let client = AgentClient::new(agent_id);
        let (connected, line) =
            tokio::join!(client.connect_to_server("127.0.0.1", self.port), self.welcome());
        connected.unwrap();
        (client, line)
    }

    /// The next connection, after its hello.
    pub(crate) async fn accept(&self) -> Line {
        let (stream, _) = within(LIMIT, self.listener.accept()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Line::accept(Box::new(stream)).await
    }

    /// The next connection, welcomed.
    pub(crate) async fn welcome(&self) -> Line {
        let mut line = self.accept().await;
        let cursor = line.hello.after.unwrap_or(Sequence::ZERO);
        line.welcome(cursor, Sequence::new(1_000_000)).await;
        line
    }

    pub(crate) async fn accept_socket(&self) -> tokio::net::TcpStream {
        within(LIMIT, self.listener.accept()).await.unwrap().0
    }
}

impl Line {
    pub(crate) async fn accept(stream: Box<dyn Socket>) -> Self {
        let mut socket = within(LIMIT, tokio_tungstenite::accept_async(stream))
            .await
            .unwrap();
        let hello = match read(&mut socket).await {
            Some(ClientFrame::Hello(hello)) => *hello,
            other => panic!("no hello but {other:?}"),
        };
        Self { socket, hello }
    }

    pub(crate) async fn welcome(&mut self, cursor: Sequence, head: Sequence) {
        self.welcome_to(None, cursor, head).await;
    }

    /// Welcomes to the log of this name.
    pub(crate) async fn welcome_to(&mut self, log: Option<&str>, cursor: Sequence, head: Sequence) {
        let welcome = Welcome {
            protocol: 1,
            server: "0.0.0".into(),
            workspace: "lab".into(),
            agent_id: self.hello.agent_id.clone().unwrap_or_else(|| "made-up".into()),
            session_key: "key".into(),
            log: log.map(str::to_owned),
            head,
            cursor,
            lease_ms: 30_000,
            window: 1024,
            max_frame_bytes: 1 << 20,
        };
        self.send(&ServerFrame::Welcome(Box::new(welcome))).await;
    }

    pub(crate) async fn send(&mut self, frame: &ServerFrame) {
        self.socket
            .send(Message::Text(frame.encode().into()))
            .await
            .unwrap();
    }

    pub(crate) async fn event(&mut self, event: Event) {
        self.send(&ServerFrame::Event(Arc::new(event))).await;
    }

    /// Events that leave in one piece.
    pub(crate) async fn events(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            let frame = ServerFrame::Event(Arc::new(event)).encode();
            self.socket.feed(Message::Text(frame.into())).await.unwrap();
        }
        self.socket.flush().await.unwrap();
    }

    pub(crate) async fn ping(&mut self, through: u64) {
        self.send(&ServerFrame::Ping(ServedThrough {
            through: Sequence::new(through),
        }))
        .await;
    }

    pub(crate) async fn goodbye(&mut self, code: ErrorCode) {
        self.send(&ServerFrame::Goodbye(Dismissal {
            code,
            message: "that is all".into(),
        }))
        .await;
    }

    /// The next frame; none when the client closed.
    pub(crate) async fn next(&mut self) -> Option<ClientFrame> {
        read(&mut self.socket).await
    }

    /// Reads acknowledgements up to this one.
    pub(crate) async fn acknowledged(&mut self, through: u64) {
        loop {
            match self.next().await {
                Some(ClientFrame::Ack(ack)) if ack.through.get() == through => return,
                Some(ClientFrame::Ack(ack)) if ack.through.get() < through => {}
                other => panic!("no acknowledgement through {through} but {other:?}"),
            }
        }
    }

    /// Reads until the client says goodbye; acknowledgements before it are passed over.
    pub(crate) async fn left(&mut self) {
        loop {
            match self.next().await {
                Some(ClientFrame::Goodbye(_)) => return,
                Some(ClientFrame::Ack(_)) => {}
                other => panic!("no goodbye but {other:?}"),
            }
        }
    }

    /// Waits for the goodbye, and hangs up.
    pub(crate) async fn leave_and_close(mut self) {
        self.left().await;
    }

    /// Pings and reads the pong, which must be the very next frame: nothing else was on its way.
    pub(crate) async fn quiet(&mut self) {
        self.ping(0).await;
        let next = self.next().await;
        assert!(matches!(next, Some(ClientFrame::Pong)), "no pong but {next:?}");
    }

    /// The next publish; acknowledgements before it are passed over.
    pub(crate) async fn publish(&mut self) -> Publish {
        loop {
            match self.next().await {
                Some(ClientFrame::Publish(publish)) => return *publish,
                Some(ClientFrame::Ack(_)) => {}
                other => panic!("no publish but {other:?}"),
            }
        }
    }

    /// Accepts a publish at this position.
    pub(crate) async fn accepted(&mut self, publish: &Publish, sequence: u64) {
        self.accepted_for(publish, sequence, Vec::new()).await;
    }

    pub(crate) async fn accepted_for(
        &mut self,
        publish: &Publish,
        sequence: u64,
        recipients: Vec<Recipient>,
    ) {
        let receipt = Receipt {
            message_id: publish.event.event_id.parse().unwrap(),
            event_id: publish.event.event_id.parse().unwrap(),
            sequence: Some(Sequence::new(sequence)),
            recipients,
            counts: None,
            duplicate: false,
            held: false,
        };
        self.answer(publish.id, Ok(receipt).into()).await;
    }

    pub(crate) async fn answer(&mut self, id: u64, response: EventResponse) {
        self.send(&ServerFrame::Published(Box::new(Published { id, response })))
            .await;
    }

    /// Answers the next call with this result; returns its method and parameters.
    pub(crate) async fn respond(&mut self, result: serde_json::Value) -> (String, Json) {
        self.reply(Ok(result)).await
    }

    /// Refuses the next call; returns its method and parameters.
    pub(crate) async fn refuse(&mut self, error: ErrorBody) -> (String, Json) {
        self.reply(Err(error)).await
    }

    async fn reply(&mut self, answer: Result<serde_json::Value, ErrorBody>) -> (String, Json) {
        match self.next().await {
            Some(ClientFrame::Request(request)) => {
                let (result, error) = match answer {
                    Ok(result) => (Some(result.into()), None),
                    Err(error) => (None, Some(error)),
                };
                let response = Response {
                    id: request.id,
                    result,
                    error,
                };
                self.send(&ServerFrame::Response(response)).await;
                (request.method, request.params)
            }
            other => panic!("no call but {other:?}"),
        }
    }
}

async fn read(socket: &mut WebSocketStream<Box<dyn Socket>>) -> Option<ClientFrame> {
    loop {
        match within(LIMIT, socket.next()).await {
            Some(Ok(Message::Text(text))) => return Some(ClientFrame::decode(&text).unwrap()),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            Some(Ok(_)) => {}
        }
    }
}

/// A stored event of this source, with an id made of its position.
pub(crate) fn event(sequence: u64, name: &str, source: &str) -> Event {
    let mut event = Event::new(name).to("agent:me");
    event.source_id = source.into();
    event.event_id = format!("e{sequence}");
    event.sequence = Some(Sequence::new(sequence));
    event
}

/// A direct message from this agent.
pub(crate) fn direct(sequence: u64, source: &str, text: &str) -> Event {
    let payload = serde_json::json!({"sender_id": source, "text": text, "content": {"text": text}});
    event(sequence, "direct.message.received", source).payload(payload)
}
