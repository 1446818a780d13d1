//! Programs that use a client.

use anyhow::Context;
use openagents_client::Message;
use openagents_e2e::{SOON, Workspace};
use openagents_workspace::{Group, password_hash};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::{Example, User};

#[tokio::test]
async fn quickstart_introduces_itself_waits_for_a_call_answers_and_leaves() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let ana = User::join(&workspace, "ana").await?;
    let example = Example::start("quickstart", &workspace, &[])?;
    assert_eq!(
        ana.reads_post("general", "demo-agent").await?,
        "Demo agent connected!"
    );
    assert!(ana.general.post("Is demo-agent there?").await.success);
    assert_eq!(
        ana.reads_post("general", "demo-agent").await?,
        "You called? I'm here!"
    );
    let lines = example.output().await?;
    assert_eq!(
        lines.last().map(String::as_str),
        Some("ana called: Is demo-agent there?")
    );
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn ask_prints_the_answer() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let lines = Example::start("ask", &workspace, &[])?.output().await?;
    assert_eq!(
        lines,
        [r#"oracle: You asked "What is six times seven?"; the answer is 42."#]
    );
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn tour_shows_every_call_of_the_page() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let ana = User::join(&workspace, "ana").await?;
    let example = Example::start("tour", &workspace, &[])?;
    assert_eq!(ana.reads_post("general", "my-agent").await?, "Hello!");
    let completed = ana
        .client
        .wait_event(|event| event.event_name == "custom.task.completed", SOON)
        .await;
    let completed = completed.context("no event")?;
    assert_eq!(
        completed.payload.value(),
        &json!({"task": "data processing", "result": "success"})
    );
    let lines = example.output().await?;
    for expected in [
        "other-bot joined",
        "channels: general",
        "agents: ana, my-agent, other-bot",
        "answer: All is well.",
        r#"completed: "success""#,
        "ana: unnamed",
        "my-agent: My Agent",
        "other-bot: Other Bot",
        "connected",
    ] {
        assert!(
            lines.iter().any(|line| line == expected),
            "{expected} is not in {lines:#?}"
        );
    }
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn channels_makes_one_posts_replies_reads_and_waits() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let ana = User::join(&workspace, "ana").await?;
    let mut example = Example::start("channels", &workspace, &[])?;
    assert_eq!(
        ana.reads_post("planning", "planner").await?,
        "Let us plan the week."
    );
    for expected in [
        "planner: I begin on Monday.",
        "planner: The parser is the first thing.",
        "planner: ## Goals",
        "",
        "- ship the parser",
        "- **no** new dependencies",
        "planner: Let us plan the week.",
    ] {
        assert_eq!(example.line().await?, expected);
    }
    let planning = ana.client.workspace().channel("planning");
    let asked = loop {
        let newest = planning.get_messages(1).await?.pop().context("a message")?;
        if newest.text() == Some("Who joins me?") {
            break newest;
        }
        let posted = planning.wait_for_post(Some("planner"), SOON).await;
        posted.context("no question")?;
    };
    assert!(planning.reply(&asked.message_id, "Me!").await.success);
    assert_eq!(example.line().await?, "ana joins: Me!");
    assert!(planning.post("And tests, please.").await.success);
    assert_eq!(example.output().await?, ["ana adds: And tests, please."]);
    let said = planning.get_messages(50).await?;
    let important = |message: &Message| {
        message
            .metadata
            .as_ref()
            .is_some_and(|metadata| metadata["priority"] == "high")
    };
    assert_eq!(said.iter().filter(|message| important(message)).count(), 1);
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn monitor_counts_and_reports() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let ana = User::join(&workspace, "ana").await?;
    let mut example = Example::start("monitor", &workspace, &["0.05"])?;
    example
        .prints("1 channels, 2 agents: 0 channel, 0 direct, 0 file, 0 reaction")
        .await?;
    let posted = ana.general.post("One").await;
    assert!(ana.general.post("Two").await.success);
    assert!(
        ana.general
            .react(posted.message_id().context("accepted")?, "eyes")
            .await
            .success
    );
    assert!(
        ana.client
            .workspace()
            .agent("monitor")
            .send("Three")
            .await
            .success
    );
    let local = tempfile::tempdir()?;
    let path = local.path().join("four.txt");
    tokio::fs::write(&path, "Four").await?;
    ana.general.upload_file(&path).await?;
    example
        .prints("1 channels, 2 agents: 2 channel, 1 direct, 1 file, 1 reaction")
        .await?;
    example.interrupt().await?;
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn collaborator_shares_opens_a_channel_and_answers_what_it_missed() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let ana = User::join(&workspace, "ana").await?;
    let asked = ana.general.post("@collaborator, can you help?").await;
    let asked = asked.message_id().context("accepted")?;
    for again in [false, true] {
        let lines = Example::start("collaborator", &workspace, &[])?.output().await?;
        let expected: &[&str] = if again { &[] } else { &["answered ana"] };
        assert_eq!(lines, expected, "it answers once");
    }
    let said = ana.general.get_messages(50).await?;
    let replies: Vec<_> = said
        .iter()
        .filter(|message| message.reply_to_id.as_deref() == Some(asked))
        .collect();
    assert_eq!(replies.len(), 1);
    assert_eq!(replies[0].text(), Some("I am back, ana. How can I help?"));
    assert!(
        said.iter()
            .any(|message| message.text() == Some("Hello! I see 1 others here, and I write."))
    );
    let there = ana.client.workspace();
    assert_eq!(there.channels().await?, ["drafts", "general"]);
    let drafts = there
        .list_channels()
        .await?
        .into_iter()
        .find(|channel| channel.name == "drafts");
    assert_eq!(drafts.context("a channel")?.topic, "The first chapter");
    assert_eq!(there.list_files().await?[0].filename, "notes.md");
    workspace.stop().await;
    Ok(())
}

/// A way to a server that can be closed: whoever is inside is thrown out, and whoever comes is sent away.
struct Door {
    port: u16,
    open: watch::Sender<bool>,
    _keeper: AbortOnDropHandle<()>,
}

impl Door {
    async fn closed(server: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (open, is_open) = watch::channel(false);
        let tasks = TaskTracker::new();
        let guests = tasks.clone();
        let keeper = tasks.spawn(async move {
            while let Ok((guest, _)) = listener.accept().await {
                let is_open = is_open.clone();
                guests.spawn(async move { pass(guest, server, is_open).await.ok() });
            }
        });
        Ok(Self {
            port,
            open,
            _keeper: AbortOnDropHandle::new(keeper),
        })
    }
}

async fn pass(mut guest: TcpStream, server: u16, mut is_open: watch::Receiver<bool>) -> anyhow::Result<()> {
    if *is_open.borrow() {
        let mut host = TcpStream::connect(("127.0.0.1", server)).await?;
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut guest, &mut host) => {}
            _ = is_open.wait_for(|open| !open) => {}
        }
    }
    Ok(())
}

#[tokio::test]
async fn robust_client_connects_when_it_can_and_again_when_it_must() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let door = Door::closed(workspace.port()).await?;
    let mut example = Example::start_at("robust_client", door.port, &["0.2"])?;
    for _ in 0..2 {
        example.prints("not connected: ").await?;
        door.open.send(true)?;
        example.prints("connected").await?;
        example.prints("1 agents").await?;
        door.open.send(false)?;
        example.prints("lost: ").await?;
    }
    example.interrupt().await?;
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn groups_meet_what_they_may_do() -> anyhow::Result<()> {
    let group = |name: &str, password: Option<&str>, permissions: &[&str]| {
        let mut group = Group::open(name);
        group.password_hash = password.map(password_hash);
        group.permissions = Some(permissions.iter().map(|name| (*name).to_owned()).collect());
        group
    };
    let workspace = Workspace::serve_with(|config| {
        config.workspace.groups = vec![
            group("moderators", Some("mod-password"), &["*"]),
            group(
                "users",
                Some("user-password"),
                &["read_channels", "post_messages", "upload_files"],
            ),
            group("bots", Some("bot-password"), &["read_channels", "post_messages"]),
            group("guests", None, &["read_channels"]),
        ];
        config.workspace.default_group = "guests".to_owned();
    })
    .await?;
    let lines = Example::start("groups", &workspace, &[])?.output().await?;
    let expected = [
        "guest is one of the guests",
        "guest does not post: agents of group guests have no permission post_messages",
        "guest may not delete posts",
        "bot is one of the bots",
        "bot posts",
        "bot may not delete posts",
        "user is one of the users",
        "user posts",
        "user may not delete posts",
        "moderator is one of the moderators",
        "moderator posts",
        "moderator deletes what bot said: true",
    ];
    assert_eq!(lines, expected);
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn deduplicator_counts_every_message_once() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let ana = User::join(&workspace, "ana").await?;
    let local = tempfile::tempdir()?;
    let ledger = local.path().join("counted.txt");
    // It was killed after it had counted this one, and before that was acknowledged.
    tokio::fs::write(&ledger, "post-1 2 words\n").await?;
    let path = ledger.to_str().context("a plain path")?;
    let mut example = Example::start("deduplicator", &workspace, &[path])?;
    ana.meets(&["deduplicator"]).await?;
    for (event_id, text) in [("post-1", "two words"), ("post-2", "only three words")] {
        assert!(ana.general.post(text).event_id(event_id).await.success);
    }
    assert_eq!(example.line().await?, "known post-1");
    assert_eq!(example.line().await?, "counted post-2");
    example.interrupt().await?;
    assert_eq!(
        tokio::fs::read_to_string(&ledger).await?,
        "post-1 2 words\npost-2 3 words\n"
    );
    workspace.stop().await;
    Ok(())
}
