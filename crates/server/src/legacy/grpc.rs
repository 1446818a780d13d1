//! The gRPC service: four calls that the official client makes, and a clear answer to the others.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use axum::{Router, middleware};
use openagents_protocol::Secret;
use openagents_protocol::legacy::prost::Message;
use openagents_protocol::legacy::prost_types::Any;
use openagents_protocol::legacy::{
    Event, EventResponse, HeartbeatRequest, HeartbeatResponse, RegisterAgentRequest, RegisterAgentResponse,
    UnregisterAgentRequest, UnregisterAgentResponse,
};
use openagents_workspace::{Slip, Takeover, Way};
use serde_json::Value;
use tonic::Status;
use tonic::server::Grpc;
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::carriage::carried;
use super::cors::admits;
use super::people::{Registration, register, unregister};
use super::plain;
use super::request::Request;
use super::room::{self, Share};
use crate::host::Host;
use crate::line::Line;

/// What the data of an answer is said to be; its value is JSON.
const DATA_TYPE: &str = "type.googleapis.com/openagents.EventResponseData";

pub(super) fn routes(host: &Arc<Host>) -> Router<Arc<Host>> {
    Router::new()
        .route("/openagents.AgentService/SendEvent", post(send_event))
        .route("/openagents.AgentService/RegisterAgent", post(register_agent))
        .route("/openagents.AgentService/UnregisterAgent", post(unregister_agent))
        .route("/openagents.AgentService/Heartbeat", post(heartbeat))
        .layer(middleware::from_fn_with_state(Arc::clone(host), room::count))
        .route("/openagents.AgentService/{*other}", post(unimplemented))
}

type HttpRequest = axum::extract::Request;

/// Makes a call of one message with one answer out of a request over HTTP.
async fn unary<Asked, Answered, Answering>(
    host: &Host,
    request: HttpRequest,
    call: impl FnMut(Asked) -> Answering,
) -> Response
where
    Asked: Message + Default + Send + 'static,
    Answered: Message + Default + Send + 'static,
    Answering: Future<Output = Answered> + Send + 'static,
{
    if !admits(host, request.headers()) {
        return refuse(Status::permission_denied("pages of this origin may not ask here"));
    }
    let mut call = call;
    let service = service_fn(move |asked: tonic::Request<Asked>| {
        let answering = call(asked.into_inner());
        async move { Ok::<_, Status>(tonic::Response::new(answering.await)) }
    });
    let limit = host.desk.settings.max_message_bytes;
    let mut grpc = Grpc::new(ProstCodec::<Answered, Asked>::default())
        .max_decoding_message_size(limit)
        .max_encoding_message_size(usize::MAX);
    grpc.unary(service, request).await.map(Body::new)
}

fn refuse(status: Status) -> Response {
    status.into_http::<tonic::body::Body>().map(Body::new)
}

async fn send_event(
    State(host): State<Arc<Host>>,
    Extension(line): Extension<Arc<Line>>,
    Extension(share): Extension<Arc<Share>>,
    request: HttpRequest,
) -> Response {
    let slip = Arc::new(std::sync::Mutex::new(Slip::default()));
    let response = unary(&host, request, |event: Event| {
        let (host, line, slip) = (Arc::clone(&host), Arc::clone(&line), Arc::clone(&slip));
        let share = Arc::clone(&share);
        async move {
            let event_name = event.event_name.clone();
            let answer = match Request::from_proto(event) {
                Ok(request) => {
                    let processed = plain::process(&host, &line, request.counted_by(share)).await;
                    *slip.lock().expect("poisoned") = processed.slip;
                    processed.answer
                }
                Err(error) => super::answer::Answer::refused(error.to_string()),
            };
            EventResponse {
                success: answer.success,
                message: answer.message,
                data: answer.data.as_ref().and_then(pack),
                event_name,
            }
        }
    })
    .await;
    let slip = slip.lock().expect("poisoned").clone();
    carried(response, slip, line)
}

/// Data as this interface carries it; nothing where there is nothing in it.
fn pack(data: &Value) -> Option<Any> {
    if data.as_object().is_some_and(serde_json::Map::is_empty) {
        return None;
    }
    Some(Any {
        type_url: DATA_TYPE.to_owned(),
        value: serde_json::to_vec(data).ok()?,
    })
}

async fn register_agent(
    State(host): State<Arc<Host>>,
    Extension(line): Extension<Arc<Line>>,
    request: HttpRequest,
) -> Response {
    let way: Arc<dyn Way> = line;
    unary(&host, request, |asked: RegisterAgentRequest| {
        let (host, way) = (Arc::clone(&host), Arc::clone(&way));
        async move {
            let metadata = asked.metadata.into_iter();
            let registration = Registration {
                agent_id: asked.agent_id,
                metadata: metadata.map(|(key, value)| (key, value.into())).collect(),
                password_hash: Some(asked.password_hash)
                    .filter(|hash| !hash.is_empty())
                    .map(Secret::new),
                group: None,
                takeover: if asked.force_reconnect {
                    Takeover::OfSilent
                } else {
                    Takeover::OfGone
                },
            };
            match register(&host, &way, registration).await {
                Ok(registered) => RegisterAgentResponse {
                    success: true,
                    error_message: String::new(),
                    secret: registered.secret.expose().to_owned(),
                },
                Err(error_message) => RegisterAgentResponse {
                    success: false,
                    error_message,
                    secret: String::new(),
                },
            }
        }
    })
    .await
}

async fn unregister_agent(
    State(host): State<Arc<Host>>,
    Extension(line): Extension<Arc<Line>>,
    request: HttpRequest,
) -> Response {
    let way: Arc<dyn Way> = line;
    unary(&host, request, |asked: UnregisterAgentRequest| {
        let (host, way) = (Arc::clone(&host), Arc::clone(&way));
        async move {
            let secret = Secret::new(asked.secret);
            let outcome = unregister(&host, &way, &asked.agent_id, &secret).await;
            UnregisterAgentResponse {
                success: outcome.is_ok(),
                error_message: outcome.err().unwrap_or_default(),
            }
        }
    })
    .await
}

async fn heartbeat(State(host): State<Arc<Host>>, request: HttpRequest) -> Response {
    unary(&host, request, |_: HeartbeatRequest| async {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        HeartbeatResponse {
            success: true,
            timestamp: now.as_secs().cast_signed(),
        }
    })
    .await
}

/// The calls that nobody makes.
async fn unimplemented(_: HeaderMap) -> Response {
    refuse(Status::unimplemented("this call is not made by agents"))
}
