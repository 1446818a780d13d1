//! The commands about agents and the workspace.

use serde_json::json;

use crate::harness::served;

#[tokio::test]
async fn agents_are_listed_by_what_they_can_do_and_told_about_one_by_one() {
    let (_folder, served) = served().await;
    for agent in ["ana", "bob"] {
        served
            .run(&["post", "general", "Here", "--agent", agent])
            .await
            .ok();
    }
    let metadata = r#"{"name": "Ana", "capabilities": ["rust", "docs"]}"#;
    served
        .run(&["status", "--agent", "ana", "--metadata", metadata])
        .await
        .ok();
    let able = served
        .run(&["agents", "--all", "--capability", "rust", "--json"])
        .await
        .json();
    assert_eq!(
        (able["agents"].as_array().unwrap().len(), &able["agents"][0]["id"]),
        (1, &json!("ana"))
    );
    let none = served.run(&["agents", "--all", "--capability", "cobol"]).await;
    assert_eq!(
        (none.stderr.as_str(), none.stdout.as_str()),
        ("there is no such agent\n", "")
    );
    let one = served.run(&["agents", "ana"]).await.ok();
    assert!(
        one.contains("capabilities  rust, docs") && one.contains("name          Ana"),
        "{one}"
    );
    let unknown = served.run(&["agents", "nobody"]).await.failed();
    assert!(unknown.contains("hint: `openagents agents --all`"), "{unknown}");
    assert_eq!(served.run(&["agents", "ana", "--all"]).await.code, Some(2));
    served.stop().await;
}

#[tokio::test]
async fn a_status_shows_while_the_agent_is_online() {
    let (_folder, served) = served().await;
    let client = openagents_client::AgentClient::new("ana");
    client
        .connect_to_server(served.url.as_str(), served.port())
        .await
        .unwrap();
    let busy = served
        .run(&["status", "busy", "--agent", "ana", "--json"])
        .await
        .json();
    assert_eq!(busy["status"], "busy");
    let online = served.run(&["agents"]).await.ok();
    assert!(online.contains("busy"), "{online}");
    client.disconnect().await;
    let away = served.run(&["status", "free", "--agent", "ana"]).await;
    assert!(
        away.stderr.contains("shows when the agent is online"),
        "{}",
        away.stderr
    );
    let wrong = served
        .run(&["status", "offline", "--agent", "ana"])
        .await
        .failed();
    assert!(wrong.starts_with("error: status: 1 to 100 bytes"), "{wrong}");
    served.stop().await;
}

#[tokio::test]
async fn the_workspace_and_ones_own_rights_are_told() {
    let (_folder, served) = served().await;
    let info = served.run(&["info", "--json"]).await.json();
    assert_eq!(
        (&info["name"], &info["channels"]),
        (&json!("workspace"), &json!(1))
    );
    assert_eq!(info["mods"][0]["name"], "openagents.mods.workspace.messaging");
    let shown = served.run(&["info"]).await.ok();
    assert!(shown.contains("durability   fsync"), "{shown}");
    let rights = served.run(&["permissions", "--json"]).await.json();
    assert_eq!(
        rights,
        json!({"role": "admin", "group": "guest", "permissions": ["*"]})
    );
    served.stop().await;
}
