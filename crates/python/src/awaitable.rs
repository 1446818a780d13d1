//! Futures of Rust that asyncio can await.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use openagents_client::handling;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tokio::task::AbortHandle;

use crate::event::Event;
use crate::event_loop::EventLoop;

/// The variable that holds the event whose handler runs, or `None`.
pub(crate) fn current_event(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static VARIABLE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let variable = VARIABLE.get_or_try_init(py, || {
        let options = pyo3::types::PyDict::new(py);
        options.set_item("default", py.None())?;
        let class = py.import("contextvars")?.getattr("ContextVar")?;
        PyResult::Ok(
            class
                .call(("openagents_current_event",), Some(&options))?
                .unbind(),
        )
    })?;
    Ok(variable.bind(py))
}

/// Starts a future and returns an `asyncio.Future` of the running loop for what `convert` makes of its result.
///
/// It is polled once before this returns, so calls reach the wire in the order they were made. Cancelling the
/// `asyncio.Future` drops the Rust future. What is sent from inside a handler is linked to its event.
pub(crate) fn start<T: Send + 'static>(
    py: Python<'_>,
    future: impl Future<Output = T> + Send + 'static,
    convert: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
) -> PyResult<Bound<'_, PyAny>> {
    let event_loop = EventLoop::running(py)?;
    let current = current_event(py)?.call_method0(intern!(py, "get"))?;
    let mut future: Pin<Box<dyn Future<Output = T> + Send>> = match current.cast::<Event>() {
        Ok(event) => Box::pin(handling(event.get().core(), future)),
        Err(_) => Box::pin(future),
    };
    let awaitable = event_loop.object(py).call_method0(intern!(py, "create_future"))?;
    let first = {
        let _runtime = event_loop.runtime().enter();
        future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    };
    if let Poll::Ready(result) = first {
        resolve(&awaitable, convert(py, result))?;
        return Ok(awaitable);
    }
    let (back, waiting) = (Arc::clone(&event_loop), awaitable.clone().unbind());
    let task = event_loop.runtime().spawn(async move {
        let result = future.await;
        back.push(move |py| {
            let outcome = convert(py, result);
            if let Err(error) = resolve(waiting.bind(py), outcome) {
                error.write_unraisable(py, None);
            }
        });
    });
    awaitable.call_method1(intern!(py, "add_done_callback"), (Canceller(task),))?;
    Ok(awaitable)
}

fn resolve(awaitable: &Bound<'_, PyAny>, outcome: PyResult<Py<PyAny>>) -> PyResult<()> {
    let py = awaitable.py();
    if awaitable.call_method0(intern!(py, "done"))?.is_truthy()? {
        return Ok(());
    }
    match outcome {
        Ok(value) => awaitable.call_method1(intern!(py, "set_result"), (value,))?,
        Err(error) => awaitable.call_method1(intern!(py, "set_exception"), (error.into_value(py),))?,
    };
    Ok(())
}

/// Drops the Rust future when nobody waits for it any more.
#[pyclass(frozen)]
struct Canceller(AbortHandle);

#[pymethods]
impl Canceller {
    fn __call__(&self, awaitable: &Bound<'_, PyAny>) -> PyResult<()> {
        if awaitable
            .call_method0(intern!(awaitable.py(), "cancelled"))?
            .is_truthy()?
        {
            self.0.abort();
        }
        Ok(())
    }
}
