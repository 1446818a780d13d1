//! Which hook an event is for.

use openagents_protocol::{Address, Event, frame};

use super::context::{ChannelMessageContext, EventContext, ReactionContext, ReplyMessageContext};
use super::file::FileContext;
use super::handle::Worker;

/// A hook of [`crate::WorkerAgent`] that is called for certain events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HookKind {
    /// `on_channel_post`.
    ChannelPost,
    /// `on_channel_mention`.
    ChannelMention,
    /// `on_channel_reply`.
    ChannelReply,
    /// `on_direct`.
    Direct,
    /// `on_reaction`.
    Reaction,
    /// `on_file_received`.
    FileReceived,
}

impl HookKind {
    /// The hook that an event is for, of the agent that received it; none: only `react` and `on_event` are.
    ///
    /// | event | hook |
    /// |---|---|
    /// | `channel.message.posted` or `.replied` that also goes by `channel.message.mentioned` | `on_channel_mention` |
    /// | `channel.message.posted` | `on_channel_post` |
    /// | `channel.message.replied` | `on_channel_reply` |
    /// | `direct.message.received`, and `agent.message` to this agent | `on_direct` |
    /// | `workspace.reaction.added`, `.removed` | `on_reaction` |
    /// | `workspace.file.uploaded` | `on_file_received` |
    pub fn of(event: &Event, agent_id: &str) -> Option<Self> {
        if is_mention(event) {
            return Some(Self::ChannelMention);
        }
        Self::passing_over_mentions(event, agent_id)
    }

    /// The same, where a mention is a post or a reply like any other.
    pub fn passing_over_mentions(event: &Event, agent_id: &str) -> Option<Self> {
        let to_this_agent = || {
            let destination = event.destination_id.as_deref().unwrap_or_default();
            matches!(destination.parse(), Ok(Address::Agent(id)) if id == agent_id)
        };
        match event.event_name.as_str() {
            "channel.message.posted" => Some(Self::ChannelPost),
            "channel.message.replied" => Some(Self::ChannelReply),
            "direct.message.received" => Some(Self::Direct),
            "agent.message" if to_this_agent() => Some(Self::Direct),
            "workspace.reaction.added" | "workspace.reaction.removed" => Some(Self::Reaction),
            "workspace.file.uploaded" => Some(Self::FileReceived),
            _ => None,
        }
    }

    /// The name of the method.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChannelPost => "on_channel_post",
            Self::ChannelMention => "on_channel_mention",
            Self::ChannelReply => "on_channel_reply",
            Self::Direct => "on_direct",
            Self::Reaction => "on_reaction",
            Self::FileReceived => "on_file_received",
        }
    }
}

/// A hook with what it is called with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Hook {
    /// `on_channel_post`.
    ChannelPost(ChannelMessageContext),
    /// `on_channel_mention`.
    ChannelMention(ChannelMessageContext),
    /// `on_channel_reply`.
    ChannelReply(ReplyMessageContext),
    /// `on_direct`.
    Direct(EventContext),
    /// `on_reaction`.
    Reaction(ReactionContext),
    /// `on_file_received`.
    FileReceived(FileContext),
}

impl Hook {
    /// A hook for an event; files are fetched by the worker.
    pub fn new(kind: HookKind, context: EventContext, worker: &Worker) -> Self {
        match kind {
            HookKind::ChannelPost => Self::ChannelPost(ChannelMessageContext::new(context)),
            HookKind::ChannelMention => Self::ChannelMention(ChannelMessageContext::new(context)),
            HookKind::ChannelReply => Self::ChannelReply(ReplyMessageContext::new(context)),
            HookKind::Direct => Self::Direct(context),
            HookKind::Reaction => Self::Reaction(ReactionContext::new(context)),
            HookKind::FileReceived => Self::FileReceived(FileContext::new(context, worker)),
        }
    }
}

/// Whether the agent that received an event is mentioned in it.
pub(crate) fn is_mention(event: &Event) -> bool {
    event.event_name == frame::MENTIONED || event.also.iter().any(|name| name == frame::MENTIONED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, destination: &str, also: &[&str], expected: Option<HookKind>) {
        let mut event = Event::new(name).to(destination);
        event.also = also.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(
            HookKind::of(&event, "me"),
            expected,
            "{name} {destination} {also:?}"
        );
    }

    #[test]
    fn every_event_is_for_at_most_one_hook() {
        use HookKind::{ChannelMention, ChannelPost, ChannelReply, Direct, FileReceived, Reaction};

        let mentioned = ["channel.message.mentioned"];
        check(
            "channel.message.posted",
            "channel:general",
            &[],
            Some(ChannelPost),
        );
        check(
            "channel.message.posted",
            "channel:general",
            &mentioned,
            Some(ChannelMention),
        );
        check(
            "channel.message.replied",
            "channel:general",
            &[],
            Some(ChannelReply),
        );
        check(
            "channel.message.replied",
            "channel:general",
            &mentioned,
            Some(ChannelMention),
        );
        check("channel.message.edited", "channel:general", &[], None);
        check("direct.message.received", "agent:me", &[], Some(Direct));
        check("agent.message", "agent:me", &[], Some(Direct));
        check("agent.message", "agent:broadcast", &[], None);
        check("agent.message", "channel:general", &[], None);
        check("workspace.reaction.added", "channel:general", &[], Some(Reaction));
        check("workspace.reaction.removed", "agent:me", &[], Some(Reaction));
        check(
            "workspace.file.uploaded",
            "agent:broadcast",
            &[],
            Some(FileReceived),
        );
        check("workspace.file.deleted", "agent:broadcast", &[], None);
        check("task.delegate", "agent:me", &[], None);
    }

    #[test]
    fn a_mention_that_is_passed_over_is_what_it_is_besides() {
        let mut event = Event::new("channel.message.replied").to("channel:general");
        event.also.push(frame::MENTIONED.to_owned());
        assert_eq!(
            HookKind::passing_over_mentions(&event, "me"),
            Some(HookKind::ChannelReply)
        );
    }
}
