//! A caller of the 0.9 interface: HTTP and gRPC, byte for byte, with nothing of the official client.

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap};
use hyper_util::rt::{TokioExecutor, TokioIo};
use openagents_protocol::legacy::prost::Message;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use crate::harness::{LIMIT, Running, within};

/// Calls over connections that stay open.
pub(crate) struct Caller {
    authority: String,
    http: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
    grpc: hyper::client::conn::http2::SendRequest<Full<Bytes>>,
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
        let io = || async { TokioIo::new(TcpStream::connect(&authority).await.unwrap()) };
        let (http, connection) = hyper::client::conn::http1::handshake(io().await).await.unwrap();
        connections.spawn(connection);
        let (grpc, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io().await)
            .await
            .unwrap();
        connections.spawn(connection);
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
        let call = async {
            self.grpc.ready().await.unwrap();
            let response = self.grpc.send_request(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let collected = body.collect().await.unwrap();
            let trailers = collected.trailers().cloned().unwrap_or_default();
            let status = trailers
                .get("grpc-status")
                .or_else(|| parts.headers.get("grpc-status"))
                .and_then(|status| status.to_str().ok()?.parse().ok())
                .unwrap_or(2);
            (status, collected.to_bytes())
        };
        let (status, body) = within(LIMIT, call).await;
        match status {
            0 => Ok(A::decode(&body[5..]).unwrap()),
            status => Err(status),
        }
    }
}
