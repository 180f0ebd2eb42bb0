//! Everything that may happen next.
//!
//! Owns the environment: users, the control plane, the network, time and the fate of processes. Each unusual event has
//! a budget, so that there are finitely many histories of them; what is left without any budget is *fair*: it happens
//! again and again until it is done.

use crate::bridge::Core;
use crate::explore::{Next, World};
use crate::hands::{change, meddle, swap, wipe_notes, wipe_status};
use crate::rules::{self, Breach};
use crate::scenes::Scene;
use crate::shell::{Outcome, Stepped, Turn};
use crate::state::{Credentials, Life, Memory, NONE, Note, OBJECTS, OLD, PROCESSES, Process, RECORDS, State};
use crate::story;

/// What a user does to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// `spec.name`.
    Name(u8),
    /// `spec.suspend`.
    Suspend(bool),
    /// `spec.managementPolicy: Observe`.
    Observe,
    /// `spec.deletion.policy: Orphan`.
    Orphan,
    /// `kubectl delete`.
    Delete,
    /// `kubectl create` of a new object under the same name, once the old one is gone.
    Again,
}

/// What somebody else does in the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    /// Renames a registration.
    Rename(u8),
    /// Deletes one at once.
    Remove(u8),
    /// Asks for one's deletion.
    AskDelete(u8),
    /// Registers the first name.
    Create,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words say it")]
pub enum Action {
    Step { process: usize, object: usize, outcome: Outcome },
    Refresh { process: usize, object: usize },
    Poll(usize),
    PollLags(usize),
    Tick,
    Commit(usize),
    Vanish(usize),
    Finish(usize),
    Crash(usize),
    Lead(usize),
    Swap(Credentials),
    Edit(usize, Edit),
    Other(Hand),
    WipeStatus(usize),
    WipeNotes(usize),
    Forge(usize, u8),
}

const OUTCOMES: [Outcome; 10] = [
    Outcome::Works,
    Outcome::NoAnswer,
    Outcome::AnswerLost,
    Outcome::Empty,
    Outcome::Mixed,
    Outcome::Lags,
    Outcome::Unsent,
    Outcome::Refused,
    Outcome::RefusedAfter,
    Outcome::LaterAfter,
];

impl World for Scene {
    type State = State;
    type Action = Action;
    type Core = Core;

    fn name(&self) -> &'static str {
        self.name
    }

    fn core(&self) -> Core {
        Core::new(self)
    }

    fn start(&self) -> State {
        self.first()
    }

    fn actions(&self, state: &State, into: &mut Vec<Action>) {
        actions(self, state, |action| into.push(action));
    }

    fn apply(&self, core: &mut Core, state: &State, action: Action) -> Next<State> {
        apply(self, core, state, action)
    }

    fn is_fair(&self, action: Action) -> bool {
        is_fair(action)
    }

    fn is_goal(&self, core: &mut Core, state: &State) -> bool {
        rules::is_goal(state, self) && is_still(self, core, state)
    }

    fn liveness(&self) -> &'static str {
        "I6"
    }

    fn tell(&self, core: &mut Core, state: &State, action: Action) -> String {
        story::tell(self, core, state, action)
    }

    fn sum_up(&self, state: &State) -> String {
        story::sum_up(self, state)
    }
}

/// Calls `each` with every action that the scene knows.
fn actions(scene: &Scene, state: &State, mut each: impl FnMut(Action)) {
    for process in 0..scene.processes {
        for object in 0..scene.objects {
            let outcomes = if state.left.loss > 0 { &OUTCOMES[..] } else { &OUTCOMES[..1] };
            outcomes.iter().for_each(|outcome| each(Action::Step { process, object, outcome: *outcome }));
            each(Action::Refresh { process, object });
        }
        each(Action::Poll(process));
        each(Action::PollLags(process));
        each(Action::Crash(process));
        each(Action::Lead(process));
    }
    each(Action::Tick);
    (0..state.attempts.len()).for_each(|slot| {
        each(Action::Commit(slot));
        each(Action::Vanish(slot));
    });
    (0..RECORDS).for_each(|slot| each(Action::Finish(slot)));
    let all =
        [Credentials::Ours, Credentials::Rotated, Credentials::Narrow, Credentials::Foreign, Credentials::Revoked];
    for credentials in all {
        each(Action::Swap(credentials));
    }
    for object in 0..scene.objects {
        let edited = object == 0 || !scene.registered;
        scene.edits.iter().filter(|_| edited).for_each(|edit| each(Action::Edit(object, *edit)));
        each(Action::WipeStatus(object));
        each(Action::WipeNotes(object));
        if scene.forgery {
            (0..RECORDS).filter_map(|slot| u8::try_from(slot).ok()).for_each(|slot| each(Action::Forge(object, slot)));
        }
    }
    if state.left.other > 0 {
        for slot in (0..RECORDS).filter_map(|slot| u8::try_from(slot).ok()) {
            each(Action::Other(Hand::Rename(slot)));
            each(Action::Other(Hand::Remove(slot)));
            each(Action::Other(Hand::AskDelete(slot)));
        }
        each(Action::Other(Hand::Create));
    }
}

/// Whether it happens by itself, sooner or later, when nobody disturbs any more.
fn is_fair(action: Action) -> bool {
    match action {
        Action::Step { outcome, .. } => outcome == Outcome::Works,
        Action::Refresh { .. }
        | Action::Poll(_)
        | Action::Tick
        | Action::Commit(_)
        | Action::Vanish(_)
        | Action::Finish(_)
        | Action::Swap(Credentials::Ours) => true,
        Action::PollLags(_)
        | Action::Crash(_)
        | Action::Lead(_)
        | Action::Swap(_)
        | Action::Edit(..)
        | Action::Other(_)
        | Action::WipeStatus(_)
        | Action::WipeNotes(_)
        | Action::Forge(..) => false,
    }
}

/// The state that the action leads to; `None` where it cannot happen or changes nothing.
fn apply(scene: &Scene, core: &mut Core, state: &State, action: Action) -> Stepped {
    let mut next = match step(scene, core, state, action)? {
        Ok(next) => next,
        Err(breach) => return Some(Err(breach)),
    };
    if let Some(breach) = rules::of_state(&next, scene) {
        return Some(Err(breach));
    }
    next.tidy();
    (next != *state).then_some(Ok(next))
}

fn step(scene: &Scene, core: &mut Core, state: &State, action: Action) -> Stepped {
    let mut next = *state;
    match action {
        Action::Step { process, object, outcome } => return operate(scene, core, state, process, object, outcome),
        Action::Refresh { process, object } => refresh(&mut next, process, object)?,
        Action::Poll(process) => {
            let list = (state.credentials != Credentials::Revoked).then(|| state.list(scene.hides_deleting, false))?;
            next.processes[process].inventory = Some(list);
        }
        Action::PollLags(process) => {
            scene.reads_lag.then_some(())?;
            next.left.loss = state.left.loss.checked_sub(1)?;
            next.processes[process].inventory = Some(state.list(scene.hides_deleting, true));
        }
        Action::Tick => tick(scene, &mut next)?,
        Action::Commit(slot) => {
            if let Err(breach) = land(scene, &mut next, slot)? {
                return Some(Err(breach));
            }
        }
        Action::Vanish(slot) => next.attempts[slot].flying = state.attempts[slot].flying.checked_sub(1)?,
        Action::Finish(slot) => {
            let finishes = !scene.never_ends && state.records[slot].life == Life::Deleting;
            finishes.then(|| next.records[slot].life = Life::Gone)?;
        }
        Action::Crash(process) => {
            next.left.crash = state.left.crash.checked_sub(1)?;
            may_die(state, process).then(|| restart(&mut next, process))?;
        }
        Action::Lead(process) => {
            next.left.lease = state.left.lease.checked_sub(1)?;
            (!state.processes[process].leads).then_some(())?;
            lead(&mut next, process)?;
        }
        Action::Swap(to) => swap(scene, &mut next, to)?,
        Action::Edit(object, edit) => change(scene, &mut next, object, edit)?,
        Action::Other(hand) => meddle(&mut next, hand)?,
        Action::WipeStatus(object) => wipe_status(&mut next, object)?,
        Action::WipeNotes(object) => wipe_notes(&mut next, object, Note::Nothing)?,
        Action::Forge(object, slot) => {
            (state.records[usize::from(slot)].life == Life::Live).then_some(())?;
            wipe_notes(&mut next, object, Note::Forged(slot))?;
        }
    }
    Some(Ok(next))
}

/// I8: everybody knows all there is to know, and a pass over any object changes nothing.
fn is_still(scene: &Scene, core: &mut Core, state: &State) -> bool {
    let list = state.list(scene.hides_deleting, false);
    let calm = |process: &Process| {
        let idle = (0..OBJECTS).all(|object| process.current[object] && !process.pass[object].on);
        idle && process.inventory == Some(list)
    };
    if !state.processes[..scene.processes].iter().all(calm) {
        return false;
    }
    for process in 0..scene.processes {
        for object in 0..scene.objects {
            let mut after = *state;
            while let Some(Ok(next)) = operate(scene, core, &after, process, object, Outcome::Works) {
                if next.objects != state.objects || next.records != state.records {
                    return false;
                }
                if !next.processes[process].pass[object].on {
                    break;
                }
                after = next;
            }
        }
    }
    true
}

fn operate(scene: &Scene, core: &mut Core, state: &State, process: usize, object: usize, outcome: Outcome) -> Stepped {
    let mut turn = Turn::new(scene, core, state, process, object)?;
    if outcome != Outcome::Works {
        turn.state.left.loss = turn.state.left.loss.checked_sub(1)?;
    }
    turn.step(outcome)
}

fn refresh(next: &mut State, process: usize, object: usize) -> Option<()> {
    let stored = next.objects[object];
    let of = &mut next.processes[process];
    (!of.current[object] && !of.pass[object].on).then_some(())?;
    if !stored.here || stored.uid != of.view[object].uid {
        of.memory[object] = Memory::default();
    }
    of.view[object] = stored;
    of.current[object] = true;
    of.memory[object].claim = NONE;
    Some(())
}

/// Half a quarantine goes by. A POST under way is committed within the quarantine or never: the assumption of I1.
fn tick(scene: &Scene, next: &mut State) -> Option<()> {
    for attempt in &mut next.attempts {
        if attempt.object == NONE {
            continue;
        }
        let age = (attempt.age + 1).min(OLD);
        (attempt.flying == 0 || age < OLD || scene.commits_late).then_some(())?;
        attempt.age = age;
    }
    for record in &mut next.records {
        record.young = record.young.saturating_sub(1);
    }
    for process in &mut next.processes {
        for memory in &mut process.memory {
            memory.empty_look.1 = false;
        }
    }
    if scene.never_ends {
        for object in 0..OBJECTS {
            let status = &mut next.objects[object].status;
            if status.asked == 1 {
                status.asked = 2;
                // Time goes by for every copy alike.
                for process in &mut next.processes {
                    let seen = &mut process.view[object].status;
                    seen.asked = if seen.asked == 1 { 2 } else { seen.asked };
                }
            }
        }
    }
    Some(())
}

/// A POST under way arrives.
fn land(scene: &Scene, next: &mut State, slot: usize) -> Option<Result<(), Breach>> {
    let attempt = next.attempts[slot];
    next.attempts[slot].flying = attempt.flying.checked_sub(1)?;
    if scene.unique_names && next.taken(attempt.name, attempt.foreign, NONE) {
        return Some(Ok(()));
    }
    let made = next.commit(attempt.name, attempt.object, attempt.foreign, u8::from(scene.reads_lag));
    Some(made.map(|_| ()).ok_or_else(|| Breach::bound("no record slot is left")))
}

/// Whether what only this process remembers may be lost: one copy of a note may go, not all at once.
fn may_die(state: &State, process: usize) -> bool {
    let of = &state.processes[process];
    (0..OBJECTS).all(|object| {
        let (stored, memory) = (&state.objects[object], &of.memory[object]);
        let sent = memory.intent != NONE && memory.unsent != memory.intent;
        let noted = stored.status.uuid != NONE || matches!(stored.note, Note::Signed { .. });
        !sent || stored.intent == memory.intent || stored.status.intent == memory.intent || noted || !stored.here
    })
}

fn restart(next: &mut State, process: usize) {
    let leads = next.processes[process].leads;
    next.processes[process] = Process { leads, view: next.objects, current: [true; OBJECTS], ..Process::default() };
}

/// The lease goes over. Who loses it ends.
fn lead(next: &mut State, process: usize) -> Option<()> {
    for other in (0..PROCESSES).filter(|other| *other != process) {
        if next.processes[other].leads {
            may_die(next, other).then_some(())?;
            next.processes[other].leads = false;
            restart(next, other);
        }
    }
    next.processes[process].leads = true;
    Some(())
}
