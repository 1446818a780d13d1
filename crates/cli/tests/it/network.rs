//! `openagents network`, as documented.

use std::fs;

use crate::harness::{Served, finish, openagents};

#[tokio::test]
async fn init_writes_a_file_that_starts_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let init = || {
        let mut command = openagents();
        command
            .args(["network", "init", "team"])
            .current_dir(folder.path());
        command
    };
    assert_eq!(finish(&mut init()).await.ok(), "wrote team/network.yaml\n");
    let written = fs::read_to_string(folder.path().join("team/network.yaml")).unwrap();
    let again = finish(&mut init()).await.failed();
    insta::assert_snapshot!(again, @"error: team/network.yaml is there already and stays as it is; start it with `openagents network start team`");
    assert_eq!(
        fs::read_to_string(folder.path().join("team/network.yaml")).unwrap(),
        written
    );

    for arguments in [
        &["network", "start", "team", "--port", "0"][..],
        &["network", "start", "--config", "team/network.yaml", "--port", "0"],
        &["network", "start", "team/network.yaml", "--port", "0"],
        &["serve", "--config", "team/network.yaml", "--port", "0"],
    ] {
        let served = Served::of(openagents().args(arguments).current_dir(folder.path())).await;
        let channels = served.run(&["channels", "--json"]).await.json();
        assert_eq!(channels["channels"][0]["name"], "general");
        let log = served.stop().await;
        assert!(
            !log.contains("WARN") && log.contains("network=team"),
            "{arguments:?}: {log}"
        );
        assert!(folder.path().join("team/data/log.db").is_file());
    }
}

#[tokio::test]
async fn what_has_no_effect_is_named_in_one_warning() {
    let folder = tempfile::tempdir().unwrap();
    let text = "
network:
  name: Team
  mode: centralized
  transports:
    - {type: http, config: {port: 0, serve_mcp: true}}
    - {type: mcp, config: {port: 8800}}
  mods:
    - name: openagents.mods.workspace.messaging
      config: {default_channels: [{name: ideas, description: Loose ends}]}
network_profile: {discoverable: true}
";
    fs::write(folder.path().join("network.yaml"), text).unwrap();
    let served = Served::of(openagents().args(["network", "start"]).arg(folder.path())).await;
    let channels = served.run(&["channels"]).await.ok();
    insta::assert_snapshot!(channels, @r"
    CHANNEL  MEMBERS  EVENTS  TOPIC  DESCRIPTION
    #ideas   0        0              Loose ends
    ");
    let log = served.stop().await;
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{log}");
    assert!(
        warnings[0].ends_with(
            "these settings have no effect: network.mode, network.transports[0].config.serve_mcp, \
             network_profile.discoverable, network.transports[1] (mcp)"
        ),
        "{log}"
    );
}

#[tokio::test]
async fn a_wrong_value_is_an_error_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let start = |text: &str| {
        fs::write(folder.path().join("network.yaml"), text).unwrap();
        let mut command = openagents();
        command.args(["network", "start", "."]).current_dir(folder.path());
        command
    };
    let error = finish(&mut start(
        "network: {name: a, transports: [{type: http, config: {port: many}}]}",
    ))
    .await;
    insta::assert_snapshot!(error.failed(), @r#"error: cannot use ./network.yaml: network.transports[0].config.port: invalid type: string "many", expected u16 at line 1 column 61"#);
    fs::remove_file(folder.path().join("network.yaml")).unwrap();
    let missing = finish(
        openagents()
            .args(["network", "start", "."])
            .current_dir(folder.path()),
    )
    .await;
    insta::assert_snapshot!(missing.failed(), @"error: there is no ./network.yaml: make one with `openagents network init .`");
}

#[tokio::test]
async fn the_passwords_of_groups_admit_to_what_they_allow() {
    let folder = tempfile::tempdir().unwrap();
    let text = "
network:
  name: Team
  requires_password: true
  transports: [{type: http, config: {port: 0, host: 0.0.0.0}}]
  agent_groups:
    users:
      password_hash: e606e38b0d8c19b24cf0ee3808183162ea7cd63ff7912dbb22b5e803286b4446
      metadata: {permissions: [read_channels]}
    moderators:
      password_hash: $2b$04$kqFB3p0NckB5Wt3ZKsiDS.MW9upi23BjTI2d5OYWhohqwF4uc0./W
      metadata: {permissions: ['*']}
";
    fs::write(folder.path().join("network.yaml"), text).unwrap();
    let mut served = Served::of(openagents().args(["network", "start"]).arg(folder.path())).await;
    served.url = format!("http://127.0.0.1:{}", served.port());
    let nobody = served.run(&["channels"]).await.failed();
    assert!(nobody.contains("this workspace wants a token"), "{nobody}");
    let told = served.run(&["permissions", "--token", "user123"]).await.ok();
    insta::assert_snapshot!(told, @r"
    agent  cli-tester
    role   member
    group  users
    may    read_channels
    ");
    let refused = served
        .run(&["post", "general", "Hi", "--token", "user123"])
        .await
        .failed();
    assert!(
        refused.contains("agents of group users have no permission post_messages"),
        "{refused}"
    );
    served
        .run(&["post", "general", "Hi", "--token", "mod456"])
        .await
        .ok();
    served.stop().await;
}
