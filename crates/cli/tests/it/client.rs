//! The commands that use a workspace.

use openagents_client::{AgentClient, Event};
use serde_json::{Value, json};

use crate::harness::{Running, Served, openagents, run, served, within};

#[tokio::test]
async fn what_is_posted_is_watched_and_remembered() {
    let (_folder, served) = served().await;
    let tail = [
        "tail",
        "--channel",
        "#general",
        "--pattern",
        "channel.message.*",
        "--count",
        "2",
    ];
    let mut tail = Running::start(&mut served.command(&tail));
    let watching = within(tail.stderr.next_line()).await.unwrap().unwrap();
    assert!(
        watching.starts_with("watching workspace at http://127.0.0.1:"),
        "{watching}"
    );
    assert!(watching.contains(" as cli-tester"), "{watching}");

    served.run(&["post", "elsewhere", "Not here"]).await.ok();
    let posted = served
        .run(&["post", "#general", "Hello", "--agent", "alice", "--json"])
        .await
        .json();
    let id = posted["data"]["message_id"].as_str().unwrap();
    let reply = served
        .run(&["post", "general", "Hello \u{1b}[31myourself", "--reply-to", id])
        .await
        .ok();
    assert!(
        reply.starts_with("posted ") && reply.contains(" to #general"),
        "{reply}"
    );

    let first: Value =
        serde_json::from_str(&within(tail.stdout.next_line()).await.unwrap().unwrap()).unwrap();
    assert_eq!(first["source_id"], "alice");
    assert_eq!(first["event_id"], id);
    let second: Value =
        serde_json::from_str(&within(tail.stdout.next_line()).await.unwrap().unwrap()).unwrap();
    assert_eq!(second["reply_to_id"], id);
    assert_eq!(tail.wait().await.0.code(), Some(0));

    let history = served.run(&["history", "general"]).await.ok();
    let told: Vec<&str> = history
        .lines()
        .map(|line| line.split_once("alice ").map_or(line, |(_, told)| told))
        .collect();
    assert_eq!(told[0], "Hello  [1 reply]");
    assert!(
        told[1].ends_with("cli-tester ↳ Hello \\u{1b}[31myourself"),
        "{history}"
    );
    let newest = served
        .run(&["history", "general", "--limit", "1", "--json"])
        .await;
    assert!(
        newest.stderr.starts_with("older ones: --before "),
        "{}",
        newest.stderr
    );
    assert_eq!(newest.json()["message_id"], second["event_id"]);
    let before = second["sequence"].to_string();
    let older = served
        .run(&["history", "general", "--before", &before, "--json"])
        .await
        .json();
    assert_eq!(older["message_id"], id);
    served.stop().await;
}

#[tokio::test]
async fn what_was_said_is_found_again() {
    let (_folder, served) = served().await;
    for (channel, agent, text) in [
        ("general", "alice", "The deployment failed"),
        ("ops", "bob", "Deployed \u{1b}[31magain,\nand it works"),
        ("general", "bob", "nothing to see"),
    ] {
        served.run(&["post", channel, text, "--agent", agent]).await.ok();
    }
    let found = served.run(&["search", "deploy*"]).await;
    assert_eq!(found.stderr, "");
    let told = found.ok();
    let told: Vec<&str> = told
        .lines()
        .map(|line| line.split_once(':').map_or(line, |(_, told)| &told[6..]))
        .collect();
    assert_eq!(
        told,
        [
            "bob #ops Deployed \\u{1b}[31magain,\\nand it works",
            "alice #general The deployment failed",
        ]
    );
    let narrowed = [
        "search",
        "deploy*",
        "--channel",
        "#general",
        "--sender",
        "alice",
        "--since",
        "1h",
        "--json",
    ];
    let narrowed = served.run(&narrowed).await.json();
    assert_eq!(narrowed["message"]["content"]["text"], "The deployment failed");
    let snippet = json!([{"text": "The "}, {"text": "deployment", "matched": true}, {"text": " failed"}]);
    assert_eq!(narrowed["snippet"], snippet);

    let newest = served.run(&["search", "deploy*", "--limit", "1"]).await;
    let before = newest.stderr.trim().strip_prefix("older ones: --before ");
    let before = before.unwrap_or_else(|| panic!("{}", newest.stderr));
    let older = served.run(&["search", "deploy*", "--before", before]).await.ok();
    assert!(older.contains("failed") && !older.contains("works"), "{older}");

    let nothing = served.run(&["search", "deploy*", "--until", "2020-01-01"]).await;
    assert_eq!(
        (nothing.code, nothing.stderr.as_str()),
        (Some(0), "nothing found\n")
    );
    let senseless = served.run(&["search", "--", "--"]).await.failed();
    insta::assert_snapshot!(senseless, @"error: the workspace refused the call: the query has no word: no letter, digit or emoji");
    let elsewhere = served.run(&["search", "deploy*", "--channel", "elsewhere"]).await;
    assert!(elsewhere.failed().contains("elsewhere"));
    let colourful = served
        .command(&["search", "failed"])
        .env_remove("NO_COLOR")
        .env("CLICOLOR_FORCE", "1")
        .output();
    let colourful = String::from_utf8(within(colourful).await.unwrap().stdout).unwrap();
    assert!(
        colourful.contains("\u{1b}[1m\u{1b}[33mfailed\u{1b}[0m"),
        "{colourful:?}"
    );
    served.stop().await;
}

#[tokio::test]
async fn a_tail_ends_with_success_when_it_is_asked_to() {
    let (_folder, served) = served().await;
    let mut tail = Running::start(&mut served.command(&["tail"]));
    within(tail.stderr.next_line()).await.unwrap().unwrap();
    tail.signal("INT").await;
    assert_eq!(tail.wait().await.0.code(), Some(0));
    served.stop().await;
}

#[tokio::test]
async fn a_tail_outlives_the_server_and_misses_nothing() {
    let (folder, served) = served().await;
    let pattern = "channel.message.posted";
    let mut tail = Running::start(&mut served.command(&["tail", "--pattern", pattern, "--count", "2"]));
    within(tail.stderr.next_line()).await.unwrap().unwrap();
    served.run(&["post", "general", "Before"]).await.ok();
    within(tail.stdout.next_line()).await.unwrap().unwrap();
    let port = served.port().to_string();
    served.stop().await;

    let mut command = openagents();
    command
        .args(["serve", "--port", &port, "--data"])
        .arg(folder.path().join("data"));
    let served = Served::of(&mut command).await;
    served.run(&["post", "general", "After"]).await.ok();
    let after = within(tail.stdout.next_line()).await.unwrap().unwrap();
    assert!(after.contains("After"), "{after}");
    assert_eq!(tail.wait().await.0.code(), Some(0));
    served.stop().await;
}

#[tokio::test]
async fn a_question_is_answered() {
    let (_folder, served) = served().await;
    let bob = AgentClient::new("bob");
    bob.connect_to_server(served.url.as_str(), served.port())
        .await
        .unwrap();
    let answering = bob.downgrade();
    bob.register_event_handler("direct.message.received", move |event: Event| {
        let bob = answering.upgrade();
        async move {
            if let Some(bob) = bob {
                let answer = format!("{}? Yes.", event.text().unwrap_or_default());
                bob.workspace().agent(&event.source_id).send(answer).await;
            }
        }
    })
    .unwrap();

    assert_eq!(
        served.run(&["send", "bob", "Ready", "--wait", "30s"]).await.ok(),
        "Ready? Yes.\n"
    );
    // Once by joining, once over the shoulder of an agent that is known by then.
    for _ in 0..2 {
        let answer = [
            "send", "bob", "Sure", "--wait", "30s", "--agent", "alice", "--json",
        ];
        let answer = served.run(&answer).await.json();
        assert_eq!(answer["payload"]["content"]["text"], "Sure? Yes.");
        assert_eq!(answer["destination_id"], "agent:alice");
    }
    let conversation = served
        .run(&["history", "--agent", "alice", "--agent-with", "bob"])
        .await
        .ok();
    assert_eq!(conversation.lines().count(), 4, "{conversation}");

    let agents = served.run(&["agents"]).await.ok();
    assert!(agents.contains("bob") && !agents.contains("alice"), "{agents}");
    let known = served.run(&["agents", "--all"]).await.ok();
    assert!(known.contains("alice"), "{known}");
    let sent = served.run(&["send", "alice", "Later"]).await.ok();
    assert!(sent.contains(" to alice (away since "), "{sent}");

    let unknown = served.run(&["send", "nobody", "Hello"]).await.failed();
    insta::assert_snapshot!(unknown, @r"
    error: no agent nobody was ever here
    hint: `openagents agents --all` lists the known agents
    ");
    assert_eq!(
        served
            .run(&["send", "nobody", "Hello", "--wait", "30s"])
            .await
            .failed(),
        unknown
    );
    let late = served
        .run(&["send", "alice", "Hello", "--wait", "50ms"])
        .await
        .failed();
    assert!(late.contains("no answer within 50ms"), "{late}");
    bob.disconnect().await;
    served.stop().await;
}

#[tokio::test]
async fn a_workspace_that_is_not_there_is_said_to_be_started() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let url = format!("http://127.0.0.1:{port}");
    let error = run(["agents", "--url", &url]).await.failed();
    let expected = format!("error: no workspace at {url}: start one with `openagents serve`: ");
    assert!(error.starts_with(&expected), "{error}");
    let wrong = run(["agents", "--url", "http://here:there"]).await.failed();
    insta::assert_snapshot!(wrong, @r#"error: "http://here:there" is no URL of a workspace, such as http://127.0.0.1:8700"#);
}
