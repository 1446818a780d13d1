//! The calls of the protocol, answered: the one place where what the workspace knows becomes what the wire says.

use openagents_protocol::call::{
    AgentInfo, Agents, Call, ChannelInfo, Channels, CreateChannel, CreateToken, CreatedToken,
    DEFAULT_MESSAGES, Done, Events, GetWorkspace, JoinChannel, LeaveChannel, ListAgents, ListChannels,
    ListMessages, ListMods, ListTokens, MAX_PAGE, Message, Messages, ModInfo, Mods, ReadEvents, RevokeToken,
    Subscribe, Subscription, TokenInfo, Tokens, Unsubscribe, WorkspaceInfo,
};
use openagents_protocol::frame::{SessionKind, read};
use openagents_protocol::record::{Record, Role, TokenGrant};
use openagents_protocol::{
    AgentId, ChannelName, ErrorBody, ErrorCode, EventId, InvalidName, Json, Sequence, Source,
};
use openagents_store::Error as StoreError;
use openagents_store::view::{Bounds, Direction, Stream, TokenRow};
use tokio::time::Duration;

use crate::decide::{Wish, no_channel};
use crate::entitlement::{is_visible, may_read_history};
use crate::session::{Page, Reach};
use crate::state::{Agent, Channel, ONLINE, Presence, State};
use crate::token;
use crate::workspace::{Caller, Workspace};

/// Longest description of a channel, in bytes.
const MAX_DESCRIPTION: usize = 1000;

/// Records read at once while looking for messages.
const HISTORY_CHUNK: usize = 256;

/// Longest wait of one read of events.
const MAX_WAIT_SECONDS: u32 = 30;

impl Workspace {
    /// Answers a call by the name of its method.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::UnknownMethod`], what is wrong with the parameters, or what the call itself refuses.
    pub async fn call(&self, caller: &Caller, method: &str, params: &Json) -> Result<Json, ErrorBody> {
        match method {
            GetWorkspace::METHOD => answer::<GetWorkspace>(&self.describe()),
            ListAgents::METHOD => answer::<ListAgents>(&self.list_agents(&parameters(params)?)),
            ListMods::METHOD => answer::<ListMods>(&self.list_mods()),
            ListChannels::METHOD => answer::<ListChannels>(&self.list_channels(caller)),
            CreateChannel::METHOD => {
                answer::<CreateChannel>(&self.create_channel(caller, parameters(params)?).await?)
            }
            JoinChannel::METHOD => {
                answer::<JoinChannel>(&self.join_channel(caller, parameters(params)?).await?)
            }
            LeaveChannel::METHOD => {
                answer::<LeaveChannel>(&self.leave_channel(caller, parameters(params)?).await?)
            }
            ListMessages::METHOD => {
                answer::<ListMessages>(&self.list_messages(caller, parameters(params)?).await?)
            }
            ReadEvents::METHOD => answer::<ReadEvents>(&self.read_events(caller, parameters(params)?).await?),
            Subscribe::METHOD => answer::<Subscribe>(&self.subscribe(caller, parameters(params)?).await?),
            Unsubscribe::METHOD => {
                answer::<Unsubscribe>(&self.unsubscribe(caller, parameters(params)?).await?)
            }
            CreateToken::METHOD => {
                answer::<CreateToken>(&self.create_token(caller, parameters(params)?).await?)
            }
            ListTokens::METHOD => answer::<ListTokens>(&self.list_tokens(caller)?),
            RevokeToken::METHOD => {
                answer::<RevokeToken>(&self.revoke_token(caller, parameters(params)?).await?)
            }
            other => {
                let shown: String = other.chars().take(64).collect();
                let message = format!("there is no method {shown:?}");
                Err(ErrorBody::field(ErrorCode::UnknownMethod, "method", message))
            }
        }
    }

    /// What the workspace is and how far its log goes.
    pub fn describe(&self) -> WorkspaceInfo {
        let snapshot = self.snapshot();
        let settings = self.settings();
        WorkspaceInfo {
            name: settings.name.clone(),
            description: settings.description.clone(),
            server: env!("CARGO_PKG_VERSION").to_owned(),
            head: snapshot.head,
            applied: self.indexed(),
            durability: settings.durability.to_string(),
            agents_online: snapshot.state.online as u64,
            agents_known: snapshot.state.agents.len() as u64,
            channels: snapshot.state.channels.len() as u64,
        }
    }

    /// Agents, sorted by id: those online, or all that are known.
    pub fn list_agents(&self, params: &ListAgents) -> Agents {
        let snapshot = self.snapshot();
        let wanted = snapshot
            .state
            .agents
            .iter()
            .filter(|(_, agent)| params.all || agent.presence == Presence::Online)
            .map(|(id, agent)| agent_info(id, agent));
        let mut agents: Vec<AgentInfo> = wanted
            .filter(|agent| {
                let capability = params.capability.as_ref();
                capability.is_none_or(|capability| agent.capabilities.contains(capability))
            })
            .collect();
        agents.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        Agents { agents }
    }

    /// The extensions, in the order they see events.
    pub fn list_mods(&self) -> Mods {
        // The workspace itself does what the messaging extension of other servers does.
        let messaging = ModInfo {
            name: "openagents.mods.workspace.messaging".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: "Channels, direct messages, replies and history".to_owned(),
            requires_adapter: false,
        };
        Mods {
            mods: vec![messaging],
        }
    }

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
        if MAX_DESCRIPTION < params.description.len() {
            let message = format!("it has more than {MAX_DESCRIPTION} bytes");
            return Err(ErrorBody::field(ErrorCode::TooLarge, "description", message));
        }
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

    /// Reads the messages of a channel or of a conversation of the caller.
    ///
    /// # Errors
    ///
    /// `invalid_field`, `invalid_name`, `channel_not_found`, `not_a_member`, `agent_not_found`.
    pub async fn list_messages(&self, caller: &Caller, params: ListMessages) -> Result<Messages, ErrorBody> {
        let limit = page_limit(params.limit, DEFAULT_MESSAGES)?;
        let stream = self.history_stream(caller, &params)?;
        let (mut from, direction) = match (params.before, params.after) {
            (Some(_), Some(_)) => {
                return Err(ErrorBody::field(
                    ErrorCode::InvalidField,
                    "before",
                    "either before or after, not both",
                ));
            }
            (None, Some(after)) => (Sequence::new(after.min(Sequence::MAX.get())), Direction::Forward),
            (before, None) => {
                let before = before.map_or(Sequence::MAX, |before| {
                    Sequence::new(before.min(Sequence::MAX.get()))
                });
                (before, Direction::Backward)
            }
        };
        let mut skip = params.offset.unwrap_or(0);
        let mut found: Vec<Message> = Vec::new();
        loop {
            let (records, next) = self
                .history_chunk(&stream, from, direction)
                .await
                .map_err(|error| unreadable(&error))?;
            let visible =
                |record: &&Record| record.is_message() && is_visible(&caller.agent_id, &record.header);
            for record in records.iter().filter(visible) {
                if 0 < skip {
                    skip -= 1;
                } else if found.len() == limit {
                    return Ok(Messages {
                        messages: found,
                        has_more: true,
                    });
                } else {
                    found.push(Message::of(record));
                }
            }
            match next {
                Some(next) => from = next,
                None => {
                    return Ok(Messages {
                        messages: found,
                        has_more: false,
                    });
                }
            }
        }
    }

    fn history_stream(&self, caller: &Caller, params: &ListMessages) -> Result<Stream, ErrorBody> {
        let snapshot = self.snapshot();
        match (&params.channel, &params.agent_id) {
            (Some(channel), None) => {
                let channel = channel_name("channel", channel)?;
                if !snapshot.state.channels.contains_key(&channel) {
                    return Err(no_channel(&channel));
                }
                if !may_read_history(&snapshot.state, &caller.agent_id, &channel) {
                    let message = format!("join channel {channel} first");
                    return Err(ErrorBody::field(ErrorCode::NotAMember, "channel", message));
                }
                Ok(Stream::Channel(channel))
            }
            (None, Some(agent)) => {
                let agent =
                    AgentId::from_written(agent).map_err(|error| ErrorBody::name("agent_id", &error))?;
                if !snapshot.state.agents.contains_key(&agent) {
                    let message = format!("no agent {agent} was ever here");
                    return Err(ErrorBody::field(ErrorCode::AgentNotFound, "agent_id", message));
                }
                Ok(Stream::Conversation(caller.agent_id.clone(), agent))
            }
            _ => Err(ErrorBody::field(
                ErrorCode::InvalidField,
                "channel",
                "name either a channel or an agent_id",
            )),
        }
    }

    /// The next records of a stream in one direction, from memory and the index, and where to go on.
    async fn history_chunk(
        &self,
        stream: &Stream,
        from: Sequence,
        direction: Direction,
    ) -> Result<(Vec<Record>, Option<Sequence>), StoreError> {
        let inner = self.inner();
        // What the index may lack is in memory: everything after the floor. One look gives both, so that what moves
        // to the index meanwhile is in the one or in the other.
        let bounds = match direction {
            Direction::Backward => Bounds {
                after: Sequence::ZERO,
                before: from,
            },
            Direction::Forward => Bounds {
                after: from,
                before: Sequence::MAX,
            },
        };
        let (floor, newest) = inner.recent.of_stream(stream, bounds);
        let newest = newest.into_iter().map(|commit| commit.record.clone());
        match direction {
            Direction::Backward if floor.next() < from => {
                let newer = newest.filter(|record| floor < record.sequence).rev();
                return Ok((newer.collect(), Some(floor.next())));
            }
            Direction::Forward if floor <= from => return Ok((newest.collect(), None)),
            _ => {}
        }
        let bounds = Bounds {
            before: bounds.before.min(floor.next()),
            ..bounds
        };
        let sequences = inner
            .view
            .page(stream.clone(), bounds, direction, 0, HISTORY_CHUNK)
            .await?;
        let next = match (sequences.len() == HISTORY_CHUNK, direction) {
            (true, _) => sequences.last().copied(),
            (false, Direction::Forward) => Some(floor),
            (false, Direction::Backward) => None,
        };
        let mut records = inner.log.read_at(sequences).await?;
        if let Direction::Backward = direction {
            records.reverse();
        }
        Ok((records, next))
    }

    /// Reads what the caller is entitled to, oldest first; waits for the first event if asked to.
    ///
    /// # Errors
    ///
    /// `invalid_field`.
    pub async fn read_events(&self, caller: &Caller, params: ReadEvents) -> Result<Events, ErrorBody> {
        let limit = page_limit(params.limit, 100)?;
        let wait = params.wait.unwrap_or(0);
        if MAX_WAIT_SECONDS < wait {
            let message = format!("at most {MAX_WAIT_SECONDS} seconds");
            return Err(ErrorBody::field(ErrorCode::InvalidField, "wait", message));
        }
        let inner = self.inner();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(u64::from(wait));
        let mut head = inner.head_changed.subscribe();
        let start = params
            .after
            .map(|after| Sequence::new(after.min(Sequence::MAX.get())));
        let mut after = start
            .or_else(|| inner.cursor(&caller.agent_id))
            .unwrap_or_else(|| self.head());
        loop {
            let through = *head.borrow_and_update();
            while after < through {
                let reach = Reach {
                    after,
                    through,
                    personal_before: Sequence::ZERO,
                    limit,
                };
                let read = inner
                    .read_for(&caller.agent_id, SessionKind::Consuming, &reach)
                    .await;
                let Page {
                    commits,
                    through: read_through,
                } = read.map_err(|error| unreadable(&error))?;
                after = read_through;
                if !commits.is_empty() {
                    let frames = commits
                        .iter()
                        .map(|commit| event_of(&commit.frame(&caller.agent_id)));
                    return Ok(Events {
                        events: frames.collect(),
                        through: after,
                    });
                }
            }
            tokio::select! {
                changed = head.changed() => if changed.is_err() { break },
                () = inner.closing.cancelled() => break,
                () = tokio::time::sleep_until(deadline) => break,
            }
        }
        Ok(Events {
            events: Vec::new(),
            through: after,
        })
    }

    /// Narrows what the caller gets.
    ///
    /// # Errors
    ///
    /// `invalid_field`, `limit_reached`.
    pub async fn subscribe(&self, caller: &Caller, params: Subscribe) -> Result<Subscription, ErrorBody> {
        let Subscribe { patterns, channels } = params;
        if patterns.is_empty() || 100 < patterns.len() {
            return Err(ErrorBody::field(
                ErrorCode::InvalidField,
                "patterns",
                "1 to 100 patterns",
            ));
        }
        if channels.as_ref().is_some_and(|channels| 100 < channels.len()) {
            return Err(ErrorBody::field(
                ErrorCode::InvalidField,
                "channels",
                "at most 100 channels",
            ));
        }
        let id = EventId::new();
        self.wish_for(
            caller,
            Wish::Subscribe {
                id: id.clone(),
                patterns,
                channels,
            },
        )
        .await?;
        Ok(Subscription {
            subscription_id: id.to_string(),
        })
    }

    /// Ends a subscription of the caller.
    ///
    /// # Errors
    ///
    /// `subscription_not_found`.
    pub async fn unsubscribe(&self, caller: &Caller, params: Unsubscribe) -> Result<Done, ErrorBody> {
        self.wish_for(
            caller,
            Wish::Unsubscribe {
                id: params.subscription_id,
            },
        )
        .await?;
        Ok(Done {})
    }

    /// Makes a token.
    ///
    /// # Errors
    ///
    /// `forbidden` unless the caller is an admin.
    pub async fn create_token(
        &self,
        caller: &Caller,
        params: CreateToken,
    ) -> Result<CreatedToken, ErrorBody> {
        require_admin(caller)?;
        let created = token::generate();
        let now_ms = self.settings().clock.now_ms();
        let grant = TokenGrant {
            id: EventId::new(),
            hash: token::stored_hash(&token::password_hash(created.expose())),
            role: params.role,
            agent_id: params.agent_id,
            expires_ms: params
                .expires_in_seconds
                .map(|seconds| now_ms.saturating_add(seconds.saturating_mul(1000))),
        };
        let info = token_info(&grant);
        self.wish(&Source::System, Wish::GrantToken(grant)).await?;
        Ok(CreatedToken { token: created, info })
    }

    /// The tokens, without the tokens.
    ///
    /// # Errors
    ///
    /// `forbidden` unless the caller is an admin.
    pub fn list_tokens(&self, caller: &Caller) -> Result<Tokens, ErrorBody> {
        require_admin(caller)?;
        let snapshot = self.snapshot();
        let mut rows: Vec<&TokenRow> = snapshot.state.tokens.values().map(AsRef::as_ref).collect();
        rows.sort_unstable_by(|one, other| {
            (one.created_ms, &one.grant.id).cmp(&(other.created_ms, &other.grant.id))
        });
        Ok(Tokens {
            tokens: rows.into_iter().map(|row| token_info(&row.grant)).collect(),
        })
    }

    /// Revokes a token and ends its sessions.
    ///
    /// # Errors
    ///
    /// `forbidden` unless the caller is an admin, `token_not_found`.
    pub async fn revoke_token(&self, caller: &Caller, params: RevokeToken) -> Result<Done, ErrorBody> {
        require_admin(caller)?;
        self.wish(&Source::System, Wish::RevokeToken { id: params.token_id })
            .await?;
        Ok(Done {})
    }

    async fn wish_for(&self, caller: &Caller, wish: Wish) -> Result<(), ErrorBody> {
        self.wish_as(&Source::Agent(caller.agent_id.clone()), caller.role, wish)
            .await
            .map(drop)
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

fn agent_info(id: &AgentId, agent: &Agent) -> AgentInfo {
    let metadata = &agent.metadata;
    let capabilities = metadata.get("capabilities").and_then(|value| value.as_array());
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    AgentInfo {
        id: id.to_string(),
        agent_id: id.to_string(),
        name: metadata.get("name").and_then(text),
        status: match agent.presence {
            Presence::Online => agent.status.clone().unwrap_or_else(|| ONLINE.to_owned()),
            Presence::Offline => "offline".to_owned(),
        },
        last_seen: seconds(match agent.presence {
            Presence::Online => agent.joined_ms,
            Presence::Offline => agent.last_seen_ms,
        }),
        capabilities: capabilities.into_iter().flatten().filter_map(text).collect(),
        metadata: metadata.clone(),
    }
}

fn token_info(grant: &TokenGrant) -> TokenInfo {
    TokenInfo {
        token_id: grant.id.to_string(),
        role: grant.role,
        agent_id: grant.agent_id.clone(),
        expires_at: grant.expires_ms.map(seconds),
    }
}

fn require_admin(caller: &Caller) -> Result<(), ErrorBody> {
    if caller.role == Role::Admin {
        return Ok(());
    }
    Err(ErrorBody::new(
        ErrorCode::Forbidden,
        "only an admin manages tokens",
    ))
}

fn channel_name(field: &str, written: &str) -> Result<ChannelName, ErrorBody> {
    ChannelName::from_written(written).map_err(|error: InvalidName| ErrorBody::name(field, &error))
}

fn page_limit(asked: Option<u32>, default: u32) -> Result<usize, ErrorBody> {
    match asked.unwrap_or(default) {
        limit @ 1..=MAX_PAGE => Ok(limit as usize),
        _ => Err(ErrorBody::field(
            ErrorCode::InvalidField,
            "limit",
            format!("1 to {MAX_PAGE}"),
        )),
    }
}

fn parameters<T: Call>(params: &Json) -> Result<T, ErrorBody> {
    read(params.as_str())
}

fn answer<C: Call>(reply: &C::Reply) -> Result<Json, ErrorBody> {
    Json::encode(reply).map_err(|error| ErrorBody::new(ErrorCode::Internal, error.to_string()))
}

fn event_of(frame: &bytes::Bytes) -> Json {
    std::str::from_utf8(frame)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(Json::empty_object)
}

fn unreadable(error: &StoreError) -> ErrorBody {
    tracing::error!(%error, "reading the log failed");
    ErrorBody::new(
        ErrorCode::StorageUnavailable,
        "the log could not be read; try again",
    )
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds since 1970 fit a double for 280,000 years"
)]
fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}
