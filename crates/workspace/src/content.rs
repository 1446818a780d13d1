//! What messages may say, where the operator minds.

use openagents_protocol::{ErrorBody, ErrorCode, Json};
use serde_json::Value;

/// What the text of a message may be. By default anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentRules {
    /// The longest text, in characters; none: as long as fits.
    pub max_characters: Option<usize>,
    /// Words and phrases that no text has. Case does not count, and a word inside of a longer one is another word.
    pub prohibited_words: Vec<String>,
}

impl ContentRules {
    /// Checks the payload of a message.
    ///
    /// # Errors
    ///
    /// `too_large`, `forbidden`.
    pub(crate) fn check_message(&self, payload: &Json) -> Result<(), ErrorBody> {
        if self.is_empty() {
            return Ok(());
        }
        let content = payload.get("content");
        self.check(content.and_then(|content| content.get("text")), "payload.content")
    }

    /// Checks the new content of a message.
    ///
    /// # Errors
    ///
    /// `too_large`, `forbidden`.
    pub(crate) fn check_edit(&self, content: &Json) -> Result<(), ErrorBody> {
        if self.is_empty() {
            return Ok(());
        }
        self.check(content.get("text"), "content")
    }

    fn is_empty(&self) -> bool {
        self.max_characters.is_none() && self.prohibited_words.is_empty()
    }

    fn check(&self, text: Option<&Value>, field: &str) -> Result<(), ErrorBody> {
        let Some(text) = text.and_then(Value::as_str) else {
            return Ok(());
        };
        if let Some(most) = self.max_characters
            && most < text.chars().count()
        {
            let message = format!("a text has at most {most} characters here");
            return Err(ErrorBody::field(ErrorCode::TooLarge, field, message));
        }
        let text = text.to_lowercase();
        if self
            .prohibited_words
            .iter()
            .any(|word| has_word(&text, &word.to_lowercase()))
        {
            // Which word it is would help to get around it, and repeats it.
            let message = "the operator does not allow one of these words here";
            return Err(ErrorBody::field(ErrorCode::Forbidden, field, message));
        }
        Ok(())
    }
}

/// Whether a word stands in a text by itself.
fn has_word(text: &str, word: &str) -> bool {
    let goes_on = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
    !word.is_empty()
        && text.match_indices(word).any(|(at, _)| {
            let (before, after) = (&text[..at], &text[at + word.len()..]);
            !goes_on(before.chars().next_back()) && !goes_on(after.chars().next())
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_word_stands_by_itself_in_any_case() {
        let rules = ContentRules {
            prohibited_words: vec!["Darn".to_owned(), "shut up".to_owned(), "Äh".to_owned()],
            ..ContentRules::default()
        };
        let check = |text: &str, allowed: bool| {
            let checked = rules.check_edit(&json!({"text": text}).into());
            assert_eq!(checked.is_ok(), allowed, "{text}");
        };
        check("darn!", false);
        check("oh, DARN", false);
        check("darning socks", true);
        check("please SHUT up now", false);
        check("shut the window up", true);
        check("äh", false);
        check("mäh", true);
        check("", true);
    }

    #[test]
    fn characters_are_counted_and_not_bytes() {
        let rules = ContentRules {
            max_characters: Some(3),
            ..ContentRules::default()
        };
        let check = |text: &str| rules.check_message(&json!({"content": {"text": text}}).into());
        assert_eq!(check("äöü"), Ok(()));
        assert_eq!(check("four").unwrap_err().code, ErrorCode::TooLarge);
        assert_eq!(
            rules.check_message(&json!({"content": {"image": "long enough"}}).into()),
            Ok(())
        );
    }
}
