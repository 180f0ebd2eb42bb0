//! Bodies and headers of a control plane.

use std::collections::HashSet;
use std::time::Duration;

use http::HeaderMap;
use http::header::{CONTENT_TYPE, DATE, HeaderValue, RETRY_AFTER};
use jiff::Timestamp;
use runai_cluster_operator::domain::{ClusterDomain, ClusterState, RemoteCluster};
use runai_cluster_operator::runai::{Secret, fuzzing, sanitize};
use serde::de::IgnoredAny;

/// Longest text of a record that is kept, in characters.
const LONGEST: usize = 256;
/// Longest life of a token that is believed.
const LONGEST_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// What an error says comes from us: short, and nothing of the body but one character.
fn check_words(what: &str) {
    assert!(!what.is_empty() && what.len() <= 200, "{what:?}");
    assert!(what.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{what:?}");
}

/// Text that is kept has an end and holds no control characters.
fn check_record(record: &RemoteCluster) {
    let texts = [
        Some(record.name.as_str()),
        record.domain.as_ref().map(ClusterDomain::as_str),
        record.version.as_deref(),
        record.state.as_ref().map(ClusterState::as_str),
        record.platform.as_deref(),
        record.kubernetes_version.as_deref(),
    ];
    for text in texts.into_iter().flatten() {
        assert!(text.chars().count() <= LONGEST, "{} characters are kept", text.chars().count());
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
}

/// The first byte says how the rest is cut into chunks.
pub fn list(data: &[u8]) {
    let Some((&size, body)) = data.split_first() else { return };
    let whole = fuzzing::list([body]);
    let cut = fuzzing::list(body.chunks(usize::from(size) + 1));
    assert_eq!(whole, cut, "where the chunks end does not matter");
    match whole {
        Ok((records, duplicates)) => {
            // Not `Value`: what nobody reads may be as deep as it likes.
            let all: Vec<IgnoredAny> = serde_json::from_slice(body).expect("a list that is read is JSON");
            assert_eq!(all.len(), records.len() + duplicates.len(), "no element is lost");
            let distinct: HashSet<_> = records.iter().map(|record| record.uuid).collect();
            assert_eq!(distinct.len(), records.len(), "one record per uuid");
            records.iter().for_each(check_record);
        }
        Err(what) => check_words(&what),
    }
}

pub fn cluster(data: &[u8]) {
    match fuzzing::cluster(data) {
        Ok(record) => check_record(&record),
        Err(what) => check_words(&what),
    }
}

pub fn install(data: &[u8]) {
    match fuzzing::install(data) {
        Ok(info) => {
            assert!(info.client_secret.is_some() || info.bootstrap_token.is_some(), "a credential is in it");
            let secrets = [&info.client_secret, &info.bootstrap_token].into_iter().flatten();
            for secret in secrets.map(Secret::expose) {
                assert!(!secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_graphic()), "{secret:?}");
            }
            assert!(info.chart_repo_url.starts_with("https://") && !info.chart_repo_url.contains('\\'));
            assert!(!info.repository_name.is_empty() && !info.repository_name.contains(char::is_whitespace));
        }
        Err(what) => check_words(&what),
    }
}

pub fn minimal(data: &[u8]) {
    match fuzzing::minimal(data) {
        Ok(clusters) => {
            for one in clusters {
                assert!(one.name.chars().count() <= 256 && !one.name.contains(char::is_control), "{one:?}");
            }
        }
        Err(what) => check_words(&what),
    }
}

pub fn metrics(data: &[u8]) {
    match fuzzing::metrics(data) {
        Ok(series) => {
            for one in series {
                assert!(one.value.is_finite() && one.labels.len() <= 8, "{one:?}");
                let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                for (name, value) in &one.labels {
                    assert!(name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit()), "{one:?}");
                    assert!(
                        !["namespace", "name", "type"].contains(&name.as_str()) && !name.starts_with("__"),
                        "{one:?}"
                    );
                    assert!(value.chars().count() <= 256 && !value.contains(char::is_control), "{one:?}");
                }
            }
        }
        Err(what) => check_words(&what),
    }
}

/// The first byte says whether the reply has a date.
pub fn token(data: &[u8]) {
    let Some((&dated, body)) = data.split_first() else { return };
    let date = [None, Some(Timestamp::UNIX_EPOCH), Some(Timestamp::MIN), Some(Timestamp::MAX)];
    match fuzzing::token(body, date[usize::from(dated) % 4]) {
        Ok((life, _)) => assert!(!life.is_zero() && life <= LONGEST_LIFE, "{life:?}"),
        Err(what) => check_words(&what),
    }
}

pub fn error(data: &[u8]) {
    const SECRETS: [&str; 2] = ["s3cr3t-canary", "client-canary"];
    let (message, is_api) = fuzzing::error_body(data);
    let Some(message) = message else { return };
    assert!(is_api, "what has a message is JSON");
    let shown = sanitize(&message, SECRETS);
    assert!(shown.chars().count() <= 256, "{shown:?}");
    assert!(!shown.chars().any(|c| c.is_control() || "\u{202e}\u{2066}\u{200b}".contains(c)), "{shown:?}");
    assert!(SECRETS.iter().all(|secret| !shown.contains(secret)), "{shown:?}");
}

/// One line for each of `Date`, `Retry-After` and `Content-Type`.
pub fn headers(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for (name, line) in [DATE, RETRY_AFTER, CONTENT_TYPE].into_iter().zip(data.split(|byte| *byte == b'\n')) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.insert(name, value);
        }
    }
    let (_, pause, media) = fuzzing::headers(&headers);
    let bounds = Duration::from_secs(1)..=Duration::from_secs(300);
    assert!(pause.is_none_or(|pause| bounds.contains(&pause)), "{pause:?}");
    check_words(&media);
}
