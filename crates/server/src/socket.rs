//! A connection as the system gives it, with the manners that every protocol above it needs.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::task::TaskTracker;

/// How long a closed connection is still listened to.
const LINGER: Duration = Duration::from_secs(1);

/// A connection that counts against the limit of connections until it is closed, whatever protocol it changes to.
///
/// Writing fails when the peer takes nothing for too long. Dropping it closes the connection in the way that lets the
/// peer read the last words: a socket that is closed while something from the peer is unread makes the system discard
/// what the peer has not read yet, so what still comes is read and thrown away for a moment.
#[derive(Debug)]
pub(crate) struct Socket {
    open: Option<(TcpStream, OwnedSemaphorePermit)>,
    tracker: TaskTracker,
    write_timeout: Duration,
    /// Runs while the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// The peer has said all it will.
    ended: bool,
}

impl Socket {
    pub(crate) fn new(
        stream: TcpStream,
        permit: OwnedSemaphorePermit,
        tracker: TaskTracker,
        write_timeout: Duration,
    ) -> Self {
        // Small frames must not wait for each other.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection stays slow");
        }
        Self {
            open: Some((stream, permit)),
            tracker,
            write_timeout,
            stalled: None,
            ended: false,
        }
    }

    /// Waits for the first byte and leaves it there; none at the end of the stream.
    pub(crate) async fn peek(&self) -> io::Result<Option<u8>> {
        let mut first = [0];
        let (stream, _) = self.open.as_ref().expect("taken by dropping only");
        Ok(match stream.peek(&mut first).await? {
            0 => None,
            _ => Some(first[0]),
        })
    }

    fn stream(&mut self) -> Pin<&mut TcpStream> {
        let (stream, _) = self.open.as_mut().expect("taken by dropping only");
        Pin::new(stream)
    }

    /// Fails a write that waits for too long.
    fn mind<T>(&mut self, outcome: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let limit = self.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        let outcome = self.stream().poll_read(context, buffer);
        if let Poll::Ready(outcome) = &outcome {
            self.ended = outcome.is_err() || (buffer.filled().len() == before && 0 < room);
        }
        outcome
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = self.stream().poll_write(context, bytes);
        self.mind(outcome, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = self.stream().poll_write_vectored(context, bytes);
        self.mind(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let Some((stream, permit)) = self.open.take() else {
            return;
        };
        if !self.ended
            && let Ok(runtime) = Handle::try_current()
        {
            self.tracker.spawn_on(linger(stream, permit), &runtime);
        }
    }
}

/// Ends the connection on this side, and listens until the peer does the same.
async fn linger(mut stream: TcpStream, permit: OwnedSemaphorePermit) {
    let mut heard = vec![0; 4096];
    let listen = async {
        stream.shutdown().await?;
        while 0 < stream.read(&mut heard).await? {}
        io::Result::Ok(())
    };
    // However this ends, the connection is over.
    drop(timeout(LINGER, listen).await);
    drop(permit);
}
