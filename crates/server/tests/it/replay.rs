//! What was recorded of the official server is said to ours, and the answers are compared.
//!
//! `docs/compatibility.md` lists every difference with its reason. The page and this test hold each other: a difference
//! that is not listed fails, and so does a listed one that is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openagents_protocol::legacy::prost::Message;
use openagents_protocol::legacy::prost_types::value::Kind;
use openagents_protocol::legacy::prost_types::{Any, ListValue, Struct, Value as ProtoValue};
use openagents_protocol::legacy::{
    Event, EventResponse, HeartbeatRequest, HeartbeatResponse, RegisterAgentRequest, RegisterAgentResponse,
    UnregisterAgentRequest, UnregisterAgentResponse,
};
use openagents_server::{Config, ConfiguredChannel, DefaultMembership, Group, Mods};
use serde_json::{Value, json};

use crate::harness::Running;
use crate::legacy::{Answer, Caller};

/// Hex SHA-256 of "admin".
const ADMIN: &str = "8c6976e5b5410415bde908bd4dee15dfb167a9c873fc4bb8a81f6f2ab448a918";

/// Values that differ from run to run.
const VOLATILE: [&str; 22] = [
    "_connect_time",
    "cache_id",
    "connected_at",
    "created_at",
    "expires_at",
    "file_id",
    "host",
    "implementation",
    "last_seen",
    "max_connections",
    "network_uuid",
    "node_id",
    "port",
    "root_message_id",
    "secret_of_registration",
    "subscription_id",
    "thread_id",
    "timestamp",
    "updated_at",
    "uptime_seconds",
    "wire_base64",
    "headers",
];

/// What differs, by the name of the recording: `path` has another value, `+path` is there besides, `-path` is not there.
type Differences = BTreeMap<String, BTreeSet<String>>;

fn vectors(kind: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/{kind}.jsonl"));
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn number(name: &str) -> u32 {
    name.split('-').next().unwrap().parse().unwrap()
}

/// One run of recordings against one server.
struct Run {
    caller: Caller,
    /// Our secrets, by agent.
    secrets: BTreeMap<String, String>,
    /// Ids that the server made, by those it made when it was recorded.
    ids: BTreeMap<String, String>,
    found: Differences,
}

impl Run {
    async fn against(running: &Running) -> Self {
        Self {
            caller: Caller::of(running).await,
            secrets: BTreeMap::new(),
            ids: BTreeMap::new(),
            found: Differences::new(),
        }
    }

    async fn register(&mut self, agent_id: &str, metadata: Value, password_hash: &str) {
        let body = json!({"agent_id": agent_id, "metadata": metadata, "password_hash": password_hash});
        let answer = self.caller.post("/api/register", &body).await.json();
        assert_eq!(answer["success"], true, "{answer}");
        self.secrets
            .insert(agent_id.to_owned(), answer["secret"].as_str().unwrap().to_owned());
    }

    async fn register_over_grpc(&mut self, agent_id: &str, metadata: &[(&str, &str)]) {
        let request = RegisterAgentRequest {
            agent_id: agent_id.to_owned(),
            metadata: metadata
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            ..RegisterAgentRequest::default()
        };
        let rpc = "/openagents.AgentService/RegisterAgent";
        let answer: RegisterAgentResponse = self.caller.grpc(rpc, &request.encode_to_vec()).await.unwrap();
        assert!(answer.success, "{}", answer.error_message);
        self.secrets.insert(agent_id.to_owned(), answer.secret);
    }

    async fn send(&mut self, source: &str, target: &str, name: &str, event_id: &str, payload: Value) {
        let body = json!({
            "event_id": event_id,
            "event_name": name,
            "source_id": source,
            "target_agent_id": target,
            "payload": payload,
            "secret": self.secrets[source],
        });
        let answer = self.caller.post("/api/send_event", &body).await.json();
        assert_eq!(answer["success"], true, "{answer}");
    }

    async fn poll(&mut self, agent_id: &str) -> Vec<Value> {
        let path = format!("/api/poll?agent_id={agent_id}&secret={}", self.secrets[agent_id]);
        let answer = self.caller.get(&path).await.json();
        answer["messages"].as_array().unwrap().clone()
    }

    /// A secret as it is shown now. What was no secret then is none now.
    fn secret(&self, agent_id: &str, recorded: &str) -> String {
        let agent_id = agent_id.strip_prefix("agent:").unwrap_or(agent_id);
        let is_secret = recorded.len() == 64 || recorded.starts_with("<secret:");
        match self.secrets.get(agent_id).filter(|_| is_secret) {
            Some(secret) => secret.clone(),
            None => recorded.to_owned(),
        }
    }

    fn note(&mut self, name: &str, differences: BTreeSet<String>) {
        if !differences.is_empty() {
            self.found.entry(name.to_owned()).or_default().extend(differences);
        }
    }

    fn compare(&mut self, name: &str, recorded: &Value, answered: &Value) {
        let recorded: Value = serde_json::from_str(&self.with_ids(&recorded.to_string())).unwrap();
        let mut differences = BTreeSet::new();
        compare(&recorded, answered, String::new(), &mut differences);
        self.note(name, differences);
    }

    /// Remembers ids that the server made.
    fn learn(&mut self, recorded: &Value, answered: &Value) {
        for key in ["subscription_id", "cache_id", "file_id"] {
            for place in ["", "/data"] {
                let pointer = format!("{place}/{key}");
                if let (Some(Value::String(then)), Some(Value::String(now))) =
                    (recorded.pointer(&pointer), answered.pointer(&pointer))
                {
                    self.ids.insert(then.clone(), now.clone());
                }
            }
        }
    }

    fn with_ids(&self, text: &str) -> String {
        let replace = |text: String, (then, now): (&String, &String)| text.replace(then, now);
        self.ids.iter().fold(text.to_owned(), replace)
    }
}

/// Notes down what differs.
fn compare(recorded: &Value, answered: &Value, path: String, differences: &mut BTreeSet<String>) {
    match (recorded, answered) {
        (Value::Object(then), Value::Object(now)) => {
            for (key, value) in then {
                let here = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                match now.get(key) {
                    _ if VOLATILE.contains(&key.as_str()) => {}
                    None => drop(differences.insert(format!("-{here}"))),
                    // The id of a notification was made by the server.
                    Some(_) if key == "event_id" && path.ends_with("[]") => {}
                    Some(found) => compare(value, found, here, differences),
                }
            }
            for key in now.keys().filter(|key| !then.contains_key(*key)) {
                let dot = if path.is_empty() { "" } else { "." };
                differences.insert(format!("+{path}{dot}{key}"));
            }
        }
        (Value::Array(then), Value::Array(now)) if then.iter().chain(now).any(|one| key(one).is_some()) => {
            compare_by_key(then, now, &path, differences);
        }
        (Value::Array(then), Value::Array(now)) => {
            if then.len() != now.len() {
                differences.insert(format!("{path}[] ({} instead of {})", now.len(), then.len()));
            }
            for (value, found) in then.iter().zip(now) {
                compare(value, found, format!("{path}[]"), differences);
            }
        }
        (Value::Number(then), Value::Number(now)) if then.as_f64() == now.as_f64() => {}
        (then, now) if then == now => {}
        _ => drop(differences.insert(path)),
    }
}

/// What an entry of a list is known by.
fn key(entry: &Value) -> Option<&str> {
    let is_mod = entry.get("version").or(entry.get("enabled"));
    let key = entry.get("message_id").or_else(|| is_mod.and(entry.get("name")));
    key.and_then(Value::as_str)
}

/// Compares lists of messages and extensions: by their keys, and then their order.
fn compare_by_key(then: &[Value], now: &[Value], path: &str, differences: &mut BTreeSet<String>) {
    let find = |list: &[Value], wanted: &str| list.iter().find(|entry| key(entry) == Some(wanted)).cloned();
    for entry in then {
        match find(now, key(entry).unwrap()) {
            Some(found) => compare(entry, &found, format!("{path}[]"), differences),
            None => drop(differences.insert(format!("-{path}[]"))),
        }
    }
    for entry in now {
        if find(then, key(entry).unwrap()).is_none() {
            differences.insert(format!("+{path}[]"));
        }
    }
    let order = |list: &[Value], other: &[Value]| -> Vec<String> {
        let common = list
            .iter()
            .filter_map(key)
            .filter(|one| find(other, one).is_some());
        common.map(str::to_owned).collect()
    };
    if order(then, now) != order(now, then) && path.ends_with("messages") {
        differences.insert(format!("{path}[] in another order"));
    }
}

fn groups() -> Vec<Group> {
    let group = |name: &str, description: &str, hash: &str, metadata: Value| {
        let mut group = Group::open(name);
        description.clone_into(&mut group.description);
        group.password_hash = Some(hash.to_owned());
        let permissions = metadata["permissions"].as_array().map(|names| {
            let names = names.iter().filter_map(Value::as_str);
            names.map(str::to_owned).collect()
        });
        group.permissions = permissions.filter(|_| name == "admin");
        group.metadata = metadata.into();
        group
    };
    let researchers = json!({"permissions": ["execute_tasks"], "agents": ["g1", "g2"]});
    vec![
        group("researchers", "Research agents", &"ab".repeat(32), researchers),
        group("admin", "Administrators", ADMIN, json!({"permissions": ["all"]})),
    ]
}

fn quick(config: &mut Config) {
    config.legacy.hold = Duration::from_millis(1);
    config.workspace.takeover_wait = Duration::from_millis(50);
    config.legacy.recommended = Some("grpc".to_owned());
    config.legacy.network_id = Some("wire-ref-1".to_owned());
    "WireRef".clone_into(&mut config.workspace.name);
    "Reference for wire capture".clone_into(&mut config.workspace.description);
    config.workspace.groups = groups();
}

async fn core_over_http() -> Differences {
    let running = Running::with(|config| {
        quick(config);
        config.legacy.mods = Mods::none();
        config.workspace.default_membership = DefaultMembership::Nobody;
        config.workspace.channels = Vec::new();
    })
    .await;
    let mut run = Run::against(&running).await;
    for vector in vectors("core") {
        let name = vector["name"].as_str().unwrap();
        match number(name) {
            4 => {
                run.register("bob", json!({"name": "Bob"}), "").await;
                run.register("carol", json!({}), "").await;
            }
            13 => {
                // Everybody has read what came before.
                for agent_id in ["alice", "bob", "carol", "root", "dave"] {
                    run.poll(agent_id).await;
                }
            }
            15 | 42 => drop(run.poll("bob").await),
            24 => {
                run.send("alice", "bob", "demo.note.posted", "s1", json!({}))
                    .await;
                run.send(
                    "alice",
                    "bob",
                    "demo.task.created",
                    "s2",
                    json!({"filtered": false}),
                )
                .await;
            }
            51..=200 => continue,
            _ => {}
        }
        run.over_http(name, &vector).await;
    }
    run.over_grpc_too().await;
    running.server.shutdown().await;
    run.found
}

impl Run {
    async fn over_grpc_too(&mut self) {
        for vector in vectors("core") {
            let name = vector["name"].as_str().unwrap();
            match number(name) {
                60..=74 | 76..=77 => {}
                75 => {
                    self.oversized(name).await;
                    continue;
                }
                _ => continue,
            }
            if number(name) == 64 {
                self.register_over_grpc("hank", &[("name", "Hank")]).await;
            }
            self.over_grpc(name, &vector).await;
        }
    }

    async fn over_http(&mut self, name: &str, vector: &Value) {
        let request = &vector["request"];
        let method = request["method"].as_str().unwrap();
        let mut path = self.with_ids(request["path"].as_str().unwrap());
        if let Some(query) = request["query"].as_object() {
            let agent_id = query.get("agent_id").and_then(Value::as_str).unwrap_or_default();
            let pairs: Vec<String> = query
                .iter()
                .map(|(key, value)| match key.as_str() {
                    "secret" => format!("secret={}", self.secret(agent_id, value.as_str().unwrap())),
                    _ => format!("{key}={}", value.as_str().unwrap()),
                })
                .collect();
            path = format!("{path}?{}", pairs.join("&"));
        }
        let recorded = &vector["response"];
        let answer = if let Some(form) = request.get("multipart") {
            self.form(&path, form).await
        } else if let Some(raw) = request.get("raw_body").and_then(Value::as_str) {
            let raw = raw.to_owned();
            self.caller.http(method, &path, "application/json", raw).await
        } else if let Some(body) = request.get("body") {
            let mut body: Value = serde_json::from_str(&self.with_ids(&body.to_string())).unwrap();
            let source = body["source_id"].as_str().or(body["agent_id"].as_str());
            if let (Some(source), Some(secret)) = (source, body["secret"].as_str()) {
                let secret = self.secret(source, secret);
                body["secret"] = secret.into();
            } else if let Some(source) = source
                && body.get("event_name").is_some()
                && let Some(secret) = self.secrets.get(source)
            {
                // The commands of registered agents want their secrets here.
                body["secret"] = secret.as_str().into();
            }
            self.caller
                .http(method, &path, "application/json", body.to_string())
                .await
        } else {
            self.caller.http(method, &path, "application/json", "").await
        };
        let mut answered = answer.json();
        self.learn(&recorded["body"], &answered);
        if path == "/api/register" && answered["success"] == true {
            let agent_id = request["body"]["agent_id"].as_str().unwrap().to_owned();
            let secret = answered["secret"].as_str().unwrap().to_owned();
            assert_eq!(secret.len(), 64);
            self.secrets.insert(agent_id, secret);
            answered["secret"] = recorded["body"]["secret"].clone();
        }
        let mut differences = BTreeSet::new();
        if recorded["status"] != answer.status {
            differences.insert(format!("status {}", answer.status));
        }
        if let Some(headers) = recorded["headers"].as_object() {
            for (header, value) in headers {
                let found = answer.headers.get(header).and_then(|found| found.to_str().ok());
                if found != value.as_str() {
                    differences.insert(format!("header {header}"));
                }
            }
        }
        self.note(&format!("core/{name}"), differences);
        self.compare(&format!("core/{name}"), &recorded["body"], &answered);
    }

    async fn form(&mut self, path: &str, form: &Value) -> Answer {
        const BOUNDARY: &str = "recorded";
        let mut body = String::new();
        let file = &form["file"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        write!(body, "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{}\"\r\nContent-Type: {}\r\n\r\n{}\r\n",
            text(&file["filename"]),
            text(&file["content_type"]),
            text(&file["text"])).unwrap();
        let agent_id = text(&form["fields"]["agent_id"]);
        for (key, value) in form["fields"].as_object().unwrap() {
            let value = match key.as_str() {
                "secret" => self.secret(&agent_id, value.as_str().unwrap()),
                _ => text(value),
            };
            write!(
                body,
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{key}\"\r\n\r\n{value}\r\n"
            )
            .unwrap();
        }
        write!(body, "--{BOUNDARY}--\r\n").unwrap();
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        self.caller.http("POST", path, &kind, body).await
    }

    async fn over_grpc(&mut self, name: &str, vector: &Value) {
        let rpc = vector["request"]["rpc"].as_str().unwrap();
        let wire = match vector["request"]["wire_base64"].as_str() {
            Some(wire) => STANDARD.decode(wire).unwrap(),
            None => Vec::new(),
        };
        let recorded = &vector["response"]["message"];
        let full_name = format!("core/{name}");
        match rpc.rsplit('/').next().unwrap() {
            "Heartbeat" => {
                HeartbeatRequest::decode(wire.as_slice()).unwrap();
                let answer: HeartbeatResponse = self.caller.grpc(rpc, &wire).await.unwrap();
                self.compare(
                    &full_name,
                    recorded,
                    &json!({"success": answer.success, "timestamp": 0}),
                );
            }
            "RegisterAgent" => {
                let request = RegisterAgentRequest::decode(wire.as_slice()).unwrap();
                let answer: RegisterAgentResponse = self.caller.grpc(rpc, &wire).await.unwrap();
                if answer.success {
                    self.secrets.insert(request.agent_id, answer.secret);
                }
                let answered = json!({
                    "success": answer.success,
                    "error_message": answer.error_message,
                    "secret": recorded["secret"],
                });
                self.compare(&full_name, recorded, &answered);
            }
            "UnregisterAgent" => {
                let mut request = UnregisterAgentRequest::decode(wire.as_slice()).unwrap();
                request.secret = self.secret(&request.agent_id, &request.secret);
                let answer: UnregisterAgentResponse =
                    self.caller.grpc(rpc, &request.encode_to_vec()).await.unwrap();
                let answered = json!({"success": answer.success, "error_message": answer.error_message});
                self.compare(&full_name, recorded, &answered);
            }
            "SendEvent" => {
                let mut event = Event::decode(wire.as_slice()).unwrap();
                event.secret = self.secret(&event.source_id, &event.secret);
                if let Some(Any { type_url, value }) = &mut event.payload
                    && type_url.ends_with("Struct")
                {
                    let mut payload = Struct::decode(value.as_slice()).unwrap();
                    for found in payload.fields.values_mut() {
                        if let Some(Kind::StringValue(text)) = &mut found.kind {
                            *text = self.with_ids(text);
                        }
                    }
                    *value = payload.encode_to_vec();
                }
                let answered = told(&self.caller.grpc(rpc, &event.encode_to_vec()).await.unwrap());
                let mut recorded = recorded.clone();
                if let Some(data) = recorded.pointer("/data/value_utf8_json").cloned() {
                    recorded["data"] = data;
                }
                self.learn(&recorded, &answered);
                self.compare(&full_name, &recorded, &answered);
            }
            _ => {
                let status = self.caller.grpc::<EventResponse>(rpc, &wire).await.unwrap_err();
                assert_eq!(vector["response"]["status"], "UNIMPLEMENTED");
                assert_eq!(status, 12, "{name}");
            }
        }
    }

    /// What was too much for the official server.
    async fn oversized(&mut self, name: &str) {
        let text = ProtoValue {
            kind: Some(Kind::StringValue("x".repeat(5_000_000))),
        };
        let payload = Struct {
            fields: [("text".to_owned(), text)].into_iter().collect(),
        };
        let event = Event {
            event_id: "large".to_owned(),
            event_name: "demo.large.sent".to_owned(),
            source_id: "gina".to_owned(),
            target_agent_id: "gina".to_owned(),
            payload: Some(Any {
                type_url: "type.googleapis.com/google.protobuf.Struct".to_owned(),
                value: payload.encode_to_vec(),
            }),
            secret: self.secrets["gina"].clone(),
            ..Event::default()
        };
        let rpc = "/openagents.AgentService/SendEvent";
        let answer = self
            .caller
            .grpc::<EventResponse>(rpc, &event.encode_to_vec())
            .await;
        if answer.is_ok_and(|answer| answer.success) {
            self.note(&format!("core/{name}"), BTreeSet::from(["status OK".to_owned()]));
        }
    }
}

/// An answer over gRPC, as it was recorded.
fn told(answer: &EventResponse) -> Value {
    let data = answer.data.as_ref();
    json!({
        "success": answer.success,
        "message": answer.message,
        "data": data.map(|data| serde_json::from_slice::<Value>(&data.value).unwrap()),
        "event_name": answer.event_name,
    })
}

async fn core_with_mods() -> Differences {
    let running = Running::with(|config| {
        quick(config);
        config.legacy.mods.simple_messaging = false;
        config.legacy.mods.broadcast_connection = true;
        config.legacy.mods.broadcast_disconnection = true;
        config.workspace.channels =
            vec![ConfiguredChannel::new("general".parse().unwrap()).described("General chat")];
    })
    .await;
    let mut run = Run::against(&running).await;
    run.register("alice", json!({}), "").await;
    run.register("bob", json!({"capabilities": {"lang": ["en"]}}), "")
        .await;
    for vector in vectors("core") {
        let name = vector["name"].as_str().unwrap();
        match number(name) {
            86 => {
                let payload = json!({
                    "target_agent_id": "bob",
                    "message_type": "direct_message",
                    "content": {"text": "psst"},
                });
                run.send("alice", "bob", "thread.direct_message.send", "psst", payload)
                    .await;
            }
            91 => {
                let payload = json!({
                    "target_message_id": "3e000000-3333-4c4c-8c8c-000000000002",
                    "reaction_type": "+1",
                });
                run.send("bob", "", "thread.reaction.add", "reaction", payload)
                    .await;
            }
            81..=99 => {}
            _ => continue,
        }
        run.over_http(name, &vector).await;
    }
    running.server.shutdown().await;
    run.found
}

async fn client_captures() -> Differences {
    let running = Running::with(quick).await;
    let mut run = Run::against(&running).await;
    run.register_over_grpc("cli-g", &[("name", "G")]).await;
    run.register("cli-h", json!({"name": "H", "capabilities": ["x"]}), "")
        .await;
    for vector in vectors("core") {
        let name = vector["name"].as_str().unwrap();
        if number(name) < 100 {
            continue;
        }
        if vector["request"].get("rpc").is_some() {
            run.over_grpc(name, &vector).await;
        } else {
            run.over_http(name, &vector).await;
        }
    }
    running.server.shutdown().await;
    run.found
}

async fn messaging() -> Differences {
    const OVER_HTTP: [&str; 4] = ["alice", "bob", "carol", "boss"];
    let running = Running::with(|config| {
        quick(config);
        config.workspace.channels = vec![
            ConfiguredChannel::new("general".parse().unwrap()).described("General discussion"),
            ConfiguredChannel::new("random".parse().unwrap()).described("Channel random"),
        ];
    })
    .await;
    let mut run = Run::against(&running).await;
    for agent_id in OVER_HTTP {
        let hash = if agent_id == "boss" { ADMIN } else { "" };
        run.register(agent_id, json!({}), hash).await;
    }
    for vector in vectors("messaging") {
        let name = format!("messaging/{}", vector["name"].as_str().unwrap());
        if number(vector["name"].as_str().unwrap()) == 54 {
            run.register_over_grpc("dave", &[]).await;
        }
        for agent_id in OVER_HTTP {
            run.poll(agent_id).await;
        }
        let setup = vector["setup"].as_array().unwrap();
        for request in setup {
            run.say(request).await;
        }
        if !setup.is_empty() {
            for agent_id in OVER_HTTP {
                run.poll(agent_id).await;
            }
        }
        let recorded = &vector["response"];
        let answered = if vector["transport"] == "grpc" {
            run.say_over_grpc(&vector["request"]).await
        } else {
            run.say(&vector["request"]).await
        };
        run.learn(recorded, &answered);
        run.compare(&name, recorded, &answered);
        let mut told = BTreeMap::new();
        for agent_id in OVER_HTTP {
            told.insert(agent_id, run.poll(agent_id).await);
        }
        let mut expected: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for notification in vector["notifications"].as_array().unwrap() {
            let to = notification["to"].as_str().unwrap();
            expected
                .entry(to)
                .or_default()
                .push(notification["event"].clone());
        }
        for agent_id in OVER_HTTP {
            let then = Value::Array(expected.remove(agent_id).unwrap_or_default());
            let now = Value::Array(told.remove(agent_id).unwrap());
            let mut differences = BTreeSet::new();
            compare(&then, &now, "notified".to_owned(), &mut differences);
            run.note(&name, differences);
        }
    }
    running.server.shutdown().await;
    run.found
}

impl Run {
    fn prepared(&self, request: &Value) -> Value {
        let mut body: Value = serde_json::from_str(&self.with_ids(&request.to_string())).unwrap();
        let source = body["source_id"].as_str().unwrap().to_owned();
        let secret = self.secret(&source, body["secret"].as_str().unwrap_or_default());
        body["secret"] = secret.into();
        body
    }

    async fn say(&mut self, request: &Value) -> Value {
        let body = self.prepared(request);
        self.caller.post("/api/send_event", &body).await.json()
    }

    async fn say_over_grpc(&mut self, request: &Value) -> Value {
        let body = self.prepared(request);
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let event = Event {
            event_id: text("event_id"),
            event_name: text("event_name"),
            source_id: text("source_id"),
            target_agent_id: text("target_agent_id"),
            payload: Some(Any {
                type_url: "type.googleapis.com/google.protobuf.Struct".to_owned(),
                value: structure(&body["payload"]).encode_to_vec(),
            }),
            visibility: text("visibility"),
            secret: text("secret"),
            ..Event::default()
        };
        let rpc = "/openagents.AgentService/SendEvent";
        told(&self.caller.grpc(rpc, &event.encode_to_vec()).await.unwrap())
    }
}

fn structure(value: &Value) -> Struct {
    let entries = value.as_object().into_iter().flatten();
    Struct {
        fields: entries.map(|(key, value)| (key.clone(), proto(value))).collect(),
    }
}

fn proto(value: &Value) -> ProtoValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(values) => Kind::ListValue(ListValue {
            values: values.iter().map(proto).collect(),
        }),
        Value::Object(_) => Kind::StructValue(structure(value)),
    };
    ProtoValue { kind: Some(kind) }
}

/// What the page lists: the differences that are everywhere, by the end of their path, and those of single recordings.
fn listed() -> (BTreeSet<String>, Differences) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compatibility.md");
    let page = std::fs::read_to_string(page).unwrap_or_default();
    let mut everywhere = BTreeSet::new();
    let mut single = Differences::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let words = |cell: &str| -> BTreeSet<String> {
            cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        let first = words(cells[0]);
        match first.iter().next() {
            Some(name) if name.starts_with("core/") || name.starts_with("messaging/") => {
                single.entry(name.clone()).or_default().extend(words(cells[1]));
            }
            Some(path) if path.starts_with(['+', '-', '=']) => everywhere.extend(first),
            _ => {}
        }
    }
    (everywhere, single)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_exchange_is_answered_alike_or_its_difference_is_listed() {
    let mut found = core_over_http().await;
    found.extend(core_with_mods().await);
    found.extend(client_captures().await);
    found.extend(messaging().await);

    let (everywhere, single) = listed();
    let mut used = BTreeSet::new();
    for differences in found.values_mut() {
        differences.retain(|difference| {
            let covering = everywhere.iter().find(|listed| {
                let (sign, path) = listed.split_at(1);
                let path = path.trim_start_matches('=');
                match difference.strip_prefix(['+', '-']) {
                    Some(rest) => difference.starts_with(sign) && ends_with(rest, path),
                    None => sign == "=" && ends_with(difference, path),
                }
            });
            used.extend(covering.cloned());
            covering.is_none()
        });
    }
    found.retain(|_, differences| !differences.is_empty());
    let tell = |differences: &Differences| {
        let line = |(name, paths): (&String, &BTreeSet<String>)| {
            let paths: Vec<String> = paths.iter().map(|path| format!("`{path}`")).collect();
            format!("| `{name}` | {} |", paths.join(", "))
        };
        differences.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(
        tell(&single),
        tell(&found),
        "docs/compatibility.md (left) lists other differences"
    );
    assert_eq!(
        everywhere, used,
        "docs/compatibility.md (left) lists what is not so everywhere"
    );
}

/// Whether a path ends with these keys.
fn ends_with(path: &str, end: &str) -> bool {
    path == end || path.ends_with(&format!(".{end}")) || path.ends_with(&format!("[].{end}"))
}
