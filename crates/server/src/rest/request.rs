//! What a request says: who asks, and for what.

use std::sync::Arc;
use std::{error, str};

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use openagents_protocol::{AgentId, ErrorBody, ErrorCode, EventId, Secret, frame};
use openagents_workspace::{Caller, Principal, Workspace};
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{ObjectBuilder, Required, Type};

use super::reply::Refusal;
use crate::host::{Credentials, Host};

/// The header that says which agent acts.
const AGENT_HEADER: &str = "X-Agent-Id";

/// Who asks.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) workspace: Arc<Workspace>,
    principal: Principal,
    agent_id: Option<AgentId>,
}

impl Visitor {
    /// The agent that asks, for calls that an agent makes.
    pub(super) fn caller(&self) -> Result<Caller, ErrorBody> {
        let agent_id = self.agent_id.clone().ok_or_else(|| {
            let message = format!(
                "say which agent asks: give its id in the header `{AGENT_HEADER}`, or use an agent token"
            );
            ErrorBody::field(ErrorCode::InvalidField, AGENT_HEADER, message)
        })?;
        Ok(self.principal.caller(agent_id))
    }

    /// The agent that asks or, where it does not matter, a newcomer that nobody knows.
    pub(super) fn anybody(&self) -> Caller {
        let agent_id = self.agent_id.clone().unwrap_or_else(AgentId::generate);
        self.principal.caller(agent_id)
    }

    async fn of(headers: &HeaderMap, host: &Host) -> Result<Self, ErrorBody> {
        let token = bearer(headers)?;
        let shown = token.is_some();
        // What looks like the hash of a token counts as that token, as it does in a hello.
        let is_hash = |token: &&Secret| {
            let digits = token.expose().as_bytes();
            digits.len() == 64 && digits.iter().all(u8::is_ascii_hexdigit)
        };
        let credentials = Credentials {
            password_hash: token.as_ref().filter(is_hash).cloned(),
            token,
        };
        let principal = host.authenticate(&credentials).await.map_err(|error| {
            if shown {
                return ErrorBody {
                    field: Some(header::AUTHORIZATION.to_string()),
                    ..error
                };
            }
            wants_token(
                "this workspace wants a token: ask its operator for one, and give it as `Bearer TOKEN`",
            )
        })?;
        let written =
            match headers.get(AGENT_HEADER) {
                None => None,
                Some(value) => Some(str::from_utf8(value.as_bytes()).map_err(|_| {
                    ErrorBody::field(ErrorCode::InvalidField, AGENT_HEADER, "it is not UTF-8")
                })?),
            };
        let wanted = written
            .map(AgentId::from_written)
            .transpose()
            .map_err(|error| ErrorBody::name(AGENT_HEADER, &error))?;
        let agent_id = principal.act_as(wanted).map_err(|error| ErrorBody {
            field: Some(AGENT_HEADER.to_owned()),
            ..error
        })?;
        let workspace = host.workspace();
        if let Some(agent_id) = &agent_id {
            workspace.take_request(agent_id)?;
        }
        Ok(Self {
            workspace,
            principal,
            agent_id,
        })
    }
}

impl FromRequestParts<Arc<Host>> for Visitor {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, host: &Arc<Host>) -> Result<Self, Refusal> {
        Ok(Self::of(&parts.headers, host).await?)
    }
}

impl utoipa::IntoParams for Visitor {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let header = ParameterBuilder::new()
            .name(AGENT_HEADER)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some("The agent that asks; not needed with an agent token."))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)));
        vec![header.build()]
    }
}

/// The token of a request, if it has one.
fn bearer(headers: &HeaderMap) -> Result<Option<Secret>, ErrorBody> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let token = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| Secret::new(token.trim()));
    match token {
        Some(token) => Ok(Some(token)),
        None => Err(wants_token("it is not `Bearer TOKEN`")),
    }
}

fn wants_token(message: &str) -> ErrorBody {
    ErrorBody::field(
        ErrorCode::Unauthenticated,
        header::AUTHORIZATION.as_str(),
        message,
    )
}

/// The body of a request.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Host>> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, host: &Arc<Host>) -> Result<Self, Refusal> {
        let reading = timeout(host.limits.request_timeout, Bytes::from_request(request, host));
        let bytes = match reading.await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                let message = format!("a request has at most {} bytes", host.limits.max_frame_bytes);
                return Err(ErrorBody::new(ErrorCode::TooLarge, message).into());
            }
            Ok(Err(rejection)) => {
                return Err(ErrorBody::new(ErrorCode::InvalidFrame, rejection.body_text()).into());
            }
            Err(_) => {
                return Err(ErrorBody::new(ErrorCode::TimedOut, "the body did not come in time").into());
            }
        };
        let text = str::from_utf8(&bytes)
            .map_err(|_| ErrorBody::new(ErrorCode::InvalidJson, "the body is not UTF-8"))?;
        let read = frame::read(text).map_err(|error| match error.code {
            ErrorCode::InvalidFrame => ErrorBody::new(ErrorCode::InvalidJson, error.message),
            _ => error,
        });
        Ok(Self(read?))
    }
}

/// The query of a request. A name without a value, such as `?all`, is true.
#[derive(Debug)]
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Host>> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Host>) -> Result<Self, Refusal> {
        let query = parts.uri.query().unwrap_or_default();
        let spelled: Vec<String> = query
            .split('&')
            .map(|part| match part {
                "" => String::new(),
                part if part.contains('=') => part.to_owned(),
                part => format!("{part}=true"),
            })
            .collect();
        let uri: Uri = format!("/?{}", spelled.join("&"))
            .parse()
            .unwrap_or_else(|_| parts.uri.clone());
        match Query::try_from_uri(&uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => Err(unreadable(&rejection).into()),
        }
    }
}

/// Names the parameter that is to blame.
fn unreadable(rejection: &QueryRejection) -> ErrorBody {
    type Inner = serde_path_to_error::Error<serde::de::value::Error>;

    let mut source: Option<&(dyn error::Error + 'static)> = Some(rejection);
    while let Some(current) = source {
        if let Some(found) = current.downcast_ref::<Inner>() {
            let message = found.inner().to_string();
            return ErrorBody {
                code: ErrorCode::InvalidField,
                field: frame::to_blame(&found.path().to_string(), &message),
                message,
            };
        }
        source = current.source();
    }
    ErrorBody::new(ErrorCode::InvalidField, rejection.body_text())
}

/// The variable part of a path.
#[derive(Debug)]
pub(super) struct Segment<T = String>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Host>> for Segment<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, host: &Arc<Host>) -> Result<Self, Refusal> {
        match Path::from_request_parts(parts, host).await {
            Ok(Path(segment)) => Ok(Self(segment)),
            Err(rejection) => {
                Err(ErrorBody::field(ErrorCode::InvalidField, "path", rejection.body_text()).into())
            }
        }
    }
}

/// An id of an event in the path.
pub(super) fn event_id(field: &str, written: &str) -> Result<EventId, ErrorBody> {
    written.parse().map_err(|error| ErrorBody::name(field, &error))
}
