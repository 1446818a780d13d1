//! Threads: begun, replied to, counted, read.

use openagents_client::{ChannelPermissions, ChannelSettings, Grantee, Message};
use openagents_e2e::{Stage, check_event};
use openagents_protocol::ErrorCode;
use openagents_protocol::call::GetMessage;
use serde_json::json;

fn texts(messages: &[Message]) -> Vec<&str> {
    messages.iter().filter_map(Message::text).collect()
}

#[tokio::test]
async fn a_reply_names_its_parent_by_both_names_and_belongs_to_the_thread() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob", "carol"]).await?;
    let general = |agent: &str| stage.agent(agent).workspace().channel("general");
    let (alice, bob, carol) = (general("alice"), general("bob"), general("carol"));
    let question = alice
        .post("who?")
        .await
        .message_id()
        .expect("accepted")
        .to_owned();
    stage.heard().await?;
    let first = bob.reply(&question, "me").metadata(json!({"sure": true})).await;
    let first = first.message_id().expect("accepted").to_owned();
    let event = stage.heard_once_by(&["alice", "carol"]).await?;
    let reply_keys = "channel content message_id parent_id reply_to_id sender_id thread_id";
    check_event(&event, "channel.message.replied", reply_keys);
    assert_eq!(
        event.payload.value(),
        &json!({"channel": "general", "sender_id": "bob", "message_id": first, "reply_to_id": question,
                "parent_id": question, "thread_id": question, "content": {"text": "me"}})
    );
    assert_eq!(
        (event.event_id.as_str(), event.reply_to_id.as_deref()),
        (&*first, Some(&*question))
    );
    assert_eq!(event.metadata.expect("metadata"), json!({"sure": true}).into());

    let second = carol.reply_to_thread(&question, json!({"text": "me too"})).await;
    assert!(second.success);
    stage.heard().await?;
    let nested = alice
        .reply(&first, "really?")
        .await
        .message_id()
        .expect("accepted")
        .to_owned();
    let event = stage.heard_once_by(&["bob", "carol"]).await?;
    assert_eq!(
        (&event.payload["parent_id"], &event.payload["thread_id"]),
        (&json!(first), &json!(question))
    );

    let thread = bob.get_thread(&question, 50)?.await?;
    assert_eq!(texts(&thread), ["really?", "me too", "me"]);
    assert_eq!(thread[0].thread_id.as_deref(), Some(&*question));
    assert_eq!(thread[0].reply_to_id.as_deref(), Some(&*first));
    let oldest_first = bob
        .get_thread(&question, 2)?
        .after(openagents_client::Sequence::ZERO)
        .page()
        .await?;
    assert_eq!(
        (texts(&oldest_first.messages), oldest_first.has_more),
        (vec!["me", "me too"], true)
    );
    let root = stage.agent("bob").workspace().get_message(&question).await?;
    assert_eq!((root.reply_count, root.reply_to_id), (3, None));
    assert!(
        carol.delete_message(&nested).await.error.is_none(),
        "an admin on loopback"
    );
    assert_eq!(
        stage
            .agent("bob")
            .workspace()
            .get_message(&question)
            .await?
            .reply_count,
        2
    );
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn a_thread_has_a_title_and_an_id() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob"]).await?;
    let alice = stage.agent("alice").workspace().channel("general");
    let thread = alice.start_thread("Release 2", "What is left to do?").await?;
    let event = stage.heard_once_by(&["bob"]).await?;
    check_event(
        &event,
        "channel.message.posted",
        "channel content message_id sender_id",
    );
    assert_eq!(
        (event.thread_name.as_deref(), &*event.event_id),
        (Some("Release 2"), thread.id())
    );
    let bob = stage.agent("bob").workspace().channel("general");
    assert!(bob.reply_to_thread(thread.id(), "the changelog").await.success);
    assert!(thread.reply("thanks").await.success);
    let replies = bob.get_thread(thread.id(), 50)?.await?;
    assert_eq!(texts(&replies), ["thanks", "the changelog"]);
    let message_id = thread.id().parse()?;
    let root = stage.agent("bob").call(GetMessage { message_id }).await?;
    assert_eq!(
        (root.thread_name.as_deref(), root.reply_count),
        (Some("Release 2"), 2)
    );
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn a_reply_to_what_is_not_there_is_refused() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob"]).await?;
    let workspace = stage.agent("alice").workspace();
    let general = workspace.channel("general");
    let elsewhere = workspace.create_channel("dev", "").await?.post("here").await;
    let direct = workspace.agent("bob").send("hello").await;
    stage.heard().await?;
    let elsewhere = elsewhere.message_id().expect("accepted").to_owned();
    for parent in [
        "no-such-message",
        elsewhere.as_str(),
        direct.message_id().expect("accepted"),
    ] {
        let refused = general.reply(parent, "what?").await.error.expect("refused");
        assert_eq!(
            (refused.code.as_str(), refused.field.as_deref()),
            ("message_not_found", Some("reply_to_id"))
        );
    }
    let refused = general.reply("", "what?").await.error.expect("refused");
    assert_eq!(
        (refused.code.as_str(), refused.field.as_deref()),
        ("invalid_name", Some("reply_to_id"))
    );
    assert_eq!(
        general.get_thread("", 1).expect_err("no id").code(),
        "invalid_name"
    );
    let unknown = general.get_thread("no-such-message", 1)?.await;
    assert_eq!(unknown.expect_err("unknown").code(), "message_not_found");
    let unknown = stage
        .workspace()
        .get("messages/no-such-message/replies", "alice")
        .await?;
    assert_eq!(
        unknown.refusal()?,
        (404, ErrorCode::MessageNotFound, Some("message_id".into()))
    );
    stage.silence().await?;
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn a_channel_says_whether_there_are_threads_and_who_begins_them() -> anyhow::Result<()> {
    let tokens = crate::tokens::Tokens::serve().await?;
    let (alice, bob) = (
        tokens.join("alice", "member").await?,
        tokens.join("bob", "member").await?,
    );
    let alice = alice.workspace().create_channel("dev", "").await?;
    let bob = bob.workspace().channel("dev");
    let only_admins = ChannelPermissions {
        create_threads: Some(vec![Grantee::Admin]),
        ..Default::default()
    };
    assert!(alice.set_permissions(only_admins).await.success);
    let post = bob
        .post("hello")
        .await
        .message_id()
        .expect("posting is no thread")
        .to_owned();
    let refused = bob.reply(&post, "hello again").await.error.expect("refused");
    assert_eq!(refused.code.as_str(), "forbidden");
    let refused = bob.start_thread("Mine", "look").await.expect_err("refused");
    assert_eq!(refused.code(), "forbidden");
    let everybody = ChannelPermissions {
        create_threads: Some(vec![Grantee::All]),
        ..Default::default()
    };
    assert!(alice.set_permissions(everybody).await.success);
    assert!(bob.reply(&post, "hello again").await.success);
    let none = ChannelSettings {
        enable_threading: Some(false),
        ..Default::default()
    };
    assert!(alice.configure(none).await.success);
    let refused = alice.reply(&post, "no more").await.error.expect("refused");
    assert_eq!(refused.code.as_str(), "forbidden");
    assert_eq!(
        alice
            .start_thread("Mine", "look")
            .await
            .expect_err("refused")
            .code(),
        "forbidden"
    );
    tokens.workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_thread_over_rest() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["bob"]).await?;
    let workspace = stage.workspace();
    let rest = |method, path: &str| workspace.request(method, path, "alice");
    let post = json!({"content": "who?", "event_id": "q"});
    rest("POST", "channels/general/messages")
        .json(&post)
        .send()
        .await?
        .ok()?;
    for text in ["me", "me too"] {
        let reply = json!({"content": text, "reply_to_id": "q"});
        rest("POST", "channels/general/messages")
            .json(&reply)
            .send()
            .await?
            .ok()?;
    }
    let page = rest("GET", "messages/q/replies?limit=1").send().await?.ok()?;
    assert_eq!(
        (&page["messages"][0]["content"]["text"], &page["has_more"]),
        (&json!("me too"), &json!(true))
    );
    assert_eq!(rest("GET", "messages/q").send().await?.ok()?["reply_count"], 2);
    let names: Vec<String> = stage.heard().await?["bob"]
        .iter()
        .map(|event| event.event_name.clone())
        .collect();
    assert_eq!(
        names,
        [
            "channel.message.posted",
            "channel.message.replied",
            "channel.message.replied"
        ]
    );
    stage.end().await;
    Ok(())
}
