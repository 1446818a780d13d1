//! How values are written.

use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::time::Duration;

use bytesize::ByteSize;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

/// The longest time that can be written: a hundred years, which is for ever and still can be counted from now.
const LONGEST: Duration = Duration::from_hours(24 * 36_500);

/// A time: seconds as a number, or with its units, such as `90s` or `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

/// A time that is more than nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Time { zero: true }).map(Self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Time { zero: false }).map(Self)
    }
}

/// Reads a time in either form. What is wrong is said in here, where the reader knows the path of the key.
struct Time {
    /// Whether it may be nothing.
    zero: bool,
}

impl Time {
    fn check<E: Error>(&self, time: Duration) -> Result<Duration, E> {
        if LONGEST < time {
            return Err(E::custom("it is at most 100 years"));
        }
        if time.is_zero() && !self.zero {
            return Err(E::custom("it is more than 0"));
        }
        Ok(time)
    }
}

impl Visitor<'_> for Time {
    type Value = Duration;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("seconds, or a time such as `90s` or `1h 30m`")
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Duration, E> {
        self.check(Duration::from_secs(seconds))
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Duration, E> {
        self.check(Duration::try_from_secs_f64(seconds).map_err(E::custom)?)
    }

    fn visit_str<E: Error>(self, written: &str) -> Result<Duration, E> {
        self.check(humantime::parse_duration(written).map_err(E::custom)?)
    }
}

/// A number of bytes, or with its unit, such as `10 MB` or `2GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl Visitor<'_> for Written {
            type Value = Size;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a number of bytes, or a size such as `10 MB` or `2GiB`")
            }

            fn visit_u64<E: Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }

            fn visit_str<E: Error>(self, written: &str) -> Result<Size, E> {
                written
                    .parse()
                    .map(|ByteSize(bytes)| Size(bytes))
                    .map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Written)
    }
}

impl Size {
    /// As large as memory can be, at most.
    pub(super) fn in_memory(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// A limit, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OrOff<T> {
    Off,
    At(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OrOff<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Written<T> {
            type Value = OrOff<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("`off`, or a value")
            }

            fn visit_bool<E: Error>(self, on: bool) -> Result<OrOff<T>, E> {
                // Where a reader of YAML takes `off` for a truth value, this is what it becomes.
                if on {
                    Err(E::custom("it is `off` or a value"))
                } else {
                    Ok(OrOff::Off)
                }
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<OrOff<T>, E> {
                T::deserialize(serde::de::value::U64Deserializer::new(number)).map(OrOff::At)
            }

            fn visit_str<E: Error>(self, written: &str) -> Result<OrOff<T>, E> {
                match written {
                    "off" => Ok(OrOff::Off),
                    other => T::deserialize(serde::de::value::StrDeserializer::new(other)).map(OrOff::At),
                }
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<OrOff<T>, A::Error> {
                T::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(OrOff::At)
            }
        }

        deserializer.deserialize_any(Written(PhantomData))
    }
}

impl OrOff<u32> {
    /// The limit as a number that nothing reaches where it is off.
    pub(super) fn or_never(self) -> u32 {
        match self {
            Self::Off => u32::MAX,
            Self::At(limit) => limit,
        }
    }
}

/// What rate limits come to: those that are written, the documented ones where limits are asked for and not written, and
/// none where they are switched off.
pub(super) fn rate(
    enabled: Option<bool>,
    written: Option<NonZeroU32>,
    documented: u32,
) -> Option<NonZeroU32> {
    match (enabled, written) {
        (Some(false), _) | (None, None) => None,
        (_, Some(written)) => Some(written),
        (Some(true), None) => NonZeroU32::new(documented),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_or_are_seconds() {
        let read = |written: &str| {
            serde_norway::from_str::<Span>(written)
                .ok()
                .map(|Span(span)| span)
        };
        let check = |written: &str, milliseconds: Option<u64>| {
            assert_eq!(
                read(written),
                milliseconds.map(Duration::from_millis),
                "{written}"
            );
        };
        check("30", Some(30_000));
        check("0.5", Some(500));
        check("1h 30m", Some(5_400_000));
        check("-1", None);
        check("soon", None);
        check(".inf", None);
        check("1e300", None);
        check("18446744073709551615", None);
        assert!(serde_norway::from_str::<Period>("0").is_err());
        assert_eq!(
            serde_norway::from_str("1").ok(),
            Some(Period(Duration::from_secs(1)))
        );
    }

    #[test]
    fn sizes_have_units_or_are_bytes() {
        let check = |written: &str, bytes: Option<u64>| {
            let read = serde_norway::from_str::<Size>(written).ok();
            assert_eq!(read.map(|Size(bytes)| bytes), bytes, "{written}");
        };
        check("1024", Some(1024));
        check("10 MB", Some(10_000_000));
        check("2GiB", Some(2 << 30));
        check("-1", None);
        check("much", None);
    }

    #[test]
    fn a_limit_may_be_off() {
        let read = |written: &str| serde_norway::from_str::<OrOff<u32>>(written).ok();
        assert_eq!(read("off"), Some(OrOff::Off));
        assert_eq!(read("false"), Some(OrOff::Off));
        assert_eq!(read("7"), Some(OrOff::At(7)));
        assert_eq!(read("true"), None);
        assert_eq!(read("on"), None);
    }

    #[test]
    fn rates_are_as_written_as_documented_or_off() {
        let check = |enabled: Option<bool>, written: u32, expected: u32| {
            let rate = rate(enabled, NonZeroU32::new(written), 60);
            assert_eq!(rate, NonZeroU32::new(expected), "{enabled:?} {written}");
        };
        check(None, 0, 0);
        check(None, 5, 5);
        check(Some(true), 0, 60);
        check(Some(true), 5, 5);
        check(Some(false), 5, 0);
    }
}
