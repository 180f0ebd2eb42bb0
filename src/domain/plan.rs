//! The decision: one step at a time, from what is asked for, written down and seen.
//!
//! Owns the types of a decision and the rules that live and dying objects share. `live` holds the table for live
//! objects, `create` the create protocol, `remove` the delete protocol, `proof` what an absence says,
//! `standing` what an object may call its own. Pure and total.

mod create;
mod live;
mod proof;
mod remove;
mod standing;

pub use create::{Fate, fate};
pub use standing::claimed;
pub(super) use standing::{Standing, standing};

use proof::{READ_LAG, Verdict, judge};

use std::time::Duration;

use jiff::Timestamp;

use super::claims::{Claims, ObjectKey};
use super::desired::{Deletion, DeletionPolicy, Desired, Management, SpecError};
use super::ids::{AgentVersion, ClusterDomain, ClusterName, ClusterUuid, Origin, Provenance};
use super::memory::Memory;
use super::observed::{Observed, RemoteCluster, Sighting, Trouble, Who};
use super::reason::Reason;
use super::recorded::{Annotated, Identity, Intent, Recorded};

/// One object in one moment: everything a decision may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Which object.
    pub key: &'a ObjectKey,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// The parsed spec.
    pub desired: &'a Result<Desired, SpecError>,
    /// The part of the spec that cleanup needs, read leniently.
    pub deletion: &'a Deletion,
    /// What is written on the object.
    pub recorded: &'a Recorded,
    /// What the process remembers.
    pub memory: &'a Memory,
    /// What this pass has seen.
    pub observed: &'a Observed,
    /// Who owns what.
    pub claims: &'a Claims,
    /// The operator's settings.
    pub policy: &'a Policy,
    /// The operator's clock.
    pub now: Timestamp,
    /// Randomness for a new attempt id.
    pub nonce: uuid::Uuid,
}

/// Settings of the operator that decisions depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long after the intent a POST of unknown fate may still be committed.
    pub quarantine: Duration,
    /// What to do with created registrations whose object does not say. `None`: delete them.
    pub default_deletion: Option<DeletionPolicy>,
    /// How coarse `lastLiveness` is copied.
    pub liveness_granularity: Duration,
}

/// The next step and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What to do.
    pub step: Step,
    /// Why, in one word.
    pub why: Reason,
    /// Why, for a person. Holds nothing that changes from pass to pass.
    pub message: String,
    /// How the object stands while this is so.
    pub stance: Stance,
    /// When to look again at the latest.
    pub again: Again,
}

/// A step. All but `Look` and `Rest` write something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "one of it exists per pass")]
pub enum Step {
    /// Find something out, then plan again.
    Look(Look),
    /// Make the object's metadata say this, compare-and-swap, then plan again.
    Mark(Marks),
    /// Take what is no longer so out of status, then plan again.
    Forget(Stale),
    /// Send the one POST that the intent on the object speaks of.
    Create(NewCluster),
    /// Change the registration's name.
    Rename(ClusterUuid, ClusterName),
    /// Ask for the registration's deletion.
    Delete {
        /// Which one.
        uuid: ClusterUuid,
        /// Instantly, without the agent's cleanup.
        force: bool,
    },
    /// Take the finalizer off.
    Release,
    /// Nothing to do now.
    Rest,
}

/// What status says though it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// The uuid of a lost registration.
    Registration,
    /// The copy of an attempt that has ended.
    Attempt,
}

/// A question to the outside world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Take a turn to create, then list all registrations and pick those with this exact name.
    Names(String),
    /// Read one registration by id; after a 404 list once more.
    ById(ClusterUuid),
    /// Read by id what so far only a list speaks of, or wrongly does not.
    Read(ClusterUuid),
    /// Read the CRD.
    Crd,
}

/// What the object's metadata shall say: the whole of it, as far as it is ours.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Marks {
    /// The identity annotations.
    pub identity: Option<Identity>,
    /// The create intent.
    pub intent: Option<Intent>,
}

/// Body of a POST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCluster {
    /// Name.
    pub name: ClusterName,
    /// URL or host.
    pub domain: Option<ClusterDomain>,
    /// Desired agent version.
    pub version: Option<AgentVersion>,
}

/// How an object stands; decides the conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// The registration exists and matches.
    InSync,
    /// Work in progress, or a failure that will pass.
    Progress,
    /// Needs a person.
    Stalled,
    /// Not as asked, nothing is being done, nothing can be done from here.
    Apart,
    /// The last answer is too old to say.
    Unsure,
    /// Nothing new: leave status as it is.
    Quiet,
}

/// When to look again at the latest; changes wake an object earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Only when something changes.
    WhenChanged,
    /// After this long.
    After(Duration),
    /// After the object's own back-off.
    Backoff,
}

/// What to do next. Pure and total.
#[must_use]
pub fn plan(case: &Case<'_>) -> Plan {
    if case.deleting { remove::plan(case) } else { live::plan(case) }
}

/// The uuid that a pass over this object has to know about.
#[must_use]
pub fn uuid_in_question(case: &Case<'_>) -> Option<ClusterUuid> {
    match standing(case) {
        Standing::Owns(identity) => Some(identity.uuid),
        Standing::Wish(wish) => asked_uuid(case).or(wish),
        Standing::Nothing => asked_uuid(case),
        Standing::Conflict(_) => None,
    }
}

/// The open attempt. One whose registration is known is not open any more, even where its intent is still noted.
#[must_use]
pub fn open_attempt<'a>(case: &Case<'a>) -> Option<&'a Intent> {
    let owns = matches!(standing(case), Standing::Owns(_));
    case.recorded.intent.as_ref().filter(|_| !owns)
}

/// The refusal that answered the open attempt in an earlier pass: this pass begins with it.
#[must_use]
pub fn remembered_refusal<'a>(case: &Case<'a>) -> Option<&'a Trouble> {
    let open = open_attempt(case)?;
    case.memory.refused.as_ref().filter(|(attempt, _)| *attempt == open.attempt).map(|(_, refusal)| refusal)
}

/// The name that a pass over this object has to know about: the open attempt's, else the desired one.
#[must_use]
pub fn name_in_question<'a>(case: &Case<'a>) -> Option<&'a str> {
    match (open_attempt(case), case.desired) {
        (Some(intent), _) => Some(&intent.name),
        (None, Ok(desired)) => Some(desired.name.as_str()),
        (None, Err(_)) => None,
    }
}

/// The registration that the object owns, as this pass has seen it; `None` while either is in question. What an object
/// merely observes is not its own.
#[must_use]
pub fn owned<'a>(case: &Case<'a>) -> Option<&'a RemoteCluster> {
    let manages = case.desired.as_ref().is_ok_and(|desired| desired.management == Management::Manage);
    match (standing(case), &case.observed.uuid) {
        (Standing::Owns(identity), Sighting::Present(record)) if manages && !case.deleting => {
            let live = record.delete_requested_at.is_none() && record.deleted_at.is_none();
            (record.uuid == identity.uuid && live && is_marked(case.recorded, &identity)).then_some(record)
        }
        (_, _) => None,
    }
}

/// The open attempt that this pass looked for after its quarantine, if it found nothing (see [`Memory::looked_in_vain`]).
#[must_use]
pub fn looked_in_vain(case: &Case<'_>) -> Option<uuid::Uuid> {
    create::looked_in_vain(case)
}

/// Whether a look for the name may lead to a POST, so that the right to send one is taken first.
#[must_use]
pub fn may_create(case: &Case<'_>) -> bool {
    create::may_create(case)
}

/// What to do about a registration that could not be noted, since the object is gone by now. `None`: it stays.
#[must_use]
pub fn clean_up(case: &Case<'_>, made: &Identity) -> Option<Plan> {
    remove::clean_up(case, made)
}

/// The registration of an object that is deleted although our finalizer was on it.
#[must_use]
pub fn left_behind(case: &Case<'_>) -> Option<Identity> {
    remove::left_behind(case)
}

fn asked_uuid(case: &Case<'_>) -> Option<ClusterUuid> {
    case.desired.as_ref().ok().and_then(|desired| desired.adoption.uuid)
}

/// The control plane object now leads somewhere else than where the registration was seen.
fn elsewhere(identity: &Identity, who: &Who) -> Option<String> {
    let way_out = "restore the connection, or set spec.deletion.policy: Orphan and delete the object";
    match &identity.origin {
        Some(origin) if *origin != who.origin => {
            return Some(format!(
                "registration {} was seen at {origin}, the control plane is now {}; {way_out}",
                identity.uuid, who.origin
            ));
        }
        Some(_) | None => {}
    }
    match (identity.tenant, who.tenant) {
        (Some(seen), Some(now)) if seen != now => Some(format!(
            "registration {} was seen in tenant {seen}, the credentials now belong to tenant {now}; {way_out}",
            identity.uuid
        )),
        (Some(_) | None, _) => None,
    }
}

/// Another object that owns `uuid` of that server.
fn other_owner<'a>(case: &Case<'a>, origin: Option<&Origin>, uuid: ClusterUuid) -> Option<&'a ObjectKey> {
    case.claims.owner(origin, uuid).filter(|owner| *owner != case.key)
}

/// What a read by id says of a registration that a list shows, or how to get there. Nothing is taken for an object's own
/// on the word of a list: one that mixes uuids up would hand out registrations that are another's, or nobody's.
fn read<'a>(case: &Case<'a>, listed: &RemoteCluster, why: Reason) -> Result<&'a RemoteCluster, Box<Plan>> {
    let uuid = listed.uuid;
    match case.observed.read(uuid) {
        None => Err(Box::new(go_on(Step::Look(Look::Read(uuid)), why, "only a list shows the registration so far"))),
        Some(Some(record)) if record.name == listed.name => Ok(record),
        Some(_) => Err(Box::new(rest(
            Reason::Undecodable,
            Stance::Progress,
            Again::Backoff,
            format!(
                "the control plane lists registration {uuid} as {:?}, but a read by id says otherwise; waiting until both agree",
                listed.name
            ),
        ))),
    }
}

/// Whether the object's metadata already says that it owns `identity` and nothing else.
fn is_marked(recorded: &Recorded, identity: &Identity) -> bool {
    let annotated = matches!(&recorded.annotated, Annotated::Fits(noted) if noted.uuid == identity.uuid);
    let open = recorded.intent.is_some() || recorded.intent_annotated || recorded.foreign_intent;
    recorded.finalizer && annotated && !recorded.incomplete && !open
}

/// The identity that results from seeing `record` through `who`.
fn identity_of(record: &RemoteCluster, who: &Who, provenance: Provenance) -> Identity {
    Identity {
        uuid: record.uuid,
        provenance,
        tenant: Some(record.tenant),
        origin: Some(who.origin.clone()),
        credential: Some(who.credential.clone()),
        created: Some(record.created_at),
    }
}

/// The uuids of these records, for a message: a control plane may list thousands.
fn uuids(records: &[&RemoteCluster]) -> String {
    const SHOWN: usize = 10;
    let some: Vec<_> = records.iter().take(SHOWN).map(|record| record.uuid.to_string()).collect();
    let more = records.len().saturating_sub(SHOWN);
    if more == 0 { some.join(", ") } else { format!("{} and {more} more", some.join(", ")) }
}

/// Writes the identity to the object, with the parts that status does not keep.
fn note(identity: &Identity, record: &RemoteCluster, who: &Who, why: Reason) -> Plan {
    let whole = Identity {
        origin: identity.origin.clone().or_else(|| Some(who.origin.clone())),
        credential: identity.credential.clone().or_else(|| Some(who.credential.clone())),
        ..identity_of(record, who, identity.provenance)
    };
    go_on(Step::Mark(Marks { identity: Some(whole), intent: None }), why, "noting the identity")
}

fn deletion_policy(case: &Case<'_>, provenance: Provenance) -> DeletionPolicy {
    case.deletion.policy.unwrap_or(match (case.deletion.management, provenance) {
        (Management::Observe, _) | (_, Provenance::Adopted) => DeletionPolicy::Orphan,
        (Management::Manage, Provenance::Created) => case.policy.default_deletion.unwrap_or(DeletionPolicy::Delete),
    })
}

/// A step that goes on within the pass.
fn go_on(step: Step, why: Reason, message: impl Into<String>) -> Plan {
    Plan { step, why, message: message.into(), stance: Stance::Progress, again: Again::Backoff }
}

/// The end of a pass.
fn rest(why: Reason, stance: Stance, again: Again, message: impl Into<String>) -> Plan {
    Plan { step: Step::Rest, why, message: message.into(), stance, again }
}

/// The end of a pass that needs a person. Looked at again from time to time all the same.
fn stalled(why: Reason, message: impl Into<String>) -> Plan {
    rest(why, Stance::Stalled, Again::After(super::schedule::LONGEST_DELAY), message)
}

/// The end of a pass that something stood in the way of.
fn hold(case: &Case<'_>, trouble: &Trouble) -> Plan {
    if trouble.reason == Reason::DeletionThrottled {
        // Said once, on the control plane: a status write per object would be a storm of its own.
        let wait = trouble.retry_after.unwrap_or(super::schedule::FIRST_DELAY);
        return rest(trouble.reason, Stance::Quiet, Again::After(wait), trouble.message.clone());
    }
    let lasting = match trouble.reason {
        Reason::AuthFailed | Reason::Forbidden => case.memory.has_lasted(trouble.reason, case.now),
        _ => trouble.stalled,
    };
    let stance = if lasting { Stance::Stalled } else { Stance::Progress };
    let again = trouble.retry_after.map_or(Again::Backoff, Again::After);
    rest(trouble.reason, stance, again, trouble.message.clone())
}

/// The inventory has not answered yet. Says why if it fails; says nothing while it is merely early.
fn wait_for_inventory(case: &Case<'_>, owns: bool) -> Plan {
    match &case.observed.inventory {
        Some(trouble) if !owns || case.observed.stale => hold(case, trouble),
        Some(_) | None => {
            rest(Reason::InventoryStale, Stance::Quiet, Again::Backoff, "waiting for the first list of registrations")
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
