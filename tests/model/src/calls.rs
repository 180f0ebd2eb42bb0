//! The calls of a step that change something in the control plane, and what each answer leaves behind.

use crate::domain::plan::{Fate, fate};
use crate::mutant::Mutant;
use crate::rules::Breach;
use crate::shell::{Outcome, Stepped, Turn};
use crate::state::{Credentials, Failure, Life, NONE, Named, Sight, seen};

impl Turn<'_> {
    pub(crate) fn create(mut self, outcome: Outcome, name: u8) -> Stepped {
        let armed = self.pass().armed;
        if armed == 0 {
            return self.ends();
        }
        self.pass().armed = 0;
        self.memory().unsent = NONE;
        let slot = usize::from(armed - 1);
        let late = self.state.attempts[slot].age > 0 && !self.scene.has(Mutant::SendLate);
        let outcome = match (late, outcome) {
            (true, Outcome::Works) => Outcome::Unsent,
            (true, _) => return None,
            (false, outcome) => outcome,
        };
        let foreign = self.state.credentials == Credentials::Foreign;
        let refused = matches!(self.state.credentials, Credentials::Revoked | Credentials::Narrow);
        let held = self.scene.unique_names && self.state.taken(name, foreign, NONE);
        let takes_effect = !matches!(outcome, Outcome::NoAnswer | Outcome::Empty | Outcome::Unsent | Outcome::Refused);
        let mut made = None;
        if takes_effect && !held && !refused {
            let maker = u8::try_from(self.object).unwrap_or(NONE);
            let young = u8::from(self.scene.reads_lag);
            let Some(record) = self.state.commit(name, maker, foreign, young) else {
                return Some(Err(Breach::bound("no record slot is left")));
            };
            made = Some(record);
        }
        self.state.attempts[slot].foreign = foreign;
        if outcome == Outcome::NoAnswer && !refused {
            self.state.attempts[slot].flying += 1;
        }
        if outcome == Outcome::AnswerLost && self.scene.has(Mutant::SendAgain) && !held {
            self.state.attempts[slot].flying += 1;
        }
        self.pass().named = Named::NotLooked;
        if let (Outcome::Works, Some(record)) = (outcome, made) {
            return self.created(record, name);
        }
        let (unsent, status) = match outcome {
            Outcome::Unsent => (true, None),
            Outcome::NoAnswer | Outcome::AnswerLost | Outcome::Empty | Outcome::Mixed | Outcome::Lags => (false, None),
            Outcome::LaterAfter => (false, Some(503)),
            Outcome::Works | Outcome::Refused | Outcome::RefusedAfter => (
                false,
                Some(if refused {
                    401
                } else if held {
                    409
                } else {
                    422
                }),
            ),
        };
        let believed = match fate(unsent, status) {
            Fate::Unknown if self.scene.has(Mutant::LaterMeansUnsent) && status.is_some() => Fate::Unsent,
            Fate::Refused if self.scene.has(Mutant::RefusedMeansUnsent) => Fate::Unsent,
            believed => believed,
        };
        match believed {
            Fate::Unsent => {
                self.memory().unsent = armed - 1;
                self.pass().trouble = Some(Failure::Connection);
            }
            Fate::Refused => {
                let why = match status {
                    Some(401) => Failure::Refused,
                    Some(409) => Failure::Held,
                    _ => Failure::Rejected,
                };
                self.memory().refused = Some((armed - 1, why));
                self.pass().refused = Some(why);
            }
            Fate::Unknown => {}
        }
        self.goes_on()
    }

    fn created(mut self, record: u8, name: u8) -> Stepped {
        self.memory().learned = record;
        self.changed(record, seen(name, false));
        self.look_again();
        self.pass().about = record.wrapping_add(1);
        self.pass().sight = Sight::Present(record, seen(name, false));
        self.pass().young[usize::from(record)] = self.state.records[usize::from(record)].young;
        self.note_seen();
        self.goes_on()
    }

    /// A reply that is a record goes into the inventory at once.
    fn changed(&mut self, record: u8, seen: u8) {
        if let Some(list) = &mut self.state.processes[self.process].inventory {
            list[usize::from(record)] = seen;
        }
    }

    pub(crate) fn rename(mut self, outcome: Outcome, uuid: u8, name: u8) -> Stepped {
        let record = self.state.records[usize::from(uuid)];
        let found = self.state.get(uuid, false) != 0;
        let held =
            record.life == Life::Deleting || (self.scene.unique_names && self.state.taken(name, record.foreign, uuid));
        let works = found && !held && outcome != Outcome::NoAnswer;
        if works {
            self.state.records[usize::from(uuid)].name = name;
        }
        match (outcome, found) {
            (Outcome::Works, _) if self.state.credentials == Credentials::Revoked => {
                self.pass().trouble = Some(Failure::Refused);
            }
            (Outcome::Works, false) => self.pass().sight = Sight::NotListed,
            (Outcome::Works, true) if held => self.pass().trouble = Some(Failure::Held),
            (Outcome::Works, true) => {
                self.changed(uuid, seen(name, false));
                self.pass().sight = Sight::Present(uuid, seen(name, false));
            }
            (_, _) => self.pass().trouble = Some(Failure::Connection),
        }
        self.goes_on()
    }

    pub(crate) fn delete(mut self, outcome: Outcome, uuid: u8) -> Stepped {
        let found = self.state.get(uuid, false) != 0;
        let record = &mut self.state.records[usize::from(uuid)];
        if found && outcome != Outcome::NoAnswer {
            record.life = if self.scene.instant_delete { Life::Gone } else { Life::Deleting };
        }
        let name = record.name;
        self.pass().sent = true;
        let by = self.state.credentials;
        match (outcome, found) {
            (Outcome::Works, _) if by == Credentials::Revoked => self.pass().trouble = Some(Failure::Refused),
            (Outcome::Works, false) => self.pass().sight = Sight::NotListed,
            (Outcome::Works, true) => {
                self.memory().accepted = Some((by, self.scene.instant_delete));
                self.pass().asked = true;
                let gone = self.scene.instant_delete || self.scene.has(Mutant::AcceptedMeansGone);
                if gone {
                    self.changed(uuid, 0);
                    self.pass().sight = Sight::NotListed;
                } else {
                    self.changed(uuid, seen(name, true));
                    self.pass().sight = Sight::Present(uuid, seen(name, true));
                }
                if self.scene.has(Mutant::AcceptedMeansGone) {
                    let tenant = 1 + u8::from(self.state.records[usize::from(uuid)].foreign);
                    self.pass().sight = Sight::Absent(true, tenant);
                }
            }
            (_, _) => self.pass().trouble = Some(Failure::Connection),
        }
        self.goes_on()
    }
}
