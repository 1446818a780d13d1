//! What the 0.9 interface tells of itself: its events, and the network.

use serde_json::{Value, json};

use crate::harness::Running;
use crate::legacy::{Agent, Caller, impatient};

fn names(answer: &Value) -> Vec<&str> {
    let events = answer["data"]["events"].as_array().unwrap();
    events
        .iter()
        .map(|event| event["event_name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn every_event_in_the_catalogue_that_agents_send_is_answered_by_its_extension() {
    let running = Running::with(impatient).await;
    let mut alice = Agent::join(&running, "alice").await;
    let listed = alice.caller.get("/api/events?type=operation").await.json();
    assert!(20 < names(&listed).len(), "{listed}");
    for name in names(&listed) {
        // Without a payload most are refused, and none is passed on as it is.
        let answer = alice.send(name, "alice", json!({})).await;
        let passed_on = format!("Event {name} delivered to destination");
        let expected = name.starts_with("simple_messaging.");
        assert_eq!(answer["message"] == *passed_on, expected, "{name}: {answer}");
    }
}

#[tokio::test]
async fn the_catalogue_is_searched_and_has_what_is_switched_on() {
    let running = Running::with(|config| config.legacy.mods.shared_cache = false).await;
    let mut caller = Caller::of(&running).await;
    let found = caller.get("/api/events/search?q=REACTION").await.json();
    assert_eq!(
        (names(&found).len(), &found["data"]["query"]),
        (5, &json!("REACTION"))
    );
    let one = caller.get("/api/events/thread.channel_message.post").await.json();
    assert_eq!(one["data"]["mod_path"], "openagents.mods.workspace.messaging");
    let mods = caller.get("/api/events/mods").await.json();
    assert_eq!(mods["data"]["total"], 3, "{mods}");
    let none = caller.get("/api/events?mod=shared_cache").await.json();
    assert_eq!(none["data"], json!({"events": [], "total": 0}));
    let missing = caller.get("/api/events/shared_cache.create").await;
    assert_eq!(
        (missing.status, &missing.json()["error_message"]),
        (404, &json!("Event 'shared_cache.create' not found"))
    );
    assert_eq!(caller.get("/api/events/search").await.status, 400);
}

#[tokio::test]
async fn clients_are_shown_what_the_network_says_of_itself() {
    let running = Running::with(|config| {
        config.legacy.network_id = Some("team-1".to_owned());
        let shown = json!({"readme": "# Team", "tags": ["x"], "name": "The Team"});
        config.legacy.profile = shown.as_object().cloned().unwrap();
    })
    .await;
    let mut caller = Caller::of(&running).await;
    let profile = caller.get("/api/health").await.json()["data"].clone();
    assert_eq!(
        (&profile["network_id"], &profile["readme"]),
        (&json!("team-1"), &json!("# Team"))
    );
    let told = &profile["network_profile"];
    assert_eq!(
        (&told["name"], &told["tags"], &told["discoverable"]),
        (&json!("The Team"), &json!(["x"]), &json!(false))
    );
}
