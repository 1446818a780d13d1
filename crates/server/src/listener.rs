//! Where connections come from.

use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

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
            // Small frames must not wait for each other.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection stays slow");
            }
            let stream: Box<dyn ByteStream> = Box::new(stream);
            Ok(stream)
        })
    }
}
