//! The JSON of the Clusters API.
//!
//! Owns field names and how tolerant we read: null is absent, unknown fields and states are fine, a wrong type or a
//! missing required field is not. Must not know how bytes travel. Facts: Clusters API page, `DisplayedCluster`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::split::SplitError;
use crate::domain::{AgentVersion, ClusterDomain, ClusterName, ClusterState, ClusterUuid, RemoteCluster, TenantId};

/// The body of a create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewCluster {
    /// The registration's name.
    pub name: ClusterName,
    /// Its domain; left out when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<ClusterDomain>,
    /// The wished agent version; left out when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<AgentVersion>,
}

/// Longest text that is kept of a record, in characters: more than the API documents for any of them (253), so that a
/// text that was cut equals nothing that a user may ask for.
const LONGEST_TEXT: usize = 256;

/// The body of a rename.
#[derive(Serialize)]
pub(crate) struct Rename<'a> {
    pub(crate) name: &'a ClusterName,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DisplayedCluster {
    uuid: String,
    tenant_id: i64,
    name: String,
    created_at: String,
    domain: Option<String>,
    version: Option<String>,
    updated_at: Option<String>,
    deleted_at: Option<String>,
    last_liveness: Option<String>,
    delete_requested_at: Option<String>,
    status: Option<DisplayedStatus>,
}

#[derive(Deserialize)]
struct DisplayedStatus {
    state: Option<String>,
    platform: Option<DisplayedPlatform>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DisplayedPlatform {
    r#type: Option<String>,
    kube_version: Option<String>,
}

/// Decodes one record. The error says what is wrong without repeating a value.
pub(crate) fn cluster(bytes: &[u8]) -> Result<RemoteCluster, String> {
    let raw: DisplayedCluster = serde_json::from_slice(bytes).map_err(|error| describe(&error))?;
    let uuid = raw.uuid.parse::<ClusterUuid>().map_err(|_| "`uuid` is not a UUID".to_owned())?;
    let (state, platform) = raw.status.map_or((None, None), |status| (status.state, status.platform));
    let (platform, kubernetes_version) = platform.map_or((None, None), |p| (p.r#type, p.kube_version));
    Ok(RemoteCluster {
        uuid,
        tenant: TenantId(raw.tenant_id),
        name: kept(raw.name),
        domain: filled(raw.domain).map(|domain| ClusterDomain::observed(&domain)),
        version: filled(raw.version),
        created_at: time("createdAt", &raw.created_at)?,
        updated_at: maybe_time("updatedAt", raw.updated_at)?,
        last_liveness: maybe_time("lastLiveness", raw.last_liveness)?,
        delete_requested_at: maybe_time("deleteRequestedAt", raw.delete_requested_at)?,
        deleted_at: maybe_time("deletedAt", raw.deleted_at)?,
        state: filled(state).map(|state| ClusterState::from_api(&state)),
        platform: filled(platform),
        kubernetes_version: filled(kubernetes_version),
    })
}

fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(kept)
}

/// What is kept of a text goes into memory, status and messages: it has an end and holds no control characters.
pub(super) fn kept(text: String) -> String {
    if text.len() <= LONGEST_TEXT && !text.contains(char::is_control) {
        return text;
    }
    let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    let mut chars = text.chars().map(shown);
    let mut kept: String = chars.by_ref().take(LONGEST_TEXT).collect();
    if chars.next().is_some() {
        kept.pop();
        kept.push('\u{2026}');
    }
    kept
}

fn maybe_time(field: &str, text: Option<String>) -> Result<Option<Timestamp>, String> {
    filled(text).map(|text| time(field, &text)).transpose()
}

/// RFC 3339; a time without an offset counts as UTC.
fn time(field: &str, text: &str) -> Result<Timestamp, String> {
    text.parse::<Timestamp>()
        .or_else(|_| text.parse::<jiff::civil::DateTime>()?.to_zoned(jiff::tz::TimeZone::UTC).map(|z| z.timestamp()))
        .map_err(|_| format!("`{field}` is not an RFC 3339 time"))
}

/// serde repeats offending values; only its words about our own field names are fit to show.
pub(super) fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.starts_with("missing field `") || text.starts_with("duplicate field `") {
        return text.split(" at line").next().unwrap_or_default().to_owned();
    }
    match error.classify() {
        serde_json::error::Category::Eof => "the JSON is cut off".to_owned(),
        serde_json::error::Category::Data => "a field has another type than the API documents".to_owned(),
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "it is not JSON".to_owned(),
    }
}

/// What is wrong with a list body, in words that repeat nothing of it.
pub(crate) fn describe_split(error: &SplitError<String>, content_type: &str) -> String {
    match error {
        SplitError::NotAnArray(first) => {
            format!("expected a JSON array, got {content_type} starting with '{first}'")
        }
        SplitError::Empty => format!("expected a JSON array, got an empty body ({content_type})"),
        SplitError::Unfinished => "the JSON array ends before its closing bracket".to_owned(),
        SplitError::Trailing => "something follows the JSON array".to_owned(),
        SplitError::ElementTooLarge => "an element of the JSON array is unreasonably large".to_owned(),
        SplitError::Element(index, what) => format!("element {index} is not a registration: {what}"),
    }
}

/// What is wrong with a body that should be one JSON object.
pub(crate) fn describe_object(body: &[u8], content_type: &str, what: &str) -> String {
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => format!("expected a JSON object, got an empty body ({content_type})"),
        Some(b'{') => what.to_owned(),
        Some(&first) => {
            let first = if first.is_ascii_graphic() { char::from(first) } else { '?' };
            format!("expected a JSON object, got {content_type} starting with '{first}'")
        }
    }
}

/// The `message` of an error body `{code, message, details}` or of an OAuth2 error; `None` when it has none.
pub(crate) fn error_message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct ErrorBody {
        message: Option<String>,
        error_description: Option<String>,
    }
    let parsed: ErrorBody = serde_json::from_str(std::str::from_utf8(body).ok()?).ok()?;
    let text = |text: Option<String>| text.filter(|text| !text.is_empty());
    text(parsed.message).or_else(|| text(parsed.error_description))
}

/// Whether a body can be the API's own: empty, or JSON. A gateway's "not found" page is neither.
pub(crate) fn is_api_body(body: &[u8]) -> bool {
    // What is skipped is not checked: a text that is no UTF-8 would pass.
    let is_json = |text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    body.iter().all(u8::is_ascii_whitespace) || std::str::from_utf8(body).is_ok_and(is_json)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use serde_json::json;

    const UUID: &str = "9f55255e-11ed-47c7-acef-fc4054768dbc";

    fn minimal() -> serde_json::Value {
        json!({"uuid": UUID, "tenantId": 1001, "name": "a", "createdAt": "2026-01-02T03:04:05Z"})
    }

    fn read(value: &serde_json::Value) -> Result<RemoteCluster, String> {
        cluster(&serde_json::to_vec(value).unwrap())
    }

    #[test]
    fn null_absent_and_empty_are_the_same() {
        let mut nulls = minimal();
        let mut empty = minimal();
        for field in ["domain", "version", "updatedAt", "deletedAt", "lastLiveness", "deleteRequestedAt"] {
            nulls[field] = serde_json::Value::Null;
            empty[field] = json!("");
        }
        nulls["status"] = serde_json::Value::Null;
        empty["status"] = json!({"platform": {}, "state": null});
        assert_eq!(read(&minimal()), read(&nulls));
        assert_eq!(read(&minimal()), read(&empty));
        assert_eq!(read(&minimal()).unwrap().state, None);
    }

    #[test]
    fn reads_a_full_record_and_keeps_what_it_does_not_know() {
        let mut full = minimal();
        full["uuid"] = json!(UUID.to_uppercase());
        full["deleteRequestedAt"] = json!("2026-01-02T03:04:05.123+01:00");
        full["lastLiveness"] = json!("2026-01-02T03:04:05.5");
        full["newField"] = json!({"deep": [1]});
        full["status"] = json!({
            "state": "Rebooting", "platform": {"type": "k3s", "kubeVersion": "v1.33.1"},
            "conditions": [], "operands": {}, "dependencies": {"required": {}},
        });
        let record = read(&full).unwrap();
        assert_eq!(record.uuid.to_string(), UUID);
        assert_eq!(record.state, Some(ClusterState::Other("Rebooting".into())));
        assert_eq!(record.platform.as_deref(), Some("k3s"));
        assert_eq!(record.kubernetes_version.as_deref(), Some("v1.33.1"));
        assert_eq!(record.delete_requested_at.unwrap().to_string(), "2026-01-02T02:04:05.123Z");
        assert_eq!(record.last_liveness.unwrap().to_string(), "2026-01-02T03:04:05.5Z");
    }

    #[test]
    fn every_field_of_a_wrong_kind_is_refused_without_repeating_it() {
        let table = [
            ("uuid", json!("canary")),
            ("uuid", json!(null)),
            ("uuid", json!(7)),
            ("tenantId", json!("canary")),
            ("tenantId", json!(null)),
            ("name", json!(null)),
            ("name", json!(["canary"])),
            ("createdAt", json!(null)),
            ("createdAt", json!("canary")),
            ("createdAt", json!(17_000_000)),
            ("domain", json!({"canary": 1})),
            ("version", json!(2.24)),
            ("updatedAt", json!("canary")),
            ("deletedAt", json!("canary")),
            ("lastLiveness", json!("canary")),
            ("deleteRequestedAt", json!(true)),
            ("status", json!("canary")),
            ("status", json!({"state": 5})),
        ];
        for (field, value) in table {
            let mut record = minimal();
            record[field] = value;
            let what = read(&record).expect_err(field);
            assert!(!what.contains("canary"), "{what}");
        }
        for field in ["uuid", "tenantId", "name", "createdAt"] {
            let mut record = minimal();
            record.as_object_mut().unwrap().remove(field);
            assert_eq!(read(&record), Err(format!("missing field `{field}`")));
        }
    }

    #[test]
    fn text_that_is_kept_has_an_end_and_no_control_characters() {
        let name = |name: &str| {
            let mut record = minimal();
            record["name"] = json!(name);
            read(&record).unwrap().name
        };
        let longest = "\u{fc}".repeat(256);
        assert_eq!(name(&longest), longest, "any name that a user may ask for stays as it is");
        assert_eq!(name(&format!("{longest}x")), format!("{}\u{2026}", "\u{fc}".repeat(255)));
        assert_eq!(name("\u{1b}[31mred\0"), "\u{fffd}[31mred\u{fffd}");
        let mut record = minimal();
        let huge = "x".repeat(500_000);
        for field in ["domain", "version"] {
            record[field] = json!(huge);
        }
        record["status"] = json!({ "state": huge, "platform": { "type": huge, "kubeVersion": huge } });
        assert!(format!("{:?}", read(&record).unwrap()).len() < 3000);
    }

    #[test]
    fn a_field_that_comes_twice_is_named() {
        let twice = format!(r#"{{"uuid":"{UUID}","uuid":"canary"}}"#);
        assert_eq!(cluster(twice.as_bytes()), Err("duplicate field `uuid`".to_owned()));
    }

    #[test]
    fn a_body_of_the_api_is_empty_or_json() {
        for (body, want) in [
            (&b""[..], true),
            (b" \n", true),
            (b"{}", true),
            (b"<html>", false),
            (b"{", false),
            (b"{\"a\":\"\xff\"}", false),
        ] {
            assert_eq!(is_api_body(body), want, "{body:?}");
        }
    }

    #[test]
    fn a_create_sends_no_empty_fields() {
        let mut new = NewCluster { name: ClusterName::parse("a b").unwrap(), domain: None, version: None };
        assert_eq!(serde_json::to_value(&new).unwrap(), json!({"name": "a b"}));
        new.domain = Some(ClusterDomain::parse("https://x.example.com").unwrap());
        new.version = Some(AgentVersion::parse("2.24").unwrap());
        let want = json!({"name": "a b", "domain": "https://x.example.com", "version": "2.24"});
        assert_eq!(serde_json::to_value(&new).unwrap(), want);
    }

    #[test]
    fn finds_the_message_of_an_error_body() {
        let table: [(&[u8], Option<&str>); 7] = [
            (br#"{"code":409,"message":"taken"}"#, Some("taken")),
            (br#"{"error":"invalid_client","error_description":"no"}"#, Some("no")),
            (br#"{"code":500,"message":null}"#, None),
            (b"<html>secret</html>", None),
            (b"{\"message\":\"no\",\"other\":\"\xff\"}", None),
            (b"", None),
            (br#""text""#, None),
        ];
        for (body, want) in table {
            assert_eq!(error_message(body).as_deref(), want);
        }
    }

    #[test]
    fn what_is_wrong_with_a_body_is_said_without_repeating_it() {
        let lists = [
            (SplitError::NotAnArray('<'), "expected a JSON array, got text/html starting with '<'"),
            (SplitError::Empty, "expected a JSON array, got an empty body (text/html)"),
            (SplitError::Unfinished, "the JSON array ends before its closing bracket"),
            (SplitError::Trailing, "something follows the JSON array"),
            (SplitError::ElementTooLarge, "an element of the JSON array is unreasonably large"),
            (SplitError::Element(7, "it is not JSON".to_owned()), "element 7 is not a registration: it is not JSON"),
        ];
        for (error, want) in lists {
            assert_eq!(describe_split(&error, "text/html"), want);
        }
        let objects: [(&[u8], &str); 5] = [
            (b"", "expected a JSON object, got an empty body (text/html)"),
            (b" \n", "expected a JSON object, got an empty body (text/html)"),
            (b"\n<canary>", "expected a JSON object, got text/html starting with '<'"),
            (b"\x1b[31m", "expected a JSON object, got text/html starting with '?'"),
            (b" {\"canary\": 1}", "missing field `uuid`"),
        ];
        for (body, want) in objects {
            assert_eq!(describe_object(body, "text/html", "missing field `uuid`"), want);
        }
    }

    #[test]
    fn an_error_of_the_parser_has_one_of_three_names() {
        let table: [(&[u8], &str); 4] = [
            (b"{\"uuid\":", "the JSON is cut off"),
            (b"{\"uuid\":7}", "a field has another type than the API documents"),
            (b"<canary>", "it is not JSON"),
            (b"{\"canary\" 1}", "it is not JSON"),
        ];
        for (body, want) in table {
            assert_eq!(cluster(body), Err(want.to_owned()));
        }
    }
}
