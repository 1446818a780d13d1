//! One HTTP request over a connection of its own: for the content of files, which is no frame.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use openagents_protocol::call::Failure;
use openagents_protocol::{Secret, frame};
use tokio_util::task::TaskTracker;

use super::Connector;
use crate::error::FileError;

/// Longest silence of a server while content is sent to or by it.
const SILENCE: Duration = Duration::from_mins(1);

/// Largest answer that is read as a whole.
const MAX_ANSWER: usize = 1024 * 1024;

/// Header that says which agent asks.
const AGENT_HEADER: &str = "x-agent-id";

/// What is sent: pieces, or nothing.
pub(crate) type Content = UnsyncBoxBody<Bytes, std::io::Error>;

/// Sends requests to the server of a session, as its agent.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) connector: Connector,
    pub(crate) credentials: Option<Secret>,
    /// Where the tasks of its connections belong; each ends when its answer was read or dropped.
    pub(crate) tasks: TaskTracker,
}

impl Transfer {
    /// Sends a request and returns the answer, whose content is still to come. A refusal is an error.
    pub(crate) async fn send(
        &self,
        agent_id: &str,
        mut request: Request<Content>,
    ) -> Result<Response<Incoming>, FileError> {
        let broken = |error: hyper::Error| FileError::Broken(error.to_string());
        let socket = tokio::time::timeout(self.connector.timeout, self.connector.dial());
        let socket = socket.await.map_err(|_| FileError::Silent)??;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
            .await
            .map_err(broken)?;
        self.tasks.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection of a transfer broke");
            }
        });
        let headers = request.headers_mut();
        let value = |text: &str| {
            text.parse()
                .map_err(|_| FileError::Broken("not fit for a header".to_owned()))
        };
        headers.insert(HOST, value(&self.connector.endpoint.authority())?);
        headers.insert(
            AGENT_HEADER,
            hyper::header::HeaderValue::from_bytes(agent_id.as_bytes())
                .map_err(|_| FileError::Broken("the agent id is not fit for a header".to_owned()))?,
        );
        if let Some(secret) = &self.credentials {
            let mut bearer: hyper::header::HeaderValue = value(&format!("Bearer {}", secret.expose()))?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        let response = sender.send_request(request).await.map_err(broken)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let answer = whole(response).await?;
        Err(refusal(status, &answer))
    }
}

/// The next piece of an answer; none at its end.
pub(crate) async fn piece(response: &mut Response<Incoming>) -> Result<Option<Bytes>, FileError> {
    loop {
        let frame = tokio::time::timeout(SILENCE, response.frame());
        match frame.await.map_err(|_| FileError::Silent)? {
            None => return Ok(None),
            Some(Err(error)) => return Err(FileError::Broken(error.to_string())),
            Some(Ok(frame)) => {
                if let Ok(piece) = frame.into_data() {
                    return Ok(Some(piece));
                }
            }
        }
    }
}

/// An answer that is short.
pub(crate) async fn whole(mut response: Response<Incoming>) -> Result<Vec<u8>, FileError> {
    let mut answer = Vec::new();
    while let Some(piece) = piece(&mut response).await? {
        if MAX_ANSWER < answer.len() + piece.len() {
            return Err(FileError::Broken("the answer is too long".to_owned()));
        }
        answer.extend_from_slice(&piece);
    }
    Ok(answer)
}

/// No content.
pub(crate) fn empty() -> Content {
    let empty = http_body_util::Empty::new();
    empty.map_err(|error: Infallible| match error {}).boxed_unsync()
}

fn refusal(status: StatusCode, answer: &[u8]) -> FileError {
    let failure = std::str::from_utf8(answer)
        .ok()
        .and_then(|text| frame::read::<Failure>(text).ok());
    match failure {
        Some(failure) => FileError::Refused(failure.error),
        None => FileError::Broken(format!("the server answered {status}")),
    }
}
