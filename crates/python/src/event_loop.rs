//! An asyncio loop, as threads that are not its own see it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::runtime::Runtime;

/// Something to do on the thread of the loop.
type Job = Box<dyn FnOnce(Python<'_>) + Send>;

/// The loops that were used so far, each once. Closed ones go when a new one comes.
static LOOPS: Mutex<Vec<Arc<EventLoop>>> = Mutex::new(Vec::new());

/// A loop and what is to be done on its thread.
///
/// However much gathers, the loop is called back once, with `call_soon_threadsafe`. The queue is bounded by what may
/// be in flight: calls that somebody awaits, and the window of events.
pub(crate) struct EventLoop {
    object: Py<PyAny>,
    /// Guards the queue; held for a few lines only.
    jobs: Mutex<Vec<Job>>,
    /// Whether the loop was asked to call back and did not yet.
    called: AtomicBool,
    closed: AtomicBool,
    runtime: Arc<Runtime>,
}

impl EventLoop {
    /// The loop that runs on this thread.
    pub(crate) fn running(py: Python<'_>) -> PyResult<Arc<Self>> {
        static GET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let get = GET.import(py, "asyncio", "get_running_loop")?;
        Self::of(&get.call0()?)
    }

    /// The same, for a loop at hand.
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Arc<Self>> {
        let runtime = Runtime::get()?;
        let mut loops = LOOPS.lock().expect("poisoned");
        let known = loops
            .iter()
            .find(|known| known.object.is(object) && Arc::ptr_eq(&known.runtime, &runtime));
        if let Some(known) = known {
            return Ok(Arc::clone(known));
        }
        let py = object.py();
        let gone: Vec<_> = loops
            .extract_if(.., |known| known.is_closed(py) || !known.runtime.is_here())
            .collect();
        let made = Arc::new(Self {
            object: object.clone().unbind(),
            jobs: Mutex::default(),
            called: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            runtime,
        });
        loops.push(Arc::clone(&made));
        drop(loops);
        // What they hold may run code of others when it is dropped.
        drop(gone);
        Ok(made)
    }

    pub(crate) fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    pub(crate) fn object<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.object.bind(py)
    }

    fn jobs(&self) -> MutexGuard<'_, Vec<Job>> {
        self.jobs.lock().expect("poisoned")
    }

    /// Whether it was closed; what is to be done on it then never is.
    pub(crate) fn is_closed(&self, py: Python<'_>) -> bool {
        let asked = || {
            let answer = self.object.bind(py).call_method0(intern!(py, "is_closed"))?;
            answer.is_truthy()
        };
        self.closed.load(Ordering::Relaxed) || asked().unwrap_or(true)
    }

    /// Whether it is known to be closed; asks nobody.
    pub(crate) fn is_gone(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Has something done on the thread of the loop; it is forgotten when the loop is closed.
    pub(crate) fn push(self: &Arc<Self>, job: impl FnOnce(Python<'_>) + Send + 'static) {
        if self.closed.load(Ordering::Relaxed) {
            return;
        }
        self.jobs().push(Box::new(job));
        if !self.called.swap(true, Ordering::AcqRel) {
            self.runtime.wake(Arc::clone(self));
        }
    }

    /// Asks the loop to call back; for the courier.
    pub(crate) fn call_back(self: Arc<Self>, py: Python<'_>) {
        let object = self.object.clone_ref(py);
        let asked = Bound::new(py, CallBack(Arc::clone(&self))).and_then(|callback| {
            object
                .bind(py)
                .call_method1(intern!(py, "call_soon_threadsafe"), (callback,))
        });
        if asked.is_err() {
            // It is closed: nobody is left to tell.
            self.closed.store(true, Ordering::Relaxed);
            let forgotten = std::mem::take(&mut *self.jobs());
            drop(forgotten);
        }
    }

    fn work(&self, py: Python<'_>) {
        self.called.store(false, Ordering::Release);
        let jobs = std::mem::take(&mut *self.jobs());
        for job in jobs {
            job(py);
        }
    }
}

/// What the loop calls.
#[pyclass(frozen)]
struct CallBack(Arc<EventLoop>);

#[pymethods]
impl CallBack {
    fn __call__(&self, py: Python<'_>) {
        self.0.work(py);
    }
}
