//! What the official client gains: measures our server beside the official one, in one run.
//!
//! `cargo build --release --workspace && OPENAGENTS_TEST_OFFICIAL_PYTHON=… target/release/official [posts|latency]`

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::{http1, http2};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::{TokioExecutor, TokioIo};
use openagents_e2e::{Official, TRANSPORTS, Workspace};
use openagents_protocol::legacy::prost::Message;
use openagents_protocol::legacy::prost_types::value::Kind;
use openagents_protocol::legacy::prost_types::{Any, Struct, Value as ProtoValue};
use openagents_protocol::legacy::{Event, EventResponse};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// How long each number is measured.
const TIME: Duration = Duration::from_secs(3);

/// How often both servers are measured one after the other.
const ROUNDS: usize = 5;

/// Messages whose way is timed, and the time between two of them.
const MESSAGES: usize = 12;
const PAUSE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        None => {
            measure_posts().await?;
            println!();
            measure_latency().await
        }
        Some("posts") => measure_posts().await,
        Some("latency") => measure_latency().await,
        Some(other) => bail!("{other}: posts or latency, or nothing for both"),
    }
}

/// Each number is that of a fresh server: the official one gets slower with every message that it has.
async fn measure_posts() -> Result<()> {
    println!("posts a second, each stored with fsync (official: not stored before it answers)");
    println!("medians of {ROUNDS} paired runs, and the least and the most");
    println!(
        "{:<6} {:>11} {:>22} {:>22} {:>18}",
        "", "connections", "ours", "official", "ratio"
    );
    for transport in TRANSPORTS {
        for connections in [1, 16] {
            let mut found = [const { Vec::new() }; 3];
            for _ in 0..ROUNDS {
                let ours = ours(transport, connections).await?;
                let theirs = theirs(transport, connections).await?;
                for (all, one) in found.iter_mut().zip([ours, theirs, ours / theirs]) {
                    all.push(one);
                }
            }
            let [ours, theirs, ratio] = found.map(Spread::of);
            let (ours, theirs, ratio) = (ours.shown(0), theirs.shown(0), ratio.shown(1));
            println!("{transport:<6} {connections:>11} {ours:>22} {theirs:>22} {ratio:>18}");
        }
    }
    Ok(())
}

async fn ours(transport: &str, connections: usize) -> Result<f64> {
    let workspace = Workspace::serve().await?;
    let ports = Ports {
        http: workspace.port(),
        grpc: workspace.port(),
    };
    let rate = posts(&ports, transport, connections).await;
    workspace.stop().await;
    rate
}

async fn theirs(transport: &str, connections: usize) -> Result<f64> {
    let mut reference = Official::start("reference.py", &[])?;
    let told = reference.next().await?;
    let port = |key: &str| told[key].as_u64().and_then(|port| u16::try_from(port).ok());
    let ports = Ports {
        http: port("http").context("a port")?,
        grpc: port("grpc").context("a port")?,
    };
    let rate = posts(&ports, transport, connections).await;
    reference.kill().await?;
    rate
}

async fn measure_latency() -> Result<()> {
    let workspace = Workspace::serve().await?;
    println!("from publishing to the handler of the official client, one message every 5 s");
    for transport in TRANSPORTS {
        let milliseconds = Spread::of(latencies(&workspace, transport).await?);
        println!(
            "{transport:<6} p50 {:.2} ms, worst {:.2} ms",
            milliseconds.median, milliseconds.most
        );
    }
    workspace.stop().await;
    Ok(())
}

/// Numbers of several runs.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    /// Of at least one number.
    fn of(mut numbers: Vec<f64>) -> Self {
        numbers.sort_by(f64::total_cmp);
        Self {
            median: numbers[numbers.len() / 2],
            least: numbers[0],
            most: numbers[numbers.len() - 1],
        }
    }
}

impl Spread {
    /// The median with this many digits, and the least and the most.
    fn shown(&self, digits: usize) -> String {
        let Self { median, least, most } = self;
        format!("{median:.digits$} ({least:.digits$}-{most:.digits$})")
    }
}

/// Where a server speaks.
struct Ports {
    http: u16,
    grpc: u16,
}

/// An agent that writes.
#[derive(Clone)]
struct Writer {
    id: String,
    secret: String,
}

async fn posts(ports: &Ports, transport: &str, connections: usize) -> Result<f64> {
    let writer = register(ports.http, &format!("writer-{transport}-{connections}")).await?;
    register(ports.http, "reader").await?;
    let tracker = TaskTracker::new();
    let until = Instant::now() + TIME;
    let mut running = Vec::new();
    for _ in 0..connections {
        let (writer, port, grpc) = (
            writer.clone(),
            if transport == "grpc" {
                ports.grpc
            } else {
                ports.http
            },
            transport == "grpc",
        );
        running.push(tracker.spawn(async move { write_until(&writer, port, grpc, until).await }));
    }
    let mut posted = 0;
    for one in running {
        posted += one.await??;
    }
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let rate = posted as f64 / TIME.as_secs_f64();
    Ok(rate)
}

async fn write_until(writer: &Writer, port: u16, grpc: bool, until: Instant) -> Result<usize> {
    let mut connection = Connection::open(port, grpc).await?;
    let mut posted = 0;
    while Instant::now() < until {
        connection.post(writer, posted).await?;
        posted += 1;
    }
    Ok(posted)
}

async fn register(port: u16, id: &str) -> Result<Writer> {
    let mut connection = Connection::open(port, false).await?;
    let answer = connection
        .http("/api/register", &json!({"agent_id": id, "metadata": {}}))
        .await?;
    let secret = answer["secret"].as_str().context("a secret")?.to_owned();
    Ok(Writer {
        id: id.to_owned(),
        secret,
    })
}

/// One connection, over which one request follows the other.
enum Connection {
    Http(http1::SendRequest<Full<Bytes>>),
    Grpc(http2::SendRequest<Full<Bytes>>, String),
}

impl Connection {
    async fn open(port: u16, grpc: bool) -> Result<Self> {
        let authority = format!("127.0.0.1:{port}");
        let stream = TcpStream::connect(&authority).await?;
        stream.set_nodelay(true)?;
        let io = TokioIo::new(stream);
        let background = TaskTracker::new();
        if grpc {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            background.spawn(connection);
            return Ok(Self::Grpc(sender, authority));
        }
        let (sender, connection) = http1::handshake(io).await?;
        background.spawn(connection);
        Ok(Self::Http(sender))
    }

    async fn http(&mut self, path: &str, body: &Value) -> Result<Value> {
        let Self::Http(sender) = self else {
            anyhow::bail!("this is a connection of gRPC");
        };
        let request = Request::post(path)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body.to_string().into()))?;
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let body = response.into_body().collect().await?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    }

    async fn post(&mut self, writer: &Writer, number: usize) -> Result<()> {
        let id = openagents_protocol::EventId::new().to_string();
        let text = format!("message {number} {}", "x".repeat(100));
        if let Self::Grpc(sender, authority) = self {
            return post_over_grpc(sender, authority, writer, id, text).await;
        }
        let body = json!({
            "event_id": id,
            "event_name": "thread.channel_message.post",
            "source_id": writer.id,
            "target_agent_id": "channel:general",
            "payload": {"channel": "general", "message_type": "channel_message", "content": {"text": text}},
            "metadata": {},
            "visibility": "network",
            "secret": writer.secret,
        });
        let answer = self.http("/api/send_event", &body).await?;
        ensure!(answer["success"] == true, "{answer}");
        Ok(())
    }
}

async fn post_over_grpc(
    sender: &mut http2::SendRequest<Full<Bytes>>,
    authority: &str,
    writer: &Writer,
    id: String,
    text: String,
) -> Result<()> {
    let string = |text: String| ProtoValue {
        kind: Some(Kind::StringValue(text)),
    };
    let content = Struct {
        fields: [("text".to_owned(), string(text))].into_iter().collect(),
    };
    let content = ProtoValue {
        kind: Some(Kind::StructValue(content)),
    };
    let fields = [
        ("channel".to_owned(), string("general".to_owned())),
        ("message_type".to_owned(), string("channel_message".to_owned())),
        ("content".to_owned(), content),
    ];
    let payload = Struct {
        fields: fields.into_iter().collect(),
    };
    let event = Event {
        event_id: id,
        event_name: "thread.channel_message.post".to_owned(),
        source_id: writer.id.clone(),
        target_agent_id: "channel:general".to_owned(),
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
    let request = Request::post(format!("http://{authority}/openagents.AgentService/SendEvent"))
        .header(CONTENT_TYPE, "application/grpc")
        .header("te", "trailers")
        .body(Full::new(framed.freeze()))?;
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let body = response.into_body().collect().await?.to_bytes();
    let answer = EventResponse::decode(body.get(5..).context("an answer")?)?;
    ensure!(answer.success, "{}", answer.message);
    Ok(())
}

/// How old each message is when the handler of an official client gets it, in milliseconds.
async fn latencies(workspace: &Workspace, transport: &str) -> Result<Vec<f64>> {
    let mut listener = Official::start("latency.py", &[&workspace.port().to_string(), transport])?;
    let joined = listener.next().await?;
    ensure!(joined["joined"] == true, "{joined}");
    let writer = workspace.join("writer").await?;
    let to = writer.workspace().agent(&format!("listener-{transport}"));
    let mut found = Vec::with_capacity(MESSAGES);
    for _ in 0..MESSAGES {
        tokio::time::sleep(PAUSE).await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        ensure!(to.send(format!("{now:.6}").as_str()).await.success);
        let told = listener.next().await?;
        found.push(told["milliseconds"].as_f64().context("a number")?);
    }
    writer.disconnect().await;
    listener.kill().await?;
    Ok(found)
}
