//! The API server's audit log: who asked for what, and when. Knows the log's format, no process.

use std::{collections::BTreeMap, fs, path::Path};

use jiff::Timestamp;
use serde::Deserialize;

use crate::Error;

/// One line per request and stage, without bodies. A watch appears when it starts and when it ends.
pub(crate) const POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1",
  "kind": "Policy",
  "omitStages": ["RequestReceived"],
  "rules": [{ "level": "Metadata" }]
}"#;

/// One completed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// Who, such as `system:serviceaccount:runai-operator:runai-operator`.
    pub user: String,
    /// get, list, watch, create, update, patch, delete, ...
    pub verb: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Plural name; empty for addresses such as `/readyz`.
    pub resource: String,
    /// Such as `status`; empty for the object itself.
    pub subresource: String,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// Empty for lists, and for creates with a generated name.
    pub name: String,
    /// HTTP status of the answer.
    pub code: u16,
    /// When the request was complete (microseconds).
    pub stage_timestamp: Timestamp,
    /// The client's own name.
    pub user_agent: String,
}

/// What requests are counted by: verb, resource, subresource.
pub type RequestKey = (String, String, String);

/// Counts per user and (verb, resource, subresource).
#[must_use]
pub fn count_by_user(events: &[AuditEvent]) -> BTreeMap<String, BTreeMap<RequestKey, usize>> {
    let mut counts: BTreeMap<String, BTreeMap<RequestKey, usize>> = BTreeMap::new();
    for event in events {
        let key = (event.verb.clone(), event.resource.clone(), event.subresource.clone());
        *counts.entry(event.user.clone()).or_default().entry(key).or_default() += 1;
    }
    counts
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    verb: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
    stage_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ObjectRef {
    #[serde(rename = "apiGroup")]
    group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

pub(crate) fn read(log: &Path, since: Option<Timestamp>) -> Result<Vec<AuditEvent>, Error> {
    let text = fs::read_to_string(log).map_err(Error::io(log.display().to_string()))?;
    parse(&text, since)
}

fn parse(text: &str, since: Option<Timestamp>) -> Result<Vec<AuditEvent>, Error> {
    let mut events = Vec::new();
    // The last line may still be in the making.
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let line: Line = serde_json::from_str(line)
            .map_err(|error| Error::Parse { what: "the audit log".to_owned(), detail: error.to_string() })?;
        if line.stage == "ResponseComplete" && since.is_none_or(|since| line.stage_timestamp >= since) {
            events.push(AuditEvent {
                user: line.user.username,
                verb: line.verb,
                group: line.object_ref.group,
                resource: line.object_ref.resource,
                subresource: line.object_ref.subresource,
                namespace: line.object_ref.namespace,
                name: line.object_ref.name,
                code: line.response_status.code,
                stage_timestamp: line.stage_timestamp,
                user_agent: line.user_agent,
            });
        }
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line(stage: &str, time: &str) -> String {
        format!(
            r#"{{"kind":"Event","stage":"{stage}","verb":"patch","user":{{"username":"u"}},"userAgent":"a","objectRef":{{"apiGroup":"g","resource":"pods","namespace":"n","name":"p","subresource":"status","apiVersion":"v1"}},"responseStatus":{{"metadata":{{}},"code":200}},"stageTimestamp":"{time}"}}"#
        )
    }

    #[test]
    fn counts_completed_requests_since_a_time() {
        let text = [
            line("ResponseComplete", "2025-01-01T00:00:00.000001Z"),
            line("ResponseStarted", "2025-01-01T00:00:00.000002Z"),
            line("ResponseComplete", "2025-01-01T00:00:00.000003Z"),
            line("ResponseComplete", "2025-01-01T00:00:00.000004Z"),
        ]
        .join("\n");
        assert_eq!(parse(&text, None).unwrap().len(), 2, "the unfinished last line does not count");
        let since = "2025-01-01T00:00:00.000002Z".parse().unwrap();
        let events = parse(&(text + "\n"), Some(since)).unwrap();
        let key = ("patch".to_owned(), "pods".to_owned(), "status".to_owned());
        assert_eq!(count_by_user(&events)["u"][&key], 2);
        let [group, namespace, name] = [&events[0].group, &events[0].namespace, &events[0].name].map(String::as_str);
        assert_eq!((events[0].code, group, namespace, name), (200, "g", "n", "p"));
    }
}
