//! Agents of the 0.9 interface and how they call: HTTP and gRPC, byte for byte, with nothing of the official client.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap};
use hyper_util::rt::{TokioExecutor, TokioIo};
use openagents_protocol::legacy::prost::Message;
use openagents_server::Config;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use crate::harness::{LIMIT, Running, within};

/// Calls over connections that stay open.
pub(crate) struct Caller {
    authority: String,
    http: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
    pub(crate) grpc: Grpc,
}

/// A connection for gRPC, over which clones make calls beside each other.
#[derive(Clone)]
pub(crate) struct Grpc {
    authority: String,
    connection: hyper::client::conn::http2::SendRequest<Full<Bytes>>,
}

/// An answer over HTTP.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&self.body).into_owned()))
    }
}

impl Caller {
    pub(crate) async fn of(running: &Running) -> Self {
        let authority = running.server.local_addr().to_string();
        let connections = TaskTracker::new();
        let io = || async {
            let stream = TcpStream::connect(&authority).await.unwrap();
            stream.set_nodelay(true).unwrap();
            TokioIo::new(stream)
        };
        let (http, connection) = hyper::client::conn::http1::handshake(io().await).await.unwrap();
        connections.spawn(connection);
        let (grpc, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io().await)
            .await
            .unwrap();
        connections.spawn(connection);
        let grpc = Grpc {
            authority: authority.clone(),
            connection: grpc,
        };
        Self {
            authority,
            http,
            grpc,
        }
    }

    /// Makes a request over HTTP.
    pub(crate) async fn http(
        &mut self,
        method: &str,
        path: &str,
        kind: &str,
        body: impl Into<Bytes>,
    ) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, kind)
            .body(Full::new(body.into()))
            .unwrap();
        let call = async {
            self.http.ready().await.unwrap();
            let response = self.http.send_request(request).await.unwrap();
            let (parts, body) = response.into_parts();
            Answer {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body: body.collect().await.unwrap().to_bytes(),
            }
        };
        within(LIMIT, call).await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.http("POST", path, "application/json", body.to_string())
            .await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.http("GET", path, "application/json", "").await
    }

    /// Makes a call over gRPC; an error is its status.
    pub(crate) async fn grpc<A: Message + Default>(&mut self, rpc: &str, message: &[u8]) -> Result<A, u32> {
        within(LIMIT, self.grpc.call(rpc, message)).await
    }
}

impl Grpc {
    /// Makes a call; an error is its status.
    pub(crate) async fn call<A: Message + Default>(&mut self, rpc: &str, message: &[u8]) -> Result<A, u32> {
        let mut framed = BytesMut::with_capacity(message.len() + 5);
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len()).unwrap());
        framed.put_slice(message);
        let request = Request::builder()
            .method("POST")
            .uri(format!("http://{}{rpc}", self.authority))
            .header(CONTENT_TYPE, "application/grpc")
            .header("te", "trailers")
            .body(Full::new(framed.freeze()))
            .unwrap();
        self.connection.ready().await.unwrap();
        let response = self.connection.send_request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().cloned().unwrap_or_default();
        let status = trailers
            .get("grpc-status")
            .or_else(|| parts.headers.get("grpc-status"))
            .and_then(|status| status.to_str().ok()?.parse().ok())
            .unwrap_or(2);
        match status {
            0 => Ok(A::decode(&collected.to_bytes()[5..]).unwrap()),
            status => Err(status),
        }
    }
}

/// Polls without anything waiting are answered at once.
pub(crate) fn impatient(config: &mut Config) {
    config.legacy.hold = Duration::ZERO;
    config.workspace.takeover_wait = Duration::from_millis(50);
}

/// An agent of the 0.9 interface.
pub(crate) struct Agent {
    pub(crate) caller: Caller,
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl Agent {
    pub(crate) async fn join(running: &Running, id: &str) -> Self {
        let mut caller = Caller::of(running).await;
        let answer = caller
            .post("/api/register", &json!({"agent_id": id}))
            .await
            .json();
        assert_eq!(answer["success"], true, "{answer}");
        Self {
            caller,
            id: id.to_owned(),
            secret: answer["secret"].as_str().unwrap().to_owned(),
        }
    }

    /// The same agent over another connection.
    pub(crate) async fn again(&self, running: &Running) -> Self {
        Self {
            caller: Caller::of(running).await,
            id: self.id.clone(),
            secret: self.secret.clone(),
        }
    }

    pub(crate) fn poll_path(&self) -> String {
        format!("/api/poll?agent_id={}&secret={}", self.id, self.secret)
    }

    /// The events that a poll brings.
    pub(crate) async fn events(&mut self) -> Vec<Value> {
        let path = self.poll_path();
        let answer = self.caller.get(&path).await.json();
        answer["messages"].as_array().unwrap().clone()
    }

    /// The texts that a poll brings.
    pub(crate) async fn poll(&mut self) -> Vec<String> {
        let messages = self.events().await;
        let text = |message: &Value| {
            message["payload"]["content"]["text"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        messages.iter().map(text).collect()
    }

    /// Sends an event, and tells how it was answered.
    pub(crate) async fn send(&mut self, name: &str, to: &str, payload: Value) -> Value {
        let body = json!({
            "event_name": name,
            "source_id": self.id,
            "target_agent_id": to,
            "payload": payload,
            "secret": self.secret,
        });
        self.caller.post("/api/send_event", &body).await.json()
    }

    pub(crate) async fn say(&mut self, to: &str, text: &str) {
        let payload = json!({"target_agent_id": to, "content": {"text": text}});
        let answer = self.send("thread.direct_message.send", to, payload).await;
        assert_eq!(answer["success"], true, "{answer}");
    }
}
