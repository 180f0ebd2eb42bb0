//! The steps that write, to the object or to the control plane, and what each outcome leaves in the pass.
//!
//! Owns the effect of every fault on a write. Must not judge: that is `checks`.

use jiff::SignedDuration;
use runai_cluster_operator::domain::{
    Accepted, ClusterUuid, Identity, Marks, Named, NewCluster, Plan, Provenance, Reason, RemoteCluster, Sighting,
};

use super::api::Refusal;
use super::pass::{Next, Pass, failure};
use super::schedule::Fault;
use super::{Bug, Note, Object, World};

impl World {
    /// A compare-and-swap write of the object.
    pub(super) fn write(&mut self, pass: &mut Pass, fault: Fault, change: impl FnOnce(&mut Pass, &mut Object)) -> Next {
        let stored = self.objects[pass.index].clone();
        let lost = stored.version != pass.view.version && !self.has(Bug::NoCompareAndSwap);
        if lost || stored.gone || fault.fails_a_write() {
            self.say("        not written");
            return Next::Stop;
        }
        let mut written = stored;
        if fault == Fault::LostAnswer {
            // Written, but this process does not know: it keeps what it knew.
            let (recorded, memory, observed) = (pass.recorded.clone(), pass.memory.clone(), pass.observed.clone());
            change(pass, &mut written);
            (pass.recorded, pass.memory, pass.observed) = (recorded, memory, observed);
        } else {
            change(pass, &mut written);
        }
        if written.version != self.objects[pass.index].version {
            self.writes += 1;
        }
        pass.view = written.clone();
        self.objects[pass.index] = written;
        if fault == Fault::LostAnswer { Next::Stop } else { Next::Go }
    }

    pub(super) fn mark(&mut self, pass: &mut Pass, marks: &Marks, fault: Fault) -> Next {
        let index = pass.index;
        if let Some(intent) = &marks.intent {
            pass.memory.intends(intent);
        }
        let next = self.write(pass, fault, |pass, stored| {
            stored.mark(marks);
            pass.observed.armed = marks.intent.as_ref().map(|intent| intent.attempt);
            pass.memory.marked(marks);
        });
        if matches!(next, Next::Go) {
            self.reread(pass);
        }
        self.hand_over(index);
        if matches!(next, Next::Go) && marks.intent.is_some() && !pass.lagging {
            self.reborn[index] = false;
        }
        next
    }

    /// Takes in what the object says now.
    pub(super) fn reread(&self, pass: &mut Pass) {
        let asked_at = pass.recorded.delete_requested_at;
        pass.recorded = self.recorded(&pass.view, &pass.memory, pass.index);
        pass.recorded.delete_requested_at = pass.recorded.delete_requested_at.or(asked_at);
        self.look_again(pass);
    }

    /// A registration that another object was told to adopt is that object's from then on.
    fn hand_over(&mut self, index: usize) {
        let Note::Signed(identity) = &self.objects[index].note else { return };
        let adopted = identity.provenance == Provenance::Adopted && self.asked[index] && self.setup.may_adopt;
        for row in &mut self.api.rows {
            if adopted && row.record.uuid == identity.uuid && row.maker != Some(index) {
                row.maker = None;
            }
        }
    }

    pub(super) fn create(&mut self, pass: &mut Pass, new: &NewCluster, fault: Fault) -> Next {
        let index = pass.index;
        self.writes += 1;
        pass.observed.armed = None;
        if fault != Fault::Unsent {
            pass.memory.unsent = None;
        }
        let result = match fault {
            Fault::Unsent => {
                pass.observed.trouble = Some(failure(Reason::ConnectionFailed));
                return Next::Go;
            }
            Fault::LostRequest | Fault::Conflict => {
                pass.observed.trouble = Some(failure(Reason::ConnectionFailed));
                return Next::Go;
            }
            Fault::Refused => None,
            Fault::Late(seconds) => {
                self.api.post_late(new.clone(), index, self.now + SignedDuration::from_secs(i64::from(seconds)));
                None
            }
            Fault::None | Fault::LostAnswer | Fault::RefusedAfter | Fault::CrashBefore | Fault::CrashAfter => {
                Some(self.api.post(new, index, self.now))
            }
        };
        self.check_single();
        pass.observed.named = Named::NotLooked;
        match (result, fault) {
            (_, Fault::Refused | Fault::RefusedAfter) => pass.refused(Reason::Rejected),
            (None, _) | (Some(_), Fault::LostAnswer | Fault::CrashAfter) => {}
            (Some(Err(_)), _) => pass.refused(Reason::NameHeld),
            (Some(Ok(record)), _) => {
                let known = Identity { tenant: Some(record.tenant), ..self.identity(record.uuid) };
                pass.memory.learned = Some(known);
                self.reread(pass);
                self.changed(pass, record);
            }
        }
        Next::Go
    }

    /// A reply that is a record goes into the snapshot at once.
    fn changed(&mut self, pass: &mut Pass, record: RemoteCluster) {
        if let Some(records) = &mut self.inventory {
            records.retain(|known| known.uuid != record.uuid);
            records.push(record.clone());
        }
        self.sight(pass, Sighting::Present(record));
    }

    pub(super) fn rename(&mut self, pass: &mut Pass, uuid: ClusterUuid, name: &str, fault: Fault) -> Next {
        self.writes += 1;
        self.check_own(pass, uuid, "PUT");
        if fault.fails_a_write() {
            pass.observed.trouble = Some(failure(Reason::ConnectionFailed));
            return Next::Go;
        }
        match (self.api.put(uuid, name), fault) {
            (_, Fault::LostAnswer) => pass.observed.trouble = Some(failure(Reason::ConnectionFailed)),
            (Ok(record), _) => {
                pass.memory.renamed(pass.view.generation, self.now);
                if !pass.lagging {
                    self.renames.push((pass.index, pass.view.generation, self.now));
                    self.check_fight(pass);
                }
                self.changed(pass, record);
            }
            (Err(Refusal::Conflict), _) => pass.observed.trouble = Some(failure(Reason::NameHeld)),
            (Err(Refusal::NotFound), _) => pass.observed.uuid = Sighting::NotListed,
        }
        Next::Go
    }

    pub(super) fn delete(&mut self, pass: &mut Pass, uuid: ClusterUuid, force: bool, fault: Fault) -> Next {
        self.writes += 1;
        self.check_own(pass, uuid, "DELETE");
        pass.observed.delete_sent = true;
        if fault.fails_a_write() {
            pass.observed.trouble = Some(failure(Reason::ConnectionFailed));
            return Next::Go;
        }
        match (self.api.delete(uuid, force, self.now), fault) {
            (_, Fault::LostAnswer) => pass.observed.trouble = Some(failure(Reason::ConnectionFailed)),
            (Ok(at_once), _) => {
                let who = self.api.who();
                let (origin, credential) = (who.origin, who.credential);
                pass.memory.delete_accepted = Some(Accepted { origin, credential, done: at_once });
                pass.recorded.delete_requested_at.get_or_insert(self.now);
                pass.observed.uuid = match self.api.get(uuid) {
                    Some(record) if !at_once => Sighting::Present(record),
                    Some(_) | None => Sighting::NotListed,
                };
            }
            (Err(_), _) => pass.observed.uuid = Sighting::NotListed,
        }
        Next::Go
    }

    pub(super) fn release(&mut self, pass: &mut Pass, plan: &Plan, fault: Fault) -> Next {
        self.check_release(pass, plan);
        let next = self.write(pass, fault, |_, stored| stored.release());
        if matches!(next, Next::Go) && fault == Fault::CrashAfter { Next::Die } else { Next::Stop }
    }
}
