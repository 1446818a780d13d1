//! Events for one who asks for them: streams and waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use openagents_client::{Deliveries, Delivery, Pattern};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::awaitable;
use crate::event::Event;
use crate::feed::Listeners;
use crate::seconds::deadline_after;

/// The most events that cross at once.
const BATCH: usize = 256;

/// Takes events one after the other; each is handled when the next one is taken, or when it is closed.
#[pyclass(frozen, module = "openagents._native")]
pub(crate) struct Reader {
    /// None once it is closed.
    source: Mutex<Option<Arc<tokio::sync::Mutex<Deliveries>>>>,
    patterns: Vec<Pattern>,
    /// What crossed already; shared with the wait that fetches more.
    ready: Arc<Mutex<Ready>>,
    current: Mutex<Option<Delivery>>,
    listeners: Arc<Listeners>,
}

#[derive(Default)]
struct Ready {
    deliveries: VecDeque<Delivery>,
    /// Nobody takes any more: a wait that was cancelled may still bring something, which counts as handled.
    closed: bool,
}

impl Ready {
    fn add(&mut self, batch: Vec<Delivery>) {
        if self.closed {
            batch.into_iter().for_each(Delivery::finish);
        } else {
            self.deliveries.extend(batch);
        }
    }
}

impl Reader {
    pub(crate) fn new(deliveries: Deliveries, patterns: Vec<Pattern>, listeners: Arc<Listeners>) -> Self {
        listeners.add_reader();
        Self {
            source: Mutex::new(Some(Arc::new(tokio::sync::Mutex::new(deliveries)))),
            patterns,
            ready: Arc::default(),
            current: Mutex::default(),
            listeners,
        }
    }

    fn source(&self) -> Option<Arc<tokio::sync::Mutex<Deliveries>>> {
        lock(&self.source).clone()
    }

    fn wants(&self, delivery: &Delivery) -> bool {
        self.patterns.is_empty()
            || self
                .patterns
                .iter()
                .any(|pattern| delivery.event().matches(pattern))
    }
}

#[pymethods]
impl Reader {
    /// The next event of those that are here; `None` when there is none.
    fn take(&self) -> Option<Event> {
        loop {
            let next = lock(&self.ready).deliveries.pop_front();
            let before = lock(&self.current).take();
            let Some(delivery) = next else {
                if let Some(delivery) = before {
                    delivery.finish_now();
                }
                return None;
            };
            if let Some(delivery) = before {
                delivery.finish();
            }
            if !delivery.is_current() {
                continue;
            }
            if !self.wants(&delivery) {
                delivery.finish();
                continue;
            }
            let event = Event::arrived(Arc::clone(delivery.event()));
            *lock(&self.current) = Some(delivery);
            return Some(event);
        }
    }

    /// Waits until there are events to take: `True`. `False` after the time, `None` when nothing comes any more.
    #[pyo3(signature = (timeout=None))]
    fn wait<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let (source, ready) = (self.source(), Arc::clone(&self.ready));
        let timeout = deadline_after(timeout)?;
        let fetching = async move {
            let source = source?;
            let mut deliveries = source.lock().await;
            match tokio::time::timeout(timeout, deliveries.next_batch(BATCH)).await {
                Ok(batch) => {
                    lock(&ready).add(batch?);
                    Some(true)
                }
                Err(_) => Some(false),
            }
        };
        awaitable::start(py, fetching, |py, found| {
            Ok(found.into_pyobject(py)?.into_any().unbind())
        })
    }

    /// A wait ends with the event that was taken last. `False` if another one returned it in the meantime.
    fn claim(&self) -> PyResult<bool> {
        let source = self.source();
        let deliveries = source.as_ref().and_then(|source| source.try_lock().ok());
        match (deliveries, &*lock(&self.current)) {
            (Some(deliveries), Some(delivery)) => Ok(deliveries.claim(delivery)),
            _ => Err(PyRuntimeError::new_err("a reader is read by one task at a time")),
        }
    }

    /// A wait ends without an event: later waits look no further back.
    fn give_up(&self) {
        if let Some(source) = self.source()
            && let Ok(deliveries) = source.try_lock()
        {
            deliveries.give_up();
        }
    }

    /// Ends it; what was not taken counts as handled.
    fn close(&self) {
        let current = lock(&self.current).take();
        if let Some(delivery) = current {
            delivery.finish_now();
        }
        let closed = Ready {
            closed: true,
            ..Ready::default()
        };
        let unread = std::mem::replace(&mut *lock(&self.ready), closed);
        unread.deliveries.into_iter().for_each(Delivery::finish);
        let source = lock(&self.source).take();
        if source.is_some() {
            self.listeners.remove_reader();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.close();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("poisoned")
}
