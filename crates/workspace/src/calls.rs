//! The calls of the protocol, answered: the one place where what the workspace knows becomes what the wire says.

mod agents;
mod channels;
mod history;
mod page;
mod retention;
mod search;

use openagents_protocol::call::{
    ArchiveChannel, Call, ConfigureChannel, CreateChannel, CreateToken, CreatedToken, DeleteChannel,
    DeleteFile, DeleteMessage, Done, EditMessage, Events, Explain, GetAgent, GetFile, GetMessage,
    GetPermissions, GetRetention, GetWorkspace, JoinChannel, LeaveChannel, ListAgents, ListChannels,
    ListConversations, ListFiles, ListHeld, ListMembers, ListMessages, ListMods, ListTokens, MAX_PAGE,
    ModInfo, Mods, React, ReadEvents, RevokeToken, SearchMessages, SetPermissions, SetTopic, Subscribe,
    Subscription, TokenInfo, Tokens, Unblock, Unsubscribe, UpdateAgent, WorkspaceInfo,
};
use openagents_protocol::frame::{SessionKind, read};
use openagents_protocol::record::{Role, TokenGrant};
use openagents_protocol::{
    AgentId, ChannelName, ErrorBody, ErrorCode, EventId, InvalidName, Json, Receipt, Sequence, Source,
};
use openagents_store::Error as StoreError;
use openagents_store::view::TokenRow;
use tokio::sync::Semaphore;
use tokio::time::Duration;

use crate::decide::Wish;
use crate::session::{Page, Reach};
use crate::token;
use crate::workspace::{Caller, Workspace};

pub use channels::{Member, Roster};
pub use history::Told;
pub(crate) use page::{PAGE_BYTES, Room};

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
            GetAgent::METHOD => answer::<GetAgent>(&self.get_agent(&parameters(params)?)?),
            UpdateAgent::METHOD => {
                answer::<UpdateAgent>(&self.update_agent(caller, parameters(params)?).await?)
            }
            GetPermissions::METHOD => answer::<GetPermissions>(&self.get_permissions(caller)),
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
            ListMembers::METHOD => answer::<ListMembers>(&self.list_members(caller, &parameters(params)?)?),
            SetTopic::METHOD => answer::<SetTopic>(&self.set_topic(caller, parameters(params)?).await?),
            ConfigureChannel::METHOD => {
                answer::<ConfigureChannel>(&self.configure_channel(caller, parameters(params)?).await?)
            }
            SetPermissions::METHOD => {
                answer::<SetPermissions>(&self.set_permissions(caller, parameters(params)?).await?)
            }
            ArchiveChannel::METHOD => {
                answer::<ArchiveChannel>(&self.archive_channel(caller, parameters(params)?).await?)
            }
            DeleteChannel::METHOD => {
                answer::<DeleteChannel>(&self.delete_channel(caller, parameters(params)?).await?)
            }
            ListMessages::METHOD => {
                answer::<ListMessages>(&self.list_messages(caller, parameters(params)?).await?)
            }
            GetMessage::METHOD => answer::<GetMessage>(&self.get_message(caller, parameters(params)?).await?),
            EditMessage::METHOD => {
                answer::<EditMessage>(&self.edit_message(caller, parameters(params)?).await?)
            }
            DeleteMessage::METHOD => {
                answer::<DeleteMessage>(&self.delete_message(caller, parameters(params)?).await?)
            }
            React::METHOD => answer::<React>(&self.react(caller, parameters(params)?).await?),
            ListConversations::METHOD => {
                answer::<ListConversations>(&self.list_conversations(caller, parameters(params)?).await?)
            }
            SearchMessages::METHOD => {
                answer::<SearchMessages>(&self.search_messages(caller, parameters(params)?).await?)
            }
            ListFiles::METHOD => answer::<ListFiles>(&self.list_files(caller, parameters(params)?).await?),
            GetFile::METHOD => answer::<GetFile>(&self.get_file(caller, parameters(params)?).await?),
            DeleteFile::METHOD => answer::<DeleteFile>(&self.delete_file(caller, parameters(params)?).await?),
            Explain::METHOD => answer::<Explain>(&self.explain(caller, parameters(params)?).await?),
            ListHeld::METHOD => answer::<ListHeld>(&self.list_held(caller).await?),
            Unblock::METHOD => answer::<Unblock>(&self.unblock(caller, parameters(params)?).await?),
            ReadEvents::METHOD => answer::<ReadEvents>(&self.read_events(caller, parameters(params)?).await?),
            Subscribe::METHOD => answer::<Subscribe>(&self.subscribe(caller, parameters(params)?).await?),
            Unsubscribe::METHOD => {
                answer::<Unsubscribe>(&self.unsubscribe(caller, parameters(params)?).await?)
            }
            CreateToken::METHOD => {
                answer::<CreateToken>(&self.create_token(caller, parameters(params)?).await?)
            }
            ListTokens::METHOD => answer::<ListTokens>(&self.list_tokens(caller)?),
            GetRetention::METHOD => {
                answer::<GetRetention>(&self.get_retention(caller, &parameters(params)?).await?)
            }
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

    pub(crate) async fn call_read_events(
        &self,
        caller: &Caller,
        params: &Json,
        turns: &Semaphore,
    ) -> Result<Json, ErrorBody> {
        let events = self.read_events_in_turn(caller, parameters(params)?, turns).await;
        answer::<ReadEvents>(&events?)
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

    /// The extensions, in the order they see events.
    pub fn list_mods(&self) -> Mods {
        Mods { mods: mods() }
    }

    /// Reads what the caller is entitled to, oldest first; waits for the first event if asked to. A page of large events
    /// ends early.
    ///
    /// # Errors
    ///
    /// `invalid_field`.
    pub async fn read_events(&self, caller: &Caller, params: ReadEvents) -> Result<Events, ErrorBody> {
        self.read_events_in_turn(caller, params, &Semaphore::new(1)).await
    }

    /// [`Workspace::read_events`] that waits for its turn to read, and takes none while it waits for events.
    pub(crate) async fn read_events_in_turn(
        &self,
        caller: &Caller,
        params: ReadEvents,
        turns: &Semaphore,
    ) -> Result<Events, ErrorBody> {
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
            // A position after the head is from before the workspace was restored.
            .map(|after| Sequence::new(after).min(self.head()));
        let mut after = start
            .or_else(|| inner.cursor(&caller.agent_id))
            .unwrap_or_else(|| self.head());
        loop {
            let through = *head.borrow_and_update();
            let turn = turns.acquire().await;
            while after < through {
                let reach = Reach {
                    after,
                    through,
                    personal_before: Sequence::ZERO,
                    limit,
                    bytes: PAGE_BYTES,
                    reading: caller.reading(),
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
            drop(turn);
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
        require_admin(caller, "manages tokens")?;
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
        require_admin(caller, "manages tokens")?;
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
        require_admin(caller, "manages tokens")?;
        self.wish(&Source::System, Wish::RevokeToken { id: params.token_id })
            .await?;
        Ok(Done {})
    }

    pub(crate) async fn wish_for(&self, caller: &Caller, wish: Wish) -> Result<Receipt, ErrorBody> {
        self.wish_as(&Source::Agent(caller.agent_id.clone()), caller.rights(), wish)
            .await
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

/// Makes sure that an admin asks; `what` is what only these do.
fn require_admin(caller: &Caller, what: &str) -> Result<(), ErrorBody> {
    if caller.role == Role::Admin {
        return Ok(());
    }
    Err(ErrorBody::new(
        ErrorCode::Forbidden,
        format!("only an admin {what}"),
    ))
}

pub(crate) fn channel_name(field: &str, written: &str) -> Result<ChannelName, ErrorBody> {
    ChannelName::from_written(written).map_err(|error: InvalidName| ErrorBody::name(field, &error))
}

pub(crate) fn page_limit(asked: Option<u32>, default: u32) -> Result<usize, ErrorBody> {
    match asked.unwrap_or(default) {
        limit @ 1..=MAX_PAGE => Ok(limit as usize),
        _ => Err(ErrorBody::field(
            ErrorCode::InvalidField,
            "limit",
            format!("1 to {MAX_PAGE}"),
        )),
    }
}

/// The extensions: the workspace itself does what the messaging extension of other servers does.
pub(crate) fn mods() -> Vec<ModInfo> {
    vec![ModInfo {
        name: "openagents.mods.workspace.messaging".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        description: "Channels, direct messages, threads, reactions and history".to_owned(),
        requires_adapter: false,
    }]
}

/// An agent id as people write it.
pub(crate) fn agent_id(field: &str, written: &str) -> Result<AgentId, ErrorBody> {
    AgentId::from_written(written).map_err(|error| ErrorBody::name(field, &error))
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

pub(crate) fn unreadable(error: &StoreError) -> ErrorBody {
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
pub(crate) fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}
