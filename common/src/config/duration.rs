//! Durations as people write them: a number and a unit, or several.

use std::time::Duration;

/// Longest duration, in seconds: a year. Anything longer was not meant.
const MAX_SECONDS: u64 = 366 * 24 * 60 * 60;

fn seconds_of(unit: &str) -> Option<u64> {
    Some(match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        "w" => 7 * 24 * 60 * 60,
        _ => return None,
    })
}

fn total_seconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        total = total.checked_add(number.checked_mul(seconds_of(&rest[..unit])?)?)?;
        rest = rest[unit..].trim_start();
    }
    Some(total)
}

/// Reads `90s`, `1h30m` or `7d`.
///
/// # Errors
/// What a duration looks like, when this is none.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    match total_seconds(text) {
        Some(seconds @ 1..=MAX_SECONDS) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("{text:?} is not a duration between 1s and 366d; write it like 90s, 30m, 1h30m or 2d")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("1h 30m", 5400), ("2d", 172_800), ("1w", 604_800)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for bad in ["", "0s", "5", "m", "1.5h", "-1m", "1y", "5 m5", "99999999999999999999s", "400d"] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }
}
