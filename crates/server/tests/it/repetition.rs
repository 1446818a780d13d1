//! What the same event id means a second time.

use openagents_protocol::record::Role;
use openagents_protocol::{Draft, ErrorCode};
use openagents_server::Caller;

use crate::harness::{Running, post};

#[tokio::test]
async fn a_repeated_event_is_stored_once() {
    let running = Running::start().await;
    let mut alice = running.join("alice").await;
    let mut event = post("general", "once");
    event["event_id"] = "id-1".into();
    let first = alice.publish(event.clone()).await.data.unwrap();
    assert!(!first.duplicate);
    let second = alice.publish(event.clone()).await.data.unwrap();
    assert!(second.duplicate);
    assert_eq!(second.sequence, first.sequence);
    assert_eq!(second.message_id, first.message_id);

    let rest = running
        .request("POST", "/rest/v1/events")
        .acting_as("alice")
        .json(&event);
    let third = rest.send().await.ok();
    assert_eq!(third["data"]["sequence"], first.sequence.unwrap().get());
    assert_eq!(third["data"]["duplicate"], true);
}

#[tokio::test]
async fn repetitions_in_flight_together_are_duplicates_too() {
    let running = Running::start().await;
    let workspace = running.server.workspace();
    let alice = Caller::new("alice".parse().unwrap(), Role::Member);
    let mut event = post("general", "once");
    event["event_id"] = "id-1".into();
    let draft = Draft::parse(serde_json::from_value(event).unwrap()).unwrap();
    // On one thread, both are handed over before the workspace looks at either.
    let (first, second) = tokio::join!(
        workspace.publish(&alice, draft.clone()),
        workspace.publish(&alice, draft)
    );
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.sequence, second.sequence);
    assert_eq!((first.duplicate, second.duplicate), (false, true));
}

#[tokio::test]
async fn an_event_id_names_one_event_of_one_author() {
    let running = Running::start().await;
    let (mut alice, mut bob) = (running.join("alice").await, running.join("bob").await);
    let mut event = post("general", "one");
    event["event_id"] = "id-1".into();
    assert!(alice.publish(event.clone()).await.success);
    let mut other = post("general", "another");
    other["event_id"] = "id-1".into();
    let field = Some("event_id".to_owned());
    assert_eq!(
        alice.refused(other).await,
        (ErrorCode::EventIdReused, field.clone())
    );
    assert_eq!(bob.refused(event).await, (ErrorCode::EventIdConflict, field));
}
