//! The create protocol: look, write the intent, send one POST, and resolve every doubt before the next.
//!
//! Owns "at most one registration". Holds as long as every POST is committed within the quarantine, or names are
//! unique on the server.

use std::time::Duration;

use jiff::SignedDuration;

use crate::domain::desired::{DeletionPolicy, Desired, Management};
use crate::domain::ids::{ClusterDomain, ClusterUuid, Provenance, TenantId};
use crate::domain::memory::{LOOK_GAP, elapsed};
use crate::domain::observed::{RemoteCluster, Trouble, Who};
use crate::domain::reason::Reason;
use crate::domain::recorded::Intent;
use crate::domain::schedule::backoff;

use super::{
    Again, Case, Look, Marks, NewCluster, Plan, READ_LAG, Stale, Stance, Step, deletion_policy, go_on, hold,
    identity_of, other_owner, read, rest, stalled, uuids,
};

/// `createdAt` may lie this much before the intent and still be ours: two clocks, millisecond rounding.
const CREATED_TOLERANCE: SignedDuration = SignedDuration::from_secs(1);

/// An intent names the registrations that already had its name, and an annotation has room for some thousands.
const MOST_NAMESAKES: usize = 1000;

/// What an answer other than success says about the one POST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It certainly took no effect: the attempt may be made again.
    Unsent,
    /// Refused. Believed once looks find nothing of ours: a gateway may refuse after the commit.
    Refused,
    /// It may have taken effect, or may do so later.
    Unknown,
}

/// Reads the fate of a POST from its answer's status, or from the certainty that it never left.
///
/// Of the statuses that ask to come back later only 429 means "not done". A 503 (with or without `Retry-After`), like
/// a 408, may come from a gateway that stopped waiting for what the control plane then commits.
#[must_use]
pub const fn fate(certainly_unsent: bool, status: Option<u16>) -> Fate {
    match status {
        _ if certainly_unsent => Fate::Unsent,
        Some(429) => Fate::Unsent,
        Some(408) | None => Fate::Unknown,
        Some(400..=499) => Fate::Refused,
        Some(_) => Fate::Unknown,
    }
}

/// The name is free as far as the inventory knows: look once more, then write the intent.
pub(super) fn begin(case: &Case<'_>, desired: &Desired, who: &Who, replaces: Option<ClusterUuid>) -> Plan {
    if let Some(refusal) = &case.observed.refused {
        return try_again(case, refusal);
    }
    if let Some(trouble) = &case.observed.trouble {
        return hold(case, trouble);
    }
    let name = desired.name.as_str();
    let seen = match look(case, name, Reason::Creating) {
        Ok(records) => records,
        Err(plan) => return *plan,
    };
    if seen.len() > MOST_NAMESAKES {
        return stalled(
            Reason::CreateAmbiguous,
            format!("{} deleted registrations named {name:?} are still listed; choose another spec.name", seen.len()),
        );
    }
    let intent = Intent {
        attempt: case.nonce,
        name: name.to_owned(),
        domain: desired.domain.as_ref().map(|domain| domain.as_str().to_owned()),
        remote_time: case.observed.remote_now,
        local_time: case.now,
        origin: who.origin.clone(),
        tenant: who.tenant,
        replaces,
        seen: seen.iter().map(|record| record.uuid).collect(),
    };
    let marks = Marks { identity: None, intent: Some(intent) };
    replace(case, marks, Reason::Creating, "noting the intent to create")
}

/// The registrations of that name from a fresh list that can be believed, or how to get there. A list that holds nothing
/// makes every name free, and the price of a wrong one is a second registration: it does not go with a live record.
fn look<'a>(case: &Case<'a>, name: &str, why: Reason) -> Result<&'a [RemoteCluster], Box<Plan>> {
    let Some(records) = case.observed.named.fresh(name) else {
        let look = Step::Look(Look::Names(name.to_owned()));
        return Err(Box::new(go_on(look, why, "looking for the name")));
    };
    let Some(uuid) = case.observed.witness else { return Ok(records) };
    let lives = |record: &RemoteCluster| !record.is_deleting() && record.deleted_at.is_none();
    match case.observed.read(uuid) {
        None => {
            let look = Step::Look(Look::Read(uuid));
            Err(Box::new(go_on(look, why, "the list is empty, although a registration is known")))
        }
        Some(Some(record)) if lives(record) => Err(Box::new(rest(
            Reason::Undecodable,
            Stance::Progress,
            Again::Backoff,
            format!(
                "the control plane lists nothing, although registration {uuid} exists; waiting for a list that holds it"
            ),
        ))),
        Some(Some(_) | None) => Ok(records),
    }
}

/// An intent is on the object and no uuid is known.
pub(super) fn resolve(case: &Case<'_>, intent: &Intent, who: &Who) -> Plan {
    let elsewhere = intent.origin != who.origin || intent.tenant.zip(who.tenant).is_some_and(|(then, now)| then != now);
    let unsent = case.memory.unsent == Some(intent.attempt);
    if elsewhere && !unsent {
        return stalled(
            Reason::OriginChanged,
            format!(
                "a registration named {:?} may have been made at {}{}, the control plane is now {}{}; restore the connection, or set \
                 spec.deletion.policy: Orphan and delete the object",
                intent.name,
                intent.origin,
                in_tenant(intent.tenant),
                who.origin,
                in_tenant(who.tenant)
            ),
        );
    }
    if let Some(trouble) = &case.observed.trouble {
        return hold(case, trouble);
    }
    let may_write = |desired: &&Desired| !desired.suspend && desired.management == Management::Manage;
    let wanted = if case.deleting { None } else { case.desired.as_ref().ok().filter(may_write) };
    let armed = case.observed.armed == Some(intent.attempt) && case.observed.refused.is_none() && !elsewhere;
    match wanted {
        // The intent speaks of one name; the spec may have moved on since it was written.
        Some(desired) if armed && desired.name.as_str() == intent.name => send(case, desired, intent),
        Some(_) | None if unsent => give_up(case),
        Some(_) | None => doubt(case, intent, who),
    }
}

fn send(case: &Case<'_>, desired: &Desired, intent: &Intent) -> Plan {
    // A lost registration's uuid leaves status before the new one can enter it.
    if case.recorded.status.as_ref().is_some_and(|status| Some(status.uuid) == intent.replaces) {
        let step = Step::Forget(Stale::Registration);
        return go_on(step, Reason::ExternallyDeleted, "the lost registration leaves status");
    }
    let new =
        NewCluster { name: desired.name.clone(), domain: desired.domain.clone(), version: desired.version.clone() };
    go_on(Step::Create(new), Reason::Creating, "creating the registration")
}

/// The POST may have been committed, may be committed still, or was refused (perhaps after the commit).
fn doubt(case: &Case<'_>, intent: &Intent, who: &Who) -> Plan {
    let records = match look(case, &intent.name, Reason::CreateInDoubt) {
        Ok(records) => records,
        Err(plan) => return *plan,
    };
    let candidates: Vec<_> = records.iter().filter(|record| is_candidate(case, intent, record)).collect();
    match candidates.as_slice() {
        [] => unfound(case, intent),
        [listed] => {
            read(case, listed, Reason::CreateInDoubt).map_or_else(|plan| *plan, |record| found(intent, record, who))
        }
        several => stalled(
            Reason::CreateAmbiguous,
            format!(
                "{} registrations named {:?} appeared while a create was in doubt: {}; delete those that are not wanted",
                several.len(),
                intent.name,
                uuids(several)
            ),
        ),
    }
}

/// One registration appeared since the intent was written.
fn found(intent: &Intent, record: &RemoteCluster, who: &Who) -> Plan {
    let Some(why) = not_ours(intent, record) else {
        let identity = identity_of(record, who, Provenance::Created);
        let marks = Marks { identity: Some(identity), intent: None };
        return go_on(Step::Mark(marks), Reason::Registered, "the request was committed");
    };
    stalled(
        Reason::CreateAmbiguous,
        format!(
            "a registration named {:?} ({}) appeared while a create was in doubt, but {why}; if it belongs to this object adopt it with a \
             new object and spec.adoption.uuid, else delete or rename it in the control plane",
            intent.name, record.uuid
        ),
    )
}

fn is_candidate(case: &Case<'_>, intent: &Intent, record: &RemoteCluster) -> bool {
    let is_new = !intent.seen.contains(&record.uuid) && Some(record.uuid) != intent.replaces;
    is_new && record.deleted_at.is_none() && other_owner(case, Some(&intent.origin), record.uuid).is_none()
}

/// Why a candidate cannot be taken for this object's own, if so.
fn not_ours(intent: &Intent, record: &RemoteCluster) -> Option<String> {
    let Some(intended) = intent.remote_time else {
        return Some("the control plane never told its time, so its age proves nothing".to_owned());
    };
    if intended.duration_since(record.created_at) > CREATED_TOLERANCE {
        return Some("it is older than the request".to_owned());
    }
    let same_domain = match (&intent.domain, &record.domain) {
        (None, _) => true,
        (Some(sent), Some(seen)) => ClusterDomain::observed(sent).same_as(seen),
        (Some(_), None) => false,
    };
    (!same_domain).then(|| "its domain is another".to_owned())
}

fn is_quarantined(case: &Case<'_>, intent: &Intent) -> bool {
    elapsed(intent.local_time, case.now) < case.policy.quarantine
}

/// Whether a look may lead to a POST: not for a dying object, and not while the fate of an attempt is open.
pub(super) fn may_create(case: &Case<'_>) -> bool {
    let settled = |intent: &Intent| case.memory.unsent == Some(intent.attempt) || !is_quarantined(case, intent);
    !case.deleting && case.recorded.intent.as_ref().is_none_or(settled)
}

pub(super) fn looked_in_vain(case: &Case<'_>) -> Option<uuid::Uuid> {
    let intent = case.recorded.intent.as_ref().filter(|intent| !is_quarantined(case, intent))?;
    let records = look(case, &intent.name, Reason::CreateInDoubt).ok()?;
    (!records.iter().any(|record| is_candidate(case, intent, record))).then_some(intent.attempt)
}

fn unfound(case: &Case<'_>, intent: &Intent) -> Plan {
    if let Some(refusal) = &case.observed.refused {
        return refused(case, intent, refusal);
    }
    let in_doubt = |again| {
        let message = format!(
            "the answer to the request that creates {:?} was lost; waiting {} s from the request on to see whether it was committed",
            intent.name,
            case.policy.quarantine.as_secs()
        );
        rest(Reason::CreateInDoubt, Stance::Progress, again, message)
    };
    if is_quarantined(case, intent) {
        let left = case.policy.quarantine.saturating_sub(elapsed(intent.local_time, case.now));
        return in_doubt(Again::After(left.min(backoff(case.memory.failures.saturating_add(1), 0))));
    }
    match case.memory.empty_look {
        Some((of, first)) if of == intent.attempt && case.now.duration_since(first) >= LOOK_GAP => give_up(case),
        Some(_) | None => in_doubt(Again::After(LOOK_GAP.unsigned_abs())),
    }
}

/// After a refusal that is believed. Other failures on the way there say nothing about the next attempt: the pause ends
/// soon, whatever they have come to.
fn try_again(case: &Case<'_>, refusal: &Trouble) -> Plan {
    let held = hold(case, refusal);
    match held.again {
        Again::Backoff => {
            let pause = backoff(case.memory.failures.saturating_add(1), case.nonce.as_u64_pair().0);
            Plan { again: Again::After(pause.min(READ_LAG)), ..held }
        }
        Again::WhenChanged | Again::After(_) => held,
    }
}

/// Refused, and nothing of ours is there. What is checked before all else refuses before a commit; any other refusal may
/// be a gateway's that sent the request twice, and the look may lag.
fn refused(case: &Case<'_>, intent: &Intent, refusal: &Trouble) -> Plan {
    let outright = matches!(refusal.reason, Reason::AuthFailed | Reason::Forbidden);
    let lag = if outright { Duration::ZERO } else { READ_LAG.min(case.policy.quarantine) };
    let looked_at = case.observed.looked_at.unwrap_or(intent.local_time);
    match lag.saturating_sub(elapsed(intent.local_time, looked_at)) {
        Duration::ZERO => replace(case, Marks::default(), Reason::Rejected, "the request was refused"),
        left => Plan { again: Again::After(left), ..hold(case, refusal) },
    }
}

/// The request never took effect. The intent goes before anything else is decided: the spec, and who bears the name,
/// may have changed since it was written, so the whole table applies again.
fn give_up(case: &Case<'_>) -> Plan {
    if case.deleting {
        go_on(Step::Release, Reason::DeletionRequested, "nothing was registered")
    } else {
        replace(case, Marks::default(), Reason::Creating, "nothing was registered")
    }
}

/// Puts `marks` where an attempt that has ended was noted. Its copy in status goes first: left behind, it would open the
/// attempt again after a restart, and by then somebody else may bear the name.
fn replace(case: &Case<'_>, marks: Marks, why: Reason, message: &str) -> Plan {
    let step = if case.recorded.intent_told { Step::Forget(Stale::Attempt) } else { Step::Mark(marks) };
    go_on(step, why, message)
}

/// A dying object with an open intent: the doubt comes first, unless the registration may stay anyway.
pub(super) fn resolve_dying(case: &Case<'_>, intent: &Intent) -> Plan {
    if deletion_policy(case, Provenance::Created) == DeletionPolicy::Orphan {
        return go_on(Step::Release, Reason::Orphaned, "a registration that may have been made stays");
    }
    match &case.observed.access.who {
        Ok(who) => resolve(case, intent, who),
        Err(trouble) => hold(case, trouble),
    }
}

fn in_tenant(id: Option<TenantId>) -> String {
    id.map(|id| format!(" (tenant {id})")).unwrap_or_default()
}

#[cfg(test)]
#[path = "create_tests.rs"]
mod tests;
