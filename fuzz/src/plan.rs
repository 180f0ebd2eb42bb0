//! The decision and the report over any case: they never panic, and what they write is founded.
//!
//! Owns the properties that must hold without a history. What needs one is in `tests/properties.rs` and `tests/model`.

use runai_cluster_operator::domain::plan::{Stale, looked_in_vain, name_in_question, uuid_in_question};
use runai_cluster_operator::domain::report::{farewell, trouble};
use runai_cluster_operator::domain::{
    Annotated, Case, ClusterUuid, ConditionStatus, ConditionType, DeletionPolicy, Management, Marks, Plan, Reason,
    Report, Sighting, Stance, Step, plan as decide, report,
};

use super::case::Owned;

/// The API server refuses longer messages of conditions.
const LONGEST_MESSAGE: usize = 32_768;
/// The API server refuses annotations of more than 256 KiB in all.
const LONGEST_NOTE: usize = 128 * 1024;

pub fn plan(data: &[u8]) {
    let owned = Owned::draw(data);
    let case = owned.case();
    let plan = decide(&case);
    assert_eq!(plan, decide(&case), "the same case, the same plan");
    assert!(!plan.message.is_empty() && plan.message.len() < LONGEST_MESSAGE, "{} bytes", plan.message.len());
    let _ = (looked_in_vain(&case), name_in_question(&case), uuid_in_question(&case), trouble(&plan));
    if let Err(why) = founded(&case, &plan) {
        panic!("{why}\n{plan:?}\n{owned:#?}");
    }
    if let Some(report) = report::report(&case, &plan, &owned.before) {
        check_report(&plan, &report);
    }
    if let Some(note) = farewell(&plan, &owned.before) {
        assert!(!note.reason.is_empty());
    }
}

/// Whether a step that writes something has what it needs.
fn founded(case: &Case<'_>, plan: &Plan) -> Result<(), &'static str> {
    match &plan.step {
        Step::Look(_) | Step::Rest => Ok(()),
        Step::Mark(marks) => mark(case, marks),
        Step::Forget(Stale::Attempt) => need(case.recorded.intent_told, "only what status holds is taken out of it"),
        Step::Forget(Stale::Registration) => {
            need(case.recorded.intent.is_some() && !case.deleting, "only a new attempt forgets a lost registration")
        }
        Step::Create(new) => {
            live(case)?;
            let intent = case.recorded.intent.as_ref().ok_or("no POST without an intent")?;
            need(case.observed.armed == Some(intent.attempt), "no POST without an armed intent")?;
            need(case.observed.refused.is_none(), "no POST after a refusal")?;
            need(new.name.as_str() == intent.name, "a POST bears the name of its intent")
        }
        Step::Rename(uuid, name) => {
            live(case)?;
            owns(case, *uuid)?;
            need(case.desired.as_ref().is_ok_and(|desired| desired.name == *name), "the name is that of the spec")?;
            let taken = case.observed.named.of(name.as_str()).ok_or("no rename without a look")?;
            let free = taken.iter().all(|record| record.uuid == *uuid || record.deleted_at.is_some());
            need(free, "no rename to a taken name")
        }
        Step::Delete { uuid, .. } => {
            need(case.deleting && case.recorded.finalizer, "only for a dying object")?;
            need(case.deletion.management == Management::Manage, "not under Observe")?;
            need(case.deletion.policy != Some(DeletionPolicy::Orphan), "not under Orphan")?;
            need(case.observed.crd_deleting == Some(false), "not while the kind may be going")?;
            need(case.observed.access.who.is_ok(), "not without a connection")?;
            owns(case, *uuid)
        }
        Step::Release => release(case, plan),
    }
}

fn need(holds: bool, why: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(why) }
}

/// What every write for a live object needs.
fn live(case: &Case<'_>) -> Result<(), &'static str> {
    let desired = case.desired.as_ref().map_err(|_| "nothing is written for a spec that cannot be read")?;
    need(!case.deleting, "not for a dying object")?;
    need(desired.management == Management::Manage, "not under Observe")?;
    need(!desired.suspend, "not under suspend")?;
    need(case.observed.access.who.is_ok() && case.observed.access.live.is_none(), "not without access")
}

/// Some note names the registration, none another one, and no other object has the better claim.
fn owns(case: &Case<'_>, uuid: ClusterUuid) -> Result<(), &'static str> {
    let replaced = case.recorded.intent.as_ref().and_then(|intent| intent.replaces);
    let annotated = match &case.recorded.annotated {
        Annotated::Fits(identity) => Some(identity),
        Annotated::Nothing | Annotated::Misfit(_) => None,
    };
    let notes = [case.memory.learned.as_ref(), annotated, case.recorded.status.as_ref()];
    let named: Vec<_> = notes.into_iter().flatten().map(|note| note.uuid).filter(|u| Some(*u) != replaced).collect();
    need(named.contains(&uuid), "the object does not own it")?;
    need(named.iter().all(|other| *other == uuid), "its notes name two")?;
    let here = case.observed.access.who.as_ref().ok().map(|who| &who.origin);
    need(case.claims.owner(here, uuid).is_none_or(|owner| owner == case.key), "another object owns it")
}

fn mark(case: &Case<'_>, marks: &Marks) -> Result<(), &'static str> {
    need(marks.identity.is_none() || marks.intent.is_none(), "an identity ends the intent")?;
    if let Some(identity) = &marks.identity {
        let record = |record: &&runai_cluster_operator::domain::RemoteCluster| record.uuid == identity.uuid;
        let known = matches!(&case.observed.uuid, Sighting::Present(seen) if record(&seen))
            && owns(case, identity.uuid).is_ok();
        let read = case.observed.read(identity.uuid).flatten();
        need(known || read.is_some(), "only what a read by id or an answer showed is noted")?;
        let owner = case.claims.owner(identity.origin.as_ref(), identity.uuid);
        need(owner.is_none_or(|owner| owner == case.key), "another object owns it")?;
        need(identity.origin.is_some() && identity.credential.is_some() && identity.tenant.is_some(), "a whole note")?;
    }
    if let Some(intent) = &marks.intent {
        live(case)?;
        let records = case.observed.named.fresh(&intent.name).ok_or("no intent without a fresh look")?;
        let taken = records.iter().any(|record| record.deleted_at.is_none() && Some(record.uuid) != intent.replaces);
        need(!taken, "no intent for a taken name")?;
        need(intent.seen.len() * 39 < LONGEST_NOTE, "an annotation has room for the intent")?;
    }
    Ok(())
}

fn release(case: &Case<'_>, plan: &Plan) -> Result<(), &'static str> {
    need(case.deleting && case.recorded.finalizer, "only a dying object is let go")?;
    if plan.why == Reason::Orphaned {
        let stays = case.deletion.management == Management::Observe
            || case.deletion.policy == Some(DeletionPolicy::Orphan)
            || case.deletion.policy.is_none()
            || case.observed.crd_deleting == Some(true)
            || plan.message.contains("belongs to RunaiCluster");
        return need(stays, "only a policy, a better claim or an uninstall leaves a registration");
    }
    let notes = case.recorded.status.is_some()
        || case.memory.learned.is_some()
        || matches!(case.recorded.annotated, Annotated::Fits(_));
    let proven = match &case.observed.uuid {
        Sighting::Present(record) => record.deleted_at.is_some(),
        Sighting::Absent(absence) => absence.listed_after,
        Sighting::NotLooked | Sighting::NotListed => false,
    };
    let unsent = case.recorded.intent.as_ref().is_none_or(|intent| {
        case.memory.unsent == Some(intent.attempt)
            || case.memory.empty_look.is_some() && case.observed.named.fresh(&intent.name).is_some()
    });
    // An intent that replaces a lost registration takes its notes out.
    let nothing = !notes || case.recorded.intent.as_ref().is_some_and(|intent| intent.replaces.is_some());
    need(proven || (nothing && unsent), "no release without proof")
}

fn check_report(plan: &Plan, report: &Report) {
    let has = |kind| report.conditions.iter().any(|condition| condition.kind == kind);
    assert!([ConditionType::Ready, ConditionType::Synced, ConditionType::Connected].into_iter().all(has));
    assert!(!(has(ConditionType::Stalled) && has(ConditionType::Reconciling)), "never both: {report:?}");
    assert_eq!(has(ConditionType::Stalled), plan.stance == Stance::Stalled);
    for condition in &report.conditions {
        let word = condition.reason.starts_with(|c: char| c.is_ascii_alphabetic())
            && condition.reason.len() <= 64
            && condition.reason.chars().all(|c| c.is_ascii_alphanumeric());
        assert!(word, "a reason is a word: {condition:?}");
        assert!(condition.message.len() < LONGEST_MESSAGE, "{} bytes", condition.message.len());
        let ready = condition.kind == ConditionType::Ready && condition.status == ConditionStatus::True;
        assert!(!ready || plan.stance == Stance::InSync, "Ready only in step: {plan:?}");
    }
    let mut kinds: Vec<_> = report.conditions.iter().map(|condition| condition.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), report.conditions.len(), "each type once");
    assert!(report.events.len() <= 3, "{:?}", report.events);
}
