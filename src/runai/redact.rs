//! Keeping secrets out of everything that is printed.
//!
//! Owns the [`Secret`] wrapper and the one function that makes remote text fit to show. Must not know where the text
//! goes: what leaves here is safe for logs, conditions, Events and metrics alike.

use std::cmp::Reverse;
use std::fmt::{self, Write as _};

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
/// Unprintable characters go first, so that a secret with a zero byte in its middle is still found; the longest secret is
/// taken out first, so that one within another leaves no rest of it; the cut comes last, so that no part of a secret
/// survives it.
#[must_use]
pub fn sanitize<'a>(text: &str, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let mut line: String = text.chars().filter_map(printable).collect();
    let mut searched: Vec<String> = secrets.into_iter().flat_map(spellings).collect();
    searched.retain(|secret| secret.chars().count() >= MIN_SEARCHED);
    searched.sort_by_key(|secret| Reverse(secret.len()));
    for secret in &searched {
        line = line.replace(secret, MASK);
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

/// A secret as it is, and as JSON and forms write it: a server may quote the request.
fn spellings(secret: &str) -> [String; 3] {
    let flat: String = secret.chars().filter_map(printable).collect();
    let json = flat.replace('\\', "\\\\").replace('"', "\\\"");
    let mut form = String::with_capacity(flat.len());
    for byte in flat.bytes() {
        match byte {
            b' ' => form.push('+'),
            b'*' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => form.push(char::from(byte)),
            other => {
                // Writing to a String does not fail.
                let _ = write!(form, "%{other:02X}");
            }
        }
    }
    [flat, json, form]
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
        assert_eq!(Secret::new("canary").expose(), "canary");
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
    fn a_quoted_request_shows_no_secret() {
        let secret = "c4nary+client/secret=\"9 \\é*-._~";
        let quoted = serde_json::json!({ "clientSecret": secret }).to_string();
        assert_eq!(sanitize(&quoted, [secret]), "{\"clientSecret\":\"[redacted]\"}");
        let form = "client_secret=c4nary%2Bclient%2Fsecret%3D%229+%5C%C3%A9*-._%7E&scope=all";
        assert_eq!(sanitize(form, [secret]), "client_secret=[redacted]&scope=all");
    }

    #[test]
    fn a_secret_within_another_leaves_no_rest_of_it() {
        for secrets in [["operator", "operator-5f3a91"], ["operator-5f3a91", "operator"]] {
            assert_eq!(sanitize("operator-5f3a91 of operator", secrets), "[redacted] of [redacted]");
        }
        let invisible = "\u{200b}\u{200b}\u{200b}\u{200b}";
        assert_eq!(sanitize("nothing to see", [invisible]), "nothing to see");
    }

    #[test]
    fn short_secrets_are_left_alone_and_long_texts_are_cut() {
        assert_eq!(sanitize("abc abcd", ["abc", "abcd"]), "abc [redacted]");
        let (whole, cut) = ("x".repeat(256), "x".repeat(257));
        assert_eq!(sanitize(&whole, []), whole);
        assert_eq!(sanitize(&cut, []).chars().count(), 256);
        let (word, token) = ("eyJ".to_owned() + &"a".repeat(16), "eyJ".to_owned() + &"a".repeat(17));
        assert_eq!(sanitize(&word, []), word);
        assert_eq!(sanitize(&token, []), MASK);
    }

    #[test]
    fn the_cut_leaves_no_part_of_a_secret() {
        let text = format!("{}s3cr3t-canary", "y ".repeat(125));
        assert!(!sanitize(&text, ["s3cr3t-canary"]).contains("s3"));
    }
}
