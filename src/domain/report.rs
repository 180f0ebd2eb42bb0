//! What to tell the user: status facts, conditions and Events, from a plan and what it was made of.
//!
//! Owns the meaning of every condition. Must not know how status is stored. Pure and total.

use std::time::Duration;

use jiff::Timestamp;

use super::desired::{Desired, Management, ReadyWhen};
use super::ids::{ClusterUuid, Provenance, TenantId};
use super::install;
use super::memory::elapsed;
use super::observed::{ClusterState, RemoteCluster, Sighting};
use super::plan::{Again, Case, Plan, Stance, Standing, standing};
use super::reason::Reason;
use super::recorded::Intent;

/// Types of conditions, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionType {
    /// Synced, and connected where asked.
    Ready,
    /// The registration exists and matches the spec.
    Synced,
    /// What the control plane says of the agent.
    Connected,
    /// The install credentials are published. Present only where they are asked for.
    CredentialsPublished,
    /// Work in progress. Present only while true.
    Reconciling,
    /// Needs a person. Present only while true.
    Stalled,
    /// `spec.suspend`. Present only while true.
    Suspended,
}

impl ConditionType {
    /// The one spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Synced => "Synced",
            Self::Connected => "Connected",
            Self::CredentialsPublished => "CredentialsPublished",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::Suspended => "Suspended",
        }
    }
}

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionStatus {
    /// Yes.
    True,
    /// No.
    False,
    /// Cannot be said.
    Unknown,
}

impl ConditionStatus {
    /// The one spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// One condition; times and generation are the shell's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which.
    pub kind: ConditionType,
    /// Yes or no.
    pub status: ConditionStatus,
    /// A [`Reason`] or a state of the API.
    pub reason: String,
    /// For a person.
    pub message: String,
}

/// A field in which the registration differs from the spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// `name`, `domain` or `version`.
    pub field: &'static str,
    /// What the spec says.
    pub desired: String,
    /// What the control plane says; empty if nothing.
    pub observed: String,
}

/// The part of status that is not conditions.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct StatusFacts {
    /// The registration.
    pub uuid: Option<ClusterUuid>,
    /// Its tenant.
    pub tenant: Option<TenantId>,
    /// How it came to be owned.
    pub origin: Option<Provenance>,
    /// Its name.
    pub name: Option<String>,
    /// Its domain.
    pub domain: Option<String>,
    /// Its version: the agent's, or the requested one until it connects.
    pub version: Option<String>,
    /// Its state, as the API spells it.
    pub state: Option<String>,
    /// Coarse: see `livenessGranularity`.
    pub last_liveness: Option<Timestamp>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// Its last change; copied only along with another change.
    pub updated_at: Option<Timestamp>,
    /// When our DELETE was accepted.
    pub delete_requested_at: Option<Timestamp>,
    /// Kubernetes distribution.
    pub platform: Option<String>,
    /// Kubernetes version.
    pub kubernetes_version: Option<String>,
    /// Differences.
    pub drift: Vec<Drift>,
    /// The open create intent, kept here too while in doubt.
    pub intent: Option<Intent>,
    /// The Secret that holds the install credentials.
    pub install_secret: Option<String>,
}

/// What status said before this pass.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Before {
    /// The facts.
    pub facts: StatusFacts,
    /// Type, status and reason of every condition.
    pub conditions: Vec<(String, String, String)>,
}

impl Before {
    pub(super) fn condition(&self, kind: ConditionType) -> Option<(&str, &str)> {
        let found = self.conditions.iter().find(|(name, _, _)| name == kind.as_str());
        found.map(|(_, status, reason)| (status.as_str(), reason.as_str()))
    }
}

/// An Event to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventNote {
    /// Whether it is of type Warning.
    pub warning: bool,
    /// A [`Reason`] or a state of the API.
    pub reason: String,
    /// For a person.
    pub message: String,
}

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Facts.
    pub facts: StatusFacts,
    /// All conditions; those that are not here are taken out.
    pub conditions: Vec<Condition>,
    /// Transitions only.
    pub events: Vec<EventNote>,
}

/// What to say when a pass comes to rest. `None`: leave status as it is.
#[must_use]
pub fn report(case: &Case<'_>, plan: &Plan, before: &Before) -> Option<Report> {
    if plan.stance == Stance::Quiet {
        return None;
    }
    let facts = facts(case, plan, &before.facts);
    let conditions = conditions(case, plan, &facts, before);
    let mut events = events(plan, &facts, &conditions, before);
    events.extend(install::event(case, &conditions, before));
    Some(Report { facts, conditions, events })
}

/// What to say when the finalizer goes.
#[must_use]
pub fn farewell(plan: &Plan, before: &Before) -> Option<EventNote> {
    let said = before.condition(ConditionType::Synced).is_some_and(|(_, reason)| reason == plan.why.as_str());
    (!said).then(|| EventNote { warning: false, reason: plan.why.as_str().to_owned(), message: plan.message.clone() })
}

/// The failure that a pass ended with, for back-off and `reconcile_errors_total`.
#[must_use]
pub const fn trouble(plan: &Plan) -> Option<Reason> {
    match (plan.stance, plan.why) {
        (Stance::Progress, Reason::DeletionRequested) => None,
        (Stance::Progress | Stance::Unsure, why) => Some(why),
        (Stance::Stalled, Reason::AuthFailed | Reason::Forbidden | Reason::Rejected) => Some(plan.why),
        // What backs off has to count, or it comes back every second.
        (Stance::Stalled, why) if matches!(plan.again, Again::Backoff) => Some(why),
        (Stance::InSync | Stance::Stalled | Stance::Apart | Stance::Quiet, _) => None,
    }
}

// ---- facts ----

fn facts(case: &Case<'_>, plan: &Plan, before: &StatusFacts) -> StatusFacts {
    let seen = match &case.observed.uuid {
        Sighting::Present(record) => Some(record),
        Sighting::NotLooked | Sighting::NotListed | Sighting::Absent(_) => None,
    };
    let named = case.desired.as_ref().ok().and_then(|desired| {
        let records = case.observed.named.of(desired.name.as_str())?;
        let mut existing = records.iter().filter(|record| record.deleted_at.is_none());
        existing.next().filter(|_| existing.next().is_none())
    });
    let owned = match standing(case) {
        Standing::Owns(identity) => Some((identity.uuid, identity.tenant, identity.provenance)),
        // Observed registrations leave no note but status itself.
        Standing::Nothing | Standing::Wish(_) if plan.why == Reason::Observed => {
            seen.or(named).map(|record| (record.uuid, Some(record.tenant), Provenance::Adopted))
        }
        // Contradicting notes stay as they are until a person has looked.
        Standing::Conflict(_) => {
            before.uuid.map(|uuid| (uuid, before.tenant, before.origin.unwrap_or(Provenance::Adopted)))
        }
        Standing::Nothing | Standing::Wish(_) => None,
    };
    // A pass that ends with an open intent ends in doubt, whatever it calls it: an outage hides the doubt, not the POST.
    // Of an attempt that was certainly not sent there is nothing to tell.
    let open = case.recorded.intent.clone().filter(|intent| case.memory.unsent != Some(intent.attempt));
    // A Secret that was published has to be found again, whatever became of the registration.
    let install_secret = match &case.observed.publication {
        Some(publication) => publication.secret.clone(),
        None => before.install_secret.clone(),
    };
    let Some((uuid, tenant, provenance)) = owned else {
        return StatusFacts { intent: open, install_secret, ..StatusFacts::default() };
    };
    let known = if before.uuid == Some(uuid) { before.clone() } else { StatusFacts::default() };
    let fresh = match seen.or(named).filter(|record| record.uuid == uuid) {
        Some(record) => from_record(record, &known),
        None => known.clone(),
    };
    let drift = match (case.desired, seen) {
        (Ok(desired), Some(record)) if record.uuid == uuid && !case.deleting => drift(desired, record),
        (Ok(_) | Err(_), _) => Vec::new(),
    };
    let next = StatusFacts {
        uuid: Some(uuid),
        tenant,
        origin: Some(provenance),
        delete_requested_at: case.recorded.delete_requested_at,
        drift,
        intent: open,
        install_secret,
        ..fresh
    };
    with_times(case, next, &known, seen.or(named))
}

fn from_record(record: &RemoteCluster, known: &StatusFacts) -> StatusFacts {
    let text = |text: &Option<String>| text.as_deref().map(shown);
    StatusFacts {
        name: Some(shown(&record.name)),
        domain: record.domain.as_ref().map(|domain| shown(domain.as_str())),
        version: text(&record.version),
        // A reply may leave `status` out; that does not unmake what an earlier one said.
        state: record.state.as_ref().map(|state| shown(state.as_str())).or_else(|| known.state.clone()),
        platform: text(&record.platform).or_else(|| known.platform.clone()),
        kubernetes_version: text(&record.kubernetes_version).or_else(|| known.kubernetes_version.clone()),
        created_at: Some(record.created_at),
        last_liveness: known.last_liveness,
        updated_at: known.updated_at,
        ..StatusFacts::default()
    }
}

/// Text of the control plane as status shows it: what would reorder the text around it becomes visible.
fn shown(text: &str) -> String {
    let reorders = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.replace(reorders, "\u{fffd}")
}

/// `lastLiveness` and `updatedAt` move all the time: they are copied along with another change, and the former at its
/// granularity, stretched by up to a quarter per object so that objects do not write in step.
fn with_times(case: &Case<'_>, next: StatusFacts, known: &StatusFacts, seen: Option<&RemoteCluster>) -> StatusFacts {
    let Some(record) = seen else { return next };
    let due = match (known.last_liveness, record.last_liveness) {
        (None, Some(_)) => true,
        (Some(copied), Some(now)) => elapsed(copied, now) >= stretched(case.policy.liveness_granularity, record.uuid),
        (Some(_) | None, None) => false,
    };
    if due || next != *known {
        StatusFacts { last_liveness: record.last_liveness, updated_at: record.updated_at, ..next }
    } else {
        next
    }
}

/// `granularity` times a factor in 1.0 .. 1.25 that depends on the uuid alone.
#[must_use]
pub fn stretched(granularity: Duration, uuid: ClusterUuid) -> Duration {
    let spread = u32::from(uuid.0.as_bytes()[15]);
    // The granularity of a control plane that is not to be used is endless.
    granularity.saturating_add((granularity / 4).saturating_mul(spread) / 256)
}

fn drift(desired: &Desired, record: &RemoteCluster) -> Vec<Drift> {
    let mut drift = Vec::new();
    let mut push = |field, desired: &str, observed: &str| {
        drift.push(Drift { field, desired: desired.to_owned(), observed: shown(observed) });
    };
    if desired.management == Management::Manage && desired.name.as_str() != record.name {
        push("name", desired.name.as_str(), &record.name);
    }
    match (&desired.domain, &record.domain) {
        (Some(wanted), Some(seen)) if !wanted.same_as(seen) => push("domain", wanted.as_str(), seen.as_str()),
        (Some(_) | None, _) => {}
    }
    match (&desired.version, &record.version) {
        (Some(wanted), Some(seen)) if !record.runs(wanted) => push("version", wanted.as_str(), seen),
        (Some(_) | None, _) => {}
    }
    drift
}

// ---- conditions ----

fn conditions(case: &Case<'_>, plan: &Plan, facts: &StatusFacts, before: &Before) -> Vec<Condition> {
    let why = plan.why.as_str();
    let make = |kind, status, reason: &str, message: &str| Condition {
        kind,
        status,
        reason: reason.to_owned(),
        message: message.to_owned(),
    };
    let synced = match plan.stance {
        Stance::InSync => ConditionStatus::True,
        Stance::Progress | Stance::Stalled | Stance::Apart => ConditionStatus::False,
        Stance::Unsure | Stance::Quiet => ConditionStatus::Unknown,
    };
    let (connected, state) = connected(facts);
    let waits = case.desired.as_ref().is_ok_and(|desired| desired.ready_when == ReadyWhen::Connected);
    let published = install::condition(case, plan, facts, before);
    let unpublished = published.as_ref().filter(|published| published.status != ConditionStatus::True);
    let ready = if synced == ConditionStatus::True
        && let Some(missing) = unpublished
    {
        make(ConditionType::Ready, ConditionStatus::False, &missing.reason, &missing.message)
    } else if synced == ConditionStatus::True && waits && connected != ConditionStatus::True {
        make(
            ConditionType::Ready,
            ConditionStatus::False,
            &state,
            "registered; spec.readyWhen waits for the agent to connect",
        )
    } else {
        make(ConditionType::Ready, synced, why, &plan.message)
    };
    let mut all = vec![
        ready,
        make(ConditionType::Synced, synced, why, &plan.message),
        make(ConditionType::Connected, connected, &state, connected_message(facts)),
    ];
    all.extend(published);
    // In step but for the credentials: that is what is being worked on, or what needs a person.
    let short = install::shortfall(case).filter(|_| plan.stance == Stance::InSync);
    if let Some(trouble) = short {
        let kind = if trouble.stalled { ConditionType::Stalled } else { ConditionType::Reconciling };
        all.push(make(kind, ConditionStatus::True, trouble.reason.as_str(), &trouble.message));
    }
    match plan.stance {
        Stance::Progress => all.push(make(ConditionType::Reconciling, ConditionStatus::True, why, &plan.message)),
        Stance::Stalled => all.push(make(ConditionType::Stalled, ConditionStatus::True, why, &plan.message)),
        Stance::InSync | Stance::Apart | Stance::Unsure | Stance::Quiet => {}
    }
    if !case.deleting && case.desired.as_ref().is_ok_and(|desired| desired.suspend) {
        let message = "spec.suspend is true";
        all.push(make(ConditionType::Suspended, ConditionStatus::True, Reason::Suspended.as_str(), message));
    }
    all
}

/// Status and reason of `Connected`.
fn connected(facts: &StatusFacts) -> (ConditionStatus, String) {
    let status = match facts.state.as_deref().and_then(|state| ClusterState::from_api(state).is_connected()) {
        Some(true) => ConditionStatus::True,
        Some(false) => ConditionStatus::False,
        None => ConditionStatus::Unknown,
    };
    // A reason must be a CamelCase word for Kubernetes; a state from the future might not be.
    let word = |text: &&str| {
        text.len() <= 64
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric())
    };
    (status, facts.state.as_deref().filter(word).unwrap_or("Unknown").to_owned())
}

fn connected_message(facts: &StatusFacts) -> &'static str {
    match facts.state.as_deref() {
        Some("Connected") => "the agent is connected and its services run",
        Some("ServiceIssues") => "the agent is connected, but one or more services do not work",
        Some("MissingPrerequisites") => "the agent is connected, but a mandatory prerequisite is missing",
        Some("WaitingToConnect") => "the agent has not connected yet",
        Some("Disconnected") => "the control plane hears nothing from the agent",
        Some("Unknown") => "the control plane does not know the agent's state",
        Some(_) => "the control plane shows a state that this version does not know; see status.state",
        None => "nothing is known of the agent",
    }
}

// ---- events ----

fn events(plan: &Plan, facts: &StatusFacts, conditions: &[Condition], before: &Before) -> Vec<EventNote> {
    let mut events = Vec::new();
    let said = before.condition(ConditionType::Synced);
    let now = conditions.iter().find(|condition| condition.kind == ConditionType::Synced);
    let changed = now.is_some_and(|now| said != Some((now.status.as_str(), now.reason.as_str())));
    let was_unsure = said.is_some_and(|(status, _)| status == ConditionStatus::Unknown.as_str());
    // An outage of the control plane is said once, on the control plane, not on each of its objects.
    let outage = plan.stance == Stance::Unsure || (was_unsure && plan.stance == Stance::InSync);
    if changed && !outage {
        let calm = plan.stance == Stance::InSync || plan.why == Reason::DeletionRequested;
        events.push(EventNote { warning: !calm, reason: plan.why.as_str().to_owned(), message: plan.message.clone() });
    }
    if let (Some(was), Some(is)) = (&before.facts.name, &facts.name)
        && was != is
        && plan.stance == Stance::InSync
        && before.facts.uuid == facts.uuid
    {
        let message = format!("the registration is now named {is:?} instead of {was:?}");
        events.push(EventNote { warning: false, reason: Reason::Renaming.as_str().to_owned(), message });
    }
    let link = conditions.iter().find(|condition| condition.kind == ConditionType::Connected);
    if let (Some((status, reason)), Some(link)) = (before.condition(ConditionType::Connected), link)
        && before.facts.state.is_some()
        && facts.state.is_some()
        && (status, reason) != (link.status.as_str(), link.reason.as_str())
    {
        let warning = link.status != ConditionStatus::True || link.reason != "Connected";
        events.push(EventNote { warning, reason: link.reason.clone(), message: link.message.clone() });
    }
    events
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
