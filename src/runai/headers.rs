//! The few response headers that matter: `Date`, `Retry-After`, `Content-Type`.
//!
//! Owns their parsing. Must not know the clock: a date is compared with the date of the same reply.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, RETRY_AFTER};

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn http_date(text: &str) -> Option<Timestamp> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    PARSER.parse_timestamp(text).ok()
}

/// When the server says the reply was made, to the second.
pub(crate) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    http_date(text(headers, DATE)?)
}

/// How long the server wants to be left alone: seconds, or a date counted from the reply's own date (without one:
/// unusable, the clocks may differ). Anything else is ignored. The value is not clamped yet.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let wish = text(headers, RETRY_AFTER)?;
    if wish.bytes().all(|b| b.is_ascii_digit()) && !wish.is_empty() {
        // More digits than fit mean "for ever".
        return Some(Duration::from_secs(wish.parse().unwrap_or(u64::MAX)));
    }
    let left = http_date(wish)?.duration_since(date(headers)?);
    Some(Duration::try_from(left).unwrap_or_default())
}

/// The media type without parameters, reduced to characters that are safe to show.
pub(crate) fn content_type(headers: &HeaderMap) -> String {
    let name: String = text(headers, CONTENT_TYPE)
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "/+.-".contains(*c))
        .take(40)
        .collect();
    if name.is_empty() { "a body without content type".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn reads_every_form_of_retry_after() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let table = [
            ("7", Some(7)),
            (" 7 ", Some(7)),
            ("0", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:27 GMT", Some(0)),
            ("", None),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("Sun, 36 Nov 1994 08:49:37 GMT", None),
        ];
        for (value, want) in table {
            let mut headers = HeaderMap::new();
            headers.insert(DATE, HeaderValue::from_static(date));
            headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
            assert_eq!(retry_after(&headers), want.map(Duration::from_secs), "{value:?}");
        }
    }

    #[test]
    fn a_date_is_never_compared_with_our_own_clock() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("Sun, 06 Nov 2094 08:49:37 GMT"));
        assert_eq!(retry_after(&headers), None);
    }

    #[test]
    fn a_content_type_is_cut_to_what_may_be_shown() {
        let mut headers = HeaderMap::new();
        assert_eq!(content_type(&headers), "a body without content type");
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        assert_eq!(content_type(&headers), "text/html");
        headers.insert(CONTENT_TYPE, HeaderValue::from_bytes(b"te\xffxt").unwrap());
        assert_eq!(content_type(&headers), "a body without content type");
    }
}
