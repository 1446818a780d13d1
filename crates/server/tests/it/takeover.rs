//! Who gets an agent id that an open session uses.

use std::time::Duration;

use futures_util::StreamExt;
use openagents_protocol::ErrorCode;
use openagents_protocol::record::Role;
use serde_json::json;

use crate::harness::{LIMIT, Running, exchange, within};

#[tokio::test]
async fn a_session_that_answers_keeps_its_agent_id() {
    let running = Running::with(|config| config.workspace.takeover_wait = LIMIT).await;
    let (mut alice, mut bob) = (running.join("alice").await, running.join("bob").await);
    let newcomer = tokio::select! {
        newcomer = running.hello(json!({"agent_id": "alice"})) => newcomer,
        // Reading, it answers the question of the server.
        () = async { while alice.frame().await.is_some() {} } => panic!("the open session was ended"),
    };
    assert_eq!(newcomer.err().unwrap().code, ErrorCode::AgentIdInUse);
    exchange(&mut alice, &mut bob).await;
}

#[tokio::test]
async fn the_session_key_takes_over_at_once_and_for_good() {
    let running = Running::with(|config| config.workspace.takeover_wait = LIMIT * 10).await;
    let mut old = running.join("alice").await;
    let hello = json!({"agent_id": "alice", "session_key": old.session_key()});
    let mut new = running.hello(hello).await.unwrap();
    assert_eq!(old.goodbye().await, ErrorCode::SessionReplaced);
    let mut bob = running.join("bob").await;
    exchange(&mut new, &mut bob).await;
}

#[tokio::test]
async fn an_agent_token_takes_over_at_once() {
    let running = Running::with(|config| config.workspace.takeover_wait = LIMIT * 10).await;
    let token = running.token(Role::Member, Some("alice")).await.token;
    let hello = json!({"token": token.expose()});
    let mut old = running.hello(hello.clone()).await.unwrap();
    running.hello(hello).await.unwrap();
    assert_eq!(old.goodbye().await, ErrorCode::SessionReplaced);
}

#[tokio::test]
async fn a_session_that_does_not_answer_is_replaced() {
    let running = Running::with(|config| config.workspace.takeover_wait = Duration::from_millis(100)).await;
    // It reads nothing from here on, so it answers nothing: like a stopped process.
    let mut stopped = running.join("alice").await;
    let mut new = running.join("alice").await;
    let mut bob = running.join("bob").await;
    exchange(&mut new, &mut bob).await;
    assert_eq!(stopped.goodbye().await, ErrorCode::SessionReplaced);
}

#[tokio::test]
async fn a_newcomer_whose_token_is_revoked_while_it_waits_is_not_admitted() {
    let running = Running::with(|config| config.workspace.takeover_wait = Duration::from_secs(1)).await;
    let admin = running.token(Role::Admin, None).await.token;
    let token = running.token(Role::Member, None).await;
    let with = |token: &str| json!({"agent_id": "alice", "token": token});
    let mut open = running.hello(with(admin.expose())).await.unwrap();
    let (newcomer, ()) = tokio::join!(running.hello(with(token.token.expose())), async {
        // The question to the open session, which it does not answer, shows that the newcomer waits.
        within(LIMIT, open.socket.next()).await.unwrap().unwrap();
        let path = format!("/rest/v1/tokens/{}", token.info.token_id);
        let revoked = running.request("DELETE", &path).token(admin.expose()).send();
        revoked.await.ok();
    });
    let reason = match newcomer {
        Err(dismissal) => dismissal.code,
        Ok(mut admitted) => admitted.goodbye().await,
    };
    assert_eq!(reason, ErrorCode::Unauthenticated);
}

#[tokio::test]
async fn a_session_that_leaves_frees_its_agent_id_at_once() {
    let running = Running::with(|config| config.workspace.takeover_wait = LIMIT * 10).await;
    let mut bob = running.join("bob").await;
    let mut alice = running.join("alice").await;
    alice.send(&json!({"type": "goodbye", "reason": "done"})).await;
    let left = bob.event_named("agent.left").await;
    assert_eq!(left.payload["reason"], "done");
    let mut alice = within(LIMIT, running.join("alice")).await;
    exchange(&mut alice, &mut bob).await;
}
