//! How far something is, for somebody who waits in front of a terminal.

use std::io::IsTerminal;

use openagents_server::Progress;

/// A line on the terminal that is written over and over. Where there is no terminal, it says nothing.
#[derive(Debug)]
pub(crate) struct Meter {
    on_terminal: bool,
    shown: String,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            on_terminal: std::io::stderr().is_terminal(),
            shown: String::new(),
        }
    }

    /// Shows how much is done of everything.
    pub(crate) fn show(&mut self, what: &str, done: u64, all: u64) {
        let percent = done.saturating_mul(100).checked_div(all).unwrap_or(100);
        self.write(format!("{what} {percent:>3} % of {all}"));
    }

    /// Shows a line in place of the one before.
    pub(crate) fn write(&mut self, shown: String) {
        // Thousands of steps are not worth thousands of writes.
        if self.on_terminal && shown != self.shown {
            eprint!("\r{shown:<width$}", width = self.shown.len());
            self.shown = shown;
        }
    }

    /// Shows how far a copy is.
    pub(crate) fn show_progress(&mut self, progress: Progress) {
        match progress {
            Progress::Log { done, all } => self.show("records", done.get(), all.get()),
            Progress::Files { done, all } => self.show("files", done as u64, all as u64),
            Progress::View { done, all } => self.show("view", done.get(), all.get()),
            _ => {}
        }
    }
}

impl Drop for Meter {
    /// What is written next begins at the left.
    fn drop(&mut self) {
        if !self.shown.is_empty() {
            eprint!("\r{:width$}\r", "", width = self.shown.len());
        }
    }
}
