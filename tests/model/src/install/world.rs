//! Everything else that may happen to the Secrets: users, the control plane, time, and the fate of processes. What needs
//! no budget and is fair happens sooner or later.

use crate::explore::{Next, World};

use super::pass::{Core, Outcome, Turn, watched};
use super::rules;
use super::scenes::Scene;
use super::state::{NONE, OVER, Object, PROCESSES, Process, Record, SHELVES, Secret, Stage, State, Value};
use super::story;

/// What a user does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Asks for another name, or, with 0, for none.
    Ask(u8),
    /// Deletes a Secret.
    Erase(usize),
    /// Changes what one holds.
    Damage(usize),
    /// Changes a label of one.
    Relabel(usize),
    /// Makes one immutable.
    Lock(usize),
    /// Makes a Secret of that name.
    Plant(usize),
}

/// What happens in the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    /// The client secret is rotated.
    Rotate,
    /// The registration is deleted by somebody.
    Lose,
    /// It is upgraded, and gives bootstrap tokens from now on.
    Upgrade,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words say it")]
pub enum Action {
    Step(usize, Outcome),
    Hear(usize),
    HearSecret(usize, usize),
    Register(usize),
    Connect,
    Minute,
    Hour,
    Part,
    Crash(usize),
    User(Edit),
    Other(Hand),
}

impl World for Scene {
    type State = State;
    type Action = Action;
    type Core = Core;

    fn name(&self) -> &'static str {
        self.name
    }

    fn core(&self) -> Core {
        Core::new()
    }

    fn start(&self) -> State {
        let object = Object { asked: 1, own: NONE, ..Object::default() };
        let mut state = State { object, third: self.third, left: self.budget, ..State::default() };
        // Somebody else's of the same name is in sight.
        state.records[0] = Record { live: true, rotated: 0, waiting: true };
        for process in &mut state.processes[..self.processes()] {
            *process = Process { leads: true, view: object, ..Process::default() };
        }
        state
    }

    fn actions(&self, state: &State, into: &mut Vec<Action>) {
        let outcomes = [Outcome::Works, Outcome::Fails, Outcome::AnswerLost];
        let possible = if state.left.loss > 0 { &outcomes[..] } else { &outcomes[..1] };
        for process in 0..self.processes() {
            into.extend(possible.iter().map(|outcome| Action::Step(process, *outcome)));
            into.extend([Action::Hear(process), Action::Register(process), Action::Crash(process)]);
            into.extend((0..SHELVES).map(|at| Action::HearSecret(process, at)));
        }
        into.extend([Action::Connect, Action::Minute, Action::Hour, Action::Part]);
        into.extend(self.edits.iter().map(|edit| Action::User(*edit)));
        into.extend(self.hands.iter().map(|hand| Action::Other(*hand)));
    }

    fn apply(&self, core: &mut Core, state: &State, action: Action) -> Next<State> {
        let next = match action {
            Action::Step(process, outcome) => match Turn::new(self, core, state, process, outcome).step()? {
                Ok(next) => next,
                Err(breach) => return Some(Err(breach)),
            },
            other => happen(self, state, other)?,
        };
        (next != *state).then_some(Ok(next))
    }

    fn is_fair(&self, action: Action) -> bool {
        match action {
            Action::Step(_, outcome) => outcome == Outcome::Works,
            Action::Hear(_)
            | Action::HearSecret(..)
            | Action::Register(_)
            | Action::Minute
            | Action::Hour
            | Action::Part => true,
            Action::Connect | Action::Crash(_) | Action::User(_) | Action::Other(_) => false,
        }
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
        story::sum_up(state)
    }
}

/// A pass of the leader writes nothing.
fn is_still(scene: &Scene, core: &Core, state: &State) -> bool {
    let mut after = *state;
    while let Some(Ok(next)) = Turn::new(scene, core, &after, 0, Outcome::Works).step() {
        if next.secrets != state.secrets || next.object != state.object {
            return false;
        }
        if next.processes[0].pass.stage == Stage::Off {
            break;
        }
        after = next;
    }
    true
}

fn happen(scene: &Scene, state: &State, action: Action) -> Option<State> {
    let mut next = *state;
    match action {
        Action::Step(..) => return None,
        Action::Hear(process) => hear(&mut next, process)?,
        Action::HearSecret(process, at) => {
            let news = watched(state.secrets[at]);
            let of = &mut next.processes[process];
            // Nobody tells what becomes of a Secret without our label.
            let told = of.memory.watches && !(of.known[at] == Secret::Foreign && news == Secret::Missing);
            told.then(|| of.known[at] = news)?;
        }
        Action::Register(process) => register(scene, &mut next, process)?,
        Action::Connect => next.records.get_mut(usize::from(state.object.own))?.waiting = false,
        Action::Minute => next.processes.iter_mut().for_each(minute),
        Action::Hour => hour(&mut next)?,
        Action::Part => {
            let may_end = state.object.asked > 0 || !is_untold(state);
            (scene.second && state.processes[1].leads && may_end).then_some(())?;
            next.processes[1].leads = false;
        }
        Action::Crash(process) => {
            next.left.crash = state.left.crash.checked_sub(1)?;
            (state.object.asked > 0 || !is_untold(state)).then_some(())?;
            let leads = state.processes[process].leads;
            next.processes[process] = Process { leads, view: state.object, ..Process::default() };
        }
        Action::User(edit) => change(&mut next, edit)?,
        Action::Other(hand) => meddle(&mut next, hand)?,
    }
    Some(next)
}

/// Status does not say yet that there is a Secret: only a process that watches knows of it. Nobody stops asking just then
/// and has the process die as well; else the Secret stays until the object goes.
fn is_untold(state: &State) -> bool {
    state.object.told == 0 && state.secrets.iter().any(|secret| secret.is_ours())
}

fn hear(next: &mut State, process: usize) -> Option<()> {
    let object = next.object;
    let of = &mut next.processes[process];
    (of.pass.stage == Stage::Off).then_some(())?;
    if of.view.asked != object.asked {
        of.memory.failed = of.memory.failed.map(|(lasts, _)| (lasts, false));
        of.memory.writes = 0;
    }
    of.view = object;
    Some(())
}

/// What the rest of the operator does: a registration that is missing is made, and noted.
fn register(scene: &Scene, next: &mut State, process: usize) -> Option<()> {
    let of = &next.processes[process];
    (of.leads && of.pass.stage == Stage::Off && of.view == next.object && !scene.observes).then_some(())?;
    let slot = match next.object.own {
        NONE => 1,
        own if next.records[usize::from(own)].live => return None,
        own => own + 1,
    };
    *next.records.get_mut(usize::from(slot))? = Record { live: true, rotated: 0, waiting: true };
    next.object.own = slot;
    next.processes[process].view = next.object;
    Some(())
}

fn minute(process: &mut Process) {
    process.memory.failed = process.memory.failed.map(|(_, same_spec)| (false, same_spec));
    process.memory.writes = 0;
}

/// No pass takes so long.
fn hour(next: &mut State) -> Option<()> {
    next.processes.iter().all(|process| process.pass.stage == Stage::Off).then_some(())?;
    let older = |token: &mut Option<Value>| {
        if let Some(token) = token {
            token.age = (token.age + 1).min(OVER);
        }
    };
    let grow = |secret: &mut Secret| {
        if let Secret::Ours { data, .. } = secret {
            older(&mut data.token);
        }
    };
    next.secrets.iter_mut().for_each(grow);
    for index in 0..PROCESSES {
        let process = &mut next.processes[index];
        minute(process);
        // Time goes by for every copy alike.
        process.known.iter_mut().for_each(grow);
        process.memory.read = if process.memory.read == 0 { 0 } else { 2 };
    }
    Some(())
}

fn change(next: &mut State, edit: Edit) -> Option<()> {
    next.left.user = next.left.user.checked_sub(1)?;
    match edit {
        Edit::Ask(asked) => {
            let known = next.processes.iter().any(|process| process.leads && process.memory.watches);
            (asked != next.object.asked && (asked > 0 || known || !is_untold(next))).then_some(())?;
            next.object.asked = asked;
        }
        Edit::Erase(at) => {
            (next.secrets[at] != Secret::Missing).then_some(())?;
            next.secrets[at] = Secret::Missing;
        }
        Edit::Plant(at) => {
            (next.secrets[at] == Secret::Missing).then_some(())?;
            next.secrets[at] = Secret::Foreign;
        }
        Edit::Damage(at) | Edit::Relabel(at) | Edit::Lock(at) => {
            let Secret::Ours { intact, labels, locked, .. } = &mut next.secrets[at] else { return None };
            match edit {
                Edit::Lock(_) => *locked = true,
                Edit::Relabel(_) => *labels = false,
                // Nobody can change what is immutable.
                _ => *intact = *locked && *intact,
            }
        }
    }
    Some(())
}

/// A registration is lost once: there are not more of them in this world.
fn meddle(next: &mut State, hand: Hand) -> Option<()> {
    next.left.other = next.left.other.checked_sub(1)?;
    let own = usize::from(next.object.own);
    match hand {
        Hand::Rotate => {
            let record = next.records.get_mut(own).filter(|record| record.live)?;
            record.rotated += 1;
        }
        Hand::Lose => {
            (own == 1 && next.records[1].live).then_some(())?;
            next.records[1].live = false;
        }
        Hand::Upgrade => {
            (!next.third).then_some(())?;
            next.third = true;
        }
    }
    Some(())
}
