//! Agents: who is there, what they are, do and can.

use openagents_client::AgentClient;
use openagents_e2e::{Stage, check_event, keys};
use openagents_protocol::ErrorCode;
use openagents_protocol::call::{ListAgents, UpdateAgent};
use serde_json::json;

#[tokio::test]
async fn agents_are_listed_with_what_they_said_of_themselves() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice"]).await?;
    let bob = AgentClient::new("bob");
    let metadata =
        json!({"name": "Bob", "capabilities": ["coding", "research"], "role": "worker", "x": {"y": 1}});
    bob.connect_to_server("127.0.0.1", stage.workspace().port())
        .metadata(metadata.clone())
        .await?;
    let event = stage.heard_once_by(&["alice"]).await?;
    check_event(&event, "agent.joined", "agent_id metadata");
    assert_eq!(
        event.payload.value(),
        &json!({"agent_id": "bob", "metadata": metadata})
    );

    let agents = bob.list_agents().await?;
    let ids: Vec<&str> = agents.iter().map(|agent| agent.id.as_str()).collect();
    assert_eq!(ids, ["alice", "bob", "conductor"], "oneself included");
    let told = serde_json::to_value(&agents[1])?;
    assert_eq!(
        keys(&told),
        "agent_id capabilities id last_seen metadata name status"
    );
    assert_eq!(
        (&told["id"], &told["agent_id"], &told["name"]),
        (&json!("bob"), &json!("bob"), &json!("Bob"))
    );
    assert_eq!(
        (&told["status"], &told["metadata"]),
        (&json!("online"), &metadata)
    );
    assert_eq!(
        keys(&serde_json::to_value(&agents[0])?),
        "agent_id capabilities id last_seen metadata status"
    );
    assert_eq!(bob.workspace().list_agents().await?, agents);
    assert_eq!(bob.workspace().agents().await?, ids);

    let capable = stage.agent("alice").find_agents("coding").await?;
    assert_eq!(capable.len(), 1);
    assert!(stage.agent("alice").find_agents("cod").await?.is_empty());
    let info = stage
        .agent("alice")
        .workspace()
        .agent("agent:bob")
        .get_agent_info()
        .await?;
    assert_eq!(info, agents[1]);

    bob.disconnect().await;
    let event = stage.heard_once_by(&["alice"]).await?;
    check_event(&event, "agent.left", "agent_id reason");
    assert_eq!(
        event.payload.value(),
        &json!({"agent_id": "bob", "reason": "disconnected"})
    );
    let away = stage
        .agent("alice")
        .workspace()
        .agent("bob")
        .get_agent_info()
        .await?;
    assert_eq!((away.status.as_str(), away.capabilities.len()), ("offline", 2));
    assert!(info.last_seen <= away.last_seen);
    let all = ListAgents {
        all: true,
        ..Default::default()
    };
    assert_eq!(stage.agent("alice").call(all).await?.agents.len(), 3);
    let unknown = stage
        .agent("alice")
        .workspace()
        .agent("nobody")
        .get_agent_info()
        .await;
    assert_eq!(unknown.expect_err("never here").code(), "agent_not_found");
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn status_and_metadata_are_told_to_everybody_else() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob", "carol"]).await?;
    let bob = stage.agent("bob");
    assert_eq!(bob.set_status("busy").await?.status, "busy");
    let event = stage.heard_once_by(&["alice", "carol"]).await?;
    check_event(&event, "agent.status.changed", "agent_id status");
    assert_eq!(
        event.payload.value(),
        &json!({"agent_id": "bob", "status": "busy"})
    );
    bob.set_status("busy").await?;
    stage.silence().await?;
    let info = bob
        .set_metadata(json!({"name": "Robert", "capabilities": ["rest"]}))
        .await?;
    assert_eq!(
        (info.name.as_deref(), info.status.as_str()),
        (Some("Robert"), "busy")
    );
    let event = stage.heard_once_by(&["alice", "carol"]).await?;
    check_event(&event, "agent.metadata.updated", "agent_id metadata");
    assert_eq!(event.payload["metadata"]["name"], "Robert");
    assert_eq!(stage.agent("alice").find_agents("rest").await?[0].id, "bob");
    assert_eq!(bob.set_status("online").await?.status, "online");
    stage.heard().await?;

    for wrong in ["", "offline", " busy", "a\nb", &"x".repeat(101)] {
        let error = bob.set_status(wrong).await.expect_err("refused");
        assert_eq!(error.code(), "invalid_field", "{wrong:?}");
    }
    for (wrong, code) in [
        (json!([]), "invalid_field"),
        (json!({"x": "x".repeat(70_000)}), "too_large"),
    ] {
        assert_eq!(bob.set_metadata(wrong).await.expect_err("refused").code(), code);
    }
    let both = UpdateAgent {
        status: Some("fine".to_owned()),
        metadata: Some(json!("wrong").into()),
    };
    assert_eq!(
        bob.call(both).await.expect_err("one of them is wrong").code(),
        "invalid_field"
    );
    stage.silence().await?;
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn a_client_without_an_id_gets_one_of_its_own() -> anyhow::Result<()> {
    let stage = Stage::of(&["alice"]).await?;
    let (one, other) = (AgentClient::anonymous(), AgentClient::anonymous());
    for client in [&one, &other] {
        assert!(!client.is_connected());
        client
            .connect_to_server("127.0.0.1", stage.workspace().port())
            .await?;
        assert!(client.is_connected());
        assert!(client.workspace().channel("general").post("hi").await.success);
    }
    assert_ne!(one.agent_id(), other.agent_id());
    assert_eq!(stage.agent("alice").list_agents().await?.len(), 4);
    assert!(one.disconnect().await && !one.disconnect().await && !one.is_connected());
    let all = ListAgents {
        all: true,
        ..Default::default()
    };
    assert_eq!(
        stage.agent("alice").call(all).await?.agents.len(),
        3,
        "such an id ends with its agent"
    );
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn the_workspace_tells_what_it_is() -> anyhow::Result<()> {
    let stage = Stage::with(&["alice"], |config| config.workspace.name = "team".to_owned()).await?;
    let info = stage.agent("alice").workspace().get_network_info().await?;
    assert_eq!(
        (info.name.as_str(), info.agents_online, info.channels),
        ("team", 2, 1)
    );
    let mods = stage.agent("alice").list_mods().await?;
    let told = serde_json::to_value(&mods[0])?;
    assert_eq!(keys(&told), "description name requires_adapter version");
    assert_eq!(told["name"], "openagents.mods.workspace.messaging");
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn agents_over_rest() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["bob"]).await?;
    let workspace = stage.workspace();
    let listed = workspace.get("agents", "alice").await?.ok()?;
    assert_eq!(
        listed["agents"].as_array().map(Vec::len),
        Some(2),
        "asking makes nobody online"
    );
    let update = json!({"status": "reading", "metadata": {"name": "Alice", "capabilities": ["reading"]}});
    let updated = workspace
        .request("PATCH", "agent", "alice")
        .json(&update)
        .send()
        .await?
        .ok()?;
    assert_eq!(
        (&updated["name"], &updated["status"]),
        (&json!("Alice"), &json!("offline"))
    );
    let told = workspace.get("agents/alice", "bob").await?.ok()?;
    assert_eq!(told["capabilities"], json!(["reading"]));
    assert_eq!(
        workspace
            .get("agents?all&capability=reading", "bob")
            .await?
            .ok()?["agents"][0]["id"],
        "alice"
    );
    let unknown = workspace.get("agents/nobody", "bob").await?.refusal()?;
    assert_eq!(unknown, (404, ErrorCode::AgentNotFound, Some("agent_id".into())));
    assert_eq!(workspace.get("workspace", "bob").await?.ok()?["agents_online"], 2);
    assert_eq!(
        workspace.get("mods", "bob").await?.ok()?["mods"][0]["requires_adapter"],
        false
    );
    let names: Vec<String> = stage.heard().await?["bob"]
        .iter()
        .map(|event| event.event_name.clone())
        .collect();
    assert_eq!(names, ["agent.metadata.updated", "agent.status.changed"]);
    stage.end().await;
    Ok(())
}
