//! Durations as Kubernetes users write them: `30s`, `10m`, `1h30m`.
//!
//! Owns the format: sums of whole numbers with the units `ms`, `s`, `m` and `h`, a subset of Go's `time.ParseDuration`,
//! so that the API server's own `duration()` reads the same value. Must not know which field it parses.

use std::time::Duration;

/// Longest text that the schema lets through. With at most six digits per number, no sum can overflow.
pub const MAX_LENGTH: usize = 20;
/// Most digits of one number.
pub const MAX_DIGITS: usize = 6;

/// A text that is not a duration, with what is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a duration such as 30s, 10m or 1h30m (whole numbers with the units ms, s, m, h)")]
pub struct DurationError;

/// Reads a duration.
///
/// # Errors
/// When the text is empty, has a sign, a fraction, an unknown unit or none, or is longer than [`MAX_LENGTH`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.is_empty() || text.len() > MAX_LENGTH {
        return Err(DurationError);
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 || digits > MAX_DIGITS {
            return Err(DurationError);
        }
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| DurationError)?;
        let (part, tail) = unit(number, tail)?;
        sum = sum.checked_add(part).ok_or(DurationError)?;
        rest = tail;
    }
    Ok(sum)
}

/// Writes a duration in the form that [`parse`] reads, up to 999999h; parts below a millisecond are dropped.
#[must_use]
pub fn format(value: Duration) -> String {
    let (hours, minutes) = (value.as_secs() / 3600, value.as_secs() / 60 % 60);
    let (seconds, millis) = (value.as_secs() % 60, value.subsec_millis());
    let parts = [(hours, "h"), (minutes, "m"), (seconds, "s"), (u64::from(millis), "ms")];
    let text: String =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, unit)| format!("{number}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Reads the unit at the head of `text`. `ms` comes before `m`, which it begins with.
fn unit(number: u64, text: &str) -> Result<(Duration, &str), DurationError> {
    if let Some(tail) = text.strip_prefix("ms") {
        Ok((Duration::from_millis(number), tail))
    } else if let Some(tail) = text.strip_prefix('s') {
        Ok((Duration::from_secs(number), tail))
    } else if let Some(tail) = text.strip_prefix('m') {
        Ok((Duration::from_secs(number * 60), tail))
    } else if let Some(tail) = text.strip_prefix('h') {
        Ok((Duration::from_secs(number * 3600), tail))
    } else {
        Err(DurationError)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        let table: &[(&str, u64)] = &[
            ("0s", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("1h2m3s4ms", 3_723_004),
            ("90s", 90_000),
            ("1m1m", 120_000),
        ];
        for (text, millis) in table {
            assert_eq!(parse(text), Ok(Duration::from_millis(*millis)), "{text}");
        }
        assert_eq!(parse("999999h999999h99999h").unwrap().as_secs(), (2 * 999_999 + 99_999) * 3600);
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "", " ", "30", "s", "-1s", "+1s", "1.5h", "1 s", "30S", "1d", "10us", "1h30", "1234567s", "1s ", "\u{661}s",
        ] {
            assert_eq!(parse(text), Err(DurationError), "{text:?}");
        }
        assert_eq!(parse(&"1s".repeat(11)), Err(DurationError));
    }

    #[test]
    fn writes_what_it_reads() {
        for text in ["0s", "500ms", "30s", "10m", "1h30m", "1h2m3s4ms"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
    }
}
