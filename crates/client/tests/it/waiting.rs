use std::time::Duration;

use openagents_client::{AskError, Event};
use openagents_protocol::frame::ClientFrame;
use openagents_protocol::{ErrorBody, ErrorCode, Recipient, RecipientState};

use crate::peer::{LIMIT, Peer, direct, event, within};

const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn what_arrives_between_sending_and_waiting_is_found() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    client.register_event_handler("test.none", |_| async {}).unwrap();
    let server = async {
        let publish = line.publish().await;
        line.event(direct(4, "bob", "before the post")).await;
        line.event(direct(6, "bob", "before the acknowledgement")).await;
        line.accepted(&publish, 5).await;
        line.event(direct(7, "bob", "after it")).await;
        line.acknowledged(7).await;
    };
    let (posted, ()) = tokio::join!(
        client.workspace().channel("general").post("hello").into_future(),
        server
    );
    assert!(posted.success);
    for expected in ["before the acknowledgement", "after it"] {
        let found = client
            .wait_event(|event| event.source_id == "bob", LIMIT)
            .await
            .unwrap();
        assert_eq!(
            found.text(),
            Some(expected),
            "what stands before the post is no answer to it"
        );
    }
    assert_eq!(
        client.wait_event(|_| true, SHORT).await,
        None,
        "nothing is returned twice"
    );
}

#[tokio::test]
async fn a_wait_takes_one_of_the_events_that_come_together_and_the_next_wait_the_next() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    client.register_event_handler("test.none", |_| async {}).unwrap();
    let messages = [1, 2, 3].map(|number| direct(number, "bob", &number.to_string()));
    let (first, ()) = tokio::join!(
        client.wait_event(|event| event.source_id == "bob", LIMIT),
        line.events(messages)
    );
    line.acknowledged(3).await;
    let second = client.wait_event(|event| event.source_id == "bob", LIMIT).await;
    let third = client.wait_event(|event| event.text() == Some("3"), LIMIT).await;
    let texts = [first, second, third].map(|event| event.unwrap().text().map(str::to_owned));
    assert_eq!(texts, ["1", "2", "3"].map(|text| Some(text.to_owned())));
    assert_eq!(client.wait_event(|_| true, SHORT).await, None);
}

#[tokio::test]
async fn a_wait_looks_back_past_many_events_that_are_not_it() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    client.register_event_handler("test.none", |_| async {}).unwrap();
    line.events((1..=100).map(|number| direct(number, "bob", &number.to_string())))
        .await;
    line.acknowledged(100).await;
    let found = client.wait_event(|event| event.text() == Some("97"), LIMIT).await;
    assert_eq!(found.unwrap().event_id, direct(97, "bob", "97").event_id);
    let later = client.wait_event(|event| event.source_id == "bob", LIMIT).await;
    assert_eq!(
        later.unwrap().text(),
        Some("98"),
        "what came before the one that was returned is over"
    );
}

#[tokio::test]
async fn a_wait_is_served_while_a_handler_of_the_same_source_is_busy() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let (weak, (done, mut answers)) = (client.downgrade(), tokio::sync::mpsc::channel(1));
    client
        .register_event_handler("test.trigger", move |event: Event| {
            let (client, done) = (weak.upgrade().unwrap(), done.clone());
            async move {
                let answer = client
                    .workspace()
                    .agent(&event.source_id)
                    .send_and_wait("how?", LIMIT)
                    .await;
                done.send(answer).await.unwrap();
            }
        })
        .unwrap();
    line.event(event(1, "test.trigger", "bob")).await;
    let question = line.publish().await;
    assert_eq!(question.event.response_to.as_deref(), Some("e1"));
    assert!(question.event.requires_response);
    line.accepted(&question, 2).await;
    line.event(direct(3, "bob", "so").in_response_to(question.event.event_id))
        .await;
    let answer = within(LIMIT, answers.recv()).await.unwrap().unwrap();
    assert_eq!(answer.text(), Some("so"));
    line.acknowledged(3).await;
}

#[tokio::test]
async fn an_answer_may_come_before_the_acknowledgement() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let server = async {
        let question = line.publish().await;
        line.event(direct(9, "bob", "quick").in_response_to(question.event.event_id))
            .await;
    };
    let asking = client.workspace().agent("bob");
    let (answer, ()) = tokio::join!(asking.send_and_wait("ready?", LIMIT), server);
    assert_eq!(answer.unwrap().text(), Some("quick"));
}

#[tokio::test]
async fn an_unlinked_message_answers_the_oldest_question_after_which_it_came() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let bob = client.workspace().agent("bob");
    let server = async {
        let (first, second) = (line.publish().await, line.publish().await);
        line.event(direct(3, "bob", "too early")).await;
        line.accepted(&first, 4).await;
        line.accepted(&second, 5).await;
        line.event(direct(6, "carol", "somebody else")).await;
        let mut typing = direct(0, "bob", "typing");
        typing.sequence = None;
        line.event(typing).await;
        line.event(direct(7, "bob", "for the first").payload(serde_json::json!({"text": "for the first"})))
            .await;
        line.event(direct(8, "bob", "for the second")).await;
    };
    let (first, second, ()) = tokio::join!(bob.ask("one?", LIMIT), bob.ask("two?", LIMIT), server);
    assert_eq!(first.unwrap().text(), Some("for the first"));
    assert_eq!(second.unwrap().text(), Some("for the second"));
}

#[tokio::test]
async fn a_question_to_nobody_ends_at_once_with_the_reason() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let nobody = client.workspace().agent("nobody");
    let refuse = async |line: &mut crate::peer::Line, code| {
        let question = line.publish().await;
        line.answer(question.id, Err(ErrorBody::new(code, "no")).into())
            .await;
    };
    let (answer, ()) = tokio::join!(
        nobody.send_and_wait("?", LIMIT),
        refuse(&mut line, ErrorCode::AgentNotFound)
    );
    assert_eq!(answer, None);
    let (answer, ()) = tokio::join!(
        nobody.ask("?", LIMIT),
        refuse(&mut line, ErrorCode::AgentNotFound)
    );
    assert!(matches!(answer, Err(AskError::Unknown)));
    let (answer, ()) = tokio::join!(nobody.ask("?", LIMIT), refuse(&mut line, ErrorCode::RateLimited));
    assert_eq!(answer.unwrap_err().code(), "rate_limited");
    let unknown = async {
        let question = line.publish().await;
        let state = RecipientState::Unknown;
        let recipient = Recipient {
            agent_id: "nobody".parse().unwrap(),
            state,
            last_seen: None,
            unread: None,
        };
        line.accepted_for(&question, 5, vec![recipient]).await;
    };
    let (answer, ()) = tokio::join!(nobody.ask("?", LIMIT), unknown);
    assert!(matches!(answer, Err(AskError::Unknown)));
    let (answer, question) = tokio::join!(nobody.ask("?", SHORT), line.publish());
    assert!(matches!(answer, Err(AskError::TimedOut(_))));
    assert!(question.event.requires_response);
}

#[tokio::test]
async fn a_question_survives_a_reconnect() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let server = async {
        let question = line.publish().await;
        line.accepted(&question, 1).await;
        line.quiet().await;
        drop(line);
        let mut line = peer.welcome().await;
        line.event(direct(2, "bob", "still here").in_response_to(question.event.event_id))
            .await;
        line
    };
    let bob = client.workspace().agent("bob");
    let (answer, _line) = tokio::join!(bob.ask("there?", LIMIT), server);
    assert_eq!(answer.unwrap().text(), Some("still here"));
}

#[tokio::test]
async fn leaving_ends_every_wait() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let (general, bob) = (
        client.workspace().channel("general"),
        client.workspace().agent("bob"),
    );
    let leaving = async {
        let (first, second) = (line.publish().await, line.publish().await);
        line.accepted(&first, 1).await;
        line.accepted(&second, 2).await;
        let server = async move { while !matches!(line.next().await, Some(ClientFrame::Goodbye(_))) {} };
        tokio::join!(client.disconnect(), server).0
    };
    let (answer, reply, found, left) = tokio::join!(
        bob.ask("?", LIMIT),
        general.post_and_wait("?", LIMIT),
        client.wait_event(|_| true, LIMIT),
        leaving
    );
    assert!(left && matches!(answer, Err(AskError::Disconnected)) && reply.is_none() && found.is_none());
}

#[tokio::test]
async fn only_a_reply_to_the_post_ends_the_wait_for_it() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let general = client.workspace().channel("general");
    let server = async {
        let post = line.publish().await;
        line.accepted(&post, 1).await;
        let reply = |sequence, channel: &str, to: &str| {
            let payload =
                serde_json::json!({"channel": channel, "content": {"text": format!("reply {sequence}")}});
            let mut reply =
                event(sequence, "channel.message.replied", "bob").to(format!("channel:{channel}"));
            reply.reply_to_id = Some(to.to_owned());
            reply.payload(payload)
        };
        line.event(event(2, "channel.message.posted", "bob").to("channel:general"))
            .await;
        line.event(reply(3, "general", "another")).await;
        line.event(reply(4, "random", &post.event.event_id)).await;
        line.event(reply(5, "general", &post.event.event_id)).await;
        post.event.event_id
    };
    let (reply, post) = tokio::join!(general.post_and_wait("who?", LIMIT), server);
    let reply = reply.unwrap();
    assert_eq!(
        (reply.text(), reply.sender_id.as_str(), reply.sequence.get()),
        (Some("reply 5"), "bob", 5)
    );
    assert_eq!(
        (reply.channel.as_deref(), reply.reply_to_id),
        (Some("general"), Some(post))
    );
}

#[tokio::test]
async fn waits_for_posts_pass_over_ones_own_and_those_of_others() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let general = client.workspace().channel("general");
    let post = |sequence, source| event(sequence, "channel.message.posted", source).to("channel:general");
    let server = async {
        line.event(post(1, "me")).await;
        line.event(post(2, "carol")).await;
        line.event(post(3, "bob")).await;
    };
    let (found, ()) = tokio::join!(general.wait_for_post(Some("agent:bob"), LIMIT), server);
    assert_eq!(found.unwrap().message_id, "e3");
    let (found, ()) = tokio::join!(general.wait_for_reply("e3", LIMIT), async {
        let mut reply = event(4, "channel.message.replied", "carol").to("channel:general");
        reply.reply_to_id = Some("e3".into());
        line.event(reply).await;
    });
    assert_eq!(found.unwrap().message_id, "e4");
    let bob = client.workspace().agent("bob");
    let (found, ()) = tokio::join!(bob.wait_for_message(LIMIT), async {
        line.event(direct(5, "carol", "no")).await;
        line.event(direct(6, "bob", "yes")).await;
    });
    assert_eq!(found.unwrap().text(), Some("yes"));
}

#[tokio::test]
async fn a_condition_that_panics_stops_nobody() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let server = async {
        line.event(direct(1, "bob", "hello")).await;
        line.acknowledged(1).await;
    };
    let broken = client.wait_event(|event| panic!("at {}", event.event_id), SHORT);
    let (found, broken, ()) = tokio::join!(client.wait_event(|_| true, LIMIT), broken, server);
    assert!(found.is_some() && broken.is_none());
}
