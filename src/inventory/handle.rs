//! What the rest of the operator holds of an inventory.
//!
//! Owns reading, waiting for a fresh list, and telling of our own writes. The polling itself is `poller`'s. Must not
//! send anything but through the client it was given.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{oneshot, watch};

use super::changes::{Change, Changed};
use super::poller::{Shared, Waiter};
use super::schedule::Options;
use super::snapshot::Snapshot;
use crate::domain::{Absence, ClusterName, ClusterUuid, RemoteCluster, Sighting};
use crate::runai::{ApiError, ErrorKind, Operation, RunaiClient};
use crate::telemetry::health::Pulse;

/// How well listing works.
#[derive(Clone, Debug)]
pub struct Health {
    /// Time since the registrations were last read, or last seen to be unchanged; `None` when they never were.
    pub last_success: Option<Duration>,
    /// The last failure, kept until a list arrives.
    pub last_error: Option<Arc<ApiError>>,
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// Whether what is known is too old to be shown as current: no list for three intervals, at least 30 s.
    pub stale: bool,
}

/// One control plane's registrations. Clones share one poller, which ends with the last of them.
#[derive(Clone, Debug)]
pub struct Inventory {
    shared: Arc<Shared>,
    /// The poller ends when it hears `true`, or when no handle holds this any more.
    stop: Arc<watch::Sender<bool>>,
}

impl Inventory {
    /// Starts polling at once. Must be called inside a tokio runtime. `pulse` is the poller's sign of life: it
    /// stops for as long as one look takes, and for no longer.
    #[must_use]
    pub fn start(client: RunaiClient, options: Options, changes: UnboundedSender<Change>, pulse: Pulse) -> Self {
        let shared = Arc::new(Shared::new(client, options, changes));
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(super::poller::run(shared.clone(), stopped, pulse));
        Self { shared, stop: Arc::new(stop) }
    }

    /// Changes how it behaves, without a pause.
    pub fn set_options(&self, options: Options) {
        self.shared.set_options(options);
    }

    /// Ends the polling. Whoever waits gets an error; what is known can still be read.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Whether the polling was ended: the connection was replaced, or its control plane is gone.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// The client behind it.
    #[must_use]
    pub fn client(&self) -> &RunaiClient {
        &self.shared.client
    }

    /// The last snapshot; `None` before the first list.
    #[must_use]
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.shared.state().book.snapshot().cloned()
    }

    /// How well listing works.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.state().health(Instant::now())
    }

    /// A snapshot whose list started after `since`. Callers that wait at the same time share one list.
    ///
    /// # Errors
    /// The failure of that list; also at once, and without a request, while listing pauses after a failure.
    pub async fn fresh(&self, since: Instant) -> Result<Arc<Snapshot>, ApiError> {
        let answer = {
            let mut state = self.shared.state();
            let known = state.book.snapshot().filter(|snapshot| snapshot.started >= since);
            if let Some(snapshot) = known {
                return Ok(snapshot.clone());
            }
            if let Some(error) = state.cached_error(Instant::now()) {
                return Err(error);
            }
            let (sender, answer) = oneshot::channel();
            state.waiters.push(Waiter { since, answer: sender });
            answer
        };
        self.shared.wake.notify_one();
        // The poller drops the waiters when it ends, also those that come too late.
        let closed = async {
            let mut stopped = self.stop.subscribe();
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        tokio::select! {
            answer = answer => answer.unwrap_or_else(|_| Err(self.closed())),
            () = closed => Err(self.closed()),
        }
    }

    fn closed(&self) -> ApiError {
        self.shared.client.error(Operation::ListClusters, ErrorKind::Closed)
    }

    /// A reply showed this record (a 201, or a read by id): it goes into the snapshot at once. Told as a change: somebody
    /// may wait for the name.
    pub fn wrote(&self, record: RemoteCluster) {
        let changed = Changed::new(record.uuid, None, Some(&record));
        self.shared.state().book.wrote(record, Instant::now());
        self.shared.tell_records(vec![changed]);
    }

    /// A rename was accepted. Told as a change: somebody may wait for the old name.
    pub fn renamed(&self, uuid: ClusterUuid, name: &ClusterName) {
        let edit = |record: &mut RemoteCluster| name.as_str().clone_into(&mut record.name);
        let changed = self.shared.state().book.edit(uuid, Instant::now(), edit);
        self.shared.tell_records(changed.into_iter().collect());
    }

    /// A graceful deletion was accepted.
    pub fn delete_requested(&self, uuid: ClusterUuid, at: Timestamp) {
        let edit = |record: &mut RemoteCluster| {
            record.delete_requested_at.get_or_insert(at);
        };
        self.shared.state().book.edit(uuid, Instant::now(), edit);
    }

    /// A registration is proven to be gone. Told as a change: somebody may wait for the name.
    pub fn gone(&self, uuid: ClusterUuid) {
        let changed = self.shared.state().book.gone(uuid, Instant::now());
        self.shared.tell_records(changed.into_iter().collect());
    }

    /// Looks by id whether a registration is really not there, and how well that is founded: after a 404 a list must
    /// arrive, and the tenant that answered must be known from its records or, when it is empty, from a new token.
    ///
    /// # Errors
    /// When any of the looks fails: nothing is known then.
    pub async fn confirm_absent(&self, uuid: ClusterUuid) -> Result<Sighting, ApiError> {
        let client = self.client();
        if let Some(record) = client.get(uuid).await? {
            return Ok(Sighting::Present(record));
        }
        let list = self.fresh(Instant::now()).await?;
        if let Some(record) = list.get(uuid) {
            return Ok(Sighting::Present(RemoteCluster::clone(record)));
        }
        let tenant = if list.listed_nothing() {
            client.refresh_token_now().await?;
            client.token_tenant()
        } else {
            list.tenant()
        };
        Ok(Sighting::Absent(Absence { listed_after: true, tenant }))
    }
}
