//! What people do: with credentials, objects, registrations and notes.

use crate::scenes::Scene;
use crate::state::{Credentials, Life, NONE, Note, OBJECTS, OTHERS, Object, Pass, State, Status};
use crate::world::{Edit, Hand};

/// A connection that is replaced ends the passes that use it. Credentials that see less than those that sent a request
/// cannot tell what became of it: not while one is open. Nor those of a tenant that cannot be told from ours.
pub(crate) fn swap(scene: &Scene, next: &mut State, to: Credentials) -> Option<()> {
    let possible = match to {
        Credentials::Ours | Credentials::Rotated | Credentials::Revoked => true,
        Credentials::Narrow => scene.narrow && next.attempts.iter().all(|attempt| attempt.object == NONE),
        Credentials::Foreign => scene.token_tells,
    };
    (possible && to != next.credentials).then_some(())?;
    if to != Credentials::Ours {
        next.left.swap = next.left.swap.checked_sub(1)?;
    }
    next.credentials = to;
    for process in &mut next.processes {
        process.pass = [Pass::default(); OBJECTS];
        process.inventory = None;
    }
    Some(())
}

pub(crate) fn change(scene: &Scene, next: &mut State, object: usize, edit: Edit) -> Option<()> {
    next.left.user = next.left.user.checked_sub(1)?;
    let of = &mut next.objects[object];
    let before = *of;
    match edit {
        Edit::Again => {
            (!of.here).then_some(())?;
            *of = Object { here: true, uid: !before.uid, spec: scene.specs[object], ..Object::default() };
            let maker = u8::try_from(object).unwrap_or(NONE);
            next.records.iter_mut().filter(|record| record.maker == maker).for_each(|record| record.maker = OTHERS);
            next.attempts
                .iter_mut()
                .filter(|attempt| attempt.object == maker)
                .for_each(|attempt| attempt.object = OTHERS);
        }
        _ if !of.here => return None,
        Edit::Delete => {
            of.deleting = true;
            of.here = of.finalizer;
        }
        Edit::Name(name) => of.spec.name = name,
        Edit::Suspend(on) => of.spec.suspend = on,
        Edit::Observe => of.spec.observe = true,
        Edit::Orphan => of.spec.orphan = true,
    }
    (before != next.objects[object]).then_some(())?;
    next.written(object, None);
    Some(())
}

/// Somebody else in the control plane. Nobody renames what the operator has not noted yet (no name could find it
/// again), and nobody registers a name while a create of that very name is in doubt (nothing could tell the two apart).
pub(crate) fn meddle(next: &mut State, hand: Hand) -> Option<()> {
    next.left.other = next.left.other.checked_sub(1)?;
    match hand {
        Hand::Rename(slot) => {
            let noted = |object: &Object| {
                object.status.uuid == slot || matches!(object.note, Note::Signed { uuid, .. } if uuid == slot)
            };
            let known = next.objects.iter().any(noted);
            let record = &mut next.records[usize::from(slot)];
            (record.life == Life::Live && record.name != 2 && (known || record.maker == OTHERS)).then_some(())?;
            record.name = 2;
        }
        Hand::Remove(slot) => {
            let record = &mut next.records[usize::from(slot)];
            matches!(record.life, Life::Live | Life::Deleting).then_some(())?;
            record.life = Life::Gone;
        }
        Hand::AskDelete(slot) => {
            let record = &mut next.records[usize::from(slot)];
            (record.life == Life::Live).then_some(())?;
            record.life = Life::Deleting;
        }
        Hand::Create => {
            let open = next.attempts.iter().any(|attempt| attempt.object != NONE && attempt.name == 0);
            (!open).then_some(())?;
            next.commit(0, OTHERS, false, 0)?;
        }
    }
    Some(())
}

/// A restore from a backup, which leaves status out. Not while status holds the only copy.
pub(crate) fn wipe_status(next: &mut State, object: usize) -> Option<()> {
    next.left.wipe = next.left.wipe.checked_sub(1)?;
    let of = &mut next.objects[object];
    let status = of.status;
    let noted = status.uuid == NONE || matches!(of.note, Note::Signed { uuid, .. } if uuid == status.uuid);
    let told = status.intent == NONE || status.intent == of.intent;
    (of.here && noted && told).then_some(())?;
    of.status = Status::default();
    next.written(object, None);
    Some(())
}

/// A `kubectl replace`, which wipes annotations, or a user's own. Not while they hold the only copy.
pub(crate) fn wipe_notes(next: &mut State, object: usize, note: Note) -> Option<()> {
    next.left.wipe = next.left.wipe.checked_sub(1)?;
    let of = &mut next.objects[object];
    let noted = match of.note {
        Note::Signed { uuid, .. } => of.status.uuid == uuid,
        Note::Nothing | Note::Forged(_) => true,
    };
    let remembered = next.processes.iter().any(|process| process.leads && process.memory[object].intent == of.intent);
    let told = of.intent == NONE || remembered || of.status.intent == of.intent;
    (of.here && noted && told).then_some(())?;
    of.note = note;
    of.intent = NONE;
    next.written(object, None);
    Some(())
}
