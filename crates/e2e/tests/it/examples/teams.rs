//! Agents that work together.

use openagents_client::Event;
use openagents_e2e::{SOON, Workspace};
use serde_json::json;

use super::{Example, User};

#[tokio::test]
async fn master_hands_work_to_the_worker_who_does_it() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let ana = User::join(&workspace, "ana").await?;
    let example = Example::start("master_and_worker", &workspace, &[])?;
    ana.meets(&["master", "counter"]).await?;
    let roles: Vec<_> = ana
        .client
        .list_agents()
        .await?
        .into_iter()
        .map(|agent| agent.metadata["role"].clone())
        .collect();
    assert_eq!(roles, [json!(null), json!("worker"), json!("master")]);
    let asked = ana.general.post("how many words are these").await;
    let asked = asked.message_id().expect("accepted");
    let done = ana
        .general
        .wait_for_reaction(asked, SOON)
        .await
        .expect("a reaction");
    assert_eq!(done.payload["reaction"], "white_check_mark");
    let thread = ana.general.get_thread(asked, 10)?.await?;
    let said: Vec<_> = thread
        .iter()
        .rev()
        .map(|reply| (reply.sender_id.as_str(), reply.text().unwrap_or_default()))
        .collect();
    assert_eq!(
        said,
        [
            ("master", "@counter please: how many words are these"),
            ("counter", "5 words")
        ]
    );
    example.interrupt().await?;
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn work_flow_goes_from_file_to_report_and_counts_votes() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let ana = User::join(&workspace, "ana").await?;
    let example = Example::start("work_flow", &workspace, &[])?;
    ana.meets(&["processor", "reporter", "intake"]).await?;
    let local = tempfile::tempdir()?;
    let path = local.path().join("essay.txt");
    tokio::fs::write(&path, "An essay of six words, indeed.").await?;
    ana.general.upload_file(&path).await?;
    assert_eq!(
        ana.reads_post("general", "reporter").await?,
        r#""essay.txt" has 6 words."#
    );
    for choice in ["tea", "coffee", "tea", "water", "tea"] {
        let vote = Event::new("poll.vote")
            .to("channel:general")
            .payload(json!({"choice": choice}));
        assert!(ana.client.send_event(vote).await.success);
    }
    let tally = ana.reads_post("general", "reporter").await?;
    assert_eq!(tally, "The poll is over. coffee: 1, tea: 3, water: 1");
    example.interrupt().await?;
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn router_passes_requests_on_by_keyword() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let ana = User::join(&workspace, "ana").await?;
    let example = Example::start("router", &workspace, &[])?;
    ana.meets(&["researcher", "analyst", "router"]).await?;
    for (asked, answer) in [
        (
            "research the history of parsers",
            "three sources about the history of parsers",
        ),
        ("analyze 1 2 and 3.5", "3 numbers, 6.5 in all"),
    ] {
        let (from, reply) = ana.gets_reply(asked).await?;
        assert_eq!((from.as_str(), reply.as_str()), ("router", answer));
    }
    example.interrupt().await?;
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn role_players_say_their_opinion_once_and_not_to_each_other() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let ana = User::join(&workspace, "ana").await?;
    let example = Example::start("role_players", &workspace, &[])?;
    ana.meets(&["optimist", "skeptic", "engineer"]).await?;
    let posted = ana.general.post("A parser for poems").await;
    let idea = posted.message_id().expect("accepted");
    let mut opinions = Vec::new();
    for _ in 0..3 {
        let reply = ana.general.wait_for_reply(idea, SOON).await.expect("an opinion");
        assert_eq!(
            reply.metadata.as_ref().expect("metadata")["idea"],
            "A parser for poems"
        );
        opinions.push(format!(
            "{}: {}",
            reply.sender_id,
            reply.text().unwrap_or_default()
        ));
    }
    opinions.sort();
    assert_eq!(
        opinions,
        [
            "engineer: Give me two weeks.",
            "optimist: People will love it.",
            "skeptic: Who will pay for it?"
        ]
    );
    example.interrupt().await?;
    assert_eq!(ana.general.get_messages(10).await?.len(), 4, "and nothing else");
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn delegation_answers_with_the_help_of_two_others() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let ana = User::join(&workspace, "ana").await?;
    let example = Example::start("delegation", &workspace, &[])?;
    ana.meets(&["searcher", "analyst", "router"]).await?;
    let answer = ana.gets_answer("router", "how do logs work?").await?;
    assert_eq!(
        answer,
        r#"I read two pages about "how do logs work?". It is simple."#
    );
    example.interrupt().await?;
    workspace.stop().await;
    Ok(())
}
