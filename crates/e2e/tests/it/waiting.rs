//! Waiting: every call that waits, for an answer that the very request triggers.

use std::time::Duration;

use openagents_client::{AgentClient, Event, ReactAction};
use openagents_e2e::{SOON, Stage, Workspace};
use serde_json::json;

/// How often each wait is tried: an answer that is too fast for it would show.
const TIMES: usize = 50;

/// A workspace with somebody who asks, and somebody who does what is asked from inside a handler.
async fn scene() -> anyhow::Result<(Workspace, AgentClient)> {
    let workspace = Workspace::serve().await?;
    let asker = workspace.join("asker").await?;
    let helper = workspace.join("helper").await?;
    let answering = helper.clone();
    helper.register_event_handler(
        ["direct.message.*", "channel.message.*", "agent.message"],
        move |event: Event| {
            let helper = answering.clone();
            async move { answer(&helper, &event).await }
        },
    )?;
    Ok((workspace, asker))
}

async fn answer(helper: &AgentClient, event: &Event) {
    let general = helper.workspace().channel("general");
    let back = helper.workspace().agent(&event.source_id);
    let done = match event.text().unwrap_or_default() {
        "post, please" => general.post("posted").await,
        "react, please" => general.react(&event.event_id, "thumbsup").await,
        "take it back, please" => {
            general.react(&event.event_id, "thumbsup").await;
            general
                .react_to_message(&event.event_id, "thumbsup", ReactAction::Remove)
                .await
        }
        "reply, please" => general.reply(&event.event_id, "a reply").await,
        "freely, please" => {
            helper
                .send_agent_message(&event.source_id, json!({"text": "a free answer"}))
                .await
        }
        "noise first, please" => {
            general.post("noise").await;
            general.reply(&event.event_id, "after the noise").await
        }
        _ => back.send(json!({"text": "an answer", "n": 1})).await,
    };
    assert!(done.success, "{done:?}");
}

#[tokio::test]
async fn send_and_wait_gives_the_answer_with_its_text_at_both_levels() -> anyhow::Result<()> {
    let (workspace, asker) = scene().await?;
    let helper = asker.workspace().agent("helper");
    for _ in 0..TIMES {
        let answer = helper.send_and_wait("where?", SOON).await.expect("an answer");
        assert_eq!(answer.payload["text"], "an answer");
        assert_eq!(answer.payload["content"], json!({"text": "an answer", "n": 1}));
    }
    let answer = helper
        .send_and_wait("freely, please", SOON)
        .await
        .expect("an answer");
    assert_eq!(
        (answer.event_name.as_str(), answer.text()),
        ("agent.message", Some("a free answer"))
    );
    let nobody = asker
        .workspace()
        .agent("nobody")
        .send_and_wait("hello?", SOON)
        .await;
    assert!(nobody.is_none(), "at once, since nobody will answer");
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn several_questions_to_one_agent_get_their_own_answers() -> anyhow::Result<()> {
    let workspace = Workspace::serve().await?;
    let asker = workspace.join("asker").await?;
    let helper = workspace.join("helper").await?;
    let answering = helper.clone();
    helper.register_event_handler("direct.*", move |event: Event| {
        let helper = answering.clone();
        async move {
            let text = event.text().unwrap_or_default().to_owned();
            helper.workspace().agent(&event.source_id).send(text).await;
        }
    })?;
    let questions = (0..100).map(|number| {
        let asker = asker.clone();
        async move {
            let answer = asker
                .workspace()
                .agent("helper")
                .send_and_wait(number.to_string(), SOON)
                .await;
            assert_eq!(
                answer.expect("an answer").text(),
                Some(number.to_string().as_str())
            );
        }
    });
    futures_util::future::join_all(questions).await;
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn only_a_reply_to_that_post_ends_post_and_wait() -> anyhow::Result<()> {
    let (workspace, asker) = scene().await?;
    let general = asker.workspace().channel("general");
    for _ in 0..TIMES {
        let reply = general
            .post_and_wait("noise first, please", SOON)
            .await
            .expect("a reply");
        assert_eq!(
            (reply.text(), reply.channel.as_deref()),
            (Some("after the noise"), Some("general"))
        );
    }
    let mut both = Vec::new();
    for text in ["reply, please", "noise first, please"] {
        both.push(general.post_and_wait(text, SOON));
    }
    let replies = futures_util::future::join_all(both).await;
    let texts: Vec<_> = replies
        .iter()
        .flatten()
        .filter_map(|reply| reply.text())
        .collect();
    assert_eq!(texts, ["a reply", "after the noise"]);
    let nowhere = asker
        .workspace()
        .channel("bad\nname")
        .post_and_wait("?", SOON)
        .await;
    assert!(nowhere.is_none(), "at once, since it was refused");
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn waits_after_a_post_find_what_came_before_them() -> anyhow::Result<()> {
    let (workspace, asker) = scene().await?;
    let general = asker.workspace().channel("general");
    let helper = asker.workspace().agent("helper");
    for _ in 0..TIMES {
        let id = general
            .post("reply, please")
            .await
            .message_id()
            .expect("accepted")
            .to_owned();
        let reply = general.wait_for_reply(&id, SOON).await.expect("a reply");
        assert_eq!(reply.reply_to_id.as_deref(), Some(&*id));

        let id = general
            .post("react, please")
            .await
            .message_id()
            .expect("accepted")
            .to_owned();
        let reaction = general.wait_for_reaction(&id, SOON).await.expect("a reaction");
        assert_eq!(
            (&reaction.payload["reaction"], &reaction.payload["agent_id"]),
            (&json!("thumbsup"), &json!("helper"))
        );

        assert!(general.post("post, please").await.success);
        let post = general.wait_for_post(None, SOON).await.expect("a post");
        assert_eq!((post.sender_id.as_str(), post.text()), ("helper", Some("posted")));

        assert!(helper.send("where?").await.success);
        let message = helper.wait_for_message(SOON).await.expect("a message");
        assert_eq!(message.text(), Some("an answer"));

        assert!(helper.send("where?").await.success);
        let event = asker
            .wait_event(|event| event.matches_pattern("direct.*"), SOON)
            .await;
        assert_eq!(event.expect("an event").source_id, "helper");
    }
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_wait_is_for_what_it_says_and_nothing_else() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob", "carol"]).await?;
    let general = |agent: &str| stage.agent(agent).workspace().channel("general");
    let (alice, bob, carol) = (general("alice"), general("bob"), general("carol"));
    let elsewhere = stage.agent("bob").workspace().create_channel("dev", "").await?;
    let waiting = async { alice.wait_for_post(Some("agent:bob"), SOON).await };
    let posting = async {
        assert!(alice.post("my own").await.success);
        assert!(carol.post("of carol").await.success);
        assert!(elsewhere.post("in another channel").await.success);
        assert!(
            stage
                .agent("bob")
                .workspace()
                .agent("alice")
                .send("direct")
                .await
                .success
        );
        assert!(bob.post("of bob in general").await.success);
    };
    let (found, ()) = tokio::join!(waiting, posting);
    assert_eq!(found.expect("a post").text(), Some("of bob in general"));

    let first = alice
        .post("first")
        .await
        .message_id()
        .expect("accepted")
        .to_owned();
    let second = alice
        .post("second")
        .await
        .message_id()
        .expect("accepted")
        .to_owned();
    let waiting = async { alice.wait_for_reply(&second, SOON).await };
    let replying = async {
        assert!(bob.reply(&first, "to the first").await.success);
        assert!(bob.react(&second, "ok").await.success);
        assert!(alice.reply(&second, "my own").await.success);
        assert!(bob.reply(&second, "to the second").await.success);
    };
    let (found, ()) = tokio::join!(waiting, replying);
    assert_eq!(found.expect("a reply").text(), Some("to the second"));

    let waiting = async { alice.wait_for_reaction(&first, SOON).await };
    let reacting = async {
        assert!(
            bob.react_to_message(&second, "ok", ReactAction::Remove)
                .await
                .success
        );
        assert!(alice.react(&first, "own").await.success);
        assert!(carol.react(&first, "yes").await.success);
    };
    let (found, ()) = tokio::join!(waiting, reacting);
    assert_eq!(found.expect("a reaction").payload["reaction"], "yes");
    stage.heard().await?;
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn a_wait_that_nothing_answers_ends_with_nothing() -> anyhow::Result<()> {
    let stage = Stage::of(&["alice", "bob"]).await?;
    let alice = stage.agent("alice");
    let general = alice.workspace().channel("general");
    let soon = Duration::from_millis(1);
    assert!(alice.wait_event(|_| false, soon).await.is_none());
    assert!(general.wait_for_post(None, soon).await.is_none());
    assert!(general.wait_for_reply("m", soon).await.is_none());
    assert!(general.wait_for_reaction("m", soon).await.is_none());
    assert!(general.post_and_wait("anybody?", soon).await.is_none());
    assert!(
        alice
            .workspace()
            .agent("bob")
            .wait_for_message(soon)
            .await
            .is_none()
    );
    assert!(
        alice
            .workspace()
            .agent("bob")
            .send_and_wait("you?", soon)
            .await
            .is_none()
    );
    stage.end().await;
    Ok(())
}
