//! What hooks are called with: an event, seen as what it is.

use std::ops::Deref;
use std::sync::Arc;

use openagents_protocol::call::ReactAction;
use openagents_protocol::{Event, Json};
use serde_json::Value;

use super::hook::is_mention;
use crate::content::extract_mentions;

/// An event with what it says, under the documented names. Cheap to clone.
///
/// The contexts of messages are one that knows more, and can be used as this one:
///
/// | context | knows also |
/// |---|---|
/// | [`ChannelMessageContext`] | the channel, who is mentioned, what is quoted |
/// | [`ReplyMessageContext`] | all of that, and its place in the thread |
/// | [`ReactionContext`] | the reaction, and the message it is to |
/// | [`crate::FileContext`] | the file, and its content |
#[derive(Clone, Debug)]
pub struct EventContext {
    event: Arc<Event>,
    agent_id: Arc<str>,
    network_id: Arc<str>,
}

impl EventContext {
    /// The context of an event that this agent of this workspace received.
    pub fn new(
        event: impl Into<Arc<Event>>,
        agent_id: impl Into<Arc<str>>,
        network_id: impl Into<Arc<str>>,
    ) -> Self {
        Self {
            event: event.into(),
            agent_id: agent_id.into(),
            network_id: network_id.into(),
        }
    }

    /// The event itself.
    pub fn incoming_event(&self) -> &Event {
        &self.event
    }

    /// The event itself, under its older name.
    pub fn raw_message(&self) -> &Event {
        &self.event
    }

    /// Who made it: the bare id of the agent, or `system`.
    pub fn source_id(&self) -> &str {
        &self.event.source_id
    }

    /// The same as [`EventContext::source_id`], under its older name.
    pub fn sender_id(&self) -> &str {
        &self.event.source_id
    }

    /// The text of the message: `payload.content.text`, or `payload.text` of a free payload; empty where there is none.
    pub fn text(&self) -> &str {
        self.event.text().unwrap_or_default()
    }

    /// What the event says.
    pub fn payload(&self) -> &Json {
        &self.event.payload
    }

    /// The free JSON object beside the payload.
    pub fn metadata(&self) -> Option<&Json> {
        self.event.metadata.as_ref()
    }

    /// When the workspace took it, in seconds since 1970.
    pub fn timestamp(&self) -> f64 {
        self.event.timestamp()
    }

    /// The id of the event; of a message, the message id.
    pub fn message_id(&self) -> &str {
        &self.event.event_id
    }

    /// The agent that received it.
    pub fn agent_id(&self) -> &str {
        &self.agent_id
    }

    /// The workspace.
    pub fn network_id(&self) -> &str {
        &self.network_id
    }

    /// The thread that it belongs to: the id of the first message, else the name that the sender gave it.
    pub fn incoming_thread_id(&self) -> Option<&str> {
        self.field("thread_id").or(self.event.thread_name.as_deref())
    }

    /// A text of the payload.
    pub(crate) fn field(&self, key: &str) -> Option<&str> {
        self.event.payload.get(key).and_then(Value::as_str)
    }

    /// The channel that it went to.
    pub(crate) fn channel_name(&self) -> Option<&str> {
        let destination = self.event.destination_id.as_deref();
        destination.and_then(|address| address.strip_prefix("channel:"))
    }
}

/// A message in a channel.
#[derive(Clone, Debug)]
pub struct ChannelMessageContext(EventContext);

impl ChannelMessageContext {
    pub(crate) fn new(context: EventContext) -> Self {
        Self(context)
    }

    /// The channel, without `#`.
    pub fn channel(&self) -> &str {
        self.0.channel_name().unwrap_or_default()
    }

    /// The id of the first message of its thread; none for a message that is no reply.
    pub fn thread_id(&self) -> Option<&str> {
        self.0.field("thread_id")
    }

    /// `channel_message`, or `reply_message` for a reply.
    pub fn message_type(&self) -> &'static str {
        match self.0.event.reply_to_id {
            None => "channel_message",
            Some(_) => "reply_message",
        }
    }

    /// The ids that the message mentions, in the text or by name, whether or not there are such agents.
    pub fn mentions(&self) -> Vec<String> {
        let mut mentions = extract_mentions(self.text());
        if let Some(named) = self.mentioned_agent_id()
            && !mentions.iter().any(|mention| mention == named)
        {
            mentions.push(named.to_owned());
        }
        mentions
    }

    /// The agent that the sender mentioned by name, beside the text; else this agent, where the text mentions it.
    pub fn mentioned_agent_id(&self) -> Option<&str> {
        let own = || is_mention(&self.0.event).then_some(&*self.0.agent_id);
        self.0.field("mentioned_agent_id").or_else(own)
    }

    /// The message that the sender quotes.
    pub fn quoted_message_id(&self) -> Option<&str> {
        self.0.field("quoted_message_id")
    }

    /// The text that the sender quotes.
    pub fn quoted_text(&self) -> Option<&str> {
        self.0.field("quoted_text")
    }
}

impl Deref for ChannelMessageContext {
    type Target = EventContext;

    fn deref(&self) -> &EventContext {
        &self.0
    }
}

/// A reply in a thread of a channel.
#[derive(Clone, Debug)]
pub struct ReplyMessageContext(ChannelMessageContext);

impl ReplyMessageContext {
    pub(crate) fn new(context: EventContext) -> Self {
        Self(ChannelMessageContext::new(context))
    }

    /// The message that it replies to.
    pub fn parent_message_id(&self) -> &str {
        self.0.0.event.reply_to_id.as_deref().unwrap_or_default()
    }

    /// The same as [`ReplyMessageContext::parent_message_id`], under its older name.
    pub fn reply_to_id(&self) -> &str {
        self.parent_message_id()
    }

    /// The first message of the thread.
    pub fn root_message_id(&self) -> &str {
        self.thread_id().unwrap_or_else(|| self.parent_message_id())
    }

    /// 1 for a reply to the first message of the thread, 2 for a reply to one of its replies.
    pub fn thread_depth(&self) -> u32 {
        if self.parent_message_id() == self.root_message_id() {
            1
        } else {
            2
        }
    }

    /// The same as [`ReplyMessageContext::thread_depth`], under its older name.
    pub fn thread_level(&self) -> u32 {
        self.thread_depth()
    }

    /// The agent that the reply is meant for, where the sender says so.
    pub fn target_agent_id(&self) -> Option<&str> {
        self.0.0.field("target_agent_id")
    }
}

impl Deref for ReplyMessageContext {
    type Target = ChannelMessageContext;

    fn deref(&self) -> &ChannelMessageContext {
        &self.0
    }
}

/// A reaction to a message that was added or removed.
#[derive(Clone, Debug)]
pub struct ReactionContext(EventContext);

impl ReactionContext {
    pub(crate) fn new(context: EventContext) -> Self {
        Self(context)
    }

    /// The reaction: an emoji or a short name such as `thumbsup`.
    pub fn reaction(&self) -> &str {
        self.0.field("reaction").unwrap_or_default()
    }

    /// The same as [`ReactionContext::reaction`], under its older name.
    pub fn reaction_type(&self) -> &str {
        self.reaction()
    }

    /// The message that was reacted to.
    pub fn message_id(&self) -> &str {
        self.0.field("message_id").unwrap_or_default()
    }

    /// The same as [`ReactionContext::message_id`], under its older name.
    pub fn target_message_id(&self) -> &str {
        self.message_id()
    }

    /// Who reacted; the same as [`EventContext::source_id`], under its older name.
    pub fn reactor_id(&self) -> &str {
        self.0.source_id()
    }

    /// Whether the reaction was added or removed.
    pub fn action(&self) -> ReactAction {
        match self.0.event.event_name.as_str() {
            "workspace.reaction.removed" => ReactAction::Remove,
            _ => ReactAction::Add,
        }
    }

    /// The channel that the message stands in; none between two agents.
    pub fn channel(&self) -> Option<&str> {
        self.0.channel_name()
    }
}

impl Deref for ReactionContext {
    type Target = EventContext;

    fn deref(&self) -> &EventContext {
        &self.0
    }
}
