//! How much the server holds for the requests of this interface, all together.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use serde_json::json;
use tokio::time::{Sleep, sleep};
use tonic::Status;

use crate::host::Host;

/// What a request may have in any case, in bytes: small ones are not refused because others are large.
const SMALL: u64 = 64 * 1024;

/// What there is for all requests together.
#[derive(Debug)]
pub(crate) struct Room {
    held: AtomicU64,
    most: u64,
}

/// Everything is taken.
#[derive(Debug, thiserror::Error)]
#[error("the requests that are under way have {most} bytes together, and no more is taken now; try again")]
pub(super) struct Crowded {
    most: u64,
}

impl Room {
    /// Room for so many bytes, beyond what each request may have in any case.
    pub(crate) fn new(most: u64) -> Self {
        Self {
            held: AtomicU64::new(0),
            most,
        }
    }

    fn take(&self, bytes: u64) -> Result<(), Crowded> {
        let more = |held: u64| held.checked_add(bytes).filter(|held| *held <= self.most);
        let taken = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map(drop).map_err(|_| Crowded { most: self.most })
    }
}

/// What is held for one request; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    host: Arc<Host>,
    /// What was counted for it, with what it may have in any case.
    counted: AtomicU64,
    refused: AtomicBool,
}

impl Share {
    /// Counts so many bytes more, which its body or its answer has.
    ///
    /// # Errors
    ///
    /// Where there is no room; the request is refused then, whatever else it is answered.
    pub(super) fn take(&self, bytes: u64) -> Result<(), Crowded> {
        let before = self.counted.fetch_add(bytes, Ordering::Relaxed);
        let beyond = |counted: u64| counted.saturating_sub(SMALL);
        let more = beyond(before.saturating_add(bytes)) - beyond(before);
        if more == 0 {
            return Ok(());
        }
        let taken = self.host.desk.room.take(more);
        if taken.is_err() {
            self.counted.fetch_sub(bytes, Ordering::Relaxed);
            self.refused.store(true, Ordering::Relaxed);
        }
        taken
    }

    fn is_large(&self) -> bool {
        SMALL < self.counted.load(Ordering::Relaxed)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let held = self.counted.load(Ordering::Relaxed).saturating_sub(SMALL);
        if 0 < held {
            self.host.desk.room.held.fetch_sub(held, Ordering::Relaxed);
        }
    }
}

/// Counts what a request has, from the first piece of its body to the last piece of its answer.
pub(super) async fn count(State(host): State<Arc<Host>>, mut request: Request, next: Next) -> Response {
    let share = Arc::new(Share {
        host,
        counted: AtomicU64::new(0),
        refused: AtomicBool::new(false),
    });
    let kind = request.headers().get(header::CONTENT_TYPE);
    let is_grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    request.extensions_mut().insert(Arc::clone(&share));
    let patience = is_grpc.then_some(share.host.limits.request_timeout);
    let counted = Arc::clone(&share);
    let request = request.map(|inner| Body::new(Counted::of_request(inner, counted, patience)));
    let response = next.run(request).await;
    if share.refused.load(Ordering::Relaxed) {
        return refusal(&share, is_grpc);
    }
    if !share.is_large() {
        return response;
    }
    response.map(|inner| Body::new(Counted::of_answer(inner, share)))
}

fn refusal(share: &Share, is_grpc: bool) -> Response {
    let message = Crowded {
        most: share.host.desk.room.most,
    }
    .to_string();
    if is_grpc {
        let status = Status::resource_exhausted(message);
        return status.into_http::<tonic::body::Body>().map(Body::new);
    }
    let body = json!({"success": false, "error_message": message, "error": message});
    let mut response = super::http::answer(StatusCode::SERVICE_UNAVAILABLE, &body);
    let soon = HeaderValue::from_static("1");
    response.headers_mut().insert(header::RETRY_AFTER, soon);
    response
}

/// A body that holds the share of its request; that of a request counts what comes.
#[derive(Debug)]
struct Counted {
    inner: Body,
    share: Arc<Share>,
    counts: bool,
    /// How long its pieces are waited for; none: whoever reads it sees to that.
    patience: Option<Duration>,
    waiting: Option<Pin<Box<Sleep>>>,
    crowded: Option<Crowded>,
    /// Bytes that came since.
    ignored: u64,
}

impl Counted {
    fn of_request(inner: Body, share: Arc<Share>, patience: Option<Duration>) -> Self {
        Self {
            counts: true,
            patience,
            ..Self::of_answer(inner, share)
        }
    }

    fn of_answer(inner: Body, share: Arc<Share>) -> Self {
        Self {
            inner,
            share,
            counts: false,
            patience: None,
            waiting: None,
            crowded: None,
            ignored: 0,
        }
    }

    /// The next piece, unless it does not come in time.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(piece) = Pin::new(&mut self.inner).poll_frame(context) {
            return Poll::Ready(piece);
        }
        let Some(patience) = self.patience else {
            return Poll::Pending;
        };
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(waiting.as_mut().poll(context));
        let late = Status::deadline_exceeded("the request did not come in time");
        Poll::Ready(Some(Err(axum::Error::new(late))))
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        loop {
            let frame = ready!(self.poll_piece(context));
            let bytes = match &frame {
                Some(Ok(frame)) if self.counts => frame.data_ref().map_or(0, Bytes::len) as u64,
                _ => 0,
            };
            if self.crowded.is_none() {
                match self.share.take(bytes) {
                    Ok(()) => return Poll::Ready(frame),
                    Err(crowded) => self.crowded = Some(crowded),
                }
            }
            // Who is refused is heard to the end: a client that is cut off while it speaks does not hear why.
            self.ignored = self.ignored.saturating_add(bytes);
            let ends = !matches!(frame, Some(Ok(_))) || self.share.host.desk.room.most < self.ignored;
            if let Some(crowded) = self.crowded.take_if(|_| ends) {
                return Poll::Ready(Some(Err(axum::Error::new(crowded))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
