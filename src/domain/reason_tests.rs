//! The vocabulary is complete and every word is there once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;

use super::Reason;

#[test]
fn every_reason_is_a_camel_case_word_of_its_own() {
    let words: HashSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(words.len(), Reason::ALL.len());
    for word in words {
        assert!(word.starts_with(|c: char| c.is_ascii_uppercase()), "{word}");
        assert!(word.chars().all(|c| c.is_ascii_alphabetic()), "{word}");
    }
}

#[test]
fn the_spelling_is_the_name() {
    for reason in Reason::ALL {
        assert_eq!(format!("{reason:?}"), reason.as_str());
    }
}
