//! Histories of large messages, asked for by many at once, of a server with little memory.

use anyhow::Context;
use futures_util::future::{join_all, try_join_all};
use futures_util::{SinkExt, StreamExt};
use openagents_e2e::{Peer, Request, SOON, within};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{LIMIT, join, serve};

/// Messages in the channel, of nearly as many bytes as a frame takes: far more together than one answer may hold.
const MESSAGES: usize = 48;
const TEXT: usize = 900_000;

/// Those who ask at once.
const READERS: usize = 16;

/// More than the largest answer: a page, and what stands around its messages.
const LARGEST: usize = 2 * 1024 * 1024;

/// A server with 300 MB of memory and the messages; they are named from 0 on.
async fn filled(directory: &tempfile::TempDir) -> anyhow::Result<(Peer, u16)> {
    let limiter = ["prlimit", "--data=300000000:300000000"];
    let (server, port) = serve(&limiter, &directory.path().join("data"), "os", &[]).await?;
    let writer = join(port, "writer").await?;
    let general = writer.workspace().channel("general");
    for number in 0..MESSAGES {
        let text = format!("{number} {}", "x".repeat(TEXT));
        let posted = within(SOON, general.post(text).into_future()).await;
        assert!(posted.success, "{posted:?}");
    }
    Ok((server, port))
}

fn check_memory(server: &Peer) -> anyhow::Result<()> {
    let peak = server.peak_memory_kib()?;
    assert!(peak < 300_000, "{peak} kB resident");
    Ok(())
}

/// The number with which the text of a message begins.
fn number(message: &Value) -> anyhow::Result<usize> {
    let text = message["content"]["text"].as_str().context("a text")?;
    Ok(text.split(' ').next().context("a number")?.parse()?)
}

#[tokio::test]
async fn what_the_calls_of_a_connection_hold_has_a_bound() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let (server, port) = filled(&directory).await?;
    // Each asks for everything, as often as calls may be open, and reads nothing.
    let asked = join_all((0..READERS).map(|reader| ask(port, reader))).await;
    let bystander = join(port, "bystander").await?;
    let general = bystander.workspace().channel("general");
    assert!(within(SOON, general.post("here").into_future()).await.success);
    // Then it reads some of the answers, while the others wait.
    for socket in asked {
        let mut socket = socket?;
        for _ in 0..3 {
            let answer = answer(&mut socket).await?;
            let page = &answer["result"];
            assert_eq!(page["has_more"], true, "{}", answer["error"]);
            assert_ne!(page["messages"], json!([]));
        }
    }
    // One who wants all gets all, page by page.
    let all = within(LIMIT, general.get_messages(1000).into_future()).await?;
    let texts = all.iter().filter_map(|message| message.text());
    let numbers: Vec<_> = texts.filter_map(|text| text.split(' ').next()).collect();
    let expected: Vec<_> = (0..MESSAGES).rev().map(|number| number.to_string()).collect();
    assert_eq!(numbers[1..], expected);
    check_memory(&server)?;
    server.kill().await?;
    Ok(())
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// Asks as often as one may without reading.
async fn ask(port: u16, reader: usize) -> anyhow::Result<Socket> {
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://127.0.0.1:{port}/ws")).await?;
    let hello =
        json!({"type": "hello", "protocol": 1, "agent_id": format!("reader{reader}"), "session": "watching"});
    socket.send(Message::text(hello.to_string())).await?;
    within(SOON, socket.next()).await.context("a welcome")??;
    for id in 0..64 {
        let params = json!({"channel": "general", "limit": 1000});
        let request = json!({"type": "request", "id": id, "method": "list_messages", "params": params});
        socket.send(Message::text(request.to_string())).await?;
    }
    Ok(socket)
}

/// The next answer, among what else comes.
async fn answer(socket: &mut Socket) -> anyhow::Result<Value> {
    loop {
        let frame = within(LIMIT, socket.next()).await.context("a frame")??;
        let frame = frame.to_text()?;
        assert!(frame.len() < LARGEST, "{} bytes", frame.len());
        let frame: Value = serde_json::from_str(frame)?;
        if frame["type"] == "response" {
            return Ok(frame);
        }
    }
}

#[tokio::test]
async fn a_history_of_large_messages_is_read_over_rest_page_by_page() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let (server, port) = filled(&directory).await?;
    let read = async |reader: usize| {
        let (mut numbers, mut before) = (Vec::new(), u64::MAX >> 1);
        loop {
            let path = format!("channels/general/messages?limit=1000&before={before}");
            let request = Request::new(port, "GET", &path, &format!("reader{reader}"));
            let reply = request.send().await?;
            assert!(reply.body.len() < LARGEST, "{} bytes", reply.body.len());
            let page = reply.ok()?;
            for message in page["messages"].as_array().context("messages")? {
                numbers.push(number(message)?);
                before = message["sequence"].as_u64().context("a sequence")?;
            }
            if page["has_more"] == false {
                return anyhow::Ok(numbers);
            }
        }
    };
    let readers = try_join_all((0..READERS / 2).map(read));
    for numbers in within(LIMIT, readers).await? {
        assert!(numbers.into_iter().eq((0..MESSAGES).rev()));
    }
    check_memory(&server)?;
    server.kill().await?;
    Ok(())
}

#[tokio::test]
async fn an_agent_of_the_0_9_interface_gets_a_history_of_large_messages_page_by_page() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let (server, port) = filled(&directory).await?;
    let read = async |reader: usize| {
        let agent = format!("reader{reader}");
        let send = async |path: &str, body: Value| {
            let reply = Request::to(port, "POST", path).json(&body).send().await?;
            assert!(reply.body.len() < 2 * LARGEST, "{} bytes", reply.body.len());
            reply.ok()
        };
        let secret =
            send("/api/register", json!({"agent_id": agent, "metadata": {}})).await?["secret"].take();
        let mut numbers = Vec::new();
        loop {
            let payload = json!({"channel": "general", "limit": 500, "offset": numbers.len()});
            let event = json!({
                "event_id": format!("{agent}-{}", numbers.len()), "source_id": agent, "secret": secret,
                "event_name": "thread.channel_messages.retrieve",
                "target_agent_id": "mod:openagents.mods.workspace.messaging", "payload": payload,
            });
            let mut answer = send("/api/send_event", event).await?;
            let page = answer["data"].take();
            for message in page["messages"].as_array().with_context(|| answer.to_string())? {
                numbers.push(number(message)?);
            }
            if page["has_more"] == false {
                return anyhow::Ok(numbers);
            }
        }
    };
    let readers = try_join_all((0..READERS / 4).map(read));
    for numbers in within(LIMIT, readers).await? {
        assert!(numbers.into_iter().eq((0..MESSAGES).rev()));
    }
    check_memory(&server)?;
    server.kill().await?;
    Ok(())
}
