//! The few facts that are read back from a `RunaiCluster`'s status.
//!
//! Owns their reading from a status of any shape: each fact on its own, so that a broken neighbour hides none.
//! Must not know what they are good for, nor the annotations that repeat some of them.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::lenient::Lenient;
use super::status::RunaiClusterStatus;
use crate::domain::{ClusterUuid, Identity, Intent, Provenance, TenantId};

/// What status remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The registration that the object owns. Without origin and credential: the annotation has them.
    pub identity: Option<Identity>,
    /// A create request whose outcome was not known.
    pub intent: Option<Intent>,
    /// When our own DELETE was accepted.
    pub delete_requested_at: Option<Timestamp>,
    /// The reconcile request that was last acted on.
    pub last_handled_reconcile_at: Option<String>,
}

/// Reads what status remembers.
#[must_use]
pub fn remembered(status: &Lenient<Option<RunaiClusterStatus>>) -> Remembered {
    match status {
        Lenient::Ok(None) => Remembered::default(),
        Lenient::Ok(Some(status)) => Remembered {
            identity: status.uuid.map(|uuid| identity(uuid, status.origin, status.tenant_id, status.created_at)),
            intent: status.create_pending.as_deref().cloned(),
            delete_requested_at: status.delete_requested_at,
            last_handled_reconcile_at: status.last_handled_reconcile_at.clone(),
        },
        Lenient::Err(bad) => Remembered {
            identity: field::<ClusterUuid>(&bad.raw, "uuid").map(|uuid| {
                let raw = &bad.raw;
                identity(uuid, field(raw, "origin"), field(raw, "tenantId"), field(raw, "createdAt"))
            }),
            intent: field(&bad.raw, "createPending"),
            delete_requested_at: field(&bad.raw, "deleteRequestedAt"),
            last_handled_reconcile_at: field(&bad.raw, "lastHandledReconcileAt"),
        },
    }
}

/// An unknown provenance counts as adopted: an adopted registration is not deleted by default.
fn identity(
    uuid: ClusterUuid,
    origin: Option<Provenance>,
    tenant: Option<i64>,
    created: Option<Timestamp>,
) -> Identity {
    Identity {
        uuid,
        provenance: origin.unwrap_or(Provenance::Adopted),
        tenant: tenant.map(TenantId),
        origin: None,
        credential: None,
        created,
    }
}

fn field<T: DeserializeOwned>(raw: &Value, name: &str) -> Option<T> {
    T::deserialize(raw.get(name)?).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
    use serde_json::json;

    use super::*;

    const UUID: &str = "11111111-2222-3333-4444-555555555555";

    fn status() -> Value {
        json!({
            "uuid": UUID, "origin": "Created", "tenantId": 7,
            "createdAt": "2025-12-01T00:00:00Z", "deleteRequestedAt": "2026-01-01T00:00:00Z", "lastHandledReconcileAt": "now",
            "createPending": {
                "attempt": UUID, "name": "east", "localTime": "2026-01-01T00:00:00Z", "origin": "https://runai.example.com",
            },
        })
    }

    #[test]
    fn nothing_is_remembered_of_nothing() {
        assert_eq!(remembered(&Lenient::Ok(None)), Remembered::default());
        assert_eq!(remembered(&Lenient::from_value(json!("x"))), Remembered::default());
    }

    #[test]
    fn a_broken_neighbour_hides_nothing() {
        let sound = Lenient::from_value(status());
        assert!(sound.ok().is_some());
        let mut broken = status();
        broken["conditions"] = json!(7);
        let broken = Lenient::from_value(broken);
        assert!(broken.ok().is_none());

        let facts = remembered(&sound);
        assert_eq!(facts, remembered(&broken));
        let identity = facts.identity.unwrap();
        assert_eq!(identity.uuid.to_string(), UUID);
        assert_eq!(identity.provenance, Provenance::Created);
        assert_eq!(identity.tenant, Some(TenantId(7)));
        assert_eq!(identity.created, Some("2025-12-01T00:00:00Z".parse().unwrap()));
        assert_eq!(facts.intent.unwrap().name, "east");
        assert!(facts.delete_requested_at.is_some());
        assert_eq!(facts.last_handled_reconcile_at.as_deref(), Some("now"));
    }

    #[test]
    fn an_unknown_provenance_counts_as_adopted() {
        for origin in [json!("Found"), json!(7), Value::Null] {
            let mut status = status();
            status["origin"] = origin;
            let identity = remembered(&Lenient::from_value(status)).identity.unwrap();
            assert_eq!(identity.provenance, Provenance::Adopted);
        }
    }
}
