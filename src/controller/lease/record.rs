//! What the Lease record says, and what follows from it.
//!
//! Owns the decision and the content of the next record. Pure but for the wall-clock times it writes for people to
//! read; it must not know the API.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};

use super::Timing;
use crate::controller::clock::Boottime;

/// What to do about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// There is no record: make one that names us.
    Create,
    /// The record is free or has expired: put our name into it.
    Take,
    /// The record names us: renew it.
    Renew,
    /// Somebody else holds it.
    Wait,
}

/// The record as last read, and when its content was first seen to be so.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    pub(super) lease: Lease,
    pub(super) since: Boottime,
    /// False once the record was deleted. Its holder may not know yet and keeps its time.
    pub(super) exists: bool,
}

impl Observed {
    /// Takes in what was read at `now`. Only a change of the spec counts as a sign of life: labels and the like may be
    /// touched by anybody.
    pub(super) fn update(previous: Option<Self>, lease: Lease, now: Boottime) -> Self {
        match previous {
            Some(previous) if previous.lease.spec == lease.spec => Self { lease, since: previous.since, exists: true },
            _ => Self { lease, since: now, exists: true },
        }
    }

    pub(super) fn holder(&self) -> &str {
        self.lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
    }
}

pub(super) fn decide(identity: &str, timing: &Timing, observed: Option<&Observed>, now: Boottime) -> Action {
    let Some(observed) = observed else {
        return Action::Create;
    };
    let holder = observed.holder();
    let (ours, free) = (holder == identity, holder.is_empty());
    let expired = now.since(observed.since) >= validity(timing, &observed.lease);
    match observed.exists {
        true if ours => Action::Renew,
        true if free || expired => Action::Take,
        false if ours || free || expired => Action::Create,
        true | false => Action::Wait,
    }
}

/// How long the record is valid after its last change: as its holder wrote, for it fences itself by its own timing.
fn validity(timing: &Timing, lease: &Lease) -> Duration {
    let written = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    written.and_then(|seconds| u64::try_from(seconds).ok()).map_or(timing.duration, Duration::from_secs)
}

/// The spec after `action`; times are for people only.
pub(super) fn written(identity: &str, timing: &Timing, previous: Option<&LeaseSpec>, renewal: bool) -> LeaseSpec {
    let now = MicroTime(jiff::Timestamp::now());
    let previous = previous.cloned();
    let transitions = previous.as_ref().map(|spec| spec.lease_transitions.unwrap_or(0));
    let mut spec = previous.unwrap_or_default();
    if !renewal {
        spec.acquire_time = Some(now.clone());
        spec.lease_transitions = Some(transitions.map_or(0, |count| count.saturating_add(1)));
    }
    spec.holder_identity = Some(identity.to_owned());
    spec.lease_duration_seconds = Some(timing.duration_seconds());
    spec.renew_time = Some(now);
    spec
}
