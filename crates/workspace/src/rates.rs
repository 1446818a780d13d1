//! How much one agent may do in a minute or an hour, where the operator minds.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock as Ticks;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use openagents_protocol::{AgentId, ErrorBody, ErrorCode, Source};

use crate::settings::{Clock, Settings};
use crate::workspace::Workspace;

/// Agents whose rates are remembered before those that rested long enough are looked for and forgotten.
const REMEMBERED: usize = 10_000;

impl Ticks for Clock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_millis(self.now_ms())
    }
}

/// What each agent may still do. Forgotten by a restart.
#[derive(Debug)]
pub(crate) struct Rates {
    messages: Option<Rate>,
    files: Option<Rate>,
    requests: Option<Rate>,
}

/// The most of something in a time: so many at once, and from there on evenly spread.
#[derive(Debug)]
struct Rate {
    limiter: RateLimiter<AgentId, HashMapStateStore<AgentId>, Clock, NoOpMiddleware<Duration>>,
    /// For people, such as `60 messages a minute`.
    limit: String,
}

impl Rate {
    fn new(quota: Quota, limit: String, clock: &Clock) -> Self {
        Self {
            limiter: RateLimiter::new(quota, HashMapStateStore::default(), clock.clone()),
            limit,
        }
    }

    /// Counts one more, unless it is one too many.
    fn take(&self, agent_id: &AgentId) -> Result<(), ErrorBody> {
        if REMEMBERED < self.limiter.len() {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(agent_id).map_err(|_| {
            let message = format!("an agent has at most {} here: wait a moment", self.limit);
            ErrorBody::new(ErrorCode::RateLimited, message)
        })
    }
}

impl Rates {
    pub(crate) fn of(settings: &Settings) -> Self {
        let rate = |most: Option<NonZeroU32>, quota: fn(NonZeroU32) -> Quota, what: &str| {
            most.map(|most| Rate::new(quota(most), format!("{most} {what}"), &settings.clock))
        };
        Self {
            messages: rate(
                settings.max_messages_per_minute,
                Quota::per_minute,
                "messages a minute",
            ),
            files: rate(settings.max_files_per_hour, Quota::per_hour, "files an hour"),
            requests: rate(
                settings.max_requests_per_minute,
                Quota::per_minute,
                "requests a minute",
            ),
        }
    }

    /// Counts a message of an author.
    ///
    /// # Errors
    ///
    /// `rate_limited`.
    pub(crate) fn take_message(&self, author: &Source) -> Result<(), ErrorBody> {
        take_of(self.messages.as_ref(), author.agent())
    }

    /// Counts a file of an author.
    ///
    /// # Errors
    ///
    /// `rate_limited`.
    pub(crate) fn take_file(&self, author: &Source) -> Result<(), ErrorBody> {
        take_of(self.files.as_ref(), author.agent())
    }
}

/// Counts one more where there is a limit; what the workspace does itself is not counted.
fn take_of(rate: Option<&Rate>, agent_id: Option<&AgentId>) -> Result<(), ErrorBody> {
    match (rate, agent_id) {
        (Some(rate), Some(agent_id)) => rate.take(agent_id),
        _ => Ok(()),
    }
}

impl Workspace {
    /// Counts something that an agent asks for.
    ///
    /// # Errors
    ///
    /// `rate_limited`.
    pub fn take_request(&self, agent_id: &AgentId) -> Result<(), ErrorBody> {
        take_of(self.inner().rates.requests.as_ref(), Some(agent_id))
    }
}
