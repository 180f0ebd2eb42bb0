//! A scene: everything that one decision depends on, with defaults that a test changes in a line or two.
//!
//! Owns the sample values of the domain's tests. Must not hold an assertion about a rule.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use jiff::Timestamp;

use super::claims::{Claim, Claims, Holding, NameClaim, ObjectKey};
use super::desired::{Adoption, Deletion, Desired, Management, ReadyWhen, RecreatePolicy, SpecError};
use super::ids::{ClusterDomain, ClusterName, ClusterUuid, CredentialId, Origin, Provenance, TenantId};
use super::memory::{Accepted, Memory};
use super::observed::{Absence, Access, ClusterState, Named, Observed, RemoteCluster, Sighting, Trouble, Who};
use super::plan::{Again, Case, Look, Marks, Plan, Policy, Stance, Step, plan};
use super::reason::Reason;
use super::recorded::{Annotated, Identity, Intent, Recorded};

pub(crate) const OURS: ClusterUuid = ClusterUuid(uuid::Uuid::from_u128(0xA));
pub(crate) const OTHER: ClusterUuid = ClusterUuid(uuid::Uuid::from_u128(0xB));
pub(crate) const THIRD: ClusterUuid = ClusterUuid(uuid::Uuid::from_u128(0xC));
pub(crate) const ATTEMPT: uuid::Uuid = uuid::Uuid::from_u128(0x1);
pub(crate) const NONCE: uuid::Uuid = uuid::Uuid::from_u128(0x2);
pub(crate) const TENANT: TenantId = TenantId(1001);
pub(crate) const QUARANTINE: Duration = Duration::from_secs(120);

/// Seconds after the scene's zero.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn key(name: &str) -> ObjectKey {
    ObjectKey { namespace: "team-a".to_owned(), name: name.to_owned() }
}

pub(crate) fn who() -> Who {
    Who {
        origin: Origin::new("https://cp.example.com"),
        credential: CredentialId::new("client:a"),
        tenant: Some(TENANT),
    }
}

pub(crate) fn record(uuid: ClusterUuid, name: &str) -> RemoteCluster {
    RemoteCluster {
        uuid,
        tenant: TENANT,
        name: name.to_owned(),
        domain: Some(ClusterDomain::observed("https://east.example.com")),
        version: Some("2.24.37".to_owned()),
        created_at: at(0),
        updated_at: Some(at(0)),
        last_liveness: None,
        delete_requested_at: None,
        deleted_at: None,
        state: Some(ClusterState::WaitingToConnect),
        platform: None,
        kubernetes_version: None,
    }
}

pub(crate) fn deleting(uuid: ClusterUuid, name: &str) -> RemoteCluster {
    RemoteCluster { delete_requested_at: Some(at(50)), ..record(uuid, name) }
}

pub(crate) fn deleted(uuid: ClusterUuid, name: &str) -> RemoteCluster {
    RemoteCluster { deleted_at: Some(at(60)), ..deleting(uuid, name) }
}

pub(crate) fn identity(uuid: ClusterUuid, provenance: Provenance) -> Identity {
    Identity {
        uuid,
        provenance,
        tenant: Some(TENANT),
        origin: Some(who().origin),
        credential: Some(who().credential),
        created: Some(at(0)),
    }
}

/// `uuid` at the scene's server.
pub(crate) fn holding(uuid: ClusterUuid) -> Holding {
    Holding { uuid, origin: Some(who().origin) }
}

/// Whose DELETE was accepted, with 202.
pub(crate) fn accepted(by: &Who) -> Accepted {
    Accepted { origin: by.origin.clone(), credential: by.credential.clone(), done: false }
}

/// What status keeps of an identity.
pub(crate) fn status_of(identity: &Identity) -> Identity {
    Identity { origin: None, credential: None, ..identity.clone() }
}

pub(crate) fn intent() -> Intent {
    Intent {
        attempt: ATTEMPT,
        name: "east".to_owned(),
        domain: Some("east.example.com".to_owned()),
        remote_time: Some(at(0)),
        local_time: at(0),
        origin: who().origin,
        tenant: Some(TENANT),
        replaces: None,
        seen: Vec::new(),
    }
}

pub(crate) fn trouble(reason: Reason) -> Trouble {
    Trouble { reason, message: format!("trouble: {}", reason.as_str()), stalled: false, retry_after: None }
}

pub(crate) fn proven() -> Sighting {
    Sighting::Absent(Absence { listed_after: true, tenant: Some(TENANT) })
}

pub(crate) fn snapshot(records: &[RemoteCluster]) -> Named {
    Named::Snapshot("east".to_owned(), records.to_vec())
}

pub(crate) fn fresh(records: &[RemoteCluster]) -> Named {
    Named::Fresh("east".to_owned(), records.to_vec())
}

/// A change of a scene, as a row of a table.
pub(crate) type Change = fn(&mut Scene);

/// All that one decision depends on.
pub(crate) struct Scene {
    pub(crate) key: ObjectKey,
    pub(crate) generation: i64,
    pub(crate) deleting: bool,
    pub(crate) desired: Result<Desired, SpecError>,
    pub(crate) deletion: Deletion,
    pub(crate) recorded: Recorded,
    pub(crate) memory: Memory,
    pub(crate) observed: Observed,
    pub(crate) claims: Claims,
    pub(crate) policy: Policy,
    pub(crate) now: Timestamp,
}

impl Scene {
    /// A new object `team-a/east`; the control plane answers and holds nothing.
    pub(crate) fn new() -> Self {
        let access = Access { who: Ok(who()), live: None, may_adopt: true };
        let mut observed = Observed::nothing(access);
        observed.named = snapshot(&[]);
        observed.remote_now = Some(at(100));
        Self {
            key: key("east"),
            generation: 1,
            deleting: false,
            desired: Ok(Desired {
                name: ClusterName::parse("east").unwrap(),
                domain: Some(ClusterDomain::parse("east.example.com").unwrap()),
                version: None,
                management: Management::Manage,
                adoption: Adoption::default(),
                recreate: RecreatePolicy::Never,
                ready_when: ReadyWhen::Registered,
                suspend: false,
                install: None,
            }),
            deletion: Deletion {
                management: Management::Manage,
                policy: None,
                stalled_after: secs(3600),
                force_after: None,
            },
            recorded: Recorded::default(),
            memory: Memory::default(),
            observed,
            claims: Claims::default(),
            policy: Policy { quarantine: QUARANTINE, default_deletion: None, liveness_granularity: secs(600) },
            now: at(100),
        }
    }

    /// An object that owns `OURS`, seen and as asked.
    pub(crate) fn owner(provenance: Provenance) -> Self {
        let mut scene = Self::new();
        let own = identity(OURS, provenance);
        scene.recorded.status = Some(status_of(&own));
        scene.recorded.annotated = Annotated::Fits(own);
        scene.recorded.finalizer = true;
        scene.observed.remote_now = Some(at(1000));
        scene.observed.uuid = Sighting::Present(record(OURS, "east"));
        scene.observed.named = snapshot(&[record(OURS, "east")]);
        scene
    }

    /// As [`Scene::owner`], created by us, and the object is being deleted.
    pub(crate) fn dying() -> Self {
        let mut scene = Self::owner(Provenance::Created);
        scene.deleting = true;
        scene
    }

    /// An object with an open intent from 0 s, at 10 s after a restart, with a fresh look that found `records`.
    pub(crate) fn doubtful(records: &[RemoteCluster]) -> Self {
        let mut scene = Self::new();
        scene.recorded.intent = Some(intent());
        scene.recorded.intent_annotated = true;
        scene.recorded.finalizer = true;
        scene.observed.named = fresh(records);
        scene.read(records);
        scene.observed.looked_at = Some(at(10));
        scene.now = at(10);
        scene
    }

    /// Reads by id find these.
    pub(crate) fn read(&mut self, records: &[RemoteCluster]) {
        self.observed.reads.extend(records.iter().map(|record| (record.uuid, Some(record.clone()))));
    }

    /// Changes the scene.
    pub(crate) fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn spec(&mut self) -> &mut Desired {
        self.desired.as_mut().unwrap()
    }

    pub(crate) fn rename_spec(&mut self, name: &str) {
        self.spec().name = ClusterName::parse(name).unwrap();
        self.generation += 1;
    }

    /// An older object lays claim to `uuid`.
    pub(crate) fn elder_owns(&mut self, uuid: ClusterUuid) {
        let claim = Claim { created: Some(at(-1000)), uid: "0".to_owned(), holds: Some(holding(uuid)), name: None };
        self.claims.set(&key("elder"), Some(claim));
    }

    /// An older object is about to register `name`.
    pub(crate) fn elder_registers(&mut self, name: &str) {
        let name = NameClaim { origin: who().origin, tenant: Some(TENANT), name: name.to_owned() };
        let claim = Claim { created: Some(at(-1000)), uid: "0".to_owned(), holds: None, name: Some(name) };
        self.claims.set(&key("elder"), Some(claim));
    }

    pub(crate) fn case(&self) -> Case<'_> {
        Case {
            key: &self.key,
            generation: self.generation,
            deleting: self.deleting,
            desired: &self.desired,
            deletion: &self.deletion,
            recorded: &self.recorded,
            memory: &self.memory,
            observed: &self.observed,
            claims: &self.claims,
            policy: &self.policy,
            now: self.now,
            nonce: NONCE,
        }
    }

    pub(crate) fn plan(&self) -> Plan {
        plan(&self.case())
    }

    /// The pass comes to rest for this reason, standing so.
    #[track_caller]
    pub(crate) fn rests(&self, why: Reason, stance: Stance) -> Plan {
        let plan = self.plan();
        assert_eq!((&plan.step, plan.why, plan.stance), (&Step::Rest, why, stance), "{plan:?}");
        plan
    }

    /// A person is asked, and everything that `hints` names is in the message.
    #[track_caller]
    pub(crate) fn stalls(&self, why: Reason, hints: &[&str]) {
        let plan = self.rests(why, Stance::Stalled);
        for hint in hints {
            assert!(plan.message.contains(hint), "no {hint:?} in {:?}", plan.message);
        }
    }

    /// The next step.
    #[track_caller]
    pub(crate) fn steps(&self, step: &Step) -> Plan {
        let plan = self.plan();
        assert_eq!(&plan.step, step, "{plan:?}");
        plan
    }

    #[track_caller]
    pub(crate) fn looks(&self, look: Look) {
        self.steps(&Step::Look(look));
    }

    #[track_caller]
    pub(crate) fn looks_for(&self, name: &str) {
        self.looks(Look::Names(name.to_owned()));
    }

    /// The next step writes metadata; returns what.
    #[track_caller]
    pub(crate) fn marks(&self) -> Marks {
        let plan = self.plan();
        let Step::Mark(marks) = plan.step else { panic!("no mark: {plan:?}") };
        marks
    }

    /// The next step writes an intent and no identity.
    #[track_caller]
    pub(crate) fn intends(&self) -> Intent {
        let marks = self.marks();
        assert_eq!(marks.identity, None);
        marks.intent.expect("an intent")
    }

    /// The next step takes identity and intent away.
    #[track_caller]
    pub(crate) fn clears(&self) {
        assert_eq!(self.marks(), Marks::default());
    }

    #[track_caller]
    pub(crate) fn releases(&self, why: Reason) {
        let plan = self.steps(&Step::Release);
        assert_eq!(plan.why, why, "{plan:?}");
    }

    /// The pass ends with this trouble and comes back after the back-off.
    #[track_caller]
    pub(crate) fn holds(&self, why: Reason) {
        let plan = self.rests(why, Stance::Progress);
        assert_eq!(plan.again, Again::Backoff);
    }
}
