//! Events for the handlers of one loop.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use openagents_client::{Deliveries, Delivery, Pattern};
use pyo3::prelude::*;
use tokio::task::AbortHandle;

use crate::client::parsed_patterns;
use crate::event::Event;
use crate::event_loop::EventLoop;

/// The most events that cross at once.
const BATCH: usize = 256;

/// Hands events to the handlers of a loop: in order for events of one source, concurrently across sources.
///
/// Each source that has something to do is a [`Lane`], which a task of the loop works off.
#[pyclass(frozen, module = "openagents._native")]
pub(crate) struct Feed {
    shared: Arc<Shared>,
    pump: AbortHandle,
}

struct Shared {
    event_loop: Arc<EventLoop>,
    /// Called on the loop with each lane that has something to do. It leads back to the feed by a way that the garbage
    /// collector does not see, so it is let go at the end.
    begin: Mutex<Option<Py<PyAny>>>,
    /// Guards the handlers; held for a few lines only.
    wanted: Mutex<Arc<Vec<Wanted>>>,
    /// Guards the lanes; held for a few lines only. Bounded by what may be in flight.
    lanes: Mutex<Lanes>,
}

/// A handler, which Python knows by a key.
pub(crate) struct Wanted {
    key: u64,
    patterns: Vec<Pattern>,
}

impl Wanted {
    /// Handlers as Python names them.
    pub(crate) fn parse(py: Python<'_>, handlers: Vec<(u64, Vec<String>)>) -> PyResult<Vec<Self>> {
        let parse = |(key, patterns): (u64, Vec<String>)| {
            let patterns = parsed_patterns(py, &patterns)?;
            Ok(Self { key, patterns })
        };
        handlers.into_iter().map(parse).collect()
    }
}

#[derive(Default)]
struct Lanes {
    queues: HashMap<String, VecDeque<Item>>,
    /// Sources whose lanes begin when the pause is over.
    waiting: Vec<String>,
    mode: Mode,
}

/// What becomes of events that come over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Working,
    /// Lanes that work go on, and no other begins.
    Paused,
    /// Nothing begins any more: what did not comes again in another session.
    Stopped,
    /// Nobody wants it: it counts as handled.
    Unwanted,
}

struct Item {
    delivery: Delivery,
    keys: Vec<u64>,
}

/// What one source has to be handled, in order; an iterator over events and the keys of their handlers.
#[pyclass(frozen, module = "openagents._native")]
pub(crate) struct Lane {
    shared: Arc<Shared>,
    source: String,
    current: Mutex<Option<Delivery>>,
}

impl Feed {
    pub(crate) fn start(
        mut deliveries: Deliveries,
        event_loop: &Arc<EventLoop>,
        handlers: Vec<Wanted>,
        begin: Py<PyAny>,
        ended: Py<PyAny>,
    ) -> Self {
        let shared = Arc::new(Shared {
            event_loop: Arc::clone(event_loop),
            begin: Mutex::new(Some(begin)),
            wanted: Mutex::new(Arc::new(handlers)),
            lanes: Mutex::default(),
        });
        let pumped = Arc::clone(&shared);
        let pump = event_loop.runtime().spawn(async move {
            while let Some(batch) = deliveries.next_batch(BATCH).await {
                pumped.hand_over(batch);
            }
            pumped.event_loop.push(move |py| {
                if let Err(error) = ended.call0(py) {
                    error.write_unraisable(py, None);
                }
            });
        });
        Self { shared, pump }
    }
}

#[pymethods]
impl Feed {
    /// Sets the handlers: keys and patterns, in the order they are to be called.
    fn set_handlers(&self, py: Python<'_>, handlers: Vec<(u64, Vec<String>)>) -> PyResult<()> {
        *lock(&self.shared.wanted) = Arc::new(Wanted::parse(py, handlers)?);
        Ok(())
    }

    /// Whether nothing comes any more.
    #[getter]
    fn ended(&self) -> bool {
        self.pump.is_finished()
    }

    /// Begins no further lane until it is resumed.
    fn pause(&self) {
        let mut lanes = lock(&self.shared.lanes);
        if lanes.mode == Mode::Working {
            lanes.mode = Mode::Paused;
        }
    }

    /// Begins the lanes that had to wait.
    fn resume(&self, py: Python<'_>) {
        let waiting = {
            let mut lanes = lock(&self.shared.lanes);
            if lanes.mode == Mode::Paused {
                lanes.mode = Mode::Working;
            }
            std::mem::take(&mut lanes.waiting)
        };
        for source in waiting {
            self.shared.begin(py, source);
        }
    }

    /// Hands out nothing more; lanes end with the event that they work on. What was not begun comes again in another
    /// session.
    fn stop(&self) {
        drop(self.shared.give_up(Mode::Stopped));
    }

    /// Whether nothing more is handed out.
    #[getter]
    fn stopped(&self) -> bool {
        lock(&self.shared.lanes).mode == Mode::Stopped
    }

    /// Ends it. What was not handled comes again in another session.
    fn close(&self) {
        self.stop();
        self.end();
    }

    /// Ends it. What was not handled counts as handled, since no handler is left that wants it.
    fn dismiss(&self) {
        for item in self.shared.give_up(Mode::Unwanted) {
            item.delivery.finish();
        }
        self.end();
    }
}

impl Feed {
    fn end(&self) {
        self.pump.abort();
        let begin = lock(&self.shared.begin).take();
        drop(begin);
    }
}

impl Shared {
    /// Sends what some handler wants over to the loop, all at once.
    fn hand_over(self: &Arc<Self>, batch: Vec<Delivery>) {
        let wanted = Arc::clone(&lock(&self.wanted));
        let mut items = Vec::with_capacity(batch.len());
        for delivery in batch {
            let event = delivery.event();
            let matching = wanted
                .iter()
                .filter(|handler| handler.patterns.iter().any(|pattern| event.matches(pattern)));
            let keys: Vec<u64> = matching.map(|handler| handler.key).collect();
            if keys.is_empty() {
                delivery.finish();
            } else {
                items.push(Item { delivery, keys });
            }
        }
        if !items.is_empty() {
            let shared = Arc::clone(self);
            self.event_loop.push(move |py| shared.deliver(py, items));
        }
    }

    /// Queues what came over; on the loop.
    fn deliver(self: &Arc<Self>, py: Python<'_>, items: Vec<Item>) {
        let mut fresh = Vec::new();
        let mut lanes = lock(&self.lanes);
        match lanes.mode {
            Mode::Working | Mode::Paused => {}
            Mode::Stopped => return,
            Mode::Unwanted => return items.into_iter().for_each(|item| item.delivery.finish()),
        }
        for item in items {
            let source = &item.delivery.event().source_id;
            if let Some(queue) = lanes.queues.get_mut(source) {
                queue.push_back(item);
            } else {
                let source = source.clone();
                fresh.push(source.clone());
                lanes.queues.insert(source, VecDeque::from([item]));
            }
        }
        if lanes.mode == Mode::Paused {
            lanes.waiting.append(&mut fresh);
        }
        drop(lanes);
        for source in fresh {
            self.begin(py, source);
        }
    }

    /// Takes away what was not begun, and says what becomes of events from now on.
    fn give_up(&self, mode: Mode) -> Vec<Item> {
        let mut lanes = lock(&self.lanes);
        lanes.mode = mode;
        lanes.waiting.clear();
        let queues = std::mem::take(&mut lanes.queues);
        drop(lanes);
        queues.into_values().flatten().collect()
    }

    fn begin(self: &Arc<Self>, py: Python<'_>, source: String) {
        let begin = lock(&self.begin).as_ref().map(|begin| begin.clone_ref(py));
        let Some(begin) = begin else {
            return;
        };
        let lane = Lane {
            shared: Arc::clone(self),
            source,
            current: Mutex::default(),
        };
        if let Err(error) = begin.call1(py, (lane,)) {
            error.write_unraisable(py, None);
        }
    }

    /// The next event of a source; at the end of its queue the lane is over.
    fn next(&self, source: &str) -> Option<Item> {
        let mut lanes = lock(&self.lanes);
        let next = lanes.queues.get_mut(source)?.pop_front();
        if next.is_none() {
            lanes.queues.remove(source);
        }
        next
    }
}

#[pymethods]
impl Lane {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    /// The event before counts as handled now.
    fn __next__(&self) -> Option<(Event, Vec<u64>)> {
        let before = lock(&self.current).take();
        let next =
            std::iter::from_fn(|| self.shared.next(&self.source)).find(|item| item.delivery.is_current());
        match (before, &next) {
            (Some(delivery), Some(_)) => delivery.finish(),
            (Some(delivery), None) => delivery.finish_now(),
            (None, _) => {}
        }
        let Item { delivery, keys } = next?;
        let event = Event::arrived(Arc::clone(delivery.event()));
        *lock(&self.current) = Some(delivery);
        Some((event, keys))
    }

    /// Handling the current event takes long: what was handled before is to be acknowledged now.
    fn flush(&self) {
        if let Some(delivery) = &*lock(&self.current) {
            delivery.flush();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("poisoned")
}
