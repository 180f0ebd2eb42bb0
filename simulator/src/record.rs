//! One registration: its fields, its state and the progress of its deletion, derived from the clock.
//!
//! Owns the phase machine of a record. Must not know other records, requests or JSON.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::agent::{Agent, AgentPhase};
use crate::clock::{after, seconds};
use crate::config::{Config, DisconnectedPolicy};
use crate::report::Operand;

/// Runs of agents that a record remembers.
const RUNS: usize = 100;

/// State of a cluster as the API shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterState {
    /// Never connected.
    WaitingToConnect,
    /// All is well.
    Connected,
    /// Silent for too long.
    Disconnected,
    /// A required dependency is missing.
    MissingPrerequisites,
    /// A service does not work.
    ServiceIssues,
    /// Its report cannot be read.
    Unknown,
}

impl ClusterState {
    /// The spelling of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WaitingToConnect => "WaitingToConnect",
            Self::Connected => "Connected",
            Self::Disconnected => "Disconnected",
            Self::MissingPrerequisites => "MissingPrerequisites",
            Self::ServiceIssues => "ServiceIssues",
            Self::Unknown => "Unknown",
        }
    }
}

/// A registration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) uuid: Uuid,
    pub(crate) tenant_id: i32,
    pub(crate) name: String,
    pub(crate) domain: Option<String>,
    pub(crate) requested_version: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Option<Timestamp>,
    pub(crate) delete_requested_at: Option<Timestamp>,
    pub(crate) deleted_at: Option<Timestamp>,
    pub(crate) agent: Option<Agent>,
    /// Set by the control API, or left behind by an agent that was removed.
    pub(crate) last_liveness: Option<Timestamp>,
    pub(crate) reported_version: Option<String>,
    pub(crate) client_secret: String,
    pub(crate) forced_state: Option<String>,
    pub(crate) deletion: Deletion,
    /// The state that was shown last: a change moves `updated_at`.
    pub(crate) seen_state: ClusterState,
    /// When its agents were alive, but for the present run.
    #[serde(default)]
    pub(crate) runs: Vec<(Timestamp, Timestamp)>,
}

/// How a graceful deletion goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Deletion {
    /// Multiplies the time it takes.
    pub(crate) factor: f64,
    /// Never completes.
    pub(crate) stuck: bool,
    /// Fails after this much live time.
    pub(crate) fail_after: Option<f64>,
    pub(crate) failed: bool,
    /// Live time before the agent's last change.
    pub(crate) live_before: SignedDuration,
    /// From when on live time of the present run counts.
    pub(crate) counted_until: Option<Timestamp>,
}

impl Default for Deletion {
    fn default() -> Self {
        Self {
            factor: 1.0,
            stuck: false,
            fail_after: None,
            failed: false,
            live_before: SignedDuration::ZERO,
            counted_until: None,
        }
    }
}

impl Record {
    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted_at.is_some()
    }

    pub(crate) fn is_deleting(&self) -> bool {
        self.delete_requested_at.is_some() && self.deleted_at.is_none()
    }

    pub(crate) fn last_liveness(&self, now: Timestamp, config: &Config) -> Option<Timestamp> {
        let now = self.deleted_at.map_or(now, |deleted| deleted.min(now));
        let beat = self.agent.as_ref().and_then(|agent| agent.last_beat(now, seconds(config.agent.heartbeat_seconds)));
        beat.max(self.last_liveness)
    }

    /// Reported if an agent was ever heard, else requested.
    pub(crate) fn version(&self, now: Timestamp, config: &Config) -> Option<&str> {
        let reported = self.heard_agent(now, config).map(|agent| agent.version.as_str());
        reported.or(self.reported_version.as_deref()).or(self.requested_version.as_deref())
    }

    pub(crate) fn domain<'a>(&'a self, now: Timestamp, config: &'a Config) -> Option<&'a str> {
        let reported = self
            .heard_agent(now, config)
            .and_then(|agent| agent.domain.as_deref().or(config.agent.reports_domain.as_deref()));
        reported.or(self.domain.as_deref())
    }

    /// The agent, once at least one of its beats was heard.
    pub(crate) fn heard_agent(&self, now: Timestamp, config: &Config) -> Option<&Agent> {
        let beat = seconds(config.agent.heartbeat_seconds);
        self.agent.as_ref().filter(|agent| agent.last_beat(now, beat).is_some())
    }

    /// First match wins: never heard, silent, unreadable, prerequisites, services, connected.
    pub(crate) fn derived_state(&self, now: Timestamp, config: &Config) -> ClusterState {
        let Some(liveness) = self.last_liveness(now, config) else {
            return ClusterState::WaitingToConnect;
        };
        if now.duration_since(liveness) > seconds(config.agent.stale_seconds) {
            return ClusterState::Disconnected;
        }
        match self.agent.as_ref() {
            None => ClusterState::Connected,
            Some(agent) if agent.unreadable => ClusterState::Unknown,
            Some(agent) if agent.report.misses_prerequisites() => ClusterState::MissingPrerequisites,
            Some(agent) if agent.report.has_service_issues() => ClusterState::ServiceIssues,
            Some(_) => ClusterState::Connected,
        }
    }

    /// Notes the state about to be shown, and moves `updated_at` when it differs from the last one shown.
    pub(crate) fn observe(&mut self, now: Timestamp, config: &Config) -> ClusterState {
        let state = self.derived_state(now, config);
        if state != self.seen_state {
            self.seen_state = state;
            self.touch(now);
        }
        state
    }

    /// Moves `updated_at`, never backwards.
    pub(crate) fn touch(&mut self, now: Timestamp) {
        self.updated_at = Some(self.updated_at.unwrap_or(self.created_at).max(now));
    }

    pub(crate) fn request_deletion(&mut self, now: Timestamp) {
        if self.delete_requested_at.is_none() {
            self.delete_requested_at = Some(now.max(self.created_at));
            self.deletion.counted_until = self.delete_requested_at;
        }
    }

    /// Deletes, not before anything else that it shows.
    pub(crate) fn delete(&mut self, at: Timestamp) {
        let before = self.created_at.max(self.updated_at.unwrap_or(at)).max(self.delete_requested_at.unwrap_or(at));
        self.deleted_at = Some(at.max(before));
    }

    /// Takes a new secret: an agent that has the old one is not heard any more.
    pub(crate) fn change_secret(&mut self, secret: String, now: Timestamp, config: &Config) {
        if secret == self.client_secret {
            return;
        }
        self.client_secret = secret;
        self.account_live_time(now);
        if let Some(agent) = self.agent.as_mut().filter(|agent| agent.phase(now) != AgentPhase::Installing) {
            agent.reject(now, seconds(config.agent.heartbeat_seconds));
        }
    }

    /// Whether an agent of it was alive at `at`.
    pub(crate) fn was_live(&self, at: Timestamp, now: Timestamp) -> bool {
        let until = self.deleted_at.map_or(now, |deleted| deleted.min(now));
        let run = |(from, to): &(Timestamp, Timestamp)| *from <= at && at < *to;
        self.runs.iter().any(run) || (at <= until && self.agent.as_ref().is_some_and(|agent| agent.was_live(at)))
    }

    /// Books the present run: call before any change of the agent.
    pub(crate) fn account_live_time(&mut self, now: Timestamp) {
        if let Some(since) = self.agent.as_ref().and_then(Agent::heard_since).filter(|since| *since < now) {
            match self.runs.last_mut() {
                Some(last) if last.0 == since => last.1 = now,
                _ => self.runs.push((since, now)),
            }
            if self.runs.len() > RUNS {
                self.runs.remove(0);
            }
        }
        let Some(from) = self.deletion.counted_until else { return };
        let live = self.agent.as_ref().map_or(SignedDuration::ZERO, |agent| agent.live_between(from, now));
        self.deletion.live_before = self.deletion.live_before.saturating_add(live);
        self.deletion.counted_until = Some(from.max(now));
    }

    /// Whether `settle` would change anything: a cheap test before a copy is made.
    pub(crate) fn settles(&self, now: Timestamp, config: &Config) -> Option<Settlement> {
        if !self.is_deleting() || self.deletion.failed {
            return None;
        }
        let requested = self.delete_requested_at?;
        let live = self.agent.as_ref().is_some_and(|agent| agent.is_running(now));
        let policy = config.delete.disconnected_policy;
        if policy == DisconnectedPolicy::Fail && !live {
            return Some(Settlement::Failed);
        }
        let spent = match policy {
            DisconnectedPolicy::Complete => now.duration_since(requested),
            DisconnectedPolicy::Wait | DisconnectedPolicy::Fail => self.live_time(now),
        };
        if self.deletion.fail_after.is_some_and(|limit| spent >= seconds(limit)) {
            return Some(Settlement::Failed);
        }
        let factor = self.deletion.factor * config.delete.slow_factor;
        let excess = spent.saturating_sub(seconds(config.delete.graceful_seconds * factor));
        let done = !self.deletion.stuck && !config.delete.stuck && !excess.is_negative();
        done.then(|| Settlement::Deleted(after(now, -excess).max(requested)))
    }

    /// Carries out what `settles` found.
    pub(crate) fn settle(&mut self, settlement: Settlement) {
        match settlement {
            Settlement::Deleted(at) => self.delete(at),
            Settlement::Failed => {
                self.deletion.failed = true;
                if let Some(agent) = &mut self.agent {
                    let mut report = agent.report.report().clone();
                    let failure = Operand {
                        ready: false,
                        reasons: vec!["removal of the agent did not finish".to_owned()],
                        unready_threshold_crossed: true,
                    };
                    report.operands.insert("cluster-removal".to_owned(), failure);
                    agent.report = report.into();
                }
            }
        }
    }

    fn live_time(&self, now: Timestamp) -> SignedDuration {
        let from = self.deletion.counted_until.unwrap_or(now);
        let present = self.agent.as_ref().map_or(SignedDuration::ZERO, |agent| agent.live_between(from, now));
        self.deletion.live_before.saturating_add(present)
    }
}

/// A change that came by the clock alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// The graceful deletion completed at this time.
    Deleted(Timestamp),
    /// The graceful deletion failed.
    Failed,
}
