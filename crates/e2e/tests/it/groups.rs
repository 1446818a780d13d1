//! Groups: who is in which, and what its agents may do.

use openagents_client::AgentClient;
use openagents_e2e::{SOON, Stage, Workspace, check_event, sha256, within};
use openagents_server::{Config, Group};
use serde_json::json;

fn group(name: &str, password: &str, permissions: &[&str]) -> Group {
    Group {
        password_hash: Some(sha256(password.as_bytes())),
        permissions: Some(permissions.iter().map(|&name| name.to_owned()).collect()),
        ..Group::open(name)
    }
}

fn configure(config: &mut Config) {
    config.workspace.groups = vec![
        group(
            "moderators",
            "mod-secret",
            &[
                "post_messages",
                "read_channels",
                "delete_posts",
                "manage_channels",
            ],
        ),
        group(
            "users",
            "user-secret",
            &["post_messages", "read_channels", "upload_files"],
        ),
        group("bots", "bot-secret", &["post_messages"]),
        Group {
            permissions: Some(vec!["read_channels".to_owned()]),
            ..Group::open("guest")
        },
    ];
}

async fn join(workspace: &Workspace, agent_id: &str, password: Option<&str>) -> anyhow::Result<AgentClient> {
    let client = AgentClient::new(agent_id);
    let connecting = client.connect_to_server("127.0.0.1", workspace.port());
    match password {
        Some(password) => connecting.password_hash(password).await?,
        None => connecting.await?,
    }
    Ok(client)
}

#[tokio::test]
async fn agents_join_with_their_passwords_and_meet_their_rights() -> anyhow::Result<()> {
    let workspace = Workspace::serve_with(configure).await?;
    let moderator = join(&workspace, "moderator", Some(&sha256(b"mod-secret"))).await?;
    let user = join(&workspace, "user", Some("user-secret")).await?;
    let bot = join(&workspace, "bot", Some("bot-secret")).await?;
    let guest = join(&workspace, "guest", None).await?;
    let stranger = join(&workspace, "stranger", Some("wrong")).await?;
    for (client, name, permissions) in [
        (
            &moderator,
            "moderators",
            vec![
                "post_messages",
                "read_channels",
                "delete_posts",
                "manage_channels",
            ],
        ),
        (
            &user,
            "users",
            vec!["post_messages", "read_channels", "upload_files"],
        ),
        (&bot, "bots", vec!["post_messages"]),
        (&guest, "guest", vec!["read_channels"]),
        (&stranger, "guest", vec!["read_channels"]),
    ] {
        let told = client.permissions().await?;
        assert_eq!(
            (told.group.as_str(), told.permissions),
            (name, permissions.iter().map(|&name| name.to_owned()).collect())
        );
        assert_eq!(client.has_permission("delete_posts").await, name == "moderators");
    }

    let general = |client: &AgentClient| client.workspace().channel("general");
    let id = general(&user)
        .post("hello")
        .await
        .message_id()
        .expect("users post")
        .to_owned();
    let refused = general(&guest).post("hello").await.error.expect("guests read");
    assert_eq!(refused.code.as_str(), "forbidden");
    assert_eq!(general(&guest).get_messages(10).await?.len(), 1);
    assert!(general(&bot).post("beep").await.success);
    assert_eq!(
        general(&bot)
            .get_messages(10)
            .await
            .expect_err("bots do not read")
            .code(),
        "forbidden"
    );
    for refused in [
        general(&guest).react(&id, "ok").await,
        general(&guest).set_topic("mine").await,
        general(&bot).react(&id, "ok").await,
        general(&user).archive(true).await,
        general(&user).delete().await,
    ] {
        assert_eq!(refused.error.expect("refused").code.as_str(), "forbidden");
    }
    let made = guest.workspace().create_channel("mine", "").await;
    assert_eq!(made.expect_err("guests make none").code(), "forbidden");
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("a.txt");
    std::fs::write(&path, "a")?;
    assert!(general(&user).upload_file(&path).await.is_ok());
    let refused = general(&moderator)
        .upload_file(&path)
        .await
        .expect_err("not in their list");
    assert_eq!(refused.code(), "forbidden");
    assert!(general(&moderator).delete_message(&id).await.success);
    assert!(general(&moderator).archive(true).await.success);
    workspace.stop().await;
    Ok(())
}

#[tokio::test]
async fn who_comes_back_in_another_group_is_told_and_has_its_rights() -> anyhow::Result<()> {
    // Whoever shows no password is in a group that is not listed, with the rights of every member.
    let mut stage = Stage::with(&["alice"], |config| {
        config.workspace.default_group = "everyone".to_owned();
        config.workspace.groups = vec![
            group("readers", "reader-secret", &["read_channels"]),
            group("users", "user-secret", &["post_messages", "read_channels"]),
        ];
    })
    .await?;
    let port = stage.workspace().port();
    let user = join(stage.workspace(), "user", Some("reader-secret")).await?;
    assert!(!user.workspace().channel("general").post("hello").await.success);
    user.disconnect().await;
    stage.heard().await?;
    let heard = user.wait_event(|event| event.event_name == "agent.group.changed", SOON);
    let (event, connected) = tokio::join!(heard, async {
        user.connect_to_server("127.0.0.1", port)
            .password_hash("user-secret")
            .await
    });
    connected?;
    let event = event.expect("told of it");
    check_event(&event, "agent.group.changed", "new_group");
    assert_eq!(event.payload.value(), &json!({"new_group": "users"}));
    assert!(user.workspace().channel("general").post("hello").await.success);
    let names: Vec<String> = stage.heard().await?["alice"]
        .iter()
        .map(|event| event.event_name.clone())
        .collect();
    assert_eq!(
        names,
        ["agent.joined", "channel.message.posted"],
        "the group is nobody else's business"
    );
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn with_a_password_required_nobody_joins_without_one() -> anyhow::Result<()> {
    let workspace = Workspace::serve_with(|config| {
        configure(config);
        config
            .workspace
            .groups
            .retain(|group| group.password_hash.is_some());
        config.workspace.requires_password = true;
    })
    .await?;
    for password in [None, Some("wrong")] {
        let refused = join(&workspace, "stranger", password).await.expect_err("refused");
        assert!(format!("{refused:#}").contains("refused"), "{refused:#}");
    }
    let user = within(SOON, join(&workspace, "user", Some("user-secret"))).await?;
    assert!(user.is_connected());
    let asked = workspace.get("channels", "stranger").await?;
    assert_eq!(asked.status, 401);
    let bearer = workspace
        .request("GET", "permissions", "user")
        .header("authorization", "Bearer user-secret");
    assert_eq!(bearer.send().await?.ok()?["group"], "users");
    workspace.stop().await;
    Ok(())
}
