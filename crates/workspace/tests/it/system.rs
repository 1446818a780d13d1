//! What the workspace does and tells of itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openagents_protocol::call::{
    Call, ChannelSettings, ConfigureChannel, CreateChannel, DeleteMessage, FollowSystem, GetPermissions,
    ListMessages, React, ReactAction, ReadEvents, SetTopic, Subscribe,
};
use openagents_protocol::frame::{Backlog, SessionKind};
use openagents_protocol::record::Role;
use openagents_protocol::{Draft, ErrorCode, Event, Json, Visibility};
use openagents_workspace::{Attach, Caller, Clock, Group, Principal};
use serde_json::json;

use crate::room::{Reader, Room, caller, post};

async fn call<C: Call>(reader: &Reader, params: &C) -> Json {
    let params = Json::encode(params).unwrap();
    reader.session.call(C::METHOD, &params).await.unwrap()
}

#[tokio::test]
async fn who_follows_is_told_of_start_heartbeat_and_stop_and_others_are_not() {
    let room = Room::open_with(|settings| {
        settings.name = "team".to_owned();
        settings.heartbeat = Duration::from_millis(20);
    })
    .await;
    let mut follower = room.attach("follower").await;
    let mut other = room.attach("other").await;
    call(&follower, &FollowSystem {}).await;
    assert_eq!(follower.text().await, "agent.joined");
    let started = follower.read().await;
    assert_eq!(started.event_name, "system.network.started");
    assert_eq!(
        started.payload,
        json!({"network_id": "team", "name": "team"}).into()
    );
    let loaded = follower.read().await;
    assert_eq!(loaded.event_name, "system.mod.loaded");
    assert_eq!(loaded.payload["mod_name"], "openagents.mods.workspace.messaging");
    let heartbeat = follower.read().await;
    assert_eq!(heartbeat.event_name, "system.heartbeat");
    assert!(heartbeat.payload["timestamp"].as_f64().unwrap() > 1.6e9);
    room.post("alice", "hi").await;
    assert_eq!(other.text().await, "hi", "nothing of the system came before");

    let workspace = room.workspace.clone();
    workspace.close().await;
    let stopped = loop {
        let event = follower.read().await;
        if event.event_name == "system.network.stopped" {
            break event;
        }
    };
    assert_eq!(stopped.payload["network_id"], "team");
    assert!(stopped.payload["reason"].is_string());
}

#[tokio::test]
async fn a_subscription_that_names_system_events_follows_them_for_good() {
    let room = Room::open().await;
    let mut agent = room.attach("watcher").await;
    let patterns = vec!["system.*".parse().unwrap()];
    call(
        &agent,
        &Subscribe {
            patterns,
            channels: None,
        },
    )
    .await;
    assert_eq!(agent.text().await, "system.network.started");
    drop(agent);
    let mut again = room.attach("watcher").await;
    assert_eq!(again.text().await, "system.network.started");
}

#[tokio::test]
async fn observers_are_told_of_direct_messages_and_nobody_else_is() {
    let room = Room::open_with(|settings| settings.observers = vec!["auditor".parse().unwrap()]).await;
    room.attach("bob").await;
    let mut auditor = room.attach("auditor").await;
    let mut other = room.attach("other").await;
    assert_eq!(auditor.text().await, "agent.joined");
    room.tell("alice", "bob", "psst").await;
    let sent = auditor.read().await;
    assert_eq!(sent.event_name, "direct.message.sent");
    assert_eq!(sent.payload["sender_id"], "alice");
    assert_eq!(sent.payload["target_id"], "bob");
    assert_eq!(sent.payload["content"]["text"], "psst");
    room.post("alice", "open").await;
    assert_eq!(other.text().await, "open");
}

#[tokio::test]
async fn a_channel_in_which_nothing_is_said_is_archived() {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    let now = Arc::new(AtomicU64::new(1_700_000_000_000));
    let clock = Arc::clone(&now);
    let room = Room::open_with(move |settings| {
        settings.clock = Clock::new(move || clock.load(Ordering::Relaxed));
        settings.housekeeping = Duration::from_millis(5);
    })
    .await;
    let mut bob = room.attach("bob").await;
    for name in ["idle", "busy"] {
        let params = CreateChannel {
            name: name.to_owned(),
            description: String::new(),
        };
        room.workspace
            .create_channel(&caller("alice"), params)
            .await
            .unwrap();
        let settings = ChannelSettings {
            auto_archive_days: Some(7),
            ..Default::default()
        };
        let params = ConfigureChannel {
            channel: name.to_owned(),
            settings,
        };
        room.workspace
            .configure_channel(&caller("alice"), params)
            .await
            .unwrap();
    }
    now.fetch_add(6 * DAY_MS, Ordering::Relaxed);
    room.publish("alice", post("still here").to("channel:busy"))
        .await
        .unwrap();
    now.fetch_add(2 * DAY_MS, Ordering::Relaxed);
    let archived = loop {
        let event = bob.read().await;
        if event.event_name == "channel.archived" {
            break event;
        }
    };
    assert_eq!(
        archived.payload,
        json!({"channel": "idle", "archived": true}).into()
    );
    let channels = room.workspace.list_channels(&caller("bob")).channels;
    assert!(
        !channels
            .iter()
            .find(|channel| channel.name == "busy")
            .unwrap()
            .archived
    );
}

fn group(name: &str, permissions: &[&str]) -> Group {
    Group {
        permissions: Some(permissions.iter().map(|&name| name.to_owned()).collect()),
        ..Group::open(name)
    }
}

impl Room {
    async fn attach_in(&self, agent_id: &str, group: Group) -> Reader {
        self.attach_as(SessionKind::Consuming, agent_id, group).await
    }

    async fn attach_as(&self, kind: SessionKind, agent_id: &str, group: Group) -> Reader {
        let attach = Attach {
            principal: Principal::of_group(Arc::new(group)),
            agent_id: Some(agent_id.parse().unwrap()),
            kind,
            session_key: None,
            metadata: None,
            after: None,
            log: None,
            backlog: Backlog::All,
        };
        Reader::of(self.workspace.attach(attach).await.unwrap())
    }
}

#[tokio::test]
async fn groups_say_what_their_agents_may_do() {
    let bots = group("bots", &["post_messages"]);
    let users = group("users", &["post_messages", "read_channels"]);
    let moderators = group("moderators", &["*"]);
    let room = Room::open_with(|settings| {
        settings.groups = vec![bots.clone(), users.clone(), moderators.clone()];
    })
    .await;
    let mut bot = room.attach_in("bot", bots.clone()).await;
    let user = room.attach_in("user", users.clone()).await;
    let id = room.post("alice", "first").await.message_id;
    room.tell("alice", "bot", "direct").await;
    assert_eq!(bot.text().await, "agent.joined");
    assert_eq!(bot.text().await, "direct", "bots may not read channels");
    let history = |who: &Caller| {
        let params = ListMessages {
            channel: Some("general".to_owned()),
            ..Default::default()
        };
        let (workspace, who) = (room.workspace.clone(), who.clone());
        async move {
            workspace
                .list_messages(&who, params)
                .await
                .map_err(|error| error.code)
        }
    };
    assert_eq!(
        history(bot.session.caller()).await.unwrap_err(),
        ErrorCode::Forbidden
    );
    let draft = Draft::parse(post("from the bot")).unwrap();
    room.workspace.publish(bot.session.caller(), draft).await.unwrap();
    assert_eq!(history(user.session.caller()).await.unwrap().messages.len(), 2);
    let delete = DeleteMessage { message_id: id };
    let refused = room
        .workspace
        .delete_message(user.session.caller(), delete.clone())
        .await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::Forbidden);
    let told = call(&user, &GetPermissions {}).await;
    assert_eq!(
        told,
        json!({"role": "member", "group": "users", "permissions": ["post_messages", "read_channels"]}).into()
    );
    drop(user);

    let mut promoted = room.attach_in("user", moderators).await;
    while promoted.text().await != "agent.group.changed" {}
    assert_eq!(promoted.session.caller().role, Role::Admin);
    room.workspace
        .delete_message(promoted.session.caller(), delete)
        .await
        .unwrap();
}

#[tokio::test]
async fn who_may_not_read_channels_reads_them_in_no_way() {
    let bots = group("bots", &["post_messages"]);
    let room = Room::open_with(|settings| settings.groups = vec![bots.clone()]).await;
    let mut watching = room.attach_as(SessionKind::Watching, "bot", bots.clone()).await;
    let bot = Principal::of_group(Arc::new(bots.clone())).caller("bot".parse().unwrap());
    room.post("alice", "for readers").await;
    let id = room.post("alice", "for readers").await.message_id;
    let draft = Draft::parse(post("from the bot")).unwrap();
    room.workspace.publish(&bot, draft).await.unwrap();
    room.tell("alice", "bot", "for the bot").await;
    assert_eq!(watching.text().await, "for the bot");
    let params = ReadEvents {
        after: Some(0),
        ..Default::default()
    };
    let read = room.workspace.read_events(&bot, params).await.unwrap();
    let texts: Vec<_> = read
        .events
        .iter()
        .filter(|event| event["destination_id"] != "agent:broadcast")
        .map(|event| event["payload"]["text"].clone())
        .collect();
    assert_eq!(texts, ["for the bot"]);
    let react = React {
        message_id: id,
        reaction: "eyes".to_owned(),
        action: ReactAction::Add,
    };
    let refused = room.workspace.react(&bot, react).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::Forbidden);
    let backlog = room
        .attach_as(SessionKind::Consuming, "bot", bots)
        .await
        .text()
        .await;
    assert_eq!(backlog, "for the bot");
}

#[tokio::test]
async fn who_may_not_post_makes_no_channels_and_sets_no_topics() {
    let guests = group("guests", &["read_channels"]);
    let room = Room::open_with(|settings| settings.groups = vec![guests.clone()]).await;
    let guest = Principal::of_group(Arc::new(guests)).caller("guest".parse().unwrap());
    let create = CreateChannel {
        name: "mine".to_owned(),
        description: String::new(),
    };
    let topic = SetTopic {
        channel: "general".to_owned(),
        topic: "mine".to_owned(),
    };
    let refused = room.workspace.create_channel(&guest, create).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::Forbidden);
    let refused = room.workspace.set_topic(&guest, topic).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::Forbidden);
    let draft = Draft::parse(post("hello")).unwrap();
    let refused = room.workspace.publish(&guest, draft).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::Forbidden);
}

#[tokio::test]
async fn what_is_restricted_to_others_is_no_business_of_observers() {
    let room = Room::open_with(|settings| settings.observers = vec!["auditor".parse().unwrap()]).await;
    let mut auditor = room.attach("auditor").await;
    room.attach("bob").await;
    let mut restricted = Event::new("direct.message.received")
        .to("agent:bob")
        .payload(json!({"content": "for bob only"}));
    restricted.visibility = Visibility::Restricted;
    restricted.allowed_agents = Some(vec!["bob".to_owned()]);
    room.publish("alice", restricted).await.unwrap();
    room.tell("alice", "bob", "hello").await;
    auditor.read().await;
    assert_eq!(auditor.read().await.payload["content"]["text"], "hello");
}
