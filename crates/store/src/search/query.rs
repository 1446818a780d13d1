//! What is searched for.

use std::mem;

use super::words;

/// What a message has to say to be found: words and phrases that all occur in it, in whatever order.
///
/// A phrase stands in quotes. A star at the end makes the last word a beginning: `deploy*` finds `deployed`. Every
/// other sign only separates words, so there is no text that is no query but one without any word.
///
/// ```
/// use openagents_store::search::Query;
///
/// let query = Query::parse(r#"rollback "production cluster" deploy*"#)?;
/// assert!(query.matches("Deploying to the Production Cluster failed; rollback?"));
/// assert!(!query.matches("deployed: rollback of the cluster in production"));
/// # Ok::<(), openagents_store::search::InvalidQuery>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    pub(super) clauses: Vec<Clause>,
}

/// Words that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Clause {
    /// At least one, as they are compared.
    pub(super) words: Vec<String>,
    pub(super) ending: Ending,
}

/// What the last word of a clause is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// A whole word.
    Whole,
    /// The beginning of one.
    Open,
}

/// Why a text is no query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidQuery {
    /// There is nothing to look for.
    #[error("the query has no word: no letter, digit or emoji")]
    NoWords,
    /// It is too long.
    #[error("the query has {bytes} bytes, and at most {max} are allowed", max = Query::MAX_BYTES)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It has too many words.
    #[error("the query has {words} words, and at most {max} are allowed; in scripts without blanks each character is one", max = Query::MAX_WORDS)]
    TooManyWords {
        /// How many it has.
        words: usize,
    },
}

impl Query {
    /// The longest query, in bytes.
    pub const MAX_BYTES: usize = 1_000;

    /// The most words of a query.
    pub const MAX_WORDS: usize = 32;

    /// Reads a query as people write it.
    ///
    /// # Errors
    ///
    /// Where it has no word, or is too long.
    pub fn parse(written: &str) -> Result<Self, InvalidQuery> {
        if Self::MAX_BYTES < written.len() {
            return Err(InvalidQuery::TooLong { bytes: written.len() });
        }
        let mut clauses: Vec<Clause> = Vec::new();
        let mut rest = written.trim_start();
        while !rest.is_empty() {
            let piece = Piece::take(&mut rest);
            let mut words = Vec::new();
            words::split(piece.text, |word, _| words.push(word.to_owned()));
            let clause = Clause {
                words,
                ending: piece.ending,
            };
            if !clause.words.is_empty() && !clauses.contains(&clause) {
                clauses.push(clause);
            }
        }
        match clauses.iter().map(|clause| clause.words.len()).sum() {
            0 => Err(InvalidQuery::NoWords),
            words if Self::MAX_WORDS < words => Err(InvalidQuery::TooManyWords { words }),
            _ => Ok(Self { clauses }),
        }
    }

    /// Whether a text has all of it.
    pub fn matches(&self, text: &str) -> bool {
        self.matches_folded(&words::fold(text))
    }

    /// [`Query::matches`], of words as they are compared with a blank between each two.
    pub(super) fn matches_folded(&self, folded: &str) -> bool {
        let words: Vec<&str> = folded.split(' ').collect();
        self.clauses
            .iter()
            .all(|clause| clause.places(&words).next().is_some())
    }
}

impl Clause {
    /// The indexes of the words at which it begins.
    pub(super) fn places<'a>(&'a self, words: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
        let windows = words.windows(self.words.len()).enumerate();
        windows
            .filter(|(_, window)| self.is(window))
            .map(|(index, _)| index)
    }

    fn is(&self, window: &[&str]) -> bool {
        let Some((last, before)) = self.words.split_last() else {
            return false;
        };
        let ends = match self.ending {
            Ending::Whole => window[before.len()] == last,
            Ending::Open => window[before.len()].starts_with(last.as_str()),
        };
        ends && before.iter().zip(window).all(|(wanted, word)| wanted == word)
    }
}

/// A part of a query that becomes a clause.
struct Piece<'a> {
    text: &'a str,
    ending: Ending,
}

impl<'a> Piece<'a> {
    /// Takes what stands in quotes, or up to a blank or a quote, with its star, and the blanks after it.
    fn take(rest: &mut &'a str) -> Self {
        let written = mem::take(rest);
        let (text, after) = if let Some(quoted) = written.strip_prefix('"') {
            quoted.split_once('"').unwrap_or((quoted, ""))
        } else {
            let ends = |character: char| character.is_whitespace() || character == '"';
            written.split_at(written.find(ends).unwrap_or(written.len()))
        };
        let unstarred = after.trim_start_matches('*');
        *rest = unstarred.trim_start();
        let starred = text.ends_with('*') || unstarred.len() < after.len();
        let ending = if starred { Ending::Open } else { Ending::Whole };
        Self { text, ending }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Shows a query: words of a clause joined by `+`, a star where it is open.
    fn show(query: &Query) -> String {
        let clauses = query.clauses.iter().map(|clause| {
            let star = if clause.ending == Ending::Open { "*" } else { "" };
            format!("{}{star}", clause.words.join("+"))
        });
        clauses.collect::<Vec<_>>().join(" ")
    }

    fn check(written: &str, expected: &str) {
        match Query::parse(written) {
            Ok(query) => assert_eq!(show(&query), expected, "{written}"),
            Err(error) => assert_eq!(error.to_string(), expected, "{written}"),
        }
    }

    #[test]
    fn words_phrases_and_beginnings_are_read_and_every_other_sign_separates() {
        check("Deploy failed", "deploy failed");
        check(r#""two words" three"#, "two+words three");
        check("deploy*", "deploy*");
        check(r#""roll ba"* now"#, "roll+ba* now");
        check(r#""roll ba*" now"#, "roll+ba* now");
        check(r#"left"right"#, "left right");
        check(r#""never closed"#, "never+closed");
        check("a*b e-mail", "a+b e+mail");
        check("same Same SAME same*", "same same*");
        check("NOT (text:secret) OR ^x AND -y", "not text+secret or x and y");
        check("東京 C*", "東+京 c*");
    }

    #[test]
    fn what_is_no_query_is_told_why() {
        check("", "the query has no word: no letter, digit or emoji");
        check(
            r#" "" * -- ** "*" "#,
            "the query has no word: no letter, digit or emoji",
        );
        check(
            &"x".repeat(1001),
            "the query has 1001 bytes, and at most 1000 are allowed",
        );
        let many: Vec<String> = (0..33).map(|number| number.to_string()).collect();
        check(
            &many.join(" "),
            "the query has 33 words, and at most 32 are allowed; in scripts without blanks each character is one",
        );
        check(&many[..32].join(" "), &many[..32].join(" "));
    }

    #[test]
    fn all_clauses_have_to_occur() {
        let matches = |written: &str, text: &str| Query::parse(written).unwrap().matches(text);
        assert!(matches("one two", "Two, then one."));
        assert!(!matches("one three", "two, one"));
        assert!(matches("\"one two\"", "zero ONE-TWO three"));
        assert!(!matches("\"one two\"", "two one"));
        assert!(!matches("\"one two\"", "one"));
        assert!(matches("\"one tw\"*", "one twenty"));
        assert!(!matches("tw", "one twenty"));
        assert!(matches("京都", "東京都"));
        assert!(!matches("都京", "東京都"));
    }

    proptest! {
        #[test]
        fn a_query_is_read_or_refused_and_finds_itself(written in "[\\PC\"* ]{0,80}") {
            if let Ok(query) = Query::parse(&written) {
                prop_assert!(query.matches(&written) || written.contains(['"', '*']) , "{:?}", query);
            }
        }
    }
}
