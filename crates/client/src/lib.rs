#![doc = include_str!("lib.md")]

mod answer;
mod backoff;
mod cause;
mod client;
mod connect;
mod connector;
mod content;
mod deliveries;
mod dial;
mod dispatch;
mod error;
mod handler;
mod hub;
mod lanes;
mod link;
mod outbox;
mod progress;
mod recent;
mod seen;
mod send;
mod stream;
mod worker;
mod workspace;

pub use openagents_protocol as protocol;
pub use openagents_protocol::call::{
    AgentInfo, ChannelInfo, ChannelPermissions, ChannelSettings, Conversation, FileInfo, FoundMessage,
    FoundMessages, Grantee, Message, Messages, ModInfo, Permissions, ReactAction, Reaction, SnippetPart,
    Subscription, WorkspaceInfo,
};
pub use openagents_protocol::frame::{Backlog, Welcome};
pub use openagents_protocol::{
    ErrorBody, ErrorCode, Event, EventResponse, InvalidName, Json, Pattern, Receipt, Secret, Sequence,
    Visibility,
};

pub use cause::handling;
pub use client::{AgentClient, WeakAgentClient};
pub use connect::Connect;
pub use content::IntoContent;
pub use deliveries::{Deliveries, Delivery};
pub use dial::{ByteStream, Dial, DialFuture};
pub use error::{AskError, CallError, ConnectError, FileError, PublishError};
pub use handler::{HandlerHandle, HandlerOutcome, IntoPatterns};
pub use send::{PendingPublish, SendEvent};
pub use stream::EventStream;
pub use worker::{
    ChannelMessageContext, EventContext, FileContext, Hook, HookError, HookKind, HookResult, ReactionContext,
    ReplyMessageContext, RunningWorker, StartWorker, Worker, WorkerAgent, WorkerError, WorkerSettings,
};
pub use workspace::{
    AgentConnection, Channel, DownloadFile, FileContent, GetMessages, Post, Search, Thread, UploadFile,
    Workspace,
};
