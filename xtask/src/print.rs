//! What the chores say to the person at the terminal. Colours appear on terminals only.

use std::env;
use std::io::{self, IsTerminal};

/// A look, as the parameter of a terminal's escape sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Look {
    /// Stands out: the title of a step.
    Bold,
    /// Went well.
    Green,
    /// Went wrong.
    Red,
}

/// `text` in a look, for standard output.
pub(crate) fn paint(look: Look, text: &str) -> String {
    styled(look, text, colours())
}

/// Whether colours are of use on standard output.
pub(crate) fn colours() -> bool {
    wants_colours(&io::stdout())
}

/// Whether colours are of use there: on a terminal, unless `NO_COLOR` is set.
fn wants_colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn styled(look: Look, text: &str, colours: bool) -> String {
    let code = match look {
        Look::Bold => "1",
        Look::Green => "32",
        Look::Red => "31",
    };
    if colours {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// The title of what begins now.
pub(crate) fn title(text: &str) {
    println!("\n{}", paint(Look::Bold, &format!("== {text}")));
}

/// A remark below a title.
pub(crate) fn note(text: &str) {
    println!("   {text}");
}

/// The last word of a chore that failed, on standard error.
pub(crate) fn failure(text: &str) {
    eprintln!(
        "\n{} {text}",
        styled(Look::Red, "xtask failed:", wants_colours(&io::stderr()))
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_text_stays_plain() {
        assert_eq!(styled(Look::Red, "no", false), "no");
        assert_eq!(styled(Look::Red, "no", true), "\x1b[31mno\x1b[0m");
    }
}
