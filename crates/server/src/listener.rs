//! Where connections come from.

use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use crate::config::Addresses;

/// Bytes that go both ways, in order.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for T {}

/// The outcome of [`Listener::accept`].
pub type AcceptFuture<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn ByteStream>>> + Send + 'a>>;

/// Takes connections for [`Server::serve`](crate::Server::serve); a `TcpListener` is one.
pub trait Listener: Send + 'static {
    /// Waits for the next connection.
    ///
    /// An error concerns that connection only; the server pauses for a moment and asks again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future must lose no connection.
    fn accept(&mut self) -> AcceptFuture<'_>;
}

impl Listener for TcpListener {
    fn accept(&mut self) -> AcceptFuture<'_> {
        Box::pin(async {
            let (stream, _) = Self::accept(self).await?;
            Ok(prepared(stream))
        })
    }
}

/// A listener that closes connections at once that come from where none may come from.
#[derive(Debug)]
pub(crate) struct Filtered {
    listener: TcpListener,
    addresses: Addresses,
}

impl Filtered {
    pub(crate) fn new(listener: TcpListener, addresses: Addresses) -> Self {
        Self { listener, addresses }
    }
}

impl Listener for Filtered {
    fn accept(&mut self) -> AcceptFuture<'_> {
        Box::pin(async {
            loop {
                let (stream, peer) = self.listener.accept().await?;
                if self.addresses.admit(peer.ip()) {
                    return Ok(prepared(stream));
                }
                tracing::debug!(%peer, "this address may not connect");
            }
        })
    }
}

fn prepared(stream: TcpStream) -> Box<dyn ByteStream> {
    // Small frames must not wait for each other.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection stays slow");
    }
    Box::new(stream)
}
