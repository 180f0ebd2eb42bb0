//! One pass over one object: observe, plan, act, report, as the controller does it.
//!
//! Owns what a failed, lost or interrupted call leaves behind. Must not judge: that is `checks`.

use jiff::SignedDuration;
use runai_cluster_operator::domain::plan::{looked_in_vain, name_in_question, uuid_in_question};
use runai_cluster_operator::domain::report::trouble as trouble_of;
use runai_cluster_operator::domain::{
    Absence, Access, Annotated, Case, Claims, ClusterUuid, Deletion, DeletionPolicy, Desired, Identity, Look,
    Management, Marks, Memory, Named, NewCluster, Observed, Plan, Policy, Provenance, Reason, Recorded, RemoteCluster,
    Sighting, SpecError, Stance, Step, Trouble, plan, report,
};

use super::api::Refusal;
use super::schedule::Fault;
use super::{Bug, Note, Object, STALE, World, key};

/// More steps than any pass needs.
const MOST_STEPS: usize = 12;

/// One process at work on one object.
pub(super) struct Pass {
    pub(super) index: usize,
    /// The object as this process sees it.
    pub(super) view: Object,
    pub(super) desired: Result<Desired, SpecError>,
    pub(super) deletion: Deletion,
    pub(super) recorded: Recorded,
    pub(super) memory: Memory,
    pub(super) observed: Observed,
    /// Which uuid `observed.uuid` is about.
    asked: Option<ClusterUuid>,
    /// The last read of this pass failed.
    pub(super) read_failed: bool,
    policy: Policy,
    claims: Claims,
    faults: std::vec::IntoIter<Fault>,
    lagging: bool,
}

/// How it goes on after a step.
enum Next {
    Go,
    Stop,
    Die,
}

fn failure(reason: Reason) -> Trouble {
    Trouble { reason, message: "the call failed".to_owned(), stalled: false, retry_after: None }
}

impl Pass {
    fn case<'a>(&'a self, key: &'a runai_cluster_operator::domain::ObjectKey, world: &World) -> Case<'a> {
        Case {
            key,
            generation: self.view.generation,
            deleting: self.view.deleting,
            desired: &self.desired,
            deletion: &self.deletion,
            recorded: &self.recorded,
            memory: &self.memory,
            observed: &self.observed,
            claims: &self.claims,
            policy: &self.policy,
            now: world.now,
            nonce: uuid::Uuid::from_u128(world.attempts),
        }
    }

    fn fault(&mut self) -> Fault {
        self.faults.next().unwrap_or(Fault::None)
    }
}

impl World {
    /// `lagging`: by a second process, which remembers nothing and sees the object as it was before its last change.
    pub(super) fn pass(&mut self, index: usize, faults: &[Fault], lagging: bool) {
        if lagging && !self.may_die() {
            return;
        }
        let view = if lagging { self.older[index].clone() } else { self.objects[index].clone() };
        if view.gone || self.objects[index].gone {
            return;
        }
        if !lagging {
            self.older[index] = view.clone();
        }
        self.refresh_claims();
        let memory = if lagging { Memory::default() } else { std::mem::take(&mut self.memories[index]) };
        let mut pass = self.start(index, view, memory, faults, lagging);
        let next = self.go(&mut pass);
        let Pass { mut memory, lagging, .. } = pass;
        if lagging {
            return;
        }
        if self.has(Bug::IgnoreTheFight) {
            memory.renames.clear();
        }
        self.memories[index] = memory;
        if matches!(next, Next::Die) {
            self.say("      the process dies");
            self.restart();
        }
    }

    fn start(&mut self, index: usize, view: Object, memory: Memory, faults: &[Fault], lagging: bool) -> Pass {
        let mut desired = view.desired();
        let mut deletion = view.deletion();
        if let Ok(desired) = &mut desired {
            desired.suspend &= !self.has(Bug::IgnoreSuspend);
            if self.has(Bug::IgnoreObserve) {
                desired.management = Management::Manage;
            }
        }
        if self.has(Bug::IgnoreObserve) {
            deletion.management = Management::Manage;
        }
        if self.has(Bug::IgnoreTheDeletionPolicy) {
            deletion.policy = Some(DeletionPolicy::Delete);
        }
        let recorded = self.recorded(&view, &memory, index);
        let mut who = self.api.who();
        if self.has(Bug::ForgetTheTenant) {
            who.tenant = None;
        }
        let observed = Observed::nothing(Access { who: Ok(who), live: None, may_adopt: self.setup.may_adopt });
        let claims = std::mem::take(&mut self.claims);
        let faults = faults.iter().copied().collect::<Vec<_>>().into_iter();
        let policy = self.policy();
        let mut pass = Pass {
            index, view, desired, deletion, recorded, memory, observed, asked: None, read_failed: false, policy, claims, faults, lagging,
        };
        pass.observed.stale = self.now.duration_since(self.polled) > STALE;
        pass.observed.remote_now = (!self.setup.habits.dateless).then(|| self.api.clock(self.now));
        pass.observed.inventory = self.reads_fail.then(|| failure(Reason::ConnectionFailed));
        self.look_again(&mut pass);
        pass
    }

    fn recorded(&self, view: &Object, memory: &Memory, index: usize) -> Recorded {
        let facts = &view.status.facts;
        let mut status = facts.uuid.map(|uuid| Identity {
            uuid,
            provenance: facts.origin.unwrap_or(Provenance::Adopted),
            tenant: facts.tenant,
            origin: None,
            credential: None,
        });
        let mut annotated = match &view.note {
            Note::Nothing => Annotated::Nothing,
            Note::Signed(identity) => Annotated::Fits(identity.clone()),
            Note::Forged(uuid) if self.has(Bug::TrustAnUnsignedNote) => Annotated::Fits(self.identity(*uuid)),
            Note::Forged(uuid) => Annotated::Misfit(Some(*uuid)),
        };
        let identified = status.is_some() || matches!(annotated, Annotated::Fits(_)) || memory.learned.is_some();
        let told = facts.intent.clone().filter(|intent| !identified && memory.settled != Some(intent.attempt));
        let noted = view.intent.clone().or_else(|| memory.intent.clone()).or(told);
        let mut intent = noted.filter(|_| !(self.has(Bug::ForgetTheIntent) && self.reborn[index]));
        if self.has(Bug::ForgetTheTenant) {
            status = status.map(|identity| Identity { tenant: None, ..identity });
            if let Annotated::Fits(identity) = &mut annotated {
                identity.tenant = None;
            }
            if let Some(intent) = &mut intent {
                intent.tenant = None;
            }
        }
        Recorded {
            status,
            annotated,
            intent_annotated: view.intent.is_some() && view.intent == intent,
            foreign_intent: false,
            incomplete: false,
            intent,
            finalizer: view.finalizer,
            delete_requested_at: facts.delete_requested_at,
        }
    }

    fn identity(&self, uuid: ClusterUuid) -> Identity {
        let who = self.api.who();
        Identity {
            uuid,
            provenance: Provenance::Created,
            tenant: who.tenant,
            origin: Some(who.origin),
            credential: Some(who.credential),
        }
    }

    /// What the inventory knows of the questions of this pass: a step may have changed them.
    fn look_again(&self, pass: &mut Pass) {
        let own = key(pass.index);
        let case = pass.case(&own, self);
        let (uuid, name) = (uuid_in_question(&case), name_in_question(&case).map(str::to_owned));
        if uuid != pass.asked || pass.observed.uuid == Sighting::NotLooked {
            pass.asked = uuid;
            let sighting = match (uuid, &self.inventory) {
                (Some(uuid), Some(records)) => match records.iter().find(|record| record.uuid == uuid) {
                    Some(record) => Sighting::Present(record.clone()),
                    None if self.has(Bug::SkipTheReadById) => self.absent(true),
                    None => Sighting::NotListed,
                },
                (None, _) | (_, None) => Sighting::NotLooked,
            };
            self.sight(pass, sighting);
        }
        let Some(records) = &self.inventory else { return };
        if let Some(name) = name.filter(|name| pass.observed.named.of(name).is_none()) {
            let records = records.iter().filter(|record| record.name == name).cloned().collect();
            let look = if self.has(Bug::SkipTheLook) { Named::Fresh } else { Named::Snapshot };
            pass.observed.named = look(name, records);
            let own = key(pass.index);
            if self.has(Bug::SkipTheLook) && looked_in_vain(&pass.case(&own, self)) {
                pass.memory.looked_in_vain(self.now);
            }
        }
    }

    fn absent(&self, listed_after: bool) -> Sighting {
        let tenant = self.api.tenant().filter(|_| !self.has(Bug::ForgetTheTenant));
        Sighting::Absent(Absence { listed_after, tenant })
    }

    fn sight(&self, pass: &mut Pass, sighting: Sighting) {
        if matches!(sighting, Sighting::Present(_)) {
            pass.memory.seen_by = Some(self.api.who());
        }
        pass.observed.uuid = sighting;
    }

    fn go(&mut self, pass: &mut Pass) -> Next {
        for _ in 0..MOST_STEPS {
            self.attempts += 1;
            let own = key(pass.index);
            let plan = plan(&pass.case(&own, self));
            self.say(&format!("      {:?}: {:?} because {:?}", pass.index, plan.step, plan.why));
            self.check_step(pass, &plan);
            if self.violation.is_some() {
                return Next::Stop;
            }
            let fault = pass.fault();
            if fault != Fault::None {
                self.say(&format!("        {fault:?}"));
            }
            if fault == Fault::CrashBefore {
                return Next::Die;
            }
            let next = match &plan.step {
                Step::Rest => return self.rest(pass, &plan, fault),
                Step::Look(look) => self.look(pass, look, fault),
                Step::Mark(marks) => self.mark(pass, marks, fault),
                Step::Forget => {
                    let next = self.write(pass, fault, |_, stored| stored.forget());
                    self.reread(pass);
                    next
                }
                Step::Create(new) => self.create(pass, new, fault),
                Step::Rename(uuid, name) => self.rename(pass, *uuid, name.as_str(), fault),
                Step::Delete { uuid, force } => self.delete(pass, *uuid, *force, fault),
                Step::Release => return self.release(pass, &plan, fault),
            };
            match next {
                Next::Go if fault == Fault::CrashAfter => return Next::Die,
                Next::Go => {}
                Next::Stop | Next::Die => return next,
            }
        }
        self.violate("I6", "a pass does not come to rest".to_owned());
        Next::Stop
    }

    fn look(&mut self, pass: &mut Pass, look: &Look, fault: Fault) -> Next {
        let failed = self.reads_fail || fault.fails_a_read();
        if failed && !(self.has(Bug::TrustAFailedList) && matches!(look, Look::Names(_))) {
            pass.read_failed = true;
            pass.observed.trouble = Some(failure(Reason::ConnectionFailed));
            return Next::Go;
        }
        match look {
            Look::Crd => pass.observed.crd_deleting = Some(self.setup.crd_deleting && !self.has(Bug::IgnoreTheCrd)),
            Look::Names(name) => {
                pass.read_failed = failed;
                let records = if failed { Vec::new() } else { self.api.list() };
                if !failed && !pass.lagging {
                    self.inventory = Some(records.clone());
                    self.polled = self.now;
                }
                let records = records.into_iter().filter(|record| record.name == *name).collect();
                pass.observed.named = Named::Fresh(name.clone(), records);
                let own = key(pass.index);
                if looked_in_vain(&pass.case(&own, self)) {
                    pass.memory.looked_in_vain(self.now);
                }
            }
            Look::ById(uuid) => {
                let sighting = match self.api.get(*uuid) {
                    Some(record) => {
                        pass.observed.unlisted = true;
                        Sighting::Present(record)
                    }
                    None if self.has(Bug::ReleaseOn404) => {
                        let who = self.api.who();
                        pass.memory.delete_accepted = Some((who.origin, who.credential));
                        self.absent(true)
                    }
                    None => {
                        let fails = pass.fault().fails_a_read();
                        self.absent(!fails)
                    }
                };
                self.sight(pass, sighting);
            }
        }
        Next::Go
    }

    /// A compare-and-swap write of the object.
    fn write(&mut self, pass: &mut Pass, fault: Fault, change: impl FnOnce(&mut Pass, &mut Object)) -> Next {
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

    fn mark(&mut self, pass: &mut Pass, marks: &Marks, fault: Fault) -> Next {
        let index = pass.index;
        if let Some(intent) = &marks.intent {
            pass.memory.intent = Some(intent.clone());
            pass.memory.unsent = Some(intent.attempt);
            pass.memory.empty_look = None;
        }
        let next = self.write(pass, fault, |pass, stored| {
            stored.mark(marks);
            match &marks.intent {
                Some(intent) => pass.observed.armed = Some(intent.attempt),
                None => {
                    pass.memory.settled = pass.recorded.intent.as_ref().map(|intent| intent.attempt);
                    pass.memory.intent = None;
                    pass.memory.unsent = None;
                    pass.memory.empty_look = None;
                }
            }
            if marks.identity.is_some() {
                pass.memory.learned = None;
            }
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
    fn reread(&self, pass: &mut Pass) {
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

    fn create(&mut self, pass: &mut Pass, new: &NewCluster, fault: Fault) -> Next {
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
            (_, Fault::Refused | Fault::RefusedAfter) => pass.observed.refused = Some(failure(Reason::Rejected)),
            (None, _) | (Some(_), Fault::LostAnswer | Fault::CrashAfter) => {}
            (Some(Err(_)), _) => pass.observed.refused = Some(failure(Reason::NameHeld)),
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

    fn rename(&mut self, pass: &mut Pass, uuid: ClusterUuid, name: &str, fault: Fault) -> Next {
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

    fn delete(&mut self, pass: &mut Pass, uuid: ClusterUuid, force: bool, fault: Fault) -> Next {
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
                pass.memory.delete_accepted = Some((who.origin, who.credential));
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

    fn release(&mut self, pass: &mut Pass, plan: &Plan, fault: Fault) -> Next {
        self.check_release(pass, plan);
        let next = self.write(pass, fault, |_, stored| stored.release());
        if matches!(next, Next::Go) && fault == Fault::CrashAfter { Next::Die } else { Next::Stop }
    }

    fn rest(&mut self, pass: &mut Pass, plan: &Plan, fault: Fault) -> Next {
        let own = key(pass.index);
        let report = report(&pass.case(&own, self), plan, &pass.view.status);
        if plan.stance != Stance::Quiet {
            pass.memory.pass_ended(trouble_of(plan), self.now);
        }
        if !pass.lagging {
            self.last[pass.index] = Some(plan.clone());
        }
        let Some(report) = report else { return Next::Stop };
        self.check_report(pass, &report);
        let next = self.write(pass, fault, |_, stored| {
            stored.tell(&report);
        });
        if matches!(next, Next::Go) && fault == Fault::CrashAfter { Next::Die } else { Next::Stop }
    }
}
