//! Channels: made, described, configured, joined and left, archived, deleted.

use openagents_client::{AgentClient, Channel, ChannelPermissions, ChannelSettings, Grantee};
use openagents_e2e::{Stage, check_event, keys};
use openagents_protocol::call::ListChannels;
use openagents_server::DefaultMembership;
use serde_json::json;

use crate::tokens::Tokens;

#[tokio::test]
async fn everybody_is_told_of_a_new_channel_and_is_in_it() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob", "carol"]).await?;
    let alice = stage.agent("alice").workspace();
    assert_eq!(
        alice.channels().await?,
        ["general"],
        "every workspace starts with it"
    );
    let dev = alice.create_channel("#dev", "What we build").await?;
    assert_eq!(dev.name(), "dev");
    let event = stage.heard_once_by(&["bob", "carol"]).await?;
    check_event(&event, "channel.created", "channel creator_id description");
    assert_eq!(
        event.payload.value(),
        &json!({"channel": "dev", "description": "What we build", "creator_id": "alice"})
    );
    assert_eq!(
        stage.agent("bob").workspace().channels().await?,
        ["dev", "general"]
    );
    let listed = stage.agent("bob").call(ListChannels {}).await?.channels.remove(0);
    let told = serde_json::to_value(&listed)?;
    assert_eq!(
        keys(&told),
        "archived created_at creator_id description events joined members name permissions settings topic"
    );
    assert_eq!(
        (listed.joined, listed.members, listed.creator_id.as_str()),
        (true, 4, "alice")
    );

    // A first post makes a channel, too.
    assert!(alice.channel("ideas").post("one").await.success);
    let heard = stage.heard().await?.remove("bob").expect("two events");
    let names: Vec<&str> = heard.iter().map(|event| event.event_name.as_str()).collect();
    assert_eq!(names, ["channel.created", "channel.message.posted"]);

    let refused = alice.create_channel("dev", "again").await.expect_err("it exists");
    assert_eq!(refused.code(), "channel_exists");
    for wrong in ["", "a\nb", "##x", &"x".repeat(129)] {
        assert_eq!(
            alice.create_channel(wrong, "").await.expect_err(wrong).code(),
            "invalid_name"
        );
    }
    let long = alice
        .create_channel("long", &"x".repeat(1001))
        .await
        .expect_err("too long");
    assert_eq!(long.code(), "too_large");
    stage.silence().await?;
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn topic_rules_and_rights_are_told_to_the_members() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob", "outsider"]).await?;
    let dev = stage.agent("alice").workspace().create_channel("dev", "").await?;
    stage.agent("outsider").workspace().channel("dev").leave().await?;
    stage.heard().await?;
    assert!(dev.set_topic("Release 2").await.success);
    let event = stage.heard_once_by(&["bob"]).await?;
    check_event(&event, "channel.topic.changed", "agent_id channel topic");
    assert_eq!(
        event.payload.value(),
        &json!({"channel": "dev", "topic": "Release 2", "agent_id": "alice"})
    );
    assert!(dev.set_topic("Release 2").await.success);
    stage.silence().await?;

    let settings = json!({"max_file_size": 1000, "allowed_file_types": [".CSV", "md"], "auto_archive_days": 30,
                          "enable_threading": true});
    let settings: ChannelSettings = serde_json::from_value(settings)?;
    assert!(dev.configure(settings).await.success);
    let event = stage.heard_once_by(&["bob"]).await?;
    check_event(&event, "channel.configured", "channel settings");
    assert_eq!(
        event.payload["settings"],
        json!({"max_file_size": 1000, "allowed_file_types": ["csv", "md"], "auto_archive_days": 30, "enable_threading": true})
    );
    let permissions = ChannelPermissions {
        post_messages: Some(vec![Grantee::Agents, Grantee::Humans]),
        upload_files: Some(vec![Grantee::Admin]),
        create_threads: Some(vec![Grantee::All]),
        manage_channel: Some(vec![Grantee::Admin]),
    };
    assert!(dev.set_permissions(permissions).await.success);
    let event = stage.heard_once_by(&["bob"]).await?;
    check_event(&event, "channel.permissions.changed", "channel permissions");
    assert_eq!(
        event.payload["permissions"],
        json!({"post_messages": ["agents", "humans"], "upload_files": ["admin"], "create_threads": ["all"],
               "manage_channel": ["admin"]})
    );
    let info = stage.agent("bob").workspace().list_channels().await?.remove(0);
    assert_eq!(
        (info.topic.as_str(), info.settings.max_file_size),
        ("Release 2", Some(1000))
    );

    // One rule changes, the others stay.
    let one = ChannelSettings {
        max_file_size: Some(2000),
        ..Default::default()
    };
    assert!(dev.configure(one).await.success);
    let info = stage.agent("bob").workspace().list_channels().await?.remove(0);
    assert_eq!(
        (info.settings.max_file_size, info.settings.auto_archive_days),
        (Some(2000), Some(30))
    );
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn members_come_and_go_and_hear_what_is_said_while_they_are_in() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob", "carol"]).await?;
    let dev = |agent: &str| stage.agent(agent).workspace().channel("dev");
    let (alice, bob, carol) = (dev("alice"), dev("bob"), dev("carol"));
    assert!(alice.post("hello").await.success);
    stage.heard().await?;
    let left = bob.leave().await?;
    assert_eq!((left.joined, left.members), (false, 3));
    let event = stage.heard_once_by(&["alice", "carol"]).await?;
    check_event(&event, "channel.left", "agent_id channel");
    assert!(!bob.leave().await?.joined, "nothing changes");
    stage.silence().await?;
    assert!(carol.post("without bob").await.success);
    assert_eq!(stage.heard_once_by(&["alice"]).await?.text(), Some("without bob"));
    let names = |members: Vec<openagents_client::AgentInfo>| -> Vec<String> {
        members.into_iter().map(|member| member.id).collect()
    };
    assert_eq!(names(alice.members().await?), ["alice", "carol", "conductor"]);
    assert_eq!(
        bob.members().await.expect_err("for members").code(),
        "not_a_member"
    );

    assert!(bob.join().await?.joined);
    let event = stage.heard_once_by(&["alice", "carol"]).await?;
    check_event(&event, "channel.joined", "agent_id channel");
    assert!(carol.post("with bob").await.success);
    assert_eq!(
        stage.heard_once_by(&["alice", "bob"]).await?.text(),
        Some("with bob")
    );
    let unknown = stage.agent("bob").workspace().channel("nowhere");
    for refused in [unknown.join().await, unknown.leave().await] {
        assert_eq!(refused.expect_err("there is none").code(), "channel_not_found");
    }
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn an_archived_channel_is_read_and_not_written_until_it_is_opened_again() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob"]).await?;
    let dev = stage.agent("alice").workspace().create_channel("dev", "").await?;
    let id = dev.post("kept").await.message_id().expect("accepted").to_owned();
    stage.heard().await?;
    assert!(dev.archive(true).await.success);
    let event = stage.heard_once_by(&["bob"]).await?;
    check_event(&event, "channel.archived", "archived channel");
    let bob = stage.agent("bob").workspace().channel("dev");
    for refused in [
        bob.post("more").await,
        bob.reply(&id, "more").await,
        bob.react(&id, "ok").await,
        dev.edit(&id, "more").await,
        bob.set_topic("more").await,
    ] {
        assert_eq!(refused.error.expect("refused").code.as_str(), "channel_archived");
    }
    assert_eq!(bob.get_messages(10).await?.len(), 1);
    assert_eq!(stage.agent("bob").workspace().channels().await?, ["general"]);
    assert!(stage.agent("bob").workspace().list_channels().await?[0].archived);
    stage.silence().await?;
    assert!(dev.archive(false).await.success);
    let event = stage.heard_once_by(&["bob"]).await?;
    check_event(&event, "channel.unarchived", "archived channel");
    assert!(bob.post("more").await.success);
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn a_deleted_channel_takes_everything_along_and_everybody_is_told() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob", "outsider"]).await?;
    let alice = stage.agent("alice").workspace();
    let dev = alice.create_channel("dev", "").await?;
    let id = dev
        .post("gone soon")
        .await
        .message_id()
        .expect("accepted")
        .to_owned();
    stage.agent("outsider").workspace().channel("dev").leave().await?;
    stage.heard().await?;
    assert!(dev.delete().await.success);
    let event = stage.heard_once_by(&["bob", "outsider"]).await?;
    check_event(&event, "channel.deleted", "channel");
    assert_eq!(alice.channels().await?, ["general"]);
    assert_eq!(
        dev.get_messages(10).await.expect_err("gone").code(),
        "channel_not_found"
    );
    assert_eq!(
        alice.get_message(&id).await.expect_err("gone").code(),
        "message_not_found"
    );
    assert_eq!(
        dev.react(&id, "ok").await.error.expect("gone").code.as_str(),
        "message_not_found"
    );
    assert!(
        dev.delete()
            .await
            .error
            .is_some_and(|error| error.code.as_str() == "channel_not_found")
    );
    let general = alice
        .channel("general")
        .delete()
        .await
        .error
        .expect("the configuration wants it");
    assert_eq!(
        (general.code.as_str(), general.field.as_deref()),
        ("forbidden", Some("channel"))
    );

    assert!(alice.create_channel("dev", "new").await.is_ok());
    assert!(
        dev.get_messages(10).await?.is_empty(),
        "a new one of the same name begins anew"
    );
    let heard = stage
        .heard()
        .await?
        .remove("outsider")
        .expect("told of the new one");
    assert_eq!(heard.len(), 1);
    stage.end().await;
    Ok(())
}

async fn refused(channel: &Channel) -> anyhow::Result<()> {
    let settings = ChannelSettings {
        auto_archive_days: Some(1),
        ..Default::default()
    };
    let permissions = ChannelPermissions {
        post_messages: Some(vec![Grantee::Admin]),
        ..Default::default()
    };
    for response in [
        channel.configure(settings).await,
        channel.set_permissions(permissions).await,
        channel.archive(true).await,
        channel.delete().await,
    ] {
        let error = response.error.expect("refused");
        assert_eq!(
            (error.code.as_str(), error.field.as_deref()),
            ("forbidden", Some("channel"))
        );
    }
    Ok(())
}

#[tokio::test]
async fn who_made_a_channel_and_moderators_manage_it_and_others_may_be_let() -> anyhow::Result<()> {
    let tokens = Tokens::serve().await?;
    let (alice, bob) = (
        tokens.join("alice", "member").await?,
        tokens.join("bob", "member").await?,
    );
    let judge = tokens.join("judge", "moderator").await?;
    let dev = |client: &AgentClient| client.workspace().channel("dev");
    let made = alice.workspace().create_channel("dev", "").await?;
    refused(&dev(&bob)).await?;
    assert!(dev(&bob).set_topic("members set it").await.success);
    let manage = |by: Grantee| ChannelPermissions {
        manage_channel: Some(vec![by]),
        ..Default::default()
    };
    assert!(dev(&judge).set_permissions(manage(Grantee::Agents)).await.success);
    assert!(dev(&bob).archive(true).await.success && dev(&bob).archive(false).await.success);
    dev(&bob).leave().await?;
    refused(&dev(&bob)).await?;
    dev(&bob).join().await?;
    assert!(made.set_permissions(manage(Grantee::Humans)).await.success);
    refused(&dev(&bob)).await?;
    assert!(bob.set_metadata(json!({"type": "human"})).await.is_ok());
    assert!(dev(&bob).set_permissions(manage(Grantee::Admin)).await.success);
    refused(&dev(&bob)).await?;
    assert!(dev(&judge).delete().await.success);
    tokens.workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_channel_says_who_posts_reacts_and_edits() -> anyhow::Result<()> {
    let tokens = Tokens::serve().await?;
    let (alice, bob) = (
        tokens.join("alice", "member").await?,
        tokens.join("bob", "member").await?,
    );
    let judge = tokens.join("judge", "moderator").await?;
    let news = alice.workspace().create_channel("news", "").await?;
    let bobs = bob.workspace().channel("news");
    let id = bobs
        .post("before")
        .await
        .message_id()
        .expect("everybody may")
        .to_owned();
    let only = |by: Grantee| ChannelPermissions {
        post_messages: Some(vec![by]),
        ..Default::default()
    };
    assert!(news.set_permissions(only(Grantee::Admin)).await.success);
    for response in [
        bobs.post("now").await,
        bobs.react(&id, "ok").await,
        bobs.edit(&id, "now").await,
    ] {
        assert_eq!(response.error.expect("refused").code.as_str(), "forbidden");
    }
    assert!(
        bobs.delete_message(&id).await.success,
        "what one wrote can be taken back"
    );
    assert!(judge.workspace().channel("news").post("now").await.success);
    assert!(news.set_permissions(only(Grantee::Humans)).await.success);
    assert!(!bobs.post("now").await.success);
    bob.set_metadata(json!({"type": "human"})).await?;
    assert!(bobs.post("now").await.success);
    tokens.workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn where_nobody_is_in_by_default_a_channel_is_for_who_joined() -> anyhow::Result<()> {
    let nobody = |config: &mut openagents_server::Config| {
        config.workspace.default_membership = DefaultMembership::Nobody;
    };
    let mut stage = Stage::with(&["alice", "bob", "carol"], nobody).await?;
    let dev = stage.agent("alice").workspace().create_channel("dev", "").await?;
    stage.agent("bob").workspace().channel("dev").join().await?;
    stage.heard().await?;
    assert!(dev.post("@carol, you are not here").await.success);
    let event = stage.heard_once_by(&["bob"]).await?;
    assert!(event.also.is_empty());
    assert_eq!(
        stage.agent("carol").workspace().list_channels().await?.len(),
        2,
        "they may join"
    );
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn channels_over_rest() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["bob"]).await?;
    let workspace = stage.workspace();
    let rest = |method, path: &str| workspace.request(method, path, "alice");
    let made = rest("POST", "channels")
        .json(&json!({"name": "dev", "description": "d"}))
        .send()
        .await?;
    assert_eq!((made.status, made.ok()?["name"].clone()), (201, json!("dev")));
    rest("PUT", "channels/dev/topic")
        .json(&json!({"topic": "t"}))
        .send()
        .await?
        .ok()?;
    rest("PATCH", "channels/dev/settings")
        .json(&json!({"enable_threading": false}))
        .send()
        .await?
        .ok()?;
    rest("PATCH", "channels/dev/permissions")
        .json(&json!({"upload_files": ["admin"]}))
        .send()
        .await?
        .ok()?;
    rest("POST", "channels/dev/leave").send().await?.ok()?;
    rest("POST", "channels/dev/join").send().await?.ok()?;
    let members = rest("GET", "channels/dev/members?limit=1").send().await?.ok()?;
    assert_eq!(
        (&members["members"][0]["id"], &members["has_more"]),
        (&json!("alice"), &json!(true))
    );
    rest("PUT", "channels/dev/archived").send().await?.ok()?;
    rest("DELETE", "channels/dev/archived").send().await?.ok()?;
    let listed = rest("GET", "channels").send().await?.ok()?;
    assert_eq!(listed["channels"][0]["topic"], "t");
    rest("DELETE", "channels/dev").send().await?.ok()?;
    let names: Vec<String> = stage.heard().await?["bob"]
        .iter()
        .map(|event| event.event_name.clone())
        .collect();
    assert_eq!(
        names,
        [
            "channel.created",
            "channel.topic.changed",
            "channel.configured",
            "channel.permissions.changed",
            "channel.left",
            "channel.joined",
            "channel.archived",
            "channel.unarchived",
            "channel.deleted"
        ]
    );
    stage.end().await;
    Ok(())
}
