//! Decisions about channels: making them, being in them, and what holds in them.

use openagents_protocol::call::{ChannelPermissions, ChannelSettings, Grantee};
use openagents_protocol::record::Act;
use openagents_protocol::{Address, ChannelName, ErrorBody, ErrorCode, Intent, Source};

use super::{Context, Decision, change, check_channels, created, no_channel, registration};
use crate::rights::permission::{MANAGE_CHANNELS, POST_MESSAGES, READ_CHANNELS};
use crate::state::Channel;

pub(super) fn create(
    context: &Context<'_>,
    author: &Source,
    channel: ChannelName,
    description: String,
) -> Result<Decision, ErrorBody> {
    if context.state.channels.contains_key(&channel) {
        let message = format!("there is a channel {channel} already");
        return Err(ErrorBody::field(ErrorCode::ChannelExists, "name", message));
    }
    context.rights.require(POST_MESSAGES)?;
    check_channels(context)?;
    let mut entries = registration(context, author)?;
    entries.push(created(context, author, channel, description));
    Ok(Decision::Append {
        entries,
        unknown: Vec::new(),
    })
}

pub(super) fn join(
    context: &Context<'_>,
    author: &Source,
    channel: ChannelName,
) -> Result<Decision, ErrorBody> {
    let there = existing(context, &channel)?;
    context.rights.require(READ_CHANNELS)?;
    if author
        .agent()
        .is_none_or(|agent| context.state.in_channel(agent, there))
    {
        return Ok(Decision::Nothing);
    }
    if let Some(most) = there.settings.most_members()
        && most <= context.state.members(there)
    {
        let message = format!("channel {channel} is full: its limit of members is {most}");
        return Err(ErrorBody::field(ErrorCode::LimitReached, "channel", message));
    }
    let act = Act::ChannelJoined {
        channel: channel.clone(),
    };
    change(context, author, "channel.joined", Address::Channel(channel), act)
}

pub(super) fn leave(
    context: &Context<'_>,
    author: &Source,
    channel: ChannelName,
) -> Result<Decision, ErrorBody> {
    let there = existing(context, &channel)?;
    if author
        .agent()
        .is_none_or(|agent| !context.state.in_channel(agent, there))
    {
        return Ok(Decision::Nothing);
    }
    let act = Act::ChannelLeft {
        channel: channel.clone(),
    };
    change(context, author, "channel.left", Address::Channel(channel), act)
}

pub(super) fn set_topic(
    context: &Context<'_>,
    author: &Source,
    channel: ChannelName,
    topic: String,
) -> Result<Decision, ErrorBody> {
    let there = existing(context, &channel)?;
    if author
        .agent()
        .is_some_and(|agent| !context.state.in_channel(agent, there))
    {
        let message = format!("join channel {channel} first");
        return Err(ErrorBody::field(ErrorCode::NotAMember, "channel", message));
    }
    context.rights.require(POST_MESSAGES)?;
    refuse_archived(&channel, there)?;
    if there.topic == topic {
        return Ok(Decision::Nothing);
    }
    let destination = Address::Channel(channel.clone());
    let act = Act::ChannelTopicChanged { channel, topic };
    change(context, author, "channel.topic.changed", destination, act)
}

pub(super) fn configure(
    context: &Context<'_>,
    author: &Source,
    channel: ChannelName,
    settings: ChannelSettings,
) -> Result<Decision, ErrorBody> {
    let there = managed(context, author, &channel)?;
    let settings = settings.over(there.settings.clone());
    if there.settings == settings {
        return Ok(Decision::Nothing);
    }
    let destination = Address::Channel(channel.clone());
    let act = Act::ChannelConfigured { channel, settings };
    change(context, author, "channel.configured", destination, act)
}

pub(super) fn set_permissions(
    context: &Context<'_>,
    author: &Source,
    channel: ChannelName,
    permissions: ChannelPermissions,
) -> Result<Decision, ErrorBody> {
    let there = managed(context, author, &channel)?;
    let before = there.permissions.clone();
    let permissions = ChannelPermissions {
        post_messages: permissions.post_messages.or(before.post_messages),
        upload_files: permissions.upload_files.or(before.upload_files),
        create_threads: permissions.create_threads.or(before.create_threads),
        manage_channel: permissions.manage_channel.or(before.manage_channel),
    };
    if there.permissions == permissions {
        return Ok(Decision::Nothing);
    }
    let destination = Address::Channel(channel.clone());
    let act = Act::ChannelPermissionsChanged { channel, permissions };
    change(context, author, "channel.permissions.changed", destination, act)
}

pub(super) fn archive(
    context: &Context<'_>,
    author: &Source,
    channel: ChannelName,
    archived: bool,
) -> Result<Decision, ErrorBody> {
    let there = managed(context, author, &channel)?;
    if there.archived == archived {
        return Ok(Decision::Nothing);
    }
    let name = if archived {
        "channel.archived"
    } else {
        "channel.unarchived"
    };
    let destination = Address::Channel(channel.clone());
    change(
        context,
        author,
        name,
        destination,
        Act::ChannelArchived { channel, archived },
    )
}

pub(super) fn delete(
    context: &Context<'_>,
    author: &Source,
    channel: ChannelName,
) -> Result<Decision, ErrorBody> {
    managed(context, author, &channel)?;
    if context
        .settings
        .channels
        .iter()
        .any(|configured| configured.name == channel)
    {
        let message = format!("the configuration wants channel {channel}: archive it, or take it out there");
        return Err(ErrorBody::field(ErrorCode::Forbidden, "channel", message));
    }
    // Nobody is in it afterwards, so everybody is told.
    let act = Act::ChannelDeleted { channel };
    change(context, author, "channel.deleted", Address::Everyone, act)
}

/// Makes sure that an author may write in a channel; `field` is to blame where it may not.
pub(super) fn writable(
    context: &Context<'_>,
    author: &Source,
    name: &ChannelName,
    field: &str,
) -> Result<(), ErrorBody> {
    let channel = existing(context, name)?;
    refuse_archived(name, channel)?;
    let refused = |message: String| Err(ErrorBody::field(ErrorCode::Forbidden, field, message));
    let grantees = channel.permissions.post_messages.as_ref();
    if !is_granted(context, author, grantees, Grantee::All) {
        return refused(format!("channel {name} does not let this agent post"));
    }
    if channel.settings.read_only == Some(true) && !manages(context, author, channel) {
        return refused(format!(
            "channel {name} is read-only: only who manages it writes there"
        ));
    }
    Ok(())
}

/// Makes sure that what holds in a channel lets the author send this.
pub(super) fn check_rules(
    context: &Context<'_>,
    author: &Source,
    name: &ChannelName,
    intent: &Intent,
) -> Result<(), ErrorBody> {
    const FIELD: &str = "destination_id";

    writable(context, author, name, FIELD)?;
    let channel = existing(context, name)?;
    let refused = |message: String| Err(ErrorBody::field(ErrorCode::Forbidden, FIELD, message));
    if matches!(intent, Intent::Event { .. }) && is_moderated(context, author, name) {
        return refused(format!(
            "channel {name} is moderated: it takes messages, which wait for a moderator, and nothing else"
        ));
    }
    let Some(parent) = intent.reply_to() else {
        return Ok(());
    };
    if channel.settings.enable_threading == Some(false) {
        return refused(format!("channel {name} has no threads"));
    }
    let begins = (context.known)(parent).is_some_and(|known| known.thread.is_none() && !known.threaded);
    let grantees = channel.permissions.create_threads.as_ref();
    if begins && !is_granted(context, author, grantees, Grantee::All) {
        return refused(format!("channel {name} does not let this agent begin threads"));
    }
    Ok(())
}

/// Whether what this author writes in a channel waits for a moderator.
pub(super) fn is_moderated(context: &Context<'_>, author: &Source, name: &ChannelName) -> bool {
    let channel = context.state.channels.get(name);
    channel
        .is_some_and(|channel| channel.settings.moderated == Some(true) && !manages(context, author, channel))
}

/// Makes sure that the author may begin a thread in a channel, if it exists.
pub(super) fn check_beginner(
    context: &Context<'_>,
    author: &Source,
    name: &ChannelName,
) -> Result<(), ErrorBody> {
    let Some(channel) = context.state.channels.get(name) else {
        return Ok(());
    };
    let refused = |message: String| Err(ErrorBody::field(ErrorCode::Forbidden, "thread_name", message));
    if channel.settings.enable_threading == Some(false) {
        return refused(format!("channel {name} has no threads"));
    }
    let grantees = channel.permissions.create_threads.as_ref();
    if !is_granted(context, author, grantees, Grantee::All) {
        return refused(format!("channel {name} does not let this agent begin threads"));
    }
    Ok(())
}

/// Whether somebody is among those that a channel lets do something.
pub(super) fn is_granted(
    context: &Context<'_>,
    author: &Source,
    grantees: Option<&Vec<Grantee>>,
    default: Grantee,
) -> bool {
    if context.rights.moderates() {
        return true;
    }
    let is_human = || {
        let agent = author.agent().and_then(|agent| context.state.agents.get(agent));
        agent.is_some_and(|agent| agent.is_human())
    };
    let default = [default];
    let mut grantees = grantees.map_or(default.as_slice(), Vec::as_slice).iter();
    grantees.any(|grantee| match grantee {
        Grantee::All => true,
        Grantee::Agents => !is_human(),
        Grantee::Humans => is_human(),
        Grantee::Admin => false,
    })
}

/// A channel that the author manages.
fn managed<'a>(context: &Context<'a>, author: &Source, name: &ChannelName) -> Result<&'a Channel, ErrorBody> {
    let channel = existing(context, name)?;
    if manages(context, author, channel) {
        return Ok(channel);
    }
    let message = format!("only its maker and moderators manage channel {name}");
    Err(ErrorBody::field(ErrorCode::Forbidden, "channel", message))
}

fn manages(context: &Context<'_>, author: &Source, channel: &Channel) -> bool {
    let granted = || {
        let grantees = channel.permissions.manage_channel.as_ref();
        is_granted(context, author, grantees, Grantee::Admin)
    };
    let inside = || {
        author
            .agent()
            .is_none_or(|agent| context.state.in_channel(agent, channel))
    };
    channel.creator == *author || context.rights.has(MANAGE_CHANNELS) || (inside() && granted())
}

fn existing<'a>(context: &Context<'a>, name: &ChannelName) -> Result<&'a Channel, ErrorBody> {
    match context.state.channels.get(name) {
        Some(channel) => Ok(channel),
        None => Err(no_channel(name)),
    }
}

fn refuse_archived(name: &ChannelName, channel: &Channel) -> Result<(), ErrorBody> {
    if !channel.archived {
        return Ok(());
    }
    let message = format!("channel {name} is archived: it can be read, and opened again by who manages it");
    Err(ErrorBody::field(ErrorCode::ChannelArchived, "channel", message))
}
