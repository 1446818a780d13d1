//! Agents that react: say what happens on a message, a reply, a reaction or a file, and run.

mod context;
mod error;
mod file;
mod handle;
mod hook;
mod pattern;
mod route;
mod running;
mod settings;
mod shift;
mod signals;
mod start;

use std::future::{Ready, ready};
use std::sync::Arc;

use openagents_protocol::Event;

pub use context::{ChannelMessageContext, EventContext, ReactionContext, ReplyMessageContext};
pub use error::{HookError, HookResult, WorkerError};
pub use file::FileContext;
pub use handle::Worker;
pub use hook::{Hook, HookKind};
pub use running::RunningWorker;
pub use settings::WorkerSettings;
pub use start::StartWorker;

/// An agent that reacts to what happens in its workspace.
///
/// Every hook does nothing unless it is written, and gets the [`Worker`] to act with. What the agent itself
/// remembers are its own fields, behind a lock where hooks change them: hooks for events of different sources run
/// concurrently.
///
/// ```no_run
/// use openagents_client::{ChannelMessageContext, EventContext, HookResult, Worker, WorkerAgent};
///
/// struct Helper;
///
/// impl WorkerAgent for Helper {
///     async fn on_startup(&self, worker: &Worker) -> HookResult {
///         worker.post_to_channel("general", "Hello! Say help and I am there.").await;
///         Ok(())
///     }
///
///     async fn on_channel_post(&self, worker: &Worker, context: ChannelMessageContext) -> HookResult {
///         if context.text().contains("help") {
///             worker.reply_to_message(context.channel(), context.message_id(), "Here I am.").await;
///         }
///         Ok(())
///     }
///
///     async fn on_direct(&self, worker: &Worker, context: EventContext) -> HookResult {
///         worker.send_direct(context.source_id(), format!("You said: {}", context.text())).await;
///         Ok(())
///     }
/// }
///
/// #[tokio::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Helper.run("localhost", 8700).await?; // until Ctrl-C
///     Ok(())
/// }
/// ```
///
/// # What is called when
///
/// For every event, one after the other: the [pattern handlers](StartWorker::on) that match, in the order they were
/// given; [`react`](WorkerAgent::react); the hook of the event, if it has one; [`on_event`](WorkerAgent::on_event).
/// [`Hook`] tells which hook that is. Own messages, reactions and files are not seen at all, unless
/// [`WorkerSettings::ignore_own_messages`] says otherwise.
///
/// Events of one source are handled in the order of the log, those of different sources concurrently. What is sent
/// from inside a hook is linked to the event: a message to its source names it in `response_to`.
///
/// # When something fails
///
/// A hook that returns an error or panics is logged with the event, and stops nothing: what comes after it is called
/// all the same. When the connection breaks, the client reconnects and goes on where it was, and
/// [`on_startup`](WorkerAgent::on_startup) is not called again. An event counts as handled when all that is called
/// for it has returned; one that a crash cut short comes again in the next run.
pub trait WorkerAgent: Send + Sync + Sized + 'static {
    /// Who it is and how it behaves, asked once at the start.
    fn settings(&self) -> WorkerSettings {
        WorkerSettings::default()
    }

    /// The agent has joined. Events are handled from when this has returned, so what goes on for ever is for
    /// [`Worker::schedule_task`].
    fn on_startup(&self, worker: &Worker) -> impl Future<Output = HookResult> + Send {
        nothing(worker)
    }

    /// The agent is about to leave and can still send. Running hooks have returned, or their time is up. It has
    /// [`WorkerSettings::grace`] to return.
    fn on_shutdown(&self, worker: &Worker) -> impl Future<Output = HookResult> + Send {
        nothing(worker)
    }

    /// Somebody posted in a channel.
    fn on_channel_post(
        &self,
        worker: &Worker,
        context: ChannelMessageContext,
    ) -> impl Future<Output = HookResult> + Send {
        nothing((worker, context))
    }

    /// Somebody mentioned this agent in a channel, in a post or in a reply. No other hook is called for the message.
    fn on_channel_mention(
        &self,
        worker: &Worker,
        context: ChannelMessageContext,
    ) -> impl Future<Output = HookResult> + Send {
        nothing((worker, context))
    }

    /// Somebody replied to a message in a channel.
    fn on_channel_reply(
        &self,
        worker: &Worker,
        context: ReplyMessageContext,
    ) -> impl Future<Output = HookResult> + Send {
        nothing((worker, context))
    }

    /// Somebody wrote to this agent: a direct message, or a free payload (`agent.message`).
    fn on_direct(&self, worker: &Worker, context: EventContext) -> impl Future<Output = HookResult> + Send {
        nothing((worker, context))
    }

    /// Somebody reacted to a message that this agent may read, or took a reaction back.
    fn on_reaction(
        &self,
        worker: &Worker,
        context: ReactionContext,
    ) -> impl Future<Output = HookResult> + Send {
        nothing((worker, context))
    }

    /// Somebody shared a file with everyone, in a channel of this agent, or with this agent.
    fn on_file_received(
        &self,
        worker: &Worker,
        context: FileContext,
    ) -> impl Future<Output = HookResult> + Send {
        nothing((worker, context))
    }

    /// Anything happened; called last.
    fn on_event(&self, worker: &Worker, event: Event) -> impl Future<Output = HookResult> + Send {
        nothing((worker, event))
    }

    /// Anything happened; called before the hook of the event. For agents that do their own routing.
    fn react(&self, worker: &Worker, context: EventContext) -> impl Future<Output = HookResult> + Send {
        nothing((worker, context))
    }

    /// Joins the workspace of a server when awaited, calls [`on_startup`](WorkerAgent::on_startup), and goes on in the
    /// background: for options, and for programs that do other things as well.
    fn start(self, host: impl Into<String>, port: u16) -> StartWorker<Self> {
        StartWorker::new(Arc::new(self), host.into(), port)
    }

    /// Joins the workspace of a server and works until the process is asked to end, by Ctrl-C or SIGTERM, until
    /// [`Worker::request_stop`], or until the workspace ends the session for good.
    ///
    /// # Errors
    ///
    /// [`WorkerError`]: it could not join, or the workspace ended the session.
    fn run(self, host: impl Into<String>, port: u16) -> impl Future<Output = Result<(), WorkerError>> + Send {
        self.start(host, port).run()
    }
}

/// What a hook does that is not written.
fn nothing<T>(given: T) -> Ready<HookResult> {
    drop(given);
    ready(Ok(()))
}
