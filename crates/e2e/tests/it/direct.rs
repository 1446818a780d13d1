//! Direct messages: between two, with their history and what is unread.

use openagents_client::{Backlog, Event, Message};
use openagents_e2e::{Stage, check_event, keys};
use openagents_protocol::call::{ListConversations, ListMessages};
use serde_json::json;

#[tokio::test]
async fn a_direct_message_reaches_its_addressee_and_nobody_else() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob", "carol"]).await?;
    let to_bob = stage.agent("alice").workspace().agent("agent:bob");
    assert_eq!(to_bob.id(), "bob");
    let sent = to_bob.send("hello").metadata(json!({"k": "v"})).await;
    let id = sent.message_id().expect("accepted").to_owned();
    assert_eq!(
        serde_json::to_value(&sent.data.expect("a receipt").recipients)?,
        json!([{"agent_id": "bob", "state": "live"}])
    );
    let event = stage.heard_once_by(&["bob"]).await?;
    check_event(
        &event,
        "direct.message.received",
        "content message_id sender_id text",
    );
    assert_eq!(
        event.payload.value(),
        &json!({"sender_id": "alice", "message_id": id, "text": "hello", "content": {"text": "hello"}})
    );
    assert_eq!(
        (event.event_id.as_str(), event.destination_id.as_deref()),
        (&*id, Some("agent:bob"))
    );
    assert_eq!(event.metadata.expect("metadata"), json!({"k": "v"}).into());
    assert!(to_bob.send(json!({"task": 7})).await.success);
    let event = stage.heard_once_by(&["bob"]).await?;
    check_event(&event, "direct.message.received", "content message_id sender_id");

    let free = stage
        .agent("alice")
        .send_agent_message("bob", json!({"text": "free", "n": 1}))
        .await;
    assert!(free.success);
    let event = stage.heard_once_by(&["bob"]).await?;
    check_event(&event, "agent.message", "n text");
    assert_eq!(event.text(), Some("free"));
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn a_conversation_is_edited_deleted_and_replied_to_by_its_two_sides() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob", "carol"]).await?;
    let (alice, bob) = (stage.agent("alice"), stage.agent("bob"));
    let id = alice
        .workspace()
        .agent("bob")
        .send("helo")
        .await
        .message_id()
        .expect("accepted")
        .to_owned();
    stage.heard().await?;
    let any = alice.workspace().channel("general");
    assert!(any.edit(&id, "hello").await.success);
    let event = stage.heard_once_by(&["bob"]).await?;
    check_event(&event, "direct.message.edited", "content message_id sender_id");
    let mut reply = Event::new("direct.message.received")
        .to("agent:alice")
        .payload(json!({"content": "hello yourself"}));
    reply.reply_to_id = Some(id.clone());
    assert!(bob.send_event(reply).await.success);
    let event = stage.heard_once_by(&["alice"]).await?;
    let keys = "content message_id parent_id reply_to_id sender_id text thread_id";
    check_event(&event, "direct.message.received", keys);
    assert!(any.delete_message(&id).await.success);
    let event = stage.heard_once_by(&["bob"]).await?;
    check_event(&event, "direct.message.deleted", "agent_id message_id");
    let texts = |messages: Vec<Message>| -> Vec<String> {
        messages
            .iter()
            .filter_map(|message| message.text().map(str::to_owned))
            .collect()
    };
    for (client, other) in [(&alice, "bob"), (&bob, "alice")] {
        let history = client.workspace().agent(other).get_messages(10).await?;
        assert_eq!(texts(history), ["hello yourself"]);
    }
    let carols = stage
        .agent("carol")
        .workspace()
        .agent("bob")
        .get_messages(10)
        .await?;
    assert!(carols.is_empty());
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn conversations_are_listed_with_what_is_unread() -> anyhow::Result<()> {
    let stage = Stage::of(&["alice", "bob", "carol"]).await?;
    let (bob, carol) = (stage.agent("bob"), stage.agent("carol"));
    stage.agent("alice").disconnect().await;
    for text in ["one", "two"] {
        assert!(bob.workspace().agent("alice").send(text).await.success);
    }
    assert!(carol.workspace().agent("alice").send("three").await.success);

    // A session that takes nothing yet leaves everything unread.
    let alice = openagents_client::AgentClient::new("alice");
    alice
        .connect_to_server("127.0.0.1", stage.workspace().port())
        .await?;
    let conversations = alice.workspace().conversations(10).await?;
    let shown: Vec<_> = conversations
        .iter()
        .map(|one| {
            (
                one.agent_id.as_str(),
                one.unread,
                one.last_message.as_ref().and_then(Message::text),
            )
        })
        .collect();
    assert_eq!(shown, [("carol", 1, Some("three")), ("bob", 2, Some("two"))]);
    assert_eq!(
        keys(&serde_json::to_value(&conversations[0])?),
        "agent_id last_message unread"
    );
    let read = alice.wait_event(|event| event.text() == Some("three"), openagents_e2e::SOON);
    assert!(read.await.is_some());
    alice.disconnect().await;

    alice
        .connect_to_server("127.0.0.1", stage.workspace().port())
        .backlog(Backlog::None)
        .await?;
    let first = alice
        .call(ListConversations {
            limit: Some(1),
            before: None,
        })
        .await?;
    assert_eq!((first.conversations[0].unread, first.has_more), (0, true));
    let before = first.conversations[0]
        .last_message
        .as_ref()
        .map(|message| message.sequence.get());
    let rest = alice
        .call(ListConversations {
            limit: Some(1),
            before,
        })
        .await?;
    assert_eq!(
        (rest.conversations[0].agent_id.as_str(), rest.has_more),
        ("bob", false)
    );
    assert_eq!(bob.workspace().conversations(10).await?.len(), 1);
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn what_waits_for_an_agent_is_told_to_the_sender() -> anyhow::Result<()> {
    let stage = Stage::of(&["alice", "bob"]).await?;
    stage.agent("bob").disconnect().await;
    let to_bob = stage.agent("alice").workspace().agent("bob");
    for unread in 1..=3 {
        let sent = to_bob.send("for later").await.data.expect("accepted");
        let told = serde_json::to_value(&sent.recipients[0])?;
        assert_eq!(keys(&told), "agent_id last_seen state unread");
        assert_eq!(
            (&told["state"], &told["unread"]),
            (&json!("away"), &json!(unread))
        );
    }
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn nobody_is_written_to_in_vain() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob"]).await?;
    let alice = stage.agent("alice");
    let refused = alice.workspace().agent("nobody").send("hello?").await;
    let error = refused.error.expect("refused");
    assert!(!refused.success && refused.data.is_none());
    assert_eq!(
        (error.code.as_str(), error.field.as_deref()),
        ("agent_not_found", Some("destination_id"))
    );
    let refused = alice
        .send_agent_message("nobody", json!({}))
        .await
        .error
        .expect("refused");
    assert_eq!(refused.code.as_str(), "agent_not_found");
    let unknown = ListMessages {
        agent_id: Some("nobody".to_owned()),
        ..Default::default()
    };
    assert_eq!(
        alice.call(unknown).await.expect_err("unknown").code(),
        "agent_not_found"
    );
    for payload in [json!([]), json!("text"), json!(7)] {
        let refused = alice
            .send_agent_message("bob", payload)
            .await
            .error
            .expect("refused");
        assert_eq!(
            (refused.code.as_str(), refused.field.as_deref()),
            ("invalid_field", Some("payload"))
        );
    }
    stage.silence().await?;
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn direct_messages_over_rest() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["bob"]).await?;
    let workspace = stage.workspace();
    let rest = |method, path: &str, agent: &str| workspace.request(method, path, agent);
    let sent = rest("POST", "agents/bob/messages", "alice")
        .json(&json!({"content": "hello"}))
        .send()
        .await?
        .ok()?;
    assert_eq!(sent["data"]["recipients"][0]["state"], "live");
    let page = rest("GET", "agents/alice/messages", "bob").send().await?.ok()?;
    assert_eq!(page["messages"][0]["target_id"], "bob");
    let listed = rest("GET", "conversations", "alice").send().await?.ok()?;
    assert_eq!(listed["conversations"][0]["agent_id"], "bob");
    let events = rest("GET", "events?after=0", "bob").send().await?.ok()?;
    let direct = events["events"].as_array().into_iter().flatten();
    assert_eq!(
        direct
            .filter(|event| event["event_name"] == "direct.message.received")
            .count(),
        1
    );
    let nothing = rest("GET", "agents/alice/messages", "mallory")
        .send()
        .await?
        .ok()?;
    assert_eq!(nothing["messages"], json!([]));
    let refused = rest("POST", "agents/nobody/messages", "alice")
        .json(&json!({"content": "?"}))
        .send()
        .await?;
    assert_eq!(
        refused.refusal()?,
        (
            404,
            openagents_protocol::ErrorCode::AgentNotFound,
            Some("agent_id".into())
        )
    );
    assert_eq!(stage.heard().await?["bob"].len(), 1);
    stage.end().await;
    Ok(())
}
