//! Calls about channels.

use openagents_protocol::call::{
    ArchiveChannel, ChannelInfo, ChannelSettings, Channels, ConfigureChannel, CreateChannel, DeleteChannel,
    JoinChannel, LeaveChannel, ListMembers, MAX_PAGE, Members, SetPermissions, SetTopic,
};
use openagents_protocol::{AgentId, ChannelName, ErrorBody, ErrorCode, Receipt, Source};
use openagents_store::view::Tally;

use super::agents::agent_info;
use super::{agent_id, channel_name, page_limit, seconds, unreadable};
use crate::decide::{Wish, no_channel};
use crate::state::{Agent, Channel, Presence, State};
use crate::workspace::{Caller, Workspace};

/// Longest description and topic of a channel, in bytes.
const MAX_DESCRIPTION: usize = 1000;

/// Whether an agent is in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// It is.
    Inside,
    /// It is not.
    Outside,
}

/// A channel, who is in it now, and how much was said there.
#[derive(Clone, Debug)]
pub struct Roster {
    /// Its name.
    pub channel: ChannelName,
    /// What it is for.
    pub description: String,
    /// What it is about now.
    pub topic: String,
    /// Its members that are online, in the order they became known.
    pub online: Vec<AgentId>,
    /// How much was said there.
    pub tally: Tally,
}

/// Most file types that a channel names.
const MAX_FILE_TYPES: usize = 100;

impl Workspace {
    /// The channels that the caller is a member of or may join, sorted by name.
    pub fn list_channels(&self, caller: &Caller) -> Channels {
        let snapshot = self.snapshot();
        let channels = snapshot.state.channels.iter();
        let info = |(name, channel): (&ChannelName, &std::sync::Arc<Channel>)| {
            self.channel_info(&snapshot.state, caller, name, channel)
        };
        Channels {
            channels: channels.map(info).collect(),
        }
    }

    /// Every channel with who is in it and how much was said there, in the order they were made.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn roster(&self) -> Result<Vec<Roster>, ErrorBody> {
        let inner = self.inner();
        inner.indexed_or_stalled(self.head()).await;
        let snapshot = self.snapshot();
        let state = &snapshot.state;
        let mut channels: Vec<(&ChannelName, &std::sync::Arc<Channel>)> = state.channels.iter().collect();
        channels.sort_unstable_by_key(|(_, channel)| channel.created_at);
        let names = channels.iter().map(|(name, _)| (*name).clone()).collect();
        let tallies = inner
            .view
            .tallies(names)
            .await
            .map_err(|error| unreadable(&error))?;
        let mut online: Vec<(&AgentId, &std::sync::Arc<Agent>)> = state
            .agents
            .iter()
            .filter(|(_, agent)| agent.presence == Presence::Online)
            .collect();
        online.sort_unstable_by_key(|(_, agent)| agent.first_sequence);
        let one = |((name, channel), tally): ((&ChannelName, &std::sync::Arc<Channel>), Tally)| {
            let inside = online.iter().filter(|(id, _)| state.in_channel(id, channel));
            Roster {
                channel: name.clone(),
                description: channel.description.clone(),
                topic: channel.topic.clone(),
                online: inside.map(|(id, _)| (*id).clone()).collect(),
                tally,
            }
        };
        Ok(channels.into_iter().zip(tallies).map(one).collect())
    }

    /// Makes a channel.
    ///
    /// # Errors
    ///
    /// `invalid_name`, `channel_exists`, `limit_reached`, `forbidden`.
    pub async fn create_channel(
        &self,
        caller: &Caller,
        params: CreateChannel,
    ) -> Result<ChannelInfo, ErrorBody> {
        let channel = channel_name("name", &params.name)?;
        check_length("description", &params.description)?;
        let wish = Wish::CreateChannel {
            channel: channel.clone(),
            description: params.description,
        };
        self.wish_for(caller, wish).await?;
        self.one_channel(caller, &channel)
    }

    /// Makes the caller a member of a channel.
    ///
    /// # Errors
    ///
    /// `invalid_name`, `channel_not_found`.
    pub async fn join_channel(&self, caller: &Caller, params: JoinChannel) -> Result<ChannelInfo, ErrorBody> {
        let channel = channel_name("channel", &params.channel)?;
        self.wish_for(
            caller,
            Wish::JoinChannel {
                channel: channel.clone(),
            },
        )
        .await?;
        self.one_channel(caller, &channel)
    }

    /// Ends the caller's membership of a channel.
    ///
    /// # Errors
    ///
    /// `invalid_name`, `channel_not_found`.
    pub async fn leave_channel(
        &self,
        caller: &Caller,
        params: LeaveChannel,
    ) -> Result<ChannelInfo, ErrorBody> {
        let channel = channel_name("channel", &params.channel)?;
        self.wish_for(
            caller,
            Wish::LeaveChannel {
                channel: channel.clone(),
            },
        )
        .await?;
        self.one_channel(caller, &channel)
    }

    /// The members of a channel that the caller is in, sorted by id.
    ///
    /// # Errors
    ///
    /// `invalid_field`, `invalid_name`, `channel_not_found`, `not_a_member`.
    pub fn list_members(&self, caller: &Caller, params: &ListMembers) -> Result<Members, ErrorBody> {
        let limit = page_limit(params.limit, MAX_PAGE)?;
        let name = channel_name("channel", &params.channel)?;
        let after = params
            .after
            .as_deref()
            .map(|after| agent_id("after", after))
            .transpose()?;
        let snapshot = self.snapshot();
        let state = &snapshot.state;
        let channel = state.channels.get(&name).ok_or_else(|| no_channel(&name))?;
        if !state.in_channel(&caller.agent_id, channel) {
            let message = format!("join channel {name} first");
            return Err(ErrorBody::field(ErrorCode::NotAMember, "channel", message));
        }
        let mut ids: Vec<&AgentId> = state
            .agents
            .keys()
            .filter(|id| after.as_ref().is_none_or(|after| after < id) && state.in_channel(id, channel))
            .collect();
        ids.sort_unstable();
        let has_more = limit < ids.len();
        ids.truncate(limit);
        let members = ids
            .into_iter()
            .filter_map(|id| Some(agent_info(id, state.agents.get(id)?)));
        Ok(Members {
            members: members.collect(),
            has_more,
        })
    }

    /// Changes what a channel is about.
    ///
    /// # Errors
    ///
    /// `invalid_name`, `too_large`, `channel_not_found`, `not_a_member`, `channel_archived`, `forbidden`.
    pub async fn set_topic(&self, caller: &Caller, params: SetTopic) -> Result<Receipt, ErrorBody> {
        let channel = channel_name("channel", &params.channel)?;
        check_length("topic", &params.topic)?;
        let topic = params.topic;
        self.wish_for(caller, Wish::SetTopic { channel, topic }).await
    }

    /// Changes the rules of a channel.
    ///
    /// # Errors
    ///
    /// `invalid_name`, `invalid_field`, `channel_not_found`, `forbidden`.
    pub async fn configure_channel(
        &self,
        caller: &Caller,
        params: ConfigureChannel,
    ) -> Result<Receipt, ErrorBody> {
        let channel = channel_name("channel", &params.channel)?;
        let settings = check_settings(params.settings)?;
        self.wish_for(caller, Wish::ConfigureChannel { channel, settings })
            .await
    }

    /// Changes who may do what in a channel.
    ///
    /// # Errors
    ///
    /// `invalid_name`, `channel_not_found`, `forbidden`.
    pub async fn set_permissions(
        &self,
        caller: &Caller,
        params: SetPermissions,
    ) -> Result<Receipt, ErrorBody> {
        let channel = channel_name("channel", &params.channel)?;
        let permissions = params.permissions;
        self.wish_for(caller, Wish::SetPermissions { channel, permissions })
            .await
    }

    /// Archives a channel, or opens it again.
    ///
    /// # Errors
    ///
    /// `invalid_name`, `channel_not_found`, `forbidden`.
    pub async fn archive_channel(
        &self,
        caller: &Caller,
        params: ArchiveChannel,
    ) -> Result<Receipt, ErrorBody> {
        let channel = channel_name("channel", &params.channel)?;
        let archived = params.archived;
        self.wish_for(caller, Wish::ArchiveChannel { channel, archived })
            .await
    }

    /// Deletes a channel. What was said in it cannot be read any more.
    ///
    /// # Errors
    ///
    /// `invalid_name`, `channel_not_found`, `forbidden`.
    pub async fn delete_channel(&self, caller: &Caller, params: DeleteChannel) -> Result<Receipt, ErrorBody> {
        let channel = channel_name("channel", &params.channel)?;
        self.wish_for(caller, Wish::DeleteChannel { channel }).await
    }

    /// Makes an agent a member of a channel, or ends its membership; for interfaces where agents do this for each other.
    ///
    /// # Errors
    ///
    /// `channel_not_found`.
    pub async fn set_member(
        &self,
        agent_id: &AgentId,
        channel: ChannelName,
        member: Member,
    ) -> Result<Receipt, ErrorBody> {
        let wish = match member {
            Member::Inside => Wish::JoinChannel { channel },
            Member::Outside => Wish::LeaveChannel { channel },
        };
        self.wish(&Source::Agent(agent_id.clone()), wish).await
    }

    /// Makes a channel of the workspace itself.
    ///
    /// # Errors
    ///
    /// `channel_exists`, `limit_reached`.
    pub async fn found_channel(&self, channel: ChannelName, description: &str) -> Result<Receipt, ErrorBody> {
        check_length("description", description)?;
        let description = description.to_owned();
        let wish = Wish::CreateChannel { channel, description };
        self.wish(&Source::System, wish).await
    }

    /// Whether there is a channel of this name.
    pub fn has_channel(&self, channel: &ChannelName) -> bool {
        self.snapshot().state.channels.contains_key(channel)
    }

    /// How much was said in a channel.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn tally(&self, channel: &ChannelName) -> Result<Tally, ErrorBody> {
        let inner = self.inner();
        inner.indexed_or_stalled(self.head()).await;
        let tallies = inner.view.tallies(vec![channel.clone()]).await;
        Ok(tallies
            .map_err(|error| unreadable(&error))?
            .pop()
            .unwrap_or_default())
    }

    /// The channels that an agent is in, and those that it is not in.
    pub fn memberships(&self, agent_id: &AgentId) -> (Vec<ChannelName>, Vec<ChannelName>) {
        let snapshot = self.snapshot();
        let state = &snapshot.state;
        let names = |(name, _): (&ChannelName, _)| name.clone();
        let (inside, outside): (Vec<_>, Vec<_>) = state
            .channels
            .iter()
            .partition(|(_, channel)| state.in_channel(agent_id, channel));
        (
            inside.into_iter().map(names).collect(),
            outside.into_iter().map(names).collect(),
        )
    }

    fn one_channel(&self, caller: &Caller, name: &ChannelName) -> Result<ChannelInfo, ErrorBody> {
        let snapshot = self.snapshot();
        let channel = snapshot
            .state
            .channels
            .get(name)
            .ok_or_else(|| no_channel(name))?;
        Ok(self.channel_info(&snapshot.state, caller, name, channel))
    }

    fn channel_info(
        &self,
        state: &State,
        caller: &Caller,
        name: &ChannelName,
        channel: &Channel,
    ) -> ChannelInfo {
        ChannelInfo {
            name: name.to_string(),
            description: channel.description.clone(),
            topic: channel.topic.clone(),
            archived: channel.archived,
            settings: channel.settings.clone(),
            permissions: channel.permissions.clone(),
            creator_id: channel.creator.to_string(),
            created_at: seconds(channel.created_ms),
            joined: state.in_channel(&caller.agent_id, channel),
            members: state.members(channel) as u64,
            events: self.inner().channel_events(name),
        }
    }
}

fn check_length(field: &str, text: &str) -> Result<(), ErrorBody> {
    if text.len() <= MAX_DESCRIPTION {
        return Ok(());
    }
    let message = format!("it has more than {MAX_DESCRIPTION} bytes");
    Err(ErrorBody::field(ErrorCode::TooLarge, field, message))
}

/// Checks the rules of a channel; extensions lose the dot in front.
fn check_settings(mut settings: ChannelSettings) -> Result<ChannelSettings, ErrorBody> {
    let Some(types) = &mut settings.allowed_file_types else {
        return Ok(settings);
    };
    let is_extension = |written: &String| (1..=32).contains(&written.len()) && !written.contains(['/', '.']);
    for extension in types.iter_mut() {
        *extension = extension.trim_start_matches('.').to_ascii_lowercase();
    }
    if MAX_FILE_TYPES < types.len() || !types.iter().all(is_extension) {
        let message = format!("at most {MAX_FILE_TYPES} extensions such as `csv`, 1 to 32 bytes each");
        return Err(ErrorBody::field(
            ErrorCode::InvalidField,
            "settings.allowed_file_types",
            message,
        ));
    }
    Ok(settings)
}
