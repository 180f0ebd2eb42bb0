//! Leader election on a `coordination.k8s.io/v1` Lease, and the fence that every mutation passes.
//!
//! Owns the Lease record and the answer to "may this process write?". It must not know what the leader does.
//!
//! Flow: a standby looks at the Lease every retry period. It takes the Lease when it is free, released, or has not
//! changed for its whole duration *as observed here*: clocks of different machines are never compared, the times in
//! the record are for people. Every write carries the resourceVersion that was read, so that one contender wins.
//!
//! Guarantee: [`Leadership::is_leader`] turns false by itself, without any task having run, once the renew deadline
//! has passed since the *start* of the last successful renewal, on a clock that runs on during a suspend. Another
//! contender takes over no earlier than the lease duration after it saw that renewal, which is later.
//!
//! Caveat: between the check and the arrival of a request there is a gap that no lease can close.
//! Leadership that was lost does not come back in this process: the caller ends it.

use std::{fmt, future::Future, time::Duration};

use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use thiserror::Error;
use tokio::{sync::watch, time::timeout};
use tracing::{info, warn};

use self::{
    fence::Tenure,
    record::{Action, Observed, decide, written},
};
use super::clock::Boottime;

mod fence;
mod record;

pub(crate) use self::fence::Leadership;

/// The name of the operator's Lease.
pub(crate) const LEASE_NAME: &str = "runai-cluster-operator";

/// The periods of the protocol. `retry` < `renew_deadline` < `duration`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    /// How long others wait after the last renewal that they saw. Whole seconds, rounded up, in the record.
    pub(crate) duration: Duration,
    /// How long the holder trusts its last renewal.
    pub(crate) renew_deadline: Duration,
    /// The pause between two renewals, or two looks of a standby.
    pub(crate) retry: Duration,
    /// How long one request may take.
    pub(crate) call_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
            call_timeout: Duration::from_secs(5),
        }
    }
}

impl Timing {
    fn duration_seconds(&self) -> i32 {
        let whole = self.duration.as_secs() + u64::from(self.duration.subsec_nanos() > 0);
        i32::try_from(whole.max(1)).unwrap_or(i32::MAX)
    }
}

/// A name for this process that no other process has: the pod's or host's name and a random part.
pub(crate) fn identity() -> String {
    let host = ["POD_NAME", "HOSTNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    let host = host
        .or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok())
        .map_or_else(|| LEASE_NAME.to_owned(), |name| name.trim().to_owned());
    format!("{host}_{}", uuid::Uuid::new_v4().simple())
}

/// Why [`Election::run`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Shutdown was asked for; the Lease is free again if we held it and the API answered.
    Shutdown,
    /// Leadership was held and is lost. The process must end.
    Lost,
}

/// Why a request about the Lease failed.
#[derive(Debug, Error)]
enum CallError {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("{0}")]
    Kube(#[source] Box<kube::Error>),
}

impl CallError {
    /// Somebody else wrote first: a reason to look again, not a fault.
    fn is_race(&self) -> bool {
        match self {
            Self::Timeout(_) => false,
            Self::Kube(error) => matches!(&**error, kube::Error::Api(status) if status.code == 409),
        }
    }
}

/// One contender. Made by [`Election::new`], driven by [`Election::run`].
pub(crate) struct Election {
    leases: Api<Lease>,
    name: String,
    identity: String,
    timing: Timing,
    tenure: watch::Sender<Tenure>,
    observed: Option<Observed>,
    /// Whether `observed` must be read again before a write.
    stale: bool,
    /// Whether the last round failed; for logging on change only.
    troubled: bool,
}

impl Election {
    /// A contender for the Lease `name` in `namespace`. `identity` must be unique among all processes, see
    /// [`identity`]. Needs `get`, `create` and `update` on leases.
    pub(crate) fn new(client: Client, namespace: &str, name: &str, identity: String, timing: Timing) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity,
            timing,
            tenure: watch::Sender::new(Tenure::Standby),
            observed: None,
            stale: true,
            troubled: false,
        }
    }

    /// The handle by which others ask for and wait on leadership.
    pub(crate) fn leadership(&self) -> Leadership {
        Leadership { tenure: self.tenure.subscribe(), renew_deadline: self.timing.renew_deadline }
    }

    /// Contends, holds and renews until leadership is lost or `shutdown` completes; then releases the Lease, so that
    /// a standby takes over at once. Writes must have ended before `shutdown` completes: the fence closes with it,
    /// but a request under way cannot be called back.
    pub(crate) async fn run(mut self, shutdown: impl Future<Output = ()>) -> Ended {
        let lost = tokio::select! {
            biased;
            () = shutdown => false,
            () = self.contend() => true,
        };
        if lost {
            warn!(lease = %self.name, "leadership lost");
            self.tenure.send_replace(Tenure::Lost);
            return Ended::Lost;
        }
        self.tenure.send_replace(Tenure::Released);
        match self.release().await {
            Ok(true) => info!(lease = %self.name, "lease released"),
            Ok(false) => (),
            Err(error) => {
                warn!(lease = %self.name, %error, "lease not released; it expires by itself");
            }
        }
        Ended::Shutdown
    }

    /// Returns when leadership was held and is lost.
    async fn contend(&mut self) {
        loop {
            let result = self.round().await;
            self.report(result);
            if self.has_lost() {
                return;
            }
            tokio::time::sleep(self.pause()).await;
            // Time may have passed unseen: a stopped process, a suspended machine.
            if self.has_lost() {
                return;
            }
        }
    }

    async fn round(&mut self) -> Result<(), CallError> {
        if self.stale || self.renewed().is_none() {
            self.look().await?;
        }
        let action = decide(&self.identity, &self.timing, self.observed.as_ref(), Boottime::now());
        match action {
            Action::Wait => Ok(()),
            Action::Create | Action::Take | Action::Renew => self.write(action == Action::Renew).await,
        }
    }

    async fn look(&mut self) -> Result<(), CallError> {
        let found = call(self.budget(), self.leases.get_opt(&self.name)).await?;
        let previous = self.observed.take();
        let before = previous.as_ref().map_or("", Observed::holder).to_owned();
        self.observed = match found {
            Some(lease) => Some(Observed::update(previous, lease, Boottime::now())),
            None => previous.map(|previous| Observed { exists: false, ..previous }),
        };
        self.stale = false;
        if let Some(holder) = self.observed.as_ref().map(Observed::holder)
            && holder != before
            && holder != self.identity
            && !holder.is_empty()
        {
            info!(lease = %self.name, holder, "another process leads");
        }
        Ok(())
    }

    /// Writes our name, and counts the success from the moment the request was started.
    async fn write(&mut self, renewal: bool) -> Result<(), CallError> {
        let started = Boottime::now();
        let observed = self.observed.as_ref();
        let spec = written(&self.identity, &self.timing, observed.and_then(|o| o.lease.spec.as_ref()), renewal);
        let params = PostParams::default();
        // Until the answer says otherwise, what we know of the record may be out of date.
        self.stale = true;
        let lease = if let Some(observed) = observed.filter(|observed| observed.exists) {
            let lease = Lease { metadata: observed.lease.metadata.clone(), spec: Some(spec) };
            call(self.budget(), self.leases.replace(&self.name, &params, &lease)).await?
        } else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(spec) };
            call(self.budget(), self.leases.create(&params, &lease)).await?
        };
        self.observed = Some(Observed { lease, since: Boottime::now(), exists: true });
        self.stale = false;
        if self.renewed().is_none() {
            info!(lease = %self.name, identity = %self.identity, "this process leads");
        }
        self.tenure.send_replace(Tenure::Held { renewed: started });
        Ok(())
    }

    /// Frees the Lease if the record names us. Reads first: a write may have been cut off by the shutdown.
    async fn release(&mut self) -> Result<bool, CallError> {
        let found = call(self.timing.call_timeout, self.leases.get_opt(&self.name)).await?;
        let Some(mut lease) = found else {
            return Ok(false);
        };
        let Some(spec) = lease.spec.as_mut() else {
            return Ok(false);
        };
        if spec.holder_identity.as_deref() != Some(&*self.identity) {
            return Ok(false);
        }
        spec.holder_identity = Some(String::new());
        spec.renew_time = Some(MicroTime(jiff::Timestamp::now()));
        let params = PostParams::default();
        call(self.timing.call_timeout, self.leases.replace(&self.name, &params, &lease)).await.map(|_| true)
    }

    fn renewed(&self) -> Option<Boottime> {
        match *self.tenure.borrow() {
            Tenure::Held { renewed } => Some(renewed),
            Tenure::Unelected | Tenure::Standby | Tenure::Lost | Tenure::Released => None,
        }
    }

    fn has_lost(&self) -> bool {
        let Some(renewed) = self.renewed() else {
            return false;
        };
        let taken = !self.stale && self.observed.as_ref().is_none_or(|observed| observed.holder() != self.identity);
        taken || renewed.elapsed() >= self.timing.renew_deadline
    }

    /// What is left of our leadership without another renewal.
    fn remaining(&self) -> Option<Duration> {
        self.renewed().map(|renewed| self.timing.renew_deadline.saturating_sub(renewed.elapsed()))
    }

    /// The time for one request: no longer than leadership lasts, so that its loss is noticed when it happens.
    fn budget(&self) -> Duration {
        self.remaining().map_or(self.timing.call_timeout, |remaining| remaining.min(self.timing.call_timeout))
    }

    fn pause(&self) -> Duration {
        match self.remaining() {
            Some(remaining) => remaining.min(self.timing.retry),
            // Spread, so that standbys do not look and write in step.
            None => self.timing.retry.mul_f64(1.0 + 0.2 * fastrand::f64()),
        }
    }

    fn report(&mut self, result: Result<(), CallError>) {
        match result {
            Err(error) if !error.is_race() => {
                if !std::mem::replace(&mut self.troubled, true) {
                    warn!(lease = %self.name, %error, "leader election cannot reach its lease; trying on");
                }
            }
            Ok(()) | Err(_) => {
                if std::mem::replace(&mut self.troubled, false) {
                    info!(lease = %self.name, "leader election reaches its lease again");
                }
            }
        }
    }
}

impl fmt::Debug for Election {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Election")
            .field("name", &self.name)
            .field("identity", &self.identity)
            .field("tenure", &*self.tenure.borrow())
            .finish_non_exhaustive()
    }
}

async fn call<T>(limit: Duration, request: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    match timeout(limit, request).await {
        Ok(result) => result.map_err(|error| CallError::Kube(Box::new(error))),
        Err(_elapsed) => Err(CallError::Timeout(limit)),
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
