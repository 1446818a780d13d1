//! Strings with rules: parsed once, at the edge, and never wrong afterwards.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A string that breaks the rules of the name it was meant to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {input:?} is not valid: {reason}")]
pub struct InvalidName {
    /// What the string was meant to be, such as `channel name`.
    pub kind: &'static str,
    /// The string, cut to its first 64 characters.
    pub input: String,
    /// The rule it breaks.
    pub reason: &'static str,
}

impl InvalidName {
    pub(crate) fn new(kind: &'static str, input: &str, reason: &'static str) -> Self {
        Self {
            kind,
            input: input.chars().take(64).collect(),
            reason,
        }
    }
}

/// Longest agent id, channel name or event id, in bytes.
const MAX_LEN: usize = 128;

/// Roles that an address may start with; an id that starts like one would be ambiguous.
const ROLES: [&str; 6] = ["agent:", "channel:", "group:", "mod:", "system:", "unknown:"];

/// Words that mean something else where an agent id may stand.
const RESERVED_IDS: [&str; 6] = ["agent", "all", "broadcast", "channel", "mod", "system"];

fn check_text(input: &str) -> Result<(), &'static str> {
    match input.len() {
        0 => Err("it is empty"),
        length if MAX_LEN < length => Err("it is longer than 128 bytes"),
        _ if input.chars().any(char::is_control) => Err("it has a control character"),
        _ if input.trim() != input => Err("it starts or ends with a blank"),
        _ => Ok(()),
    }
}

fn check_agent_id(input: &str) -> Result<(), &'static str> {
    check_text(input)?;
    if ROLES.iter().any(|role| input.starts_with(role)) {
        return Err("it starts with a role such as `agent:`");
    }
    if RESERVED_IDS.contains(&input) {
        return Err("it is a reserved word");
    }
    Ok(())
}

fn check_channel_name(input: &str) -> Result<(), &'static str> {
    check_text(input)?;
    if input.starts_with('#') {
        return Err("it starts with `#`");
    }
    if ROLES.iter().any(|role| input.starts_with(role)) {
        return Err("it starts with a role such as `channel:`");
    }
    Ok(())
}

fn check_event_name(input: &str) -> Result<(), &'static str> {
    if 256 < input.len() {
        return Err("it is longer than 256 bytes");
    }
    let mut parts = 0;
    for part in input.split('.') {
        let bytes = part.as_bytes();
        if !bytes.first().is_some_and(u8::is_ascii_lowercase) {
            return Err("every part between dots starts with a lower-case letter");
        }
        if bytes.len() < 2 {
            return Err("every part between dots has at least two characters");
        }
        let legal = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
        if !bytes.iter().all(legal) {
            return Err("it has a character outside a-z, 0-9, `_` and `.`");
        }
        parts += 1;
    }
    if parts < 2 {
        return Err("it has no dot");
    }
    if ["transport.message", "base.event", "system.event"].contains(&input) {
        return Err("it is a reserved name");
    }
    Ok(())
}

/// Reads what is written as a string with rules, without a copy of the string in between: every event has a handful.
pub(crate) fn read<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    struct Text<T>(PhantomData<T>);

    impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a string")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Text(PhantomData))
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(input: &str) -> Result<Self, InvalidName> {
                match $check(input) {
                    Ok(()) => Ok(Self(input.into())),
                    Err(reason) => Err(InvalidName::new($kind, input, reason)),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(input: String) -> Result<Self, InvalidName> {
                input.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                read(deserializer)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, formatter)
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_str() == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.as_str() == *other
            }
        }
    };
}

name! {
    /// Identifies an agent in a workspace, such as `demo-agent`.
    ///
    /// 1 to 128 bytes of UTF-8 without control characters and without blanks at the ends. It may not start
    /// with a role (`agent:`, `channel:`, …) nor be one of the words that addresses use (`broadcast`,
    /// `all`, `system`, …). Ids compare byte for byte, so `Bob` and `bob` differ. Cloning is cheap.
    AgentId, "agent id", check_agent_id
}

name! {
    /// Name of a channel, such as `general`.
    ///
    /// 1 to 128 bytes of UTF-8 without control characters, without blanks at the ends, without a leading `#`
    /// or role. Names compare byte for byte. Cloning is cheap.
    ChannelName, "channel name", check_channel_name
}

name! {
    /// Name of an event, such as `channel.message.posted`.
    ///
    /// Two or more parts between dots, at most 256 bytes in all. A part has at least two characters out of
    /// `a-z`, `0-9` and `_` and starts with a letter. Cloning is cheap.
    EventName, "event name", check_event_name
}

name! {
    /// Identifies an event, and so a message: chosen by its author, unique in the workspace.
    ///
    /// 1 to 128 bytes of UTF-8 without control characters and without blanks at the ends. Cloning is cheap.
    EventId, "event id", check_text
}

name! {
    /// Name of an extension of the workspace, such as `openagents.mods.workspace.messaging`.
    ModName, "mod name", check_text
}

impl EventId {
    /// A new id: a UUID of version 7, so ids sort by the time they were made.
    #[expect(
        clippy::new_without_default,
        reason = "a default that differs at every call would surprise"
    )]
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7().to_string().into())
    }
}

impl AgentId {
    /// An id for an agent that gave none, such as `agent-0198f2c4a9d2`.
    pub fn generate() -> Self {
        let random = uuid::Uuid::now_v7().simple().to_string();
        Self(format!("agent-{}", &random[20..]).into())
    }
}

impl ChannelName {
    /// Parses a name as people write it: one `#` or the prefix `channel:` in front is taken off.
    pub fn from_written(input: &str) -> Result<Self, InvalidName> {
        let input = input.strip_prefix("channel:").unwrap_or(input);
        input.strip_prefix('#').unwrap_or(input).parse()
    }
}

impl AgentId {
    /// Parses an id as people write it: the prefix `agent:` in front is taken off.
    pub fn from_written(input: &str) -> Result<Self, InvalidName> {
        input.strip_prefix("agent:").unwrap_or(input).parse()
    }
}

impl EventName {
    /// A name known to be valid, because a test reads every constant through the ordinary parser.
    pub(crate) fn constant(name: &'static str) -> Self {
        debug_assert!(check_event_name(name).is_ok(), "{name}");
        Self(name.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check<T: FromStr<Err = InvalidName>>(input: &str, expected: Result<(), &str>) {
        assert_eq!(
            input.parse::<T>().map(|_| ()).map_err(|error| error.reason),
            expected,
            "{input:?}"
        );
    }

    #[test]
    fn event_names_follow_the_documented_rule() {
        for valid in ["abc.de", "a1.b2", "ab_.cd", "custom.task.completed"] {
            check::<EventName>(valid, Ok(()));
        }
        for invalid in [
            "ab",
            "ab.c",
            "ab.1c",
            "ab._cd",
            "ab-cd.ef",
            "ab..cd",
            "ab.cd.",
            "Demo.Task",
            "ab.cd\n",
            "",
        ] {
            assert!(invalid.parse::<EventName>().is_err(), "{invalid:?}");
        }
        check::<EventName>("base.event", Err("it is a reserved name"));
    }

    #[test]
    fn ids_and_channels_refuse_what_would_be_ambiguous() {
        check::<AgentId>("demo-agent", Ok(()));
        check::<AgentId>("日本 エージェント", Ok(()));
        check::<AgentId>("agent:demo", Err("it starts with a role such as `agent:`"));
        check::<AgentId>("broadcast", Err("it is a reserved word"));
        check::<AgentId>(" x", Err("it starts or ends with a blank"));
        check::<AgentId>("a\u{7}b", Err("it has a control character"));
        check::<AgentId>(&"x".repeat(129), Err("it is longer than 128 bytes"));
        check::<ChannelName>("", Err("it is empty"));
        check::<ChannelName>("#general", Err("it starts with `#`"));
        assert_eq!(ChannelName::from_written("#general").unwrap(), "general");
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_keeps_every_byte(input in ".{0,200}") {
            if let Ok(id) = input.parse::<AgentId>() {
                prop_assert_eq!(id.as_str(), input.as_str());
            }
            drop(input.parse::<ChannelName>());
            drop(input.parse::<EventName>());
        }
    }
}
