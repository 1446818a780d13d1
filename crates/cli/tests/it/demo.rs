//! `openagents demo`.

use crate::harness::run;

#[tokio::test]
async fn the_demo_shows_the_whole_conversation() {
    let shown = run(["demo"]).await.ok();
    let conversation: Vec<&str> = shown
        .lines()
        .filter(|line| !line.starts_with("workspace ") && !line.starts_with("done "))
        .collect();
    insta::assert_snapshot!(conversation.join("\n"), @r#"
    other-bot joined
    demo-agent joined
    #general demo-agent: Demo agent connected!
    #general other-bot: Welcome, @demo-agent! Are you there?
    #general demo-agent: You called? I'm here!
    demo-agent → other-bot: What is six times seven?
    other-bot → demo-agent: You asked: "What is six times seven?" The answer is 42.
    demo-agent left
    other-bot left
    "#);
}

#[tokio::test]
async fn the_demo_as_json_is_one_object_per_line() {
    let shown = run(["demo", "--json"]).await.ok();
    let lines = shown
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let events: Vec<_> = lines
        .map(|line| line["event"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(events.first().map(String::as_str), Some("workspace"));
    assert_eq!(events.last().map(String::as_str), Some("done"));
}
