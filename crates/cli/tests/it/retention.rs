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

#[tokio::test]
async fn what_is_kept_and_what_would_go_is_told_by_a_server_and_of_its_folder_afterwards() {
    const SETTINGS: &str = "network: {name: team}
workspace: {retention: {at_least: 0, away: 1, channels: {audit: off, general: {max_events: 1000}}}}
";
    let folder = tempfile::tempdir().unwrap();
    let (settings, data) = (folder.path().join("network.yaml"), folder.path().join("data"));
    std::fs::write(&settings, SETTINGS).unwrap();
    let served = Served::start(&data, &["--config", settings.to_str().unwrap()]).await;
    for number in 0..5 {
        served
            .run(&["post", "talk", &format!("number {number}")])
            .await
            .ok();
    }
    let told = served.run(&["retention", "--json"]).await.json();
    assert_eq!(told["limits"]["channels"]["general"]["max_events"], 1000);
    assert_eq!(told["limits"]["channels"]["audit"], serde_json::json!({}));
    assert_eq!(told["due_events"], 0);
    let would = |events: u64| {
        [
            "retention",
            "--dry-run",
            "--keep-events",
            if events == 2 { "2" } else { "5" },
            "--json",
        ]
    };
    within(async { while served.run(&would(2)).await.json()["due_events"] != 3 {} }).await;
    assert_eq!(served.run(&would(5)).await.json()["due_events"], 0);
    let shown = served
        .run(&["retention", "--dry-run", "--keep-events", "2"])
        .await
        .ok();
    for expected in [
        "keeps what is sent the last 2 events",
        "#audit",
        "keeps everything",
        "would be removed",
        "channel:talk",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let without = served.run(&["retention", "--dry-run"]).await;
    assert_eq!(without.code, Some(1));
    served.stop().await;

    let mut stopped = openagents();
    stopped
        .args(["retention", "--dry-run", "--keep-events", "2", "--json", "--data"])
        .arg(&data);
    stopped.arg("--config").arg(&settings);
    let told = finish(&mut stopped).await.json();
    assert_eq!(told["due_events"], 3);
    assert_eq!(told["limits"]["channels"]["general"]["max_events"], 1000);
    let mut nowhere = openagents();
    nowhere.args(["retention", "--data"]).arg(folder.path());
    assert_eq!(finish(&mut nowhere).await.code, Some(1));
}
