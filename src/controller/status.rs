//! From a report to a stored status and back to what was said before.
//!
//! Owns the mapping of fields. Must not know what any of them means.

use jiff::Timestamp;

use crate::api::conditions::{Wanted, merge};
use crate::api::status::Drift as StoredDrift;
use crate::api::{RunaiClusterStatus, Watched};
use crate::domain::{Before, Drift, Report, StatusFacts, TenantId};
use crate::telemetry::objects::ObjectFacts;

/// What the object's status says at present.
pub(crate) fn before(object: &Watched) -> Before {
    let Some(status) = object.status() else { return Before::default() };
    let conditions = status.conditions.iter().map(|c| (c.type_.clone(), c.status.clone(), c.reason.clone())).collect();
    let facts = StatusFacts {
        uuid: status.uuid,
        tenant: status.tenant_id.map(TenantId),
        origin: status.origin,
        name: status.name.clone(),
        domain: status.domain.clone(),
        version: status.version.clone(),
        state: status.state.clone(),
        last_liveness: status.last_liveness,
        created_at: status.created_at,
        updated_at: status.updated_at,
        delete_requested_at: status.delete_requested_at,
        platform: status.platform.clone(),
        kubernetes_version: status.kubernetes_version.clone(),
        drift: status.drift.iter().filter_map(stored_drift).collect(),
        intent: status.create_pending.as_deref().cloned(),
        install_secret: status.install_secret_name.clone(),
    };
    Before { facts, conditions }
}

fn stored_drift(drift: &StoredDrift) -> Option<Drift> {
    let field = ["name", "domain", "version"].into_iter().find(|field| *field == drift.field)?;
    Some(Drift {
        field,
        desired: drift.desired.clone().unwrap_or_default(),
        observed: drift.observed.clone().unwrap_or_default(),
    })
}

/// The status that says what `report` says.
pub(crate) fn after(object: &Watched, report: &Report, handled: Option<String>, now: Timestamp) -> RunaiClusterStatus {
    let generation = object.metadata.generation;
    let wanted = report.conditions.iter().map(|condition| Wanted {
        type_: condition.kind.as_str(),
        status: condition.status.as_str(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        observed_generation: generation,
    });
    let old = object.status().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let StatusFacts {
        uuid,
        tenant,
        origin,
        name,
        domain,
        version,
        state,
        last_liveness,
        created_at,
        updated_at,
        delete_requested_at,
        platform,
        kubernetes_version,
        drift,
        intent,
        install_secret,
    } = report.facts.clone();
    let drift = drift.into_iter().map(|Drift { field, desired, observed }| StoredDrift {
        field: field.to_owned(),
        desired: Some(desired),
        observed: Some(observed),
    });
    RunaiClusterStatus {
        observed_generation: generation,
        uuid,
        tenant_id: tenant.map(|tenant| tenant.0),
        origin,
        name,
        domain,
        version,
        state,
        last_liveness,
        created_at,
        updated_at,
        delete_requested_at,
        platform,
        kubernetes_version,
        drift: drift.collect(),
        install_secret_name: install_secret,
        last_handled_reconcile_at: handled,
        create_pending: intent.map(Box::new),
        conditions: merge(old, wanted, now),
    }
}

/// What the metrics say of an object with this status.
pub(crate) fn metrics(status: &RunaiClusterStatus) -> ObjectFacts {
    let stalled =
        status.conditions.iter().any(|c| c.type_ == "Stalled" && c.reason == "DeletionStalled" && c.status == "True");
    ObjectFacts {
        uuid: status.uuid.map(|uuid| uuid.to_string()),
        version: status.version.clone(),
        state: status.state.clone(),
        conditions: status.conditions.iter().map(|c| (c.type_.clone(), c.status.clone())).collect(),
        // Seconds since 1970 stay exact in an f64 for the next 100 million years.
        #[allow(clippy::cast_precision_loss)]
        last_liveness: status.last_liveness.map(|at| at.as_second() as f64),
        deletion_stalled: stalled,
    }
}
