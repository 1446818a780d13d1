//! What holds in channels, and who changes it.

use openagents_protocol::call::{
    ArchiveChannel, ChannelPermissions, ChannelSettings, ConfigureChannel, CreateChannel, DeleteChannel,
    GetAgent, Grantee, LeaveChannel, ListAgents, ListMembers, ListMessages, React, ReactAction,
    SetPermissions, SetTopic, UpdateAgent,
};
use openagents_protocol::record::Role;
use openagents_protocol::{ErrorCode, Event, Receipt};
use openagents_workspace::Caller;
use serde_json::json;

use crate::room::{Room, caller};

fn member(agent_id: &str) -> Caller {
    Caller::new(agent_id.parse().unwrap(), Role::Member)
}

fn in_dev(text: &str) -> Event {
    Event::new("channel.message.posted")
        .to("channel:dev")
        .payload(json!({"content": text}))
}

impl Room {
    async fn make_dev(&self) {
        let name = "dev".to_owned();
        let description = "work".to_owned();
        let params = CreateChannel { name, description };
        self.workspace
            .create_channel(&member("alice"), params)
            .await
            .unwrap();
    }

    async fn post_as(&self, who: &Caller, event: Event) -> Result<Receipt, ErrorCode> {
        let draft = openagents_protocol::Draft::parse(event).unwrap();
        self.workspace
            .publish(who, draft)
            .await
            .map_err(|error| error.code)
    }

    async fn dev_texts(&self) -> Vec<String> {
        let params = ListMessages {
            channel: Some("dev".to_owned()),
            after: Some(0),
            ..Default::default()
        };
        let page = self
            .workspace
            .list_messages(&caller("bob"), params)
            .await
            .unwrap();
        page.messages
            .iter()
            .filter_map(|message| message.text().map(str::to_owned))
            .collect()
    }
}

fn dev() -> String {
    "dev".to_owned()
}

#[tokio::test]
async fn the_maker_configures_a_channel_and_others_do_not() {
    let room = Room::open().await;
    room.make_dev().await;
    let mut bob = room.attach("bob").await;
    let configure = |settings: ChannelSettings| ConfigureChannel {
        channel: dev(),
        settings,
    };
    let limited = ChannelSettings {
        max_file_size: Some(10),
        allowed_file_types: Some(vec![".CSV".to_owned()]),
        ..Default::default()
    };
    let refused = room
        .workspace
        .configure_channel(&member("bob"), configure(limited.clone()))
        .await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::Forbidden);
    room.workspace
        .configure_channel(&member("alice"), configure(limited))
        .await
        .unwrap();
    let unthreaded = ChannelSettings {
        enable_threading: Some(false),
        ..Default::default()
    };
    room.workspace
        .configure_channel(&member("alice"), configure(unthreaded))
        .await
        .unwrap();
    let same = ChannelSettings {
        max_file_size: Some(10),
        ..Default::default()
    };
    let nothing = room
        .workspace
        .configure_channel(&member("alice"), configure(same))
        .await
        .unwrap();
    assert_eq!(nothing.sequence, None);
    let topic = SetTopic {
        channel: dev(),
        topic: "release".to_owned(),
    };
    room.workspace.set_topic(&member("bob"), topic).await.unwrap();
    assert_eq!(bob.text().await, "channel.configured");
    let told = bob.read().await;
    assert_eq!(told.payload["settings"]["allowed_file_types"], json!(["csv"]));

    let room = room.reopen().await;
    let channels = room.workspace.list_channels(&caller("bob")).channels;
    let info = channels.iter().find(|channel| channel.name == "dev").unwrap();
    assert_eq!(info.topic, "release");
    assert_eq!(info.settings.max_file_size, Some(10));
    assert_eq!(info.settings.enable_threading, Some(false));
    let question = room
        .post_as(&member("bob"), in_dev("one"))
        .await
        .unwrap()
        .message_id;
    let mut reply = in_dev("two");
    reply.reply_to_id = Some(question.to_string());
    assert_eq!(
        room.post_as(&member("carol"), reply).await.unwrap_err(),
        ErrorCode::Forbidden
    );
}

#[tokio::test]
async fn permissions_say_who_posts() {
    let room = Room::open().await;
    room.make_dev().await;
    let permissions = ChannelPermissions {
        post_messages: Some(vec![Grantee::Humans]),
        ..Default::default()
    };
    let params = SetPermissions {
        channel: dev(),
        permissions,
    };
    room.workspace
        .set_permissions(&member("alice"), params)
        .await
        .unwrap();
    assert_eq!(
        room.post_as(&member("bob"), in_dev("hi")).await.unwrap_err(),
        ErrorCode::Forbidden
    );
    let human = UpdateAgent {
        status: None,
        metadata: Some(json!({"type": "human"}).into()),
    };
    room.workspace.update_agent(&member("ana"), human).await.unwrap();
    assert!(room.post_as(&member("ana"), in_dev("hi")).await.is_ok());
    let moderator = Caller::new("moderator".parse().unwrap(), Role::Moderator);
    assert!(room.post_as(&moderator, in_dev("hi")).await.is_ok());
}

#[tokio::test]
async fn threads_begin_with_a_title_or_a_first_reply_by_whom_the_channel_lets() {
    let room = Room::open().await;
    room.make_dev().await;
    let set = SetPermissions {
        channel: dev(),
        permissions: ChannelPermissions {
            create_threads: Some(vec![Grantee::Admin]),
            ..Default::default()
        },
    };
    room.workspace
        .set_permissions(&member("alice"), set)
        .await
        .unwrap();
    let reply = |text: &str, to: &Receipt| {
        let mut event = in_dev(text);
        event.reply_to_id = Some(to.message_id.to_string());
        event
    };
    let titled = || {
        let mut event = in_dev("let us talk");
        event.thread_name = Some("Plans".to_owned());
        event
    };
    let plain = room.post_as(&member("bob"), in_dev("hello")).await.unwrap();
    let refused = Err(ErrorCode::Forbidden);
    assert_eq!(room.post_as(&member("bob"), titled()).await.map(drop), refused);
    assert_eq!(
        room.post_as(&member("bob"), reply("so", &plain)).await.map(drop),
        refused
    );
    let thread = room.post_as(&caller("root"), titled()).await.unwrap();
    assert!(room.post_as(&member("bob"), reply("yes", &thread)).await.is_ok());
    assert!(
        room.post_as(&caller("root"), reply("go on", &plain))
            .await
            .is_ok()
    );
    assert!(
        room.post_as(&member("bob"), reply("thanks", &plain))
            .await
            .is_ok()
    );
    let room = room.reopen().await;
    assert!(
        room.post_as(&member("bob"), reply("still", &thread))
            .await
            .is_ok()
    );
    assert!(room.post_as(&member("bob"), reply("still", &plain)).await.is_ok());
}

#[tokio::test]
async fn an_archived_channel_is_read_and_not_written() {
    let room = Room::open().await;
    room.make_dev().await;
    let question = room
        .post_as(&member("bob"), in_dev("before"))
        .await
        .unwrap()
        .message_id;
    let archive = |archived| ArchiveChannel {
        channel: dev(),
        archived,
    };
    room.workspace
        .archive_channel(&member("alice"), archive(true))
        .await
        .unwrap();
    assert_eq!(
        room.post_as(&member("bob"), in_dev("no")).await.unwrap_err(),
        ErrorCode::ChannelArchived
    );
    let react = React {
        message_id: question,
        reaction: "eyes".to_owned(),
        action: ReactAction::Add,
    };
    let refused = room.workspace.react(&member("bob"), react).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::ChannelArchived);
    assert_eq!(room.dev_texts().await, ["before"]);
    room.workspace
        .archive_channel(&member("alice"), archive(false))
        .await
        .unwrap();
    assert!(room.post_as(&member("bob"), in_dev("after")).await.is_ok());
}

#[tokio::test]
async fn a_channel_made_anew_does_not_bring_back_what_was_deleted() {
    let room = Room::open().await;
    room.make_dev().await;
    let mut bob = room.attach("bob").await;
    let old = room
        .post_as(&member("bob"), in_dev("old"))
        .await
        .unwrap()
        .message_id;
    let delete = || DeleteChannel { channel: dev() };
    let refused = room.workspace.delete_channel(&member("bob"), delete()).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::Forbidden);
    room.workspace
        .delete_channel(&member("alice"), delete())
        .await
        .unwrap();
    let told = bob.read().await;
    assert_eq!(
        (told.event_name.as_str(), &told.payload["channel"]),
        ("channel.deleted", &json!("dev"))
    );
    let gone = DeleteChannel {
        channel: "general".to_owned(),
    };
    let configured = room.workspace.delete_channel(&caller("admin"), gone).await;
    assert_eq!(configured.unwrap_err().code, ErrorCode::Forbidden);

    room.make_dev().await;
    room.post_as(&member("bob"), in_dev("new")).await.unwrap();
    let room = room.reopen().await;
    assert_eq!(room.dev_texts().await, ["new"]);
    assert_eq!(
        room.message("bob", &old).await.unwrap_err(),
        ErrorCode::MessageNotFound
    );
    let mut reply = in_dev("to the dead");
    reply.reply_to_id = Some(old.to_string());
    assert_eq!(
        room.post_as(&member("bob"), reply).await.unwrap_err(),
        ErrorCode::MessageNotFound
    );
    let channels = room.workspace.list_channels(&caller("bob")).channels;
    assert_eq!(
        channels
            .iter()
            .find(|channel| channel.name == "dev")
            .unwrap()
            .events,
        1
    );
}

#[tokio::test]
async fn members_are_listed_in_pages() {
    let room = Room::open().await;
    for agent in ["alice", "bob", "carol"] {
        room.post(agent, "hi").await;
    }
    let leave = LeaveChannel {
        channel: "general".to_owned(),
    };
    room.workspace.leave_channel(&member("bob"), leave).await.unwrap();
    let page = |limit, after: Option<&str>| ListMembers {
        channel: "#general".to_owned(),
        limit: Some(limit),
        after: after.map(str::to_owned),
    };
    let first = room
        .workspace
        .list_members(&member("alice"), &page(1, None))
        .unwrap();
    assert_eq!((first.members[0].id.as_str(), first.has_more), ("alice", true));
    let rest = room
        .workspace
        .list_members(&member("alice"), &page(5, Some("alice")))
        .unwrap();
    assert_eq!(
        (rest.members.len(), rest.members[0].id.as_str(), rest.has_more),
        (1, "carol", false)
    );
    let outside = room.workspace.list_members(&member("bob"), &page(5, None));
    assert_eq!(outside.unwrap_err().code, ErrorCode::NotAMember);
}

#[tokio::test]
async fn agents_say_what_they_do_and_are_found_by_what_they_can() {
    let room = Room::open().await;
    let mut bob = room.attach("bob").await;
    let alice = room.attach("alice").await;
    assert_eq!(bob.text().await, "agent.joined");
    let update = UpdateAgent {
        status: Some("busy".to_owned()),
        metadata: Some(json!({"name": "Alice", "capabilities": ["sql"]}).into()),
    };
    let info = room
        .workspace
        .update_agent(&member("alice"), update)
        .await
        .unwrap();
    assert_eq!(
        (info.status.as_str(), info.name.as_deref()),
        ("busy", Some("Alice"))
    );
    let metadata = bob.read().await;
    assert_eq!(metadata.event_name, "agent.metadata.updated");
    assert_eq!(metadata.payload["metadata"]["capabilities"], json!(["sql"]));
    let status = bob.read().await;
    assert_eq!(status.event_name, "agent.status.changed");
    assert_eq!(
        status.payload,
        json!({"agent_id": "alice", "status": "busy"}).into()
    );
    let found = room.workspace.list_agents(&ListAgents {
        all: false,
        capability: Some("sql".to_owned()),
    });
    assert_eq!(found.agents.len(), 1);
    let offline = UpdateAgent {
        status: Some("offline".to_owned()),
        metadata: None,
    };
    let refused = room.workspace.update_agent(&member("alice"), offline).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::InvalidField);
    drop(alice.session);
    let room = room.reopen().await;
    let get = GetAgent {
        agent_id: "agent:alice".to_owned(),
    };
    assert_eq!(room.workspace.get_agent(&get).unwrap().status, "busy");
}
