//! An agent that has started.

use std::sync::{Arc, OnceLock};

use openagents_protocol::ErrorBody;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::WorkerAgent;
use super::error::WorkerError;
use super::handle::Worker;
use super::pattern::PatternHandler;
use super::settings::WorkerSettings;
use super::shift::Shift;
use crate::AgentClient;

/// An agent at work; from [`crate::StartWorker`]. Cheap to clone; when the last clone is dropped, the agent stops.
#[derive(Clone, Debug)]
pub struct RunningWorker {
    worker: Worker,
    end: Arc<End>,
    _stops: Arc<DropGuard>,
}

/// How far it is.
#[derive(Debug, Default)]
struct End {
    started: CancellationToken,
    ended: CancellationToken,
    /// Why the workspace ended the session, if it did.
    reason: OnceLock<ErrorBody>,
}

impl RunningWorker {
    /// Lets an agent work with a client that has joined.
    pub(crate) fn begin<A: WorkerAgent>(
        client: AgentClient,
        agent: Arc<A>,
        settings: WorkerSettings,
        handlers: Vec<PatternHandler<A>>,
    ) -> Self {
        let worker = Worker::new(client, &settings);
        let end = Arc::new(End::default());
        let shift = Arc::new(Shift {
            agent,
            worker: worker.clone(),
            settings,
            handlers,
            ready: end.started.clone(),
            overdue: CancellationToken::new(),
            left: CancellationToken::new(),
        });
        // Events that arrive from here on wait in the handler, so none is passed over while `on_startup` runs.
        let registered = shift.register();
        let ended = Arc::clone(&end);
        let stops = worker.stop_token().clone().drop_guard();
        TaskTracker::new().spawn(async move {
            let _over = ended.ended.clone().drop_guard();
            if let Some(reason) = Box::pin(shift.work(registered)).await {
                // Set once, here.
                ended.reason.set(reason).ok();
            }
        });
        Self {
            worker,
            end,
            _stops: Arc::new(stops),
        }
    }

    /// What the agent acts with.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// Whether it has not stopped yet.
    pub fn is_running(&self) -> bool {
        !self.end.ended.is_cancelled()
    }

    /// Stops the agent: scheduled tasks are dropped, running hooks are waited for, `on_shutdown` is called, and it
    /// leaves the workspace. What arrived and was not begun comes again when the agent returns.
    ///
    /// It goes on when this future is dropped. Not for hooks, which would wait for themselves: they ask by
    /// [`Worker::request_stop`].
    ///
    /// # Errors
    ///
    /// [`WorkerError::Dismissed`] if the workspace had ended the session already.
    pub async fn stop(&self) -> Result<(), WorkerError> {
        self.worker.request_stop();
        self.wait_for_stop().await
    }

    /// Waits until the agent has stopped, whoever asked for it.
    ///
    /// # Errors
    ///
    /// [`WorkerError::Dismissed`] if the workspace ended the session.
    pub async fn wait_for_stop(&self) -> Result<(), WorkerError> {
        self.end.ended.cancelled().await;
        match self.end.reason.get() {
            Some(reason) => Err(WorkerError::Dismissed(reason.clone())),
            None => Ok(()),
        }
    }

    /// Waits until `on_startup` has returned.
    pub(crate) async fn started(&self) {
        self.end.started.cancelled().await;
    }
}
