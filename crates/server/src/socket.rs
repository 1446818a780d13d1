//! A connection as the system gives it, with the manners that every protocol above it needs.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::line::Line;
use crate::listener::ByteStream;

/// How long a closed connection is still listened to.
const LINGER: Duration = Duration::from_secs(1);

/// A connection that counts against the limit of connections until it is closed, whatever protocol it changes to.
///
/// Writing fails when the peer takes nothing for too long. Dropping it closes the connection in the way that lets the
/// peer read the last words: a socket that is closed while something from the peer is unread makes the system discard
/// what the peer has not read yet, so what still comes is read and thrown away for a moment.
pub(crate) struct Socket {
    open: Option<(Box<dyn ByteStream>, OwnedSemaphorePermit)>,
    /// A first byte that was looked at and not read yet.
    ahead: Option<u8>,
    tracker: TaskTracker,
    write_timeout: Duration,
    line: Arc<Line>,
    /// Runs while the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// The peer has said all it will.
    ended: bool,
}

impl Socket {
    pub(crate) fn new(
        stream: Box<dyn ByteStream>,
        permit: OwnedSemaphorePermit,
        tracker: TaskTracker,
        write_timeout: Duration,
    ) -> Self {
        Self {
            open: Some((stream, permit)),
            ahead: None,
            tracker,
            write_timeout,
            line: Arc::default(),
            stalled: None,
            ended: false,
        }
    }

    /// Waits for the first byte and leaves it to be read; none at the end of the stream.
    pub(crate) async fn peek(&mut self) -> io::Result<Option<u8>> {
        if self.ahead.is_none() {
            let mut first = [0];
            if 0 < self.read(&mut first).await? {
                self.ahead = Some(first[0]);
            }
        }
        Ok(self.ahead)
    }

    /// Tells what becomes of the connection, also when it is gone.
    pub(crate) fn line(&self) -> Arc<Line> {
        Arc::clone(&self.line)
    }

    fn stream(&mut self) -> Pin<&mut dyn ByteStream> {
        let (stream, _) = self.open.as_mut().expect("taken by dropping only");
        Pin::new(stream.as_mut())
    }

    /// Fails a write that waits for too long.
    fn mind<T>(&mut self, outcome: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if let Poll::Ready(written) = &outcome {
            if written.is_err() {
                self.line.break_off();
            }
            self.stalled = None;
            return outcome;
        }
        let limit = self.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(stalled.as_mut().poll(context));
        self.line.break_off();
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
        if let (Some(first), true) = (self.ahead, 0 < room) {
            buffer.put_slice(&[first]);
            self.ahead = None;
            return Poll::Ready(Ok(()));
        }
        let outcome = self.stream().poll_read(context, buffer);
        if let Poll::Ready(outcome) = &outcome {
            match outcome {
                Err(_) => self.line.break_off(),
                Ok(()) if buffer.filled().len() == before && 0 < room => self.line.close(),
                Ok(()) => {}
            }
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
        self.open
            .as_ref()
            .is_some_and(|(stream, _)| stream.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Socket")
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Whoever closes it, nothing comes over it any more.
        self.line.close();
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
async fn linger(mut stream: Box<dyn ByteStream>, permit: OwnedSemaphorePermit) {
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
