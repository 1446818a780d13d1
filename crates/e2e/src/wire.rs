//! A session that says whatever it is told to say, also what no client would.

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use openagents_protocol::ErrorBody;
use openagents_protocol::frame::ServerFrame;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::{SOON, Workspace, within};

/// A watching session of the native protocol that passes over events.
#[derive(Debug)]
pub struct Wire {
    socket: WebSocketStream<TcpStream>,
    next_id: u64,
}

impl Wire {
    /// Begins a session of an agent, with further fields in its hello.
    pub async fn open(workspace: &Workspace, agent: &str, hello: Value) -> anyhow::Result<Self> {
        let address = ("127.0.0.1", workspace.port());
        let stream = TcpStream::connect(address).await?;
        let url = format!("ws://127.0.0.1:{}/ws", workspace.port());
        let (socket, _) = within(SOON, tokio_tungstenite::client_async(url, stream)).await?;
        let mut wire = Self { socket, next_id: 0 };
        let mut frame = json!({"type": "hello", "protocol": 1, "agent_id": agent, "session": "watching"});
        if let (Some(frame), Value::Object(more)) = (frame.as_object_mut(), hello) {
            frame.extend(more);
        }
        wire.say(&frame).await?;
        match wire.hear().await? {
            ServerFrame::Welcome(_) => Ok(wire),
            other => bail!("no welcome: {other:?}"),
        }
    }

    /// Makes a call with any parameters.
    pub async fn call(&mut self, method: &str, params: &Value) -> anyhow::Result<Result<Value, ErrorBody>> {
        self.next_id += 1;
        let id = self.next_id;
        self.say(&json!({"type": "request", "id": id, "method": method, "params": params}))
            .await?;
        loop {
            if let ServerFrame::Response(response) = self.hear().await?
                && response.id == id
            {
                return match (response.result, response.error) {
                    (_, Some(error)) => Ok(Err(error)),
                    (Some(result), None) => Ok(Ok(result.value().clone())),
                    (None, None) => bail!("neither a result nor an error"),
                };
            }
        }
    }

    /// Publishes an event with any fields; returns why it was refused.
    pub async fn publish(&mut self, event: &Value) -> anyhow::Result<Option<ErrorBody>> {
        self.next_id += 1;
        let id = self.next_id;
        self.say(&json!({"type": "publish", "id": id, "event": event}))
            .await?;
        loop {
            if let ServerFrame::Published(published) = self.hear().await?
                && published.id == id
            {
                return Ok(published.response.error);
            }
        }
    }

    async fn say(&mut self, frame: &Value) -> anyhow::Result<()> {
        Ok(within(SOON, self.socket.send(Message::text(frame.to_string()))).await?)
    }

    async fn hear(&mut self) -> anyhow::Result<ServerFrame> {
        loop {
            let message = within(SOON, self.socket.next()).await;
            match message.context("the connection goes on")?? {
                Message::Text(text) => match ServerFrame::decode(text.as_str())? {
                    ServerFrame::Ping(_) => self.say(&json!({"type": "pong"})).await?,
                    frame => return Ok(frame),
                },
                Message::Close(_) => bail!("the connection was closed"),
                _ => {}
            }
        }
    }
}
