//! A small world around the decision core: a control plane, stored objects, a process that can die, and time.
//!
//! Owns what happens between passes. `pass` is the loop of the controller; `checks` knows the invariants.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod act;
mod api;
mod bug;
mod checks;
mod object;
mod pass;
pub(crate) mod schedule;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use runai_cluster_operator::domain::claims::NameClaim;
use runai_cluster_operator::domain::{
    Claim, Claims, ClusterDomain, Holding, Management, Memory, ObjectKey, Plan, Policy, RecreatePolicy, RemoteCluster,
};

pub(crate) use api::{Api, Credentials, Habits};
pub(crate) use bug::Bug;
pub(crate) use checks::Violation;
pub(crate) use object::{Note, Object};
pub(crate) use schedule::{Edit, Move, Setup};

pub(crate) const QUARANTINE: Duration = Duration::from_secs(120);
/// The inventory is stale after this long.
const STALE: SignedDuration = SignedDuration::from_secs(90);

/// See the module.
pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) bug: Option<Bug>,
    pub(crate) now: Timestamp,
    pub(crate) api: Api,
    pub(crate) objects: Vec<Object>,
    /// Each object before its last change: what a lagging cache shows.
    older: Vec<Object>,
    memories: Vec<Memory>,
    /// The process has not written an intent of this object since it started.
    reborn: Vec<bool>,
    claims: Claims,
    inventory: Option<Vec<RemoteCluster>>,
    polled: Timestamp,
    reads_fail: bool,
    attempts: u128,
    /// Acknowledged renames since the process started: object, generation, when.
    renames: Vec<(usize, i64, Timestamp)>,
    /// Whether the object ever asked for an existing registration.
    asked: Vec<bool>,
    /// Nothing happened that may need a person.
    pub(crate) benign: bool,
    /// How the last pass over each object ended.
    pub(crate) last: Vec<Option<Plan>>,
    /// Kubernetes and remote writes so far.
    pub(crate) writes: usize,
    pub(crate) trace: Vec<String>,
    pub(crate) violation: Option<Violation>,
}

fn key(index: usize) -> ObjectKey {
    ObjectKey { namespace: "team".to_owned(), name: format!("object-{index}") }
}

impl World {
    pub(crate) fn new(setup: Setup, bug: Option<Bug>) -> Self {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let objects: Vec<Object> = (0..setup.objects)
            .map(|index| {
                let name = if index == 0 || setup.same_name { "east" } else { "west" };
                let mut object = Object::new(name, now + SignedDuration::from_secs(i64::try_from(index).unwrap()));
                if setup.recreate {
                    object.spec.recreate = RecreatePolicy::IfMissing;
                }
                object.spec.domain = Some(ClusterDomain::parse(&format!("{index}.example.com")).unwrap());
                object
            })
            .collect();
        let count = objects.len();
        Self {
            setup,
            bug,
            now,
            api: Api::new(setup.habits, now),
            older: objects.clone(),
            objects,
            memories: vec![Memory::default(); count],
            reborn: vec![true; count],
            claims: Claims::default(),
            inventory: None,
            polled: now,
            reads_fail: false,
            attempts: 0,
            renames: Vec::new(),
            asked: vec![false; count],
            benign: !setup.habits.dateless && setup.habits.token_tells && !setup.crd_deleting,
            last: vec![None; count],
            writes: 0,
            trace: Vec::new(),
            violation: None,
        }
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn policy(&self) -> Policy {
        let quarantine = if self.has(Bug::SkipTheQuarantine) { Duration::ZERO } else { QUARANTINE };
        Policy { quarantine, default_deletion: None, liveness_granularity: Duration::from_secs(600) }
    }

    fn say(&mut self, line: &str) {
        let second = self.now.as_second() - 1_800_000_000;
        self.trace.push(format!("{second:>5}s {line}"));
    }

    /// Runs a schedule to its end, or to the first violation.
    pub(crate) fn run(&mut self, moves: &[Move]) {
        for step in moves {
            self.step(step);
            if self.violation.is_some() {
                return;
            }
        }
    }

    fn step(&mut self, step: &Move) {
        self.say(&format!("{step:?}"));
        match step {
            Move::Pass { object, faults, lagging } => self.pass(*object % self.objects.len(), faults, *lagging),
            Move::Poll => self.poll(),
            Move::Wait(seconds) => self.wait(i64::from(*seconds)),
            Move::Restart => self.restart(),
            Move::ReadsFail(fail) => self.reads_fail = *fail,
            Move::WipeStatus(object) => self.touch(*object, |object, _| {
                object.wipe_status();
            }),
            Move::WipeAnnotations(object) => self.touch(*object, |object, memory| {
                object.wipe_annotations(memory.intent.as_ref());
            }),
            Move::Forge(object, row) => self.forge(*object, *row),
            Move::Swap(credentials) => self.swap(*credentials),
            Move::OthersRename(row, name) => self.others_rename(*row, name),
            Move::OthersDelete(row) => self.others_delete(*row),
            Move::OthersCreate(name) => {
                self.benign = false;
                self.api.others_create(name, self.now);
            }
            Move::Finish => self.api.finish_deletes(self.now),
            Move::Edit(object, edit) => self.edit(*object, *edit),
        }
        self.check_single();
    }

    fn poll(&mut self) {
        if !self.reads_fail {
            self.inventory = Some(self.api.list());
            self.polled = self.now;
        }
    }

    fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.api.settle(self.now);
    }

    /// Whether the design lets the process die now (see [`Object::wipe_annotations`]).
    fn may_die(&self) -> bool {
        let hangs = |(object, memory): (&Object, &Memory)| {
            let sent = memory.intent.as_ref().filter(|intent| memory.unsent != Some(intent.attempt));
            object.hangs_on_memory(sent)
        };
        !self.objects.iter().zip(&self.memories).any(hangs)
    }

    fn restart(&mut self) {
        if !self.may_die() {
            return;
        }
        let count = self.objects.len();
        self.memories = vec![Memory::default(); count];
        self.reborn = vec![true; count];
        self.renames.clear();
        self.inventory = None;
    }

    /// A change by somebody else than the operator.
    fn touch(&mut self, index: usize, change: impl FnOnce(&mut Object, &Memory)) {
        let index = index % self.objects.len();
        if self.objects[index].gone {
            return;
        }
        self.benign &= !matches!(self.trace.last(), Some(line) if line.contains("WipeAnnotations"));
        self.older[index] = self.objects[index].clone();
        change(&mut self.objects[index], &self.memories[index]);
        self.asked[index] |= self.objects[index].asks_to_adopt();
    }

    fn forge(&mut self, object: usize, row: usize) {
        let Some(row) = self.api.rows.get(row % self.api.rows.len().max(1)) else { return };
        let uuid = row.record.uuid;
        self.benign = false;
        self.touch(object, |object, memory| {
            if object.wipe_annotations(memory.intent.as_ref()) {
                object.note = Note::Forged(uuid);
            }
        });
    }

    /// Credentials that see less than those that sent a request cannot tell what became of it, and an intent does not say
    /// which sent it: such a swap is left out while a request is open, and so are tenants that cannot be told apart.
    fn swap(&mut self, credentials: Credentials) {
        if credentials == Credentials::Foreign && !self.setup.habits.token_tells {
            return;
        }
        let open = self.objects.iter().zip(&self.memories).any(|(object, memory)| {
            object.intent.is_some() || object.status.facts.intent.is_some() || memory.intent.is_some()
        });
        if !(open && credentials == Credentials::Narrow) {
            self.benign &= credentials == Credentials::Full;
            self.api.with = credentials;
            self.inventory = None;
        }
    }

    /// Renaming what nobody has noted yet is left out: no name could find it again.
    fn others_rename(&mut self, row: usize, name: &str) {
        let count = self.api.rows.len().max(1);
        let Some(row) = self.api.rows.get_mut(row % count) else { return };
        let noted = row.maker.is_none_or(|maker| self.objects[maker].uuid() == Some(row.record.uuid));
        if noted && !row.gone {
            self.benign = false;
            name.clone_into(&mut row.record.name);
        }
    }

    fn others_delete(&mut self, row: usize) {
        let count = self.api.rows.len();
        if count > 0 {
            self.benign = false;
            self.api.others_delete(row % count, self.now);
        }
    }

    fn edit(&mut self, index: usize, edit: Edit) {
        let adopted = match edit {
            Edit::AdoptUuid(row) => self.api.rows.get(row % self.api.rows.len().max(1)).map(|row| row.record.uuid),
            _ => None,
        };
        self.benign &= !matches!(edit, Edit::Adopt(_) | Edit::AdoptUuid(_) | Edit::Recreate(_));
        self.touch(index, |object, _| match edit {
            Edit::Delete => object.ask_to_delete(),
            Edit::Name(name) => object.edit(|o| o.spec.name = schedule::name(name)),
            Edit::Suspend(on) => object.edit(|o| o.spec.suspend = on),
            Edit::Observe(on) => {
                let management = if on { Management::Observe } else { Management::Manage };
                object.edit(|o| o.spec.management = management);
            }
            Edit::Invalid(on) => object.edit(|o| o.invalid = on),
            Edit::Policy(policy) => object.edit(|o| o.policy = policy),
            Edit::Recreate(policy) => object.edit(|o| o.spec.recreate = policy),
            Edit::Adopt(policy) => object.edit(|o| o.spec.adoption.policy = policy),
            Edit::AdoptUuid(_) => object.edit(|o| o.spec.adoption.uuid = adopted),
        });
    }

    /// What every object lays claim to at present.
    fn refresh_claims(&mut self) {
        for (index, object) in self.objects.iter().enumerate() {
            let learned = self.memories[index].learned.as_ref().map(|identity| identity.uuid);
            let uuid = object.uuid().or(learned);
            let intent = object.intent.as_ref().or(self.memories[index].intent.as_ref());
            let name = intent.map(|intent| NameClaim {
                origin: intent.origin.clone(),
                tenant: intent.tenant,
                name: intent.name.clone(),
            });
            let holds = uuid.map(|uuid| Holding { uuid, origin: None });
            let claim = Claim { created: Some(object.created), uid: index.to_string(), holds, name };
            self.claims.set(&key(index), (!object.gone && !self.has(Bug::IgnoreClaims)).then_some(claim));
        }
    }

    /// Faults stop, requests under way land, agents finish. Then every object gets its passes.
    pub(crate) fn heal(&mut self) {
        self.say("--- faults stop ---");
        self.reads_fail = false;
        if self.api.with != Credentials::Full {
            self.api.with = Credentials::Full;
            self.inventory = None;
        }
        let seconds = [30, i64::try_from(QUARANTINE.as_secs()).unwrap(), 30, 30, 30, 30, 30, 30];
        for seconds in seconds {
            self.wait(seconds);
            self.api.finish_deletes(self.now);
            self.poll();
            for index in 0..self.objects.len() {
                self.pass(index, &[], false);
            }
            self.check_single();
            if self.violation.is_some() {
                return;
            }
        }
        self.check_goals();
        self.check_stillness();
    }
}
