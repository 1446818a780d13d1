//! The interface of OpenAgents 0.9, spoken to our server and to the official one alike.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::{http1, http2};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::{TokioExecutor, TokioIo};
use openagents_e2e::{Official, Program};
use openagents_protocol::legacy::prost::Message;
use openagents_protocol::legacy::prost_types::value::Kind;
use openagents_protocol::legacy::prost_types::{Any, Struct, Value as ProtoValue};
use openagents_protocol::legacy::{Event, EventResponse};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::within;
use crate::statistics::per_second;

/// Bytes of text in a post.
const TEXT: usize = 128;

/// How a client of the interface connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Http,
    Grpc,
}

impl Transport {
    pub(crate) const ALL: [Self; 2] = [Self::Http, Self::Grpc];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Grpc => "gRPC",
        }
    }

    /// As the official client is told.
    const fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
        }
    }
}

/// Where a server speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) http: u16,
    pub(crate) grpc: u16,
}

impl Ports {
    /// Ours speaks everything on one port.
    pub(crate) const fn same(port: u16) -> Self {
        Self {
            http: port,
            grpc: port,
        }
    }

    const fn of(self, transport: Transport) -> u16 {
        match transport {
            Transport::Http => self.http,
            Transport::Grpc => self.grpc,
        }
    }
}

/// The official server, run as a library.
pub(crate) struct Reference {
    process: Program,
    pub(crate) ports: Ports,
}

impl Reference {
    pub(crate) async fn serve() -> Result<Self> {
        let mut process = Official::start("reference.py", &[])?;
        let told = within(process.next()).await??;
        let port = |key: &str| -> Result<u16> { Ok(told[key].as_u64().context("a port")?.try_into()?) };
        let ports = Ports {
            http: port("http")?,
            grpc: port("grpc")?,
        };
        Ok(Self { process, ports })
    }

    pub(crate) async fn kill(self) -> Result<()> {
        self.process.kill().await
    }
}

/// Posts over so many connections for a time, one after the other on each; how many a second.
pub(crate) async fn posts(
    ports: Ports,
    transport: Transport,
    connections: usize,
    time: Duration,
) -> Result<f64> {
    let writer = Writer::register(ports, "writer").await?;
    Writer::register(ports, "reader").await?;
    let tracker = TaskTracker::new();
    let begun = Instant::now();
    let running: Vec<_> = (0..connections)
        .map(|_| {
            let writer = writer.clone();
            let port = ports.of(transport);
            tracker.spawn(async move { writer.post_until(port, transport, begun + time).await })
        })
        .collect();
    let mut posted = 0;
    for one in running {
        posted += one.await??;
    }
    Ok(per_second(posted, begun.elapsed()))
}

/// How old direct messages are when the handler of an official client gets them, in milliseconds.
pub(crate) struct Listener {
    process: Program,
    id: String,
    writer: Writer,
    connection: Connection,
}

impl Listener {
    pub(crate) async fn join(ports: Ports, transport: Transport) -> Result<Self> {
        // There the client asks where the transport is.
        let port = ports.http.to_string();
        let mut process = Official::start("latency.py", &[&port, transport.word()])?;
        let joined = within(process.next()).await??;
        ensure!(joined["joined"] == true, "{joined}");
        let id = format!("listener-{}", transport.word());
        Ok(Self {
            process,
            writer: Writer::register(ports, &format!("to-{id}")).await?,
            connection: Connection::open(ports.http, Transport::Http).await?,
            id,
        })
    }

    pub(crate) async fn milliseconds(&mut self) -> Result<f64> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        let payload = json!({
            "target_agent_id": self.id,
            "content": {"text": format!("{now:.6}")},
            "message_type": "direct_message",
        });
        let to = format!("agent:{}", self.id);
        let name = "thread.direct_message.send";
        let event = self.writer.event(name, &to, &payload);
        let sent = within(self.connection.call("/api/send_event", &event)).await??;
        ensure!(sent["success"] == true, "{sent}");
        let told = within(self.process.next()).await??;
        told["milliseconds"].as_f64().context("a number")
    }

    pub(crate) async fn end(self) -> Result<()> {
        self.process.kill().await
    }
}

/// An agent that writes.
#[derive(Clone)]
struct Writer {
    id: String,
    secret: String,
}

impl Writer {
    async fn register(ports: Ports, id: &str) -> Result<Self> {
        let mut connection = Connection::open(ports.http, Transport::Http).await?;
        let registration = json!({"agent_id": id, "metadata": {}});
        let answer = within(connection.call("/api/register", &registration)).await??;
        let secret = answer["secret"].as_str().context("a secret")?.to_owned();
        Ok(Self {
            id: id.to_owned(),
            secret,
        })
    }

    async fn post_until(&self, port: u16, transport: Transport, until: Instant) -> Result<u64> {
        let mut connection = Connection::open(port, transport).await?;
        let mut posted = 0;
        while Instant::now() < until {
            within(connection.post(self)).await??;
            posted += 1;
        }
        Ok(posted)
    }

    fn event(&self, name: &str, to: &str, payload: &Value) -> Value {
        json!({
            "event_id": openagents_protocol::EventId::new().to_string(),
            "event_name": name,
            "source_id": self.id,
            "target_agent_id": to,
            "payload": payload,
            "metadata": {},
            "visibility": "network",
            "secret": self.secret,
        })
    }
}

const POST: &str = "thread.channel_message.post";
const GENERAL: &str = "channel:general";

/// One connection, over which one request follows the other.
struct Connection {
    requests: Requests,
    authority: String,
    _driver: AbortOnDropHandle<()>,
}

enum Requests {
    Http(http1::SendRequest<Full<Bytes>>),
    Grpc(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    async fn open(port: u16, transport: Transport) -> Result<Self> {
        let authority = format!("127.0.0.1:{port}");
        let stream = TcpStream::connect(&authority).await?;
        stream.set_nodelay(true)?;
        let io = TokioIo::new(stream);
        let tasks = TaskTracker::new();
        // How it ends shows at the requests.
        let (requests, driver) = match transport {
            Transport::Http => {
                let (requests, connection) = http1::handshake(io).await?;
                let driver = tasks.spawn(async { connection.await.unwrap_or_default() });
                (Requests::Http(requests), driver)
            }
            Transport::Grpc => {
                let (requests, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                let driver = tasks.spawn(async { connection.await.unwrap_or_default() });
                (Requests::Grpc(requests), driver)
            }
        };
        Ok(Self {
            requests,
            authority,
            _driver: AbortOnDropHandle::new(driver),
        })
    }

    async fn call(&mut self, path: &str, body: &Value) -> Result<Value> {
        let request = Request::post(path)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body.to_string().into()))?;
        Ok(serde_json::from_slice(&self.send(request).await?)?)
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Bytes> {
        let response = match &mut self.requests {
            Requests::Http(requests) => {
                requests.ready().await?;
                requests.send_request(request).await?
            }
            Requests::Grpc(requests) => {
                requests.ready().await?;
                requests.send_request(request).await?
            }
        };
        Ok(response.into_body().collect().await?.to_bytes())
    }

    async fn post(&mut self, writer: &Writer) -> Result<()> {
        let text = "x".repeat(TEXT);
        if matches!(self.requests, Requests::Grpc(_)) {
            return self.post_over_grpc(writer, text).await;
        }
        let payload =
            json!({"channel": "general", "message_type": "channel_message", "content": {"text": text}});
        let answer = self
            .call("/api/send_event", &writer.event(POST, GENERAL, &payload))
            .await?;
        ensure!(answer["success"] == true, "{answer}");
        Ok(())
    }

    async fn post_over_grpc(&mut self, writer: &Writer, text: String) -> Result<()> {
        let content = structure([("text", Kind::StringValue(text))]);
        let payload = structure([
            ("channel", Kind::StringValue("general".to_owned())),
            ("message_type", Kind::StringValue("channel_message".to_owned())),
            ("content", Kind::StructValue(content)),
        ]);
        let event = Event {
            event_id: openagents_protocol::EventId::new().to_string(),
            event_name: POST.to_owned(),
            source_id: writer.id.clone(),
            target_agent_id: GENERAL.to_owned(),
            payload: Some(Any {
                type_url: "type.googleapis.com/google.protobuf.Struct".to_owned(),
                value: payload.encode_to_vec(),
            }),
            visibility: "network".to_owned(),
            secret: writer.secret.clone(),
            ..Event::default()
        };
        let message = event.encode_to_vec();
        let mut framed = BytesMut::with_capacity(message.len() + 5);
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len())?);
        framed.put_slice(&message);
        let request = Request::post(format!(
            "http://{}/openagents.AgentService/SendEvent",
            self.authority
        ))
        .header(CONTENT_TYPE, "application/grpc")
        .header("te", "trailers")
        .body(Full::new(framed.freeze()))?;
        let body = self.send(request).await?;
        let answer = EventResponse::decode(body.get(5..).context("an answer")?)?;
        ensure!(answer.success, "{}", answer.message);
        Ok(())
    }
}

fn structure<const N: usize>(fields: [(&str, Kind); N]) -> Struct {
    let field = |(name, kind): (&str, Kind)| (name.to_owned(), ProtoValue { kind: Some(kind) });
    Struct {
        fields: fields.into_iter().map(field).collect(),
    }
}
