//! What happens to messages after they were sent.

use openagents_protocol::call::{
    DeleteMessage, EditMessage, LeaveChannel, ListConversations, ListMessages, Message, React, ReactAction,
};
use openagents_protocol::record::Role;
use openagents_protocol::{ErrorCode, Event, EventId, Visibility};
use openagents_workspace::Caller;
use serde_json::json;

use crate::room::{Room, assert_nowhere, caller, post};

fn member(agent_id: &str) -> Caller {
    Caller::new(agent_id.parse().unwrap(), Role::Member)
}

fn reply(text: &str, to: &EventId) -> Event {
    let mut event = Event::new("channel.message.replied").to("channel:general");
    event.reply_to_id = Some(to.to_string());
    event.payload(json!({"content": text}))
}

impl Room {
    async fn messages(&self, reader: &str) -> Vec<Message> {
        let params = ListMessages {
            channel: Some("general".to_owned()),
            ..Default::default()
        };
        let page = self.workspace.list_messages(&caller(reader), params).await;
        page.unwrap().messages
    }

    async fn react(&self, agent: &str, message_id: &EventId, reaction: &str, action: ReactAction) -> bool {
        let params = React {
            message_id: message_id.clone(),
            reaction: reaction.to_owned(),
            action,
        };
        let receipt = self.workspace.react(&member(agent), params).await.unwrap();
        receipt.sequence.is_some()
    }

    async fn react_in_vain(&self, agent: &str, message_id: &EventId, reaction: &str) -> ErrorCode {
        let params = React {
            message_id: message_id.clone(),
            reaction: reaction.to_owned(),
            action: ReactAction::Add,
        };
        let refused = self.workspace.react(&member(agent), params).await;
        refused.unwrap_err().code
    }

    /// Carol may not know of a message.
    async fn refuse_carol(&self, id: &EventId) {
        let unknown = ErrorCode::MessageNotFound;
        assert_eq!(self.react_in_vain("carol", id, "eyes").await, unknown);
        assert_eq!(self.edit("carol", id, "mine").await, Err(unknown));
        assert_eq!(self.delete(&member("carol"), id).await, Err(unknown));
        let reply = self.publish("carol", reply("what?", id)).await;
        assert_eq!(reply.unwrap_err().code, unknown);
        assert_eq!(self.message("carol", id).await.unwrap_err(), unknown);
    }

    async fn edit(&self, agent: &str, message_id: &EventId, text: &str) -> Result<(), ErrorCode> {
        let params = EditMessage {
            message_id: message_id.clone(),
            content: json!(text).into(),
        };
        let edited = self.workspace.edit_message(&member(agent), params).await;
        edited.map(drop).map_err(|error| error.code)
    }

    async fn delete(&self, who: &Caller, message_id: &EventId) -> Result<(), ErrorCode> {
        let message_id = message_id.clone();
        let deleted = self
            .workspace
            .delete_message(who, DeleteMessage { message_id })
            .await;
        deleted.map(drop).map_err(|error| error.code)
    }
}

#[tokio::test]
async fn reactions_are_counted_once_for_each_agent_and_told_to_others() {
    let room = Room::open().await;
    let mut alice = room.attach("alice").await;
    let id = room.post("alice", "lunch?").await.message_id;
    assert!(room.react("bob", &id, ":thumbsup:", ReactAction::Add).await);
    assert!(!room.react("bob", &id, "thumbsup", ReactAction::Add).await);
    assert!(room.react("carol", &id, "thumbsup", ReactAction::Add).await);
    assert!(room.react("carol", &id, "🎉", ReactAction::Add).await);
    assert!(room.react("bob", &id, "thumbsup", ReactAction::Remove).await);
    assert!(!room.react("bob", &id, "thumbsup", ReactAction::Remove).await);

    let told = alice.texts(4).await;
    let expected = [
        "workspace.reaction.added",
        "workspace.reaction.added",
        "workspace.reaction.added",
        "workspace.reaction.removed",
    ];
    assert_eq!(told, expected);
    let reopened = room.reopen().await;
    let reactions = reopened.messages("alice").await.remove(0).reactions;
    let shown: Vec<_> = reactions
        .iter()
        .map(|reaction| {
            (
                reaction.reaction.as_str(),
                reaction.count,
                reaction.agents.join(" "),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [("thumbsup", 1, "carol".to_owned()), ("🎉", 1, "carol".to_owned())]
    );
    assert!(!reopened.react("carol", &id, "🎉", ReactAction::Add).await);
}

#[tokio::test]
async fn a_reaction_to_a_direct_message_goes_to_the_other_side() {
    let room = Room::open().await;
    let mut alice = room.attach("alice").await;
    let mut bob = room.attach("bob").await;
    let id = room.tell("alice", "bob", "hello").await.message_id;
    assert_eq!(bob.text().await, "hello");
    room.react("bob", &id, "wave", ReactAction::Add).await;
    room.react("alice", &id, "smile", ReactAction::Add).await;
    alice.text().await;
    let got = alice.read().await;
    assert_eq!(got.payload["reaction"], "wave");
    assert_eq!(got.payload["agent_id"], "bob");
    assert_eq!(bob.read().await.payload["reaction"], "smile");
    let refused = room.react_in_vain("mallory", &id, "eyes").await;
    assert_eq!(refused, ErrorCode::MessageNotFound);
}

#[tokio::test]
async fn an_agent_has_so_many_reactions_to_a_message_and_no_more() {
    let room = Room::open().await;
    let id = room.post("alice", "vote").await.message_id;
    for number in 0..20 {
        assert!(
            room.react("bob", &id, &format!("r{number}"), ReactAction::Add)
                .await
        );
    }
    assert_eq!(
        room.react_in_vain("bob", &id, "more").await,
        ErrorCode::LimitReached
    );
    assert!(
        !room.react("bob", &id, "r7", ReactAction::Add).await,
        "it is there already"
    );
    assert!(room.react("carol", &id, "more", ReactAction::Add).await);
    let room = room.reopen().await;
    assert_eq!(
        room.react_in_vain("bob", &id, "more").await,
        ErrorCode::LimitReached
    );
    assert!(room.react("bob", &id, "r7", ReactAction::Remove).await);
    assert!(room.react("bob", &id, "more", ReactAction::Add).await);
}

#[tokio::test]
async fn what_is_restricted_stays_so_whatever_is_said_of_it_later() {
    let room = Room::open().await;
    let mut bob = room.attach("bob").await;
    let mut carol = room.attach("carol").await;
    bob.read().await;
    let secret = || {
        let mut secret = post("for bob");
        secret.visibility = Visibility::Restricted;
        secret.allowed_agents = Some(vec!["bob".to_owned()]);
        secret
    };
    let id = room.publish("alice", secret()).await.unwrap().message_id;
    let mut alice = room.attach("alice").await;
    room.refuse_carol(&id).await;
    assert!(room.react("bob", &id, "ok", ReactAction::Add).await);
    assert_eq!(room.edit("alice", &id, "still for bob").await, Ok(()));
    assert_eq!(room.delete(&member("alice"), &id).await, Ok(()));
    room.post("dave", "for everybody").await;
    assert_eq!(carol.text().await, "agent.joined", "alice, and nothing else");
    assert_eq!(carol.text().await, "for everybody");
    let names = bob.texts(5).await;
    let expected = [
        "for bob",
        "agent.joined",
        "still for bob",
        "channel.message.deleted",
        "for everybody",
    ];
    assert_eq!(names, expected);
    assert_eq!(
        alice.text().await,
        "workspace.reaction.added",
        "the author is told"
    );
}

#[tokio::test]
async fn who_is_not_in_the_channel_is_not_mentioned_and_nobody_is_in_a_conversation() {
    let room = Room::open().await;
    let mut bob = room.attach("bob").await;
    room.attach("carol").await;
    let leave = LeaveChannel {
        channel: "general".to_owned(),
    };
    room.workspace
        .leave_channel(&member("carol"), leave)
        .await
        .unwrap();
    let posted = room
        .post("alice", "@bob and @carol, and mail carol@example.org")
        .await;
    let told: Vec<_> = posted
        .recipients
        .iter()
        .map(|recipient| recipient.agent_id.as_str())
        .collect();
    assert_eq!(told, ["bob"]);
    assert_eq!(
        room.message("bob", &posted.message_id).await.unwrap().mentions,
        ["bob"]
    );
    let direct = room.tell("alice", "bob", "@bob and @carol").await;
    assert_eq!(direct.recipients.len(), 1);
    while bob.text().await != "@bob and @carol" {}
    let mentioned = room.message("bob", &direct.message_id).await.unwrap().mentions;
    assert!(mentioned.is_empty());
}

#[tokio::test]
async fn authors_delete_what_they_cannot_read_any_more() {
    let room = Room::open().await;
    let id = room.post("alice", "oops").await.message_id;
    let leave = LeaveChannel {
        channel: "general".to_owned(),
    };
    room.workspace
        .leave_channel(&member("alice"), leave)
        .await
        .unwrap();
    assert_eq!(
        room.edit("alice", &id, "no").await,
        Err(ErrorCode::MessageNotFound)
    );
    assert_eq!(room.delete(&member("alice"), &id).await, Ok(()));
    assert!(room.messages("bob").await.is_empty());
}

#[tokio::test]
async fn only_the_author_edits_and_history_has_the_new_content_under_the_old_id() {
    let room = Room::open().await;
    let mut bob = room.attach("bob").await;
    let id = room.post("alice", "teh plan").await.message_id;
    assert_eq!(room.edit("bob", &id, "mine").await, Err(ErrorCode::Forbidden));
    assert_eq!(room.edit("alice", &id, "the plan").await, Ok(()));
    bob.text().await;
    let edited = bob.read().await;
    assert_eq!(edited.event_name, "channel.message.edited");
    assert_eq!(edited.payload["message_id"], id.as_str());
    assert_eq!(edited.payload["content"]["text"], "the plan");
    for room in [room] {
        let message = room.messages("bob").await.remove(0);
        assert_eq!(
            (message.text(), &message.message_id),
            (Some("the plan"), &id.to_string())
        );
        assert!(message.edited_at.is_some());
        let room = room.reopen().await;
        assert_eq!(room.messages("bob").await[0].text(), Some("the plan"));
    }
}

#[tokio::test]
async fn deleted_messages_are_gone_from_history_catch_up_and_disk() {
    let room = Room::open().await;
    room.post("bob", "kept").await;
    let mut titled = post("the first secret");
    titled.thread_name = Some("A secret matter".to_owned());
    let id = room.publish("alice", titled).await.unwrap().message_id;
    assert_eq!(room.edit("alice", &id, "the second secret").await, Ok(()));
    assert_eq!(room.delete(&member("bob"), &id).await, Err(ErrorCode::Forbidden));
    assert_eq!(room.delete(&member("alice"), &id).await, Ok(()));
    assert_eq!(
        room.delete(&member("alice"), &id).await,
        Err(ErrorCode::MessageNotFound)
    );
    assert_eq!(
        room.edit("alice", &id, "back").await,
        Err(ErrorCode::MessageNotFound)
    );
    let left: Vec<_> = room.messages("bob").await;
    assert_eq!(left.len(), 1);

    // Who comes back gets the deletion, and the message without its content.
    let mut bob = room.attach("bob").await;
    let mut names = Vec::new();
    for _ in 0..3 {
        let event = bob.read().await;
        assert!(!event.payload.to_string().contains("secret"), "{event:?}");
        names.push(event.event_name);
    }
    assert_eq!(
        names,
        [
            "channel.message.posted",
            "channel.message.edited",
            "channel.message.deleted"
        ]
    );
    let room = room
        .reopen_after(async |directory, _| assert_nowhere(directory, b"secret"))
        .await;
    assert_eq!(room.messages("bob").await.len(), 1);
    let moderated = room.post("bob", "rude").await.message_id;
    assert_eq!(room.delete(&caller("moderator"), &moderated).await, Ok(()));
}

#[tokio::test]
async fn a_thread_is_read_by_its_first_message_and_counted_with_it() {
    let room = Room::open().await;
    let question = room.post("alice", "question").await.message_id;
    let first = room
        .publish("bob", reply("one", &question))
        .await
        .unwrap()
        .message_id;
    room.publish("carol", reply("two", &first)).await.unwrap();
    room.post("dave", "beside").await;
    for room in [room.reopen().await] {
        let params = ListMessages {
            thread_id: Some(question.clone()),
            after: Some(0),
            ..Default::default()
        };
        let thread = room
            .workspace
            .list_messages(&caller("bob"), params)
            .await
            .unwrap();
        let texts: Vec<_> = thread.messages.iter().filter_map(Message::text).collect();
        assert_eq!(texts, ["one", "two"]);
        assert_eq!(thread.messages[1].thread_id.as_deref(), Some(question.as_str()));
        assert_eq!(room.message("bob", &question).await.unwrap().reply_count, 2);
        assert_eq!(room.delete(&member("bob"), &first).await, Ok(()));
        assert_eq!(room.message("bob", &question).await.unwrap().reply_count, 1);
        let room = room.reopen().await;
        assert_eq!(room.message("bob", &question).await.unwrap().reply_count, 1);
        assert_eq!(room.delete(&member("alice"), &question).await, Ok(()));
        let replies = ListMessages {
            thread_id: Some(question.clone()),
            ..Default::default()
        };
        for room in [room.reopen().await] {
            let left = room
                .workspace
                .list_messages(&caller("bob"), replies.clone())
                .await;
            assert_eq!(left.unwrap().messages.len(), 1, "the replies stay");
        }
    }
}

#[tokio::test]
async fn conversations_show_the_newest_first_with_what_is_unread() {
    let room = Room::open().await;
    let mut alice = room.attach("alice").await;
    room.attach("bob").await;
    room.tell("bob", "alice", "one").await;
    let read = room.tell("carol", "alice", "two").await.sequence.unwrap();
    while alice.read().await.sequence != Some(read) {}
    alice.session.acknowledge(read);
    room.tell("bob", "alice", "three").await;
    room.tell("bob", "alice", "four").await;
    room.tell("alice", "bob", "five").await;
    let room = room.reopen().await;
    room.tell("bob", "alice", "six").await;
    let params = ListConversations::default();
    let found = room
        .workspace
        .list_conversations(&caller("alice"), params)
        .await
        .unwrap();
    let shown: Vec<_> = found
        .conversations
        .iter()
        .map(|one| {
            (
                one.agent_id.as_str(),
                one.unread,
                one.last_message.as_ref().unwrap().text().unwrap(),
            )
        })
        .collect();
    assert_eq!(shown, [("bob", 3, "six"), ("carol", 0, "two")]);
    let limited = ListConversations {
        limit: Some(1),
        before: None,
    };
    let first = room
        .workspace
        .list_conversations(&caller("alice"), limited)
        .await
        .unwrap();
    assert!(first.has_more);
}

#[tokio::test]
async fn messages_of_others_are_not_told() {
    let room = Room::open().await;
    room.attach("bob").await;
    let id = room.tell("alice", "bob", "between us").await.message_id;
    assert_eq!(
        room.message("mallory", &id).await.unwrap_err(),
        ErrorCode::MessageNotFound
    );
    let params = ListMessages {
        thread_id: Some(id),
        ..Default::default()
    };
    let refused = room.workspace.list_messages(&caller("mallory"), params).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::MessageNotFound);
}
