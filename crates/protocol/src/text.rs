//! What a message says in words.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::Json;
use crate::json::RawObject;
use crate::record::Record;

/// The words of a message's content: its `text`, or, where it has none, all texts in it, one a line.
pub fn text_of(content: &Json) -> Option<String> {
    text_of_raw(content.as_raw())
}

fn text_of_raw(content: &RawValue) -> Option<String> {
    let entries = RawObject::parse(content.get()).ok()?;
    let text = entries.get("text").map(|raw| serde_json::from_str(raw.get()));
    if let Some(Ok(text)) = text {
        return Some(text);
    }
    let value = serde_json::from_str(content.get()).ok()?;
    let mut texts = Vec::new();
    collect(&value, &mut texts);
    (!texts.is_empty()).then(|| texts.join("\n"))
}

fn collect<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        Value::Object(entries) => entries.values().for_each(|value| collect(value, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl Record {
    /// The words of a message, or the new ones of an edit; none when there are none or they are erased.
    pub fn text(&self) -> Option<String> {
        let entries = RawObject::parse(self.body.as_ref()?.payload.as_str()).ok()?;
        text_of_raw(entries.get("content")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: &str, expected: Option<&str>) {
        let content: Json = content.parse().unwrap();
        assert_eq!(text_of(&content).as_deref(), expected, "{content}");
    }

    #[test]
    fn the_text_counts_and_without_one_every_text_does() {
        check(r#"{"text":"hello \u00e9","title":"unread"}"#, Some("hello é"));
        check(r#"{"text":""}"#, Some(""));
        check(
            r#"{"title":"Report","items":[{"note":"all good"},7,null]}"#,
            Some("all good\nReport"),
        );
        check(r#"{"text":{"title":"Report"}}"#, Some("Report"));
        check(r#"{"n":7}"#, None);
        check("{}", None);
    }
}
