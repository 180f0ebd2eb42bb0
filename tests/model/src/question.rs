//! From a state to the core's own types: all that one decision may depend on.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::claims::NameClaim;
use crate::domain::{
    Absence, Accepted, Access, Adoption, AdoptionPolicy, Annotated, Claim, Claims, ClusterName, ClusterUuid,
    CredentialId, Deletion, DeletionPolicy, Desired, Holding, Identity, Intent, Management, Memory, Named, ObjectKey,
    Observed, Origin, Provenance, ReadyWhen, Reason, Recorded, RecreatePolicy, RemoteCluster, Sighting, SpecError,
    TenantId, Trouble, Who, open_intent,
};
use crate::mutant::Mutant;
use crate::scenes::Scene;
use crate::state::{
    self, ATTEMPTS, Attempt, Credentials, Failure, List, NONE, Note, OBJECTS, Object, Pass, RECORDS, Seen, Sight,
    State, Status, unseen,
};

pub(crate) const NAMES: [&str; 3] = ["east", "west", "north"];
pub(crate) const QUARANTINE: u64 = 120;
/// Half a quarantine.
pub(crate) const TICK: i64 = 60;
/// The attempt id that stands for "a new one".
pub(crate) const NEW: u128 = 0xffff;

/// All that a decision may depend on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    pub(crate) object: u8,
    pub(crate) view: Object,
    pub(crate) memory: state::Memory,
    pub(crate) pass: Pass,
    pub(crate) attempts: [Attempt; ATTEMPTS],
    /// Registrations in the foreign tenant.
    pub(crate) foreign: u8,
    pub(crate) credentials: Credentials,
    /// The tenant that is known: 0 none, 1 ours, 2 the foreign one.
    pub(crate) tenant: u8,
    /// What the process believes the other object to claim.
    pub(crate) other: (u8, u8),
    /// See [`Scene`].
    pub(crate) never_ends: bool,
    /// Registrations are as old as they say, see [`Pass`].
    pub(crate) ages: bool,
}

pub(crate) fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(500_000)
}

pub(crate) fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

pub(crate) const fn uuid(slot: u8) -> ClusterUuid {
    ClusterUuid(uuid::Uuid::from_u128(0x100 + slot as u128))
}

pub(crate) fn slot(uuid: ClusterUuid) -> u8 {
    u8::try_from(uuid.0.as_u128() - 0x100).unwrap_or(NONE)
}

pub(crate) fn name_index(name: &str) -> u8 {
    NAMES.iter().position(|known| *known == name).and_then(|index| u8::try_from(index).ok()).unwrap_or(NONE)
}

pub(crate) const fn attempt_id(slot: u8) -> uuid::Uuid {
    uuid::Uuid::from_u128(1 + slot as u128)
}

pub(crate) fn attempt_slot(id: uuid::Uuid) -> u8 {
    u8::try_from(id.as_u128() - 1).unwrap_or(NONE)
}

pub(crate) fn tenant(foreign: bool) -> TenantId {
    TenantId(if foreign { 2 } else { 1 })
}

pub(crate) fn known_tenant(code: u8) -> Option<TenantId> {
    (code > 0).then(|| tenant(code == 2))
}

pub(crate) fn credential(of: Credentials) -> CredentialId {
    CredentialId::new(match of {
        Credentials::Ours => "client:ours",
        Credentials::Rotated => "client:rotated",
        Credentials::Narrow => "client:narrow",
        Credentials::Foreign => "client:foreign",
        Credentials::Revoked => "client:revoked",
    })
}

pub(crate) fn credentials(id: Option<&CredentialId>) -> Credentials {
    match id.map(CredentialId::as_str) {
        Some("client:rotated") => Credentials::Rotated,
        Some("client:narrow") => Credentials::Narrow,
        Some("client:foreign") => Credentials::Foreign,
        Some("client:revoked") => Credentials::Revoked,
        Some(_) | None => Credentials::Ours,
    }
}

pub(crate) fn origin() -> Origin {
    Origin::new("https://cp.example.com")
}

pub(crate) fn trouble(failure: Failure) -> Trouble {
    let reason = match failure {
        Failure::Connection => Reason::ConnectionFailed,
        Failure::Refused => Reason::AuthFailed,
        Failure::Held => Reason::NameHeld,
        Failure::Rejected => Reason::Rejected,
    };
    Trouble { reason, message: String::new(), stalled: false, retry_after: None }
}

impl Question {
    pub(crate) fn new(state: &State, process: usize, object: usize, scene: &Scene) -> Self {
        let of = &state.processes[process];
        let mut attempts = [Attempt::default(); ATTEMPTS];
        let view = of.view[object];
        for slot in [view.intent, view.status.intent, of.memory[object].intent] {
            if slot != NONE {
                let attempt = state.attempts[usize::from(slot)];
                attempts[usize::from(slot)] = Attempt { flying: 0, object: 0, foreign: false, ..attempt };
            }
        }
        let foreign = state.records.iter().enumerate().fold(0, |bits, (slot, r)| bits | u8::from(r.foreign) << slot);
        let listed = of.inventory.and_then(|list| list.iter().position(|seen| *seen != 0));
        let of_list = listed.map_or(0, |slot| 1 + u8::from(state.records[slot].foreign));
        let of_token = 1 + u8::from(state.credentials == Credentials::Foreign);
        let tenant = match (scene.token_tells, state.credentials) {
            (_, Credentials::Revoked) => of_list,
            (true, _) => of_token,
            (false, _) => of_list,
        };
        Self {
            object: u8::try_from(object).unwrap_or(NONE),
            view,
            memory: state::Memory { claim: NONE, ..of.memory[object] },
            pass: of.pass[object],
            attempts,
            foreign,
            credentials: state.credentials,
            tenant,
            other: (NONE, NONE),
            never_ends: scene.never_ends,
            ages: !scene.has(Mutant::MissItAtOnce),
        }
    }

    pub(crate) fn record(&self, slot: u8, seen: Seen, open: u8) -> Option<RemoteCluster> {
        let asked = if self.never_ends { 2 * TICK } else { 0 };
        let (name, deleting) = unseen(seen)?;
        let attempt = self.attempts.get(usize::from(open)).filter(|attempt| attempt.object != NONE);
        let created = match attempt {
            Some(attempt) if attempt.before & (1 << slot) != 0 => ago(i64::from(attempt.age) * TICK + 30),
            Some(attempt) => ago(i64::from(attempt.age) * TICK - 1),
            None => ago(1_000),
        };
        Some(RemoteCluster {
            uuid: uuid(slot),
            tenant: tenant(self.foreign & (1 << slot) != 0),
            name: NAMES[usize::from(name)].to_owned(),
            domain: None,
            version: None,
            created_at: created,
            updated_at: None,
            last_liveness: None,
            delete_requested_at: deleting.then(|| ago(asked)),
            deleted_at: None,
            state: None,
            platform: None,
            kubernetes_version: None,
        })
    }

    pub(crate) fn named(&self, list: List, name: u8, open: u8) -> Vec<RemoteCluster> {
        let of_name = |(slot, seen): (usize, &Seen)| {
            unseen(*seen).filter(|(bears, _)| *bears == name)?;
            self.record(u8::try_from(slot).ok()?, *seen, open)
        };
        list.iter().enumerate().filter_map(of_name).collect()
    }

    pub(crate) fn intent(&self, slot: u8) -> Option<Intent> {
        let attempt = self.attempts.get(usize::from(slot))?;
        let age = i64::from(attempt.age) * TICK;
        let seen =
            (0..RECORDS).filter_map(|slot| u8::try_from(slot).ok()).filter(|slot| attempt.seen & (1 << slot) != 0);
        Some(Intent {
            attempt: attempt_id(slot),
            name: NAMES[usize::from(attempt.name)].to_owned(),
            domain: None,
            remote_time: Some(ago(age)),
            local_time: ago(age),
            origin: origin(),
            tenant: known_tenant(attempt.tenant),
            replaces: (attempt.replaces != NONE).then(|| uuid(attempt.replaces)),
            seen: seen.map(uuid).collect(),
        })
    }

    pub(crate) fn identity(&self, slot: u8, adopted: bool, by: Option<Credentials>) -> Identity {
        Identity {
            uuid: uuid(slot),
            provenance: if adopted { Provenance::Adopted } else { Provenance::Created },
            tenant: Some(tenant(self.foreign & (1 << slot) != 0)),
            origin: by.map(|_| origin()),
            credential: by.map(credential),
            created: Some(match self.pass.young[usize::from(slot)] {
                0 => ago(1_000),
                _ if self.ages => now(),
                _ => ago(1_000),
            }),
        }
    }

    pub(crate) fn memory(&self) -> Memory {
        let memory = &self.memory;
        let id = |slot: u8| (slot != NONE).then(|| attempt_id(slot));
        let by = |of: Credentials| Who {
            origin: origin(),
            credential: credential(of),
            tenant: Some(tenant(of == Credentials::Foreign)),
        };
        Memory {
            learned: (memory.learned != NONE).then(|| self.identity(memory.learned, false, Some(self.credentials))),
            intent: self.intent(memory.intent),
            unsent: id(memory.unsent),
            empty_look: match memory.empty_look {
                (NONE, _) => None,
                (of, just) => Some((attempt_id(of), if just { now() } else { ago(10) })),
            },
            refused: memory.refused.map(|(of, why)| (attempt_id(of), trouble(why))),
            delete_accepted: memory.accepted.map(|(of, done)| Accepted {
                origin: origin(),
                credential: credential(of),
                done,
            }),
            seen_by: memory.seen_by.map(by),
            ..Memory::default()
        }
    }

    pub(crate) fn recorded(&self, memory: &Memory, scene: &Scene) -> Recorded {
        let Status { uuid: status_uuid, adopted, asked, intent, .. } = self.view.status;
        let mut status = (status_uuid != NONE).then(|| self.identity(status_uuid, adopted, None));
        let mut annotated = match self.view.note {
            Note::Nothing => Annotated::Nothing,
            Note::Signed { uuid, adopted, by } => Annotated::Fits(self.identity(uuid, adopted, Some(by))),
            Note::Forged(slot) if scene.has(Mutant::TrustAForgedNote) => {
                Annotated::Fits(self.identity(slot, false, Some(self.credentials)))
            }
            Note::Forged(slot) => Annotated::Misfit(Some(uuid(slot))),
        };
        let identified = status.is_some() || matches!(annotated, Annotated::Fits(_)) || memory.learned.is_some();
        let noted = self.intent(self.view.intent).filter(|_| !scene.has(Mutant::ForgetTheIntent));
        let mut open = open_intent(noted.clone(), self.intent(intent), identified, memory);
        if scene.has(Mutant::ForgetTheTenant) {
            let forget = |identity: &mut Identity| identity.tenant = None;
            status.iter_mut().for_each(forget);
            open.iter_mut().for_each(|intent| intent.tenant = None);
            if let Annotated::Fits(identity) = &mut annotated {
                identity.tenant = None;
            }
        }
        if let Some(intent) = &mut open {
            if scene.has(Mutant::IgnoreTheAge) {
                intent.remote_time = Some(ago(100_000));
            }
            if scene.has(Mutant::ForgetWhatIsReplaced) {
                intent.replaces = None;
            }
        }
        Recorded {
            status,
            annotated,
            incomplete: false,
            intent_annotated: noted.is_some(),
            intent_told: intent != NONE && !scene.has(Mutant::LeaveTheCopy),
            intent: open,
            foreign_intent: false,
            finalizer: self.view.finalizer,
            delete_requested_at: match (asked, self.pass.asked) {
                (0, false) => None,
                (2, _) => Some(ago(2 * TICK)),
                (_, _) => Some(now()),
            },
        }
    }

    pub(crate) fn observed(&self, open: u8, scene: &Scene) -> Observed {
        let mut who =
            Who { origin: origin(), credential: credential(self.credentials), tenant: known_tenant(self.tenant) };
        if scene.has(Mutant::ForgetTheTenant) {
            who.tenant = None;
        }
        let mut observed = Observed::nothing(Access { who: Ok(who), live: None, may_adopt: scene.may_adopt });
        observed.uuid = match self.pass.sight {
            Sight::NotLooked => Sighting::NotLooked,
            Sight::Present(slot, seen) => self.record(slot, seen, open).map_or(Sighting::NotListed, Sighting::Present),
            Sight::NotListed if scene.has(Mutant::AbsentWhenNotListed) => {
                Sighting::Absent(Absence { listed_after: true, tenant: known_tenant(self.tenant) })
            }
            Sight::NotListed => Sighting::NotListed,
            Sight::Absent(listed_after, tenant) => {
                let tenant = known_tenant(tenant).filter(|_| !scene.has(Mutant::ForgetTheTenant));
                Sighting::Absent(Absence { listed_after, tenant })
            }
        };
        observed.named = match &self.pass.named {
            state::Named::NotLooked => Named::NotLooked,
            state::Named::Snapshot(name, list) if scene.has(Mutant::SkipTheLook) => {
                Named::Fresh(NAMES[usize::from(*name)].to_owned(), self.named(*list, *name, open))
            }
            state::Named::Snapshot(name, list) => {
                Named::Snapshot(NAMES[usize::from(*name)].to_owned(), self.named(*list, *name, open))
            }
            state::Named::Fresh(name, list) => {
                Named::Fresh(NAMES[usize::from(*name)].to_owned(), self.named(*list, *name, open))
            }
        };
        observed.witness = self.pass.witness.checked_sub(1).map(uuid);
        let reads = (0..).zip(self.pass.reads).filter_map(|(slot, read)| Some((slot, read?)));
        observed.reads = reads.map(|(slot, seen)| (uuid(slot), self.record(slot, seen, open))).collect();
        let open_age = self.attempts.get(usize::from(open)).map(|attempt| attempt.age);
        observed.looked_at = open_age.map(|age| ago(i64::from(age.saturating_sub(self.pass.looked)) * TICK));
        observed.trouble = self.pass.trouble.map(trouble);
        observed.refused = self.pass.refused.map(trouble);
        observed.inventory = (self.credentials == Credentials::Revoked).then(|| trouble(Failure::Refused));
        observed.remote_now = Some(now());
        observed.armed = (self.pass.armed > 0).then(|| attempt_id(self.pass.armed - 1));
        observed.crd_deleting = self.pass.crd.map(|deleting| deleting && !scene.has(Mutant::IgnoreTheCrd));
        observed.delete_sent = self.pass.sent;
        observed.unlisted = self.pass.unlisted;
        observed
    }

    pub(crate) fn claims(&self) -> Claims {
        let mut claims = Claims::default();
        let (of_uuid, of_name) = self.other;
        let other = 1 - self.object;
        if of_uuid != NONE || of_name != NONE {
            let name = self.intent_name(of_name);
            let holds = (of_uuid != NONE).then(|| Holding { uuid: uuid(of_uuid), origin: Some(origin()) });
            claims.set(
                &key(other),
                Some(Claim { created: Some(ago(10 - i64::from(other))), uid: String::new(), holds, name }),
            );
        }
        claims
    }

    pub(crate) fn intent_name(&self, name: u8) -> Option<NameClaim> {
        let tenant = known_tenant(self.tenant);
        (name != NONE).then(|| NameClaim { origin: origin(), tenant, name: NAMES[usize::from(name)].to_owned() })
    }
}

pub(crate) fn key(object: u8) -> ObjectKey {
    ObjectKey { namespace: "team".to_owned(), name: object.to_string() }
}

pub(crate) fn desired(spec: state::Spec, scene: &Scene) -> Result<Desired, SpecError> {
    let name = ClusterName::parse(NAMES[usize::from(spec.name)])
        .map_err(|source| SpecError::Field { field: "name", source })?;
    let observe = spec.observe && !scene.has(Mutant::IgnoreObserve);
    Ok(Desired {
        name,
        domain: None,
        version: None,
        management: if observe { Management::Observe } else { Management::Manage },
        adoption: Adoption {
            policy: if spec.adopt { AdoptionPolicy::IfExists } else { AdoptionPolicy::Never },
            uuid: None,
        },
        recreate: if spec.recreate { RecreatePolicy::IfMissing } else { RecreatePolicy::Never },
        ready_when: ReadyWhen::Registered,
        suspend: spec.suspend && !scene.has(Mutant::IgnoreSuspend),
        install: None,
    })
}

pub(crate) fn deletion(spec: state::Spec, scene: &Scene) -> Deletion {
    let observe = spec.observe && !scene.has(Mutant::IgnoreObserve);
    let orphan = spec.orphan && !scene.has(Mutant::IgnoreOrphan);
    Deletion {
        management: if observe { Management::Observe } else { Management::Manage },
        policy: orphan.then_some(DeletionPolicy::Orphan),
        stalled_after: Duration::from_secs(if scene.never_ends { 60 } else { 1_000_000 }),
        force_after: None,
    }
}

/// Number of objects that the claims of a process speak of.
const _: () = assert!(OBJECTS == 2, "claims are between two objects");
