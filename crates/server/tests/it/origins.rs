//! Which web pages may ask.

use openagents_protocol::{ErrorCode, Secret};
use serde_json::json;

use crate::harness::{Reply, Running};

async fn upgrade(running: &Running, host: &str, origin: &str) -> u16 {
    let stream = running.connect().await;
    let request = format!("ws://{host}/ws");
    let mut request =
        tokio_tungstenite::tungstenite::client::IntoClientRequest::into_client_request(request).unwrap();
    request.headers_mut().insert("origin", origin.parse().unwrap());
    match tokio_tungstenite::client_async(request, stream).await {
        Ok(_) => 101,
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

async fn ask(running: &Running, host: &str, origin: &str) -> Reply {
    let request = running.request("GET", "/rest/v1/agents").host(host);
    request.header("origin", origin).send().await
}

#[tokio::test]
async fn an_open_server_answers_pages_of_its_own_machine_only() {
    let running = Running::start().await;
    let address = running.server.local_addr().to_string();
    let local = format!("localhost:{}", running.server.local_addr().port());
    for (host, origin, admitted) in [
        (address.as_str(), format!("http://{address}"), true),
        (local.as_str(), format!("http://{local}"), true),
        (address.as_str(), "https://evil.example".to_owned(), false),
        (address.as_str(), "null".to_owned(), false),
        // A page whose own name points to this machine.
        ("evil.example:8700", "http://evil.example:8700".to_owned(), false),
    ] {
        let expected = if admitted { 101 } else { 403 };
        assert_eq!(
            upgrade(&running, host, &origin).await,
            expected,
            "{host} {origin}"
        );
        let reply = ask(&running, host, &origin).await;
        if admitted {
            reply.ok();
            assert_eq!(reply.header("access-control-allow-origin"), Some(origin.as_str()));
        } else {
            assert_eq!(
                reply.refusal(),
                (403, ErrorCode::Forbidden, Some("Origin".into()))
            );
            assert_eq!(reply.header("access-control-allow-origin"), None);
        }
    }
    // Browsers send no origin with plain requests of a page to its own site.
    let rebound = running
        .request("GET", "/rest/v1/agents")
        .host("evil.example:8700");
    assert_eq!(
        rebound.send().await.refusal(),
        (403, ErrorCode::Forbidden, Some("Host".into()))
    );
}

#[tokio::test]
async fn a_guarded_server_answers_pages_that_it_serves_or_allows() {
    let running = Running::with(|config| {
        config.tokens = vec![Secret::new("token")];
        config.allowed_origins = vec!["https://app.example".to_owned()];
    })
    .await;
    let host = "workspace.example";
    assert_eq!(upgrade(&running, host, "https://workspace.example").await, 101);
    assert_eq!(upgrade(&running, host, "https://app.example").await, 101);
    assert_eq!(upgrade(&running, host, "https://evil.example").await, 403);
    let reply = ask(&running, host, "https://app.example").await;
    assert_eq!(reply.status, 401, "admitted as a page, but nobody");
    assert_eq!(
        reply.header("access-control-allow-origin"),
        Some("https://app.example")
    );
    assert_eq!(reply.header("vary"), Some("origin"));
}

#[tokio::test]
async fn a_browser_that_asks_first_is_told_what_it_may_send() {
    let running =
        Running::with(|config| config.allowed_origins = vec!["https://app.example".to_owned()]).await;
    let preflight = async |origin: &str| {
        let request = running.request("OPTIONS", "/rest/v1/channels/general/messages");
        let request = request
            .header("origin", origin)
            .header("access-control-request-method", "POST");
        request.send().await
    };
    let reply = preflight("https://app.example").await;
    assert_eq!(reply.status, 204);
    assert_eq!(
        reply.header("access-control-allow-origin"),
        Some("https://app.example")
    );
    assert_eq!(
        reply.header("access-control-allow-methods"),
        Some("get, post, put, patch, delete")
    );
    assert_eq!(
        reply.header("access-control-allow-headers"),
        Some("authorization, content-type, x-agent-id, x-checksum-sha256")
    );
    assert_eq!(preflight("https://evil.example").await.status, 403);

    let request = running
        .request("POST", "/rest/v1/channels/general/messages")
        .acting_as("alice");
    let request = request
        .header("origin", "https://app.example")
        .json(&json!({"content": "hello"}));
    request.send().await.ok();
}
