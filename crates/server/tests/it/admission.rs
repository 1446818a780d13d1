//! Whom a server admits, and as whom.

use openagents_protocol::call::CreateToken;
use openagents_protocol::record::Role;
use openagents_protocol::{ErrorCode, Secret};
use openagents_server::{Config, Error, Open, Server, Tls};
use serde_json::json;

use crate::harness::{Running, config, exchange, post};

#[tokio::test]
async fn a_guarded_workspace_wants_a_valid_token() {
    let running = Running::with(|config| config.tokens = vec![Secret::new("the-workspace-token")]).await;
    let refused = async |hello| running.hello(hello).await.err().unwrap().code;
    assert_eq!(refused(json!({})).await, ErrorCode::Unauthenticated);
    assert_eq!(
        refused(json!({"token": "wrong"})).await,
        ErrorCode::Unauthenticated
    );
    assert_eq!(refused(json!({"token": ""})).await, ErrorCode::Unauthenticated);
    let expired = CreateToken {
        expires_in_seconds: Some(0),
        ..CreateToken::default()
    };
    let expired = running.make_token(expired).await.token;
    assert_eq!(
        refused(json!({"token": expired.expose()})).await,
        ErrorCode::TokenExpired
    );

    let hello = json!({"agent_id": "alice", "token": "the-workspace-token"});
    let mut alice = running.hello(hello).await.unwrap();
    // Hex SHA-256 of the token.
    let hash = "15fce050d0bffc8c18dea9a5f8fe39eb367044cd613e442a4749b725f71d6761";
    let hello = json!({"agent_id": "bob", "password_hash": hash});
    assert_eq!(
        refused(json!({"password_hash": hash.replace('a', "b")})).await,
        ErrorCode::Unauthenticated
    );
    let mut bob = running.hello(hello).await.unwrap();
    exchange(&mut alice, &mut bob).await;
    // A client that was admitted by a hash sends its files over HTTP.
    let listed = running.request("GET", "/rest/v1/files").acting_as("bob");
    listed.token(hash).send().await.ok();
    let wrong = running
        .request("GET", "/rest/v1/files")
        .token(&hash.replace('a', "b"));
    assert_eq!(wrong.send().await.status, 401);
}

#[tokio::test]
async fn revoking_a_token_ends_its_sessions_at_once() {
    let running = Running::start().await;
    let admin = running.token(Role::Admin, None).await;
    let token = running.token(Role::Member, Some("alice")).await;
    let mut alice = running
        .hello(json!({"token": token.token.expose()}))
        .await
        .unwrap();
    let watching = json!({"token": token.token.expose(), "session": "watching"});
    let mut tab = running.hello(watching).await.unwrap();
    let mut operator = running
        .hello(json!({"agent_id": "op", "token": admin.token.expose()}))
        .await
        .unwrap();

    operator
        .call("revoke_token", json!({"token_id": token.info.token_id}))
        .await
        .unwrap();
    assert_eq!(alice.goodbye().await, ErrorCode::Unauthenticated);
    assert_eq!(tab.goodbye().await, ErrorCode::Unauthenticated);
    let again = running.hello(json!({"token": token.token.expose()})).await;
    assert_eq!(again.err().unwrap().code, ErrorCode::Unauthenticated);
    let rest = running
        .request("GET", "/rest/v1/agents")
        .token(token.token.expose());
    assert_eq!(rest.send().await.status, 401);
    assert!(operator.publish(post("general", "unharmed")).await.success);
}

#[tokio::test]
async fn an_agent_token_is_for_one_agent() {
    let running = Running::start().await;
    let token = running.token(Role::Member, Some("alice")).await.token;
    let other = running
        .hello(json!({"agent_id": "bob", "token": token.expose()}))
        .await;
    assert_eq!(other.err().unwrap().code, ErrorCode::Forbidden);
    let own = running.hello(json!({"token": token.expose()})).await.unwrap();
    assert_eq!(own.welcome.unwrap().agent_id, "alice");

    let rest = running.request("GET", "/rest/v1/events").token(token.expose());
    assert_eq!(
        rest.acting_as("bob").send().await.refusal(),
        (403, ErrorCode::Forbidden, Some("X-Agent-Id".into()))
    );
    let rest = running.request("GET", "/rest/v1/events").token(token.expose());
    rest.send().await.ok();
}

#[tokio::test]
async fn an_observer_reads_and_does_not_write() {
    let running = Running::start().await;
    let token = running.token(Role::Observer, None).await.token;
    let mut owl = running
        .hello(json!({"agent_id": "owl", "token": token.expose()}))
        .await
        .unwrap();
    assert_eq!(owl.refused(post("general", "hoo")).await.0, ErrorCode::Forbidden);
    let error = owl
        .call("create_channel", json!({"name": "nest"}))
        .await
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::Forbidden);
    let error = owl.call("create_token", json!({})).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Forbidden);
    owl.call("list_messages", json!({"channel": "general"}))
        .await
        .unwrap();
    let rest = running.request("POST", "/rest/v1/channels/general/messages");
    let rest = rest
        .token(token.expose())
        .acting_as("owl")
        .json(&json!({"content": "hoo"}));
    assert_eq!(rest.send().await.refusal().1, ErrorCode::Forbidden);
}

#[tokio::test]
async fn a_server_that_others_reach_does_not_start_open_by_oversight() {
    let directory = tempfile::tempdir().unwrap();
    let refuses = async |change: fn(&mut Config)| {
        let outcome = Server::bind(config(&directory, change)).await;
        assert!(matches!(outcome, Err(Error::WouldBeOpen { .. })), "{outcome:?}");
    };
    refuses(|config| config.listen = "0.0.0.0:0".parse().unwrap()).await;
    refuses(|config| {
        config.tls = Some(Tls::Files {
            certificate: "certificate.pem".into(),
            key: "key.pem".into(),
        });
    })
    .await;
    let starts = async |change: fn(&mut Config)| {
        let server = Server::bind(config(&directory, change)).await.unwrap();
        server.shutdown().await;
    };
    starts(|config| {
        config.listen = "0.0.0.0:0".parse().unwrap();
        config.tokens = vec![Secret::new("a-token")];
    })
    .await;
    starts(|config| {
        config.listen = "0.0.0.0:0".parse().unwrap();
        config.open = Open::Anywhere;
    })
    .await;
}
