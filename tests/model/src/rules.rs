//! The invariants, judged from the truth of a state: see I1 to I6 in docs/reliability.md.
//!
//! Owns the judgement. Must not change a state.

use crate::bridge::Do;
use crate::domain::Reason;
use crate::domain::plan::Stale;
use crate::scenes::Scene;
use crate::shell::Turn;
use crate::state::{Credentials, Life, NONE, Note, OBJECTS, Object, Record, State};

/// An invariant that does not hold.
#[derive(Clone, Debug)]
pub struct Breach {
    /// Which: `I1` to `I6`, `I8`, `I10`, or `bound` where the model itself is too small.
    pub rule: &'static str,
    /// What happened.
    pub what: String,
}

impl Breach {
    pub(crate) fn bound(what: &str) -> Self {
        Self { rule: "bound", what: what.to_owned() }
    }

    pub(crate) fn of(rule: &'static str, what: String) -> Self {
        Self { rule, what }
    }
}

fn exists(life: Life) -> bool {
    matches!(life, Life::Live | Life::Deleting)
}

/// I1 and I3: what must hold in every state.
pub(crate) fn of_state(state: &State, scene: &Scene) -> Option<Breach> {
    for object in 0..OBJECTS {
        let made = |life: fn(Life) -> bool| {
            let slots = state.records.iter().enumerate();
            slots.filter(move |(_, r)| usize::from(r.maker) == object && life(r.life)).map(|(slot, _)| slot)
        };
        let live: Vec<_> = made(|life| life == Life::Live).collect();
        if live.len() > 1 && !scene.tolerates_two {
            return Some(Breach::of("I1", format!("object {object} made two registrations, {live:?}")));
        }
        let of = &state.objects[object];
        if of.here || of.left {
            continue;
        }
        // Credentials that see less may take an accepted DELETE for a finished one: the control plane has it in hand.
        let stays = if scene.narrow { |life| life == Life::Live } else { exists };
        if let Some(slot) = made(stays).find(|slot| !taken_by_other(state, scene, object, *slot)) {
            return Some(Breach::of("I3", format!("object {object} is gone, its registration {slot} exists")));
        }
        if state.attempts.iter().any(|attempt| usize::from(attempt.object) == object && attempt.flying > 0) {
            return Some(Breach::of("I3", format!("object {object} is gone while its POST is under way")));
        }
    }
    None
}

fn noted(object: &Object) -> u8 {
    match object.note {
        _ if object.status.uuid != NONE => object.status.uuid,
        Note::Signed { uuid, .. } => uuid,
        Note::Nothing | Note::Forged(_) => NONE,
    }
}

/// The other object owns it, or is about to take it over by its name.
fn taken_by_other(state: &State, scene: &Scene, object: usize, slot: usize) -> bool {
    let other = &state.objects[1 - object];
    let takes = scene.may_adopt && other.here && other.spec.adopt && other.spec.name == state.records[slot].name;
    takes || owned_by_other(state, object, slot)
}

fn owned_by_other(state: &State, object: usize, slot: usize) -> bool {
    let other = &state.objects[1 - object];
    other.here && usize::from(noted(other)) == slot
}

/// I2, I4 and I5: what must not be done now, whatever the reason.
pub(crate) fn of_step(turn: &Turn<'_>) -> Option<Breach> {
    let (state, step, why) = (&turn.state, turn.decision.step, turn.decision.why);
    let of = &state.processes[turn.process];
    let (view, pass) = (&of.view[turn.object], &of.pass[turn.object]);
    let builds_on_absence = match step {
        Do::Create(_) | Do::Forget(Stale::Registration) | Do::Intend { .. } => true,
        Do::Release => why != Reason::Orphaned,
        _ => false,
    };
    if pass.failed && builds_on_absence {
        return Some(Breach::of("I4", format!("{step:?} because {why:?}, after a read that failed")));
    }
    let (uuid, deletes) = match step {
        Do::Create(_) => (NONE, false),
        Do::Rename(uuid, _) => (uuid, false),
        Do::Delete(uuid) => (uuid, true),
        _ => return None,
    };
    let adopted = view.status.adopted || matches!(view.note, Note::Signed { adopted: true, .. });
    let forbidden = [
        (!of.leads, "without the lease"),
        (view.spec.observe, "under Observe"),
        (!deletes && view.spec.suspend, "under suspend"),
        (deletes != view.deleting, "in the wrong half of its life"),
        (deletes && (view.spec.orphan || adopted), "although the registration may stay"),
        (deletes && turn.scene.crd_deleting, "while the CRD is being deleted"),
    ];
    if let Some((_, how)) = forbidden.into_iter().find(|(holds, _)| *holds) {
        return Some(Breach::of("I5", format!("{step:?} {how}")));
    }
    if uuid == NONE {
        return None;
    }
    let record = &state.records[usize::from(uuid)];
    let may_have = usize::from(record.maker) == turn.object || (adopted && turn.scene.may_adopt);
    let elder = turn.object == 1 && owned_by_other(state, 1, usize::from(uuid));
    (exists(record.life) && (!may_have || elder))
        .then(|| Breach::of("I2", format!("{step:?}, which object {} does not own", turn.object)))
}

/// Whether every object is where it should end up once nothing disturbs any more.
pub(crate) fn is_goal(state: &State, scene: &Scene) -> bool {
    matches!(state.credentials, Credentials::Ours | Credentials::Rotated)
        && state.attempts.iter().all(|attempt| attempt.flying == 0)
        && (0..scene.objects).all(|object| at_goal(state, scene, object))
}

fn at_goal(state: &State, scene: &Scene, object: usize) -> bool {
    let of = &state.objects[object];
    if !of.here {
        return true;
    }
    let Some(why) = Reason::ALL.get(usize::from(of.status.why)).copied() else { return false };
    let record = state.records.get(usize::from(of.status.uuid));
    let (in_sync, stalled, apart) = (of.status.stance == 0, of.status.stance == 2, of.status.stance == 3);
    let two = state.records.iter().filter(|r| r.life == Life::Live && usize::from(r.maker) == object).count() > 1;
    if two {
        return matches!(why, Reason::DuplicateRegistration | Reason::CreateAmbiguous) && stalled;
    }
    let held = |record: &Record| record.life == Life::Deleting && record.name == of.spec.name;
    if why == Reason::NameHeld && scene.never_ends && state.records.iter().any(held) {
        return true;
    }
    if stalled || apart {
        return is_excused(state, scene, object, why);
    }
    if !in_sync || of.deleting {
        return false;
    }
    let right = record.is_some_and(|record| record.life == Life::Live && record.name == of.spec.name);
    match why {
        Reason::Observed => of.spec.observe && record.is_some_and(|record| record.life == Life::Live),
        Reason::Suspended => of.spec.suspend && right,
        _ => right && !of.spec.suspend && !of.spec.observe,
    }
}

/// Whether a state that needs a person, or waits for one, is justified by the truth.
fn is_excused(state: &State, scene: &Scene, object: usize, why: Reason) -> bool {
    let of = &state.objects[object];
    let record = state.records.get(usize::from(noted(of)));
    let meddled = state.left.other < scene.budget.other;
    let foreign = record.is_some_and(|record| record.foreign)
        || [of.intent, of.status.intent]
            .into_iter()
            .any(|slot| slot != NONE && state.attempts[usize::from(slot)].tenant == 2);
    let named = |slot: usize| {
        let other = &state.records[slot];
        exists(other.life) && other.name == of.spec.name && slot != usize::from(noted(of))
    };
    let named_by_another = |slot: usize| named(slot) && usize::from(state.records[slot].maker) != object;
    match why {
        Reason::NameConflict => (0..state.records.len()).any(named) || (scene.objects > 1 && !of.deleting),
        Reason::Suspended => of.spec.suspend && !of.deleting,
        Reason::AdoptionTargetMissing => of.spec.observe,
        Reason::AdoptionNotAllowed => !scene.may_adopt,
        Reason::AlreadyClaimed => record.is_some() && owned_by_other(state, object, usize::from(noted(of))),
        Reason::ExternallyDeleted => record.is_none_or(|record| !exists(record.life)),
        // Whoever lost the annotations, and the process that remembered, has no proof left.
        Reason::AbsenceUnproven => {
            let traceless = !matches!(of.note, Note::Signed { .. }) && of.status.asked == 0 && scene.budget.wipe > 0;
            let by_others = matches!(of.note, Note::Signed { by, .. } if by != state.credentials);
            record.is_none_or(|record| !exists(record.life))
                && (meddled || traceless || by_others || !scene.token_tells)
        }
        Reason::OriginChanged => foreign,
        // Another object may have renamed its own registration to the name in doubt.
        Reason::CreateAmbiguous => meddled || scene.commits_late || (0..state.records.len()).any(named_by_another),
        Reason::DuplicateRegistration => (0..state.records.len()).any(named),
        Reason::IdentityConflict => matches!(of.note, Note::Forged(_)) || scene.budget.wipe > 0,
        Reason::DeletionStalled => scene.never_ends && record.is_some_and(|record| record.life == Life::Deleting),
        Reason::DeletionRequested => scene.never_ends && record.is_some_and(|record| record.life == Life::Deleting),
        _ => false,
    }
}
