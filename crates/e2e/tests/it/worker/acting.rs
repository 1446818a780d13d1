//! What workers do besides reacting.

use openagents_client::{Event, Message, ReactAction, Worker, WorkerAgent, WorkerSettings};
use openagents_e2e::{SOON, Workspace, within};
use openagents_workspace::Group;
use serde_json::json;
use tokio::sync::mpsc;

struct Plain;

impl WorkerAgent for Plain {
    fn settings(&self) -> WorkerSettings {
        WorkerSettings::new().default_channels(["#notes"])
    }
}

fn texts(messages: &[Message]) -> Vec<&str> {
    messages.iter().filter_map(Message::text).collect()
}

/// A line of texts by two agents in a channel and between them.
async fn talk(worker: &Worker, ana: &openagents_client::AgentClient) {
    let (there, general) = (ana.workspace(), ana.workspace().channel("general"));
    for number in 1..=3 {
        assert!(
            worker
                .post_to_channel("#general", format!("mine {number}"))
                .await
                .success
        );
        assert!(general.post(format!("hers {number}")).await.success);
        assert!(
            worker
                .send_direct("ana", format!("to her {number}"))
                .await
                .success
        );
        assert!(there.agent("plain").send(format!("to me {number}")).await.success);
    }
}

#[tokio::test]
async fn a_worker_reads_what_was_said() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let running = Plain.start("127.0.0.1", workspace.port()).await?;
    let (worker, ana) = (running.worker(), workspace.join("ana").await?);
    talk(worker, &ana).await;

    let page = worker.get_channel_messages("general", 2, 1).await?;
    assert_eq!(
        (texts(&page.messages), page.has_more),
        (vec!["mine 3", "hers 2"], true)
    );
    let page = worker.get_direct_messages("ana", 50, 0).await?;
    assert_eq!((page.messages.len(), page.has_more), (6, false));
    let recent = worker.get_recent_channel_messages("general", 2).await?;
    assert_eq!(texts(&recent), ["hers 3", "mine 3"]);
    let recent = worker.get_recent_direct_messages("ana", 1).await?;
    assert_eq!(texts(&recent), ["to me 3"]);
    let hers = worker.find_messages_by_sender("#general", "ana", 2).await?;
    assert_eq!(texts(&hers), ["hers 3", "hers 2"]);
    let mine = worker.find_messages_by_sender("agent:ana", "plain", 10).await?;
    assert_eq!(texts(&mine), ["to her 3", "to her 2", "to her 1"]);
    assert!(
        worker
            .find_messages_by_sender("general", "nobody", 10)
            .await?
            .is_empty()
    );
    assert!(
        worker
            .find_messages_by_sender("missing", "ana", 10)
            .await
            .is_err()
    );
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_worker_knows_who_and_what_is_there() -> anyhow::Result<()> {
    let workspace = Workspace::serve_with(|config| {
        let mut moderators = Group::open("moderators");
        let permissions = ["read_channels", "post_messages", "delete_posts"];
        moderators.permissions = Some(permissions.map(str::to_owned).into());
        config.workspace.groups = vec![moderators];
        config.workspace.default_group = "moderators".to_owned();
    })
    .await?;
    let running = Plain.start("127.0.0.1", workspace.port()).await?;
    let worker = running.worker();
    let _ana = workspace.join("ana").await?;
    assert_eq!(worker.get_agent_list().await?, ["ana", "plain"]);
    assert_eq!(
        worker.get_channel_list().await?,
        ["general", "notes"],
        "it made the channel it wants to be in"
    );
    assert!(worker.has_permission("delete_posts").await);
    assert!(!worker.has_permission("ban_users").await);
    assert!(worker.is_mentioned("ask @plain, please") && worker.is_mentioned("@plain."));
    assert!(!worker.is_mentioned("plain, or @plainer, or me@plain"));
    assert_eq!(
        worker.extract_mentions("@ana and @plain. And @ana again: me@example.org"),
        ["ana", "plain"]
    );
    assert_eq!(
        (worker.agent_id(), worker.client().agent_id().as_str()),
        ("plain", "plain")
    );
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_worker_sends_events_files_and_reactions() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let running = Plain.start("127.0.0.1", workspace.port()).await?;
    let (worker, ana) = (running.worker(), workspace.join("ana").await?);
    let (seen, mut events) = mpsc::channel(10);
    ana.register_event_handler((), move |event: Event| {
        let seen = seen.clone();
        async move { drop(seen.send(event).await) }
    })?;
    let mut next = async || within(SOON, events.recv()).await.expect("an event");

    let posted = worker.post_to_channel("general", "Look").await;
    let message_id = posted.message_id().expect("accepted");
    assert_eq!(next().await.event_id, message_id);
    assert!(
        worker
            .reply_to_message("general", message_id, "Here")
            .await
            .success
    );
    assert_eq!(next().await.reply_to_id.as_deref(), Some(message_id));
    for (action, name) in [
        (ReactAction::Add, "workspace.reaction.added"),
        (ReactAction::Remove, "workspace.reaction.removed"),
    ] {
        assert!(
            worker
                .react_to_message("general", message_id, "eyes", action)
                .await
                .success
        );
        assert_eq!(next().await.event_name, name);
    }
    let vote = Event::new("poll.vote")
        .to("channel:general")
        .payload(json!({"choice": "yes"}));
    assert!(worker.send_event(vote).await.success);
    assert_eq!(next().await.payload["choice"], "yes");

    let local = tempfile::tempdir()?;
    let path = local.path().join("report.txt");
    tokio::fs::write(&path, "All is well.").await?;
    let file = worker
        .upload_file("general", &path)
        .filename("Report.txt")
        .await?;
    let shared = next().await;
    assert_eq!(
        (shared.event_name.as_str(), shared.payload["file_id"].as_str()),
        ("workspace.file.uploaded", Some(file.file_id.as_str()))
    );
    assert_eq!(shared.payload["filename"], "Report.txt");
    workspace.stop().await;
    Ok(())
}
