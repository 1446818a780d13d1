//! What the operator decides: limits, rules of channels, and what messages may say.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openagents_protocol::call::{
    ChannelInfo, ChannelSettings, CreateChannel, EditMessage, JoinChannel, LeaveChannel, React, ReactAction,
    Unblock,
};
use openagents_protocol::record::Role;
use openagents_protocol::{Draft, ErrorCode, Event, EventId, Receipt};
use openagents_workspace::{Caller, Clock, ConfiguredChannel, NewFile, Settings};
use serde_json::json;

use crate::room::{Room, post};

fn member(agent_id: &str) -> Caller {
    Caller::new(agent_id.parse().unwrap(), Role::Member)
}

fn moderator() -> Caller {
    Caller::new("moderator".parse().unwrap(), Role::Moderator)
}

fn configured(name: &str, settings: ChannelSettings) -> ConfiguredChannel {
    ConfiguredChannel {
        settings,
        ..ConfiguredChannel::new(name.parse().unwrap())
    }
}

fn moderated() -> ChannelSettings {
    ChannelSettings {
        moderated: Some(true),
        ..Default::default()
    }
}

impl Room {
    async fn with_channel(settings: ChannelSettings) -> Self {
        Self::open_with(|wanted| wanted.channels.push(configured("desk", settings))).await
    }

    async fn send_as(&self, who: &Caller, event: Event) -> Result<Receipt, ErrorCode> {
        let outcome = self.workspace.publish(who, Draft::parse(event).unwrap()).await;
        outcome.map_err(|error| error.code)
    }

    async fn join(&self, agent_id: &str) -> Result<ChannelInfo, ErrorCode> {
        let channel = "desk".to_owned();
        let who = member(agent_id);
        let joined = self.workspace.join_channel(&who, JoinChannel { channel });
        joined.await.map_err(|error| error.code)
    }

    async fn react_as(&self, who: &Caller, message_id: &EventId) -> Result<Receipt, ErrorCode> {
        let params = React {
            message_id: message_id.clone(),
            reaction: "eyes".to_owned(),
            action: ReactAction::Add,
        };
        self.workspace
            .react(who, params)
            .await
            .map_err(|error| error.code)
    }

    async fn edit_as(&self, who: &Caller, message_id: &EventId, text: &str) -> Result<Receipt, ErrorCode> {
        let params = EditMessage {
            message_id: message_id.clone(),
            content: json!(text).into(),
        };
        self.workspace
            .edit_message(who, params)
            .await
            .map_err(|error| error.code)
    }

    async fn upload_as(&self, who: &Caller, channel: &str) -> Result<(), ErrorCode> {
        let new = NewFile {
            filename: "a.txt".to_owned(),
            channel: Some(channel.to_owned()),
            ..NewFile::default()
        };
        let upload = self
            .workspace
            .begin_upload(who, new)
            .await
            .map_err(|error| error.code)?;
        upload.finish(None).await.map(drop).map_err(|error| error.code)
    }
}

fn at_desk(text: &str) -> Event {
    post(text).to("channel:desk")
}

#[tokio::test]
async fn a_channel_with_a_limit_has_those_members_that_join_and_no_more() {
    let room = Room::with_channel(ChannelSettings {
        max_members: Some(2),
        ..Default::default()
    })
    .await;
    for agent_id in ["ana", "bob", "cleo"] {
        room.attach(agent_id).await;
    }
    assert_eq!(
        room.send_as(&member("ana"), at_desk("me?")).await,
        Err(ErrorCode::NotAMember)
    );
    assert_eq!(room.join("ana").await.unwrap().members, 1);
    assert_eq!(room.join("bob").await.unwrap().members, 2);
    assert_eq!(room.join("cleo").await, Err(ErrorCode::LimitReached));
    assert_eq!(
        room.join("bob").await.unwrap().members,
        2,
        "who is inside stays there"
    );
    room.send_as(&member("ana"), at_desk("me!")).await.unwrap();

    let room = room.reopen().await;
    assert_eq!(room.join("cleo").await, Err(ErrorCode::LimitReached));
    let channel = "desk".to_owned();
    room.workspace
        .leave_channel(&member("bob"), LeaveChannel { channel })
        .await
        .unwrap();
    assert_eq!(room.join("cleo").await.unwrap().members, 2);
}

#[tokio::test]
async fn who_limits_the_members_of_its_channel_stays_inside() {
    let room = Room::open().await;
    room.attach("bob").await;
    let (name, description) = ("desk".to_owned(), String::new());
    let ana = member("ana");
    let made = room
        .workspace
        .create_channel(&ana, CreateChannel { name, description });
    assert_eq!(made.await.unwrap().members, 2);
    let limited = openagents_protocol::call::ConfigureChannel {
        channel: "desk".to_owned(),
        settings: ChannelSettings {
            max_members: Some(1),
            ..Default::default()
        },
    };
    room.workspace
        .configure_channel(&member("ana"), limited)
        .await
        .unwrap();
    room.send_as(&member("ana"), at_desk("alone")).await.unwrap();
    assert_eq!(
        room.send_as(&member("bob"), at_desk("me?")).await,
        Err(ErrorCode::NotAMember)
    );
    let room = room.reopen().await;
    room.send_as(&member("ana"), at_desk("still alone"))
        .await
        .unwrap();
}

#[tokio::test]
async fn messages_of_a_moderated_channel_wait_for_a_moderator() {
    let room = Room::with_channel(moderated()).await;
    let mut bob = room.attach("bob").await;
    let own = room.send_as(&moderator(), at_desk("welcome")).await.unwrap();
    assert!(!own.held);
    assert_eq!(bob.text().await, "welcome");
    let waiting = room.send_as(&member("ana"), at_desk("may I?")).await.unwrap();
    assert!(waiting.held);
    let held = room.workspace.list_held(&moderator()).await.unwrap().held;
    assert_eq!((held.len(), held[0].limit.as_str()), (1, "moderation"));
    assert_eq!(held[0].content, Some(json!({"text": "may I?"}).into()));
    assert_eq!(
        room.send_as(&member("ana"), Event::new("custom.thing").to("channel:desk"))
            .await,
        Err(ErrorCode::Forbidden),
        "what cannot wait is refused"
    );
    assert_eq!(
        room.upload_as(&member("ana"), "desk").await,
        Err(ErrorCode::Forbidden)
    );

    let room = room.reopen().await;
    let mut bob = room.attach("bob").await;
    let message_id = Some(waiting.message_id.clone());
    let released = room
        .workspace
        .unblock(&moderator(), Unblock { message_id })
        .await
        .unwrap();
    assert_eq!(released.released, 1);
    assert_eq!(bob.text().await, "may I?");
    assert_eq!(
        room.edit_as(&member("ana"), &waiting.message_id, "something else")
            .await,
        Err(ErrorCode::Forbidden)
    );
    room.react_as(&member("ana"), &waiting.message_id).await.unwrap();
}

#[tokio::test]
async fn a_read_only_channel_is_written_by_who_manages_it() {
    let room = Room::with_channel(ChannelSettings {
        read_only: Some(true),
        ..Default::default()
    })
    .await;
    let news = room
        .send_as(&moderator(), at_desk("news"))
        .await
        .unwrap()
        .message_id;
    assert_eq!(
        room.send_as(&member("ana"), at_desk("me too")).await,
        Err(ErrorCode::Forbidden)
    );
    assert_eq!(
        room.react_as(&member("ana"), &news).await,
        Err(ErrorCode::Forbidden)
    );
    assert_eq!(
        room.upload_as(&member("ana"), "desk").await,
        Err(ErrorCode::Forbidden)
    );
    room.upload_as(&moderator(), "desk").await.unwrap();
}

#[tokio::test]
async fn the_rules_of_the_settings_hold_again_at_every_start() {
    let mut room = Room::with_channel(ChannelSettings::default()).await;
    room.send_as(&member("ana"), at_desk("free")).await.unwrap();
    room.change(|settings| {
        if let Some(desk) = settings.channels.last_mut() {
            desk.settings.read_only = Some(true);
        }
    });
    let room = room.reopen().await;
    assert_eq!(
        room.send_as(&member("ana"), at_desk("free?")).await,
        Err(ErrorCode::Forbidden)
    );
}

#[tokio::test]
async fn an_agent_sends_as_many_messages_and_files_as_the_operator_allows() {
    let now = Arc::new(AtomicU64::new(1_700_000_000_000));
    let clock = Arc::clone(&now);
    let room = Room::open_with(move |settings| {
        settings.clock = Clock::new(move || clock.load(Ordering::Relaxed));
        settings.max_messages_per_minute = NonZeroU32::new(2);
        settings.max_files_per_hour = NonZeroU32::new(1);
    })
    .await;
    let ana = member("ana");
    for text in ["one", "two"] {
        room.send_as(&ana, post(text)).await.unwrap();
    }
    for _ in 0..3 {
        assert_eq!(
            room.send_as(&ana, post("three")).await,
            Err(ErrorCode::RateLimited)
        );
    }
    room.send_as(&member("bob"), post("I as well")).await.unwrap();
    room.send_as(&ana, Event::new("custom.thing").to("channel:general"))
        .await
        .unwrap();
    now.fetch_add(31_000, Ordering::Relaxed);
    room.send_as(&ana, post("three")).await.unwrap();
    assert_eq!(
        room.send_as(&ana, post("four")).await,
        Err(ErrorCode::RateLimited)
    );

    room.upload_as(&ana, "general").await.unwrap();
    assert_eq!(room.upload_as(&ana, "general").await, Err(ErrorCode::RateLimited));
}

#[tokio::test]
async fn a_repetition_does_not_count_against_the_limit() {
    let room = Room::open_with(|settings| settings.max_messages_per_minute = NonZeroU32::new(1)).await;
    let mut event = post("once");
    event.event_id = "m-1".to_owned();
    let first = room.send_as(&member("ana"), event.clone()).await.unwrap();
    let again = room.send_as(&member("ana"), event).await.unwrap();
    assert_eq!((again.sequence, again.duplicate), (first.sequence, true));
}

#[tokio::test]
async fn what_a_message_says_is_checked_when_it_is_written_and_when_it_is_edited() {
    let room = Room::open_with(|settings| {
        settings.content.max_characters = Some(10);
        settings.content.prohibited_words = vec!["darn".to_owned()];
    })
    .await;
    let ana = member("ana");
    assert_eq!(
        room.send_as(&ana, post("more than ten")).await,
        Err(ErrorCode::TooLarge)
    );
    assert_eq!(
        room.send_as(&ana, post("Darn it")).await,
        Err(ErrorCode::Forbidden)
    );
    let fine = room.send_as(&ana, post("fine")).await.unwrap().message_id;
    assert_eq!(
        room.edit_as(&ana, &fine, "oh darn").await,
        Err(ErrorCode::Forbidden)
    );
    assert_eq!(
        room.edit_as(&ana, &fine, "more than ten").await,
        Err(ErrorCode::TooLarge)
    );
    room.edit_as(&ana, &fine, "finer").await.unwrap();
}

#[tokio::test]
async fn reactions_and_mentions_can_be_switched_off() {
    let off = |settings: &mut Settings| {
        settings.reactions = false;
        settings.mentions = false;
    };
    let room = Room::open_with(off).await;
    let mut bob = room.attach("bob").await;
    let posted = room.send_as(&member("ana"), post("hello @bob")).await.unwrap();
    assert_eq!(posted.recipients, []);
    let event = bob.read().await;
    assert!(!event.matches_pattern("channel.message.mentioned"));
    assert_eq!(
        room.react_as(&member("bob"), &posted.message_id).await,
        Err(ErrorCode::Forbidden)
    );
}
