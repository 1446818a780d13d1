//! What a workspace answers when it is asked everything: the same, whether its view was kept or built anew from the log.

use std::collections::BTreeMap;
use std::path::Path;

use openagents_protocol::Json;
use openagents_protocol::record::Role;
use openagents_server::{Caller, Settings, Workspace};
use serde_json::{Value, json};

/// Questions and their answers.
pub(crate) type Answers = BTreeMap<String, String>;

/// The answers of the workspace as it is on the disk, and after its view was built anew.
pub(crate) async fn before_and_after(data: &Path, settings: Settings) -> anyhow::Result<(Answers, Answers)> {
    let before = ask(data, settings.clone()).await?;
    Workspace::rebuild(data, settings.clone(), |_, _, _| ()).await?;
    Ok((before, ask(data, settings).await?))
}

/// Every question on which the two differ.
pub(crate) fn compare(before: &Answers, after: &Answers) -> Vec<String> {
    let questions = before.keys().chain(after.keys());
    let differing = questions.filter(|question| before.get(*question) != after.get(*question));
    let mut broken: Vec<String> = differing
        .map(|question| {
            let (before, after) = (before.get(question), after.get(question));
            format!("a view built anew answers {question} with {after:?} instead of {before:?}")
        })
        .collect();
    broken.dedup();
    broken
}

async fn ask(data: &Path, settings: Settings) -> anyhow::Result<Answers> {
    let workspace = Workspace::open(data, settings).await?;
    let mut answers = Answers::new();
    let operator = Caller::new("operator".parse()?, Role::Admin);
    let agents = call(&workspace, &operator, "list_agents", json!({}), &mut answers).await;
    call(&workspace, &operator, "get_workspace", json!({}), &mut answers).await;
    call(&workspace, &operator, "list_held", json!({}), &mut answers).await;
    let names = |list: &Value, key: &str| {
        let named = list.as_array().into_iter().flatten();
        named
            .filter_map(|item| item[key].as_str().map(str::to_owned))
            .collect::<Vec<String>>()
    };
    let agents = names(&agents["agents"], "agent_id");
    for agent in &agents {
        let caller = Caller::new(agent.parse()?, Role::Member);
        let mut ask = async |method, params| call(&workspace, &caller, method, params, &mut answers).await;
        ask("get_agent", json!({"agent_id": agent})).await;
        ask("list_conversations", json!({"limit": 1000})).await;
        let channels = ask("list_channels", json!({})).await;
        for channel in names(&channels["channels"], "name") {
            ask("list_members", json!({"channel": channel})).await;
            ask("list_messages", json!({"channel": channel, "limit": 1000})).await;
        }
        for other in &agents {
            ask("list_messages", json!({"agent_id": other, "limit": 1000})).await;
        }
        let mut after = 0;
        loop {
            let page = ask("read_events", json!({"after": after, "limit": 1000})).await;
            if page["events"].as_array().is_none_or(Vec::is_empty) {
                break;
            }
            after = page["through"].as_u64().unwrap_or(u64::MAX);
        }
    }
    workspace.close().await;
    Ok(answers)
}

async fn call(
    workspace: &Workspace,
    caller: &Caller,
    method: &str,
    params: Value,
    answers: &mut Answers,
) -> Value {
    let question = format!("{method} {params} of {}", caller.agent_id);
    let answer = workspace.call(caller, method, &Json::from(params)).await;
    let answer = answer.map_or_else(
        |error| json!({"refused": error.code.as_str()}),
        |json| json.value().clone(),
    );
    answers.insert(question, answer.to_string());
    answer
}
