//! The floor of a message between two processes: a WebSocket that answers with what it gets.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt};
use openagents_e2e::Peer;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::{OneWay, text};

/// A connection to an echo in a process of its own.
pub(crate) struct Echo {
    _process: Peer,
    socket: WebSocketStream<TcpStream>,
}

impl Echo {
    pub(crate) async fn begin() -> Result<Self> {
        let program = std::env::current_exe()?;
        let (process, port) = Peer::start(&program, &["echo"]).await?;
        let address = format!("127.0.0.1:{port}");
        let stream = TcpStream::connect(&address).await?;
        stream.set_nodelay(true)?;
        let (socket, _) = tokio_tungstenite::client_async(format!("ws://{address}/"), stream).await?;
        Ok(Self {
            _process: process,
            socket,
        })
    }
}

impl OneWay for Echo {
    async fn send(&mut self) -> Result<Duration> {
        let payload = text::json_payload();
        let begun = Instant::now();
        self.socket.send(Message::text(payload.as_str())).await?;
        self.socket.next().await.context("the echo is gone")??;
        Ok(begun.elapsed())
    }
}

/// Serves: this is the other process.
pub(crate) async fn serve() -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    let mut socket = tokio_tungstenite::accept_async(stream).await?;
    while let Some(Ok(message)) = socket.next().await {
        if message.is_text() {
            socket.send(message).await?;
        }
    }
    Ok(())
}
