//! Printing: results to stdout, everything else to stderr, colours only on terminals.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

/// Who reads the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// People.
    Human,
    /// Programs.
    Json,
}

/// Names of agents.
pub(crate) const AGENT: Style = AnsiColor::Cyan.on_default();
/// Names of channels.
pub(crate) const CHANNEL: Style = AnsiColor::Green.on_default();
/// What was searched for.
pub(crate) const MATCH: Style = AnsiColor::Yellow.on_default().bold();
/// What matters less.
pub(crate) const DIM: Style = Style::new().dimmed();
/// What matters more.
pub(crate) const STRONG: Style = Style::new().bold();

/// Turns colours off where the environment asks for it; `NO_COLOR` and pipes are seen by the library itself.
pub(crate) fn choose_colours() {
    if std::env::var_os("OPENAGENTS_NO_COLOR").is_some_and(|value| !value.is_empty()) {
        anstream::ColorChoice::Never.write_global();
    }
}

/// Whether a person looks at the results.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Prints one line of results. What comes from others goes through [`printable`] first.
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Prints one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
    line(serde_json::to_string(value)?)
}

/// Tells something beside the results. Nobody has to read it.
pub(crate) fn note(text: impl Display) {
    anstream::eprintln!("{DIM}{text}{DIM:#}");
}

/// What others wrote, without the control characters that would move the cursor, rewrite lines or worse.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            // Also those that turn the direction of writing around, by which text reads as what it is not.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => shown.extend(character.escape_unicode()),
            _ if character.is_control() => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    shown
}

/// Like [`printable`], on one line.
pub(crate) fn printable_line(text: &str) -> String {
    printable(text).replace('\n', "\\n").replace('\t', " ")
}

/// A moment, given in seconds since 1970, in the time of this machine.
pub(crate) fn moment(seconds: f64) -> String {
    show_moment(seconds, "%Y-%m-%d %H:%M:%S")
}

/// The time of day of a moment.
pub(crate) fn time_of_day(seconds: f64) -> String {
    show_moment(seconds, "%H:%M:%S")
}

fn show_moment(seconds: f64, format: &str) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a saturated moment is out of range below"
    )]
    let milliseconds = (seconds * 1000.0) as i64;
    match Timestamp::from_millisecond(milliseconds) {
        Ok(moment) => moment.to_zoned(TimeZone::system()).strftime(format).to_string(),
        Err(_) => "?".to_owned(),
    }
}

/// A number with its noun.
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

/// A text, cut to so many characters.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let start: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{start}…")
}

/// Prints names with their values, below each other; what is empty is left out.
pub(crate) fn fields(fields: &[(&str, String)]) -> io::Result<()> {
    let width = fields
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or_default();
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        line(format!("{DIM}{name:width$}{DIM:#}  {value}"))?;
    }
    Ok(())
}

/// Prints rows in columns under a heading; the last column is as wide as it wants.
pub(crate) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    let mut widths = heading.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let align = |cells: [&str; N]| {
        let padded = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    line(format!("{STRONG}{}{STRONG:#}", align(heading)))?;
    for row in rows {
        line(align(row.each_ref().map(String::as_str)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_cannot_steer_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\r\n"), "a\\u{1b}[2Jb\\r\n");
        assert_eq!(printable("\u{202e}txt.exe"), "\\u{202e}txt.exe");
        assert_eq!(printable("grüße 👋"), "grüße 👋");
        assert_eq!(printable_line("a\nb"), "a\\nb");
        assert_eq!(
            (cut("grüße", 5), cut("grüße!", 5)),
            ("grüße".into(), "grüß…".into())
        );
    }
}
