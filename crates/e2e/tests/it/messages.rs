//! Messages in channels: posted, mentioned, edited, deleted, and read again.

use openagents_client::{Message, ReactAction};
use openagents_e2e::{Stage, Workspace, check_event, keys};
use openagents_protocol::call::{GetMessage, ListMessages};
use serde_json::{Value, json};

/// Makes sure that no file of a stopped workspace has these bytes.
fn assert_nowhere(directory: &std::path::Path, bytes: &[u8]) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            assert_nowhere(&path, bytes)?;
        } else {
            let content = std::fs::read(&path)?;
            let found = content.windows(bytes.len()).any(|window| window == bytes);
            anyhow::ensure!(!found, "{} has it", path.display());
        }
    }
    Ok(())
}

fn texts(messages: &[Message]) -> Vec<&str> {
    messages.iter().filter_map(Message::text).collect()
}

#[tokio::test]
async fn a_post_is_one_message_under_one_id_everywhere() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob", "carol"]).await?;
    let general = stage.agent("alice").workspace().channel("#general");
    assert_eq!(general.name(), "general");
    let posted = general
        .post("**Markdown** stays _as it is_")
        .metadata(json!({"type": "news", "n": 1}))
        .await;
    let id = posted.message_id().expect("accepted").to_owned();
    let receipt = posted.data.expect("a receipt");
    assert_eq!(receipt.event_id.as_str(), id);
    assert!(receipt.sequence.is_some() && !receipt.duplicate && !receipt.held);
    let counts = receipt.counts.expect("a channel has members");
    assert_eq!(
        (counts.members, counts.live, counts.away),
        (3, 3, 0),
        "the conductor is one"
    );

    let event = stage.heard_once_by(&["bob", "carol"]).await?;
    check_event(
        &event,
        "channel.message.posted",
        "channel content message_id sender_id",
    );
    assert_eq!(event.event_id, id);
    assert_eq!(
        event.payload.value(),
        &json!({"channel": "general", "sender_id": "alice", "message_id": id,
                "content": {"text": "**Markdown** stays _as it is_"}})
    );
    assert_eq!(
        event.metadata.expect("metadata"),
        json!({"type": "news", "n": 1}).into()
    );
    assert_eq!(
        (event.source_id.as_str(), event.destination_id.as_deref()),
        ("alice", Some("channel:general"))
    );

    let history = stage
        .agent("bob")
        .workspace()
        .channel("general")
        .get_messages(50)
        .await?;
    let told = serde_json::to_value(&history[0])?;
    assert_eq!(
        keys(&told),
        "channel content event_name id message_id metadata reactions reply_count sender_id sequence timestamp"
    );
    assert_eq!((&told["message_id"], &told["id"]), (&json!(id), &json!(id)));
    assert_eq!(told["content"], json!({"text": "**Markdown** stays _as it is_"}));
    assert_eq!(told["metadata"], json!({"type": "news", "n": 1}));
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn content_is_always_an_object_whatever_was_posted() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob"]).await?;
    let general = stage.agent("alice").workspace().channel("general");
    assert!(general.post("text").await.success);
    let object =
        json!({"text": "see", "attachments": ["a.csv"], "metadata": {"k": [1, 2.5, null]}, "n": 1e30});
    assert!(general.post(object.clone()).await.success);
    assert!(general.post(json!({"progress": 0.5})).await.success);
    let heard = stage.heard().await?;
    let contents: Vec<&Value> = heard["bob"]
        .iter()
        .map(|event| &event.payload["content"])
        .collect();
    let expected = [&json!({"text": "text"}), &object, &json!({"progress": 0.5})];
    assert_eq!(contents, expected);
    let history = general.get_messages(50).await?;
    let contents: Vec<&Value> = history
        .iter()
        .rev()
        .map(|message| message.content.value())
        .collect();
    assert_eq!(contents, expected);
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn mentions_are_ids_after_an_at_and_the_agent_that_is_named() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["Bob", "alice", "bob", "carol"]).await?;
    let general = stage.agent("alice").workspace().channel("general");
    let told = |heard: &openagents_e2e::Heard| -> Vec<String> {
        let mentioned = heard.iter().filter(|(_, events)| {
            assert_eq!(events.len(), 1, "one message is one event");
            events[0].matches_pattern("channel.message.mentioned")
        });
        mentioned.map(|(agent, _)| agent.clone()).collect()
    };
    for (text, expected) in [
        ("hello @bob, and @carol!", vec!["bob", "carol"]),
        ("@Bob is not @BOB", vec!["Bob"]),
        ("mail bob@example.org or bob@carol", vec![]),
        ("@bobby, @ bob, @alice herself", vec![]),
        ("(@bob)", vec!["bob"]),
    ] {
        let posted = general.post(text).await.data.expect("accepted");
        let heard = stage.heard().await?;
        assert_eq!(told(&heard), expected, "{text}");
        let recipients: Vec<&str> = posted
            .recipients
            .iter()
            .map(|one| one.agent_id.as_str())
            .collect();
        let mut recipients = recipients;
        recipients.sort_unstable();
        assert_eq!(recipients, expected, "{text}");
        for events in heard.values() {
            assert_eq!(events[0].event_name, "channel.message.posted");
        }
    }
    assert!(general.post_with_mention("you there?", "carol").await.success);
    assert_eq!(told(&stage.heard().await?), ["carol"]);
    assert!(
        general
            .post_with_mention("you, agent:bob?", "agent:bob")
            .await
            .success
    );
    assert_eq!(told(&stage.heard().await?), ["bob"]);
    let unknown = general
        .post_with_mention("anybody?", "nobody")
        .await
        .data
        .expect("posted all the same");
    assert_eq!(
        serde_json::to_value(&unknown.recipients)?,
        json!([{"agent_id": "nobody", "state": "unknown"}])
    );
    let mentioned = &general.get_messages(2).await?[1];
    assert_eq!(mentioned.mentions, ["bob"]);
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn an_edit_has_the_new_content_and_is_for_the_author_only() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob", "carol"]).await?;
    let general = |agent: &str| stage.agent(agent).workspace().channel("general");
    let (alice, bob) = (general("alice"), general("bob"));
    let id = alice
        .post("teh plan")
        .await
        .message_id()
        .expect("accepted")
        .to_owned();
    stage.heard().await?;
    assert!(alice.edit(&id, "the plan").await.success);
    let event = stage.heard_once_by(&["bob", "carol"]).await?;
    check_event(
        &event,
        "channel.message.edited",
        "channel content message_id sender_id",
    );
    assert_eq!(
        event.payload.value(),
        &json!({"channel": "general", "message_id": id, "sender_id": "alice", "content": {"text": "the plan"}})
    );
    assert_ne!(event.event_id, id, "the edit is an event of its own");
    assert!(
        alice
            .edit(&id, json!({"text": "the plan", "rev": 2}))
            .await
            .success
    );
    stage.heard().await?;

    // On loopback everybody is an admin, and still nobody puts words into the mouth of another.
    let refused = bob.edit(&id, "my plan").await.error.expect("refused");
    assert_eq!(
        (refused.code.as_str(), refused.field.as_deref()),
        ("forbidden", Some("message_id"))
    );
    let refused = alice.edit("no-such-message", "?").await.error.expect("refused");
    assert_eq!(
        (refused.code.as_str(), refused.field.as_deref()),
        ("message_not_found", Some("message_id"))
    );
    let refused = alice
        .edit(&id, json!(["no", "object"]))
        .await
        .error
        .expect("refused");
    assert_eq!(
        (refused.code.as_str(), refused.field.as_deref()),
        ("invalid_field", Some("content"))
    );
    stage.silence().await?;
    let message = &bob.get_messages(1).await?[0];
    assert_eq!(message.content, json!({"text": "the plan", "rev": 2}).into());
    assert_eq!(message.message_id, id);
    assert!(message.edited_at.is_some());
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn a_deletion_tells_everybody_and_leaves_nothing_on_the_disk() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob", "carol"]).await?;
    let alice = stage.agent("alice").workspace().channel("general");
    let away = stage.workspace().join("away").await?;
    away.disconnect().await;
    stage.heard().await?;
    let id = alice
        .post("the first xyzzy")
        .await
        .message_id()
        .expect("accepted")
        .to_owned();
    assert!(alice.edit(&id, "the second xyzzy").await.success);
    stage.heard().await?;
    assert!(alice.delete_message(&id).await.success);
    let event = stage.heard_once_by(&["bob", "carol"]).await?;
    check_event(&event, "channel.message.deleted", "agent_id channel message_id");
    assert_eq!(
        event.payload.value(),
        &json!({"channel": "general", "message_id": id, "agent_id": "alice"})
    );
    assert!(alice.get_messages(50).await?.is_empty());
    for refused in [
        alice.delete_message(&id).await,
        alice.edit(&id, "back").await,
        alice.react(&id, "wave").await,
    ] {
        assert_eq!(refused.error.expect("refused").code.as_str(), "message_not_found");
    }

    // Who was away is told that something was there, and not what.
    stage.enter("away").await?;
    let heard = stage.heard().await?.remove("away").expect("a backlog");
    assert!(
        heard
            .iter()
            .all(|event| !event.payload.to_string().contains("xyzzy"))
    );
    let [posted, edited, deleted] = heard.as_slice() else {
        panic!("three events: {heard:?}")
    };
    check_event(
        posted,
        "channel.message.posted",
        "channel content erased message_id sender_id",
    );
    check_event(
        edited,
        "channel.message.edited",
        "channel content erased message_id sender_id",
    );
    assert_eq!(deleted.payload, event.payload);
    let data = stage.workspace().data();
    let kept = stage.keep().await;
    assert_nowhere(&data, b"xyzzy")?;
    drop(kept);
    Ok(())
}

#[tokio::test]
async fn moderators_delete_what_others_wrote_and_members_do_not() -> anyhow::Result<()> {
    let tokens = crate::tokens::Tokens::serve().await?;
    let (alice, bob) = (
        tokens.join("alice", "member").await?,
        tokens.join("bob", "member").await?,
    );
    let moderator = tokens.join("judge", "moderator").await?;
    let general = |client: &openagents_client::AgentClient| client.workspace().channel("general");
    let id = general(&alice)
        .post("rude")
        .await
        .message_id()
        .expect("accepted")
        .to_owned();
    let refused = general(&bob).delete_message(&id).await.error.expect("refused");
    assert_eq!(
        (refused.code.as_str(), refused.field.as_deref()),
        ("forbidden", Some("message_id"))
    );
    assert!(!bob.has_permission("delete_posts").await && moderator.has_permission("delete_posts").await);
    assert!(general(&moderator).delete_message(&id).await.success);
    let refused = general(&moderator).edit(&id, "polite").await.error.expect("gone");
    assert_eq!(refused.code.as_str(), "message_not_found");
    let direct = alice.workspace().agent("bob").send("between us").await;
    let id = direct.message_id().expect("accepted");
    assert!(
        general(&moderator).delete_message(id).await.success,
        "what they cannot read, too"
    );
    assert!(bob.workspace().agent("alice").get_messages(10).await?.is_empty());
    tokens.workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn history_is_read_newest_first_by_offset_and_by_cursor_in_both_directions() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let alice = workspace.join("alice").await?;
    let general = alice.workspace().channel("general");
    for number in 0..10 {
        let id = general
            .post(number.to_string())
            .await
            .message_id()
            .expect("accepted")
            .to_owned();
        // What is no message is no part of the history.
        assert!(
            general
                .react_to_message(&id, "ok", ReactAction::Add)
                .await
                .success
        );
    }
    let deleted = general.get_messages(1).offset(4).await?.remove(0);
    assert_eq!(deleted.text(), Some("5"));
    assert!(general.delete_message(&deleted.message_id).await.success);

    assert_eq!(texts(&general.get_messages(3).await?), ["9", "8", "7"]);
    assert_eq!(texts(&general.get_messages(3).offset(3).await?), ["6", "4", "3"]);
    assert_eq!(texts(&general.get_messages(50).offset(8).await?), ["0"]);
    assert!(general.get_messages(50).offset(9).await?.is_empty());
    let page = general.get_messages(4).page().await?;
    assert!(page.has_more);
    let before = page.messages.last().expect("four").sequence;
    let older = general.get_messages(4).before(before).page().await?;
    assert_eq!(
        (texts(&older.messages), older.has_more),
        (vec!["4", "3", "2", "1"], true)
    );
    let newer = general
        .get_messages(3)
        .after(older.messages[1].sequence)
        .page()
        .await?;
    assert_eq!(
        (texts(&newer.messages), newer.has_more),
        (vec!["4", "6", "7"], true)
    );
    let newest = general
        .get_messages(3)
        .after(newer.messages[2].sequence)
        .page()
        .await?;
    assert_eq!(
        (texts(&newest.messages), newest.has_more),
        (vec!["8", "9"], false)
    );
    assert_eq!(newest.messages[0].reactions[0].agents, ["alice"]);

    // The same after a restart, from the index alone.
    let workspace = workspace.restart().await?;
    let bob = workspace.join("bob").await?;
    let general = bob.workspace().channel("general");
    assert_eq!(texts(&general.get_messages(3).offset(3).await?), ["6", "4", "3"]);
    assert_eq!(
        texts(&general.get_messages(4).before(before).await?),
        ["4", "3", "2", "1"]
    );
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn the_same_over_rest() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["bob"]).await?;
    let workspace = stage.workspace();
    let rest = |method, path: &str| workspace.request(method, path, "alice");
    let message = json!({"content": "hello @bob", "metadata": {"k": 1}, "event_id": "m-1"});
    let posted = rest("POST", "channels/general/messages")
        .json(&message)
        .send()
        .await?
        .ok()?;
    assert_eq!(
        (&posted["success"], &posted["data"]["message_id"]),
        (&json!(true), &json!("m-1"))
    );
    let again = rest("POST", "channels/general/messages")
        .json(&message)
        .send()
        .await?
        .ok()?;
    assert_eq!(again["data"]["duplicate"], true);
    let told = rest("GET", "messages/m-1").send().await?.ok()?;
    assert_eq!(
        (&told["content"], &told["mentions"]),
        (&json!({"text": "hello @bob"}), &json!(["bob"]))
    );
    let edit = json!({"content": {"text": "hello again"}});
    rest("PATCH", "messages/m-1").json(&edit).send().await?.ok()?;
    let page = rest("GET", "channels/general/messages").send().await?.ok()?;
    assert_eq!(keys(&page), "has_more messages");
    assert_eq!(page["messages"][0]["content"]["text"], "hello again");
    rest("DELETE", "messages/m-1").send().await?.ok()?;
    let gone = rest("GET", "messages/m-1").send().await?;
    assert_eq!(
        gone.refusal()?,
        (
            404,
            openagents_protocol::ErrorCode::MessageNotFound,
            Some("message_id".into())
        )
    );
    let names: Vec<String> = stage.heard().await?["bob"]
        .iter()
        .map(|event| event.event_name.clone())
        .collect();
    assert_eq!(
        names,
        [
            "channel.message.posted",
            "channel.message.edited",
            "channel.message.deleted"
        ]
    );
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn a_message_is_told_to_those_who_may_read_it_only() -> anyhow::Result<()> {
    let stage = Stage::of(&["alice", "bob", "mallory"]).await?;
    let mallory = stage.agent("mallory");
    let direct = stage.agent("alice").workspace().agent("bob").send("psst").await;
    let in_dev = stage
        .agent("alice")
        .workspace()
        .create_channel("dev", "")
        .await?
        .post("plans")
        .await;
    mallory.workspace().channel("dev").leave().await?;
    for response in [direct, in_dev] {
        let message_id = response.data.expect("accepted").message_id;
        let call = mallory
            .call(GetMessage {
                message_id: message_id.clone(),
            })
            .await;
        assert_eq!(call.expect_err("not for mallory").code(), "message_not_found");
        let thread = ListMessages {
            thread_id: Some(message_id),
            ..Default::default()
        };
        assert_eq!(
            mallory.call(thread).await.expect_err("nor its thread").code(),
            "message_not_found"
        );
    }
    let dev = mallory.workspace().channel("dev");
    assert_eq!(
        dev.get_messages(1).await.expect_err("left").code(),
        "not_a_member"
    );
    assert_eq!(
        dev.post("hello?").await.error.expect("left").code.as_str(),
        "not_a_member"
    );
    stage.end().await;
    Ok(())
}
