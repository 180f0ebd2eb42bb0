//! From a state to the core's own types, to the core, and back.
//!
//! Owns the translation, and the memory of what the core said: it is pure, so equal questions have equal answers. Every
//! decision is the core's; what a mutant distorts on the way in or out stands here and in `shell`.

use std::collections::HashMap;
use std::time::Duration;

use crate::domain::plan::{
    Stale, claimed, looked_in_vain, name_in_question, open_attempt, remembered_refusal, uuid_in_question,
};
use crate::domain::{
    Before, Case, Look, Marks, Plan, Policy, Provenance, Reason, Recorded, Stance, StatusFacts, Step, plan, report,
};
use crate::mutant::Mutant;
use crate::question::{
    NEW, QUARANTINE, Question, attempt_slot, credentials, deletion, desired, key, name_index, now, slot,
};
use crate::scenes::Scene;
use crate::state::{Credentials, NONE, Pass, State, Status};

/// What the core said, in the model's terms.
#[derive(Clone, Copy, Debug)]
pub struct Decision {
    /// The step.
    pub step: Do,
    /// Why.
    pub why: Reason,
    /// How the object stands.
    pub stance: Stance,
    /// The uuid in question.
    pub(crate) asks: u8,
    /// The name in question.
    pub(crate) name: u8,
    /// What status shall say; `None`: leave it.
    pub(crate) status: Option<Status>,
    /// The open attempt.
    pub(crate) open: u8,
    /// Whether the open attempt was refused in an earlier pass.
    pub(crate) remembers_refusal: bool,
    /// The attempt that this pass looked for in vain.
    pub(crate) in_vain: u8,
    /// What the object lays claim to: a uuid, and the attempt whose name it holds.
    pub(crate) claims: (u8, u8),
    /// The tenant that is known: 0 none, 1 ours, 2 the foreign one.
    pub(crate) tenant: u8,
}

/// A step, see `domain::Step`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as the core's own steps")]
pub enum Do {
    LookNames(u8),
    LookById(u8),
    LookRead(u8),
    LookCrd,
    Identify { uuid: u8, adopted: bool, by: Credentials },
    Intend { name: u8, seen: u8, replaces: u8 },
    Unmark,
    Forget(Stale),
    Create(u8),
    Rename(u8, u8),
    Delete(u8),
    Release,
    Rest,
}

/// The core, and what it said before.
pub struct Core {
    scene: Scene,
    said: HashMap<Question, Decision, crate::explore::Hashing>,
}

impl Core {
    pub(crate) fn new(scene: &Scene) -> Self {
        Self { scene: *scene, said: HashMap::default() }
    }

    /// What the core says to this process about this object, as far as it knows.
    pub(crate) fn decide(&mut self, state: &State, process: usize, object: usize) -> Decision {
        let mut question = Question::new(state, process, object, &self.scene);
        if self.scene.objects > 1 && !self.scene.has(Mutant::IgnoreClaims) {
            let other = 1 - object;
            let of = &state.processes[process];
            if of.view[other].here {
                let mut about = Question::new(state, process, other, &self.scene);
                about.pass = Pass::default();
                let (uuid, open) = self.ask(about).claims;
                let name = if open == NONE { NONE } else { state.attempts[usize::from(open)].name };
                let uuid = if uuid == NONE { of.memory[other].claim } else { uuid };
                question.other = (uuid, name);
            }
        }
        self.ask(question)
    }

    fn ask(&mut self, question: Question) -> Decision {
        if let Some(said) = self.said.get(&question) {
            return *said;
        }
        let decision = decide(&question, &self.scene);
        self.said.insert(question, decision);
        decision
    }
}

/// The real thing.
fn decide(question: &Question, scene: &Scene) -> Decision {
    let memory = question.memory();
    let recorded = question.recorded(&memory, scene);
    let open = recorded.intent.as_ref().map_or(NONE, |intent| attempt_slot(intent.attempt));
    let (observed, claims, desired) =
        (question.observed(open, scene), question.claims(), desired(question.view.spec, scene));
    let quarantine = if scene.has(Mutant::SkipTheQuarantine) { 0 } else { QUARANTINE };
    let case = Case {
        key: &key(question.object),
        generation: 1,
        deleting: question.view.deleting,
        desired: &desired,
        deletion: &deletion(question.view.spec, scene),
        recorded: &recorded,
        memory: &memory,
        observed: &observed,
        claims: &claims,
        policy: &Policy {
            quarantine: Duration::from_secs(quarantine),
            default_deletion: None,
            liveness_granularity: Duration::from_secs(600),
        },
        now: now(),
        nonce: uuid::Uuid::from_u128(NEW),
    };
    let plan = plan(&case);
    let said = report(&case, &plan, &before(question, &recorded));
    Decision {
        step: translate(&plan),
        why: plan.why,
        stance: plan.stance,
        asks: uuid_in_question(&case).map_or(NONE, slot),
        name: name_in_question(&case).map_or(NONE, name_index),
        status: said.map(|said| status(question, &said.facts, &plan)),
        open: open_attempt(&case).map_or(NONE, |intent| attempt_slot(intent.attempt)),
        remembers_refusal: remembered_refusal(&case).is_some(),
        in_vain: looked_in_vain(&case).map_or(NONE, attempt_slot),
        claims: (claimed(&recorded, &memory).map_or(NONE, |held| slot(held.uuid)), open),
        tenant: question.tenant,
    }
}

fn before(question: &Question, recorded: &Recorded) -> Before {
    let facts = StatusFacts {
        uuid: recorded.status.as_ref().map(|identity| identity.uuid),
        tenant: recorded.status.as_ref().and_then(|identity| identity.tenant),
        origin: recorded.status.as_ref().map(|identity| identity.provenance),
        delete_requested_at: recorded.delete_requested_at,
        intent: question.intent(question.view.status.intent),
        ..StatusFacts::default()
    };
    Before { facts, conditions: Vec::new() }
}

fn status(question: &Question, facts: &StatusFacts, plan: &Plan) -> Status {
    let reason = Reason::ALL.iter().position(|reason| *reason == plan.why).unwrap_or_default();
    let stance = match plan.stance {
        Stance::InSync => 0,
        Stance::Progress => 1,
        Stance::Stalled => 2,
        Stance::Apart => 3,
        Stance::Unsure => 4,
        Stance::Quiet => 5,
    };
    Status {
        uuid: facts.uuid.map_or(NONE, slot),
        adopted: facts.uuid.is_some() && facts.origin == Some(Provenance::Adopted),
        asked: match facts.delete_requested_at {
            None => 0,
            Some(_) => question.view.status.asked.max(1),
        },
        intent: facts.intent.as_ref().map_or(NONE, |intent| attempt_slot(intent.attempt)),
        why: u8::try_from(reason).unwrap_or(NONE),
        stance,
    }
}

fn translate(plan: &Plan) -> Do {
    match &plan.step {
        Step::Look(Look::Names(name)) => Do::LookNames(name_index(name)),
        Step::Look(Look::ById(uuid)) => Do::LookById(slot(*uuid)),
        Step::Look(Look::Read(uuid)) => Do::LookRead(slot(*uuid)),
        Step::Look(Look::Crd) => Do::LookCrd,
        Step::Mark(Marks { identity: Some(identity), .. }) => Do::Identify {
            uuid: slot(identity.uuid),
            adopted: identity.provenance == Provenance::Adopted,
            by: credentials(identity.credential.as_ref()),
        },
        Step::Mark(Marks { identity: None, intent: Some(intent) }) => Do::Intend {
            name: name_index(&intent.name),
            seen: intent.seen.iter().fold(0, |bits, uuid| bits | 1 << slot(*uuid)),
            replaces: intent.replaces.map_or(NONE, slot),
        },
        Step::Mark(Marks { identity: None, intent: None }) => Do::Unmark,
        Step::Forget(what) => Do::Forget(*what),
        Step::Create(new) => Do::Create(name_index(new.name.as_str())),
        Step::Rename(uuid, name) => Do::Rename(slot(*uuid), name_index(name.as_str())),
        Step::Delete { uuid, .. } => Do::Delete(slot(*uuid)),
        Step::Release => Do::Release,
        Step::Rest => Do::Rest,
    }
}
