//! The objects that `up` and `demo` apply. Knows their names and YAML, nothing else.

use testbed::OPERATOR_NAMESPACE;

/// Name of the control plane object that RunaiClusters refer to by default.
pub(crate) const CONTROL_PLANE: &str = "default";
/// The connection Secret.
pub(crate) const SECRET: &str = "runai-connection";
/// Namespace of the sample cluster.
pub(crate) const NAMESPACE: &str = "runai-demo";
/// The sample cluster.
pub(crate) const CLUSTER: &str = "gpu-west";
/// What the demonstration renames the registration to.
pub(crate) const NEW_NAME: &str = "gpu-west-1";

/// Connection Secret and control plane for the API at `url`.
pub(crate) fn control_plane(url: &str, client_id: &str, client_secret: &str) -> String {
    format!(
        "apiVersion: v1
kind: Secret
metadata:
  name: {SECRET}
  namespace: {OPERATOR_NAMESPACE}
stringData:
  url: {url}
  clientID: {client_id}
  clientSecret: {client_secret}
---
apiVersion: runai-operator.io/v1alpha1
kind: RunaiControlPlane
metadata:
  name: {CONTROL_PLANE}
spec:
  connectionSecretRef:
    name: {SECRET}
  pollInterval: 5s
"
    )
}

/// The sample cluster.
pub(crate) fn cluster() -> String {
    format!(
        "apiVersion: runai-operator.io/v1alpha1
kind: RunaiCluster
metadata:
  name: {CLUSTER}
  namespace: {NAMESPACE}
spec:
  domain: https://gpu-west.example.com
  version: 2.25.11
"
    )
}

/// A namespace.
pub(crate) fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n")
}
