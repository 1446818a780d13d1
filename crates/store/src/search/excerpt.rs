//! The part of a text that is shown for it, with what matched.

use std::ops::Range;

use super::query::Query;
use super::words;

/// About how many characters stand before the first match.
const LEAD: usize = 60;

/// The most characters of an excerpt, besides the dots where it is cut.
const LENGTH: usize = 240;

/// A piece of text that matched, or did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The text.
    pub text: String,
    /// Whether it is a part of what was searched for.
    pub matched: bool,
}

impl Query {
    /// The part of a text around the first match, in pieces; none where the text does not have all of the query.
    ///
    /// The pieces joined are the text itself, at most 240 characters of it, with `…` where it was cut.
    pub fn excerpt(&self, text: &str) -> Option<Vec<Piece>> {
        let (mut folded, mut spans) = (Vec::new(), Vec::new());
        words::split(text, |word, span| {
            folded.push(word.to_owned());
            spans.push(span);
        });
        let matches = self.matches_in(&folded, &spans)?;
        let window = window(text, &spans, &matches);
        Some(cut(text, &window, &matches))
    }

    /// Where the text matches, in order and without overlaps.
    fn matches_in(&self, folded: &[String], spans: &[Range<usize>]) -> Option<Vec<Range<usize>>> {
        let folded: Vec<&str> = folded.iter().map(String::as_str).collect();
        let mut found = Vec::new();
        for clause in &self.clauses {
            let before = found.len();
            let last = clause.words.len() - 1;
            found.extend(
                clause
                    .places(&folded)
                    .map(|at| spans[at].start..spans[at + last].end),
            );
            if found.len() == before {
                return None;
            }
        }
        found.sort_unstable_by_key(|range: &Range<usize>| (range.start, range.end));
        let mut merged: Vec<Range<usize>> = Vec::with_capacity(found.len());
        for range in found {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        Some(merged)
    }
}

/// The part of the text to show: it begins with a word and, where it can, ends with one.
fn window(text: &str, spans: &[Range<usize>], matches: &[Range<usize>]) -> Range<usize> {
    let first = matches.first().map_or(0, |range| range.start);
    let lead = back(text, first, LEAD);
    let begin = match lead {
        0 => 0,
        lead => {
            let next = spans.partition_point(|span| span.start < lead);
            spans.get(next).map_or(first, |span| span.start.min(first))
        }
    };
    let limit = forth(text, begin, LENGTH);
    if limit == text.len() {
        return begin..limit;
    }
    let whole = spans.partition_point(|span| span.end <= limit);
    let end = whole.checked_sub(1).map_or(begin, |index| spans[index].end);
    // Of a word that is longer than an excerpt, what fits.
    begin..if end <= first { limit } else { end }
}

/// The place so many characters before another.
fn back(text: &str, from: usize, characters: usize) -> usize {
    let mut before = text[..from].char_indices().rev();
    before.nth(characters.saturating_sub(1)).map_or(0, |(at, _)| at)
}

/// The place so many characters after another.
fn forth(text: &str, from: usize, characters: usize) -> usize {
    let mut after = text[from..].char_indices();
    after.nth(characters).map_or(text.len(), |(at, _)| from + at)
}

/// The pieces of a part of a text.
fn cut(text: &str, window: &Range<usize>, matches: &[Range<usize>]) -> Vec<Piece> {
    let mut pieces = Pieces(Vec::new());
    if 0 < window.start {
        pieces.push("…", false);
    }
    let mut at = window.start;
    for range in matches {
        let (start, end) = (range.start.max(at), range.end.min(window.end));
        if window.end <= start {
            break;
        }
        pieces.push(&text[at..start], false);
        pieces.push(&text[start..end], true);
        at = end;
    }
    pieces.push(&text[at..window.end], false);
    if window.end < text.len() {
        pieces.push("…", false);
    }
    pieces.0
}

struct Pieces(Vec<Piece>);

impl Pieces {
    fn push(&mut self, text: &str, matched: bool) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(last) if last.matched == matched => last.text.push_str(text),
            _ => self.0.push(Piece {
                text: text.to_owned(),
                matched,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Shows an excerpt with brackets around what matched.
    fn show(query: &str, text: &str) -> String {
        let excerpt = Query::parse(query).unwrap().excerpt(text);
        let shown = excerpt.into_iter().flatten().map(|piece| {
            if piece.matched {
                format!("[{}]", piece.text)
            } else {
                piece.text
            }
        });
        shown.collect()
    }

    #[test]
    fn every_match_is_marked_and_phrases_as_one() {
        assert_eq!(
            show(
                "deploy* \"the cluster\"",
                "Deploying: the  Cluster is undeployed. DEPLOYED!"
            ),
            "[Deploying]: [the  Cluster] is undeployed. [DEPLOYED]!"
        );
        assert_eq!(
            show("creme", "eine Crème, cre\u{300}me"),
            "eine [Crème], [cre\u{300}me]"
        );
        assert_eq!(show("京都", "東京都の京都"), "東[京都]の[京都]");
        assert_eq!(show("aa a*", "aa ab b"), "[aa] [ab] b");
        assert_eq!(show("missing", "something else"), "");
    }

    #[test]
    fn long_texts_are_cut_at_words_around_the_first_match() {
        let text = format!("{} needle {}", "before ".repeat(100), "after ".repeat(100));
        let shown = show("needle", &text);
        assert!(
            shown.starts_with("…before before") && shown.ends_with("after…"),
            "{shown}"
        );
        assert!(shown.contains("before  [needle] after"), "{shown}");
        assert!(shown.chars().count() <= LENGTH + 4, "{shown}");
        let one = show("x*", &"x".repeat(5000));
        assert_eq!(one, format!("[{}]…", "x".repeat(LENGTH)));
        let far = show("needle", &format!("{} needle", "x".repeat(500)));
        assert_eq!(far, "…[needle]");
    }

    proptest! {
        #[test]
        fn an_excerpt_is_a_part_of_the_text_and_is_there_where_the_query_matches(
            text in "([a-cß東京é🎉] ?){0,400}",
            query in "[a-c東é]{1,2}\\*?( [a-c東]\\*?)?",
        ) {
            let query = Query::parse(&query).unwrap();
            let excerpt = query.excerpt(&text);
            prop_assert_eq!(excerpt.is_some(), query.matches(&text));
            if let Some(pieces) = excerpt {
                let joined: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
                prop_assert!(text.contains(joined.trim_matches('…')), "{}", joined);
                prop_assert!(joined.chars().count() <= LENGTH + 2);
                prop_assert!(pieces.iter().any(|piece| piece.matched));
            }
        }
    }
}
