//! What a program does when something happens.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use futures_util::future::BoxFuture;
use openagents_protocol::{Event, InvalidName, Pattern};

use crate::hub::Hub;

/// Something that selects events by name: one pattern, several, or `()` for every event.
///
/// `*` in a pattern matches any run of characters, dots included; see [`Pattern`].
pub trait IntoPatterns {
    /// Parses the patterns.
    ///
    /// # Errors
    ///
    /// Tells which pattern breaks which rule.
    fn into_patterns(self) -> Result<Vec<Pattern>, InvalidName>;
}

impl IntoPatterns for () {
    fn into_patterns(self) -> Result<Vec<Pattern>, InvalidName> {
        Ok(vec![Pattern::everything()])
    }
}

impl IntoPatterns for &str {
    fn into_patterns(self) -> Result<Vec<Pattern>, InvalidName> {
        Ok(vec![self.parse()?])
    }
}

impl IntoPatterns for Pattern {
    fn into_patterns(self) -> Result<Vec<Pattern>, InvalidName> {
        Ok(vec![self])
    }
}

impl<T: AsRef<str>> IntoPatterns for &[T] {
    fn into_patterns(self) -> Result<Vec<Pattern>, InvalidName> {
        self.iter().map(|pattern| pattern.as_ref().parse()).collect()
    }
}

impl<T: AsRef<str>, const N: usize> IntoPatterns for [T; N] {
    fn into_patterns(self) -> Result<Vec<Pattern>, InvalidName> {
        self.as_slice().into_patterns()
    }
}

impl<T: AsRef<str>, const N: usize> IntoPatterns for &[T; N] {
    fn into_patterns(self) -> Result<Vec<Pattern>, InvalidName> {
        self.as_slice().into_patterns()
    }
}

impl<T: AsRef<str>> IntoPatterns for Vec<T> {
    fn into_patterns(self) -> Result<Vec<Pattern>, InvalidName> {
        self.as_slice().into_patterns()
    }
}

impl<T: AsRef<str>> IntoPatterns for &Vec<T> {
    fn into_patterns(self) -> Result<Vec<Pattern>, InvalidName> {
        self.as_slice().into_patterns()
    }
}

/// What a handler may return: nothing, or a result whose error is logged.
pub trait HandlerOutcome {
    /// The failure in words, if it is one.
    fn failure(self) -> Option<String>;
}

impl HandlerOutcome for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: fmt::Display> HandlerOutcome for Result<(), E> {
    fn failure(self) -> Option<String> {
        // The alternate form shows the whole chain of an `anyhow` error.
        self.err().map(|error| format!("{error:#}"))
    }
}

/// A registered handler. Dropping this leaves it registered.
#[derive(Clone)]
pub struct HandlerHandle {
    hub: Weak<Hub>,
    id: u64,
}

impl HandlerHandle {
    pub(crate) fn new(hub: &Arc<Hub>, id: u64) -> Self {
        Self {
            hub: Arc::downgrade(hub),
            id,
        }
    }

    /// Ends it: it is not called for further events. A call that runs already goes on. False if it was not
    /// registered any more.
    pub fn unregister(&self) -> bool {
        self.hub.upgrade().is_some_and(|hub| hub.unregister(self.id))
    }
}

impl fmt::Debug for HandlerHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HandlerHandle")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

type Call = dyn Fn(Event) -> BoxFuture<'static, Option<String>> + Send + Sync;

/// A handler as the dispatcher sees it.
pub(crate) struct Handler {
    pub(crate) id: u64,
    patterns: Vec<Pattern>,
    call: Box<Call>,
    active: AtomicBool,
}

impl Handler {
    pub(crate) fn new<F, Fut>(id: u64, patterns: Vec<Pattern>, call: F) -> Self
    where
        F: Fn(Event) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: HandlerOutcome> + Send + 'static,
    {
        let call = move |event| -> BoxFuture<'static, Option<String>> {
            let running = call(event);
            Box::pin(async move { running.await.failure() })
        };
        Self {
            id,
            patterns,
            call: Box::new(call),
            active: AtomicBool::new(true),
        }
    }

    /// Whether one of its patterns asks for events of the workspace itself by name.
    pub(crate) fn names_system(&self) -> bool {
        self.patterns
            .iter()
            .any(|pattern| pattern.as_str().starts_with("system."))
    }

    /// Whether it is to be called for this event; at most once, however many patterns match.
    pub(crate) fn wants(&self, event: &Event) -> bool {
        self.active.load(Ordering::Relaxed) && self.patterns.iter().any(|pattern| event.matches(pattern))
    }

    pub(crate) fn call(&self, event: Event) -> BoxFuture<'static, Option<String>> {
        (self.call)(event)
    }

    pub(crate) fn deactivate(&self) {
        self.active.store(false, Ordering::Relaxed);
    }

    /// Its patterns, for the log.
    pub(crate) fn describe(&self) -> String {
        self.patterns
            .iter()
            .map(Pattern::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    }
}
