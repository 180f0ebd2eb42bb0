//! The table for live objects: register, adopt, observe, rename, report.
//!
//! Owns what happens to an object that is not being deleted, but for the create protocol itself.

use std::time::Duration;

use crate::domain::claims::{NameClaim, ObjectKey};
use crate::domain::desired::{AdoptionPolicy, Desired, Management, RecreatePolicy};
use crate::domain::ids::{ClusterUuid, Provenance};
use crate::domain::observed::{Absence, RemoteCluster, Sighting, Who};
use crate::domain::reason::Reason;
use crate::domain::recorded::Identity;

use super::{
    Again, Case, Look, Marks, Plan, Stance, Standing, Step, Verdict, create, elsewhere, go_on, hold, identity_of,
    is_marked, judge, note, other_owner, read, rest, stalled, standing, uuids, wait_for_inventory,
};

/// A registration that no list shows (a narrow scope, an old control plane) is read by id at this pace.
const UNLISTED_PACE: Duration = Duration::from_secs(60);

pub(super) fn plan(case: &Case<'_>) -> Plan {
    let desired = match case.desired {
        Ok(desired) => desired,
        Err(error) => return stalled(Reason::InvalidSpec, error.to_string()),
    };
    let who = match (&case.observed.access.who, &case.observed.access.live) {
        (Err(trouble), _) | (Ok(_), Some(trouble)) => return hold(case, trouble),
        (Ok(who), None) => who,
    };
    match (standing(case), &case.recorded.intent) {
        (Standing::Conflict(why), _) => stalled(Reason::IdentityConflict, why),
        (Standing::Owns(identity), _) => owned(case, desired, who, &identity),
        (Standing::Nothing | Standing::Wish(_), Some(intent)) => create::resolve(case, intent, who),
        (Standing::Nothing, None) => unregistered(case, desired, who, None),
        (Standing::Wish(wish), None) => unregistered(case, desired, who, Some(wish)),
    }
}

// ---- objects that own a registration ----

fn owned(case: &Case<'_>, desired: &Desired, who: &Who, identity: &Identity) -> Plan {
    if let Some(why) = elsewhere(identity, who) {
        return stalled(Reason::OriginChanged, why);
    }
    if let Some(owner) = other_owner(case, Some(&who.origin), identity.uuid) {
        return claimed(identity.uuid, owner);
    }
    if let Some(trouble) = &case.observed.trouble {
        return hold(case, trouble);
    }
    match &case.observed.uuid {
        Sighting::NotLooked if case.observed.stale => unsure(case),
        Sighting::NotLooked => wait_for_inventory(case, true),
        Sighting::NotListed => {
            let look = Step::Look(Look::ById(identity.uuid));
            go_on(look, Reason::ExternallyDeleted, "the registration is not listed")
        }
        Sighting::Absent(absence) => missing(case, desired, who, identity, *absence),
        // The sighting answers an earlier question of this pass.
        Sighting::Present(record) if record.uuid != identity.uuid => {
            go_on(Step::Look(Look::ById(identity.uuid)), Reason::Registered, "the registration was not looked for")
        }
        Sighting::Present(record) => present(case, desired, who, identity, record),
    }
}

fn claimed(uuid: ClusterUuid, owner: &ObjectKey) -> Plan {
    stalled(
        Reason::AlreadyClaimed,
        format!("registration {uuid} belongs to RunaiCluster {owner}; remove one of the two objects"),
    )
}

fn present(case: &Case<'_>, desired: &Desired, who: &Who, identity: &Identity, record: &RemoteCluster) -> Plan {
    if let Some(why) = elsewhere(identity, &Who { tenant: Some(record.tenant), ..who.clone() }) {
        return stalled(Reason::OriginChanged, why);
    }
    if record.deleted_at.is_some() {
        return lost(case, desired, who, identity.uuid);
    }
    if desired.management == Management::Manage && !is_marked(case.recorded, identity) {
        return note(identity, record, who, Reason::Registered);
    }
    if record.is_deleting() {
        return rest(
            Reason::DeletionRequested,
            Stance::Apart,
            pace(case),
            format!(
                "somebody asked the control plane to delete registration {}; nothing is written until that has resolved",
                record.uuid
            ),
        );
    }
    if case.observed.stale {
        return unsure(case);
    }
    if desired.management == Management::Observe {
        return observing(case, record);
    }
    if desired.suspend {
        let stance = if record.name == desired.name.as_str() { Stance::InSync } else { Stance::Apart };
        let message = "spec.suspend is true: nothing is written to the control plane";
        return rest(Reason::Suspended, stance, pace(case), message);
    }
    if record.name != desired.name.as_str() {
        return rename(case, desired, record);
    }
    settled(case, desired, who, identity, record)
}

fn observing(case: &Case<'_>, record: &RemoteCluster) -> Plan {
    rest(Reason::Observed, Stance::InSync, pace(case), format!("observing registration {}", record.uuid))
}

fn settled(case: &Case<'_>, desired: &Desired, who: &Who, identity: &Identity, record: &RemoteCluster) -> Plan {
    if let Some(twin) = duplicate(case, who, identity, record) {
        return stalled(
            Reason::DuplicateRegistration,
            format!(
                "registration {twin} has the same name and domain as {} and no object owns it: a request may have been committed after \
                 --create-quarantine; delete it in the control plane if it is not wanted",
                record.uuid
            ),
        );
    }
    let domains = desired.domain.as_ref().zip(record.domain.as_ref());
    if domains.is_some_and(|(wanted, seen)| !wanted.same_as(seen)) {
        let message =
            "the registration's domain differs from spec.domain and the API cannot change it; see status.drift";
        return rest(Reason::Drifted, Stance::Apart, pace(case), message);
    }
    let why = match identity.provenance {
        Provenance::Created => Reason::Registered,
        Provenance::Adopted => Reason::Adopted,
    };
    rest(why, Stance::InSync, pace(case), format!("registration {} matches the spec", record.uuid))
}

/// Listed records wake their object; others have to be read.
fn pace(case: &Case<'_>) -> Again {
    if case.observed.unlisted { Again::After(UNLISTED_PACE) } else { Again::WhenChanged }
}

fn unsure(case: &Case<'_>) -> Plan {
    let (reason, message) = case.observed.inventory.as_ref().map_or_else(
        || (Reason::InventoryStale, "the last list of registrations is too old".to_owned()),
        |trouble| (trouble.reason, trouble.message.clone()),
    );
    let refused = matches!(reason, Reason::AuthFailed | Reason::Forbidden);
    let lasting = refused && case.memory.has_lasted(reason, case.now);
    let stance = if lasting { Stance::Stalled } else { Stance::Unsure };
    rest(reason, stance, Again::Backoff, message)
}

fn rename(case: &Case<'_>, desired: &Desired, record: &RemoteCluster) -> Plan {
    let name = desired.name.as_str();
    if case.memory.is_fighting(case.generation, case.now) {
        return stalled(
            Reason::ManagementConflict,
            format!(
                "somebody keeps renaming the registration to {:?}; it is not renamed again within the hour unless the spec changes",
                record.name
            ),
        );
    }
    let Some(taken) = case.observed.named.of(name) else {
        let look = Step::Look(Look::Names(name.to_owned()));
        return go_on(look, Reason::Renaming, "looking for the name before renaming");
    };
    match taken.iter().find(|other| other.uuid != record.uuid && other.deleted_at.is_none()) {
        Some(other) if other.is_deleting() => held(name, other),
        Some(other) => stalled(
            Reason::NameConflict,
            format!("the name {name:?} belongs to registration {}; choose another spec.name", other.uuid),
        ),
        None => {
            let step = Step::Rename(record.uuid, desired.name.clone());
            go_on(step, Reason::Renaming, format!("renaming the registration to {name:?}"))
        }
    }
}

fn held(name: &str, record: &RemoteCluster) -> Plan {
    let message = format!(
        "the name {name:?} belongs to registration {}, which is being deleted; waiting until it is gone",
        record.uuid
    );
    rest(Reason::NameHeld, Stance::Progress, Again::Backoff, message)
}

/// A registration that looks like a second one of our making: same name, same domain, nobody's.
fn duplicate(case: &Case<'_>, who: &Who, identity: &Identity, record: &RemoteCluster) -> Option<ClusterUuid> {
    if identity.provenance != Provenance::Created {
        return None;
    }
    let same_domain = |other: &RemoteCluster| match (&record.domain, &other.domain) {
        (Some(a), Some(b)) => a.same_as(b),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    let twins = case.observed.named.of(&record.name).unwrap_or_default();
    twins
        .iter()
        .filter(|other| other.uuid != record.uuid && !other.is_deleting() && other.deleted_at.is_none())
        .find(|other| same_domain(other) && case.claims.owner(Some(&who.origin), other.uuid).is_none())
        .map(|other| other.uuid)
}

fn missing(case: &Case<'_>, desired: &Desired, who: &Who, identity: &Identity, absence: Absence) -> Plan {
    let uuid = identity.uuid;
    if let Some(why) = elsewhere(identity, &Who { tenant: absence.tenant.or(who.tenant), ..who.clone() }) {
        return stalled(Reason::OriginChanged, why);
    }
    match judge(case, identity, who, absence) {
        Verdict::Gone => lost(case, desired, who, uuid),
        // Not news: what was seen when it was made stays said.
        Verdict::TooEarly(left) => {
            let message = format!("registration {uuid} was made a moment ago and is not found yet");
            rest(Reason::Registered, Stance::Quiet, Again::After(left.min(UNLISTED_PACE)), message)
        }
        Verdict::Unproven => stalled(
            Reason::AbsenceUnproven,
            format!(
                "registration {uuid} is not found, but that does not prove that it is gone: another tenant or a lost permission looks \
                 the same; restore the connection, or delete this object with spec.deletion.policy: Orphan"
            ),
        ),
    }
}

/// Somebody else deleted the registration, and that is proven.
fn lost(case: &Case<'_>, desired: &Desired, who: &Who, uuid: ClusterUuid) -> Plan {
    let wanted = desired.management == Management::Manage && !desired.suspend;
    if wanted && desired.recreate == RecreatePolicy::IfMissing {
        return register(case, desired, who, Some(uuid));
    }
    stalled(
        Reason::ExternallyDeleted,
        format!(
            "registration {uuid} was deleted by somebody else; set spec.recreatePolicy: IfMissing to register again (the agent must then \
             be reinstalled), or delete this object"
        ),
    )
}

// ---- objects that own nothing ----

fn unregistered(case: &Case<'_>, desired: &Desired, who: &Who, wish: Option<Option<ClusterUuid>>) -> Plan {
    if desired.suspend {
        let message = "spec.suspend is true: nothing is registered";
        return rest(Reason::Suspended, Stance::Apart, Again::WhenChanged, message);
    }
    match (desired.adoption.uuid, wish) {
        (Some(uuid), _) | (None, Some(Some(uuid))) => adopt(case, desired, who, uuid),
        (None, Some(None)) => stalled(
            Reason::IdentityConflict,
            "the annotations of runai-operator.io on this object cannot be read and were not written for it; remove them",
        ),
        (None, None) => register(case, desired, who, None),
    }
}

fn adoption_not_allowed(case: &Case<'_>) -> Plan {
    stalled(
        Reason::AdoptionNotAllowed,
        format!(
            "namespace {} may not adopt or observe existing registrations: the control plane's spec.adoptionNamespaces does not select \
             it; if nothing is to be adopted, remove spec.adoption and the annotations of runai-operator.io",
            case.key.namespace
        ),
    )
}

fn adopt(case: &Case<'_>, desired: &Desired, who: &Who, uuid: ClusterUuid) -> Plan {
    if !case.observed.access.may_adopt {
        return adoption_not_allowed(case);
    }
    if let Some(trouble) = &case.observed.trouble {
        return hold(case, trouble);
    }
    match &case.observed.uuid {
        Sighting::NotLooked => wait_for_inventory(case, false),
        Sighting::NotListed => go_on(Step::Look(Look::ById(uuid)), Reason::Adopted, "the registration is not listed"),
        Sighting::Present(record) if record.deleted_at.is_none() && !record.is_deleting() => {
            take(case, desired, who, record)
        }
        Sighting::Present(_) | Sighting::Absent(_) => stalled(
            Reason::AdoptionTargetMissing,
            format!("registration {uuid} does not exist or is being deleted; correct spec.adoption.uuid"),
        ),
    }
}

/// Takes over, or starts to observe, an existing registration.
fn take(case: &Case<'_>, desired: &Desired, who: &Who, record: &RemoteCluster) -> Plan {
    if let Some(owner) = other_owner(case, Some(&who.origin), record.uuid) {
        return claimed(record.uuid, owner);
    }
    let record = match read(case, record, Reason::Adopted) {
        Ok(record) => record,
        Err(plan) => return *plan,
    };
    match desired.management {
        Management::Observe => observing(case, record),
        Management::Manage => {
            let identity = identity_of(record, who, Provenance::Adopted);
            let marks = Marks { identity: Some(identity), intent: None };
            go_on(Step::Mark(marks), Reason::Adopted, "taking over the registration")
        }
    }
}

/// By name: adopt, conflict or create.
fn register(case: &Case<'_>, desired: &Desired, who: &Who, replaces: Option<ClusterUuid>) -> Plan {
    let name = desired.name.as_str();
    let existing_only =
        desired.management == Management::Observe || desired.adoption.policy == AdoptionPolicy::Required;
    if existing_only && !case.observed.access.may_adopt {
        return adoption_not_allowed(case);
    }
    if let Some(trouble) = &case.observed.trouble {
        return hold(case, trouble);
    }
    // What bears the name may be what the other object is just registering.
    if desired.management == Management::Manage
        && let Some(holder) = name_holder(case, who, name)
    {
        return stalled(
            Reason::NameConflict,
            format!("RunaiCluster {holder} is registering the name {name:?}; choose another spec.name"),
        );
    }
    let Some(records) = case.observed.named.of(name) else {
        return wait_for_inventory(case, false);
    };
    let counts = |record: &&RemoteCluster| record.deleted_at.is_none() && Some(record.uuid) != replaces;
    let records: Vec<_> = records.iter().filter(counts).collect();
    match records.as_slice() {
        [] if existing_only => stalled(
            Reason::AdoptionTargetMissing,
            format!("no registration is named exactly {name:?}; waiting until there is one"),
        ),
        [] => create::begin(case, desired, who, replaces),
        [record] if record.is_deleting() => held(name, record),
        [record] => taken(case, desired, who, record),
        several => stalled(
            Reason::CreateAmbiguous,
            format!(
                "{} registrations are named {name:?}: {}; choose one with spec.adoption.uuid",
                several.len(),
                uuids(several)
            ),
        ),
    }
}

/// Another object that is about to register `name`.
fn name_holder<'a>(case: &Case<'a>, who: &Who, name: &str) -> Option<&'a ObjectKey> {
    let claim = NameClaim { origin: who.origin.clone(), tenant: who.tenant, name: name.to_owned() };
    case.claims.name_holder(&claim).filter(|holder| *holder != case.key)
}

fn taken(case: &Case<'_>, desired: &Desired, who: &Who, record: &RemoteCluster) -> Plan {
    let (name, uuid) = (desired.name.as_str(), record.uuid);
    if let Some(owner) = other_owner(case, Some(&who.origin), uuid) {
        return stalled(
            Reason::NameConflict,
            format!(
                "the name {name:?} belongs to registration {uuid} of RunaiCluster {owner}; choose another spec.name"
            ),
        );
    }
    if desired.management == Management::Manage && desired.adoption.policy == AdoptionPolicy::Never {
        return stalled(
            Reason::NameConflict,
            format!(
                "the name {name:?} belongs to registration {uuid}, which this object does not own; choose another spec.name, or adopt it \
                 with spec.adoption.uuid: {uuid}"
            ),
        );
    }
    if !case.observed.access.may_adopt {
        return adoption_not_allowed(case);
    }
    take(case, desired, who, record)
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
