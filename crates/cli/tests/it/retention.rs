//! What `openagents serve` removes.

use serde_json::Value;

use crate::harness::{Served, finish, openagents, within};

const SETTINGS: &str = "network: {name: team}
workspace: {retention: {at_least: 0, away: 1, every: 1, channels: {general: {max_events: 10}}}}
";

#[tokio::test]
async fn a_server_keeps_as_many_events_as_it_is_told_to_and_goes_on_with_them_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let (settings, data) = (folder.path().join("network.yaml"), folder.path().join("data"));
    std::fs::write(&settings, SETTINGS).unwrap();
    let settings = settings.to_str().unwrap();
    let served = Served::start(&data, &["--config", settings]).await;
    for number in 0..25 {
        served
            .run(&["post", "general", &format!("number {number}")])
            .await
            .ok();
    }
    let texts = async |served: &Served| -> Vec<String> {
        let told = served
            .run(&["history", "general", "--json", "--limit", "100"])
            .await
            .ok();
        let lines = told
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut texts: Vec<String> = lines
            .map(|message| message["content"]["text"].as_str().unwrap().to_owned())
            .collect();
        texts.sort_unstable();
        texts
    };
    let last = |count: u64| -> Vec<String> { (25 - count..25).map(|at| format!("number {at}")).collect() };
    within(async { while texts(&served).await != last(10) {} }).await;

    served.running.signal("KILL").await;
    let (status, ..) = served.running.wait().await;
    assert_ne!(status.code(), Some(0));
    let served = Served::start(&data, &["--config", settings]).await;
    assert_eq!(texts(&served).await, last(10));
    let found = served.run(&["search", "number", "--json"]).await.ok();
    assert_eq!(found.lines().count(), 10, "{found}");
    served.stop().await;
    let checked = finish(
        openagents()
            .args(["repair", "--dry-run", "--json", "--data"])
            .arg(&data),
    )
    .await;
    assert_eq!(checked.json()["sound"], true, "what was removed is not lost");
    finish(openagents().args(["rebuild", "--data"]).arg(&data))
        .await
        .ok();
    let served = Served::start(&data, &["--config", settings]).await;
    assert_eq!(texts(&served).await, last(10));
    served.stop().await;
}
