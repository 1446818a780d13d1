//! The extension module `openagents._native`: the Rust client for the Python package `openagents`.
//!
//! Python holds the documented classes, in `python/openagents/`; each stands on one class of this crate that does the
//! work. Three things make up the border:
//!
//! - `runtime`: the threads of this process and their end before that of the interpreter;
//! - `event_loop` and `awaitable`: results cross to the loop in batches, with one `call_soon_threadsafe` each;
//! - `feed` and `reader`: events, handled on the loop and acknowledged when they are.

#![allow(
    clippy::needless_pass_by_value,
    reason = "pyo3 hands over what it made of an argument"
)]

mod agent;
mod awaitable;
mod channel;
mod client;
mod error;
mod event;
mod event_loop;
mod feed;
mod json;
mod logging;
mod reader;
mod reply;
mod runtime;
mod seconds;
mod workspace;

use pyo3::prelude::*;
use pyo3::types::PyDict;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<event::Event>()?;
    module.add_class::<event::EventAddress>()?;
    module.add_class::<client::Client>()?;
    module.add_class::<workspace::Workspace>()?;
    module.add_class::<channel::Channel>()?;
    module.add_class::<agent::Agent>()?;
    module.add_class::<feed::Feed>()?;
    module.add_class::<feed::Lane>()?;
    module.add_class::<reader::Reader>()?;
    module.add_class::<reply::Receipt>()?;
    module.add_function(wrap_pyfunction!(client::check_patterns, module)?)?;
    module.add_function(wrap_pyfunction!(client::hook_of, module)?)?;
    let py = module.py();
    module.add("current_event", awaitable::current_event(py)?)?;
    let shut_down = wrap_pyfunction!(runtime::shut_down, module)?;
    py.import("atexit")?.call_method1("register", (shut_down,))?;
    let os = py.import("os")?;
    if os.hasattr("register_at_fork")? {
        let options = PyDict::new(py);
        options.set_item("after_in_child", wrap_pyfunction!(runtime::after_fork, module)?)?;
        os.call_method("register_at_fork", (), Some(&options))?;
    }
    Ok(())
}
