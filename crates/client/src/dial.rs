//! The way to a server, for programs that bring their own.

use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Bytes that go both ways, in order.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for T {}

/// The outcome of [`Dial::dial`].
pub type DialFuture<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn ByteStream>>> + Send + 'a>>;

/// Makes byte streams to a server: one for each connection, and one for each file that is sent or fetched.
///
/// For servers that are not reached by plain TCP, such as those behind a Unix socket or a proxy. TLS is spoken inside the
/// stream where the endpoint asks for it. [`Connect::dial`](crate::Connect::dial) takes one.
///
/// ```
/// use openagents_client::{ByteStream, Dial, DialFuture};
/// use tokio::net::UnixStream;
///
/// struct Local(std::path::PathBuf);
///
/// impl Dial for Local {
///     fn dial(&self) -> DialFuture<'_> {
///         Box::pin(async {
///             let stream: Box<dyn ByteStream> = Box::new(UnixStream::connect(&self.0).await?);
///             Ok(stream)
///         })
///     }
/// }
/// ```
pub trait Dial: Send + Sync + 'static {
    /// Makes a stream. The timeout of the connection counts for it as well; when it is over, the future is dropped.
    fn dial(&self) -> DialFuture<'_>;
}

/// Dials by TCP, which is the default.
pub(crate) struct Tcp {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Dial for Tcp {
    fn dial(&self) -> DialFuture<'_> {
        Box::pin(async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            // Small frames must not wait for each other.
            stream.set_nodelay(true)?;
            let stream: Box<dyn ByteStream> = Box::new(stream);
            Ok(stream)
        })
    }
}
