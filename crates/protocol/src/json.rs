//! Free JSON that passes through unparsed.

use std::borrow::Cow;
use std::fmt;
use std::ops::Index;
use std::sync::{Arc, OnceLock};

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// A JSON value kept as the text it came in. Cloning is cheap.
///
/// Whoever only passes it on never parses it; [`Json::value`] parses at the first call and keeps the result.
/// Its `Display` is the text itself, so `event.payload.to_string().contains("demo-agent")` reads as the
/// documentation writes it. Comparing compares values, not spelling.
///
/// ```
/// use openagents_protocol::Json;
///
/// let payload: Json = r#"{"task": "data processing", "n": 7}"#.parse()?;
/// assert_eq!(payload["task"], "data processing");
/// assert_eq!(payload.get("missing"), None);
/// # Ok::<(), openagents_protocol::InvalidJson>(())
/// ```
#[derive(Clone)]
pub struct Json(Arc<Inner>);

struct Inner {
    raw: Box<RawValue>,
    value: OnceLock<Value>,
}

/// Text that is not JSON, or JSON that not everybody could read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not readable as JSON: {0}")]
pub struct InvalidJson(String);

impl From<serde_json::Error> for InvalidJson {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

impl Json {
    /// Deepest nesting of arrays and objects that is accepted.
    pub const MAX_NESTING: usize = 100;

    /// Keeps a text that is already known to be JSON, such as a part of a decoded frame.
    pub fn from_raw(raw: Box<RawValue>) -> Self {
        Self(Arc::new(Inner {
            raw,
            value: OnceLock::new(),
        }))
    }

    /// The empty object.
    pub fn empty_object() -> Self {
        Self::from(Value::Object(serde_json::Map::new()))
    }

    /// Writes anything as JSON.
    ///
    /// # Errors
    ///
    /// Only for what JSON cannot say, such as a map with keys that are not text.
    pub fn encode<T: Serialize>(value: &T) -> Result<Self, InvalidJson> {
        let raw = serde_json::value::to_raw_value(value)?;
        Ok(Self::from_raw(raw))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.raw.get()
    }

    /// The text as serde_json knows it.
    pub fn as_raw(&self) -> &RawValue {
        &self.0.raw
    }

    /// Writes what is made of JSON already.
    pub(crate) fn of<T: Serialize>(value: &T) -> Self {
        Self::from_raw(serde_json::value::to_raw_value(value).expect("made of JSON"))
    }

    /// The value, parsed at the first call; `null` where the text cannot be represented (see [`Json::check`]).
    pub fn value(&self) -> &Value {
        self.0
            .value
            .get_or_init(|| serde_json::from_str(self.as_str()).unwrap_or(Value::Null))
    }

    /// A member of an object.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.value().get(key)
    }

    /// A member of an object as the text it came in; none where there is none or this is no object.
    pub fn member(&self, key: &str) -> Option<Self> {
        let object = RawObject::parse(self.as_str()).ok()?;
        object.get(key).map(|value| Self::from_raw(value.to_owned()))
    }

    /// Whether the text is an object.
    pub fn is_object(&self) -> bool {
        self.as_str().trim_start().starts_with('{')
    }

    /// Checks what the text promises to every reader: strings are Unicode (no lone surrogates), numbers are
    /// finite, and nesting is at most [`Json::MAX_NESTING`] levels.
    ///
    /// # Errors
    ///
    /// Says which of these is broken.
    pub fn check(&self) -> Result<(), InvalidJson> {
        let mut reader = serde_json::Deserializer::from_str(self.as_str());
        Ok(Readable { depth: 0 }.deserialize(&mut reader)?)
    }
}

/// Reads a value completely and keeps nothing of it.
struct Readable {
    depth: usize,
}

impl Readable {
    fn deeper<E: serde::de::Error>(&self) -> Result<Self, E> {
        if self.depth == Json::MAX_NESTING {
            return Err(E::custom(format_args!(
                "nested deeper than {} levels",
                Json::MAX_NESTING
            )));
        }
        Ok(Self {
            depth: self.depth + 1,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Readable {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Readable {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.deeper()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        // `Key` and not `IgnoredAny`: the latter would skip the escapes of a key unread.
        while entries.next_key::<Key>()?.is_some() {
            entries.next_value_seed(self.deeper()?)?;
        }
        Ok(())
    }
}

struct Key;

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Readable { depth: 0 }).map(|()| Self)
    }
}

/// The entries of a JSON object in order, keys read, values raw.
#[derive(Debug)]
pub(crate) struct RawObject<'a>(pub(crate) Vec<(Cow<'a, str>, &'a RawValue)>);

/// Most objects have at most so many entries.
const USUAL_ENTRIES: usize = 8;

/// A key, which is the text itself where that has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Cow<'de, str>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }

        deserializer.deserialize_str(Text).map(Self)
    }
}

impl<'de> Deserialize<'de> for RawObject<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::with_capacity(USUAL_ENTRIES);
                while let Some((Name(key), value)) = map.next_entry()? {
                    entries.push((key, value));
                }
                Ok(entries)
            }
        }

        deserializer.deserialize_map(Entries).map(Self)
    }
}

impl<'a> RawObject<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, InvalidJson> {
        Ok(serde_json::from_str(text)?)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a RawValue> {
        // The last one wins where a key stands twice, as in most readers.
        self.0
            .iter()
            .rev()
            .find(|(name, _)| name == key)
            .map(|(_, value)| *value)
    }
}

impl Serialize for RawObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl std::str::FromStr for Json {
    type Err = InvalidJson;

    fn from_str(text: &str) -> Result<Self, InvalidJson> {
        Ok(Self::from_raw(RawValue::from_string(text.to_owned())?))
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        let raw = serde_json::value::to_raw_value(&value).expect("a Value always serialises");
        Self(Arc::new(Inner {
            raw,
            value: OnceLock::from(value),
        }))
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self::from_raw)
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str() || self.value() == other.value()
    }
}

impl Index<&str> for Json {
    type Output = Value;

    /// The member, or `null` where there is none.
    fn index(&self, key: &str) -> &Value {
        &self.value()[key]
    }
}

impl fmt::Display for Json {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, accepted: bool) {
        assert_eq!(
            text.parse::<Json>().and_then(|json| json.check()).is_ok(),
            accepted,
            "{text}"
        );
    }

    #[test]
    fn what_some_reader_could_not_represent_is_refused() {
        check(r#"{"a": [1, 2.5, -3, "é", null, true]}"#, true);
        check("123456789012345678901234567890", true);
        check(r#""\ud83d\ude00""#, true);
        check(r#""\ud800""#, false);
        check(r#"{"\ud800": 1}"#, false);
        check("1e999", false);
        check("{", false);
        check(&format!("{}{}", "[".repeat(100), "]".repeat(100)), true);
        check(&format!("{}{}", "[".repeat(101), "]".repeat(101)), false);
        check(&format!("{}{}", "[".repeat(200_000), "]".repeat(200_000)), false);
    }

    #[test]
    fn a_member_is_the_text_it_came_in() {
        let json: Json = r#"{"a": {"big": 123456789012345678901234567890}, "b": [1]}"#
            .parse()
            .unwrap();
        let a = json.member("a").unwrap();
        assert_eq!(a.as_str(), r#"{"big": 123456789012345678901234567890}"#);
        assert!(json.member("c").is_none());
        assert!(json.member("b").unwrap().member("a").is_none());
    }

    #[test]
    fn the_text_survives_as_it_was_written() {
        let text = r#"{"big":123456789012345678901234567890,"b":1,"a":2}"#;
        assert_eq!(text.parse::<Json>().unwrap().to_string(), text);
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in ".{0,200}") {
            if let Ok(json) = text.parse::<Json>() {
                drop(json.check());
                json.value();
            }
        }
    }
}
