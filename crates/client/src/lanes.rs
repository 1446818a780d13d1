//! Running handlers: in order for events of one source, concurrently across sources.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use futures_util::FutureExt;
use openagents_protocol::Event;
use tokio::runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::handler::Handler;
use crate::progress::{Progress, Ticket};

tokio::task_local! {
    /// The event whose handler runs.
    static CURRENT: Arc<Event>;
}

/// Lets something run as if in the handler of an event.
pub(crate) async fn in_event<F: Future>(event: Option<Arc<Event>>, future: F) -> F::Output {
    match event {
        Some(event) => CURRENT.scope(event, future).await,
        None => future.await,
    }
}

/// The event whose handler runs in this task, if one does.
pub(crate) fn current_event() -> Option<Arc<Event>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// One queue per source that has something to do, each with one task that ends when the queue is empty.
pub(crate) struct Lanes {
    /// Guards the queues; held for a few lines only. Bounded by what may be in flight.
    queues: Mutex<HashMap<String, VecDeque<Job>>>,
    stopped: AtomicBool,
    /// The queues that are worked on.
    working: TaskTracker,
    progress: Arc<Progress>,
    tasks: TaskTracker,
    runtime: runtime::Handle,
    cancel: CancellationToken,
}

/// An event for the handlers that want it.
pub(crate) struct Job {
    pub(crate) event: Arc<Event>,
    pub(crate) handlers: Arc<Vec<Arc<Handler>>>,
    pub(crate) ticket: Ticket,
}

impl Lanes {
    /// Lanes whose tasks run on the current runtime, until `cancel` fires.
    pub(crate) fn new(progress: &Arc<Progress>, tasks: &TaskTracker, cancel: &CancellationToken) -> Self {
        Self {
            queues: Mutex::default(),
            stopped: AtomicBool::new(false),
            working: TaskTracker::new(),
            progress: Arc::clone(progress),
            tasks: tasks.clone(),
            runtime: runtime::Handle::current(),
            cancel: cancel.clone(),
        }
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<String, VecDeque<Job>>> {
        self.queues.lock().expect("poisoned")
    }

    /// Queues an event behind the earlier ones of its source; once stopped, forgets it.
    pub(crate) fn push(self: &Arc<Self>, job: Job) {
        let mut queues = self.queues();
        if self.stopped.load(Ordering::Relaxed) {
            return;
        }
        if let Some(queue) = queues.get_mut(&job.event.source_id) {
            queue.push_back(job);
            return;
        }
        let source = job.event.source_id.clone();
        queues.insert(source.clone(), VecDeque::from([job]));
        let working = self.working.token();
        drop(queues);
        let (lanes, cancel) = (Arc::clone(self), self.cancel.clone());
        let work = async move {
            // A cancelled lane leaves its events unhandled.
            let _ended = cancel.run_until_cancelled_owned(lanes.work(source)).await;
            drop(working);
        };
        self.tasks.spawn_on(work, &self.runtime);
    }

    /// Forgets what has not begun; what runs goes on to its end.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        let forgotten = std::mem::take(&mut *self.queues());
        drop(forgotten);
    }

    /// Forgets what has not begun, and waits until what runs has ended.
    pub(crate) async fn drain(&self) {
        self.stop();
        self.working.close();
        self.working.wait().await;
    }

    async fn work(self: Arc<Self>, source: String) {
        while let Some(jobs) = self.take(&source) {
            for job in jobs {
                if self.stopped.load(Ordering::Relaxed) {
                    return;
                }
                self.run(job).await;
                // Handlers that never wait must not keep the connection from its turn.
                tokio::task::consume_budget().await;
            }
        }
        self.progress.flush();
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
        } = job;
        for handler in handlers.iter().filter(|handler| handler.wants(&event)) {
            let given = Event::clone(&event);
            let call = AssertUnwindSafe(async { handler.call(given).await }).catch_unwind();
            let mut running = pin!(CURRENT.scope(Arc::clone(&event), call));
            let at_once = std::future::poll_fn(|context| Poll::Ready(running.as_mut().poll(context))).await;
            let outcome = match at_once {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => {
                    // This may take long; what is handled already need not wait for it.
                    self.progress.flush();
                    running.await
                }
            };
            let failure = outcome.unwrap_or_else(|_| Some("it panicked".to_owned()));
            if let Some(error) = failure {
                let (event_name, event_id) = (&event.event_name, &event.event_id);
                let handler = handler.describe();
                tracing::warn!(event_name, event_id, handler, error, "a handler failed");
            }
        }
        ticket.finish();
    }
}
