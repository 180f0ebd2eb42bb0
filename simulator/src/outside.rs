//! What others do to the control plane behind a client's back: people in the web interface, agents, time.
//!
//! Owns the effects of the control API on records. Must not know HTTP.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::agent::AgentPhase;
use crate::config::Config;
use crate::fault::FaultBook;
use crate::journal::Journal;
use crate::record::Record;
use crate::render;
use crate::state::State;
use crate::store::Store;

/// Why something could not be done from outside.
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    /// No record has this uuid.
    #[error("no cluster {0}")]
    Unknown(Uuid),
    /// The record is deleted: its agent is a zombie.
    #[error("cluster {0} is deleted")]
    Deleted(Uuid),
    /// The command needs an agent.
    #[error("cluster {0} has no agent")]
    NoAgent(Uuid),
    /// A record with this uuid exists.
    #[error("cluster {0} exists already")]
    Taken(Uuid),
    /// A snapshot that cannot be written or read.
    #[error("snapshot: {0}")]
    Snapshot(#[from] serde_json::Error),
}

/// A record as an outsider sees it, secrets included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterView {
    /// Id.
    pub uuid: Uuid,
    /// Tenant.
    pub tenant_id: i32,
    /// Name.
    pub name: String,
    /// Domain as shown.
    pub domain: Option<String>,
    /// Version as shown.
    pub version: Option<String>,
    /// State as shown.
    pub state: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was changed.
    pub updated_at: Option<Timestamp>,
    /// Last beat heard.
    pub last_liveness: Option<Timestamp>,
    /// When its deletion was requested.
    pub delete_requested_at: Option<Timestamp>,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
    /// What its agent does; `None` without an agent.
    pub agent: Option<AgentPhase>,
    /// Secret of its agent.
    pub client_secret: String,
}

/// A record made out of band.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SeedCluster {
    /// Absent means a new one.
    pub uuid: Option<Uuid>,
    /// Absent means the first tenant.
    pub tenant_id: Option<i32>,
    /// Name; not checked.
    pub name: String,
    /// Domain; not checked.
    pub domain: Option<String>,
    /// Requested version; not checked.
    pub version: Option<String>,
    /// Absent means now.
    pub created_at: Option<Timestamp>,
    /// Its deletion was requested at this time.
    pub delete_requested_at: Option<Timestamp>,
    /// With a running agent, so that it is connected at once.
    pub connected: bool,
}

impl SeedCluster {
    /// A record with this name and nothing else.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// With a running agent.
    #[must_use]
    pub fn connected(self) -> Self {
        Self { connected: true, ..self }
    }
}

/// Fields of a record to change; absent ones stay.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RecordPatch {
    /// Rename.
    pub name: Option<String>,
    /// Another domain; an empty text takes it away.
    pub domain: Option<String>,
    /// Another requested version; an empty text takes it away.
    pub version: Option<String>,
    /// Shows this state, whatever is true; an empty text ends that.
    pub force_state: Option<String>,
    /// Another tenant.
    pub tenant_id: Option<i32>,
    /// Another secret.
    pub client_secret: Option<String>,
    /// Another creation time.
    pub created_at: Option<Timestamp>,
    /// Another time of change.
    pub updated_at: Option<Timestamp>,
    /// Another last beat; only beats after it are heard then.
    pub last_liveness: Option<Timestamp>,
    /// Its deletion was requested at this time.
    pub delete_requested_at: Option<Timestamp>,
    /// It was deleted at this time.
    pub deleted_at: Option<Timestamp>,
    /// Its graceful deletion never completes, or does again.
    pub stuck_delete: Option<bool>,
    /// Its graceful deletion takes so many times longer.
    pub slow_delete: Option<f64>,
}

/// What a snapshot keeps.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot {
    now: Timestamp,
    config: Config,
    records: Vec<Record>,
}

impl State {
    pub(crate) fn views(&mut self) -> Vec<ClusterView> {
        let now = self.tick();
        self.store.all().into_iter().map(|record| self.view_of(record, now)).collect()
    }

    pub(crate) fn view(&mut self, uuid: Uuid) -> Option<ClusterView> {
        let now = self.tick();
        self.store.get(uuid).map(|record| self.view_of(record, now))
    }

    pub(crate) fn views_named(&mut self, name: &str) -> Vec<ClusterView> {
        let now = self.tick();
        self.store.live_with_name(name).into_iter().map(|record| self.view_of(record, now)).collect()
    }

    fn view_of(&self, record: &Record, now: Timestamp) -> ClusterView {
        let config = &self.config;
        ClusterView {
            uuid: record.uuid,
            tenant_id: record.tenant_id,
            name: record.name.clone(),
            domain: record.domain(now, config).map(str::to_owned),
            version: record.version(now, config).map(str::to_owned),
            state: render::shown_state(record, record.derived_state(now, config)).to_owned(),
            created_at: record.created_at,
            updated_at: record.updated_at,
            last_liveness: record.last_liveness(now, config),
            delete_requested_at: record.delete_requested_at,
            deleted_at: record.deleted_at,
            agent: record.agent.as_ref().map(|agent| agent.phase(now)),
            client_secret: record.client_secret.clone(),
        }
    }

    pub(crate) fn seed(&mut self, cluster: SeedCluster) -> Result<Uuid, OutsideError> {
        let now = self.tick();
        let SeedCluster { uuid, tenant_id, name, domain, version, created_at, delete_requested_at, connected } =
            cluster;
        let first = self.config.tenants.first().map_or(1001, |tenant| tenant.id);
        let mut record = self.new_record(tenant_id.unwrap_or(first), &name, created_at.unwrap_or(now));
        record.uuid = uuid.unwrap_or(record.uuid);
        if self.store.get(record.uuid).is_some() {
            return Err(OutsideError::Taken(record.uuid));
        }
        record.domain = domain;
        record.requested_version = version;
        self.auto_start(&mut record);
        if connected {
            record.agent = Some(self.new_agent(&record, record.created_at));
        }
        if let Some(at) = delete_requested_at {
            record.request_deletion(at);
        }
        let uuid = record.uuid;
        self.store.insert(record, now);
        Ok(uuid)
    }

    pub(crate) fn remove(&mut self, uuid: Uuid) -> Result<(), OutsideError> {
        let now = self.living(uuid)?;
        self.store.edit(uuid, now, |record| record.delete(now));
        Ok(())
    }

    pub(crate) fn patch(&mut self, uuid: Uuid, patch: RecordPatch) -> Result<(), OutsideError> {
        let now = self.tick();
        let RecordPatch {
            name,
            domain,
            version,
            force_state,
            tenant_id,
            client_secret,
            created_at,
            updated_at,
            last_liveness,
            delete_requested_at,
            deleted_at,
            stuck_delete,
            slow_delete,
        } = patch;
        let config = Arc::clone(&self.config);
        let filled = |text: String| Some(text).filter(|text| !text.is_empty());
        let edited = self.store.edit(uuid, now, |record| {
            if let Some(name) = name {
                record.name = name;
                record.touch(now);
            }
            if let Some(domain) = domain {
                record.domain = filled(domain);
            }
            if let Some(version) = version {
                record.requested_version = filled(version);
            }
            if let Some(state) = force_state {
                record.forced_state = filled(state);
            }
            record.tenant_id = tenant_id.unwrap_or(record.tenant_id);
            if let Some(secret) = client_secret {
                record.change_secret(secret, now, &config);
            }
            record.created_at = created_at.unwrap_or(record.created_at);
            record.updated_at = updated_at.or(record.updated_at);
            record.last_liveness = last_liveness.or(record.last_liveness);
            if let Some(at) = delete_requested_at {
                record.request_deletion(at);
            }
            record.deleted_at = deleted_at.or(record.deleted_at);
            record.deletion.stuck = stuck_delete.unwrap_or(record.deletion.stuck);
            record.deletion.factor = slow_delete.unwrap_or(record.deletion.factor);
        });
        edited.ok_or(OutsideError::Unknown(uuid))
    }

    /// The present, if the record is there and not deleted.
    pub(crate) fn living(&mut self, uuid: Uuid) -> Result<Timestamp, OutsideError> {
        let now = self.tick();
        match self.store.get(uuid) {
            None => Err(OutsideError::Unknown(uuid)),
            Some(record) if record.is_deleted() => Err(OutsideError::Deleted(uuid)),
            Some(_) => Ok(now),
        }
    }

    pub(crate) fn snapshot(&mut self) -> Result<Value, OutsideError> {
        let now = self.tick();
        let records = self.store.all().into_iter().cloned().collect();
        Ok(serde_json::to_value(Snapshot { now, config: self.config.as_ref().clone(), records })?)
    }

    pub(crate) fn restore(&mut self, snapshot: Value) -> Result<(), OutsideError> {
        let Snapshot { now, config, records } = serde_json::from_value(snapshot)?;
        self.set_config(config);
        self.clock.rebase(now);
        self.store = Store::from_records(records);
        self.forget_pending();
        Ok(())
    }

    pub(crate) fn reset(&mut self) {
        self.store = Store::default();
        self.forget_pending();
        self.auth = crate::auth::Auth::new(&mut self.rng);
        self.bootstrap = crate::bootstrap::BootstrapTokens::default();
        self.faults = FaultBook::default();
        self.journal = Journal::new(self.config.journal_capacity);
        self.buckets.clear();
    }
}
