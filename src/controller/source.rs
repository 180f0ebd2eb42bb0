//! From a `RunaiControlPlane` to what a client needs: the connection Secret and the CA bundle, read once.
//!
//! Owns which objects a connection is made from, and how their absence is put. Must not know what becomes of the
//! connection, nor when it is made anew.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};

use crate::api::RunaiControlPlaneSpec;
use crate::api::control_plane::{CaBundleKind, TokenApi};
use crate::domain::{Reason, Trouble};
use crate::runai::{self, Limits};

use super::calls::{CallError, call};

/// Reads what connections are made from.
pub(crate) struct Source<'a> {
    /// The Kubernetes API.
    pub(crate) client: &'a Client,
    /// The operator's own namespace: Secrets and ConfigMaps lie there.
    pub(crate) namespace: &'a str,
    /// How the client behaves.
    pub(crate) limits: Limits,
}

/// A control plane that cannot be connected.
#[derive(Debug)]
pub(crate) struct Failed {
    /// Why, in the words of a condition.
    pub(crate) problem: Trouble,
    /// It may pass by itself.
    pub(crate) retry: bool,
}

impl Source<'_> {
    /// The settings of the client for this spec.
    ///
    /// # Errors
    /// When the Secret or the CA bundle is missing, cannot be read, or holds something that cannot be used.
    pub(crate) async fn settings(&self, spec: &RunaiControlPlaneSpec) -> Result<runai::Settings, Failed> {
        let namespace = self.namespace;
        let secret = &spec.connection_secret_ref.name;
        let data = self.secret(secret).await?.ok_or_else(|| {
            Failed::missing(format!(
                "Secret {namespace}/{secret} does not exist; create it with the keys url, clientID and clientSecret"
            ))
        })?;
        let ca = self.ca_bundle(spec).await?;
        let token_api = match spec.token_api {
            TokenApi::V1 => runai::TokenApi::V1,
            TokenApi::V2 => runai::TokenApi::V2,
        };
        runai::Settings::from_secret(&data, token_api, ca.as_deref(), self.limits)
            .map_err(|error| Failed::stalled(format!("Secret {namespace}/{secret}: {error}")))
    }

    async fn secret(&self, name: &str) -> Result<Option<BTreeMap<String, Vec<u8>>>, Failed> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace);
        let secret = call(api.get_opt(name)).await.map_err(|error| Failed::unread("Secret", name, &error))?;
        let data =
            |secret: Secret| secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
        Ok(secret.map(data))
    }

    async fn ca_bundle(&self, spec: &RunaiControlPlaneSpec) -> Result<Option<Vec<u8>>, Failed> {
        let Some(ca) = &spec.ca_bundle_ref else { return Ok(None) };
        let namespace = self.namespace;
        let bytes = match ca.kind {
            CaBundleKind::Secret => self.secret(&ca.name).await?.and_then(|mut data| data.remove(&ca.key)),
            CaBundleKind::ConfigMap => {
                let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
                let map = call(api.get_opt(&ca.name)).await;
                let map = map.map_err(|error| Failed::unread("ConfigMap", &ca.name, &error))?;
                map.and_then(|map| map.data?.remove(&ca.key)).map(String::into_bytes)
            }
        };
        bytes.map(Some).ok_or_else(|| {
            Failed::missing(format!(
                "{:?} {namespace}/{} with key {:?} does not exist; create it, or correct spec.caBundleRef",
                ca.kind, ca.name, ca.key
            ))
        })
    }
}

impl Failed {
    fn new(message: String, stalled: bool, retry: bool) -> Self {
        Self { problem: Trouble { reason: Reason::ConnectionInvalid, message, stalled, retry_after: None }, retry }
    }

    /// Only a person can end it.
    pub(crate) fn stalled(message: String) -> Self {
        Self::new(message, true, false)
    }

    /// It may be on its way: GitOps tools apply in no particular order.
    fn missing(message: String) -> Self {
        Self::new(message, false, false)
    }

    fn unread(kind: &str, name: &str, error: &CallError) -> Self {
        Self::new(format!("{kind} {name} cannot be read: {error}"), false, true)
    }
}
