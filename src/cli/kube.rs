//! The Kubernetes side of the commands: which cluster, and what is read from it.
//!
//! Owns the flags that kubectl has too, with kubectl's meaning. Reads only, each read under the controller's own
//! deadline. Must not know what a command makes of what was read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

use crate::api::{Watched, WatchedControlPlane};
use crate::controller::calls::{CallError, call};
use crate::controller::signer::{Signer, SignerError};

/// Objects of one page of a list.
const PAGE: u32 = 500;

/// Which Kubernetes cluster is meant.
#[derive(Clone, Debug, Args)]
pub(super) struct KubeArgs {
    /// The kubeconfig to use. Default: that of KUBECONFIG, else ~/.kube/config, else the pod's service account.
    #[arg(long, value_name = "FILE", help_heading = "Kubernetes")]
    pub(super) kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig to use. Default: its current one.
    #[arg(long, value_name = "NAME", help_heading = "Kubernetes")]
    pub(super) context: Option<String>,
}

/// Why Kubernetes cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum KubeError {
    /// Neither a kubeconfig nor a pod's service account can be used.
    #[error("no way to a Kubernetes API: {0}; set KUBECONFIG or --kubeconfig{hint}", hint = .1)]
    NoCluster(String, &'static str),
    /// A read failed.
    #[error("{what} cannot be read: {error}{hint}")]
    Read {
        /// What was asked for.
        what: String,
        /// What came instead.
        error: String,
        /// What to do, where that is known.
        hint: &'static str,
    },
}

impl KubeError {
    /// A list that failed: where the kind itself is missing, how to get it.
    pub(super) fn list(what: impl Into<String>, error: &CallError) -> Self {
        let missing = "; install the CRDs: runai-cluster-operator crds | kubectl apply --server-side -f -";
        Self::read(what, error, if error.is_unknown_kind() { missing } else { "" })
    }

    fn read(what: impl Into<String>, error: &CallError, hint: &'static str) -> Self {
        Self::Read { what: what.into(), error: error.to_string(), hint }
    }
}

/// One Kubernetes cluster, and the namespace that its context names.
pub(super) struct Kube {
    pub(super) client: Client,
    pub(super) namespace: String,
    /// Where its API is.
    pub(super) url: String,
}

/// A proxy of the environment is the way to the control plane. kube 5.0.0 takes it for the Kubernetes API as well, without
/// asking `NO_PROXY` about that API, which is next door as a rule. A proxy that the kubeconfig itself names stays.
pub(super) fn reach_directly(config: &mut Config) {
    let named = ["HTTPS_PROXY", "https_proxy"].into_iter().filter_map(|name| std::env::var(name).ok());
    let from_environment =
        |proxy: &http::Uri| named.clone().any(|text| text.parse().is_ok_and(|uri: http::Uri| uri == *proxy));
    if config.proxy_url.as_ref().is_some_and(from_environment) {
        config.proxy_url = None;
    }
}

impl Kube {
    /// Finds the cluster; asks nothing yet. `hint` names another way, for commands that have one.
    pub(super) async fn find(args: &KubeArgs, hint: &'static str) -> Result<Self, KubeError> {
        let none = |error: String| KubeError::NoCluster(error, hint);
        let mut config = match (&args.kubeconfig, &args.context) {
            (None, None) => Config::infer().await.map_err(|error| none(error.to_string()))?,
            (file, context) => {
                let read = file.as_ref().map_or_else(Kubeconfig::read, Kubeconfig::read_from);
                let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
                let read = read.map_err(|error| none(error.to_string()))?;
                Config::from_custom_kubeconfig(read, &options).await.map_err(|error| none(error.to_string()))?
            }
        };
        reach_directly(&mut config);
        config.connect_timeout = Some(Duration::from_secs(5));
        let namespace = config.default_namespace.clone();
        let url = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(|error| none(error.to_string()))?;
        Ok(Self { client, namespace, url })
    }

    /// The RunaiClusters of all namespaces.
    pub(super) async fn objects(&self) -> Result<Vec<Watched>, KubeError> {
        let api: Api<Watched> = Api::all(self.client.clone());
        let mut objects = Vec::new();
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let list = call(api.list(&page)).await;
            let list = list.map_err(|error| KubeError::list("RunaiClusters of all namespaces", &error))?;
            objects.extend(list.items);
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(objects),
            }
        }
    }

    /// The version of its API server.
    pub(super) async fn version(&self) -> Result<String, CallError> {
        Ok(call(self.client.apiserver_version()).await?.git_version)
    }

    /// The definition of a kind; `None` if there is none of that name.
    pub(super) async fn definition(&self, name: &str) -> Result<Option<CustomResourceDefinition>, CallError> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        call(api.get_opt(name)).await
    }

    /// All control planes.
    pub(super) async fn control_planes(&self) -> Result<Vec<WatchedControlPlane>, KubeError> {
        let api: Api<WatchedControlPlane> = Api::all(self.client.clone());
        let list = call(api.list(&ListParams::default())).await;
        Ok(list.map_err(|error| KubeError::list("RunaiControlPlanes", &error))?.items)
    }

    /// A control plane; `None` if there is none of that name.
    pub(super) async fn control_plane(&self, name: &str) -> Result<Option<WatchedControlPlane>, KubeError> {
        let api: Api<WatchedControlPlane> = Api::all(self.client.clone());
        let read = call(api.get_opt(name)).await;
        read.map_err(|error| KubeError::read(format!("RunaiControlPlane {name:?}"), &error, ""))
    }

    /// The labels of a namespace; `None` if there is none of that name.
    pub(super) async fn labels(&self, namespace: &str) -> Result<Option<BTreeMap<String, String>>, KubeError> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let read = call(api.get_metadata_opt(namespace)).await;
        let read = read.map_err(|error| KubeError::read(format!("namespace {namespace}"), &error, ""))?;
        Ok(read.map(|namespace| namespace.metadata.labels.unwrap_or_default()))
    }

    /// The key that signs the operator's annotations; `None` before the operator's first start.
    pub(super) async fn signer(&self, operator_namespace: &str) -> Result<Option<Signer>, SignerError> {
        Signer::read(self.client.clone(), operator_namespace).await
    }
}
