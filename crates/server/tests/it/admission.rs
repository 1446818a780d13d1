//! Whom a server admits, and as whom.

use openagents_protocol::call::CreateToken;
use openagents_protocol::record::Role;
use openagents_protocol::{ErrorCode, Secret};
use openagents_server::{Config, Error, Group, Open, Server, Tls};
use serde_json::{Value, json};

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

fn group(name: &str, password_hash: Option<&str>, permissions: &[&str]) -> Group {
    Group {
        password_hash: password_hash.map(str::to_owned),
        permissions: Some(permissions.iter().map(|&name| name.to_owned()).collect()),
        ..Group::open(name)
    }
}

/// Hex SHA-256 of `user123`.
const SHA_256: &str = "e606e38b0d8c19b24cf0ee3808183162ea7cd63ff7912dbb22b5e803286b4446";
/// Bcrypt of `mod456`, at the lowest cost.
const BCRYPT: &str = "$2b$04$kqFB3p0NckB5Wt3ZKsiDS.MW9upi23BjTI2d5OYWhohqwF4uc0./W";

#[tokio::test]
async fn the_password_of_a_group_admits_to_it_and_the_permissions_hold() {
    let running = Running::with(|config| {
        config.workspace.groups = vec![
            group("users", Some(SHA_256), &["read_channels", "post_messages"]),
            group("moderators", Some(BCRYPT), &["all"]),
            group("guest", None, &["read_channels"]),
        ];
    })
    .await;
    let permissions = async |hello: Value| {
        let mut client = running.hello(hello).await.unwrap();
        let told = client.call("get_permissions", json!({})).await.unwrap();
        (told["group"].clone(), told["role"].clone(), client)
    };
    let (name, role, mut user) = permissions(json!({"agent_id": "user", "password_hash": "user123"})).await;
    assert_eq!((name, role), ("users".into(), "member".into()));
    let (name, ..) = permissions(json!({"agent_id": "user-2", "password_hash": SHA_256})).await;
    assert_eq!(
        name, "users",
        "where the file has the SHA-256, that is the password too"
    );
    let (name, role, _) = permissions(json!({"agent_id": "moderator", "password_hash": "mod456"})).await;
    assert_eq!((name, role), ("moderators".into(), "admin".into()));
    let (name, ..) = permissions(json!({"agent_id": "thief", "password_hash": BCRYPT})).await;
    assert_eq!(name, "guest", "a bcrypt hash is no password");
    let (name, _, mut guest) = permissions(json!({"agent_id": "guest-1"})).await;
    assert_eq!(name, "guest");

    assert!(user.publish(post("general", "hello")).await.success);
    let refused = guest.refused(post("general", "hello")).await;
    assert_eq!(refused.0, ErrorCode::Forbidden);
    let over_rest = running.request("GET", "/rest/v1/permissions").acting_as("user");
    let told = over_rest.token("user123").send().await.ok();
    assert_eq!(told["group"], "users");
}

#[tokio::test]
async fn a_password_beside_a_token_decides_the_group() {
    let running = Running::with(|config| {
        config.tokens = vec![Secret::new("the-workspace-token")];
        config.workspace.groups = vec![group("users", Some(SHA_256), &["read_channels"])];
    })
    .await;
    let hello = |password: &str| json!({"agent_id": "ana", "token": "the-workspace-token", "password_hash": password});
    let mut ana = running.hello(hello("user123")).await.unwrap();
    let told = ana.call("get_permissions", json!({})).await.unwrap();
    assert_eq!(
        (&told["group"], &told["permissions"]),
        (&"users".into(), &json!(["read_channels"]))
    );
    let refused = ana.refused(post("general", "hello")).await;
    assert_eq!(refused.0, ErrorCode::Forbidden);
    let refused = running.hello(json!({"agent_id": "bob"})).await.err().unwrap();
    assert_eq!(
        refused.code,
        ErrorCode::Unauthenticated,
        "there is a token, so nobody comes without"
    );
}

#[tokio::test]
async fn where_a_password_is_required_nobody_comes_without_and_others_may_reach_the_server() {
    let running = Running::with(|config| {
        config.listen = "0.0.0.0:0".parse().unwrap();
        config.workspace.groups = vec![group("users", Some(SHA_256), &["read_channels"])];
        config.workspace.requires_password = true;
    })
    .await;
    for hello in [
        json!({"agent_id": "ana"}),
        json!({"agent_id": "ana", "password_hash": "guess"}),
    ] {
        let refused = running.hello(hello).await.err().unwrap();
        assert_eq!(refused.code, ErrorCode::Unauthenticated);
    }
    let hello = json!({"agent_id": "ana", "password_hash": "user123"});
    running.hello(hello).await.unwrap();
}

#[tokio::test]
async fn who_comes_back_with_another_password_is_told_of_its_new_group() {
    let running = Running::with(|config| {
        config.workspace.groups = vec![
            group("users", Some(SHA_256), &["read_channels"]),
            group("guest", None, &[]),
        ];
    })
    .await;
    let guest = running.hello(json!({"agent_id": "ana"})).await.unwrap();
    let hello = json!({"agent_id": "ana", "password_hash": "user123", "session_key": guest.session_key()});
    let mut ana = running.hello(hello).await.unwrap();
    let told = ana.event_named("agent.group.changed").await;
    assert_eq!(told.payload["new_group"], "users");
}
