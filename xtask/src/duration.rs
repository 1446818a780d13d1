//! How long something goes on, as an argument.

use std::time::Duration;

/// A number with its unit, such as `90s`, `30m` or `1h`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(char::is_alphabetic).len());
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("a number with s, m or h behind it".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|error| format!("{number:?} is no number: {error}"))?;
    Ok(Duration::from_secs(number.saturating_mul(factor)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit() {
        let check = |text, seconds: Option<u64>| {
            assert_eq!(parse(text).ok(), seconds.map(Duration::from_secs), "{text}");
        };
        check("90s", Some(90));
        check("30m", Some(1_800));
        check("1h", Some(3_600));
        check("1", None);
        check("h", None);
    }
}
