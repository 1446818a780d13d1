//! The body of an answer that says when all of it was carried away.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::response::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use openagents_workspace::{Slip, Way};

/// A body that signs a slip with its last piece. Dropped before that, it leaves the slip as it is.
#[derive(Debug)]
struct Carried {
    inner: Body,
    slip: Slip,
    way: Arc<dyn Way>,
}

/// The response, signing the slip once it is carried away.
pub(super) fn carried(response: Response, slip: Slip, way: Arc<dyn Way>) -> Response {
    response.map(|inner| Body::new(Carried { inner, slip, way }))
}

impl HttpBody for Carried {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        let last = match &frame {
            None => true,
            Some(Ok(frame)) => frame.is_trailers() || self.inner.is_end_stream(),
            Some(Err(_)) => false,
        };
        if last {
            self.slip.sign(Arc::clone(&self.way));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
