//! Any case that a decision may meet, from bytes: also those that no history leads to.
//!
//! Owns the choices. They are few for what is compared (uuids, names, origins), so that they meet, and extreme for what
//! is counted (times, durations).

use std::time::Duration;

use jiff::Timestamp;
use runai_cluster_operator::domain::claims::NameClaim;
use runai_cluster_operator::domain::{
    Absence, Accepted, Access, Adoption, AdoptionPolicy, AgentVersion, Annotated, Before, Case, Claim, Claims,
    ClusterDomain, ClusterName, ClusterState, ClusterUuid, CredentialId, Deletion, DeletionPolicy, Desired, Holding,
    Identity, Intent, Management, Memory, Named, ObjectKey, Observed, Origin, Policy, Provenance, ReadyWhen, Reason,
    Recorded, RecreatePolicy, RemoteCluster, Sighting, SpecError, StatusFacts, TenantId, Trouble, Who,
};

use super::draw::Draw;

/// Everything that a [`Case`] borrows.
#[derive(Debug)]
pub struct Owned {
    key: ObjectKey,
    generation: i64,
    pub deleting: bool,
    pub desired: Result<Desired, SpecError>,
    pub deletion: Deletion,
    pub recorded: Recorded,
    pub memory: Memory,
    pub observed: Observed,
    pub claims: Claims,
    policy: Policy,
    now: Timestamp,
    pub before: Before,
}

impl Owned {
    pub fn draw(data: &[u8]) -> Self {
        let d = &mut Draw::new(data);
        Self {
            key: key("self"),
            generation: d.one(&[1, 2, i64::MAX]),
            deleting: d.flag(),
            desired: spec(d),
            deletion: Deletion {
                management: d.one(&[Management::Manage, Management::Observe]),
                policy: d.one(&[None, Some(DeletionPolicy::Delete), Some(DeletionPolicy::Orphan)]),
                stalled_after: duration(d),
                force_after: d.maybe(duration),
            },
            recorded: recorded(d),
            memory: memory(d),
            observed: observed(d),
            claims: claims(d),
            policy: Policy {
                quarantine: duration(d),
                default_deletion: d.one(&[None, Some(DeletionPolicy::Delete), Some(DeletionPolicy::Orphan)]),
                liveness_granularity: duration(d),
            },
            now: time(d),
            before: before(d),
        }
    }

    pub fn case(&self) -> Case<'_> {
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
            nonce: uuid::Uuid::from_u128(9),
        }
    }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey { namespace: "team-a".to_owned(), name: name.to_owned() }
}

fn uuid(d: &mut Draw<'_>) -> ClusterUuid {
    ClusterUuid(uuid::Uuid::from_u128(d.one(&[0xA, 0xB, 0xC, u128::MAX])))
}

fn attempt(d: &mut Draw<'_>) -> uuid::Uuid {
    uuid::Uuid::from_u128(d.one(&[1, 2, 9]))
}

fn time(d: &mut Draw<'_>) -> Timestamp {
    let second = |second: i64| Timestamp::from_second(1_800_000_000 + second).expect("in range");
    let near = [0, 1, 2, 10, 60, 119, 120, 121, 122, 3600].map(second);
    d.one(&[&near[..], &[Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH]].concat())
}

fn duration(d: &mut Draw<'_>) -> Duration {
    let near = [120, 0, 1, 10, 3600, 999_999 * 3600].map(Duration::from_secs);
    d.one(&[&near[..], &[Duration::from_millis(1), Duration::MAX]].concat())
}

fn tenant(d: &mut Draw<'_>) -> TenantId {
    TenantId(d.one(&[1, 2, i64::MIN]))
}

fn origin(d: &mut Draw<'_>) -> Origin {
    Origin::new(d.one(&["https://a.example", "https://b.example"]))
}

fn credential(d: &mut Draw<'_>) -> CredentialId {
    CredentialId::new(d.one(&["one", "two"]))
}

fn who(d: &mut Draw<'_>) -> Who {
    Who { origin: origin(d), credential: credential(d), tenant: d.maybe(tenant) }
}

fn provenance(d: &mut Draw<'_>) -> Provenance {
    d.one(&[Provenance::Created, Provenance::Adopted])
}

fn name(d: &mut Draw<'_>) -> ClusterName {
    ClusterName::parse(d.one(&["east", "west", "EAST", "\u{202e}"])).expect("a name")
}

/// As stored by a server: not ours to judge, but with an end.
fn text(d: &mut Draw<'_>) -> String {
    let long = "\u{1f}".repeat(256);
    d.one(&["east", "west", "EAST", "", "\u{202e}\u{1b}[31m", &long]).to_owned()
}

fn domain(d: &mut Draw<'_>) -> ClusterDomain {
    ClusterDomain::observed(d.one(&["https://east.example", "east.example", "west.example", "", ":", "\u{1b}"]))
}

fn trouble(d: &mut Draw<'_>) -> Trouble {
    Trouble {
        reason: d.one(&Reason::ALL),
        message: "trouble".to_owned(),
        stalled: d.flag(),
        retry_after: d.maybe(duration),
    }
}

fn identity(d: &mut Draw<'_>) -> Identity {
    Identity {
        uuid: uuid(d),
        provenance: provenance(d),
        tenant: d.maybe(tenant),
        origin: d.maybe(origin),
        credential: d.maybe(credential),
        created: d.maybe(time),
    }
}

fn intent(d: &mut Draw<'_>) -> Intent {
    Intent {
        attempt: attempt(d),
        name: name(d).as_str().to_owned(),
        domain: d.maybe(|d| domain(d).as_str().to_owned()),
        remote_time: d.maybe(time),
        local_time: time(d),
        origin: origin(d),
        tenant: d.maybe(tenant),
        replaces: d.maybe(uuid),
        seen: d.some(3, uuid),
    }
}

fn record(d: &mut Draw<'_>) -> RemoteCluster {
    RemoteCluster {
        uuid: uuid(d),
        tenant: tenant(d),
        name: text(d),
        domain: d.maybe(domain),
        version: d.maybe(text),
        created_at: time(d),
        updated_at: d.maybe(time),
        last_liveness: d.maybe(time),
        delete_requested_at: d.maybe(time),
        deleted_at: d.maybe(time),
        state: d.maybe(|d| ClusterState::from_api(d.one(&["Connected", "Disconnected", "Else", "\u{1b} ", ""]))),
        platform: d.maybe(text),
        kubernetes_version: d.maybe(text),
    }
}

/// Records that bear `name`, as the shell picks them; one time in eight very many.
fn twins(d: &mut Draw<'_>, name: &str) -> Vec<RemoteCluster> {
    let mut records = d.some(3, record);
    if d.byte() % 8 == 7
        && let Some(first) = records.first().cloned()
    {
        let next = |n: u128| RemoteCluster { uuid: ClusterUuid(uuid::Uuid::from_u128(0x1000 + n)), ..first.clone() };
        records.extend((0..4000).map(next));
    }
    records.iter_mut().for_each(|record| name.clone_into(&mut record.name));
    records
}

fn spec(d: &mut Draw<'_>) -> Result<Desired, SpecError> {
    if d.byte() % 8 == 7 {
        return Err(SpecError::Undecodable("no".to_owned()));
    }
    Ok(Desired {
        name: name(d),
        domain: d.maybe(|d| ClusterDomain::parse(d.one(&["east.example", "west.example"])).expect("a domain")),
        version: d.maybe(|d| AgentVersion::parse(d.one(&["2.24", "2.25.1"])).expect("a version")),
        management: d.one(&[Management::Manage, Management::Observe]),
        adoption: Adoption {
            policy: d.one(&[AdoptionPolicy::Never, AdoptionPolicy::IfExists, AdoptionPolicy::Required]),
            uuid: d.maybe(uuid),
        },
        recreate: d.one(&[RecreatePolicy::Never, RecreatePolicy::IfMissing]),
        ready_when: d.one(&[ReadyWhen::Registered, ReadyWhen::Connected]),
        suspend: d.byte() % 4 == 3,
        install: None,
    })
}

fn recorded(d: &mut Draw<'_>) -> Recorded {
    Recorded {
        status: d.maybe(|d| Identity { origin: None, credential: None, ..identity(d) }),
        annotated: match d.byte() % 4 {
            0 => Annotated::Nothing,
            1 => Annotated::Misfit(d.maybe(uuid)),
            _ => Annotated::Fits(identity(d)),
        },
        incomplete: d.flag(),
        intent: d.maybe(intent),
        intent_told: d.flag(),
        intent_annotated: d.flag(),
        foreign_intent: d.flag(),
        finalizer: !d.flag(),
        delete_requested_at: d.maybe(time),
    }
}

fn memory(d: &mut Draw<'_>) -> Memory {
    Memory {
        learned: d.maybe(identity),
        intent: d.maybe(intent),
        unsent: d.maybe(attempt),
        empty_look: d.maybe(|d| (attempt(d), time(d))),
        refused: d.maybe(|d| (attempt(d), trouble(d))),
        delete_accepted: d.maybe(|d| Accepted { origin: origin(d), credential: credential(d), done: d.flag() }),
        seen_by: d.maybe(who),
        renames: d.some(4, time),
        renames_for: d.one(&[1, 2]),
        trouble: d.maybe(|d| (d.one(&Reason::ALL), time(d))),
        failures: d.one(&[0, 1, u32::MAX]),
        made: d.maybe(time),
        unnoted: d.maybe(identity),
        known: d.maybe(|d| (uuid(d), time(d))),
    }
}

fn observed(d: &mut Draw<'_>) -> Observed {
    let access = Access {
        who: if d.byte() % 8 == 7 { Err(trouble(d)) } else { Ok(who(d)) },
        live: (d.byte() % 8 == 7).then(|| trouble(d)),
        may_adopt: d.flag(),
    };
    Observed {
        uuid: match d.byte() % 4 {
            0 => Sighting::NotLooked,
            1 => Sighting::NotListed,
            2 => Sighting::Absent(Absence { listed_after: d.flag(), tenant: d.maybe(tenant) }),
            _ => Sighting::Present(record(d)),
        },
        named: match (d.byte() % 3, name(d).as_str().to_owned()) {
            (0, _) => Named::NotLooked,
            (1, name) => Named::Snapshot(name.clone(), twins(d, &name)),
            (_, name) => Named::Fresh(name.clone(), twins(d, &name)),
        },
        looked_at: d.maybe(time),
        witness: d.maybe(uuid),
        // The client refuses an answer about another registration than the one that was asked for.
        reads: d.some(3, |d| {
            let asked = uuid(d);
            (asked, d.maybe(record).map(|found| RemoteCluster { uuid: asked, ..found }))
        }),
        trouble: (d.byte() % 4 == 3).then(|| trouble(d)),
        inventory: d.maybe(trouble),
        stale: d.flag(),
        remote_now: d.maybe(time),
        armed: d.maybe(attempt),
        refused: (d.byte() % 4 == 3).then(|| trouble(d)),
        crd_deleting: d.one(&[None, Some(false), Some(true)]),
        delete_sent: d.flag(),
        unlisted: d.flag(),
        known_for: duration(d),
        ..Observed::nothing(access)
    }
}

fn claims(d: &mut Draw<'_>) -> Claims {
    let mut claims = Claims::default();
    for object in ["self", "elder", "younger"] {
        let claim = d.maybe(|d| Claim {
            created: d.maybe(time),
            uid: object.to_owned(),
            holds: d.maybe(|d| Holding { uuid: uuid(d), origin: d.maybe(origin) }),
            name: d.maybe(|d| NameClaim {
                origin: origin(d),
                tenant: d.maybe(tenant),
                name: name(d).as_str().to_owned(),
            }),
        });
        claims.set(&key(object), claim);
    }
    claims
}

fn before(d: &mut Draw<'_>) -> Before {
    let facts = StatusFacts {
        uuid: d.maybe(uuid),
        tenant: d.maybe(tenant),
        origin: d.maybe(provenance),
        name: d.maybe(text),
        last_liveness: d.maybe(time),
        state: d.maybe(text),
        ..StatusFacts::default()
    };
    let conditions = d.some(2, |d| {
        let words = |choices: &[&str], d: &mut Draw<'_>| d.one(choices).to_owned();
        let kind = words(&["Synced", "Connected", "Ready", ""], d);
        let reason = words(&["Registered", "Creating", "\u{1b}"], d);
        (kind, words(&["True", "False", "Unknown", ""], d), reason)
    });
    Before { facts, conditions }
}
