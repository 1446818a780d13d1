//! The commands about messages: replies, threads, reactions, edits, deletions, conversations, explanations.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::harness::{Served, served, within};

impl Served {
    /// Posts as an agent; the id of the message.
    async fn posted(&self, agent: &str, arguments: &[&str]) -> String {
        let mut all = vec!["post", "--agent", agent, "--json"];
        all.extend(arguments);
        let told = self.run(&all).await.json();
        told["data"]["message_id"].as_str().unwrap().to_owned()
    }

    async fn message(&self, id: &str) -> Value {
        self.run(&["message", id, "--json"]).await.json()
    }
}

#[tokio::test]
async fn a_message_is_answered_reacted_to_edited_and_deleted() {
    let (_folder, served) = served().await;
    let id = served
        .posted(
            "ana",
            &["general", "First", "--metadata", r#"{"type": "report"}"#],
        )
        .await;
    served
        .posted("bob", &["general", "Second", "--reply-to", &id])
        .await;
    assert_eq!(served.run(&["react", &id, "👍"]).await.ok(), "reacted with 👍\n");
    assert_eq!(
        served.run(&["react", &id, "👍"]).await.ok(),
        "nothing to change: it is so already\n"
    );
    let reacted = served
        .run(&["react", &id, ":eyes:", "--agent", "bob", "--json"])
        .await
        .json();
    assert_eq!(reacted["success"], true);
    let told = served.message(&id).await;
    assert_eq!(told["metadata"], json!({"type": "report"}));
    assert_eq!(told["reply_count"], 1);
    let reactions = &told["reactions"];
    assert_eq!(
        reactions[0],
        json!({"reaction": "👍", "count": 1, "agents": ["cli-tester"]})
    );
    assert_eq!(reactions[1]["reaction"], "eyes");
    assert_eq!(
        served.run(&["react", &id, "👍", "--remove"]).await.ok(),
        "took back 👍\n"
    );

    let not_mine = served.run(&["edit", &id, "Mine now"]).await.failed();
    assert!(
        not_mine.starts_with("error: only its author edits a message"),
        "{not_mine}"
    );
    let refused = served.run(&["edit", &id, "Mine now", "--json"]).await;
    let told: Value = serde_json::from_str(&refused.stdout).unwrap();
    assert_eq!(
        (refused.code, &told["error"]["code"]),
        (Some(1), &json!("forbidden"))
    );
    served
        .run(&["edit", &id, "First, corrected", "--agent", "ana"])
        .await
        .ok();
    let shown = served.run(&["message", &id]).await.ok();
    assert!(
        shown.ends_with("ana First, corrected  [edited, 1 reply, eyes 1]\n"),
        "{shown}"
    );
    let with_ids = served.run(&["history", "general", "--ids"]).await.ok();
    assert!(
        with_ids.contains(&format!("{id} ana First, corrected")),
        "{with_ids}"
    );

    served.run(&["delete", &id, "--agent", "ana"]).await.ok();
    let gone = served.run(&["message", &id]).await.failed();
    assert!(
        gone.contains("hint: `openagents history CHANNEL --ids`"),
        "{gone}"
    );
    assert_eq!(served.run(&["react", "no-such-id", "👍"]).await.code, Some(1));
    assert_eq!(served.run(&["react", " ", "👍"]).await.code, Some(2));
    served.stop().await;
}

#[tokio::test]
async fn a_thread_has_a_title_and_is_read_by_itself() {
    let (_folder, served) = served().await;
    let root = served
        .posted("ana", &["general", "What is missing?", "--thread", "Release 2"])
        .await;
    for text in ["Docs", "Tests"] {
        served
            .posted("bob", &["general", text, "--reply-to", &root])
            .await;
    }
    let thread = served.run(&["history", "--thread", &root]).await.ok();
    let texts: Vec<&str> = thread
        .lines()
        .map(|line| line.rsplit_once(' ').unwrap().1)
        .collect();
    assert_eq!(texts, ["Docs", "Tests"]);
    let shown = served.run(&["message", &root]).await.ok();
    assert!(
        shown.ends_with("ana Release 2: What is missing?  [2 replies]\n"),
        "{shown}"
    );
    let both = ["history", "general", "--thread", &root];
    assert_eq!(served.run(&both).await.code, Some(2));
    served.stop().await;
}

#[tokio::test]
async fn who_is_mentioned_need_not_be_named_in_the_text() {
    let (_folder, served) = served().await;
    served.posted("ana", &["general", "Here"]).await;
    let id = served
        .posted("bob", &["general", "Look", "--mention", "ana"])
        .await;
    assert_eq!(served.message(&id).await["mentions"], json!(["ana"]));
    let nobody = served
        .run(&["post", "general", "Look", "--mention", "nobody"])
        .await;
    assert!(
        nobody.stderr.starts_with("no agent nobody was ever here"),
        "{}",
        nobody.stderr
    );
    let list = served
        .run(&["post", "general", "x", "--metadata", "[1]"])
        .await
        .failed();
    assert!(list.starts_with("error: \"[1]\" is no JSON object"), "{list}");
    served.stop().await;
}

#[tokio::test]
async fn a_text_may_come_from_stdin() {
    let (_folder, served) = served().await;
    let mut command = served.command(&["post", "general", "-", "--json"]);
    let mut posting = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = posting.stdin.take().unwrap();
    stdin
        .write_all("# Report\n\nAll is *well*.\n".as_bytes())
        .await
        .unwrap();
    drop(stdin);
    within(posting.wait_with_output()).await.unwrap();
    let history = served.run(&["history", "general", "--json"]).await.json();
    assert_eq!(history["content"]["text"], "# Report\n\nAll is *well*.");
    served.stop().await;
}

#[tokio::test]
async fn conversations_tell_what_is_unread_and_explanations_why() {
    let (_folder, served) = served().await;
    for agent in ["ana", "bob"] {
        served.posted(agent, &["general", "Here"]).await;
    }
    let none = served.run(&["conversations"]).await;
    assert_eq!(none.stderr, "cli-tester wrote with nobody yet\n");
    served.run(&["send", "bob", "One", "--agent", "ana"]).await.ok();
    let sent = [
        "send",
        "bob",
        "Two",
        "--agent",
        "ana",
        "--metadata",
        r#"{"n": 2}"#,
        "--json",
    ];
    let id = served.run(&sent).await.json()["data"]["message_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let listed = served
        .run(&["conversations", "--agent", "bob", "--json"])
        .await
        .json();
    let conversation = &listed["conversations"][0];
    assert_eq!(
        (&conversation["agent_id"], &conversation["unread"]),
        (&json!("ana"), &json!(2))
    );
    assert_eq!(conversation["last_message"]["metadata"], json!({"n": 2}));
    let shown = served.run(&["conversations", "--agent", "bob"]).await.ok();
    assert!(shown.lines().nth(1).unwrap().ends_with("  Two"), "{shown}");

    let waits = served.run(&["explain", &id, "bob"]).await.ok();
    assert!(waits.starts_with("bob gets it when it comes back"), "{waits}");
    assert!(waits.contains("✓ destination"), "{waits}");
    let never = served.run(&["explain", &id, "ana", "--json"]).await.json();
    assert_eq!(never["verdict"], "ana does not get it: it goes to agent:bob");
    let unknown = served.run(&["explain", "no-such-id", "bob"]).await.ok();
    assert!(unknown.contains("no event no-such-id is stored"), "{unknown}");
    served.stop().await;
}

#[tokio::test]
async fn any_event_can_be_sent() {
    let (_folder, served) = served().await;
    let sent = served
        .run(&["emit", "build.finished", "channel:general", r#"{"ok": true}"#])
        .await
        .ok();
    assert!(
        sent.starts_with("sent ") && sent.ends_with(" to channel:general\n"),
        "{sent}"
    );
    let told = [
        "emit",
        "build.progress",
        "agent:broadcast",
        "--ephemeral",
        "--json",
    ];
    assert_eq!(served.run(&told).await.json()["data"]["sequence"], Value::Null);
    let check = async |arguments: &[&str], expected: &str| {
        let mut all = vec!["emit"];
        all.extend(arguments);
        let refused = served.run(&all).await.failed();
        assert!(refused.contains(expected), "{refused}");
    };
    check(
        &["system.thing", "channel:general"],
        "are made by the workspace only",
    )
    .await;
    check(
        &["Nonsense", "channel:general"],
        "event name \"Nonsense\" is not valid",
    )
    .await;
    check(
        &["build.finished", "agent:nobody"],
        "no agent nobody was ever here",
    )
    .await;
    check(&["build.finished", "channel:general", "[]"], "is no JSON object").await;
    served.stop().await;
}
