use futures_util::{SinkExt, StreamExt};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;
type Ws = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;
async fn join(url: &str, name: &str) -> Ws {
    let (mut ws, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    if let tokio_tungstenite::MaybeTlsStream::Plain(s) = ws.get_ref() { s.set_nodelay(true).unwrap(); }
    ws.send(Message::text(format!(r#"{{"type":"hello","protocol":1,"agent_id":"{name}"}}"#))).await.unwrap();
    let _ = ws.next().await.unwrap().unwrap();
    ws
}
#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1).unwrap();
    let n: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let mut a = join(&url, "probe-a").await;
    let mut b = join(&url, "probe-b").await;
    let _ = a.next().await;
    let text = "x".repeat(256);
    // latency
    let mut lat = vec![];
    for i in 0..2000u64 {
        let id = uuid(i);
        let t = Instant::now();
        a.send(Message::text(format!(r#"{{"type":"publish","id":{i},"event":{{"event_name":"direct.message.received","event_id":"{id}","destination_id":"agent:probe-b","payload":{{"content":{{"text":"{text}"}}}}}}}}"#))).await.unwrap();
        loop { let m = b.next().await.unwrap().unwrap(); if m.to_text().unwrap_or("").contains("direct.message") { break } }
        lat.push(t.elapsed());
        if i % 200 == 0 { b.send(Message::text(format!(r#"{{"type":"ack","through":{}}}"#, u32::MAX))).await.unwrap(); }
        loop { let m = a.next().await.unwrap().unwrap(); if m.to_text().unwrap_or("").contains("published") { break } }
    }
    lat.sort();
    println!("latency p50 {:?} p99 {:?}", lat[1000], lat[1980]);
    let start = Instant::now();
    let recv = tokio::task::spawn(async move {
        let mut got = 0u64;
        while got < n {
            let m = b.next().await.unwrap().unwrap();
            if m.is_text() && m.to_text().unwrap().contains("direct.message") { got += 1; if got % 100 == 0 { b.send(Message::text(format!(r#"{{"type":"ack","through":{}}}"#, u32::MAX))).await.unwrap(); } }
        }
        Instant::now()
    });
    let (mut tx, mut rx) = a.split();
    let sem = std::sync::Arc::new(tokio::sync::Semaphore::new(1000));
    let s2 = sem.clone();
    let acks = tokio::task::spawn(async move { let mut got = 0; while got < n { let m = rx.next().await.unwrap().unwrap(); if m.to_text().unwrap_or("").contains("published") { got += 1; s2.add_permits(1); } } Instant::now() });
    for i in 0..n {
        if sem.available_permits() == 0 { tx.flush().await.unwrap(); }
        sem.acquire().await.unwrap().forget();
        let id = uuid(i);
        tx.feed(Message::text(format!(r#"{{"type":"publish","id":{i},"event":{{"event_name":"direct.message.received","event_id":"{id}","destination_id":"agent:probe-b","payload":{{"content":{{"text":"{text}"}}}}}}}}"#))).await.unwrap();
    }
    tx.flush().await.unwrap();
    let acked = acks.await.unwrap() - start;
    let recvd = recv.await.unwrap() - start;
    println!("acked {:.0}/s delivered {:.0}/s", n as f64 / acked.as_secs_f64(), n as f64 / recvd.as_secs_f64());
    tokio::time::sleep(Duration::from_millis(10)).await;
}
fn uuid(_i: u64) -> String { openagents_protocol::EventId::new().to_string() }
