//! Bad input: for every call a coded error that names the field, and nothing changes.

use std::collections::BTreeSet;

use anyhow::Context;
use openagents_e2e::{Stage, Wire};
use openagents_protocol::ErrorCode;
use openagents_protocol::call::METHODS;
use serde_json::{Value, json};

use crate::tokens::Tokens;

/// Calls with one thing wrong in each: method, parameters, and the code and field of the answer. `$200` stands for a
/// text of that length.
const WRONG_CALLS: &str = r#"
list_agents {"all": "yes"} invalid_field all
list_agents {"capability": 7} invalid_field capability
get_agent {} invalid_field agent_id
get_agent {"agent_id": ""} invalid_name agent_id
get_agent {"agent_id": "nobody"} agent_not_found agent_id
update_agent {"status": 7} invalid_field status
update_agent {"status": "offline"} invalid_field status
update_agent {"metadata": "text"} invalid_field metadata
create_channel {"description": "no name"} invalid_field name
create_channel {"name": "$200"} invalid_name name
create_channel {"name": "general"} channel_exists name
create_channel {"name": "a", "description": "$1001"} too_large description
join_channel {} invalid_field channel
join_channel {"channel": 7} invalid_field channel
join_channel {"channel": "$200"} invalid_name channel
join_channel {"channel": "nowhere"} channel_not_found channel
leave_channel {} invalid_field channel
leave_channel {"channel": 7} invalid_field channel
leave_channel {"channel": "$200"} invalid_name channel
leave_channel {"channel": "nowhere"} channel_not_found channel
list_members {} invalid_field channel
list_members {"channel": "nowhere"} channel_not_found channel
list_members {"channel": "general", "limit": 0} invalid_field limit
list_members {"channel": "general", "after": ""} invalid_name after
set_topic {"topic": "t"} invalid_field channel
set_topic {"channel": "general"} invalid_field topic
set_topic {"channel": "general", "topic": "$1001"} too_large topic
set_topic {"channel": "nowhere", "topic": ""} channel_not_found channel
configure_channel {"settings": {}} invalid_field channel
configure_channel {"channel": "general"} invalid_field settings
configure_channel {"channel": "nowhere", "settings": {}} channel_not_found channel
configure_channel {"channel": "general", "settings": {"max_file_size": -1}} invalid_field settings.max_file_size
configure_channel {"channel": "general", "settings": {"allowed_file_types": ["a/b"]}} invalid_field settings.allowed_file_types
configure_channel {"channel": "general", "settings": {"auto_archive_days": 0.5}} invalid_field settings.auto_archive_days
configure_channel {"channel": "general", "settings": {"enable_threading": 1}} invalid_field settings.enable_threading
set_permissions {"channel": "general"} invalid_field permissions
set_permissions {"channel": "nowhere", "permissions": {}} channel_not_found channel
set_permissions {"channel": "general", "permissions": {"post_messages": ["robots"]}} invalid_field permissions.post_messages[0]
set_permissions {"channel": "general", "permissions": {"upload_files": "all"}} invalid_field permissions.upload_files
archive_channel {} invalid_field channel
archive_channel {"channel": "nowhere"} channel_not_found channel
archive_channel {"channel": "general", "archived": 1} invalid_field archived
delete_channel {} invalid_field channel
delete_channel {"channel": "$200"} invalid_name channel
delete_channel {"channel": "nowhere"} channel_not_found channel
list_messages {} invalid_field channel
list_messages {"channel": "general", "agent_id": "bob"} invalid_field channel
list_messages {"channel": "nowhere"} channel_not_found channel
list_messages {"agent_id": "nobody"} agent_not_found agent_id
list_messages {"thread_id": "no-such-message"} message_not_found thread_id
list_messages {"thread_id": ""} invalid_field thread_id
list_messages {"channel": "general", "limit": 1001} invalid_field limit
list_messages {"channel": "general", "limit": "many"} invalid_field limit
list_messages {"channel": "general", "before": 1, "after": 1} invalid_field before
list_messages {"channel": "general", "offset": -1} invalid_field offset
get_message {} invalid_field message_id
get_message {"message_id": ""} invalid_field message_id
get_message {"message_id": "no-such-message"} message_not_found message_id
edit_message {"content": "x"} invalid_field message_id
edit_message {"message_id": "m"} invalid_field content
edit_message {"message_id": "m", "content": 7} invalid_field content
edit_message {"message_id": "no-such-message", "content": "x"} message_not_found message_id
delete_message {} invalid_field message_id
delete_message {"message_id": "$200"} invalid_field message_id
delete_message {"message_id": "no-such-message"} message_not_found message_id
react {"message_id": "m"} invalid_field reaction
react {"message_id": "m", "reaction": ""} invalid_field reaction
react {"message_id": "m", "reaction": "two words"} invalid_field reaction
react {"message_id": "m", "reaction": "$65"} invalid_field reaction
react {"message_id": "m", "reaction": "ok", "action": "toggle"} invalid_field action
react {"message_id": "no-such-message", "reaction": "ok"} message_not_found message_id
list_conversations {"limit": 0} invalid_field limit
list_conversations {"before": "now"} invalid_field before
list_files {"limit": 5000} invalid_field limit
list_files {"channel": "$200"} invalid_name channel
list_files {"agent_id": "a\nb"} invalid_name agent_id
get_file {} invalid_field file_id
get_file {"file_id": "$200"} invalid_field file_id
get_file {"file_id": "no-such-file"} file_not_found file_id
delete_file {} invalid_field file_id
delete_file {"file_id": 7} invalid_field file_id
delete_file {"file_id": "no-such-file"} file_not_found file_id
explain {"event_id": "m"} invalid_field agent_id
explain {"agent_id": "bob"} invalid_field event_id
explain {"event_id": "m", "agent_id": "$200"} invalid_name agent_id
unblock {"message_id": 7} invalid_field message_id
unblock {"message_id": "no-such-message"} message_not_found message_id
read_events {"limit": 0} invalid_field limit
read_events {"wait": 31} invalid_field wait
read_events {"after": -1} invalid_field after
subscribe {} invalid_field patterns
subscribe {"patterns": []} invalid_field patterns
subscribe {"patterns": [""]} invalid_field patterns[0]
subscribe {"patterns": ["*"], "channels": ["a\nb"]} invalid_field channels
unsubscribe {"subscription_id": "no-such-one"} subscription_not_found subscription_id
create_token {"role": "emperor"} invalid_field role
create_token {"agent_id": ""} invalid_field agent_id
create_token {"expires_in_seconds": "soon"} invalid_field expires_in_seconds
revoke_token {"token_id": "no-such-one"} token_not_found token_id
get_retention {"keep_for_seconds": "90days"} invalid_field keep_for_seconds
get_retention {"keep_events": -1} invalid_field keep_events
"#;

/// A call with one thing wrong in it.
struct Wrong {
    method: &'static str,
    params: Value,
    code: &'static str,
    field: &'static str,
}

impl Wrong {
    fn read(line: &'static str) -> anyhow::Result<Self> {
        let (method, rest) = line.split_once(' ').context("a method")?;
        let (rest, field) = rest.rsplit_once(' ').context("a field")?;
        let (params, code) = rest.rsplit_once(' ').context("a code")?;
        let params = match params.split_once('$') {
            None => params.to_owned(),
            Some((before, rest)) => {
                let (length, after) = rest.split_once('"').context("the end of a text")?;
                format!("{before}{}\"{after}", "x".repeat(length.parse()?))
            }
        };
        Ok(Self {
            method,
            params: serde_json::from_str(&params)?,
            code,
            field,
        })
    }

    fn all() -> anyhow::Result<Vec<Self>> {
        WRONG_CALLS.trim().lines().map(Self::read).collect()
    }
}

/// Calls that take nothing that could be wrong, and the one that others test.
const WITHOUT_PARAMETERS: [&str; 7] = [
    "get_workspace",
    "get_permissions",
    "follow_system",
    "list_mods",
    "list_channels",
    "list_held",
    "list_tokens",
];
const ELSEWHERE: [&str; 1] = ["search_messages"];

#[tokio::test]
async fn every_call_names_the_field_and_the_rule_and_changes_nothing() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob"]).await?;
    let mut wire = Wire::open(stage.workspace(), "alice", json!({})).await?;
    let before = stage.workspace().server().workspace().head();
    let wrong = Wrong::all()?;
    for Wrong {
        method,
        params,
        code,
        field,
    } in &wrong
    {
        let error = wire.call(method, params).await?.expect_err(method);
        let blamed = (error.code.as_str(), error.field.as_deref());
        assert_eq!(blamed, (*code, Some(*field)), "{method} {params}: {error}");
        assert!(5 < error.message.len(), "{method} {params}: {error}");
    }
    let wrong: BTreeSet<&str> = wrong.iter().map(|wrong| wrong.method).collect();
    for method in METHODS {
        let covered =
            wrong.contains(method) || WITHOUT_PARAMETERS.contains(method) || ELSEWHERE.contains(method);
        assert!(covered, "{method} is not tried");
    }
    for method in WITHOUT_PARAMETERS {
        assert!(
            wire.call(method, &json!({"what": "else"})).await?.is_ok(),
            "{method} ignores what it does not know"
        );
        let error = wire.call(method, &json!([])).await?;
        assert!(error.is_ok() || error.is_err_and(|error| error.code == ErrorCode::InvalidField));
    }
    let unknown = wire
        .call("no_such_method", &json!({}))
        .await?
        .expect_err("unknown");
    assert_eq!(
        (unknown.code, unknown.field.as_deref()),
        (ErrorCode::UnknownMethod, Some("method"))
    );
    assert_eq!(
        stage.workspace().server().workspace().head(),
        before,
        "nothing was stored"
    );
    stage.silence().await?;
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn every_field_of_an_event_is_checked() -> anyhow::Result<()> {
    let mut stage = Stage::of(&["alice", "bob"]).await?;
    let mut wire = Wire::open(stage.workspace(), "alice", json!({})).await?;
    let before = stage.workspace().server().workspace().head();
    let good = json!({"event_name": "channel.message.posted", "destination_id": "channel:general",
                      "payload": {"content": {"text": "x"}}});
    let cases = [
        ("event_name", json!(null), "event.event_name"),
        ("event_name", json!("Upper.case"), "event_name"),
        ("event_name", json!("nodot"), "event_name"),
        ("event_name", json!("channel.deleted"), "event_name"),
        ("event_name", json!("channel.message.replied"), "reply_to_id"),
        ("event_id", json!(7), "event.event_id"),
        ("event_id", json!("x".repeat(200)), "event_id"),
        ("destination_id", json!(null), "destination_id"),
        ("destination_id", json!("agent:bob"), "destination_id"),
        ("destination_id", json!("channel:"), "destination_id"),
        ("destination_id", json!("group:x"), "destination_id"),
        ("destination_id", json!("system:system"), "destination_id"),
        ("payload", json!([]), "payload"),
        ("payload", json!({}), "payload.content"),
        ("payload", json!({"content": [1]}), "payload.content"),
        (
            "payload",
            json!({"content": "x", "reply_to_id": 7}),
            "payload.reply_to_id",
        ),
        (
            "payload",
            json!({"content": "x", "mentioned_agent_id": 7}),
            "payload.mentioned_agent_id",
        ),
        (
            "payload",
            json!({"content": "x", "mentioned_agent_id": ""}),
            "payload.mentioned_agent_id",
        ),
        ("metadata", json!("text"), "metadata"),
        ("visibility", json!("secret"), "event.visibility"),
        ("allowed_agents", json!([""]), "allowed_agents"),
        ("allowed_agents", json!("bob"), "event.allowed_agents"),
        ("reply_to_id", json!(""), "reply_to_id"),
        ("reply_to_id", json!("no-such-message"), "reply_to_id"),
        ("response_to", json!("x".repeat(200)), "response_to"),
        ("caused_by", json!("a\nb"), "caused_by"),
        ("thread_name", json!("x".repeat(257)), "thread_name"),
        ("relevant_mod", json!("x".repeat(257)), "relevant_mod"),
        ("ephemeral", json!(true), "ephemeral"),
        ("requires_response", json!("yes"), "event.requires_response"),
    ];
    for (field, value, blamed) in cases {
        let mut event = good.clone();
        event[field] = value.clone();
        let error = wire.publish(&event).await?.expect(field);
        assert_eq!(error.field.as_deref(), Some(blamed), "{field} {value}: {error}");
        assert!(5 < error.message.len(), "{field} {value}: {error}");
    }
    let error = wire.publish(&json!({"payload": {}})).await?.expect("no name");
    assert_eq!(error.field.as_deref(), Some("event.event_name"));
    assert_eq!(
        stage.workspace().server().workspace().head(),
        before,
        "nothing was stored"
    );
    assert!(wire.publish(&good).await?.is_none());
    assert_eq!(stage.heard_once_by(&["bob"]).await?.text(), Some("x"));
    stage.end().await;
    Ok(())
}

#[tokio::test]
async fn who_may_not_is_told_so_and_changes_nothing() -> anyhow::Result<()> {
    let tokens = Tokens::serve().await?;
    let alice = tokens.join("alice", "member").await?;
    let dev = alice.workspace().create_channel("dev", "").await?;
    let message = dev.post("hello").await.message_id().expect("accepted").to_owned();
    let reader = tokens.token("reader", "observer").await?;
    let member = tokens.token("bob", "member").await?;
    let workspace = &tokens.workspace;
    for (agent, token, calls) in [
        (
            "reader",
            &reader,
            vec![
                ("create_channel", json!({"name": "mine"})),
                ("set_topic", json!({"channel": "dev", "topic": "mine"})),
                ("edit_message", json!({"message_id": message, "content": "mine"})),
                ("react", json!({"message_id": message, "reaction": "ok"})),
                ("delete_message", json!({"message_id": message})),
                ("archive_channel", json!({"channel": "dev"})),
            ],
        ),
        (
            "bob",
            &member,
            vec![
                ("edit_message", json!({"message_id": message, "content": "mine"})),
                ("delete_message", json!({"message_id": message})),
                (
                    "configure_channel",
                    json!({"channel": "dev", "settings": {"auto_archive_days": 1}}),
                ),
                (
                    "set_permissions",
                    json!({"channel": "dev", "permissions": {"post_messages": ["admin"]}}),
                ),
                ("archive_channel", json!({"channel": "dev"})),
                ("delete_channel", json!({"channel": "dev"})),
                ("list_held", json!({})),
                ("unblock", json!({})),
                ("create_token", json!({"role": "admin"})),
                ("list_tokens", json!({})),
                ("get_retention", json!({})),
                ("revoke_token", json!({"token_id": "any"})),
                ("explain", json!({"event_id": message, "agent_id": "alice"})),
            ],
        ),
    ] {
        let mut wire = Wire::open(workspace, agent, json!({"token": token})).await?;
        let before = workspace.server().workspace().head();
        for (method, params) in calls {
            let error = wire.call(method, &params).await?.expect_err(method);
            assert_eq!(error.code, ErrorCode::Forbidden, "{agent}: {method}: {error}");
        }
        assert_eq!(
            workspace.server().workspace().head(),
            before,
            "nothing was stored"
        );
    }
    let mut observer = Wire::open(workspace, "reader", json!({"token": reader})).await?;
    let post = json!({"event_name": "channel.message.posted", "destination_id": "channel:dev", "payload": {"content": "x"}});
    let error = observer.publish(&post).await?.expect("observers read");
    assert_eq!(error.code, ErrorCode::Forbidden);
    tokens.workspace.stop().await;
    Ok(())
}
