//! Agents that work alone.

use anyhow::Context;
use futures_util::StreamExt;
use openagents_e2e::{SOON, Workspace, within};

use super::{Example, User};

#[tokio::test]
async fn first_agent_says_hello_helps_answers_and_says_goodbye() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let ana = User::join(&workspace, "ana").await?;
    let example = Example::start("first_agent", &workspace, &[])?;
    assert_eq!(
        ana.reads_post("general", "first-agent").await?,
        "Hello! Say \"help\" if you need me."
    );
    let (from, reply) = ana.gets_reply("Can anybody HELP?").await?;
    assert_eq!(
        (from.as_str(), reply.as_str()),
        ("first-agent", "I am here, ana. Write to me directly.")
    );
    let answer = ana.gets_answer("first-agent", "What is a log?").await?;
    assert_eq!(answer, r#"You wrote "What is a log?". I will think about it."#);
    let (goodbye, ended) = tokio::join!(ana.reads_post("general", "first-agent"), example.interrupt());
    ended?;
    assert_eq!(goodbye?, "Goodbye!");
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn greeter_greets_who_is_there_and_who_comes() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let ana = User::join(&workspace, "ana").await?;
    let example = Example::start("greeter", &workspace, &[])?;
    assert_eq!(ana.reads_message("greeter").await?, "Good to see you, ana.");
    let ben = User::join(&workspace, "ben").await?;
    assert_eq!(ben.reads_message("greeter").await?, "Welcome!");
    example.interrupt().await?;
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn task_executor_works_off_what_it_is_told_and_reports_where_it_was_asked() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let ana = User::join(&workspace, "ana").await?;
    let example = Example::start("task_executor", &workspace, &[])?;
    ana.meets(&["task-executor"]).await?;
    for asked in ["task: abc", "task: abc for @task-executor"] {
        let (from, reply) = ana.gets_reply(asked).await?;
        let reversed: String = asked.trim_start_matches("task: ").chars().rev().collect();
        assert_eq!(
            (from.as_str(), reply),
            ("task-executor", format!("done: {reversed}"))
        );
    }
    let mut events = ana.client.events();
    let executor = ana.client.workspace().agent("task-executor");
    for number in 1..=3 {
        assert!(executor.send(format!("{number}0")).await.success);
    }
    let mut done = Vec::new();
    while done.len() < 3 {
        let event = within(SOON, events.next()).await.context("an event")?;
        if event.event_name == "direct.message.received" {
            done.extend(event.text().map(str::to_owned));
        }
    }
    assert_eq!(done, ["done: 01", "done: 02", "done: 03"]);
    example.interrupt().await?;
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn news_room_publishes_comments_warns_and_closes() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let ana = User::join(&workspace, "ana").await?;
    let example = Example::start("news_room", &workspace, &["0.05"])?;
    for headline in [
        "Parsers are fun again",
        "A log is all you need",
        "Polling considered harmful",
        "Parsers are fun again",
    ] {
        assert_eq!(ana.reads_post("news", "publisher").await?, headline);
    }
    let comment = ana
        .client
        .wait_event(|event| event.event_name == "channel.message.replied", SOON)
        .await
        .context("no comment")?;
    assert_eq!(comment.source_id, "commentator");
    let article = comment.reply_to_id.as_deref().context("a reply")?;
    let article = ana.client.workspace().get_message(article).await?;
    assert_eq!(article.metadata.as_ref().context("metadata")?["type"], "article");
    let expected = format!("{:?}? I have doubts.", article.text().unwrap_or_default());
    assert_eq!(comment.text(), Some(expected.as_str()));
    for number in 1..=6 {
        assert!(ana.general.post(format!("Chatter {number}")).await.success);
    }
    assert_eq!(ana.reads_message("moderator").await?, "Please slow down.");
    example.interrupt().await?;
    let news = ana.client.workspace().channel("news");
    let last = news.get_messages(100).await?;
    let last = last
        .iter()
        .find(|message| message.sender_id == "publisher")
        .context("a post")?;
    assert_eq!(last.text(), Some("That is all for today."));
    workspace.stop().await;
    Ok(())
}
