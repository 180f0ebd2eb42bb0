//! Who asked for what, between two moments. Owns how requests are sorted; gates nothing.
//!
//! Watches and Lease renewals stand apart: they depend on time alone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use runai_simulator::Operation;
use testbed::AuditEvent;

use crate::world::{TEAM, World};

const OPERATOR: &str = "system:serviceaccount:runai-operator:runai-operator-runai-cluster-operator";

/// The beginning of a phase.
#[derive(Clone, Copy)]
pub struct Mark {
    at: Timestamp,
    seq: u64,
}

impl Mark {
    pub fn now(world: &World) -> Self {
        Self { at: Timestamp::now(), seq: world.simulator.last_seq() }
    }
}

/// What was asked since a mark.
#[derive(Debug, Default)]
pub struct Spent {
    /// Requests for RunaiClusters of the team, their Events, and the CRD: what objects cost. By verb and resource.
    pub objects: BTreeMap<String, usize>,
    /// Everything else of the operator but watches and the Lease.
    pub others: BTreeMap<String, usize>,
    pub lease_renewals: usize,
    /// Calls to the control plane, all of them.
    pub remote: BTreeMap<Operation, usize>,
}

impl Spent {
    pub fn since(world: &World, mark: Mark) -> Self {
        let mut spent = Self::default();
        for event in operator_events(world, mark) {
            match (event.verb.as_str(), event.resource.as_str()) {
                ("watch", _) => {}
                (_, "leases") => spent.lease_renewals += 1,
                _ if event.namespace == TEAM || event.resource == "customresourcedefinitions" => {
                    *spent.objects.entry(key(&event)).or_default() += 1;
                }
                _ => *spent.others.entry(key(&event)).or_default() += 1,
            }
        }
        for entry in world.simulator.journal_since(mark.seq) {
            let operation = entry.operation.expect("the operator asks for nothing unknown");
            *spent.remote.entry(operation).or_default() += 1;
        }
        spent
    }

    pub fn kubernetes(&self) -> usize {
        self.objects.values().sum()
    }

    /// How often something was written, to whatever object.
    pub fn writes(&self) -> usize {
        let writing = |key: &&String| ["create", "patch", "update", "delete"].iter().any(|verb| key.starts_with(verb));
        self.objects.iter().chain(&self.others).filter(|(key, _)| writing(key)).map(|(_, count)| count).sum()
    }

    pub fn of(&self, key: &str) -> usize {
        self.objects.get(key).copied().unwrap_or_default()
    }

    pub fn called(&self, operation: Operation) -> usize {
        self.remote.get(&operation).copied().unwrap_or_default()
    }

    /// Looks at all registrations: full lists, and looks at the minimal one (a single page below 500).
    pub fn polls(&self) -> usize {
        self.called(Operation::List) + self.called(Operation::MinimalList)
    }

    pub fn calls(&self) -> usize {
        self.remote.values().sum()
    }
}

fn key(event: &AuditEvent) -> String {
    let sub = if event.subresource.is_empty() { String::new() } else { format!("/{}", event.subresource) };
    format!("{} {}{sub}", event.verb, event.resource)
}

fn operator_events(world: &World, mark: Mark) -> Vec<AuditEvent> {
    let events = world.bed.audit_events(Some(mark.at)).unwrap();
    events.into_iter().filter(|event| event.user == OPERATOR).collect()
}

/// Seconds between the first request of kind `from` by anybody and the last one of kind `to` by the operator.
pub fn seconds_between(world: &World, mark: Mark, from: &str, to: &str) -> f64 {
    let all = world.bed.audit_events(Some(mark.at)).unwrap();
    let first = all.iter().filter(|event| key(event) == from).map(|event| event.stage_timestamp).min();
    let mine = all.iter().filter(|event| event.user == OPERATOR && key(event) == to);
    let last = mine.map(|event| event.stage_timestamp).max();
    last.unwrap().duration_since(first.unwrap()).as_secs_f64()
}

/// For each object created since the mark: seconds from the answer to its create to the answer to the status write
/// that shows the uuid.
pub fn seconds_to_uuid(world: &World, mark: Mark) -> Vec<f64> {
    let mut created = BTreeMap::new();
    let mut took = BTreeMap::new();
    for event in world.bed.audit_events(Some(mark.at)).unwrap() {
        match key(&event).as_str() {
            "create runaiclusters" => {
                created.insert(event.name, event.stage_timestamp);
            }
            // A create has one status write: the one that shows the uuid.
            "patch runaiclusters/status" => {
                if let Some(at) = created.get(&event.name) {
                    took.entry(event.name).or_insert(event.stage_timestamp.duration_since(*at).as_secs_f64());
                }
            }
            _ => {}
        }
    }
    let mut took: Vec<_> = took.into_values().collect();
    took.sort_by(f64::total_cmp);
    took
}

/// Waits until the operator has asked nothing of the API server, watches and the Lease apart, for `period`.
pub async fn quiet(world: &World, period: Duration) {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        let mark = Mark::now(world);
        // The length of the silence is what is measured.
        tokio::time::sleep(period).await;
        let spent = Spent::since(world, mark);
        if spent.objects.is_empty() && spent.others.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "the operator does not come to rest: {spent:?}\n{}", world.tail());
    }
}
