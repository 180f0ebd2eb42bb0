//! Keeping secrets out of everything that is printed.
//!
//! Owns the [`Secret`] wrapper and the one function that makes remote text fit to show. Must not know where the text
//! goes: what leaves here is safe for logs, conditions, Events and metrics alike.

use std::fmt;

/// Longest piece of remote text that is shown, in characters.
const MAX_SHOWN: usize = 256;

/// Secrets shorter than this are not searched for: replacing a two-letter secret would garble every message.
const MIN_SEARCHED: usize = 4;

const MASK: &str = "[redacted]";

/// Text that never prints itself: `Debug` shows a mask and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. Every caller is a place to look at in a review.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Makes remote text fit to show: one line, printable characters only, every given secret and everything that looks
/// like a token replaced, at most 256 characters.
///
/// Unprintable characters go first, so that a secret with a zero byte in its middle is still found; the cut comes
/// last, so that no part of a secret survives it.
#[must_use]
pub fn sanitize<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let mut line: String = text.chars().filter_map(printable).collect();
    for secret in secrets {
        if secret.chars().count() >= MIN_SEARCHED {
            let flat: String = secret.chars().filter_map(printable).collect();
            line = line.replace(&flat, MASK);
        }
    }
    let masked: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).map(mask_token).collect();
    let line = masked.join(" ");
    if line.chars().count() <= MAX_SHOWN {
        return line;
    }
    let mut cut: String = line.chars().take(MAX_SHOWN - 1).collect();
    cut.push('\u{2026}');
    cut
}

/// White space becomes a blank; controls and the invisible characters that can reorder or hide text vanish.
fn printable(c: char) -> Option<char> {
    match c {
        ' ' | '\t' | '\n' | '\r' => Some(' '),
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{ad}' => None,
        c if c.is_control() => None,
        c => Some(c),
    }
}

/// A JSON Web Token begins with the encoding of `{"`, whoever issued it.
fn mask_token(word: &str) -> &str {
    if word.contains("eyJ") && word.len() >= 20 { MASK } else { word }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_secret_never_prints() {
        assert_eq!(format!("{:?}", Secret::new("canary")), MASK);
        assert_eq!(format!("{:#?}", Some(Secret::new("canary"))), "Some(\n    [redacted],\n)");
    }

    #[test]
    fn remote_text_is_made_fit_to_show() {
        let long = "x".repeat(300);
        let table = [
            ("name already exists", "name already exists"),
            ("two\nlines\r\n\tand a tab", "two lines and a tab"),
            ("bell\u{7} escape\u{1b}[31m", "bell escape[31m"),
            ("right\u{202e}to left\u{200b}", "rightto left"),
            ("the secret s3cr3t-canary was refused", "the secret [redacted] was refused"),
            ("split s3cr3t\u{0}-canary", "split [redacted]"),
            ("short ab stays", "short ab stays"),
            ("token=eyJhbGciOiJIUzI1NiJ9.e30.sig1234567", "[redacted]"),
            (long.as_str(), &format!("{}\u{2026}", "x".repeat(255))),
        ];
        for (given, want) in table {
            assert_eq!(sanitize(given, ["s3cr3t-canary", "ab"]), want, "{given:?}");
        }
    }

    #[test]
    fn the_cut_leaves_no_part_of_a_secret() {
        let text = format!("{}s3cr3t-canary", "y ".repeat(125));
        assert!(!sanitize(&text, ["s3cr3t-canary"]).contains("s3"));
    }
}
