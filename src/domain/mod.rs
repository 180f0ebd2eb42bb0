//! The decision core: what to do next for one `RunaiCluster`, and what to tell its user.
//!
//! Owns every rule of the protocols (create, adopt, rename, delete, observe) and the types they speak in.
//! Must not know Kubernetes, HTTP, tokio, tracing, keys, the clock or randomness: everything is an argument.

pub mod claims;
pub mod desired;
pub mod ids;
pub mod install;
pub mod memory;
pub mod observed;
pub mod plan;
pub mod reason;
pub mod recorded;
pub mod report;
pub mod schedule;

#[cfg(test)]
pub(crate) mod scene_tests;

pub use claims::{Claim, Claims, Holding, ObjectKey};
pub use desired::{
    Adoption, AdoptionPolicy, Deletion, DeletionPolicy, Desired, InstallSpec, Management, ReadyWhen, RecreatePolicy,
    SpecError,
};
pub use ids::{
    AgentVersion, ClusterDomain, ClusterName, ClusterUuid, CredentialId, IdError, Origin, Provenance, TenantId,
};
pub use install::{InstallCase, InstallStep, Publication, Shelf};
pub use memory::{Accepted, Memory};
pub use observed::{Absence, Access, ClusterState, Named, Observed, RemoteCluster, Sighting, Trouble, Who};
pub use plan::{Again, Case, Look, Marks, NewCluster, Plan, Policy, Stale, Stance, Step, plan};
pub use reason::Reason;
pub use recorded::{Annotated, Identity, Intent, Recorded, open_intent};
pub use report::{Before, Condition, ConditionStatus, ConditionType, Drift, EventNote, Report, StatusFacts, report};
