//! The wire: how frames get to a server and back. The rest of the crate knows frames only.
//!
//! Today there is one wire, the native protocol over WebSocket. Others join it here.

pub(crate) mod endpoint;
pub(crate) mod http;
pub(crate) mod tls;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use openagents_protocol::ErrorBody;
use openagents_protocol::frame::{ClientFrame, Hello, ServerFrame, Welcome};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message, Utf8Bytes};

use crate::connector::endpoint::{Endpoint, Security};
use crate::connector::tls::TlsFiles;
use crate::dial::{ByteStream, Dial, Tcp};
use crate::error::ConnectError;

/// The largest message accepted from a server, in bytes: what the documentation gives as `max_message_size`.
const MAX_MESSAGE_BYTES: usize = 100 * 1024 * 1024;

/// An agent is mostly idle and one process may hold many: small buffers, read into repeatedly under load.
const READ_BUFFER_BYTES: usize = 8 * 1024;

/// How much is gathered before it is written without a flush.
const WRITE_BUFFER_BYTES: usize = 32 * 1024;

/// Opens sessions with one server.
#[derive(Clone)]
pub(crate) struct Connector {
    endpoint: Endpoint,
    dial: Arc<dyn Dial>,
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
}

/// A session that began, as two halves that are used independently.
pub(crate) struct Opened {
    pub(crate) welcome: Welcome,
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
}

#[cfg(test)]
impl Opened {
    /// A session over any socket.
    pub(crate) fn over<S: ByteStream + 'static>(socket: WebSocketStream<S>, welcome: Welcome) -> Self {
        let socket: Box<dyn ByteStream> = Box::new(socket.into_inner());
        let role = tokio_tungstenite::tungstenite::protocol::Role::Client;
        let socket = WebSocketStream::from_raw_socket(socket, role, None);
        let (sink, stream) = futures_util::FutureExt::now_or_never(socket)
            .expect("nothing to wait for")
            .split();
        Self {
            welcome,
            sender: Sender(sink),
            receiver: Receiver(stream),
        }
    }
}

/// Writes frames.
pub(crate) struct Sender(SplitSink<WebSocketStream<Box<dyn ByteStream>>, Message>);

/// Reads frames.
pub(crate) struct Receiver(SplitStream<WebSocketStream<Box<dyn ByteStream>>>);

/// Why nothing more comes or goes. The session may go on over another connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the server closed the connection")]
    Closed,
    #[error("the server sent something unexpected: {0}")]
    Protocol(ErrorBody),
    #[error("the connection broke: {0}")]
    Socket(#[from] WebSocketError),
    #[error("nothing was heard for too long")]
    Silent,
}

impl Connector {
    /// Prepares for sessions with this server, reached by TCP unless there is another way; reads the trusted
    /// certificates when they are needed.
    pub(crate) async fn prepare(
        endpoint: Endpoint,
        dial: Option<Arc<dyn Dial>>,
        files: TlsFiles,
        timeout: Duration,
    ) -> Result<Self, ConnectError> {
        let dial = dial.unwrap_or_else(|| {
            Arc::new(Tcp {
                host: endpoint.host.clone(),
                port: endpoint.port,
            })
        });
        let tls = match endpoint.security {
            Security::Plain => None,
            Security::Tls => {
                let server = endpoint.clone();
                let configured = tokio::task::spawn_blocking(move || tls::configure(&server, &files)).await;
                let configured = configured.unwrap_or_else(|error| {
                    Err(ConnectError::Tls {
                        address: endpoint.authority(),
                        source: Box::new(error),
                    })
                });
                Some(configured?)
            }
        };
        Ok(Self {
            endpoint,
            dial,
            tls,
            timeout,
        })
    }

    /// Connects, says hello and waits for the welcome, all within the timeout.
    pub(crate) async fn open(&self, hello: Hello) -> Result<Opened, ConnectError> {
        let opened = tokio::time::timeout(self.timeout, Box::pin(self.open_unlimited(hello))).await;
        opened.unwrap_or(Err(ConnectError::TimedOut(self.timeout)))
    }

    async fn open_unlimited(&self, hello: Hello) -> Result<Opened, ConnectError> {
        let address = || self.endpoint.authority();
        let socket = self.dial().await?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(WRITE_BUFFER_BYTES)
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        // TLS is underneath already, so the scheme matters to nobody here.
        let request = format!("ws://{}/ws", self.endpoint.authority());
        let (socket, _) = tokio_tungstenite::client_async_with_config(request, socket, Some(config))
            .await
            .map_err(|error| ConnectError::Handshake {
                address: address(),
                source: Box::new(error),
            })?;
        let (sink, stream) = socket.split();
        let (mut sender, mut receiver) = (Sender(sink), Receiver(stream));
        let closed = |_| ConnectError::Closed;
        sender
            .feed(ClientFrame::Hello(Box::new(hello)).encode().into())
            .await
            .map_err(closed)?;
        sender.flush().await.map_err(closed)?;
        let welcome = receiver.welcome().await?;
        Ok(Opened {
            welcome,
            sender,
            receiver,
        })
    }

    async fn dial(&self) -> Result<Box<dyn ByteStream>, ConnectError> {
        let address = || self.endpoint.authority();
        let stream = self
            .dial
            .dial()
            .await
            .map_err(|source| ConnectError::Unreachable {
                address: address(),
                source,
            })?;
        let Some(config) = &self.tls else {
            return Ok(stream);
        };
        let name = ServerName::try_from(self.endpoint.host.clone()).map_err(|error| ConnectError::Tls {
            address: address(),
            source: Box::new(error),
        })?;
        let stream = TlsConnector::from(Arc::clone(config))
            .connect(name, stream)
            .await
            .map_err(|error| ConnectError::Tls {
                address: address(),
                source: Box::new(error),
            })?;
        Ok(Box::new(stream))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Connector");
        shown
            .field("endpoint", &self.endpoint)
            .field("timeout", &self.timeout);
        shown.finish_non_exhaustive()
    }
}

impl Sender {
    /// Gathers a frame; it leaves with the next [`Sender::flush`] at the latest.
    pub(crate) async fn feed(&mut self, frame: Utf8Bytes) -> Result<(), Broken> {
        Ok(self.0.feed(Message::Text(frame)).await?)
    }

    /// Writes what was gathered.
    pub(crate) async fn flush(&mut self) -> Result<(), Broken> {
        Ok(self.0.flush().await?)
    }
}

impl Receiver {
    /// The next frame, and the text it was. No frame is lost when nobody waits for it any more.
    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<(ServerFrame, Utf8Bytes), Broken>> {
        loop {
            return Poll::Ready(match ready!(self.0.poll_next_unpin(context)) {
                Some(Ok(Message::Text(text))) => match ServerFrame::decode(&text) {
                    Ok(frame) => Ok((frame, text)),
                    Err(error) => Err(Broken::Protocol(error)),
                },
                Some(Ok(Message::Close(_))) | None => Err(Broken::Closed),
                // WebSocket's own pings are answered underneath; bytes are no part of the protocol.
                Some(Ok(_)) => continue,
                Some(Err(WebSocketError::ConnectionClosed | WebSocketError::AlreadyClosed)) => {
                    Err(Broken::Closed)
                }
                Some(Err(error)) => Err(error.into()),
            });
        }
    }

    async fn welcome(&mut self) -> Result<Welcome, ConnectError> {
        match poll_fn(|context| self.poll_next(context)).await {
            Ok((ServerFrame::Welcome(welcome), _)) => Ok(*welcome),
            Ok((ServerFrame::Goodbye(dismissal), _)) => Err(ConnectError::Refused(ErrorBody::new(
                dismissal.code,
                dismissal.message,
            ))),
            Ok((ServerFrame::Error(error), _)) => Err(ConnectError::Refused(error)),
            Ok(_) => Err(ConnectError::Protocol(ErrorBody::new(
                openagents_protocol::ErrorCode::UnexpectedFrame,
                "another frame came before the welcome",
            ))),
            Err(Broken::Protocol(error)) => Err(ConnectError::Protocol(error)),
            Err(_) => Err(ConnectError::Closed),
        }
    }
}
