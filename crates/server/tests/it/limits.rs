//! Limits that an operator sets.

use std::num::NonZeroU32;

use openagents_protocol::ErrorCode;
use serde_json::json;

use crate::harness::{LIMIT, Running, post, within};

#[tokio::test]
async fn addresses_that_may_not_connect_are_closed_at_once() {
    let blocked =
        Running::with(|config| config.addresses.blocked = vec!["127.0.0.0/8".parse().unwrap()]).await;
    assert_closed(&blocked).await;
    let elsewhere =
        Running::with(|config| config.addresses.allowed = vec!["10.0.0.0/8".parse().unwrap()]).await;
    assert_closed(&elsewhere).await;
    let here = Running::with(|config| {
        config.addresses.allowed = vec!["127.0.0.1/32".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        config.addresses.blocked = vec!["10.0.0.1/32".parse().unwrap()];
    })
    .await;
    here.request("GET", "/healthz").send().await.ok();
}

async fn assert_closed(running: &Running) {
    use tokio::io::AsyncReadExt;

    let mut stream = running.connect().await;
    let mut answer = Vec::new();
    // Closed by the book or broken off, and nothing was said.
    within(LIMIT, stream.read_to_end(&mut answer)).await.ok();
    assert!(answer.is_empty());
}

#[tokio::test]
async fn an_agent_asks_as_often_as_the_operator_allows_over_all_interfaces_together() {
    let running = Running::with(|config| config.workspace.max_requests_per_minute = NonZeroU32::new(4)).await;
    let mut ana = running.join("ana").await;
    ana.call("list_channels", json!({})).await.unwrap();
    assert!(ana.publish(post("general", "one")).await.success);
    let over_rest = || running.request("GET", "/rest/v1/channels").acting_as("ana");
    over_rest().send().await.ok();
    over_rest().send().await.ok();
    assert_eq!(
        over_rest().send().await.refusal(),
        (429, ErrorCode::RateLimited, None)
    );
    assert_eq!(
        ana.refused(post("general", "two")).await.0,
        ErrorCode::RateLimited
    );
    let error = ana.call("list_channels", json!({})).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::RateLimited);
    let bob = running.request("GET", "/rest/v1/channels").acting_as("bob");
    bob.send().await.ok();
}
