//! One pass over one object: observe, plan, act, report, as the controller does it.
//!
//! Owns what a failed, lost or interrupted call leaves behind. Must not judge: that is `checks`.

use runai_cluster_operator::domain::plan::{looked_in_vain, name_in_question, remembered_refusal, uuid_in_question};
use runai_cluster_operator::domain::report::trouble as trouble_of;
use runai_cluster_operator::domain::{
    Absence, Accepted, Access, Annotated, Case, Claims, ClusterUuid, Deletion, DeletionPolicy, Desired, Identity, Look,
    Management, Memory, Named, Observed, Plan, Policy, Provenance, Reason, Recorded, Sighting, SpecError, Stance, Step,
    Trouble, open_intent, plan, report,
};

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
    faults: std::collections::VecDeque<Fault>,
    pub(super) lagging: bool,
}

/// How it goes on after a step.
pub(super) enum Next {
    Go,
    Stop,
    Die,
}

pub(super) fn failure(reason: Reason) -> Trouble {
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

    pub(super) fn refused(&mut self, why: Reason) {
        self.observed.refused = Some(failure(why));
        let attempt = self.recorded.intent.as_ref().map(|intent| intent.attempt);
        self.memory.refused = attempt.map(|attempt| (attempt, failure(why)));
    }

    fn fault(&mut self) -> Fault {
        self.faults.pop_front().unwrap_or(Fault::None)
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
        let policy = self.policy();
        let mut pass = Pass {
            index,
            view,
            desired,
            deletion,
            recorded,
            memory,
            observed,
            asked: None,
            read_failed: false,
            policy,
            claims,
            faults: faults.iter().copied().collect(),
            lagging,
        };
        pass.observed.stale = self.now.duration_since(self.polled) > STALE;
        pass.observed.remote_now = (!self.setup.habits.dateless).then(|| self.api.clock(self.now));
        pass.observed.inventory = self.reads_fail.then(|| failure(Reason::ConnectionFailed));
        let own = key(pass.index);
        pass.observed.refused = remembered_refusal(&pass.case(&own, self)).cloned();
        self.look_again(&mut pass);
        pass
    }

    pub(super) fn recorded(&self, view: &Object, memory: &Memory, index: usize) -> Recorded {
        let facts = &view.status.facts;
        let mut status = facts.uuid.map(|uuid| Identity {
            uuid,
            provenance: facts.origin.unwrap_or(Provenance::Adopted),
            tenant: facts.tenant,
            origin: None,
            credential: None,
            created: facts.created_at,
        });
        let mut annotated = match &view.note {
            Note::Nothing => Annotated::Nothing,
            Note::Signed(identity) => Annotated::Fits(identity.clone()),
            Note::Forged(uuid) if self.has(Bug::TrustAnUnsignedNote) => Annotated::Fits(self.identity(*uuid)),
            Note::Forged(uuid) => Annotated::Misfit(Some(*uuid)),
        };
        let identified = status.is_some() || matches!(annotated, Annotated::Fits(_)) || memory.learned.is_some();
        let open = open_intent(view.intent.clone(), facts.intent.clone(), identified, memory);
        let mut intent = open.filter(|_| !(self.has(Bug::ForgetTheIntent) && self.reborn[index]));
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
            intent_told: facts.intent.is_some() && !self.has(Bug::LeaveTheCopy),
            foreign_intent: false,
            incomplete: false,
            intent,
            finalizer: view.finalizer,
            delete_requested_at: facts.delete_requested_at,
        }
    }

    pub(super) fn identity(&self, uuid: ClusterUuid) -> Identity {
        let who = self.api.who();
        Identity {
            uuid,
            provenance: Provenance::Created,
            tenant: who.tenant,
            origin: Some(who.origin),
            credential: Some(who.credential),
            created: self.api.get(uuid).map(|record| record.created_at),
        }
    }

    /// What the inventory knows of the questions of this pass: a step may have changed them.
    pub(super) fn look_again(&self, pass: &mut Pass) {
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
            let vain = looked_in_vain(&pass.case(&own, self)).filter(|_| self.has(Bug::SkipTheLook));
            if let Some(attempt) = vain {
                pass.memory.looked_in_vain(attempt, self.now);
            }
        }
    }

    fn absent(&self, listed_after: bool) -> Sighting {
        let tenant = self.api.tenant().filter(|_| !self.has(Bug::ForgetTheTenant));
        Sighting::Absent(Absence { listed_after, tenant })
    }

    pub(super) fn sight(&self, pass: &mut Pass, sighting: Sighting) {
        if matches!(sighting, Sighting::Present(_)) {
            pass.memory.seen_by = Some(self.api.who());
        }
        if let Some(uuid) = pass.asked {
            pass.observed.known_for = pass.memory.known_for(uuid, self.now);
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
                Step::Forget(what) => {
                    let next = self.write(pass, fault, |_, stored| stored.forget(*what));
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
                let others = self.objects.iter().enumerate().filter(|(index, _)| *index != pass.index);
                let mut live = others.map(|(_, object)| object).filter(|object| !object.gone && !object.deleting);
                let known = live.find_map(|object| object.status.facts.uuid);
                let empty = records.is_empty() && !self.has(Bug::TrustAFailedList);
                pass.observed.witness = known.filter(|_| empty);
                pass.observed.reads.clear();
                pass.observed.looked_at = Some(self.now);
                let records = records.into_iter().filter(|record| record.name == *name).collect();
                pass.observed.named = Named::Fresh(name.clone(), records);
            }
            Look::Read(uuid) => pass.observed.reads.push((*uuid, self.api.get(*uuid))),
            Look::ById(uuid) => {
                let sighting = match self.api.get(*uuid) {
                    Some(record) => {
                        pass.observed.unlisted = true;
                        Sighting::Present(record)
                    }
                    None if self.has(Bug::ReleaseOn404) => {
                        let who = self.api.who();
                        pass.memory.delete_accepted =
                            Some(Accepted { origin: who.origin, credential: who.credential, done: true });
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
        let own = key(pass.index);
        if let Some(attempt) = looked_in_vain(&pass.case(&own, self)) {
            pass.memory.looked_in_vain(attempt, self.now);
        }
        Next::Go
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
        let leave = self.has(Bug::LeaveTheConditions);
        let next = self.write(pass, fault, |_, stored| {
            let mut left = stored.status.conditions.clone();
            stored.tell(&report);
            left.retain(|(kind, _, _)| leave && report.conditions.iter().all(|told| told.kind.as_str() != kind));
            stored.status.conditions.extend(left);
        });
        self.check_conditions(&self.objects[pass.index].clone());
        if matches!(next, Next::Go) && fault == Fault::CrashAfter { Next::Die } else { Next::Stop }
    }
}
