//! Equal situations are equal states: what nothing refers to any more is forgotten, and its slot is free again.

use crate::state::{ATTEMPTS, Attempt, Life, List, NONE, Named, Note, OBJECTS, Object, RECORDS, Record, State};

impl State {
    /// Frees what nothing refers to any more, so that equal situations are equal states.
    pub fn tidy(&mut self) {
        self.tidy_attempts();
        self.tidy_records();
    }

    fn tidy_attempts(&mut self) {
        let mut used = [false; ATTEMPTS];
        let mut mark = |slot: u8| {
            if slot != NONE {
                used[usize::from(slot)] = true;
            }
        };
        for object in &self.objects {
            mark(object.intent);
            mark(object.status.intent);
        }
        for process in &self.processes {
            for index in 0..OBJECTS {
                mark(process.view[index].intent);
                mark(process.view[index].status.intent);
                mark(process.memory[index].intent);
                mark(process.pass[index].armed.wrapping_sub(1));
            }
        }
        for (attempt, used) in self.attempts.iter_mut().zip(used) {
            if !used && attempt.flying == 0 {
                *attempt = Attempt::default();
            }
        }
        for process in &mut self.processes {
            for memory in &mut process.memory {
                for slot in [&mut memory.unsent, &mut memory.empty_look.0] {
                    if *slot != NONE && !used[usize::from(*slot)] {
                        *slot = NONE;
                    }
                }
                memory.empty_look.1 &= memory.empty_look.0 != NONE;
                memory.refused = memory.refused.filter(|(of, _)| used[usize::from(*of)]);
            }
        }
    }

    fn tidy_records(&mut self) {
        if !self.records.iter().any(|record| record.life == Life::Gone) {
            return;
        }
        let (mut used, mut listed) = (0_u8, 0_u8);
        let mut mark = |slot: u8| {
            if usize::from(slot) < RECORDS {
                used |= 1 << slot;
            }
        };
        let mut in_object = |object: &Object| {
            mark(object.status.uuid);
            match object.note {
                Note::Signed { uuid, .. } | Note::Forged(uuid) => mark(uuid),
                Note::Nothing => {}
            }
        };
        for object in &self.objects {
            in_object(object);
        }
        for process in &self.processes {
            process.view.iter().for_each(&mut in_object);
        }
        for process in &self.processes {
            for memory in &process.memory {
                mark(memory.learned);
            }
            for pass in &process.pass {
                mark(pass.about.wrapping_sub(1));
                mark(pass.witness.wrapping_sub(1));
                pass.reads.iter().zip(0..).filter(|(read, _)| read.is_some()).for_each(|(_, slot)| mark(slot));
                if let Named::Snapshot(_, list) | Named::Fresh(_, list) = pass.named {
                    listed |= bits(list);
                }
            }
            if let Some(list) = process.inventory {
                listed |= bits(list);
            }
        }
        for attempt in &self.attempts {
            if usize::from(attempt.replaces) < RECORDS {
                used |= 1 << attempt.replaces;
            }
        }
        used |= listed;
        for (slot, record) in self.records.iter_mut().enumerate() {
            if record.life == Life::Gone && used & (1 << slot) == 0 {
                *record = Record::default();
                for attempt in &mut self.attempts {
                    attempt.seen &= !(1 << slot);
                    attempt.before &= !(1 << slot);
                }
            }
        }
    }
}

fn bits(list: List) -> u8 {
    list.iter().enumerate().fold(0, |bits, (slot, seen)| if *seen == 0 { bits } else { bits | (1 << slot) })
}
