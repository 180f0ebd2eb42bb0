//! Which differences are worth waking somebody for.
//!
//! Owns the digest: everything counts but `updatedAt`, and the last sign of life only at a granularity that differs a
//! little between uuids, so that 10,000 beating agents neither wake their objects at each poll nor all in step. Must
//! not know who listens.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{ClusterUuid, RemoteCluster};
use crate::runai::ApiError;

/// What the inventory tells.
#[derive(Clone, Debug)]
pub enum Change {
    /// The first list is there: every object should look once.
    Ready,
    /// These registrations changed, came or went.
    Records(Vec<Changed>),
    /// What the control plane can do is known better now.
    Capabilities,
    /// Listing began to fail, or works again. Told on transitions only.
    Health {
        /// Whether it works.
        ok: bool,
        /// Why not.
        error: Option<Arc<ApiError>>,
    },
}

/// One registration that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Which.
    pub uuid: ClusterUuid,
    /// Its name before and after; `None` where it was not there. Objects that wait for a name hear of both.
    pub names: (Option<String>, Option<String>),
}

impl Changed {
    pub(super) fn new(uuid: ClusterUuid, old: Option<&RemoteCluster>, new: Option<&RemoteCluster>) -> Self {
        Self { uuid, names: (old.map(|record| record.name.clone()), new.map(|record| record.name.clone())) }
    }
}

/// Whether two records differ in anything but signs of life.
pub(super) fn differs(old: &RemoteCluster, new: &RemoteCluster) -> bool {
    // Destructured, so that a new field must be decided on here.
    let RemoteCluster {
        uuid,
        tenant,
        name,
        domain,
        version,
        created_at,
        updated_at: _,
        last_liveness: _,
        delete_requested_at,
        deleted_at,
        state,
        platform,
        kubernetes_version,
    } = old;
    *uuid != new.uuid
        || *tenant != new.tenant
        || *name != new.name
        || *domain != new.domain
        || *version != new.version
        || *created_at != new.created_at
        || *delete_requested_at != new.delete_requested_at
        || *deleted_at != new.deleted_at
        || *state != new.state
        || *platform != new.platform
        || *kubernetes_version != new.kubernetes_version
}

/// Whether a sign of life is so much newer than the one last told that it is worth telling. The first one always is;
/// one that vanished or went back never.
pub(super) fn liveness_moved(
    uuid: ClusterUuid,
    told: Option<Timestamp>,
    now: Option<Timestamp>,
    granularity: Duration,
) -> bool {
    match (told, now) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(told), Some(now)) => {
            let moved = Duration::try_from(now.duration_since(told)).unwrap_or_default();
            !moved.is_zero() && moved >= granularity.mul_f64(spread(uuid))
        }
    }
}

/// A factor in [1.0, 1.25) that is fixed for a uuid.
fn spread(uuid: ClusterUuid) -> f64 {
    let (high, low) = uuid.0.as_u64_pair();
    let mixed = (high ^ low).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
    #[allow(clippy::cast_precision_loss, reason = "ten bits fit")]
    let part = mixed as f64 / 1024.0;
    1.0 + part / 4.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::super::book::tests::{record, uuid};
    use super::*;
    use crate::domain::{ClusterDomain, ClusterState, TenantId};

    #[test]
    fn every_field_counts_but_signs_of_life() {
        type Edit = fn(&mut RemoteCluster);
        let counts: [Edit; 10] = [
            |r| r.tenant = TenantId(1),
            |r| r.name = "b".into(),
            |r| r.domain = Some(ClusterDomain::observed("x")),
            |r| r.version = Some("2.24".into()),
            |r| r.created_at = Timestamp::MAX,
            |r| r.delete_requested_at = Some(Timestamp::UNIX_EPOCH),
            |r| r.deleted_at = Some(Timestamp::UNIX_EPOCH),
            |r| r.state = Some(ClusterState::Connected),
            |r| r.platform = Some("eks".into()),
            |r| r.kubernetes_version = Some("1.33".into()),
        ];
        for (index, edit) in counts.iter().enumerate() {
            let mut new = record(1, "a");
            edit(&mut new);
            assert!(differs(&record(1, "a"), &new), "field {index}");
        }
        let mut new = record(1, "a");
        (new.updated_at, new.last_liveness) = (Some(Timestamp::UNIX_EPOCH), Some(Timestamp::UNIX_EPOCH));
        assert!(!differs(&record(1, "a"), &new));
    }

    #[test]
    fn signs_of_life_are_told_at_their_granularity() {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let granularity = Duration::from_secs(600);
        let table = [
            (None, None, false),
            (None, at(0), true),
            (at(0), None, false),
            (at(0), at(0), false),
            (at(0), at(599), false),
            (at(0), at(750), true),
            (at(750), at(0), false),
        ];
        for (told, now, want) in table {
            assert_eq!(liveness_moved(uuid(1), told, now, granularity), want, "{told:?} {now:?}");
        }
        assert!(liveness_moved(uuid(1), at(0), at(1), Duration::ZERO));
        assert!(!liveness_moved(uuid(1), at(1), at(1), Duration::ZERO));
    }

    #[test]
    fn agents_in_step_do_not_wake_their_objects_in_step() {
        let factors: Vec<f64> = (0..1000).map(|_| spread(ClusterUuid(uuid::Uuid::new_v4()))).collect();
        assert!(factors.iter().all(|factor| (1.0..1.25).contains(factor)));
        for quarter in 0..4 {
            let low = 1.0 + f64::from(quarter) / 16.0;
            let inside = factors.iter().filter(|factor| (low..low + 1.0 / 16.0).contains(*factor)).count();
            assert!((150..350).contains(&inside), "quarter {quarter} holds {inside} of 1000");
        }
    }
}
