//! The description of the REST interface.

use std::collections::BTreeSet;
use std::path::Path;

use openagents_protocol::call::{Call, FollowSystem, METHODS};
use serde_json::Value;

use crate::harness::Running;

/// Every operation: its id, method and path.
fn operations(document: &Value) -> Vec<(String, String, String)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(|(method, operation)| {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            (id, method.to_ascii_uppercase(), path.clone())
        })
    });
    operations.collect()
}

#[tokio::test]
async fn the_committed_description_is_up_to_date() {
    let running = Running::start().await;
    let served = running.request("GET", "/openapi.json").send().await.ok();
    let served = format!("{}\n", serde_json::to_string_pretty(&served).unwrap());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &served).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == served,
        "docs/openapi.json is out of date; write it anew with\n    \
         UPDATE_EXPECT=1 cargo test -p openagents-server --test it openapi"
    );
}

#[tokio::test]
async fn every_call_of_the_protocol_has_a_route_and_every_route_is_served() {
    let running = Running::start().await;
    let document = running.request("GET", "/openapi.json").send().await.ok();
    let operations = operations(&document);
    let ids: BTreeSet<&str> = operations.iter().map(|(id, ..)| id.as_str()).collect();
    assert_eq!(ids.len(), operations.len(), "ids are unique");
    // A request has no session that could follow anything.
    for method in METHODS.iter().filter(|method| **method != FollowSystem::METHOD) {
        assert!(ids.contains(method), "{method} has no route");
    }
    for (id, method, path) in &operations {
        let path = path.replace(['{', '}'], "");
        let reply = running.request(method, &path).acting_as("alice").send().await;
        assert_ne!(reply.status, 405, "{id}");
        if reply.status == 404 {
            assert_ne!(reply.json()["error"]["code"], "not_found", "{id}");
        }
    }
}
