//! A plan in words and as data.
//!
//! Owns how each step is put. The one place of the command line that reads the core's steps.

use serde::Serialize;

use crate::cli::output;
use crate::domain::{Marks, NewCluster, ObjectKey, Plan, Provenance, Reason, SpecError, Stale, Stance, Step};

/// What a plan means for the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Outcome {
    /// Something would be written.
    Change,
    /// Nothing would be written.
    NoChange,
    /// Nothing would be written until a person has done something.
    Stalled,
    /// The looks that the plan needs failed.
    Unknown,
    /// The API server would refuse the object.
    Refused,
}

/// What the operator would do for one object.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Verdict {
    namespace: String,
    name: String,
    pub(super) outcome: Outcome,
    step: &'static str,
    writes_to_control_plane: bool,
    does: String,
    reason: &'static str,
    message: String,
}

/// What `-o json` writes.
#[derive(Serialize)]
pub(super) struct Document {
    pub(super) objects: Vec<Verdict>,
}

impl Verdict {
    pub(super) fn new(key: ObjectKey, plan: Plan) -> Self {
        let (step, writes_to_control_plane) = step(&plan);
        Self {
            namespace: key.namespace,
            name: key.name,
            outcome: outcome(&plan),
            step,
            writes_to_control_plane,
            does: words(&plan),
            reason: plan.why.as_str(),
            message: plan.message,
        }
    }

    /// One that the API server would refuse, so that the operator would never see it.
    pub(super) fn refused(key: ObjectKey, why: &SpecError) -> Self {
        Self {
            namespace: key.namespace,
            name: key.name,
            outcome: Outcome::Refused,
            step: "None",
            writes_to_control_plane: false,
            does: "nothing".to_owned(),
            reason: Reason::InvalidSpec.as_str(),
            message: why.to_string(),
        }
    }
}

fn outcome(plan: &Plan) -> Outcome {
    match (&plan.step, plan.stance) {
        (Step::Rest, _) if looks_failed(plan.why) => Outcome::Unknown,
        (Step::Rest, Stance::Stalled) => Outcome::Stalled,
        (Step::Rest, _) => Outcome::NoChange,
        (Step::Look(_), _) => Outcome::Unknown,
        (
            Step::Mark(_) | Step::Forget(_) | Step::Create(_) | Step::Rename(..) | Step::Delete { .. } | Step::Release,
            _,
        ) => Outcome::Change,
    }
}

/// Whether the control plane, or the way to it, kept the plan from being made.
const fn looks_failed(why: Reason) -> bool {
    matches!(
        why,
        Reason::ControlPlaneMissing
            | Reason::ConnectionFailed
            | Reason::ConnectionInvalid
            | Reason::AuthFailed
            | Reason::Forbidden
            | Reason::Throttled
            | Reason::Undecodable
            | Reason::InventoryStale
    )
}

/// A step in words.
fn words(plan: &Plan) -> String {
    match &plan.step {
        Step::Mark(Marks { intent: Some(intent), .. }) => format!("create registration {:?}", intent.name),
        Step::Mark(Marks { identity: Some(identity), intent: None }) => match (identity.provenance, plan.why) {
            (Provenance::Adopted, Reason::Adopted) => format!("adopt registration {}", identity.uuid),
            (Provenance::Adopted | Provenance::Created, _) => {
                format!("note on the object that registration {} is its own", identity.uuid)
            }
        },
        Step::Mark(Marks { identity: None, intent: None }) => {
            "remove the note of a create request that has ended".to_owned()
        }
        Step::Forget(Stale::Registration) => "take a lost registration out of status".to_owned(),
        Step::Forget(Stale::Attempt) => "take a create request that has ended out of status".to_owned(),
        Step::Create(NewCluster { name, .. }) => format!("create registration {:?}", name.as_str()),
        Step::Rename(uuid, name) => format!("rename registration {uuid} to {:?}", name.as_str()),
        Step::Delete { uuid, force: false } => format!("delete registration {uuid}"),
        Step::Delete { uuid, force: true } => format!("delete registration {uuid} at once, without its agent"),
        Step::Release => "remove the finalizer, so that the object goes".to_owned(),
        Step::Look(_) => "look on".to_owned(),
        Step::Rest => "nothing".to_owned(),
    }
}

/// The step's name for machines, and whether it is, or leads straight to, a write to the control plane.
const fn step(plan: &Plan) -> (&'static str, bool) {
    match &plan.step {
        Step::Mark(Marks { intent: Some(_), .. }) | Step::Create(_) => ("Create", true),
        Step::Mark(Marks { identity: Some(identity), intent: None }) => match (identity.provenance, plan.why) {
            (Provenance::Adopted, Reason::Adopted) => ("Adopt", false),
            (Provenance::Adopted | Provenance::Created, _) => ("Note", false),
        },
        Step::Mark(Marks { identity: None, intent: None }) | Step::Forget(_) => ("Forget", false),
        Step::Rename(..) => ("Rename", true),
        Step::Delete { .. } => ("Delete", true),
        Step::Release => ("Release", false),
        Step::Look(_) => ("Look", false),
        Step::Rest => ("None", false),
    }
}

pub(super) fn table(verdicts: &[Verdict]) -> String {
    let rows: Vec<_> = verdicts
        .iter()
        .map(|verdict| {
            let does = match verdict.outcome {
                Outcome::Change | Outcome::NoChange => verdict.does.clone(),
                Outcome::Stalled => "nothing: needs a person".to_owned(),
                Outcome::Unknown => "unknown".to_owned(),
                Outcome::Refused => "nothing: Kubernetes would refuse it".to_owned(),
            };
            let object = format!("{}/{}", verdict.namespace, verdict.name);
            vec![object, does, verdict.reason.to_owned(), verdict.message.clone()]
        })
        .collect();
    output::table(&["OBJECT", "DOES", "REASON", "WHY"], &rows)
}
