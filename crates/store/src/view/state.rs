//! The state of a workspace as rows, loaded whole when it starts.

use openagents_protocol::call::{ChannelPermissions, ChannelSettings};
use openagents_protocol::record::{AgentKey, TokenGrant};
use openagents_protocol::{Address, AgentId, ChannelName, EventId, Json, Pattern, Sequence, Source};
use rusqlite::{Connection, Row};
use serde::{Deserialize, Serialize};

use super::{Loaded, tally};
use crate::database;

/// An agent that the workspace knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentRow {
    /// The agent.
    pub agent_id: AgentId,
    /// Where the log first has it.
    pub first_sequence: Sequence,
    /// What it says of itself, a JSON object.
    pub metadata: Json,
    /// Whether the workspace made its id, which then ends with the lease.
    pub generated: bool,
    /// Whether it was there at the applied sequence.
    pub online: bool,
    /// When it first came, in milliseconds since 1970.
    pub joined_ms: u64,
    /// When it was last seen, in milliseconds since 1970.
    pub last_seen_ms: u64,
    /// What it does, where it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The group it is in; none: the default group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What proves it when it comes by without a connection of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<AgentKey>,
}

/// A channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChannelRow {
    /// The channel.
    pub channel: ChannelName,
    /// What it is for.
    pub description: String,
    /// Who made it.
    pub creator: Source,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// Where the log has that.
    pub created_at: Sequence,
    /// What it is about now.
    #[serde(default)]
    pub topic: String,
    /// Its rules.
    #[serde(default)]
    pub settings: ChannelSettings,
    /// Who may do what in it.
    #[serde(default)]
    pub permissions: ChannelPermissions,
    /// Whether it can be read and not written.
    #[serde(default)]
    pub archived: bool,
}

/// When an agent was a member of a channel, where that differs from the rule of the channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipRow {
    /// The channel.
    pub channel: ChannelName,
    /// The agent.
    pub agent_id: AgentId,
    /// The times, in ascending order.
    pub spans: Vec<Span>,
}

/// A time in sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Where it begins.
    pub from: Sequence,
    /// Where it ends; none: it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Sequence>,
}

/// What an agent wants to get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionRow {
    /// Names the subscription.
    pub id: EventId,
    /// Whose it is.
    pub agent_id: AgentId,
    /// Names of events.
    pub patterns: Vec<Pattern>,
    /// Only events of these channels; none: wherever they are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<ChannelName>>,
}

/// A token, of which only the hash is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRow {
    /// What it allows.
    pub grant: TokenGrant,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// Whether it admits no more.
    pub revoked: bool,
}

/// A change of the state, made with the records that caused it.
#[derive(Clone, Debug, PartialEq)]
pub enum StateChange {
    /// Adds or replaces an agent.
    PutAgent(AgentRow),
    /// Forgets an agent, and its cursor unless that lies after the applied sequence (which it only does while a
    /// view is rebuilt, when the agent has come back since).
    RemoveAgent(AgentId),
    /// Adds or replaces a channel.
    PutChannel(ChannelRow),
    /// Forgets a channel and its memberships.
    RemoveChannel(ChannelName),
    /// Adds or replaces a membership.
    PutMembership(MembershipRow),
    /// Adds or replaces a subscription.
    PutSubscription(SubscriptionRow),
    /// Forgets a subscription.
    RemoveSubscription(EventId),
    /// Adds or replaces a token.
    PutToken(TokenRow),
    /// Forgets a token.
    RemoveToken(EventId),
    /// Sets how many bytes all files have.
    PutFileBytes(u64),
    /// What was sent to a place is removed through here.
    PutHorizon(Address, Sequence),
}

const AGENT: &str = "agent";
const CHANNEL: &str = "channel";
const MEMBERSHIP: &str = "membership";
const SUBSCRIPTION: &str = "subscription";
const TOKEN: &str = "token";
const FILES: &str = "files";
const HORIZON: &str = "horizon";

impl StateChange {
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        match self {
            Self::PutAgent(row) => put(connection, AGENT, row.agent_id.as_str(), row),
            Self::RemoveAgent(agent_id) => remove(connection, AGENT, agent_id.as_str()),
            Self::PutChannel(row) => put(connection, CHANNEL, row.channel.as_str(), row),
            Self::RemoveChannel(channel) => {
                connection
                    .prepare_cached(
                        "DELETE FROM state WHERE kind = ?1 AND json_extract(value, '$.channel') = ?2",
                    )?
                    .execute((MEMBERSHIP, channel.as_str()))?;
                tally::forget(connection, channel)?;
                remove(connection, CHANNEL, channel.as_str())
            }
            Self::PutMembership(row) => {
                // The length keeps apart what a separator alone would not.
                let channel = row.channel.as_str();
                put(
                    connection,
                    MEMBERSHIP,
                    &format!("{}:{channel}:{}", channel.len(), row.agent_id),
                    row,
                )
            }
            Self::PutSubscription(row) => put(connection, SUBSCRIPTION, row.id.as_str(), row),
            Self::RemoveSubscription(id) => remove(connection, SUBSCRIPTION, id.as_str()),
            Self::PutToken(row) => put(connection, TOKEN, row.grant.id.as_str(), row),
            Self::RemoveToken(id) => remove(connection, TOKEN, id.as_str()),
            Self::PutFileBytes(bytes) => put(connection, FILES, "bytes", bytes),
            Self::PutHorizon(place, through) => {
                put(connection, HORIZON, &place.to_string(), &(place, through))
            }
        }
    }
}

fn put<T: Serialize>(connection: &Connection, kind: &str, key: &str, row: &T) -> rusqlite::Result<()> {
    let value =
        serde_json::to_string(row).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO state (kind, key, value) VALUES (?1, ?2, ?3)")?
        .execute((kind, key, value))?;
    Ok(())
}

fn remove(connection: &Connection, kind: &str, key: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM state WHERE kind = ?1 AND key = ?2")?
        .execute((kind, key))?;
    Ok(())
}

/// Reads all rows.
pub(super) fn load(connection: &Connection, loaded: &mut Loaded) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("SELECT kind, value, key FROM state")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        match row.get_ref(0)?.as_str()? {
            AGENT => loaded.agents.push(decode(row)?),
            CHANNEL => loaded.channels.push(decode(row)?),
            MEMBERSHIP => loaded.memberships.push(decode(row)?),
            SUBSCRIPTION => loaded.subscriptions.push(decode(row)?),
            TOKEN => loaded.tokens.push(decode(row)?),
            FILES => loaded.file_bytes = decode(row)?,
            HORIZON => loaded.horizons.push(decode(row)?),
            kind => {
                return Err(database::unreadable(
                    0,
                    format!("a state of the unknown kind {kind}"),
                ));
            }
        }
    }
    Ok(())
}

fn decode<T: for<'de> Deserialize<'de>>(row: &Row<'_>) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(1)?.as_str()?).map_err(|error| {
        let key = row
            .get_ref(2)
            .ok()
            .and_then(|key| key.as_str().ok())
            .unwrap_or_default();
        database::unreadable(1, format!("state of {key}: {error}"))
    })
}
