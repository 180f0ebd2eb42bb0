//! Everything that changes while the simulator runs, behind one lock, and the commit of a change.
//!
//! Owns the order in which time, pending commits and requests act on records. Must not know HTTP.

use std::collections::HashMap;
use std::sync::Arc;

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::agent::Agent;
use crate::auth::Auth;
use crate::bootstrap::BootstrapTokens;
use crate::change::Change;
use crate::clock::{Clock, after, seconds};
use crate::config::{Config, UniqueNames};
use crate::fault::{FaultAction, FaultBook};
use crate::journal::Journal;
use crate::profile::Capabilities;
use crate::record::{ClusterState, Deletion, Record};
use crate::report::AgentReport;
use crate::store::Store;
use crate::tls::TlsKeeper;

/// The whole simulator but its sockets.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: Arc<Config>,
    pub(crate) caps: Capabilities,
    pub(crate) clock: Clock,
    pub(crate) store: Store,
    pub(crate) auth: Auth,
    pub(crate) bootstrap: BootstrapTokens,
    pub(crate) faults: FaultBook,
    pub(crate) journal: Journal,
    pub(crate) rng: Rng,
    pub(crate) buckets: HashMap<String, Bucket>,
    pub(crate) public_url: String,
    pub(crate) tls: Option<Arc<TlsKeeper>>,
    pending: Vec<Pending>,
}

/// A change whose answer is lost already.
#[derive(Debug)]
struct Pending {
    due: Timestamp,
    seq: u64,
    change: Change,
}

/// Permits of one identity.
#[derive(Debug)]
pub(crate) struct Bucket {
    permits: f64,
    at: Timestamp,
}

impl State {
    pub(crate) fn new(config: Config, tls: Option<Arc<TlsKeeper>>) -> Self {
        let mut rng = Rng::with_seed(config.seed);
        Self {
            caps: Capabilities::of(config.profile, &config.capabilities),
            clock: Clock::new(config.clock, config.clock_start),
            store: Store::default(),
            auth: Auth::new(&mut rng),
            bootstrap: BootstrapTokens::default(),
            faults: FaultBook::default(),
            journal: Journal::new(config.journal_capacity),
            rng,
            buckets: HashMap::new(),
            public_url: String::new(),
            tls,
            pending: Vec::new(),
            config: Arc::new(config),
        }
    }

    pub(crate) fn set_config(&mut self, config: Config) {
        self.caps = Capabilities::of(config.profile, &config.capabilities);
        self.journal.set_capacity(config.journal_capacity);
        if config.seed != self.config.seed {
            self.rng = Rng::with_seed(config.seed);
        }
        self.clock.set_mode(config.clock);
        if let Some(start) = config.clock_start.filter(|_| config.clock_start != self.config.clock_start) {
            self.clock.rebase(start);
        }
        self.config = Arc::new(config);
    }

    /// The present, with everything done that time alone brings about. Call before looking at anything.
    pub(crate) fn tick(&mut self) -> Timestamp {
        let now = self.clock.now();
        let config = Arc::clone(&self.config);
        self.pending.sort_by_key(|pending| (pending.due, pending.seq));
        while self.pending.first().is_some_and(|first| first.due <= now) {
            let Pending { due, seq, change } = self.pending.remove(0);
            self.store.settle(due, &config);
            self.commit(&change, seq, due);
        }
        self.store.settle(now, &config);
        now
    }

    pub(crate) fn postpone(&mut self, change: Change, seq: u64, by: SignedDuration) {
        let due = after(self.clock.now(), by);
        self.pending.push(Pending { due, seq, change });
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn forget_pending(&mut self) {
        self.pending.clear();
    }

    pub(crate) fn uuid(&mut self) -> Uuid {
        let mut bytes = [0; 16];
        self.rng.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    pub(crate) fn client_secret(&mut self) -> String {
        std::iter::repeat_with(|| self.rng.alphanumeric()).take(32).collect()
    }

    /// A record as a create makes it, not yet in the store.
    pub(crate) fn new_record(&mut self, tenant_id: i32, name: &str, now: Timestamp) -> Record {
        Record {
            uuid: self.uuid(),
            tenant_id,
            name: name.to_owned(),
            domain: None,
            requested_version: None,
            created_at: now,
            updated_at: None,
            delete_requested_at: None,
            deleted_at: None,
            agent: None,
            last_liveness: None,
            reported_version: None,
            client_secret: self.client_secret(),
            forced_state: None,
            deletion: Deletion::default(),
            seen_state: ClusterState::WaitingToConnect,
            runs: Vec::new(),
        }
    }

    /// An agent for the record that starts at `at`, with a healthy report.
    pub(crate) fn new_agent(&self, record: &Record, at: Timestamp) -> Agent {
        let configured = self.config.agent.version.as_deref().or(record.requested_version.as_deref());
        let version = configured.unwrap_or(self.config.profile.agent_version());
        Agent::starting(at, version.to_owned(), AgentReport::healthy(at).into())
    }

    /// Gives the record its automatic agent, if there is such a thing.
    pub(crate) fn auto_start(&self, record: &mut Record) {
        if let Some(delay) = self.config.agent.auto_start_seconds {
            let start = after(record.created_at, seconds(delay));
            record.agent = Some(self.new_agent(record, start));
        }
    }

    /// Takes a permit, or says after how many seconds there will be one.
    pub(crate) fn take_permit(&mut self, client_id: &str, now: Timestamp) -> Result<(), u32> {
        let limits = &self.config.limits;
        if limits.rps <= 0.0 {
            return Ok(());
        }
        let most = limits.burst.max(1.0);
        let fresh = Bucket { permits: most, at: now };
        let bucket = self.buckets.entry(client_id.to_owned()).or_insert(fresh);
        let gained = now.duration_since(bucket.at).as_secs_f64().max(0.0) * limits.rps;
        bucket.permits = (bucket.permits + gained).min(most);
        bucket.at = now;
        if bucket.permits >= 1.0 {
            bucket.permits -= 1.0;
            return Ok(());
        }
        let wait = ((1.0 - bucket.permits) / limits.rps).ceil().clamp(1.0, 3600.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 1..=3600")]
        Err(wait as u32)
    }

    /// Carries out an action that needs no request; `uuid` is the cluster in the path, if any.
    pub(crate) fn apply(&mut self, action: &FaultAction, uuid: Option<Uuid>) {
        let now = self.tick();
        let config = Arc::clone(&self.config);
        match action {
            FaultAction::TokenRevoke { identity, phase: _ } => self.auth.revoke(identity.as_deref()),
            FaultAction::SwapTenant { identity, tenant_id, old_tokens } => {
                self.auth.swap_tenant(&config, identity.as_deref(), *tenant_id, *old_tokens);
            }
            FaultAction::PermissionLoss { identity, actions } => {
                self.auth.lose(&config, identity.as_deref(), actions);
            }
            FaultAction::ClockSkew { seconds: skew } => self.clock.set_skew(seconds(*skew)),
            FaultAction::AgentPause { uuid: named } => {
                self.each_agent(named.or(uuid), now, |agent| {
                    agent.pause(now, seconds(config.agent.heartbeat_seconds));
                });
            }
            FaultAction::AgentFlap { uuid: named, period_seconds } => {
                self.each_agent(named.or(uuid), now, |agent| agent.set_flap(seconds(*period_seconds)));
            }
            FaultAction::TlsRotate { new_ca } => {
                if let Some(tls) = &self.tls {
                    tls.rotate(*new_ca);
                }
            }
            FaultAction::StuckDelete | FaultAction::SlowDelete { .. } | FaultAction::DeleteFailed { .. } => {
                if let Some(uuid) = uuid {
                    self.store.edit(uuid, now, |record| record.deletion.obey(action));
                }
            }
            // These only mean something for the request they fired for.
            FaultAction::Status { .. }
            | FaultAction::Reset { .. }
            | FaultAction::Hang { .. }
            | FaultAction::Latency { .. }
            | FaultAction::Garbage { .. }
            | FaultAction::Truncate { .. }
            | FaultAction::Throttle { .. }
            | FaultAction::Redirect { .. }
            | FaultAction::LateCommit { .. }
            | FaultAction::TokenShort { .. }
            | FaultAction::UnknownEnum { .. }
            | FaultAction::WrongUuid { .. }
            | FaultAction::Stale { .. }
            | FaultAction::Duplicate => {}
        }
    }

    fn each_agent(&mut self, only: Option<Uuid>, now: Timestamp, change: impl Fn(&mut Agent)) {
        let ids = only.map_or_else(|| self.store.live_ids(), |uuid| vec![uuid]);
        for uuid in ids {
            self.store.edit(uuid, now, |record| {
                record.account_live_time(now);
                if let Some(agent) = &mut record.agent {
                    change(agent);
                }
            });
        }
    }

    pub(crate) fn names_are_unique(&self) -> bool {
        self.config.names.unique != UniqueNames::Off
    }
}

impl Deletion {
    /// Takes on a fault of graceful deletion; others are ignored.
    pub(crate) fn obey(&mut self, action: &FaultAction) {
        match action {
            FaultAction::StuckDelete => self.stuck = true,
            FaultAction::SlowDelete { factor } => self.factor = *factor,
            FaultAction::DeleteFailed { after_seconds } => self.fail_after = Some(*after_seconds),
            _ => {}
        }
    }
}
