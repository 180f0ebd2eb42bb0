//! A file with what a connection Secret holds: for use without Kubernetes.
//!
//! Owns the forms that such a file may have. Must not know which keys a connection needs, and never repeats a value,
//! not even in the words of a parser: they quote what they stumble over.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// Largest file that is read, in bytes. A connection Secret is smaller by far.
const LARGEST: u64 = 1 << 20;

/// Why a credentials file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("--credentials {}: {problem}", .path.display())]
pub struct CredentialsError {
    /// Which file.
    path: PathBuf,
    /// What is wrong and what to do.
    problem: String,
}

/// Reads a file: YAML or JSON with the keys of the connection Secret, or the Secret itself as a manifest. A `url` given
/// apart goes before the one in the file.
///
/// # Errors
/// When the file cannot be read or has another form.
pub(super) fn read(path: &Path, url: Option<&str>) -> Result<BTreeMap<String, Vec<u8>>, CredentialsError> {
    let failed = |problem: String| CredentialsError { path: path.to_owned(), problem };
    let mut text = String::new();
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let read = file.take(LARGEST + 1).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    if read as u64 > LARGEST {
        return Err(failed(format!("is larger than {LARGEST} bytes")));
    }
    let mut data = parse(&text).map_err(failed)?;
    if let Some(url) = url {
        data.insert("url".to_owned(), url.as_bytes().to_vec());
    }
    Ok(data)
}

fn parse(text: &str) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let form = "it must hold the keys of a connection Secret (url, clientID, clientSecret) as YAML or JSON";
    let value: Value = serde_saphyr::from_str(text).map_err(|error| {
        let at = error.location().map(|at| format!(" (line {}, column {})", at.line(), at.column()));
        format!("is neither YAML nor JSON{}; {form}", at.unwrap_or_default())
    })?;
    let Value::Object(fields) = value else { return Err(format!("is no mapping; {form}")) };
    if fields.get("kind").is_some_and(|kind| kind == "Secret") { secret(&fields) } else { texts(&fields) }
}

/// A Secret as a manifest: `stringData` goes before `data`, as the API server has it.
fn secret(manifest: &Map<String, Value>) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let part = |name: &str| match manifest.get(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(part)) => Ok(part.clone()),
        Some(_) => Err(format!("`{name}` of the Secret is no mapping")),
    };
    let mut data = BTreeMap::new();
    for (key, value) in texts(&part("data")?)? {
        let joined: Vec<u8> = value.into_iter().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let decoded = STANDARD.decode(joined);
        data.insert(key.clone(), decoded.map_err(|_| format!("key `{key}` of the Secret's data is not base64"))?);
    }
    data.extend(texts(&part("stringData")?)?);
    Ok(data)
}

fn texts(fields: &Map<String, Value>) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let text = |(key, value): (&String, &Value)| match value {
        Value::String(text) => Ok((key.clone(), text.clone().into_bytes())),
        _ => Err(format!("key `{key}` is no text; put its value in quotes")),
    };
    fields.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn shown(text: &str) -> Vec<(String, String)> {
        let data = parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
        data.into_iter().map(|(key, value)| (key, String::from_utf8(value).unwrap())).collect()
    }

    #[test]
    fn yaml_json_and_secrets_say_the_same() {
        let want = [("clientID", "operator"), ("clientSecret", "s3"), ("url", "https://x.run.ai")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        for text in [
            "url: https://x.run.ai\nclientID: operator\nclientSecret: s3\n",
            r#"{"url": "https://x.run.ai", "clientID": "operator", "clientSecret": "s3"}"#,
            "apiVersion: v1\nkind: Secret\nstringData: {url: https://x.run.ai, clientID: operator, clientSecret: s3}\n",
            "kind: Secret\ndata:\n  url: aHR0cHM6Ly94LnJ1bi5haQ==\n  clientID: b3BlcmF0b3I=\n  clientSecret: b2xk\nstringData:\n  clientSecret: s3\n",
        ] {
            assert_eq!(shown(text), want, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_and_not_repeated() {
        for (text, part) in [
            ("clientSecret: [canary", "is neither YAML nor JSON (line"),
            ("clientSecret: canary\nclientSecret: canary2", "is neither YAML nor JSON (line 2"),
            ("- canary", "is no mapping; it must hold the keys of a connection Secret"),
            ("canary", "is no mapping"),
            ("", "is no mapping"),
            ("clientSecret: 20260101", "key `clientSecret` is no text; put its value in quotes"),
            ("kind: Secret\ndata: {clientSecret: canary!}", "key `clientSecret` of the Secret's data is not base64"),
            ("kind: Secret\ndata: canary", "`data` of the Secret is no mapping"),
        ] {
            let problem = parse(text).expect_err(text);
            assert!(problem.contains(part) && !problem.contains("canary"), "{text}: {problem}");
        }
    }
}
