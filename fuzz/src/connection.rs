//! A connection Secret and its CA bundle.

use std::collections::BTreeMap;

use runai_cluster_operator::runai::{Limits, Settings, TokenApi};

const CANARY: &str = "canary-7f3a";

/// Lines `key=value`; behind a line `---` comes the CA bundle. Every secret begins with a canary.
pub fn connection(data: &[u8]) {
    let (lines, ca) = match data.windows(5).position(|window| window == b"\n---\n") {
        Some(at) => (&data[..at], Some(&data[at + 5..])),
        None => (data, None),
    };
    let mut secret = BTreeMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b'=');
        let key = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
        let mut value = parts.next().unwrap_or_default().to_vec();
        if key.contains("ecret") {
            value.splice(..0, CANARY.bytes());
        }
        secret.insert(key, value);
    }
    for (api, allow_insecure_http) in [(TokenApi::V1, true), (TokenApi::V2, false)] {
        let limits = Limits { allow_insecure_http, ..Limits::default() };
        let said = match Settings::from_secret(&secret, api, ca, limits) {
            Ok(settings) => {
                let origin = settings.origin();
                let secure = origin.as_str().starts_with("https://");
                assert!(secure || (allow_insecure_http && origin.as_str().starts_with("http://")), "{origin}");
                assert!(!origin.as_str().contains(['@', '?', '#']), "{origin}");
                assert!(!settings.host().is_empty());
                assert_eq!(Settings::from_secret(&secret, api, ca, limits).as_ref(), Ok(&settings));
                format!("{settings:?}")
            }
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!said.contains(CANARY), "{said}");
        assert!(said.len() < 4096, "{said}");
    }
}
