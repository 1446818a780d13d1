//! What a request is answered with.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use openagents_protocol::call::Failure;
use openagents_protocol::{ErrorBody, ErrorCode, EventResponse, Receipt};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};

/// Why a request is refused, as its answer.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) ErrorBody);

impl From<ErrorBody> for Refusal {
    fn from(error: ErrorBody) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let code = self.0.code;
        refused(code, Json(Failure { error: self.0 }))
    }
}

impl utoipa::IntoResponses for Refusal {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let failure = |description: &str| {
            let content = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name("Failure")))
                .build();
            let response = ResponseBuilder::new().description(description);
            RefOr::T(response.content("application/json", content).build())
        };
        BTreeMap::from([
            ("4XX".to_owned(), failure("Refused; nothing was changed.")),
            (
                "5XX".to_owned(),
                failure("Failed for now; the same request may succeed later."),
            ),
        ])
    }
}

/// The answer to sending something, with its code as the status.
pub(crate) fn answer(outcome: Result<Receipt, ErrorBody>) -> Response {
    let code = outcome.as_ref().err().map(|error| error.code);
    let body = Json(EventResponse::from(outcome));
    match code {
        None => body.into_response(),
        Some(code) => refused(code, body),
    }
}

fn refused(code: ErrorCode, body: impl IntoResponse) -> Response {
    let status = status(code);
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if matches!(
        status,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    ) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The status of every code; the only place that decides it.
fn status(code: ErrorCode) -> StatusCode {
    use ErrorCode as Code;

    match code {
        Code::InvalidFrame
        | Code::UnknownFrameType
        | Code::UnsupportedProtocol
        | Code::HelloExpected
        | Code::UnexpectedFrame
        | Code::InvalidField
        | Code::InvalidName
        | Code::InvalidJson
        | Code::ReservedEventName
        | Code::ChecksumMismatch
        | Code::InvalidDestination => StatusCode::BAD_REQUEST,
        Code::Unauthenticated | Code::TokenExpired => StatusCode::UNAUTHORIZED,
        Code::Forbidden | Code::NotAMember => StatusCode::FORBIDDEN,
        Code::AgentNotFound
        | Code::ChannelNotFound
        | Code::MessageNotFound
        | Code::SubscriptionNotFound
        | Code::TokenNotFound
        | Code::FileNotFound
        | Code::NotFound => StatusCode::NOT_FOUND,
        Code::UnknownMethod => StatusCode::METHOD_NOT_ALLOWED,
        Code::TimedOut => StatusCode::REQUEST_TIMEOUT,
        Code::AgentIdInUse
        | Code::SessionReplaced
        | Code::ChannelExists
        | Code::ChannelArchived
        | Code::EventIdReused
        | Code::EventIdConflict
        | Code::LimitReached => StatusCode::CONFLICT,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::StorageUnavailable | Code::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
        Code::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn every_code_has_its_status() {
        let mut table = String::new();
        for code in ErrorCode::ALL {
            writeln!(table, "{code} {}", status(*code).as_u16()).unwrap();
        }
        insta::assert_snapshot!(table, @r"
        invalid_frame 400
        unknown_frame_type 400
        unsupported_protocol 400
        hello_expected 400
        unexpected_frame 400
        unknown_method 405
        invalid_field 400
        invalid_name 400
        invalid_json 400
        too_large 413
        unauthenticated 401
        token_expired 401
        forbidden 403
        agent_id_in_use 409
        session_replaced 409
        agent_not_found 404
        channel_not_found 404
        channel_exists 409
        not_a_member 403
        channel_archived 409
        file_not_found 404
        checksum_mismatch 400
        message_not_found 404
        reserved_event_name 400
        invalid_destination 400
        event_id_reused 409
        event_id_conflict 409
        subscription_not_found 404
        token_not_found 404
        not_found 404
        limit_reached 409
        rate_limited 429
        timed_out 408
        storage_unavailable 503
        storage_full 507
        shutting_down 503
        internal 500
        ");
    }
}
