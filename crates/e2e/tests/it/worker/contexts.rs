//! What hooks are called with.

use openagents_client::{
    ChannelMessageContext, EventContext, HookResult, Json, ReactAction, ReactionContext, ReplyMessageContext,
    Worker, WorkerAgent,
};
use openagents_e2e::{SOON, Workspace, within};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Tells everything that its contexts know.
struct Scribe(mpsc::Sender<(&'static str, Value)>);

impl Scribe {
    async fn tell(&self, hook: &'static str, context: &EventContext, more: Value) -> HookResult {
        let event = context.incoming_event();
        assert_eq!(context.raw_message(), event);
        assert_eq!(context.payload(), &event.payload);
        assert!(1.7e9 < context.timestamp(), "in seconds since 1970");
        let mut told = json!({
            "source_id": context.source_id(),
            "sender_id": context.sender_id(),
            "text": context.text(),
            "metadata": context.metadata().map(Json::value),
            "event_id": context.message_id(),
            "agent_id": context.agent_id(),
            "network_id": context.network_id(),
            "incoming_thread_id": context.incoming_thread_id(),
        });
        merge(&mut told, more);
        self.0.send((hook, told)).await?;
        Ok(())
    }
}

fn merge(told: &mut Value, more: Value) {
    let (Some(told), Value::Object(more)) = (told.as_object_mut(), more) else {
        panic!("two objects");
    };
    told.extend(more);
}

fn of_message(context: &ChannelMessageContext) -> Value {
    json!({
        "channel": context.channel(),
        "thread_id": context.thread_id(),
        "message_type": context.message_type(),
        "mentions": context.mentions(),
        "mentioned_agent_id": context.mentioned_agent_id(),
        "quoted_message_id": context.quoted_message_id(),
        "quoted_text": context.quoted_text(),
    })
}

impl WorkerAgent for Scribe {
    async fn on_channel_post(&self, _: &Worker, context: ChannelMessageContext) -> HookResult {
        self.tell("on_channel_post", &context, of_message(&context)).await
    }

    async fn on_channel_mention(&self, _: &Worker, context: ChannelMessageContext) -> HookResult {
        self.tell("on_channel_mention", &context, of_message(&context))
            .await
    }

    async fn on_channel_reply(&self, _: &Worker, context: ReplyMessageContext) -> HookResult {
        let mut more = of_message(&context);
        let place = json!({
            "parent_message_id": context.parent_message_id(),
            "reply_to_id": context.reply_to_id(),
            "root_message_id": context.root_message_id(),
            "thread_depth": context.thread_depth(),
            "thread_level": context.thread_level(),
            "target_agent_id": context.target_agent_id(),
        });
        merge(&mut more, place);
        self.tell("on_channel_reply", &context, more).await
    }

    async fn on_direct(&self, _: &Worker, context: EventContext) -> HookResult {
        self.tell("on_direct", &context, json!({})).await
    }

    async fn on_reaction(&self, _: &Worker, context: ReactionContext) -> HookResult {
        let more = json!({
            "reaction": context.reaction(),
            "reaction_type": context.reaction_type(),
            "message_id": context.message_id(),
            "target_message_id": context.target_message_id(),
            "reactor_id": context.reactor_id(),
            "removed": context.action() == ReactAction::Remove,
            "channel": context.channel(),
        });
        self.tell("on_reaction", &context, more).await
    }
}

struct Told(mpsc::Receiver<(&'static str, Value)>);

impl Told {
    /// The next call is this one, with these fields beside those of every event of Ana's.
    async fn check(&mut self, hook: &str, event_id: &str, expected: Value) {
        let mut all = json!({
            "source_id": "ana",
            "sender_id": "ana",
            "text": "",
            "metadata": null,
            "event_id": event_id,
            "agent_id": "scribe",
            "network_id": "workspace",
            "incoming_thread_id": null,
        });
        merge(&mut all, expected);
        assert_eq!(within(SOON, self.0.recv()).await.expect("a call"), (hook, all));
    }
}

fn message(more: Value) -> Value {
    let mut all = json!({
        "channel": "general",
        "thread_id": null,
        "message_type": "channel_message",
        "mentions": [],
        "mentioned_agent_id": null,
        "quoted_message_id": null,
        "quoted_text": null,
    });
    merge(&mut all, more);
    all
}

#[tokio::test]
async fn contexts_of_messages_know_everything_that_is_documented() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let (told, calls) = mpsc::channel(10);
    let _scribe = Scribe(told).start("127.0.0.1", workspace.port()).await?;
    let mut told = Told(calls);
    let ana = workspace.join("ana").await?;
    let general = ana.workspace().channel("general");

    let posted = general
        .post("Good morning")
        .metadata(json!({"mood": "good"}))
        .await;
    let first = posted.message_id().expect("accepted");
    let expected = message(json!({"text": "Good morning", "metadata": {"mood": "good"}}));
    told.check("on_channel_post", first, expected).await;

    let quote = json!({"content": {"text": "As I said"}, "quoted_message_id": first, "quoted_text": "ana: Good morning"});
    let quoting = general.post("").event_id("quoting-1").into_event().payload(quote);
    assert!(ana.send_event(quoting).await.success);
    let expected = message(json!({
        "text": "As I said", "quoted_message_id": first, "quoted_text": "ana: Good morning",
    }));
    told.check("on_channel_post", "quoting-1", expected).await;

    let mentioned = general
        .post("Hello @nobody and @scribe, mail me at ana@scribe.example")
        .await;
    let expected = message(json!({
        "text": "Hello @nobody and @scribe, mail me at ana@scribe.example",
        "mentions": ["nobody", "scribe"],
        "mentioned_agent_id": "scribe",
    }));
    told.check(
        "on_channel_mention",
        mentioned.message_id().expect("accepted"),
        expected,
    )
    .await;

    let named = general.post_with_mention("Please read this", "scribe").await;
    let expected = message(json!({
        "text": "Please read this", "mentions": ["scribe"], "mentioned_agent_id": "scribe",
    }));
    told.check(
        "on_channel_mention",
        named.message_id().expect("accepted"),
        expected,
    )
    .await;

    let reply = general.reply(first, "And to you").await;
    let reply_id = reply.message_id().expect("accepted");
    let in_thread = |text: &str, parent: &str, depth: u32| {
        message(json!({
            "text": text, "incoming_thread_id": first, "thread_id": first, "message_type": "reply_message",
            "parent_message_id": parent, "reply_to_id": parent, "root_message_id": first,
            "thread_depth": depth, "thread_level": depth, "target_agent_id": null,
        }))
    };
    told.check("on_channel_reply", reply_id, in_thread("And to you", first, 1))
        .await;
    let deeper = general.reply(reply_id, "Thanks").await;
    let deeper_id = deeper.message_id().expect("accepted");
    told.check("on_channel_reply", deeper_id, in_thread("Thanks", reply_id, 2))
        .await;

    let calling = general.reply(first, "Did you hear, @scribe?").await;
    let expected = message(json!({
        "text": "Did you hear, @scribe?", "incoming_thread_id": first, "thread_id": first,
        "message_type": "reply_message", "mentions": ["scribe"], "mentioned_agent_id": "scribe",
    }));
    told.check(
        "on_channel_mention",
        calling.message_id().expect("accepted"),
        expected,
    )
    .await;
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn contexts_of_direct_messages_and_reactions_know_everything_that_is_documented() -> anyhow::Result<()>
{
    let workspace = Workspace::serve().await?;
    let (told, calls) = mpsc::channel(10);
    let scribe = Scribe(told).start("127.0.0.1", workspace.port()).await?;
    let mut told = Told(calls);
    let ana = workspace.join("ana").await?;

    let sent = ana
        .workspace()
        .agent("scribe")
        .send("Just for you")
        .metadata(json!({"n": 1}))
        .await;
    let sent_id = sent.message_id().expect("accepted");
    told.check(
        "on_direct",
        sent_id,
        json!({"text": "Just for you", "metadata": {"n": 1}}),
    )
    .await;

    let free = ana
        .send_agent_message("scribe", json!({"text": "Free", "n": 2}))
        .await;
    told.check(
        "on_direct",
        free.message_id().expect("accepted"),
        json!({"text": "Free"}),
    )
    .await;

    let posted = scribe.worker().post_to_channel("general", "React, please").await;
    let target = posted.message_id().expect("accepted");
    let general = ana.workspace().channel("general");
    for (action, removed) in [(ReactAction::Add, false), (ReactAction::Remove, true)] {
        let reacted = general.react_to_message(target, ":thumbsup:", action).await;
        let expected = json!({
            "reaction": "thumbsup", "reaction_type": "thumbsup",
            "message_id": target, "target_message_id": target,
            "reactor_id": "ana", "removed": removed, "channel": "general",
        });
        told.check("on_reaction", reacted.message_id().expect("accepted"), expected)
            .await;
    }

    let between = scribe.worker().send_direct("ana", "And here").await;
    let target = between.message_id().expect("accepted");
    let reacted = general.react(target, "🎉").await;
    let expected = json!({
        "reaction": "🎉", "reaction_type": "🎉", "message_id": target, "target_message_id": target,
        "reactor_id": "ana", "removed": false, "channel": null,
    });
    told.check("on_reaction", reacted.message_id().expect("accepted"), expected)
        .await;
    workspace.stop().await;
    Ok(())
}
