//! The Kubernetes face: the two kinds, their schema, and the way from what is stored to what the domain understands.
//!
//! Owns every name that Kubernetes users see (group, fields, annotations, finalizer) and the validation of specs.
//! Must not know how a control plane is reached, nor what is done about an object: it reads and writes shapes only.

pub mod cluster;
pub mod conditions;
pub mod control_plane;
pub mod convert;
pub mod crds;
pub mod duration;
mod install;
pub mod lenient;
pub mod remembered;
mod rules;
mod schemas;
pub mod selector;
pub mod status;

pub use cluster::{RunaiCluster, RunaiClusterSpec};
pub use control_plane::{RunaiControlPlane, RunaiControlPlaneSpec, RunaiControlPlaneStatus};
pub use lenient::{Lenient, Undecodable, Watched, WatchedControlPlane};
pub use status::RunaiClusterStatus;

/// API group of both kinds.
pub const GROUP: &str = "runai-operator.io";
/// The one served and stored version.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` of both kinds.
pub const API_VERSION: &str = "runai-operator.io/v1alpha1";
/// Name of the CRD of `RunaiCluster`; its deletion means that nothing is to be deregistered.
pub const CLUSTER_CRD: &str = "runaiclusters.runai-operator.io";

/// Held on a `RunaiCluster` until its registration is proven gone, or given up by policy.
pub const FINALIZER: &str = "runai-operator.io/registration";
/// Annotation, written: the uuid of the registration, in plain text for people and tools.
pub const CLUSTER_UUID: &str = "runai-operator.io/cluster-uuid";
/// Annotation, written: origin, tenant, credential, provenance and a signature over them.
pub const REGISTERED_WITH: &str = "runai-operator.io/registered-with";
/// Annotation, written: a create request may be under way.
pub const CREATE_PENDING: &str = "runai-operator.io/create-pending";
/// Annotation, read: any new value asks for a pass; echoed in `status.lastHandledReconcileAt`.
pub const RECONCILE_REQUESTED_AT: &str = "runai-operator.io/reconcile-requested-at";

/// Annotation of a published Secret, written: how to know it again.
pub const PUBLISHED: &str = "runai-operator.io/published";
/// Label of a published Secret, written.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Field manager of every write.
pub const FIELD_MANAGER: &str = "runai-cluster-operator";
/// Secret in the operator's namespace with the key that signs annotations.
pub const IDENTITY_SECRET: &str = "runai-cluster-operator-identity";
/// Control plane that a `RunaiCluster` without `spec.controlPlaneRef` belongs to.
pub const DEFAULT_CONTROL_PLANE: &str = "default";
