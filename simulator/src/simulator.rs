//! The simulator as a value: start it, look into it, disturb it, stop it.
//!
//! Owns the runtime, both listeners and the typed face of everything that can be done from outside.
//! Must not know how anything is done: each method takes the lock and hands on.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use uuid::Uuid;

use crate::agent_command::AgentCommand;
use crate::config::{Config, ConfigError, UniqueNames};
use crate::control;
use crate::fault::{FaultAction, FaultRule};
use crate::journal::{Counters, JournalEntry};
use crate::outside::{ClusterView, OutsideError, RecordPatch, SeedCluster};
use crate::pipeline::Shared;
use crate::server;
use crate::state::State;
use crate::tls::{TlsError, TlsKeeper};

/// Why the simulator did not start or did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// A socket or thread could not be had.
    #[error("simulator cannot start: {0}")]
    Io(#[from] std::io::Error),
    /// Certificates could not be made.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The control API has no authentication.
    #[error("the control API has no authentication: {0} is not a loopback address")]
    Exposed(SocketAddr),
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The request was about something that is not there.
    #[error(transparent)]
    Outside(#[from] OutsideError),
}

/// Where to listen; port 0 takes a free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// The public API.
    pub public: SocketAddr,
    /// The control API.
    pub control: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { public: free, control: free }
    }
}

/// A running control plane. Dropping it stops it.
///
/// It has threads of its own, so all methods may be called from synchronous and asynchronous code alike;
/// none of them waits for anything but a short lock, except [`Simulator::shutdown`] and [`Simulator::until`].
#[derive(Debug)]
pub struct Simulator {
    shared: Arc<Shared>,
    url: String,
    control_url: String,
    closing: watch::Sender<bool>,
    ended: mpsc::Receiver<()>,
    runtime: Option<Runtime>,
}

impl Simulator {
    /// Starts on free ports of the loopback interface.
    ///
    /// # Errors
    /// When sockets, threads or certificates cannot be had.
    pub fn start(config: Config) -> Result<Self, SimulatorError> {
        Self::start_on(config, Listen::default())
    }

    /// Starts on given addresses.
    ///
    /// # Errors
    /// When sockets, threads or certificates cannot be had.
    pub fn start_on(config: Config, listen: Listen) -> Result<Self, SimulatorError> {
        if !listen.control.ip().is_loopback() {
            return Err(SimulatorError::Exposed(listen.control));
        }
        let own = config.server_certificate.as_ref();
        let tls = if config.tls.enabled { Some(Arc::new(TlsKeeper::new(own)?)) } else { None };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("runai-simulator")
            .enable_all()
            .build()?;
        let bind = async move { Ok::<_, std::io::Error>((bind(listen.public).await?, bind(listen.control).await?)) };
        // Not `block_on`, which panics when the caller is asynchronous code.
        let (public, control) = on_runtime(&runtime, bind)??;
        let url = format!("{scheme}://{}", public.local_addr()?);
        let control_url = format!("http://{}", control.local_addr()?);

        let mut state = State::new(config, tls);
        state.public_url.clone_from(&url);
        let shared = Arc::new(Shared::new(state));
        let (closing, watcher) = watch::channel(false);
        let alive = Arc::new(());
        let tasks = {
            let accept = server::accept(public, Arc::clone(&shared), watcher.clone(), Arc::clone(&alive));
            let serve = control::serve(control, Arc::clone(&shared), watcher);
            async move { tokio::join!(accept, serve) }
        };
        let (end, ended) = mpsc::channel();
        runtime.spawn(async move {
            tasks.await;
            // Connection tasks hold the other references.
            while Arc::strong_count(&alive) > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // The receiver is gone if nobody waits for the end.
            let _ = end.send(());
        });
        Ok(Self { shared, url, control_url, closing, ended, runtime: Some(runtime) })
    }

    /// Stops within two seconds; replies under way may finish in the first one.
    pub fn shutdown(mut self) {
        self.closing.send_replace(true);
        // An error means a time-out or that the task is gone: stop hard in both cases.
        let _ = self.ended.recv_timeout(Duration::from_millis(1500));
        self.stop();
    }

    fn stop(&mut self) {
        self.closing.send_replace(true);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Base URL of the public API, such as `http://127.0.0.1:41234`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Base URL of the control API.
    #[must_use]
    pub fn control_url(&self) -> &str {
        &self.control_url
    }

    /// PEM of the private CA behind the public port; `None` without TLS. With a `serverCertificate` it is only behind
    /// what `TlsRotate` makes.
    #[must_use]
    pub fn ca_pem(&self) -> Option<String> {
        self.shared.state().tls.as_ref().map(|tls| tls.ca_pem())
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Config {
        self.shared.state().config.as_ref().clone()
    }

    /// Replaces the configuration; `tls` and `server_certificate` keep their effect from the start.
    pub fn set_config(&self, config: Config) {
        self.shared.state().set_config(config);
    }

    /// Changes the configuration in place.
    pub fn configure(&self, change: impl FnOnce(&mut Config)) {
        let mut state = self.shared.state();
        let mut config = state.config.as_ref().clone();
        change(&mut config);
        state.set_config(config);
    }

    /// The present of the virtual clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.state().tick()
    }

    /// Moves the virtual clock forward, also when it is a real one.
    pub fn advance(&self, by: Duration) {
        let mut state = self.shared.state();
        state.clock.advance(SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX));
        state.tick();
    }

    /// Sets how far the server's clock is off; may go back.
    pub fn set_clock_skew(&self, skew: SignedDuration) {
        self.shared.state().clock.set_skew(skew);
    }

    /// Adds a fault rule at the end and returns its id.
    pub fn add_fault(&self, rule: FaultRule) -> String {
        self.shared.state().faults.add(rule)
    }

    /// Removes a fault rule; false if there is none with this id.
    pub fn remove_fault(&self, id: &str) -> bool {
        self.shared.state().faults.remove(id)
    }

    /// Removes all fault rules.
    pub fn clear_faults(&self) {
        self.shared.state().faults.clear();
    }

    /// Rules and how often each fired.
    #[must_use]
    pub fn faults(&self) -> Vec<(FaultRule, u64)> {
        self.shared.state().faults.list()
    }

    /// Carries out at once an action that needs no request: `TokenRevoke`, `SwapTenant`, `PermissionLoss`,
    /// `ClockSkew`, `AgentPause`, `AgentFlap`, `TlsRotate`. Others do nothing.
    pub fn apply(&self, action: &FaultAction) {
        self.shared.state().apply(action, None);
    }

    /// Every journal entry that is still kept.
    #[must_use]
    pub fn journal(&self) -> Vec<JournalEntry> {
        self.journal_since(0)
    }

    /// Journal entries after `seq`.
    #[must_use]
    pub fn journal_since(&self, seq: u64) -> Vec<JournalEntry> {
        let mut state = self.shared.state();
        state.tick();
        state.journal.since(seq)
    }

    /// The last sequence number given, 0 before the first request.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.shared.state().journal.last_seq()
    }

    /// Forgets entries and counters.
    pub fn clear_journal(&self) {
        self.shared.state().journal.clear();
    }

    /// Counters since start or the last clearing.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut state = self.shared.state();
        state.tick();
        state.journal.counters()
    }

    /// All records of all tenants by creation time, deleted ones included.
    #[must_use]
    pub fn clusters(&self) -> Vec<ClusterView> {
        self.shared.state().views()
    }

    /// Records that are not deleted (those being deleted are).
    #[must_use]
    pub fn live_clusters(&self) -> Vec<ClusterView> {
        self.clusters().into_iter().filter(|cluster| cluster.deleted_at.is_none()).collect()
    }

    /// One record, deleted or not.
    #[must_use]
    pub fn cluster(&self, uuid: Uuid) -> Option<ClusterView> {
        self.shared.state().view(uuid)
    }

    /// Live records with exactly this name, in any tenant.
    #[must_use]
    pub fn clusters_named(&self, name: &str) -> Vec<ClusterView> {
        self.shared.state().views_named(name)
    }

    /// Commits that are still to come because of `LateCommit` faults.
    #[must_use]
    pub fn pending_commits(&self) -> usize {
        let mut state = self.shared.state();
        state.tick();
        state.pending()
    }

    /// Makes a record as somebody else would have. Uniqueness of names is not checked.
    ///
    /// # Errors
    /// When the uuid is taken.
    pub fn seed(&self, cluster: SeedCluster) -> Result<Uuid, OutsideError> {
        self.shared.state().seed(cluster)
    }

    /// Removes a record out of band: it is deleted at once, as by another client.
    ///
    /// # Errors
    /// When there is no such live record.
    pub fn remove(&self, uuid: Uuid) -> Result<(), OutsideError> {
        self.shared.state().remove(uuid)
    }

    /// Renames a record out of band. Uniqueness of names is not checked.
    ///
    /// # Errors
    /// When there is no such live record.
    pub fn rename(&self, uuid: Uuid, name: &str) -> Result<(), OutsideError> {
        self.patch(uuid, RecordPatch { name: Some(name.to_owned()), ..RecordPatch::default() })
    }

    /// Changes fields of a record out of band.
    ///
    /// # Errors
    /// When there is no such record.
    pub fn patch(&self, uuid: Uuid, patch: RecordPatch) -> Result<(), OutsideError> {
        self.shared.state().patch(uuid, patch)
    }

    /// Commands the agent of a cluster.
    ///
    /// # Errors
    /// When there is no such live record, or no agent for a command that needs one.
    pub fn agent(&self, uuid: Uuid, command: AgentCommand) -> Result<(), OutsideError> {
        self.shared.state().command(uuid, command)
    }

    /// Everything worth keeping, for [`Simulator::restore`].
    ///
    /// # Errors
    /// When a record cannot be written as JSON, which has no known cause.
    pub fn snapshot(&self) -> Result<Value, OutsideError> {
        self.shared.state().snapshot()
    }

    /// Puts records, configuration and clock back. Tokens, faults and the journal stay as they are.
    ///
    /// # Errors
    /// When the snapshot cannot be read; nothing is changed then.
    pub fn restore(&self, snapshot: Value) -> Result<(), OutsideError> {
        self.shared.state().restore(snapshot)
    }

    /// Back to an empty control plane with the present configuration: no records, tokens, faults or journal.
    pub fn reset(&self) {
        self.shared.state().reset();
    }

    /// Switches uniqueness of names.
    pub fn set_unique_names(&self, unique: UniqueNames) {
        self.configure(|config| config.names.unique = unique);
    }

    /// Waits, in real time, until `done` says so; false when the time is over first. Needs the caller to run on tokio.
    pub async fn until(&self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = Instant::now() + limit;
        while !done(self) {
            if Instant::now() >= end {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Runs a future on the runtime and waits for it, whatever context the caller is in.
fn on_runtime<F>(runtime: &Runtime, future: F) -> std::io::Result<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let (send, receive) = mpsc::channel();
    runtime.spawn(async move {
        // The receiver waits below.
        let _ = send.send(future.await);
    });
    receive.recv().map_err(std::io::Error::other)
}
