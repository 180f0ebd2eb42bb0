//! The delete protocol: ask once, follow, and let go only on proof.
//!
//! Owns when the finalizer goes. Never depends on the rest of the spec being valid.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::desired::{DeletionPolicy, Management};
use crate::domain::ids::{ClusterUuid, Provenance, TenantId};
use crate::domain::memory::elapsed;
use crate::domain::observed::{RemoteCluster, Sighting, Who};
use crate::domain::reason::Reason;
use crate::domain::recorded::{Annotated, Identity};
use crate::domain::schedule::LONGEST_DELAY;

use super::{
    Again, Case, Look, Plan, Stance, Standing, Step, Verdict, create, deletion_policy, elsewhere, go_on, hold,
    is_marked, judge, note, other_owner, rest, stalled, standing, wait_for_inventory,
};

/// The API server ends every request within a minute (`--request-timeout`): the time between its look at the finalizers and
/// the end of the object. Some more for the news of it.
const LONGEST_REQUEST: Duration = Duration::from_secs(90);
/// A deletion that no list shows is followed by id at this pace; a forced one is repeated at this pace.
const PACE: Duration = Duration::from_secs(10);

pub(super) fn plan(case: &Case<'_>) -> Plan {
    if !case.recorded.finalizer {
        return rest(Reason::Orphaned, Stance::Quiet, Again::WhenChanged, "nothing is held back");
    }
    if case.deletion.management == Management::Observe {
        return go_on(Step::Release, Reason::Orphaned, "the registration was only observed and stays");
    }
    let orphan = case.deletion.policy == Some(DeletionPolicy::Orphan);
    match (standing(case), &case.recorded.intent) {
        (Standing::Owns(identity), _) => owned(case, &identity),
        (Standing::Conflict(_) | Standing::Wish(_) | Standing::Nothing, _) if orphan => {
            go_on(Step::Release, Reason::Orphaned, "spec.deletion.policy is Orphan: nothing is deleted")
        }
        (Standing::Conflict(why), _) => stalled(Reason::IdentityConflict, why),
        (Standing::Nothing | Standing::Wish(_), Some(intent)) => create::resolve_dying(case, intent),
        (Standing::Wish(_), None) => stalled(
            Reason::IdentityConflict,
            "the annotations of runai-operator.io on this object were not written for it, so nothing is deleted; remove them, or set \
             spec.deletion.policy: Orphan, to let the object go",
        ),
        (Standing::Nothing, None) => go_on(Step::Release, Reason::DeletionRequested, "nothing was registered"),
    }
}

/// What was just made for an object that is gone by now goes too, by the policy that the object had. What an object had
/// noted before is torn away with the notes, and stays.
pub(super) fn clean_up(case: &Case<'_>, made: &Identity) -> Option<Plan> {
    let is_new =
        case.recorded.intent.is_some() || case.memory.made.is_some_and(|at| elapsed(at, case.now) < LONGEST_REQUEST);
    let is_nobodys = made.provenance == Provenance::Created
        && is_new
        && other_owner(case, made.origin.as_ref(), made.uuid).is_none()
        && case.deletion.management == Management::Manage
        && deletion_policy(case, Provenance::Created) == DeletionPolicy::Delete;
    is_nobodys.then(|| ask(case, made.uuid, false))
}

/// What an object leaves behind that was deleted without a wait for our finalizer: Kubernetes had read the finalizers
/// before ours came, and does not look again. If somebody took it off, it is not there, and what was noted stays; what
/// could not be noted any more is known to nobody else.
pub(super) fn left_behind(case: &Case<'_>) -> Option<Identity> {
    match (&case.memory.unnoted, &case.recorded.annotated) {
        _ if case.deleting => None,
        (Some(unnoted), _) => Some(unnoted.clone()),
        (None, Annotated::Fits(identity)) if case.recorded.finalizer => Some(identity.clone()),
        (None, Annotated::Fits(_) | Annotated::Misfit(_) | Annotated::Nothing) => None,
    }
}

fn owned(case: &Case<'_>, identity: &Identity) -> Plan {
    let uuid = identity.uuid;
    if deletion_policy(case, identity.provenance) == DeletionPolicy::Orphan {
        let why = match (case.deletion.policy, identity.provenance) {
            (None, Provenance::Adopted) => "it existed before this object",
            (Some(_), _) | (None, Provenance::Created) => "the deletion policy is Orphan",
        };
        return go_on(Step::Release, Reason::Orphaned, format!("registration {uuid} stays: {why}"));
    }
    let here = case.observed.access.who.as_ref().ok().map(|who| &who.origin);
    if let Some(owner) = other_owner(case, identity.origin.as_ref().or(here), uuid) {
        let why = format!("registration {uuid} stays: it belongs to RunaiCluster {owner}");
        return go_on(Step::Release, Reason::Orphaned, why);
    }
    let who = match &case.observed.access.who {
        Ok(who) => who,
        Err(trouble) => return overdue(case, None, Some(&trouble.message)).unwrap_or_else(|| hold(case, trouble)),
    };
    if let Some(why) = elsewhere(identity, who) {
        return stalled(Reason::OriginChanged, why);
    }
    if let Some(trouble) = &case.observed.trouble {
        return overdue(case, None, Some(&trouble.message)).unwrap_or_else(|| hold(case, trouble));
    }
    match &case.observed.uuid {
        Sighting::NotLooked => wait_for_inventory(case, true),
        Sighting::NotListed => {
            go_on(Step::Look(Look::ById(uuid)), Reason::DeletionRequested, "the registration is not listed")
        }
        Sighting::Absent(absence) => match judge(case, identity, who, *absence) {
            Verdict::Gone => gone(uuid),
            Verdict::TooEarly(left) => too_early(uuid, left),
            Verdict::Unproven => unproven(identity, who, absence.tenant),
        },
        // The sighting answers an earlier question of this pass: never act on another registration's record.
        Sighting::Present(record) if record.uuid != uuid => {
            go_on(Step::Look(Look::ById(uuid)), Reason::DeletionRequested, "the registration was not looked for")
        }
        Sighting::Present(record) => present(case, identity, record, who),
    }
}

fn gone(uuid: ClusterUuid) -> Plan {
    go_on(Step::Release, Reason::DeletionRequested, format!("registration {uuid} is gone"))
}

fn too_early(uuid: ClusterUuid, left: Duration) -> Plan {
    let message = format!(
        "registration {uuid} is not found, but it was made a moment ago and a read may lag behind; looking again until that cannot be"
    );
    rest(Reason::DeletionRequested, Stance::Progress, Again::After(left.min(PACE)), message)
}

fn unproven(identity: &Identity, who: &Who, tenant: Option<TenantId>) -> Plan {
    if let Some(why) = elsewhere(identity, &Who { tenant: tenant.or(who.tenant), ..who.clone() }) {
        return stalled(Reason::OriginChanged, why);
    }
    stalled(
        Reason::AbsenceUnproven,
        format!(
            "registration {} is not found, but that does not prove that it is gone: another tenant or a lost permission looks the same; \
             restore the connection, or set spec.deletion.policy: Orphan to let the object go",
            identity.uuid
        ),
    )
}

fn present(case: &Case<'_>, identity: &Identity, record: &RemoteCluster, who: &Who) -> Plan {
    let uuid = record.uuid;
    if let Some(why) = elsewhere(identity, &Who { tenant: Some(record.tenant), ..who.clone() }) {
        return stalled(Reason::OriginChanged, why);
    }
    if record.deleted_at.is_some() {
        return gone(uuid);
    }
    let Some(since) = requested_at(case, Some(record)) else {
        // First the object says which registration goes: a process that dies after the DELETE must leave a trace of it.
        let is_noted = is_marked(case.recorded, identity);
        return if is_noted { ask(case, uuid, false) } else { note(identity, record, who, Reason::DeletionRequested) };
    };
    let waited = elapsed(since, case.now);
    if force_is_due(case, waited) && !case.observed.delete_sent {
        return ask(case, uuid, true);
    }
    // What is known may be old: then the object says what keeps the deletion from being followed.
    let blocker = case.observed.inventory.as_ref().filter(|_| case.observed.stale);
    overdue(case, Some(record), blocker.map(|trouble| trouble.message.as_str())).unwrap_or_else(|| match blocker {
        Some(trouble) => hold(case, trouble),
        None => {
            let message = format!("the control plane is deleting registration {uuid}");
            rest(Reason::DeletionRequested, Stance::Progress, next_look(case, waited), message)
        }
    })
}

/// One DELETE, but never because the kind itself is being removed: an uninstall must not deregister everything.
fn ask(case: &Case<'_>, uuid: ClusterUuid, force: bool) -> Plan {
    match case.observed.crd_deleting {
        None => go_on(Step::Look(Look::Crd), Reason::DeletionRequested, "is the whole kind being removed?"),
        Some(true) => {
            let why = format!("registration {uuid} stays: the CRD itself is being deleted");
            go_on(Step::Release, Reason::Orphaned, why)
        }
        Some(false) => {
            let how = if force { "forcing the deletion of" } else { "deleting" };
            let step = Step::Delete { uuid, force };
            go_on(step, Reason::DeletionRequested, format!("{how} registration {uuid}"))
        }
    }
}

/// Since when a deletion is open, from our own note or from the record.
fn requested_at(case: &Case<'_>, record: Option<&RemoteCluster>) -> Option<Timestamp> {
    let seen = record.and_then(|record| record.delete_requested_at);
    match (case.recorded.delete_requested_at, seen) {
        (Some(noted), Some(seen)) => Some(noted.min(seen)),
        (noted, seen) => noted.or(seen),
    }
}

fn overdue(case: &Case<'_>, record: Option<&RemoteCluster>, blocker: Option<&str>) -> Option<Plan> {
    let since = requested_at(case, record)?;
    let waited = elapsed(since, case.now);
    let blocker = blocker.map(|message| format!("; at present: {message}")).unwrap_or_default();
    let (forced, advice) = match forced_at(case, since) {
        Some(at) => {
            let when = if force_is_due(case, waited) { "since" } else { "at" };
            (format!("; spec.deletion.forceAfter has it forced {when} {at:.0}"), "")
        }
        None => (String::new(), "set spec.deletion.forceAfter, "),
    };
    (waited >= case.deletion.stalled_after).then(|| Plan {
        again: next_look(case, waited),
        ..stalled(
            Reason::DeletionStalled,
            format!(
                "the control plane has not finished deleting the registration within spec.deletion.stalledAfter{forced}; start its agent \
                 again, delete it with force in the control plane, {advice}or set spec.deletion.policy: Orphan to let the object \
                 go{blocker}"
            ),
        )
    })
}

/// When a deletion that is open `since` then is forced; `None` when never, or beyond what a calendar holds.
fn forced_at(case: &Case<'_>, since: Timestamp) -> Option<Timestamp> {
    case.deletion.force_after.and_then(|after| since.checked_add(after).ok())
}

/// Whether a deletion that is open for so long may be forced.
fn force_is_due(case: &Case<'_>, waited: Duration) -> bool {
    case.deletion.force_after.is_some_and(|after| waited >= after)
}

/// The inventory wakes the object when the record goes; time limits have to be watched here.
fn next_look(case: &Case<'_>, waited: Duration) -> Again {
    let limits = [Some(case.deletion.stalled_after), case.deletion.force_after];
    let limit = limits.into_iter().flatten().filter(|limit| *limit > waited).map(|limit| limit - waited).min();
    let unsettled = case.observed.unlisted || case.observed.trouble.is_some() || force_is_due(case, waited);
    let own_pace = unsettled.then_some(PACE);
    Again::After(limit.into_iter().chain(own_pace).min().unwrap_or(LONGEST_DELAY))
}

#[cfg(test)]
#[path = "remove_tests.rs"]
mod tests;
