//! What a run of the measurements is given.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Where things are, and how much is measured.
#[derive(Debug)]
pub(crate) struct Bench {
    /// Data of servers; gone afterwards.
    pub(crate) scratch: PathBuf,
    /// Less of everything.
    pub(crate) quick: bool,
    /// Our server.
    pub(crate) openagents: PathBuf,
    pub(crate) nats_server: PathBuf,
    pub(crate) python: PathBuf,
    pub(crate) python_package: PathBuf,
    pub(crate) python_programs: PathBuf,
}

impl Bench {
    /// How often everything is measured; the median is told.
    pub(crate) const fn runs(&self) -> usize {
        if self.quick { 3 } else { 5 }
    }

    /// A number of things, a tenth of them where it is to be quick.
    pub(crate) const fn many(&self, number: usize) -> usize {
        if self.quick { number.div_ceil(10) } else { number }
    }

    /// A time, a fifth of it where it is to be quick.
    pub(crate) fn long(&self, time: Duration) -> Duration {
        if self.quick { time / 5 } else { time }
    }

    /// A path for data of this kind, where nothing is yet.
    pub(crate) fn data(&self, kind: &str) -> PathBuf {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.scratch.join(format!("{kind}-{number}"))
    }
}

/// Frees the space of data that is not needed any more.
pub(crate) fn remove(data: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(data) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
