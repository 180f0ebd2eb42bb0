//! The control planes in use: their connections, and which namespaces may use them for what.
//!
//! Owns the answer to "what may this object use?". Must not know how a connection comes about (`control_plane`).

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use tokio::sync::Semaphore;

use crate::api::convert::ClusterMetrics;
use crate::api::{RunaiControlPlaneSpec, convert};
use crate::domain::{Access, Reason, Trouble, Who};
use crate::inventory::Inventory;
use crate::runai::{ApiError, Class, RunaiClient};

use super::sync::lock;
use super::throttle::Throttle;

/// Creates that may be between look and answer at once, per control plane. With 50 requests a second and lists half a
/// second apart this keeps the rate limit, not the waiting, the bound.
const CREATES_AT_ONCE: usize = 48;

/// One control plane, reached.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) client: RunaiClient,
    pub(crate) inventory: Inventory,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) throttle: Mutex<Throttle>,
    /// The last rename or deletion, of whatever object, met a control plane that did not answer.
    pub(crate) silent: AtomicBool,
}

impl Connection {
    pub(crate) fn new(client: RunaiClient, inventory: Inventory, deletions_per_minute: u32) -> Self {
        Self {
            client,
            inventory,
            slots: Arc::new(Semaphore::new(CREATES_AT_ONCE)),
            throttle: Mutex::new(Throttle::new(deletions_per_minute)),
            silent: AtomicBool::new(false),
        }
    }

    /// Who answers, as far as known.
    pub(crate) fn who(&self) -> Who {
        let listed = self.inventory.snapshot().and_then(|snapshot| snapshot.tenant());
        Who {
            origin: self.client.origin(),
            credential: self.client.credential(),
            tenant: listed.or_else(|| self.client.token_tenant()),
        }
    }
}

/// What is known of one `RunaiControlPlane`.
#[derive(Debug)]
pub(crate) struct Plane {
    /// The object, for Events.
    pub(crate) reference: ObjectReference,
    /// The spec, if it can be read.
    pub(crate) spec: Option<RunaiControlPlaneSpec>,
    /// How coarse `lastLiveness` is copied.
    pub(crate) liveness_granularity: Duration,
    /// The connection; outlives its Secret, for open deletions.
    pub(crate) connection: Option<Arc<Connection>>,
    /// Why the connection is not to be used for live objects.
    pub(crate) problem: Option<Trouble>,
}

/// What an object may use, and by which connection.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) access: Access,
    pub(crate) connection: Option<Arc<Connection>>,
    pub(crate) liveness_granularity: Duration,
}

/// All control planes.
#[derive(Debug, Default)]
pub(crate) struct Planes {
    by_name: Mutex<HashMap<String, Plane>>,
    labels: Mutex<HashMap<String, BTreeMap<String, String>>>,
}

impl Planes {
    pub(crate) fn set(&self, name: &str, plane: Option<Plane>) -> Option<Plane> {
        let mut planes = lock(&self.by_name);
        match plane {
            Some(plane) => planes.insert(name.to_owned(), plane),
            None => planes.remove(name),
        }
    }

    pub(crate) fn connection(&self, name: &str) -> Option<Arc<Connection>> {
        lock(&self.by_name).get(name)?.connection.clone()
    }

    pub(crate) fn reference(&self, name: &str) -> Option<ObjectReference> {
        Some(lock(&self.by_name).get(name)?.reference.clone())
    }

    pub(crate) fn problem(&self, name: &str) -> Option<Trouble> {
        lock(&self.by_name).get(name)?.problem.clone()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        lock(&self.by_name).keys().cloned().collect()
    }

    /// Which metrics of its clusters the control plane `name` is to be asked for; `None` also while it is not to be used.
    pub(crate) fn cluster_metrics(&self, name: &str) -> Option<ClusterMetrics> {
        let planes = lock(&self.by_name);
        let plane = planes.get(name).filter(|plane| plane.problem.is_none())?;
        convert::settings(plane.spec.as_ref()?).ok()?.cluster_metrics
    }

    /// Whether any selector needs the labels of namespaces.
    pub(crate) fn need_labels(&self) -> bool {
        lock(&self.by_name)
            .values()
            .filter_map(|plane| plane.spec.as_ref())
            .any(RunaiControlPlaneSpec::needs_namespace_labels)
    }

    /// Keeps the labels of a namespace; says whether they changed.
    pub(crate) fn set_labels(&self, namespace: &str, labels: Option<BTreeMap<String, String>>) -> bool {
        let mut all = lock(&self.labels);
        match labels {
            Some(labels) => all.insert(namespace.to_owned(), labels.clone()).as_ref() != Some(&labels),
            None => all.remove(namespace).is_some(),
        }
    }

    /// What an object in `namespace` may use of the control plane `name`.
    pub(crate) fn access(&self, name: &str, namespace: &str) -> Granted {
        let planes = lock(&self.by_name);
        let Some(plane) = planes.get(name) else {
            let missing = Trouble {
                reason: Reason::ControlPlaneMissing,
                message: format!(
                    "RunaiControlPlane {name:?} does not exist; create it, or make this object anew with another \
                     spec.controlPlaneRef.name, which cannot be changed"
                ),
                stalled: false,
                retry_after: None,
            };
            return Granted {
                access: Access { who: Err(missing), live: None, may_adopt: false },
                connection: None,
                liveness_granularity: Duration::MAX,
            };
        };
        let labels = lock(&self.labels).get(namespace).cloned().unwrap_or_default();
        let allowed = plane.spec.as_ref().is_none_or(|spec| spec.allows(&labels));
        let may_adopt = plane.spec.as_ref().is_some_and(|spec| spec.allows_adoption(&labels));
        let who = match (&plane.connection, &plane.problem) {
            (Some(connection), _) => Ok(connection.who()),
            (None, Some(problem)) => Err(problem.clone()),
            (None, None) => Err(unready(name)),
        };
        let live = if allowed { plane.problem.clone() } else { Some(not_allowed(name, namespace)) };
        Granted {
            access: Access { who, live, may_adopt },
            connection: plane.connection.clone(),
            liveness_granularity: plane.liveness_granularity,
        }
    }
}

/// No word of it yet.
pub(super) fn unready(name: &str) -> Trouble {
    Trouble {
        reason: Reason::ConnectionFailed,
        message: format!("RunaiControlPlane {name:?} is not connected yet"),
        stalled: false,
        retry_after: None,
    }
}

fn not_allowed(name: &str, namespace: &str) -> Trouble {
    Trouble {
        reason: Reason::NamespaceNotAllowed,
        message: format!(
            "RunaiControlPlane {name:?} does not allow namespace {namespace}: its spec.allowedNamespaces does not select it"
        ),
        stalled: true,
        retry_after: None,
    }
}

/// A failed call in the words of a condition.
pub(crate) fn trouble(error: &ApiError) -> Trouble {
    let stalled = match error.class() {
        Class::Rejected | Class::Bug => true,
        Class::Retry | Class::Throttled(_) | Class::Auth | Class::Gone => false,
    };
    Trouble { reason: error.reason(), message: error.user_message(), stalled, retry_after: error.retry_after() }
}
