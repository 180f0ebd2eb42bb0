//! What a process does with a decision: one call, to the Kubernetes API or to the control plane, and what it makes of
//! the answer. The operator's own shell is `src/controller/{pass,act}.rs`; this one does the same to a [`State`].
//!
//! Owns the order of effects and notes within a step. Judges nothing: that is `rules`.

use crate::bridge::{Core, Decision, Do};
use crate::domain::Reason;
use crate::domain::plan::Stale;
use crate::explore::Next;
use crate::mutant::Mutant;
use crate::rules::{self, Breach};
use crate::scenes::Scene;
use crate::state::{
    Attempt, Credentials, Failure, Life, List, Memory, NONE, Named, Note, Pass, RECORDS, Sight, State, Status,
};

/// What becomes of the one call of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It works.
    Works,
    /// No answer. A POST may take effect later; anything else took none.
    NoAnswer,
    /// No answer, but it took effect.
    AnswerLost,
    /// A list that holds nothing, whatever there is.
    Empty,
    /// A list whose uuids are not those of its registrations.
    Mixed,
    /// The answer of a replica that does not know the latest.
    Lags,
    /// It certainly was not sent.
    Unsent,
    /// 4xx.
    Refused,
    /// 4xx by a gateway, after it took effect.
    RefusedAfter,
    /// 503 with `Retry-After` by a gateway, after it took effect.
    LaterAfter,
}

/// One step of one process, in the making.
pub(crate) struct Turn<'a> {
    pub(crate) scene: &'a Scene,
    pub(crate) core: &'a mut Core,
    pub(crate) state: State,
    pub(crate) process: usize,
    pub(crate) object: usize,
    pub(crate) decision: Decision,
}

/// What a step leads to. `None`: it cannot happen.
pub(crate) type Stepped = Next<State>;

impl<'a> Turn<'a> {
    /// Begins a pass where none is under way, and asks the core. `None`: this process has nothing to do there.
    pub(crate) fn new(
        scene: &'a Scene,
        core: &'a mut Core,
        state: &State,
        process: usize,
        object: usize,
    ) -> Option<Self> {
        let of = &state.processes[process];
        if !of.view[object].here || !(of.leads || scene.has(Mutant::IgnoreTheLease)) {
            return None;
        }
        let decision = core.decide(state, process, object);
        let mut turn = Self { scene, core, state: *state, process, object, decision };
        if turn.pass().on {
            turn.take_in_news();
        } else {
            turn.pass().on = true;
            turn.read_the_clock();
            let remembers = turn.decision.remembers_refusal;
            turn.pass().refused = turn.memory().refused.filter(|_| remembers).map(|(_, why)| why);
            turn.look_again();
            turn.note_in_vain(scene.has(Mutant::SkipTheLook));
        }
        turn.decision = turn.core.decide(&turn.state, process, object);
        Some(turn)
    }

    pub(crate) fn pass(&mut self) -> &mut Pass {
        &mut self.state.processes[self.process].pass[self.object]
    }

    pub(crate) fn memory(&mut self) -> &mut Memory {
        &mut self.state.processes[self.process].memory[self.object]
    }

    pub(crate) fn ends(mut self) -> Stepped {
        *self.pass() = Pass::default();
        Some(Ok(self.state))
    }

    pub(crate) fn goes_on(self) -> Stepped {
        Some(Ok(self.state))
    }

    fn read_the_clock(&mut self) {
        self.pass().young = self.state.records.map(|record| record.young);
    }

    /// What the inventory knows of the questions of this pass: a step may have changed them.
    pub(crate) fn look_again(&mut self) {
        self.decision = self.core.decide(&self.state, self.process, self.object);
        let (asks, name) = (self.decision.asks, self.decision.name);
        let inventory = self.state.processes[self.process].inventory;
        let Some(list) = inventory else { return };
        if asks.wrapping_add(1) != self.pass().about || self.pass().sight == Sight::NotLooked {
            self.pass().about = asks.wrapping_add(1);
            self.pass().sight = match asks {
                NONE => Sight::NotLooked,
                slot => match list[usize::from(slot)] {
                    0 => Sight::NotListed,
                    seen => Sight::Present(slot, seen),
                },
            };
            self.note_seen();
        }
        let known = match self.pass().named {
            Named::NotLooked => NONE,
            Named::Snapshot(name, _) | Named::Fresh(name, _) => name,
        };
        if name != NONE && known != name {
            self.pass().named = Named::Snapshot(name, of_name(list, name));
        }
    }

    /// A name that was looked for takes in what became known since.
    fn take_in_news(&mut self) {
        let inventory = self.state.processes[self.process].inventory;
        if let (Named::Fresh(name, list), Some(inventory)) = (&mut self.pass().named, inventory) {
            let known = of_name(inventory, *name);
            for (seen, news) in list.iter_mut().zip(known) {
                *seen = if *seen == 0 { news } else { *seen };
            }
        }
    }

    pub(crate) fn note_seen(&mut self) {
        let by = self.state.credentials;
        if matches!(self.pass().sight, Sight::Present(..)) && self.memory().seen_by != Some(by) {
            self.memory().seen_by = Some(by);
        }
    }

    /// Carries out the step with this outcome.
    pub(crate) fn step(self, outcome: Outcome) -> Stepped {
        let breach = rules::of_step(&self);
        if let Some(breach) = breach {
            return Some(Err(breach));
        }
        let (step, scene) = (self.decision.step, self.scene);
        let reads = matches!(step, Do::LookNames(_) | Do::LookById(_) | Do::LookRead(_));
        let possible = match outcome {
            Outcome::Works | Outcome::NoAnswer => true,
            Outcome::AnswerLost => !reads && step != Do::LookCrd,
            Outcome::Empty => scene.lists_lie && matches!(step, Do::LookNames(_)),
            Outcome::Mixed => scene.lists_mix && matches!(step, Do::LookNames(_)),
            Outcome::Lags => scene.reads_lag && reads,
            Outcome::Unsent | Outcome::Refused | Outcome::RefusedAfter | Outcome::LaterAfter => {
                matches!(step, Do::Create(_))
            }
        };
        if !possible {
            return None;
        }
        match step {
            Do::LookNames(_) | Do::LookById(_) | Do::LookRead(_) | Do::LookCrd => self.look(outcome),
            Do::Identify { uuid, adopted, by } => self.mark(outcome, Note::Signed { uuid, adopted, by }, NONE),
            Do::Intend { name, seen, replaces } => self.intend(outcome, name, seen, replaces),
            Do::Unmark => self.mark(outcome, Note::Nothing, NONE),
            Do::Forget(what) => self.forget(outcome, what),
            Do::Create(name) => self.create(outcome, name),
            Do::Rename(uuid, name) => self.rename(outcome, uuid, name),
            Do::Delete(uuid) => self.delete(outcome, uuid),
            Do::Release => self.release(outcome),
            Do::Rest => self.rest(outcome),
        }
    }

    // ---- looks ----

    fn look(mut self, outcome: Outcome) -> Stepped {
        let works = outcome != Outcome::NoAnswer;
        let revoked = self.state.credentials == Credentials::Revoked && self.decision.step != Do::LookCrd;
        self.pass().failed = !works || revoked;
        let believes = (self.scene.has(Mutant::TrustAFailedList) && matches!(self.decision.step, Do::LookNames(_)))
            || (self.scene.has(Mutant::AbsentWhenRefused) && revoked);
        if (!works || revoked) && !believes {
            self.pass().trouble = Some(if revoked { Failure::Refused } else { Failure::Connection });
            return self.goes_on();
        }
        let lags = outcome == Outcome::Lags;
        let mut list = List::default();
        if matches!(outcome, Outcome::Works | Outcome::Mixed | Outcome::Lags) && !revoked {
            list = self.state.list(self.scene.hides_deleting, lags);
        }
        if outcome == Outcome::Mixed {
            list.reverse();
        }
        match self.decision.step {
            Do::LookNames(name) => {
                self.read_the_clock();
                let open = self.decision.open;
                // Only a refusal asks for it.
                let asks = open != NONE && self.pass().refused.is_some();
                self.pass().looked = if asks { self.state.attempts[usize::from(open)].age } else { 0 };
                self.state.processes[self.process].inventory = Some(list);
                self.pass().named = Named::Fresh(name, of_name(list, name));
                self.pass().witness = self.witness(list).wrapping_add(1);
                self.pass().reads = [None; RECORDS];
                if self.scene.has(Mutant::TrustAListAlone) {
                    self.pass().reads = list.map(|seen| (seen != 0).then_some(seen));
                }
            }
            Do::LookById(uuid) => {
                self.read_the_clock();
                let found = if revoked { 0 } else { self.state.get(uuid, lags) };
                self.state.processes[self.process].inventory = Some(list);
                let tenant = self.tenant(list);
                self.pass().unlisted = found != 0;
                self.pass().about = uuid.wrapping_add(1);
                self.pass().sight = if found == 0 { Sight::Absent(true, tenant) } else { Sight::Present(uuid, found) };
                if found == 0 && self.scene.has(Mutant::AbsentWhenNotFound) {
                    let by = self.state.credentials;
                    self.memory().accepted = Some((by, false));
                }
                self.note_seen();
            }
            Do::LookRead(uuid) => {
                let found = self.state.get(uuid, lags);
                self.pass().reads[usize::from(uuid)] = Some(found);
            }
            _ => self.pass().crd = Some(self.scene.crd_deleting),
        }
        self.note_in_vain(true);
        self.goes_on()
    }

    fn note_in_vain(&mut self, looked: bool) {
        let after = self.core.decide(&self.state, self.process, self.object);
        if looked && after.in_vain != NONE && self.memory().empty_look.0 != after.in_vain {
            self.memory().empty_look = (after.in_vain, true);
        }
    }

    fn witness(&mut self, list: List) -> u8 {
        let of = &self.state.processes[self.process];
        let other = of.view[1 - self.object];
        let empty = list.iter().all(|seen| *seen == 0) && !self.scene.has(Mutant::TrustAnEmptyList);
        if empty && other.here && !other.deleting { other.status.uuid } else { NONE }
    }

    /// The tenant that answered: from the records, else from a new token.
    fn tenant(&self, list: List) -> u8 {
        match list.iter().position(|seen| *seen != 0) {
            Some(slot) => 1 + u8::from(self.state.records[slot].foreign),
            None if self.scene.token_tells => 1 + u8::from(self.state.credentials == Credentials::Foreign),
            None => 0,
        }
    }

    // ---- writes to the object ----

    /// A compare-and-swap write. `Err`: it did not happen, or this process does not know that it did.
    fn swap(&mut self, outcome: Outcome, change: impl FnOnce(&mut Self)) -> Result<(), ()> {
        let current =
            self.state.processes[self.process].current[self.object] || self.scene.has(Mutant::NoCompareAndSwap);
        let here = self.state.objects[self.object].here;
        if !current || !here || outcome == Outcome::NoAnswer {
            return Err(());
        }
        change(self);
        let known = outcome == Outcome::Works;
        self.state.written(self.object, known.then_some(self.process));
        if known { Ok(()) } else { Err(()) }
    }

    fn mark(mut self, outcome: Outcome, note: Note, intent: u8) -> Stepped {
        if let Note::Signed { uuid, .. } = note {
            self.memory().claim = uuid;
        }
        let finalizer = intent == NONE || !self.scene.has(Mutant::FinalizerLate);
        let noted = if self.scene.has(Mutant::IdentityInStatusOnly) { Note::Nothing } else { note };
        let written = self.swap(outcome, |turn| {
            let stored = &mut turn.state.objects[turn.object];
            stored.note = noted;
            stored.intent = intent;
            stored.finalizer |= finalizer && !stored.deleting;
        });
        if written.is_err() {
            return self.ends();
        }
        self.memory().claim = NONE;
        self.pass().armed = intent.wrapping_add(1);
        if intent == NONE {
            let memory = self.memory();
            *memory = Memory { intent: NONE, unsent: NONE, empty_look: (NONE, false), refused: None, ..*memory };
        }
        if note != Note::Nothing {
            self.memory().learned = NONE;
        }
        self.look_again();
        self.goes_on()
    }

    fn intend(mut self, outcome: Outcome, name: u8, seen: u8, replaces: u8) -> Stepped {
        let free = self.state.attempts.iter().position(|attempt| attempt.object == NONE);
        let Some(slot) = free else { return Some(Err(Breach::bound("no attempt slot is left"))) };
        let exists = |record: &crate::state::Record| record.life != Life::Free;
        let before =
            self.state.records.iter().enumerate().fold(0, |bits, (slot, r)| bits | u8::from(exists(r)) << slot);
        self.state.attempts[slot] = Attempt {
            object: u8::try_from(self.object).unwrap_or(NONE),
            name,
            age: 0,
            seen,
            before,
            replaces,
            tenant: self.decision.tenant,
            flying: 0,
            foreign: false,
        };
        let slot = u8::try_from(slot).unwrap_or(NONE);
        let memory = self.memory();
        (memory.intent, memory.unsent, memory.empty_look) = (slot, slot, (NONE, false));
        memory.refused = None;
        self.mark(outcome, Note::Nothing, slot)
    }

    fn tell(&mut self, outcome: Outcome, next: Status) -> Result<(), ()> {
        if next == self.state.processes[self.process].view[self.object].status {
            return Ok(());
        }
        self.swap(outcome, |turn| turn.state.objects[turn.object].status = next)
    }

    fn forget(mut self, outcome: Outcome, what: Stale) -> Stepped {
        let before = self.state.processes[self.process].view[self.object].status;
        let after = match what {
            Stale::Registration => Status { uuid: NONE, adopted: false, ..before },
            Stale::Attempt => Status { intent: NONE, ..before },
        };
        if self.tell(outcome, after).is_err() {
            return self.ends();
        }
        self.look_again();
        self.goes_on()
    }

    fn rest(mut self, outcome: Outcome) -> Stepped {
        let same = self.state.processes[self.process].view[self.object].status;
        let next = self.decision.status.unwrap_or(same);
        if next == same && outcome != Outcome::Works {
            return None;
        }
        let _ = self.tell(outcome, next);
        self.ends()
    }

    fn release(mut self, outcome: Outcome) -> Stepped {
        let stays = self.decision.why == Reason::Orphaned;
        let _ = self.swap(outcome, |turn| {
            let stored = &mut turn.state.objects[turn.object];
            stored.finalizer = false;
            stored.left |= stays;
            stored.here = !stored.deleting;
        });
        self.ends()
    }
}

fn of_name(list: List, name: u8) -> List {
    list.map(|seen| if crate::state::unseen(seen).is_some_and(|(bears, _)| bears == name) { seen } else { 0 })
}
