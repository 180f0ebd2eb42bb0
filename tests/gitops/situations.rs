//! Every situation of an object in which a tool may meet it, with what each judge has to say.
//!
//! Owns the table. Must not know how an object gets there.

/// A situation with the verdicts that are due.
#[derive(Debug, Clone, Copy)]
pub struct Situation {
    pub kind: &'static str,
    /// The name of the recording.
    pub name: &'static str,
    /// kstatus, Argo CD, Argo CD with the strict script, Flux with its expressions.
    pub due: [&'static str; 4],
}

pub const WORKING: [&str; 4] = ["InProgress", "Progressing", "Progressing", "InProgress"];
pub const WELL: [&str; 4] = ["Current", "Healthy", "Healthy", "Current"];
pub const AGENT_IN_TROUBLE: [&str; 4] = ["Current", "Healthy", "Degraded", "Current"];
pub const STALLED: [&str; 4] = ["Failed", "Degraded", "Degraded", "Failed"];
pub const SUSPENDED: [&str; 4] = ["Current", "Suspended", "Suspended", "Current"];
/// Argo CD does not run a script for what is being deleted.
pub const GOING: [&str; 4] = ["Terminating", "Progressing", "Progressing", "InProgress"];

const fn cluster(name: &'static str, due: [&'static str; 4]) -> Situation {
    Situation { kind: "RunaiCluster", name, due }
}

const fn plane(name: &'static str, due: [&'static str; 4]) -> Situation {
    Situation { kind: "RunaiControlPlane", name, due }
}

/// All situations.
pub const ALL: &[Situation] = &[
    // No operator has seen it, or not its latest change.
    cluster("unseen", WORKING),
    cluster("changed", WORKING),
    // Work in progress.
    cluster("retrying", WORKING),
    cluster("renaming", WORKING),
    cluster("in-doubt", WORKING),
    cluster("outage", WORKING),
    // Registered, whatever the agent does.
    cluster("waiting", WELL),
    cluster("connected", WELL),
    cluster("observed", WELL),
    cluster("disconnected", AGENT_IN_TROUBLE),
    cluster("service-issues", AGENT_IN_TROUBLE),
    cluster("missing-prerequisites", AGENT_IN_TROUBLE),
    cluster("agent-awaited", WORKING),
    // Needs a person.
    cluster("refused", STALLED),
    cluster("rejected", STALLED),
    cluster("ambiguous", STALLED),
    cluster("name-conflict", STALLED),
    cluster("secret-conflict", STALLED),
    cluster("externally-deleted", STALLED),
    // Halted by its owner.
    cluster("suspended", SUSPENDED),
    cluster("suspended-early", ["InProgress", "Suspended", "Suspended", "InProgress"]),
    // Going.
    cluster("deleting", GOING),
    cluster("deletion-stalled", GOING),
    plane("unseen", WORKING),
    plane("answers", WELL),
    plane("unreachable", WORKING),
    // May come any moment, from whoever keeps the secrets.
    plane("no-secret", WORKING),
    plane("refused", STALLED),
];
