//! `openagents channels`.

use serde_json::json;

use crate::harness::{Served, finish, openagents, served};

#[tokio::test]
async fn a_channel_is_made_changed_read_and_deleted() {
    let (_folder, served) = served().await;
    let made = ["channels", "create", "#dev", "--description", "Where we build"];
    assert_eq!(served.run(&made).await.ok(), "made #dev (1 member)\n");
    let again = served.run(&["channels", "create", "dev"]).await.failed();
    insta::assert_snapshot!(again, @r"
    error: there is a channel dev already
    hint: `openagents channels describe CHANNEL` tells about it
    ");
    let topic = ["channels", "topic", "dev", "Release 2"];
    assert_eq!(served.run(&topic).await.ok(), "changed the topic of #dev\n");
    let nothing = served.run(&topic).await.ok();
    assert_eq!(nothing, "nothing to change: it is so already\n");
    let rules = [
        "channels",
        "configure",
        "dev",
        "--allowed-file-types",
        ".CSV,md",
        "--max-file-size",
        "1kB",
        "--threading",
        "off",
    ];
    served.run(&rules).await.ok();
    let permissions = [
        "channels",
        "permissions",
        "dev",
        "--post",
        "agents,admin",
        "--manage",
        "all",
    ];
    served.run(&permissions).await.ok();
    let told = served
        .run(&["channels", "describe", "#dev", "--json"])
        .await
        .json();
    assert_eq!(
        (&told["description"], &told["topic"]),
        (&json!("Where we build"), &json!("Release 2"))
    );
    assert_eq!(
        told["settings"],
        json!({"max_file_size": 1000, "allowed_file_types": ["csv", "md"], "enable_threading": false})
    );
    assert_eq!(
        told["permissions"],
        json!({"post_messages": ["agents", "admin"], "manage_channel": ["all"]})
    );
    let shown = served.run(&["channels", "describe", "dev"]).await.ok();
    let rules: Vec<&str> = shown.lines().filter(|line| line.contains('=')).collect();
    insta::assert_snapshot!(rules.join("\n"), @r"
    rules        allowed_file_types=csv,md enable_threading=false max_file_size=1000
    permissions  manage_channel=all post_messages=agents,admin
    ");

    served.run(&["channels", "archive", "dev"]).await.ok();
    let archived = served.run(&["post", "dev", "Too late"]).await.failed();
    insta::assert_snapshot!(archived, @r"
    error: channel dev is archived: it can be read, and opened again by who manages it
    hint: who manages the channel opens it again with `openagents channels unarchive CHANNEL`
    ");
    let list = served.run(&["channels", "list"]).await.ok();
    assert_eq!(served.run(&["channels"]).await.ok(), list);
    insta::assert_snapshot!(list, @r"
    CHANNEL          MEMBERS  EVENTS  TOPIC      DESCRIPTION
    #dev (archived)  1        4       Release 2  Where we build
    #general         1        0                  Everybody is here
    ");
    served.run(&["channels", "unarchive", "dev"]).await.ok();
    served.run(&["post", "dev", "In time"]).await.ok();
    assert_eq!(
        served.run(&["channels", "delete", "dev"]).await.ok(),
        "deleted #dev\n"
    );
    let gone = served.run(&["channels", "describe", "dev"]).await.failed();
    insta::assert_snapshot!(gone, @r"
    error: there is no channel dev
    hint: `openagents channels` lists the channels
    ");
    served.stop().await;
}

#[tokio::test]
async fn members_join_and_leave() {
    let (_folder, served) = served().await;
    served
        .run(&["channels", "create", "council", "--agent", "ana"])
        .await
        .ok();
    let limit = [
        "channels",
        "configure",
        "council",
        "--max-members",
        "2",
        "--agent",
        "ana",
    ];
    served.run(&limit).await.ok();
    let join = |agent: &'static str| ["channels", "join", "council", "--agent", agent];
    assert_eq!(
        served.run(&join("bob")).await.ok(),
        "joined #council (2 members)\n"
    );
    let full = served.run(&join("cleo")).await.failed();
    assert!(full.contains("channel council is full"), "{full}");
    let outside = ["channels", "members", "council", "--agent", "cleo"];
    let outside = served.run(&outside).await.failed();
    insta::assert_snapshot!(outside, @r"
    error: join channel council first
    hint: `openagents channels join CHANNEL` makes you a member
    ");
    let page = ["channels", "members", "council", "--agent", "ana", "--limit", "1"];
    let page = served.run(&page).await;
    assert!(
        page.stderr.contains("further ones: --after ana"),
        "{}",
        page.stderr
    );
    let rest = [
        "channels", "members", "council", "--agent", "ana", "--after", "ana", "--json",
    ];
    let rest = served.run(&rest).await.json();
    assert_eq!(rest["members"][0]["id"], "bob");
    let leave = ["channels", "leave", "council", "--agent", "bob"];
    assert_eq!(served.run(&leave).await.ok(), "left #council (1 member)\n");
    served.run(&join("cleo")).await.ok();
    served.stop().await;
}

#[tokio::test]
async fn what_breaks_a_rule_names_it() {
    let (_folder, served) = served().await;
    let long = "a".repeat(1001);
    let cases: [&[&str]; 8] = [
        &["create", ""],
        &["create", " dev"],
        &["topic", "nowhere", "x"],
        &["topic", "general", &long],
        &["configure", "general"],
        &["configure", "general", "--allowed-file-types", "a/b"],
        &["permissions", "general"],
        &["delete", "general"],
    ];
    let mut told = String::new();
    for case in cases {
        let mut arguments = vec!["channels"];
        arguments.extend(case);
        let refused = served.run(&arguments).await.failed();
        told.push_str(refused.lines().next().unwrap_or_default());
        told.push('\n');
    }
    insta::assert_snapshot!(told, @r#"
    error: channel name "" is not valid: it is empty
    error: channel name " dev" is not valid: it starts or ends with a blank
    error: there is no channel nowhere
    error: topic: it has more than 1000 bytes
    error: say what is to change, such as --moderated on; `openagents channels describe` shows what holds
    error: settings.allowed_file_types: at most 100 extensions such as `csv`, 1 to 32 bytes each
    error: say what is to change, such as --post admin; `openagents channels describe` shows what holds
    error: the configuration wants channel general: archive it, or take it out there
    "#);
    served.stop().await;
}

#[tokio::test]
async fn messages_of_a_moderated_channel_are_listed_and_delivered_by_a_moderator() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let token = async |role: &str, agent: &str| {
        let mut command = openagents();
        command
            .args(["token", "create", "--role", role, "--agent", agent, "--data"])
            .arg(&data);
        finish(&mut command).await.ok().trim_end().to_owned()
    };
    let (ana, moderator) = (token("member", "ana").await, token("moderator", "mo").await);
    let served = Served::start(&data, &[]).await;
    served
        .run(&["channels", "create", "desk", "--token", &moderator])
        .await
        .ok();
    let moderated = [
        "channels",
        "configure",
        "desk",
        "--moderated",
        "on",
        "--token",
        &moderator,
    ];
    served.run(&moderated).await.ok();

    let posted = served.run(&["post", "desk", "May I?", "--token", &ana]).await;
    assert!(
        posted.stderr.contains("it is held until a moderator delivers it"),
        "{}",
        posted.stderr
    );
    let id = posted.ok().split(' ').nth(1).unwrap().to_owned();
    let history = ["history", "desk", "--token", &ana];
    assert_eq!(served.run(&history).await.ok(), "");
    let not_allowed = served.run(&["held", "--token", &ana]).await.failed();
    assert!(
        not_allowed.starts_with("error: only moderators see and release"),
        "{not_allowed}"
    );
    let held = served.run(&["held", "--token", &moderator]).await.ok();
    assert!(
        held.starts_with(&id) && held.ends_with("(moderation)  May I?\n"),
        "{held}"
    );
    let why = served
        .run(&["explain", &id, "mo", "--token", &moderator])
        .await
        .ok();
    assert!(
        why.starts_with("mo does not get it: the channel is moderated"),
        "{why}"
    );
    let unblock = ["unblock", &id, "--token", &moderator];
    assert_eq!(served.run(&unblock).await.ok(), "delivered 1 message\n");
    let again = served.run(&unblock).await.failed();
    assert!(again.contains("is not held"), "{again}");
    assert!(served.run(&history).await.ok().ends_with("ana May I?\n"));
    let nothing = served
        .run(&["held", "--json", "--token", &moderator])
        .await
        .json();
    assert_eq!(nothing, json!({"held": []}));
    let all = served
        .run(&["unblock", "--json", "--token", &moderator])
        .await
        .json();
    assert_eq!(all, json!({"released": 0}));
    served.stop().await;
}
