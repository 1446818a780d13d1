//! Events for the handlers of one loop.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use openagents_client::{Deliveries, Delivery, Pattern};
use pyo3::prelude::*;
use tokio::task::AbortHandle;

use crate::client::parsed_patterns;
use crate::event::Event;
use crate::event_loop::EventLoop;

/// The most events that cross at once.
const BATCH: usize = 256;

/// So many events in a row that no handler wants, and the loop is asked whether it is still there.
const ASK_AFTER: usize = 256;

/// Hands events to the handlers of a loop: in order for events of one source, concurrently across sources.
///
/// Each source that has something to do is a [`Lane`], which a task of the loop works off.
#[pyclass(frozen, module = "openagents._native")]
pub(crate) struct Feed {
    shared: Arc<Shared>,
    pump: AbortHandle,
}

pub(crate) struct Shared {
    event_loop: Arc<EventLoop>,
    listeners: Arc<Listeners>,
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
    /// On its way to the loop.
    arrived: Vec<Item>,
    /// Sources that have something to do.
    sources: HashMap<String, Source>,
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

#[derive(Default)]
struct Source {
    queue: VecDeque<Item>,
    current: Arc<Current>,
}

/// The event that a lane works on.
type Current = Mutex<Option<Delivery>>;

/// What one source has to be handled, in order; an iterator over events and the keys of their handlers.
#[pyclass(frozen, module = "openagents._native")]
pub(crate) struct Lane {
    shared: Arc<Shared>,
    source: String,
    current: Arc<Current>,
}

/// Everybody who takes events from one client.
///
/// A loop may be closed while its feed has events that are not handled. If nobody else takes events, they come again
/// in another session, as they should; if somebody does, they must not hold up the session, and count as handled.
#[derive(Default)]
pub(crate) struct Listeners {
    /// Guards the feeds; held for a few lines only.
    feeds: Mutex<Vec<Weak<Shared>>>,
    /// Streams and waits.
    readers: AtomicUsize,
}

impl Feed {
    pub(crate) fn start(
        mut deliveries: Deliveries,
        event_loop: &Arc<EventLoop>,
        listeners: &Arc<Listeners>,
        handlers: Vec<Wanted>,
        begin: Py<PyAny>,
        ended: Py<PyAny>,
    ) -> Self {
        let shared = Arc::new(Shared {
            event_loop: Arc::clone(event_loop),
            listeners: Arc::clone(listeners),
            begin: Mutex::new(Some(begin)),
            wanted: Mutex::new(Arc::new(handlers)),
            lanes: Mutex::default(),
        });
        lock(&listeners.feeds).push(Arc::downgrade(&shared));
        let pumped = Arc::clone(&shared);
        let pump = event_loop.runtime().spawn(async move {
            let mut unwanted = 0;
            while let Some(batch) = deliveries.next_batch(BATCH).await {
                if pumped.event_loop.is_gone() && pumped.others_listen() {
                    pumped.forget();
                }
                unwanted += batch.len();
                if pumped.hand_over(batch) {
                    unwanted = 0;
                } else if ASK_AFTER <= unwanted {
                    unwanted = 0;
                    pumped.event_loop.push(|_| {});
                }
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
        let forgotten = self.shared.give_up(Mode::Stopped);
        drop(forgotten);
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
        self.shared.give_up(Mode::Unwanted).finish();
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
    /// Sends what some handler wants over to the loop, all at once; false if nothing is wanted.
    fn hand_over(self: &Arc<Self>, batch: Vec<Delivery>) -> bool {
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
        let wanted = !items.is_empty();
        let mut lanes = lock(&self.lanes);
        match lanes.mode {
            Mode::Working | Mode::Paused => lanes.arrived.append(&mut items),
            Mode::Stopped => {}
            Mode::Unwanted => items.drain(..).for_each(|item| item.delivery.finish()),
        }
        drop(lanes);
        if wanted {
            let shared = Arc::clone(self);
            self.event_loop.push(move |py| shared.deliver(py));
        }
        wanted
    }

    /// Queues what came over; on the loop.
    fn deliver(self: &Arc<Self>, py: Python<'_>) {
        let mut fresh = Vec::new();
        let mut lanes = lock(&self.lanes);
        for item in std::mem::take(&mut lanes.arrived) {
            let source = &item.delivery.event().source_id;
            if let Some(known) = lanes.sources.get_mut(source) {
                known.queue.push_back(item);
            } else {
                let source = source.clone();
                fresh.push(source.clone());
                lanes.sources.entry(source).or_default().queue.push_back(item);
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
    fn give_up(&self, mode: Mode) -> Lanes {
        let fresh = Lanes {
            mode,
            ..Lanes::default()
        };
        std::mem::replace(&mut *lock(&self.lanes), fresh)
    }

    /// The loop is closed, and nothing is to wait for it.
    fn forget(&self) {
        let lanes = self.give_up(Mode::Unwanted);
        for source in lanes.sources.values() {
            let current = lock(&source.current).take();
            if let Some(delivery) = current {
                delivery.finish();
            }
        }
        lanes.finish();
    }

    fn is_working(&self) -> bool {
        let mode = lock(&self.lanes).mode;
        mode == Mode::Working || mode == Mode::Paused
    }

    /// Whether somebody else takes events from the same client.
    fn others_listen(&self) -> bool {
        let feeds = self.listeners.feeds();
        let others = feeds
            .iter()
            .filter(|feed| !std::ptr::eq(&raw const ***feed, self));
        0 < self.listeners.readers.load(Ordering::Relaxed)
            || others
                .into_iter()
                .any(|feed| !feed.event_loop.is_gone() && feed.is_working())
    }

    fn begin(self: &Arc<Self>, py: Python<'_>, source: String) {
        let begin = lock(&self.begin).as_ref().map(|begin| begin.clone_ref(py));
        let Some(begin) = begin else {
            return;
        };
        let current = lock(&self.lanes)
            .sources
            .get(&source)
            .map(|known| Arc::clone(&known.current));
        let lane = Lane {
            shared: Arc::clone(self),
            source,
            current: current.unwrap_or_default(),
        };
        if let Err(error) = begin.call1(py, (lane,)) {
            error.write_unraisable(py, None);
        }
    }

    /// The next event of a source; at the end of its queue the lane is over.
    fn next(&self, source: &str) -> Option<Item> {
        let mut lanes = lock(&self.lanes);
        let next = lanes.sources.get_mut(source)?.queue.pop_front();
        if next.is_none() {
            lanes.sources.remove(source);
        }
        next
    }
}

impl Lanes {
    /// What was not begun counts as handled.
    fn finish(self) {
        let queued = self.sources.into_values().flat_map(|source| source.queue);
        for item in self.arrived.into_iter().chain(queued) {
            item.delivery.finish();
        }
    }
}

impl Listeners {
    /// Somebody begins to take events: what loops have that are closed by now holds up nothing any more.
    pub(crate) fn forget_closed(&self, py: Python<'_>) {
        for feed in self.feeds() {
            if feed.event_loop.is_closed(py) {
                feed.forget();
            }
        }
    }

    pub(crate) fn add_reader(&self) {
        self.readers.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remove_reader(&self) {
        self.readers.fetch_sub(1, Ordering::Relaxed);
    }

    fn feeds(&self) -> Vec<Arc<Shared>> {
        let mut feeds = lock(&self.feeds);
        feeds.retain(|feed| feed.strong_count() != 0);
        feeds.iter().filter_map(Weak::upgrade).collect()
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
