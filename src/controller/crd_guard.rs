//! Whether the kind itself is being removed: asked before a DELETE, so that an uninstall deregisters nothing.
//!
//! Owns one live read of the CRD, shared by the DELETEs of the next second.

use std::time::{Duration, Instant};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client};
use tokio::sync::Mutex;

use crate::api::CLUSTER_CRD;

use super::calls::{CallError, call};

/// An answer is good for this long.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct CrdGuard {
    crds: Api<CustomResourceDefinition>,
    last: Mutex<Option<(Instant, bool)>>,
}

impl CrdGuard {
    pub(crate) fn new(client: Client) -> Self {
        Self { crds: Api::all(client), last: Mutex::new(None) }
    }

    /// Whether the CRD is gone or going.
    ///
    /// # Errors
    /// When the API does not answer: then nothing is known, and nothing may be deleted.
    pub(crate) async fn is_deleting(&self) -> Result<bool, CallError> {
        let mut last = self.last.lock().await;
        if let Some((_, deleting)) = last.filter(|(at, _)| at.elapsed() < SHARED_FOR) {
            return Ok(deleting);
        }
        let started = Instant::now();
        let crd = call(self.crds.get_metadata_opt(CLUSTER_CRD)).await?;
        let deleting = crd.is_none_or(|crd| crd.metadata.deletion_timestamp.is_some());
        *last = Some((started, deleting));
        Ok(deleting)
    }
}
