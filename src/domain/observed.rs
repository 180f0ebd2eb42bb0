//! What is seen of the control plane in one pass, and who answered.
//!
//! Owns the difference between "absent", "not seen" and "could not look". Must not know how the look was made.

use std::time::Duration;

use jiff::Timestamp;

use super::ids::{AgentVersion, ClusterDomain, ClusterUuid, CredentialId, Origin, TenantId};
use super::install::Publication;
use super::reason::Reason;

/// `status.state` of a registration. Values that are not known are kept as they come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClusterState {
    /// The agent never connected.
    WaitingToConnect,
    /// Connected, all services run.
    Connected,
    /// No communication from the cluster.
    Disconnected,
    /// Connected, but a mandatory prerequisite is missing.
    MissingPrerequisites,
    /// Connected, but one or more services do not work.
    ServiceIssues,
    /// The control plane itself does not know.
    Unknown,
    /// A value that this version does not know.
    Other(String),
}

impl ClusterState {
    /// Reads the API's spelling.
    #[must_use]
    pub fn from_api(text: &str) -> Self {
        match text {
            "WaitingToConnect" => Self::WaitingToConnect,
            "Connected" => Self::Connected,
            "Disconnected" => Self::Disconnected,
            "MissingPrerequisites" => Self::MissingPrerequisites,
            "ServiceIssues" => Self::ServiceIssues,
            "Unknown" => Self::Unknown,
            other => Self::Other(other.to_owned()),
        }
    }

    /// Whether the agent is connected; `None` where the state does not tell.
    #[must_use]
    pub const fn is_connected(&self) -> Option<bool> {
        match self {
            Self::Connected | Self::MissingPrerequisites | Self::ServiceIssues => Some(true),
            Self::WaitingToConnect | Self::Disconnected => Some(false),
            Self::Unknown | Self::Other(_) => None,
        }
    }

    /// The API's spelling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::WaitingToConnect => "WaitingToConnect",
            Self::Connected => "Connected",
            Self::Disconnected => "Disconnected",
            Self::MissingPrerequisites => "MissingPrerequisites",
            Self::ServiceIssues => "ServiceIssues",
            Self::Unknown => "Unknown",
            Self::Other(text) => text,
        }
    }
}

/// One registration as the control plane shows it, reduced to what the operator uses: about 300 bytes instead of
/// the 2 kB of a full record. Null and absent fields are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteCluster {
    /// Identity of the registration.
    pub uuid: ClusterUuid,
    /// Owner of the registration.
    pub tenant: TenantId,
    /// Name exactly as stored, also when our own rules would refuse it.
    pub name: String,
    /// Domain as stored.
    pub domain: Option<ClusterDomain>,
    /// Reported version, else requested.
    pub version: Option<String>,
    /// When the registration was made.
    pub created_at: Timestamp,
    /// Last change that the control plane counts.
    pub updated_at: Option<Timestamp>,
    /// Last sign of life of the agent.
    pub last_liveness: Option<Timestamp>,
    /// Set once a deletion was asked for.
    pub delete_requested_at: Option<Timestamp>,
    /// Set when the registration is gone.
    pub deleted_at: Option<Timestamp>,
    /// The control plane's own judgement; `None` where a reply left it out.
    pub state: Option<ClusterState>,
    /// Kubernetes distribution of the cluster.
    pub platform: Option<String>,
    /// Kubernetes version of the cluster.
    pub kubernetes_version: Option<String>,
}

impl RemoteCluster {
    /// Whether a deletion was asked for and has not resolved.
    #[must_use]
    pub const fn is_deleting(&self) -> bool {
        self.delete_requested_at.is_some() && self.deleted_at.is_none()
    }

    /// Whether the reported version is the desired one or refines it (`2.24.37` refines `2.24`).
    #[must_use]
    pub fn runs(&self, desired: &AgentVersion) -> bool {
        self.version.as_deref().is_none_or(|observed| {
            observed == desired.as_str()
                || observed.strip_prefix(desired.as_str()).is_some_and(|rest| rest.starts_with('.'))
        })
    }
}

/// Who answers: URL and credentials of the connection in use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Who {
    /// Where requests go.
    pub origin: Origin,
    /// With which credentials.
    pub credential: CredentialId,
    /// The tenant seen behind them: from listed records, else from the token. `None` when neither tells.
    pub tenant: Option<TenantId>,
}

/// Something that stands in the way of a look or a change, already in the user's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Which kind, for conditions, Events and metrics.
    pub reason: Reason,
    /// What happened and what to do. Holds no secret and no remote body beyond its JSON message.
    pub message: String,
    /// Whether only a person can end it.
    pub stalled: bool,
    /// When to come back, where that is known: the control plane's own wish, or nothing of ours was sent.
    pub retry_after: Option<Duration>,
}

/// What this object may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The connection, or why there is none at all.
    pub who: Result<Who, Trouble>,
    /// What forbids work on a live object while a deletion may still go on: the namespace is not allowed any more,
    /// or the Secret is gone while its credentials are still in memory.
    pub live: Option<Trouble>,
    /// Whether the control plane's `adoptionNamespaces` selects this namespace.
    pub may_adopt: bool,
}

/// What is known of one uuid.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[allow(clippy::large_enum_variant, reason = "one of it exists per pass")]
pub enum Sighting {
    /// Nobody looked yet.
    #[default]
    NotLooked,
    /// Seen.
    Present(RemoteCluster),
    /// A complete list does not hold it. Scope and hidden deletions look the same: this proves nothing.
    NotListed,
    /// 404 by id.
    Absent(Absence),
}

/// How well an absence is founded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    /// A list with the same token answered 200 *after* the 404, so that the token still works.
    pub listed_after: bool,
    /// The tenant that answered: from that list, else from a token obtained after the 404.
    pub tenant: Option<TenantId>,
}

/// What is known of one name.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Named {
    /// Nobody looked yet.
    #[default]
    NotLooked,
    /// From the inventory's last list: good enough to hold back, not to create.
    Snapshot(String, Vec<RemoteCluster>),
    /// From a list that started after this pass asked for it, and after it took its turn to create.
    Fresh(String, Vec<RemoteCluster>),
}

impl Named {
    /// The records that bear `name`, if somebody looked for it.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<&[RemoteCluster]> {
        match self {
            Self::Snapshot(asked, records) | Self::Fresh(asked, records) if asked == name => Some(records),
            Self::NotLooked | Self::Snapshot(..) | Self::Fresh(..) => None,
        }
    }

    /// As [`Named::of`], from a fresh list only.
    #[must_use]
    pub fn fresh(&self, name: &str) -> Option<&[RemoteCluster]> {
        match self {
            Self::Fresh(asked, records) if asked == name => Some(records),
            Self::NotLooked | Self::Snapshot(..) | Self::Fresh(..) => None,
        }
    }
}

/// Everything seen in one pass. A pass starts with what the inventory knows and adds what its own steps bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// What this object may use.
    pub access: Access,
    /// The registration the object owns or wishes for. After a step that changes which one that is (see
    /// [`super::plan::uuid_in_question`]) the shell puts in what is known of the new one, or `NotLooked`.
    pub uuid: Sighting,
    /// The registrations that bear the name in question, deleting ones included where the control plane lists them.
    pub named: Named,
    /// When the look behind a fresh `named` began, by the operator's clock.
    pub looked_at: Option<Timestamp>,
    /// The list behind `named` holds nothing at all, although another object of the same control plane owns this
    /// registration.
    pub witness: Option<ClusterUuid>,
    /// What reads by id answered since that list.
    pub reads: Vec<(ClusterUuid, Option<RemoteCluster>)>,
    /// A look or a change of this pass failed; what is known above stays known.
    pub trouble: Option<Trouble>,
    /// Why the inventory does not answer at present.
    pub inventory: Option<Trouble>,
    /// The inventory has not answered for longer than it should.
    pub stale: bool,
    /// How long the process had known the registration in question when the look behind `uuid` began.
    pub known_for: Duration,
    /// The control plane's clock.
    pub remote_now: Option<Timestamp>,
    /// The attempt whose intent this pass wrote, while its POST may still be sent.
    pub armed: Option<uuid::Uuid>,
    /// The POST of the open attempt was refused, in this pass or an earlier one.
    pub refused: Option<Trouble>,
    /// Whether the CRD itself is being deleted, if this pass looked.
    pub crd_deleting: Option<bool>,
    /// A DELETE was sent in this pass.
    pub delete_sent: bool,
    /// The registration exists but lists do not show it: a narrow scope, or a control plane that hides deleting ones.
    pub unlisted: bool,
    /// What came of publishing the install credentials; `None` if this pass did not get that far.
    pub publication: Option<Publication>,
}

impl Observed {
    /// What a read by id answered, if there was one.
    #[must_use]
    pub fn read(&self, uuid: ClusterUuid) -> Option<Option<&RemoteCluster>> {
        self.reads.iter().rev().find(|(asked, _)| *asked == uuid).map(|(_, found)| found.as_ref())
    }

    /// A pass that has seen nothing yet.
    #[must_use]
    pub const fn nothing(access: Access) -> Self {
        Self {
            access,
            uuid: Sighting::NotLooked,
            named: Named::NotLooked,
            looked_at: None,
            witness: None,
            reads: Vec::new(),
            trouble: None,
            inventory: None,
            stale: false,
            known_for: Duration::ZERO,
            remote_now: None,
            armed: None,
            refused: None,
            crd_deleting: None,
            delete_sent: false,
            unlisted: false,
            publication: None,
        }
    }
}

#[cfg(test)]
#[path = "observed_tests.rs"]
mod tests;
