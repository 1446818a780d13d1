//! Who an event is from and where it goes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::read;
use crate::{AgentId, ChannelName, InvalidName, ModName};

/// Where an event goes.
///
/// Written `agent:bob`, `channel:general`, `agent:broadcast` (everyone), `system:system`, `mod:name`. The short
/// forms `bob`, `#general`, `broadcast` and `all` are read as well.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// One agent.
    Agent(AgentId),
    /// Every member of a channel.
    Channel(ChannelName),
    /// Every agent of the workspace.
    Everyone,
    /// The workspace itself; nobody else sees it.
    System,
    /// An extension of the workspace.
    Mod(ModName),
}

impl Address {
    /// What it is written of: the role with its colon, and the name.
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Agent(id) => ("agent:", id.as_str()),
            Self::Channel(name) => ("channel:", name.as_str()),
            Self::Everyone => ("agent:", "broadcast"),
            Self::System => ("system:", "system"),
            Self::Mod(name) => ("mod:", name.as_str()),
        }
    }

    /// The address as it is written. `to_string` says the same, slower.
    pub fn written(&self) -> String {
        let (role, name) = self.parts();
        [role, name].concat()
    }
}

impl FromStr for Address {
    type Err = InvalidName;

    fn from_str(input: &str) -> Result<Self, InvalidName> {
        if let Some(name) = input.strip_prefix('#') {
            return Ok(Self::Channel(name.parse()?));
        }
        match input.split_once(':') {
            _ if input == "broadcast" || input == "all" => Ok(Self::Everyone),
            _ if input == "system" || input == "mod" => Ok(Self::System),
            Some(("agent", "broadcast" | "all")) => Ok(Self::Everyone),
            Some(("agent", id)) => Ok(Self::Agent(id.parse()?)),
            Some(("channel", name)) => Ok(Self::Channel(ChannelName::from_written(name)?)),
            Some(("system", _)) => Ok(Self::System),
            Some(("mod", name)) => Ok(Self::Mod(name.parse()?)),
            Some(("group" | "unknown", _)) => Err(InvalidName::new(
                "address",
                input,
                "this role cannot be written to",
            )),
            _ => Ok(Self::Agent(input.parse()?)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (role, name) = self.parts();
        formatter.write_str(role)?;
        formatter.write_str(name)
    }
}

impl TryFrom<String> for Address {
    type Error = InvalidName;

    fn try_from(input: String) -> Result<Self, InvalidName> {
        input.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.written()
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer)
    }
}

/// Who made an event: an agent, or the workspace itself. Written as the bare agent id, or `system`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// An agent, as it authenticated.
    Agent(AgentId),
    /// The workspace.
    System,
}

impl Source {
    /// The source as it is written on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Agent(id) => id.as_str(),
            Self::System => "system",
        }
    }

    /// The agent, unless the workspace itself is the source.
    pub fn agent(&self) -> Option<&AgentId> {
        match self {
            Self::Agent(id) => Some(id),
            Self::System => None,
        }
    }
}

impl FromStr for Source {
    type Err = InvalidName;

    fn from_str(input: &str) -> Result<Self, InvalidName> {
        if input == "system" {
            Ok(Self::System)
        } else {
            Ok(Self::Agent(input.parse()?))
        }
    }
}

impl TryFrom<String> for Source {
    type Error = InvalidName;

    fn try_from(input: String) -> Result<Self, InvalidName> {
        input.parse()
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer)
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.as_str().to_owned()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, written: &str) {
        assert_eq!(input.parse::<Address>().unwrap().to_string(), written, "{input}");
    }

    #[test]
    fn every_documented_form_is_read() {
        check("agent:bob", "agent:bob");
        check("bob", "agent:bob");
        check("human:ana", "agent:human:ana");
        check("#general", "channel:general");
        check("channel:general", "channel:general");
        check("channel:#general", "channel:general");
        check("agent:broadcast", "agent:broadcast");
        check("broadcast", "agent:broadcast");
        check("system:system", "system:system");
        check(
            "mod:openagents.mods.workspace.forum",
            "mod:openagents.mods.workspace.forum",
        );
        for invalid in [
            "",
            "agent:",
            "channel:",
            "agent",
            "group:admins",
            "agent:agent:bob",
        ] {
            assert!(invalid.parse::<Address>().is_err(), "{invalid:?}");
        }
    }
}
