//! What the Rust side has to say, in the log of the program.

use std::fmt::{self, Write};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt};

/// The most lines that wait for the interpreter; further ones are counted.
pub(crate) const MAX_RECORDS: usize = 256;

/// A line for the log.
pub(crate) struct Record {
    level: Level,
    text: String,
}

/// Sends what the client reports to the log of Python from now on. Only the first call of a process counts.
pub(crate) fn install(bring: impl Fn(Record) + Send + Sync + 'static) {
    let targets = Targets::new().with_target("openagents_client", LevelFilter::DEBUG);
    let subscriber = tracing_subscriber::registry().with(Forward(bring).with_filter(targets));
    // A second one comes after a fork: the first goes on, and its lines find nobody.
    tracing::subscriber::set_global_default(subscriber).ok();
}

/// Adds a line, unless too many wait.
pub(crate) fn keep(records: &mut Vec<Record>, record: Record) {
    if records.len() < MAX_RECORDS {
        records.push(record);
    } else if let Some(last) = records.last_mut() {
        "further lines were dropped".clone_into(&mut last.text);
    }
}

/// Writes lines to the logger `openagents.client`.
pub(crate) fn write(py: Python<'_>, records: Vec<Record>) {
    for record in records {
        let level = match record.level {
            Level::ERROR => 40,
            Level::WARN => 30,
            Level::INFO => 20,
            _ => 10,
        };
        let logged = logger(py).and_then(|logger| {
            logger.call_method1(intern!(py, "log"), (level, intern!(py, "%s"), record.text))
        });
        if let Err(error) = logged {
            error.write_unraisable(py, None);
        }
    }
}

fn logger(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static LOGGER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let logger = LOGGER.get_or_try_init(py, || {
        let logging = py.import("logging")?;
        let logger = logging.call_method1("getLogger", ("openagents.client",))?;
        PyResult::Ok(logger.unbind())
    })?;
    Ok(logger.bind(py))
}

struct Forward<B>(B);

impl<S: Subscriber, B: Fn(Record) + Send + Sync + 'static> Layer<S> for Forward<B> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        (self.0)(Record {
            level: *event.metadata().level(),
            text: line.message + &line.fields,
        });
    }
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
        written.expect("writing to a String cannot fail");
    }
}
