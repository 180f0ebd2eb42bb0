//! Install credentials: when they are read, when a Secret is written, and what is said of it.
//!
//! Owns the decision and the condition `CredentialsPublished`. Must not know what a credential looks like: the shell
//! compares contents and says only how a Secret stands.

use std::time::Duration;

use jiff::Timestamp;

use super::desired::{InstallSpec, bootstrap_name};
use super::ids::ClusterUuid;
use super::memory::elapsed;
use super::observed::{ClusterState, RemoteCluster, Trouble};
use super::plan::{Case, Plan, Stance};
use super::reason::Reason;
use super::report::{Before, Condition, ConditionStatus, ConditionType, EventNote, StatusFacts, stretched};

/// The information is read again after this long, stretched per uuid, so that a rotated secret arrives.
pub const REREAD: Duration = Duration::from_secs(3600);
/// This many writes of one object's Secrets within [`FIGHT_WINDOW`] are a fight with somebody.
pub const FIGHT_WRITES: usize = 10;
/// See [`FIGHT_WRITES`].
pub const FIGHT_WINDOW: Duration = Duration::from_secs(60);

/// How a Secret that is to hold credentials stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shelf {
    /// There is none.
    Missing,
    /// There is one of that name, and it is not the object's.
    Foreign,
    /// It does not hold what was written into it.
    Damaged,
    /// It holds what was asked for earlier: another registration, version, URL or control plane, or a token that is over.
    Outdated,
    /// What it holds is right; its name for the cluster, its labels or its annotations are not.
    Differs,
    /// It is as it should be.
    Good,
}

impl Shelf {
    /// Whether the credentials in it can be used as they are.
    const fn is_usable(self) -> bool {
        match self {
            Self::Good | Self::Differs => true,
            Self::Missing | Self::Foreign | Self::Damaged | Self::Outdated => false,
        }
    }
}

/// What an answer of this pass holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// A bootstrap token.
    pub token: bool,
}

/// Everything that the decision depends on, for an object that owns a registration and asks for its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallCase<'a> {
    /// What is asked for.
    pub asked: &'a InstallSpec,
    /// The Secret with the values. After an answer: measured against it.
    pub main: Shelf,
    /// It holds a client secret.
    pub has_secret: bool,
    /// The Secret with the bootstrap token. After an answer with a token: measured against it.
    pub bootstrap: Shelf,
    /// Half of the bootstrap token's life is over.
    pub token_due: bool,
    /// The agent has not connected yet.
    pub waiting: bool,
    /// The information is to be read again.
    pub due: bool,
    /// What this pass has read.
    pub answer: Option<Answered>,
    /// Why nothing can be read now: the last attempt failed a moment ago, or this pass's did.
    pub unread: Option<Trouble>,
    /// Somebody undoes every write.
    pub fought: bool,
}

/// What to do next about the Secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstallStep {
    /// Read the install information.
    Read,
    /// Write the Secret with the values.
    WriteMain,
    /// Write the Secret with the bootstrap token.
    WriteBootstrap,
    /// Nothing, and this is how it stands.
    Rest(Result<(), Trouble>),
}

/// What came of publishing in one pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The Secret to remember in status.
    pub secret: Option<String>,
    /// Whether it holds current values; `None` where nothing is asked for.
    pub outcome: Option<Result<(), Trouble>>,
}

/// What to do next. Pure and total.
#[must_use]
pub fn decide(case: &InstallCase<'_>) -> InstallStep {
    let name = &case.asked.secret_name;
    if case.main == Shelf::Foreign {
        return InstallStep::Rest(Err(conflict(name)));
    }
    // A token is published once a control plane gave one: where there is no client secret, or where one lies already. A
    // Secret that cannot be used says neither.
    let token_wanted = case.waiting
        && match case.answer {
            Some(answer) => answer.token,
            None => case.main.is_usable() && (!case.has_secret || is_ours(case.bootstrap)),
        };
    if token_wanted && case.bootstrap == Shelf::Foreign {
        return InstallStep::Rest(Err(conflict(&case.asked.bootstrap_name())));
    }
    let token_usable = !token_wanted || case.bootstrap.is_usable();
    let usable = case.main.is_usable() && token_usable;
    if case.answer.is_none() && (!usable || case.due || (token_wanted && case.token_due)) {
        match &case.unread {
            None => return InstallStep::Read,
            // What lies there goes on being right: a failed renewal takes nothing away.
            Some(_) if usable => {}
            Some(trouble) => return InstallStep::Rest(Err(trouble.clone())),
        }
    }
    let write = match (case.main, case.bootstrap) {
        (Shelf::Good, Shelf::Good) => None,
        (Shelf::Good, _) if !token_wanted && case.bootstrap != Shelf::Differs => None,
        (Shelf::Good, _) => Some(InstallStep::WriteBootstrap),
        (_, _) => Some(InstallStep::WriteMain),
    };
    match write {
        None => InstallStep::Rest(Ok(())),
        Some(_) if case.fought => InstallStep::Rest(Err(fight(name))),
        Some(step) => step,
    }
}

const fn is_ours(shelf: Shelf) -> bool {
    !matches!(shelf, Shelf::Missing | Shelf::Foreign)
}

fn conflict(name: &str) -> Trouble {
    Trouble {
        reason: Reason::SecretConflict,
        message: format!(
            "Secret {name} exists and does not belong to this object, so it is left alone; delete or rename it, or choose another \
             spec.installInfo.secretName"
        ),
        stalled: true,
        retry_after: None,
    }
}

/// What is said when somebody undoes every write.
#[must_use]
pub fn fight(name: &str) -> Trouble {
    Trouble {
        reason: Reason::ManagementConflict,
        message: format!(
            "somebody keeps changing or deleting Secret {name} (or the one for its bootstrap token); it is written again in a \
             minute: find out who by its managedFields, and stop that"
        ),
        stalled: false,
        retry_after: Some(FIGHT_WINDOW),
    }
}

/// The version to ask for: the spec's, else the one that the control plane shows.
///
/// # Errors
/// When neither says one.
pub fn version<'a>(spec: Option<&'a str>, record: &'a RemoteCluster) -> Result<&'a str, Trouble> {
    spec.or(record.version.as_deref()).ok_or_else(|| {
        invalid("spec.installInfo needs the agent's version, and the control plane shows none: set spec.version, such as 2.24")
    })
}

/// Why an object that only observes gets no credentials.
#[must_use]
pub fn observes() -> Trouble {
    invalid(
        "install credentials are published only for a registration that the object owns: remove spec.installInfo, or set \
         spec.managementPolicy: Manage",
    )
}

fn invalid(message: &str) -> Trouble {
    Trouble { reason: Reason::InvalidSpec, message: message.to_owned(), stalled: true, retry_after: None }
}

/// Whether the agent has not connected yet.
#[must_use]
pub fn is_waiting(record: &RemoteCluster) -> bool {
    record.state == Some(ClusterState::WaitingToConnect)
}

/// How long information that was read at `read_at` may be used from `now` on. Zero: it is to be read again.
#[must_use]
pub fn fresh_for(uuid: ClusterUuid, read_at: Timestamp, now: Timestamp) -> Duration {
    stretched(REREAD, uuid).saturating_sub(elapsed(read_at, now))
}

/// How long a token may be used before half of its life is over. Zero: there is to be another.
#[must_use]
pub fn token_age(issued: Timestamp, expires: Timestamp, now: Timestamp) -> Duration {
    (elapsed(issued, expires) / 2).saturating_sub(elapsed(issued, now))
}

/// The last attempt to read, where it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// How long until another one may be made.
    pub left: Duration,
    /// The spec is still the one that it was made for.
    pub same_spec: bool,
}

/// What decides when the information is read: spans, as the shell has measured them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The Secret holds a client secret.
    pub has_secret: bool,
    /// The agent has not connected yet.
    pub waiting: bool,
    /// A person asked for a read, and none was tried since.
    pub requested: bool,
    /// How long what was read may still be used, see [`fresh_for`].
    pub fresh: Duration,
    /// How long the bootstrap token may, see [`token_age`]; `None`: it does not say.
    pub token: Option<Duration>,
    /// See [`Failed`].
    pub failed: Option<Failed>,
}

impl Timing {
    /// A client secret may be rotated, and an agent that waits needs a token that is good: only these grow old.
    const fn grows_old(&self) -> bool {
        self.has_secret || self.waiting
    }

    /// Whether the information is to be read again although the Secrets are in order. What failed is still to be done.
    #[must_use]
    pub const fn is_due(&self) -> bool {
        self.requested || (self.grows_old() && (self.fresh.is_zero() || self.failed.is_some()))
    }

    /// Whether there is to be another bootstrap token. One that does not say how long it is good lasts as long as the rest.
    #[must_use]
    pub fn is_token_due(&self) -> bool {
        self.token.unwrap_or(self.fresh).is_zero()
    }

    /// Whether nothing may be read for now: an attempt failed a moment ago, for this very spec, and nobody asks for another.
    #[must_use]
    pub fn holds_back(&self) -> bool {
        !self.requested && self.failed.is_some_and(|failed| failed.same_spec && !failed.left.is_zero())
    }

    /// When to look again at Secrets that are left as they are. Where they are not `published` only a failed read has a
    /// time of its own: else the trouble says, or the back-off. A failure that is over says nothing: it would lead from pass
    /// to pass without a pause.
    #[must_use]
    pub fn next_look(&self, published: bool) -> Option<Duration> {
        let pause = self.failed.map(|failed| failed.left).filter(|left| !left.is_zero());
        let token = self.token.filter(|_| self.waiting);
        let old = token.map_or(self.fresh, |token| token.min(self.fresh));
        pause.or((published && self.grows_old()).then_some(old))
    }
}

/// The names of the object's Secrets that must go, of those that are known: everything but what is asked for.
#[must_use]
pub fn left_over(asked: Option<&InstallSpec>, told: Option<&str>, known: Vec<String>) -> Vec<String> {
    let wanted = asked.map(|asked| [asked.secret_name.clone(), asked.bootstrap_name()]).unwrap_or_default();
    let told = told.into_iter().flat_map(|name| [name.to_owned(), bootstrap_name(name)]);
    let mut names: Vec<_> = known.into_iter().chain(told).filter(|name| !wanted.contains(name)).collect();
    names.sort();
    names.dedup();
    names
}

// ---- what is said ----

/// Why the credentials are not published although the pass got that far.
pub(super) fn shortfall<'a>(case: &Case<'a>) -> Option<&'a Trouble> {
    case.observed.publication.as_ref()?.outcome.as_ref()?.as_ref().err()
}

/// The condition `CredentialsPublished`, where credentials are asked for.
pub(super) fn condition(case: &Case<'_>, plan: &Plan, facts: &StatusFacts, before: &Before) -> Option<Condition> {
    let asked = case.desired.as_ref().ok()?.install.as_ref()?;
    let kind = ConditionType::CredentialsPublished;
    let published = || Condition {
        kind,
        status: ConditionStatus::True,
        reason: Reason::CredentialsPublished.as_str().to_owned(),
        message: format!("Secret {} holds the install credentials", asked.secret_name),
    };
    let missing = |reason: Reason, message: String| Condition {
        kind,
        status: ConditionStatus::False,
        reason: reason.as_str().to_owned(),
        message,
    };
    let outcome = case.observed.publication.as_ref().and_then(|publication| publication.outcome.as_ref());
    Some(match outcome {
        Some(Ok(())) => published(),
        Some(Err(trouble)) => missing(trouble.reason, trouble.message.clone()),
        None => {
            // An outage or a deletion under way does not unmake what was published; a registration that is lost does.
            let was = before.condition(kind).is_some_and(|(status, _)| status == ConditionStatus::True.as_str());
            let same = before.facts.uuid == facts.uuid && facts.install_secret.as_ref() == Some(&asked.secret_name);
            if was && same && plan.stance != Stance::Stalled {
                published()
            } else {
                let message = "the install credentials are published once the registration is in step; a Secret that was \
                               published before stays as it is";
                missing(plan.why, message.to_owned())
            }
        }
    })
}

/// One Event when the credentials come to be published, or when that fails.
pub(super) fn event(case: &Case<'_>, conditions: &[Condition], before: &Before) -> Option<EventNote> {
    case.observed.publication.as_ref()?.outcome.as_ref()?;
    let now = conditions.iter().find(|condition| condition.kind == ConditionType::CredentialsPublished)?;
    let said = before.condition(ConditionType::CredentialsPublished);
    (said != Some((now.status.as_str(), now.reason.as_str()))).then(|| EventNote {
        warning: now.status != ConditionStatus::True,
        reason: now.reason.clone(),
        message: now.message.clone(),
    })
}

#[cfg(test)]
#[path = "install_tests.rs"]
mod tests;
