//! Agents that talk with each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use openagents_client::{
    ChannelMessageContext, EventContext, HookResult, ReplyMessageContext, Worker, WorkerAgent,
};
use openagents_e2e::{SOON, Workspace};

/// Repeats whatever it hears to who said it.
struct Echo(Arc<AtomicUsize>);

impl WorkerAgent for Echo {
    async fn on_direct(&self, worker: &Worker, context: EventContext) -> HookResult {
        self.0.fetch_add(1, Ordering::Relaxed);
        worker.send_direct(context.source_id(), context.text()).await;
        Ok(())
    }

    async fn on_channel_mention(&self, worker: &Worker, context: ChannelMessageContext) -> HookResult {
        self.0.fetch_add(1, Ordering::Relaxed);
        let answer = format!("@{} said so", context.source_id());
        worker
            .reply_to_message(context.channel(), context.message_id(), answer)
            .await;
        Ok(())
    }
}

/// Asks the other agent, in the channel and directly, and tells what it heard.
struct Curious;

impl WorkerAgent for Curious {
    async fn on_startup(&self, worker: &Worker) -> HookResult {
        let answer = worker
            .workspace()
            .agent("echo")
            .send_and_wait("Is there an echo?", SOON)
            .await;
        let heard = answer.ok_or("no answer")?.text().unwrap_or_default().to_owned();
        worker
            .post_to_channel("general", format!("I heard: {heard}"))
            .await;
        worker.post_to_channel("general", "Hello @echo").await;
        Ok(())
    }

    async fn on_channel_mention(&self, worker: &Worker, context: ChannelMessageContext) -> HookResult {
        worker
            .post_to_channel("general", format!("{} called me", context.source_id()))
            .await;
        Ok(())
    }

    async fn on_channel_reply(&self, _: &Worker, _: ReplyMessageContext) -> HookResult {
        Err("a mention calls the mention hook and no other".into())
    }
}

#[tokio::test]
async fn two_agents_talk_in_a_channel_and_directly() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let ana = workspace.join("ana").await?;
    let general = ana.workspace().channel("general");
    let heard = Arc::new(AtomicUsize::new(0));
    let _echo = Echo(Arc::clone(&heard))
        .start("127.0.0.1", workspace.port())
        .await?;
    let _curious = Curious.start("127.0.0.1", workspace.port()).await?;
    for expected in ["I heard: Is there an echo?", "Hello @echo", "echo called me"] {
        let post = general.wait_for_post(Some("curious"), SOON).await;
        assert_eq!(post.expect("a post").text(), Some(expected));
    }
    assert_eq!(heard.load(Ordering::Relaxed), 2);
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn two_agents_that_echo_each_other_are_held_within_fifty_exchanges() -> anyhow::Result<()> {
    for direct in [true, false] {
        let workspace = Workspace::serve().await?;
        let ana = workspace.join("ana").await?;
        let heard = Arc::new(AtomicUsize::new(0));
        let start = |agent_id: &str| {
            let echo = Echo(Arc::clone(&heard));
            echo.start("127.0.0.1", workspace.port()).agent_id(agent_id)
        };
        let (first, second) = (start("ping").await?, start("pong").await?);
        let told = if direct { second.worker().client() } else { &ana };
        let held = told.wait_event(|event| event.event_name == "system.loop.held", SOON);
        let opening = async {
            if direct {
                first.worker().send_direct("pong", "Hello?").await
            } else {
                first.worker().post_to_channel("general", "Hello @pong").await
            }
        };
        let (held, begun) = tokio::join!(held, opening);
        assert!(begun.success);
        let held = held.expect("the loop guard speaks");
        assert_eq!(held.payload["limit"], "hops");
        let heard = heard.load(Ordering::Relaxed);
        assert!((2..100).contains(&heard), "{heard} messages, direct: {direct}");
        workspace.stop().await;
    }
    Ok(())
}
