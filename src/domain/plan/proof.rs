//! What an absence says.
//!
//! Owns the rule "gone means proven" (design: "Gone means ..."), for live objects as for dying ones.

use std::time::Duration;

use crate::domain::memory::elapsed;
use crate::domain::observed::{Absence, Who};
use crate::domain::recorded::Identity;

use super::Case;

/// How far a read may lag behind where less depends on it: see [`judge`] and `create`.
pub(super) const READ_LAG: Duration = Duration::from_secs(30);

/// What an absence says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The registration is gone.
    Gone,
    /// Nothing: another tenant or a lost permission looks the same.
    Unproven,
    /// Nothing yet, for this long: the registration is so young that a read which lags does not know it.
    TooEarly(Duration),
}

/// Judges an absence. A read may lag behind a create, as its commit may, by the quarantine. Once the control plane has taken
/// our DELETE on the registration goes by itself, so that less caution is enough; and an answer that it is gone (204) is
/// later news than any read can bring. How old the registration is tells the control plane's clock; where its answers
/// do not show it, at least as old as this process knows it.
pub(super) fn judge(case: &Case<'_>, identity: &Identity, who: &Who, absence: Absence) -> Verdict {
    if !is_proof(case, identity, who, absence) {
        return Verdict::Unproven;
    }
    if case.memory.delete_accepted.as_ref().is_some_and(|accepted| accepted.done) {
        return Verdict::Gone;
    }
    let asked = case.memory.delete_accepted.is_some() || case.recorded.delete_requested_at.is_some();
    let lag = case.policy.quarantine.min(if asked { READ_LAG } else { Duration::MAX });
    let age = match (case.observed.remote_now, identity.created) {
        // A time further ahead than that is no time.
        (Some(now), Some(created)) if now.duration_since(created).unsigned_abs() < lag => elapsed(created, now),
        (Some(_), _) => return Verdict::Gone,
        (None, _) => case.observed.known_for,
    };
    match lag.saturating_sub(age) {
        Duration::ZERO => Verdict::Gone,
        left => Verdict::TooEarly(left),
    }
}

/// Whether an absence proves that the registration is gone (design: "Gone means ..."): the token works, the tenant is
/// not another one, and either our own DELETE was accepted or the same credentials saw the record before.
pub(super) fn is_proof(case: &Case<'_>, identity: &Identity, who: &Who, absence: Absence) -> bool {
    let confirmed = match (identity.tenant, absence.tenant) {
        (Some(seen), Some(now)) if seen != now => return false,
        (Some(_), Some(_)) => true,
        (_, _) => false,
    };
    if !absence.listed_after {
        return false;
    }
    let noted_same =
        identity.origin.as_ref() == Some(&who.origin) && identity.credential.as_ref() == Some(&who.credential);
    let accepted_now = case
        .memory
        .delete_accepted
        .as_ref()
        .is_some_and(|by| by.origin == who.origin && (by.credential == who.credential || confirmed));
    let accepted_before = case.recorded.delete_requested_at.is_some() && (noted_same || confirmed);
    let seen_now =
        case.memory.seen_by.as_ref().is_some_and(|by| by.origin == who.origin && by.credential == who.credential);
    accepted_now || accepted_before || (confirmed && (noted_same || seen_now))
}
