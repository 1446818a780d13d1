//! The one tokio runtime behind all clients of this process, and its end.
//!
//! It starts with the first connection and is stopped by `atexit`, while the interpreter still works: afterwards no
//! thread of ours exists that could touch it.

use std::future::Future;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use openagents_client::{AgentClient, WeakAgentClient};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::{Builder, Handle};
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use crate::event_loop::EventLoop;
use crate::logging::{self, Record};

/// Reading and writing sockets for many clients is little work; Python does the rest.
const WORKER_THREADS: usize = 2;

/// How long the end of the interpreter waits for connected clients to say goodbye.
const GOODBYE_WITHIN: Duration = Duration::from_secs(2);

/// How long the end of the interpreter waits for what blocks, such as a name lookup.
const STOP_WITHIN: Duration = Duration::from_secs(1);

static STATE: Mutex<State> = Mutex::new(State::New);

enum State {
    /// Nobody needed it yet.
    New,
    Running(Arc<Runtime>),
    /// The interpreter ends.
    Stopped,
}

/// A running runtime. It belongs to the process that started it.
pub(crate) struct Runtime {
    handle: Handle,
    /// Taken at the end.
    tokio: Mutex<Option<tokio::runtime::Runtime>>,
    tasks: TaskTracker,
    courier: Arc<Courier>,
    /// Clients that may have to say goodbye.
    clients: Mutex<Vec<WeakAgentClient>>,
    process: u32,
}

/// The thread that talks to the interpreter, so that no thread of tokio ever waits for it.
struct Courier {
    /// Guards what is to be brought; held for a few lines only.
    mail: Mutex<Mail>,
    arrived: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Mail {
    /// Loops to wake, each at most once.
    loops: Vec<Arc<EventLoop>>,
    /// Lines for the log; bounded by [`logging::MAX_RECORDS`].
    records: Vec<Record>,
    stopped: bool,
}

impl Runtime {
    /// The runtime of this process, started if it is not.
    pub(crate) fn get() -> PyResult<Arc<Self>> {
        let mut state = lock(&STATE);
        match &*state {
            State::Running(runtime) => Ok(Arc::clone(runtime)),
            State::Stopped => Err(PyRuntimeError::new_err(
                "the interpreter is ending: no new connections",
            )),
            State::New => {
                let runtime = Arc::new(Self::start()?);
                *state = State::Running(Arc::clone(&runtime));
                Ok(runtime)
            }
        }
    }

    fn start() -> PyResult<Self> {
        let tokio = Builder::new_multi_thread()
            .worker_threads(WORKER_THREADS)
            .thread_name("openagents")
            .enable_all()
            .build()?;
        let courier = Courier::start()?;
        let records = Arc::clone(&courier);
        logging::install(move |record| records.bring_record(record));
        Ok(Self {
            handle: tokio.handle().clone(),
            tokio: Mutex::new(Some(tokio)),
            tasks: TaskTracker::new(),
            courier,
            clients: Mutex::default(),
            process: std::process::id(),
        })
    }

    /// Whether this is the process that started it. After a fork its threads are gone.
    pub(crate) fn is_here(&self) -> bool {
        self.process == std::process::id()
    }

    /// Enters the runtime, so that futures can be polled on this thread.
    pub(crate) fn enter(&self) -> tokio::runtime::EnterGuard<'_> {
        self.handle.enter()
    }

    /// Runs a future to its end or until it is aborted.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.tasks.spawn_on(future, &self.handle).abort_handle()
    }

    /// Has a loop called back on its own thread.
    pub(crate) fn wake(&self, event_loop: Arc<EventLoop>) {
        self.courier.bring(|mail| mail.loops.push(event_loop));
    }

    /// Remembers a client, which leaves gracefully should the interpreter end before.
    pub(crate) fn remember(&self, client: &AgentClient) {
        let mut clients = lock(&self.clients);
        clients.retain(|client| client.upgrade().is_some_and(|client| client.welcome().is_some()));
        clients.push(client.downgrade());
    }

    /// Says goodbye for everybody, then stops every thread.
    fn stop(&self) {
        let clients: Vec<AgentClient> = lock(&self.clients)
            .drain(..)
            .filter_map(|client| client.upgrade())
            .collect();
        let goodbyes = futures_util::future::join_all(clients.iter().map(AgentClient::disconnect));
        if let Some(tokio) = lock(&self.tokio).take() {
            tokio.block_on(async {
                // Whoever is not done by then is cut off.
                tokio::time::timeout(GOODBYE_WITHIN, goodbyes).await.ok();
            });
            tokio.shutdown_timeout(STOP_WITHIN);
        }
        self.courier.stop();
    }
}

impl Courier {
    fn start() -> PyResult<Arc<Self>> {
        let courier = Arc::new(Self {
            mail: Mutex::default(),
            arrived: Condvar::new(),
            thread: Mutex::default(),
        });
        let runner = Arc::clone(&courier);
        let thread = std::thread::Builder::new()
            .name("openagents-courier".to_owned())
            .spawn(move || runner.run())?;
        *lock(&courier.thread) = Some(thread);
        Ok(courier)
    }

    fn bring(&self, add: impl FnOnce(&mut Mail)) {
        add(&mut lock(&self.mail));
        self.arrived.notify_one();
    }

    fn bring_record(&self, record: Record) {
        self.bring(|mail| logging::keep(&mut mail.records, record));
    }

    fn run(&self) {
        while let Some(mail) = self.next() {
            Python::attach(|py| {
                for event_loop in mail.loops {
                    event_loop.call_back(py);
                }
                logging::write(py, mail.records);
            });
        }
    }

    /// What there is to bring; none at the end.
    fn next(&self) -> Option<Mail> {
        let mut mail = lock(&self.mail);
        loop {
            if mail.stopped {
                return None;
            }
            if !mail.loops.is_empty() || !mail.records.is_empty() {
                return Some(std::mem::take(&mut *mail));
            }
            mail = self.arrived.wait(mail).expect("poisoned");
        }
    }

    fn stop(&self) {
        self.bring(|mail| mail.stopped = true);
        if let Some(thread) = lock(&self.thread).take() {
            // It does not panic; if it did, it is gone all the same.
            thread.join().ok();
        }
    }
}

/// Stops everything; for `atexit`.
#[pyfunction]
pub(crate) fn shut_down(py: Python<'_>) {
    let state = std::mem::replace(&mut *lock(&STATE), State::Stopped);
    if let State::Running(runtime) = state
        && runtime.is_here()
    {
        // The courier may be waiting for the interpreter.
        py.detach(|| runtime.stop());
    }
}

/// Forgets the runtime of the parent, whose threads do not exist here; for `os.register_at_fork`.
#[pyfunction]
pub(crate) fn after_fork() {
    let state = std::mem::replace(&mut *lock(&STATE), State::New);
    // Dropping it would wait for threads that do not exist.
    std::mem::forget(state);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("poisoned")
}
