//! Whether the kind itself is being removed: asked before a DELETE, so that an uninstall deregisters nothing.
//!
//! Owns one live read of the CRD a second, shared by all DELETEs that wait for it. The API server marks the CRD before
//! it marks its objects, so a read that starts after an object was seen to be going tells why; an earlier one does not.

use std::time::{Duration, Instant};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client};
use tokio::sync::Mutex;

use crate::api::CLUSTER_CRD;

use super::calls::{CallError, call};

/// Least time between the starts of two reads.
const GAP: Duration = Duration::from_secs(1);

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
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some((started, deleting)) = *last {
            if started >= asked {
                return Ok(deleting);
            }
            tokio::time::sleep(GAP.saturating_sub(started.elapsed())).await;
        }
        let started = Instant::now();
        let crd = call(self.crds.get_metadata_opt(CLUSTER_CRD)).await?;
        let deleting = crd.is_none_or(|crd| crd.metadata.deletion_timestamp.is_some());
        *last = Some((started, deleting));
        Ok(deleting)
    }
}
