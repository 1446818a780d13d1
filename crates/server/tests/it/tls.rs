//! A port that speaks TLS.

use std::sync::Arc;
use std::time::Duration;

use openagents_protocol::ErrorCode;
use openagents_server::Tls;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::harness::{LIMIT, Running, within};

async fn start() -> Running {
    Running::with(|config| {
        config.limits.hello_timeout = Duration::from_millis(500);
        config.limits.max_frame_bytes = 10_000;
        config.tls = Some(Tls::SelfSigned {
            names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        });
    })
    .await
}

/// Trusts the certificate that the server made, and nothing else.
async fn connect(running: &Running, name: &'static str) -> std::io::Result<TlsStream<TcpStream>> {
    let path = running.directory.path().join("tls/certificate.pem");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(path).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = running.connect().await;
    within(
        LIMIT,
        connector.connect(ServerName::try_from(name).unwrap(), stream),
    )
    .await
}

#[tokio::test]
async fn a_self_signed_certificate_proves_the_server_by_its_names() {
    let running = start().await;
    assert!(running.server.url().starts_with("https://"));
    for name in ["localhost", "127.0.0.1"] {
        let stream = connect(&running, name).await.unwrap();
        let health = running.request("GET", "/healthz").over(stream).await.ok();
        assert_eq!(health["status"], "ok");
    }
    connect(&running, "elsewhere.example").await.unwrap_err();

    let stream = connect(&running, "localhost").await.unwrap();
    let rest = running
        .request("POST", "/rest/v1/channels/general/messages")
        .acting_as("alice");
    let posted = rest.json(&json!({"content": "over TLS"})).over(stream).await.ok();
    assert_eq!(posted["success"], true);

    let stream = connect(&running, "localhost").await.unwrap();
    let rest = running.request("POST", "/rest/v1/events").acting_as("alice");
    let large = rest.text(&"x".repeat(1_000_000)).over(stream).await;
    assert_eq!(large.refusal(), (413, ErrorCode::TooLarge, None));
}

#[tokio::test]
async fn health_is_answered_in_clear_and_nothing_else_is() {
    let running = start().await;
    let health = running.request("GET", "/api/health").send().await.ok();
    assert_eq!(health["status"], "healthy");
    for path in ["/", "/healthz", "/rest/v1/agents", "/openapi.json", "/ws"] {
        let reply = running.request("GET", path).send().await;
        assert_eq!(reply.status, 426, "{path}");
        assert!(reply.body.contains("TLS"), "{reply:?}");
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_cut_in_time() {
    let running = start().await;
    for sent in [&b""[..], &[0x16], &[0x16, 3, 1, 2, 0]] {
        let mut stream = running.connect().await;
        stream.write_all(sent).await.unwrap();
        let mut rest = Vec::new();
        let read = within(LIMIT, stream.read_to_end(&mut rest)).await;
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
}
