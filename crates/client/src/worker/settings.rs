//! Who an agent is, and how it behaves.

use std::time::Duration;

use openagents_protocol::Json;
use serde_json::{Map, Value};

/// Who a [`crate::WorkerAgent`] is and how it behaves; from [`crate::WorkerAgent::settings`].
///
/// ```
/// # use openagents_client::WorkerSettings;
/// let settings = WorkerSettings::new()
///     .default_agent_id("reviewer")
///     .description("Reads what others write")
///     .capabilities(["review"])
///     .default_channels(["general", "#reviews"]);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct WorkerSettings {
    pub(crate) agent_id: Option<String>,
    pub(crate) ignore_own_messages: bool,
    pub(crate) auto_mention_response: bool,
    pub(crate) channels: Vec<String>,
    pub(crate) description: String,
    pub(crate) capabilities: Vec<String>,
    pub(crate) metadata: Json,
    pub(crate) grace: Duration,
    pub(crate) max_file_bytes: u64,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            agent_id: None,
            ignore_own_messages: true,
            auto_mention_response: true,
            channels: Vec::new(),
            description: String::new(),
            capabilities: Vec::new(),
            metadata: Json::empty_object(),
            grace: Duration::from_secs(10),
            max_file_bytes: 100 * 1024 * 1024,
        }
    }
}

impl WorkerSettings {
    /// Every default.
    pub fn new() -> Self {
        Self::default()
    }

    /// The id of the agent where the start gives no other. Default: the name of its type in lower case.
    pub fn default_agent_id(mut self, agent_id: impl Into<String>) -> Self {
        self.agent_id = Some(agent_id.into());
        self
    }

    /// Whether messages, reactions and files of the agent itself are passed over. Default true.
    pub fn ignore_own_messages(mut self, ignore: bool) -> Self {
        self.ignore_own_messages = ignore;
        self
    }

    /// Whether a mention calls `on_channel_mention`; if not, it is a post or a reply like any other. Default true.
    pub fn auto_mention_response(mut self, respond: bool) -> Self {
        self.auto_mention_response = respond;
        self
    }

    /// Channels that the agent joins at its start, with or without `#`; those that do not exist are made.
    pub fn default_channels<T: Into<String>>(mut self, channels: impl IntoIterator<Item = T>) -> Self {
        self.channels = channels.into_iter().map(Into::into).collect();
        self
    }

    /// What the agent does, for others; `description` of its metadata.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// What the agent can do, for others to find it by; `capabilities` of its metadata.
    pub fn capabilities<T: Into<String>>(mut self, capabilities: impl IntoIterator<Item = T>) -> Self {
        self.capabilities = capabilities.into_iter().map(Into::into).collect();
        self
    }

    /// What the agent says of itself besides, a JSON object such as `{"role": "worker"}`.
    pub fn metadata(mut self, metadata: impl Into<Json>) -> Self {
        self.metadata = metadata.into();
        self
    }

    /// How long a shutdown waits for running hooks, and then for `on_shutdown`. Default 10 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The largest file that is fetched for [`crate::FileContext::file_path`], in bytes. Default 100 MiB.
    pub fn max_file_bytes(mut self, bytes: u64) -> Self {
        self.max_file_bytes = bytes;
        self
    }

    /// All that the agent says of itself: what was given at the start wins over the settings. None where there is
    /// nothing to say.
    pub(crate) fn all_metadata(&self, given: Option<&Json>) -> Option<Json> {
        let mut all = Map::new();
        if !self.description.is_empty() {
            all.insert("description".to_owned(), self.description.as_str().into());
        }
        if !self.capabilities.is_empty() {
            all.insert("capabilities".to_owned(), self.capabilities.as_slice().into());
        }
        let asked = given.is_some();
        for part in std::iter::once(&self.metadata).chain(given) {
            match part.value() {
                Value::Object(entries) => all.extend(entries.clone()),
                // The connection says what is wrong with it.
                _ => return Some(part.clone()),
            }
        }
        (asked || !all.is_empty()).then(|| Value::Object(all).into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(settings: &WorkerSettings, given: &Value, expected: &Value) {
        let given = Some(Json::from(given.clone())).filter(|given| !given.value().is_null());
        let all = settings.all_metadata(given.as_ref());
        assert_eq!(all.as_ref().map_or(&Value::Null, Json::value), expected);
    }

    #[test]
    fn metadata_is_put_together_and_what_is_given_last_wins() {
        let plain = WorkerSettings::new();
        check(&plain, &json!(null), &json!(null));
        check(&plain, &json!({}), &json!({}));
        let settings = plain
            .description("reads")
            .capabilities(["review"])
            .metadata(json!({"role": "worker", "team": 1}));
        check(
            &settings,
            &json!({"team": 2}),
            &json!({"description": "reads", "capabilities": ["review"], "role": "worker", "team": 2}),
        );
        check(&settings, &json!("no object"), &json!("no object"));
    }
}
