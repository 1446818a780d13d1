use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use openagents_client::{AgentClient, Backlog, CallError, ConnectError, Event};
use openagents_protocol::frame::{ClientFrame, SessionKind};
use openagents_protocol::{ErrorCode, Sequence};
use serde_json::json;

use crate::peer::{LIMIT, Line, Peer, direct, event, within};

#[tokio::test]
async fn the_hello_says_what_the_program_said() {
    let (peer, client) = (Peer::bind().await, AgentClient::new("agent:me"));
    let connect = client
        .connect_to_server(format!("http://127.0.0.1:{}/ignored", peer.port), peer.port)
        .token("secret")
        .password_hash("hash")
        .metadata(json!({"name": "Me"}))
        .backlog(Backlog::None)
        .after(Sequence::new(7))
        .watching();
    let (connected, line) = tokio::join!(connect, peer.welcome());
    connected.unwrap();
    let hello = line.hello;
    assert_eq!(hello.agent_id.as_deref(), Some("me"));
    assert_eq!(hello.token.unwrap().expose(), "secret");
    assert_eq!(hello.password_hash.unwrap().expose(), "hash");
    assert_eq!(hello.metadata.unwrap().as_str(), r#"{"name":"Me"}"#);
    assert_eq!(
        (hello.backlog, hello.after),
        (Some(Backlog::None), Some(Sequence::new(7)))
    );
    assert_eq!(
        (hello.session, hello.session_key.is_none()),
        (SessionKind::Watching, true)
    );
    assert!(client.is_connected());
    assert_eq!(
        (client.agent_id().as_str(), client.head()),
        ("me", Some(Sequence::new(1_000_000)))
    );
}

#[tokio::test]
async fn an_anonymous_client_takes_the_id_it_is_given() {
    let (peer, client) = (Peer::bind().await, AgentClient::anonymous());
    assert_eq!(client.agent_id(), "");
    let (connected, line) = tokio::join!(client.connect_to_server("localhost", peer.port), peer.welcome());
    connected.unwrap();
    assert_eq!(
        (line.hello.agent_id, client.agent_id().as_str()),
        (None, "made-up")
    );
}

#[tokio::test]
async fn what_prevents_a_connection_is_told_apart() {
    async fn failure(client: &AgentClient, port: u16, metadata: serde_json::Value) -> ConnectError {
        let connect = client.connect_to_server("127.0.0.1", port).metadata(metadata);
        within(LIMIT, connect.timeout(Duration::from_millis(300)).into_future())
            .await
            .unwrap_err()
    }
    let (peer, client) = (Peer::bind().await, AgentClient::new("me"));

    let (error, _) = tokio::join!(failure(&client, peer.port, json!({})), async {
        let mut line = peer.accept().await;
        line.goodbye(ErrorCode::Unauthenticated).await;
        line
    });
    assert!(matches!(&error, ConnectError::Refused(_)), "{error}");
    assert_eq!((error.code(), error.is_retryable()), ("unauthenticated", false));

    let (error, ()) = tokio::join!(failure(&client, peer.port, json!({})), async {
        drop(peer.accept().await);
    });
    assert_eq!(error.code(), "closed");
    let (error, _line) = tokio::join!(failure(&client, peer.port, json!({})), peer.accept_socket());
    assert_eq!(error.code(), "timed_out");
    assert_eq!(
        failure(&client, peer.port, json!([])).await.code(),
        "invalid_field"
    );
    assert_eq!(
        failure(&AgentClient::new("agent:broadcast"), peer.port, json!({}))
            .await
            .code(),
        "invalid_name"
    );
    let port = peer.port;
    drop(peer);
    assert_eq!(failure(&client, port, json!({})).await.code(), "unreachable");
    assert!(!client.is_connected());
}

#[tokio::test]
async fn tls_trusts_the_given_authority_and_no_other() {
    use std::sync::Arc;

    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, made.cert.pem()).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));

    let (peer, client) = (Peer::bind().await, AgentClient::new("me"));
    let (error, refused) = tokio::join!(
        client.connect_to_server("localhost", peer.port).use_tls(true),
        async { acceptor.accept(peer.accept_socket().await).await }
    );
    assert_eq!(
        (error.unwrap_err().code(), refused.is_err()),
        ("tls_failed", true)
    );

    let connect = client
        .connect_to_server("wss://localhost", peer.port)
        .ca_certificate(&path);
    let (connected, _line) = tokio::join!(connect, async {
        let stream = acceptor.accept(peer.accept_socket().await).await.unwrap();
        let mut line = Line::accept(Box::new(stream)).await;
        line.welcome(Sequence::ZERO, Sequence::ZERO).await;
        line
    });
    connected.unwrap();

    let connect = || client.connect_to_server("localhost", peer.port).use_tls(true);
    let missing = "/does/not/exist";
    for connect in [
        connect().ca_certificate(missing),
        connect().client_certificate(&path, missing),
    ] {
        assert_eq!(connect.await.unwrap_err().code(), "invalid_certificate");
    }

    let (connected, _line) = tokio::join!(connect().trust_anybody(), async {
        let stream = acceptor.accept(peer.accept_socket().await).await.unwrap();
        let mut line = Line::accept(Box::new(stream)).await;
        line.welcome(Sequence::ZERO, Sequence::ZERO).await;
        line
    });
    connected.unwrap();
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_is_shown_the_given_one() {
    use std::sync::Arc;

    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let own_key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let clients =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![made.cert.der().clone()], own_key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (peer, client) = (Peer::bind().await, AgentClient::new("me"));
    let connect = client
        .connect_to_server("wss://localhost", peer.port)
        .ca_certificate(&certificate)
        .client_certificate(&certificate, &key);
    let (connected, _line) = tokio::join!(connect, async {
        let stream = acceptor.accept(peer.accept_socket().await).await.unwrap();
        assert!(stream.get_ref().1.peer_certificates().is_some());
        let mut line = Line::accept(Box::new(stream)).await;
        line.welcome(Sequence::ZERO, Sequence::ZERO).await;
        line
    });
    connected.unwrap();
}

#[tokio::test]
async fn after_a_break_the_client_goes_on_where_it_stopped() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let mut events = client.events();
    line.event(event(3, "test.event", "bob")).await;
    assert_eq!(within(LIMIT, events.next()).await.unwrap().event_id, "e3");
    line.event(event(5, "test.event", "bob")).await;
    assert_eq!(within(LIMIT, events.next()).await.unwrap().event_id, "e5");
    line.acknowledged(3).await;
    drop(line);

    let mut line = peer.welcome().await;
    assert_eq!(line.hello.session_key.as_ref().unwrap().expose(), "key");
    assert_eq!(
        (line.hello.after, line.hello.backlog),
        (Some(Sequence::new(3)), Some(Backlog::All))
    );
    for sequence in [5, 6] {
        line.event(event(sequence, "test.event", "bob")).await;
    }
    assert_eq!(
        within(LIMIT, events.next()).await.unwrap().event_id,
        "e6",
        "the repeat is dropped"
    );
    line.acknowledged(5).await;
    assert!(client.is_connected());
}

#[tokio::test]
async fn a_goodbye_that_may_pass_is_no_reason_to_give_up() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    line.goodbye(ErrorCode::ShuttingDown).await;
    // The first attempts fail as well.
    for _ in 0..2 {
        peer.accept().await.goodbye(ErrorCode::AgentIdInUse).await;
    }
    let mut line = peer.welcome().await;
    let (agents, _) = tokio::join!(client.list_agents(), line.respond(json!({"agents": []})));
    assert!(agents.unwrap().is_empty());
}

#[tokio::test]
async fn a_final_goodbye_ends_everything() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let mut events = client.events();
    line.goodbye(ErrorCode::SessionReplaced).await;
    assert_eq!(within(LIMIT, events.next()).await, None);
    let response = within(LIMIT, client.send_event(Event::new("test.event").to("bob"))).await;
    assert_eq!(response.error.unwrap().code, ErrorCode::SessionReplaced);
    let error = within(LIMIT, client.list_agents()).await.unwrap_err();
    assert!(matches!(&error, CallError::NotConnected(reason) if reason.code == ErrorCode::SessionReplaced));
    assert!(!client.is_connected());
    assert!(!client.disconnect().await);
}

#[tokio::test]
async fn connecting_again_replaces_the_session_quietly() {
    let (first, second) = (Peer::bind().await, Peer::bind().await);
    let (client, mut line) = first.joined("me").await;
    let mut events = client.events();
    line.event(event(3, "test.event", "bob")).await;
    let wait = client.wait_event(|event| event.event_id == "e2", LIMIT);
    let replace = async {
        let left = async {
            let goodbye = loop {
                match line.next().await {
                    Some(ClientFrame::Ack(_)) => {}
                    other => break other,
                }
            };
            assert!(matches!(goodbye, Some(ClientFrame::Goodbye(_))), "{goodbye:?}");
            drop(line);
        };
        let connect = client.connect_to_server("127.0.0.1", second.port);
        let (connected, mut line, ()) = tokio::join!(connect, second.welcome(), left);
        connected.unwrap();
        line.event(event(2, "test.event", "bob")).await;
        line
    };
    let (found, _line) = tokio::join!(wait, replace);
    assert_eq!(found.unwrap().event_id, "e2");
    assert_eq!(
        within(LIMIT, events.next()).await.unwrap().event_id,
        "e2",
        "the other log counts for itself"
    );
}

#[tokio::test]
async fn dropping_the_last_clone_closes_the_connection_and_ends_what_waits() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let (weak, mut events) = (client.downgrade(), client.events());
    client
        .register_event_handler((), |_| std::future::pending::<()>())
        .unwrap();
    line.event(event(1, "test.event", "bob")).await;
    assert!(within(LIMIT, events.next()).await.is_some());
    let clone = client.clone();
    drop(client);
    line.quiet().await;
    drop(clone);
    assert!(line.next().await.is_none());
    assert!(within(LIMIT, events.next()).await.is_none());
    assert!(weak.upgrade().is_none());
}

#[tokio::test]
async fn leaving_acknowledges_and_sends_what_waits_and_then_says_goodbye() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    client.register_event_handler("test.quick", |_| async {}).unwrap();
    let (release, handled) = tokio::sync::oneshot::channel::<()>();
    let release = std::sync::Mutex::new(Some(release));
    client
        .register_event_handler("test.slow", move |_| {
            release.lock().unwrap().take().unwrap().send(()).unwrap();
            std::future::pending::<()>()
        })
        .unwrap();
    line.event(event(1, "test.quick", "bob")).await;
    line.event(event(2, "test.slow", "bob")).await;
    line.event(event(3, "test.quick", "bob")).await;
    within(LIMIT, handled).await.unwrap();
    let sent = client.publish(Event::new("test.event").to("agent:bob")).unwrap();
    let server = async {
        let publish = line.publish().await;
        let goodbye = loop {
            match line.next().await {
                Some(ClientFrame::Ack(ack)) => assert_eq!(ack.through.get(), 1),
                other => break other,
            }
        };
        assert!(matches!(goodbye, Some(ClientFrame::Goodbye(_))), "{goodbye:?}");
        line.accepted(&publish, 4).await;
        drop(line);
    };
    let (left, ()) = tokio::join!(within(LIMIT, client.disconnect()), server);
    assert!(left && sent.await.success);
    assert!(!client.is_connected() && !client.disconnect().await);
}

#[tokio::test]
async fn a_ping_is_answered_and_its_position_passes_what_was_filtered() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    line.ping(9).await;
    assert!(matches!(line.next().await, Some(ClientFrame::Pong)));
    line.quiet().await;
    client.register_event_handler((), |_| async {}).unwrap();
    line.ping(12).await;
    assert!(matches!(line.next().await, Some(ClientFrame::Pong)));
    line.acknowledged(12).await;
    assert_eq!(client.welcome().unwrap().workspace, "lab");
}

#[tokio::test]
async fn a_log_that_starts_over_is_read_from_its_start() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let mut events = client.events();
    line.event(event(2_000_000, "test.event", "bob")).await;
    assert!(within(LIMIT, events.next()).await.is_some());
    drop(line);
    let mut line = peer.accept().await;
    line.welcome(Sequence::ZERO, Sequence::new(3)).await;
    line.event(direct(1, "bob", "hello")).await;
    assert_eq!(within(LIMIT, events.next()).await.unwrap().text(), Some("hello"));
}

#[tokio::test]
async fn the_end_of_a_session_is_told_with_its_reason_and_another_connection_is_none() {
    let peer = Peer::bind().await;
    let (client, line) = peer.joined("me").await;
    let mut closed = pin!(client.closed());
    let reconnecting = async {
        let server = async {
            line.leave_and_close().await;
            peer.welcome().await
        };
        let (connected, line) = tokio::join!(client.connect_to_server("127.0.0.1", peer.port), server);
        connected.unwrap();
        line
    };
    let mut line = tokio::select! {
        biased; // The end would be noticed first.
        reason = &mut closed => panic!("it ended: {reason:?}"),
        line = reconnecting => line,
    };
    line.goodbye(ErrorCode::SessionReplaced).await;
    let reason = within(LIMIT, closed).await.unwrap();
    assert_eq!(reason.code, ErrorCode::SessionReplaced);

    let (client, line) = peer.joined("me").await;
    let (left, reason, ()) = tokio::join!(client.disconnect(), client.closed(), line.leave_and_close());
    assert!(left);
    assert_eq!(reason, None);
    assert_eq!(client.closed().await, None, "it is over already");
}
