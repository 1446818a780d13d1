//! Patterns over event names.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::InvalidName;

/// Selects events by name.
///
/// `*` matches any run of characters, dots included, at any place; everything else matches itself. A leading
/// `workspace.` also matches the `channel.*` and `direct.*` events that stand without it in the event tables,
/// so `workspace.channel.*` selects `channel.message.posted`. 1 to 256 bytes without control characters.
///
/// ```
/// use openagents_protocol::Pattern;
///
/// let errors: Pattern = "*.error".parse()?;
/// assert!(errors.matches("workflow.step.error"));
/// assert!(!errors.matches("workflow.step.started"));
/// # Ok::<(), openagents_protocol::InvalidName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// The pattern that matches every event.
    pub fn everything() -> Self {
        Self("*".into())
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether an event of this name is selected.
    pub fn matches(&self, event_name: &str) -> bool {
        glob(self.0.as_bytes(), event_name.as_bytes())
            || self.0.strip_prefix("workspace.").is_some_and(|rest| {
                (event_name.starts_with("channel.") || event_name.starts_with("direct."))
                    && glob(rest.as_bytes(), event_name.as_bytes())
            })
    }
}

/// Matches with one point of return, so the work is at most pattern times text.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at_pattern, mut at_text) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at_text < text.len() {
        if pattern.get(at_pattern) == Some(&b'*') {
            star = Some((at_pattern, at_text));
            at_pattern += 1;
        } else if pattern.get(at_pattern) == Some(&text[at_text]) {
            at_pattern += 1;
            at_text += 1;
        } else if let Some((star_pattern, star_text)) = star {
            star = Some((star_pattern, star_text + 1));
            at_pattern = star_pattern + 1;
            at_text = star_text + 1;
        } else {
            return false;
        }
    }
    pattern[at_pattern..].iter().all(|byte| *byte == b'*')
}

impl FromStr for Pattern {
    type Err = InvalidName;

    fn from_str(input: &str) -> Result<Self, InvalidName> {
        let reason = match input.len() {
            0 => "it is empty",
            length if 256 < length => "it is longer than 256 bytes",
            _ if input.chars().any(char::is_control) => "it has a control character",
            _ => return Ok(Self(input.into())),
        };
        Err(InvalidName::new("pattern", input, reason))
    }
}

impl TryFrom<String> for Pattern {
    type Error = InvalidName;

    fn try_from(input: String) -> Result<Self, InvalidName> {
        input.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0.as_ref().to_owned()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(pattern: &str, name: &str, expected: bool) {
        assert_eq!(
            pattern.parse::<Pattern>().unwrap().matches(name),
            expected,
            "{pattern} on {name}"
        );
    }

    #[test]
    fn a_star_matches_any_run_anywhere_and_the_rest_is_exact() {
        check("*", "channel.message.posted", true);
        check("channel.message.*", "channel.message.posted", true);
        check("channel.*", "channel.message.posted", true);
        check("workflow.*.started", "workflow.a.b.started", true);
        check("workflow.*.started", "workflow.started", false);
        check("*.error", "task.error", true);
        check("agent.joined", "agent.joined", true);
        check("agent.joined", "agent.joined_late", false);
        check("kee*", "keep.one", true);
    }

    #[test]
    fn the_workspace_prefix_covers_channels_and_direct_messages() {
        check("workspace.channel.*", "channel.message.posted", true);
        check("workspace.direct.*", "direct.message.received", true);
        check("workspace.file.*", "workspace.file.uploaded", true);
        check("workspace.*", "channel.message.posted", true);
        check("workspace.*", "agent.joined", false);
    }

    proptest! {
        #[test]
        fn matching_agrees_with_a_naive_matcher(pattern in "[ab*]{1,8}", name in "[ab]{0,8}") {
            fn naive(pattern: &[u8], text: &[u8]) -> bool {
                match pattern.split_first() {
                    None => text.is_empty(),
                    Some((b'*', rest)) => (0..=text.len()).any(|skip| naive(rest, &text[skip..])),
                    Some((byte, rest)) => text.first() == Some(byte) && naive(rest, &text[1..]),
                }
            }
            prop_assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), naive(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
