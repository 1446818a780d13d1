//! Who comes and goes.

use std::time::Duration;

use openagents_protocol::call::ListAgents;
use openagents_protocol::frame::Backlog;

use crate::room::Room;

/// Longer than a lease.
const LATER: Duration = Duration::from_secs(100);

#[tokio::test(start_paused = true)]
async fn a_lease_bridges_a_drop_and_ends_with_a_leave() {
    let room = Room::open().await;
    let mut watcher = room.attach("watcher").await;
    let bob = room.attach("bob").await;
    assert_eq!(watcher.read().await.event_name, "agent.joined");
    drop(bob);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let bob = room.attach("bob").await;
    room.post("alice", "back in time").await;
    assert_eq!(
        watcher.read().await.text(),
        Some("back in time"),
        "neither a leave nor another joining"
    );
    drop(bob);
    let left = watcher.read_within(LATER).await.unwrap();
    assert_eq!(
        (left.event_name.as_str(), left.payload["reason"].as_str()),
        ("agent.left", Some("lease_expired"))
    );
    room.workspace.close().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_all_leases_start_anew() {
    let room = Room::open().await;
    let bob = room.attach("bob").await;
    let room = room.reopen().await;
    drop(bob);
    assert_eq!(
        room.workspace.list_agents(&ListAgents::default()).agents.len(),
        1,
        "online by its lease"
    );
    let mut watcher = room.attach("watcher").await;
    let left = watcher.read_within(LATER).await.unwrap();
    assert_eq!(
        (left.event_name.as_str(), left.source_id.as_str()),
        ("agent.left", "bob")
    );
    room.workspace.close().await;
}

#[tokio::test(start_paused = true)]
async fn an_id_that_was_made_ends_with_its_lease() {
    let room = Room::open().await;
    let guest = room.attach_with(None, None, Backlog::All).await.unwrap();
    let id = guest.session.caller().agent_id.to_string();
    assert!(id.starts_with("agent-"), "{id}");
    let mut watcher = room.attach("watcher").await;
    drop(guest);
    assert_eq!(watcher.read_within(LATER).await.unwrap().event_name, "agent.left");
    let known = room
        .workspace
        .list_agents(&ListAgents {
            all: true,
            capability: None,
        })
        .agents;
    assert_eq!(
        known.iter().map(|agent| agent.id.as_str()).collect::<Vec<_>>(),
        ["watcher"]
    );
    room.workspace.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_rush_of_newcomers_is_summed_up() {
    let room = Room::open_with(|settings| settings.presence_events_per_second = 10).await;
    let mut watcher = room.attach("watcher").await;
    let mut crowd = Vec::new();
    for number in 0..50 {
        crowd.push(room.attach(&format!("agent-{number}")).await);
    }
    let mut joined = 0;
    let summary = loop {
        let event = watcher.read().await;
        if event.event_name == "system.presence.changed" {
            break event;
        }
        joined += 1;
    };
    // The watcher's own joining counts towards the rate.
    assert_eq!(joined, 9);
    assert_eq!(summary.payload["joined"], 41);
    assert_eq!(summary.payload["online"], 51);
    room.workspace.close().await;
}
