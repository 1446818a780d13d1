//! Running handlers: in order for events of one source, concurrently across sources.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use futures_util::FutureExt;
use openagents_protocol::Event;
use tokio::runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cause::Cause;
use crate::handler::Handler;
use crate::progress::Ticket;

/// One queue per source that has something to do, each with one task that ends when the queue is empty. Sessions of one
/// client share them, so that a source keeps its order from one session to the next.
pub(crate) struct Lanes {
    /// Guards the queues; held for a few lines only. Bounded by what may be in flight.
    queues: Mutex<HashMap<String, VecDeque<Job>>>,
    /// The queues that are worked on.
    working: TaskTracker,
    /// Sessions that began.
    sessions: AtomicU64,
    /// What sessions up to here queued and what has not begun is forgotten.
    stopped: AtomicU64,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

/// An event for the handlers that want it.
pub(crate) struct Job {
    pub(crate) event: Arc<Event>,
    pub(crate) handlers: Arc<Vec<Arc<Handler>>>,
    pub(crate) ticket: Ticket,
    /// The session that brought it.
    pub(crate) session: u64,
}

impl Lanes {
    /// Lanes whose tasks run until `cancel` fires.
    pub(crate) fn new(tasks: &TaskTracker, cancel: &CancellationToken) -> Self {
        Self {
            queues: Mutex::default(),
            working: TaskTracker::new(),
            sessions: AtomicU64::new(0),
            stopped: AtomicU64::new(0),
            tasks: tasks.clone(),
            cancel: cancel.clone(),
        }
    }

    /// Another session begins, under this number.
    pub(crate) fn begin(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<String, VecDeque<Job>>> {
        self.queues.lock().expect("poisoned")
    }

    /// Queues events of one session behind the earlier ones of their sources; what that takes runs on this runtime. What
    /// a stopped session brings is forgotten.
    pub(crate) fn push(self: &Arc<Self>, jobs: Vec<Job>, runtime: &runtime::Handle) {
        let mut queues = self.queues();
        let stopped = self.stopped.load(Ordering::Relaxed);
        if jobs.first().is_none_or(|job| job.session <= stopped) {
            return;
        }
        for job in jobs {
            if let Some(queue) = queues.get_mut(&job.event.source_id) {
                queue.push_back(job);
                continue;
            }
            let source = job.event.source_id.clone();
            queues.insert(source.clone(), VecDeque::from([job]));
            self.begin_lane(source, runtime);
        }
    }

    fn begin_lane(self: &Arc<Self>, source: String, runtime: &runtime::Handle) {
        let working = self.working.token();
        let (lanes, cancel) = (Arc::clone(self), self.cancel.clone());
        let work = async move {
            // A cancelled lane leaves its events unhandled.
            let _ended = cancel.run_until_cancelled_owned(lanes.work(source)).await;
            drop(working);
        };
        self.tasks.spawn_on(work, runtime);
    }

    /// Forgets what a session, or one before it, brought and what has not begun; what runs goes on to its end.
    pub(crate) fn stop(&self, session: u64) {
        self.stopped.fetch_max(session, Ordering::Relaxed);
        let mut forgotten = Vec::new();
        for queue in self.queues().values_mut() {
            let (old, new) = std::mem::take(queue)
                .into_iter()
                .partition::<VecDeque<Job>, _>(|job| job.session <= session);
            *queue = new;
            forgotten.push(old);
        }
        drop(forgotten);
    }

    /// Forgets what this session brought and has not begun, and waits until what runs has ended.
    pub(crate) async fn drain(&self, session: u64) {
        self.stop(session);
        self.working.close();
        self.working.wait().await;
        self.working.reopen();
    }

    async fn work(self: Arc<Self>, source: String) {
        let mut progress = None;
        while let Some(jobs) = self.take(&source) {
            for job in jobs {
                if job.session <= self.stopped.load(Ordering::Relaxed) {
                    continue;
                }
                progress = Some(Arc::clone(job.ticket.progress()));
                self.run(job).await;
                // Handlers that never wait must not keep the connection from its turn.
                tokio::task::consume_budget().await;
            }
        }
        if let Some(progress) = progress {
            progress.flush();
        }
    }

    fn take(&self, source: &str) -> Option<VecDeque<Job>> {
        let mut queues = self.queues();
        let queue = queues.get_mut(source)?;
        if queue.is_empty() {
            queues.remove(source);
            return None;
        }
        Some(std::mem::take(queue))
    }

    async fn run(&self, job: Job) {
        let Job {
            event,
            handlers,
            ticket,
            session: _,
        } = job;
        if ticket.is_handled() {
            return ticket.finish();
        }
        let cause = Cause::of(&event);
        let mut left = Some(event);
        for (index, handler) in handlers.iter().enumerate() {
            let Some(given) = left.take_if(|event| handler.wants(event)) else {
                continue;
            };
            // The last one that wants it may have it.
            if handlers[index + 1..].iter().any(|next| next.wants(&given)) {
                left = Some(Arc::clone(&given));
            }
            let call =
                AssertUnwindSafe(async { handler.call(Arc::unwrap_or_clone(given)).await }).catch_unwind();
            let mut running = pin!(cause.scope(call));
            let at_once = std::future::poll_fn(|context| Poll::Ready(running.as_mut().poll(context))).await;
            let outcome = match at_once {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => {
                    // This may take long; what is handled already need not wait for it.
                    ticket.progress().flush();
                    running.await
                }
            };
            let failure = outcome.unwrap_or_else(|_| Some("it panicked".to_owned()));
            if let Some(error) = failure {
                let (event_name, event_id) = (cause.event_name(), cause.event_id());
                let handler = handler.describe();
                tracing::warn!(event_name, event_id, handler, error, "a handler failed");
            }
        }
        ticket.finish_handled();
    }
}
