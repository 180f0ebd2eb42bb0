//! Minimal data: names and states of registrations, some 200 bytes each instead of 2,000.
//!
//! Owns the decoding of the minimal list's pages, when the last one is there, and of the minimal data of one. What they say
//! is a reason to look, never evidence: the list leaves out registrations that are being deleted, and its pages are not of
//! one moment. Facts: `GET /api/v1/clusters/minimal`, where no `next` is documented, so that a short page is the last one;
//! `GET /api/v1/clusters/{uuid}/minimal`.

use serde::Deserialize;

use super::wire::{describe, kept};
use crate::domain::{ClusterDomain, ClusterState, ClusterUuid, RemoteCluster, TenantId};

/// Registrations in one page: the most that the API gives.
pub(super) const PAGE: usize = 500;
/// Most pages that are read. With more registrations the full list is the simpler way.
pub(super) const MOST_PAGES: usize = 40;

/// What minimal data says of one registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MinimalCluster {
    /// Identity of the registration.
    pub uuid: ClusterUuid,
    /// Owner of the registration.
    pub tenant: TenantId,
    /// Name exactly as stored.
    pub name: String,
    /// Domain, where it tells one.
    pub domain: Option<ClusterDomain>,
    /// Version, where it tells one.
    pub version: Option<String>,
    /// The control plane's own judgement, where it tells one.
    pub state: Option<ClusterState>,
}

impl MinimalCluster {
    /// Whether a full record says the same. What minimal data leaves out it does not contradict; a state counts in
    /// any case, since it is what changes.
    #[must_use]
    pub fn agrees(&self, record: &RemoteCluster) -> bool {
        let Self { uuid, tenant, name, domain, version, state } = self;
        (uuid, tenant, name) == (&record.uuid, &record.tenant, &record.name)
            && (domain.is_none() || *domain == record.domain)
            && (version.is_none() || *version == record.version)
            && *state == record.state
    }
}

#[derive(Deserialize)]
struct RawPage {
    clusters: Option<Vec<RawCluster>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawCluster {
    uuid: String,
    tenant_id: i64,
    name: String,
    version: Option<String>,
    domain: Option<String>,
    state: Option<String>,
}

/// Decodes one page. The error repeats nothing of it.
pub(super) fn page(body: &[u8]) -> Result<Vec<MinimalCluster>, String> {
    let raw: RawPage = serde_json::from_slice(body).map_err(|error| describe(&error))?;
    let raw = raw.clusters.unwrap_or_default();
    if raw.len() > PAGE {
        return Err(format!("the page holds more than {PAGE} registrations"));
    }
    raw.into_iter().map(cluster).collect()
}

/// Decodes the minimal data of one registration. The error repeats nothing of it.
pub(super) fn one(body: &[u8]) -> Result<MinimalCluster, String> {
    cluster(serde_json::from_slice(body).map_err(|error| describe(&error))?)
}

fn cluster(raw: RawCluster) -> Result<MinimalCluster, String> {
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty()).map(kept);
    Ok(MinimalCluster {
        uuid: raw.uuid.parse().map_err(|_| "`uuid` is not a UUID".to_owned())?,
        tenant: TenantId(raw.tenant_id),
        name: kept(raw.name),
        domain: filled(raw.domain).map(|domain| ClusterDomain::observed(&domain)),
        version: filled(raw.version),
        state: filled(raw.state).map(|state| ClusterState::from_api(&state)),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::{Value, json};

    use super::*;

    const UUID: &str = "9f55255e-11ed-47c7-acef-fc4054768dbc";

    fn one() -> Value {
        json!({"uuid": UUID, "tenantId": 1001, "name": "a", "state": "Connected", "version": "2.24", "domain": null})
    }

    fn read(value: &Value) -> Result<Vec<MinimalCluster>, String> {
        page(&serde_json::to_vec(value).unwrap())
    }

    #[test]
    fn reads_a_page_and_an_absent_list_is_an_empty_one() {
        let clusters = read(&json!({"clusters": [one()], "next": 5})).unwrap();
        assert_eq!(clusters.len(), 1);
        assert_eq!((clusters[0].name.as_str(), clusters[0].state.as_ref()), ("a", Some(&ClusterState::Connected)));
        for empty in [json!({}), json!({"clusters": null}), json!({"clusters": []})] {
            assert_eq!(read(&empty), Ok(Vec::new()));
        }
    }

    #[test]
    fn what_is_no_page_is_refused_without_repeating_it() {
        for (field, value) in [("uuid", json!("canary")), ("tenantId", json!("canary")), ("name", json!(["canary"]))] {
            let mut bad = one();
            bad[field] = value;
            assert!(!read(&json!({"clusters": [bad]})).expect_err(field).contains("canary"));
        }
        read(&json!([one()])).expect_err("an array is the full list");
        let many = vec![one(); PAGE + 1];
        read(&json!({ "clusters": many })).expect_err("more than was asked for");
    }

    #[test]
    fn what_is_left_out_contradicts_nothing_but_a_state_counts() {
        let record = |state: Option<&str>| {
            let full = json!({
                "uuid": UUID, "tenantId": 1001, "name": "a", "createdAt": "2026-01-02T03:04:05Z",
                "domain": "a.example.com", "version": "2.24", "status": {"state": state},
            });
            super::super::wire::cluster(&serde_json::to_vec(&full).unwrap()).unwrap()
        };
        let minimal = read(&json!({"clusters": [one()]})).unwrap().remove(0);
        assert!(minimal.agrees(&record(Some("Connected"))));
        assert!(!minimal.agrees(&record(Some("Disconnected"))));
        assert!(!minimal.agrees(&record(None)));
        for change in [
            |minimal: &mut MinimalCluster| minimal.name = "b".into(),
            |minimal: &mut MinimalCluster| minimal.tenant = TenantId(7),
            |minimal: &mut MinimalCluster| minimal.version = Some("2.25".into()),
            |minimal: &mut MinimalCluster| minimal.domain = Some(ClusterDomain::observed("b.example.com")),
            |minimal: &mut MinimalCluster| minimal.state = None,
        ] {
            let mut other = minimal.clone();
            change(&mut other);
            assert!(!other.agrees(&record(Some("Connected"))), "{other:?}");
        }
    }
}
