//! What a run is judged by: its states on the way and what it cost, each compared with the run without a fault.
//!
//! Owns the counting and the comparison. Must not know any fault.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use runai_simulator::{Operation, Simulator};
use serde_json::{Value, json};
use testbed::AuditEvent;
use uuid::Uuid;

use crate::world::{TEAM, World};

/// What one object cost, from create to gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Registrations made, changes and deletions that took effect.
    pub created: usize,
    pub changed: usize,
    pub deleted: usize,
    /// Requests that arrived, whatever became of them.
    pub posts: usize,
    pub puts: usize,
    pub deletes: usize,
    /// Writes to the Kubernetes API: metadata, status, Events.
    pub marks: usize,
    pub statuses: usize,
    pub events: usize,
}

/// How much more than the fault-free run a row may spend. What was made and deleted is never allowed to differ.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extra {
    /// Changes that took effect once more: the same name again, after a lost answer.
    pub changed: usize,
    pub posts: usize,
    pub puts: usize,
    pub deletes: usize,
    pub marks: usize,
    pub statuses: usize,
    pub events: usize,
}

impl Extra {
    pub const NONE: Self = Self { changed: 0, posts: 0, puts: 0, deletes: 0, marks: 0, statuses: 0, events: 0 };
}

/// A finished run: what the object and its registration looked like at each rest, and the cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub states: Vec<Value>,
    pub cost: Cost,
}

/// The operator's requests about objects of the team, read once for many objects.
pub struct Ledger(Vec<AuditEvent>);

impl Ledger {
    pub fn of(world: &World) -> Self {
        let user = "system:serviceaccount:runai-operator:runai-operator-runai-cluster-operator";
        let mut events = world.bed.audit_events(None).unwrap();
        events.retain(|event| event.user == user && event.namespace == TEAM);
        Self(events)
    }

    /// What `name` cost, with the registrations that bear its name at first.
    pub fn cost(&self, simulator: &Simulator, name: &str) -> Cost {
        let mut cost = Cost::default();
        for event in self.0.iter().filter(|event| is_about(event, name)) {
            match (event.verb.as_str(), event.resource.as_str(), event.subresource.as_str()) {
                ("patch", "runaiclusters", "status") => cost.statuses += 1,
                ("patch", "runaiclusters", "") => cost.marks += 1,
                ("create" | "patch", "events", "") => cost.events += 1,
                ("get" | "list" | "watch", _, _) => {}
                other => panic!("{name}: a kind of request that nobody counts: {other:?}"),
            }
        }
        let journal = simulator.journal();
        let is_post = |entry: &&runai_simulator::JournalEntry| {
            entry.operation == Some(Operation::Create) && entry.body.as_ref().is_some_and(|body| body["name"] == name)
        };
        let mine: BTreeSet<Uuid> =
            journal.iter().filter(is_post).flat_map(|entry| entry.committed_uuids.clone()).collect();
        cost.created = mine.len();
        cost.posts = journal.iter().filter(is_post).count();
        for entry in &journal {
            let id = entry.path_id.as_ref().and_then(|id| id.parse::<Uuid>().ok());
            if id.is_none_or(|id| !mine.contains(&id)) {
                continue;
            }
            match entry.operation {
                Some(Operation::Update) => {
                    cost.puts += 1;
                    cost.changed += usize::from(entry.committed);
                }
                Some(Operation::Delete) => {
                    cost.deletes += 1;
                    cost.deleted += usize::from(entry.committed);
                }
                _ => {}
            }
        }
        cost
    }
}

/// An Event is named after its object, with a dot and a time.
fn is_about(event: &AuditEvent, name: &str) -> bool {
    let rest = event.name.strip_prefix(name);
    rest.is_some_and(|rest| rest.is_empty() || (event.resource == "events" && rest.starts_with('.')))
}

/// All that must not depend on what happened on the way: conditions, notes, facts, and the registrations of that name.
/// The object's own name reads NAME.
pub fn state_of(object: &Value, simulator: &Simulator, name: &str) -> Value {
    let keys = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let conditions: Vec<_> = conditions.iter().map(|one| json!([one["type"], one["status"], one["reason"]])).collect();
    let status = &object["status"];
    let mut facts = keys(status);
    // Copied only along with another change.
    facts.retain(|fact| fact != "updatedAt");
    let records = simulator.live_clusters().into_iter().filter(|record| record.name.starts_with(name));
    let records: Vec<_> = records
        .map(|record| {
            let owned = json!(record.uuid) == status["uuid"];
            json!([record.name, record.domain, record.version, record.state, record.delete_requested_at, owned])
        })
        .collect();
    let state = json!({
        "finalizers": object["metadata"]["finalizers"], "annotations": keys(&object["metadata"]["annotations"]),
        "conditions": conditions, "facts": facts,
        "status": [status["origin"], status["name"], status["domain"], status["version"], status["state"], status["drift"]],
        "registrations": records,
    });
    serde_json::from_str(&state.to_string().replace(name, "NAME")).unwrap()
}

/// What is wrong with a run; empty if nothing is.
pub fn differences(calm: &Run, run: &Run, extra: Extra) -> String {
    let mut wrong = String::new();
    for (at, (wanted, seen)) in calm.states.iter().zip(&run.states).enumerate() {
        if wanted != seen {
            write!(wrong, "\n  state {at} is {seen}\n  instead of {wanted}").unwrap();
        }
    }
    let (is, was) = (run.cost, calm.cost);
    let took = |cost: Cost| (cost.created, cost.deleted);
    if took(is) != took(was) || is.changed < was.changed {
        write!(wrong, "\n  made and deleted: {:?} instead of {:?}; {is:?}", took(is), took(was)).unwrap();
    }
    let limits = [
        ("changes", is.changed, was.changed + extra.changed),
        ("POSTs", is.posts, was.posts + extra.posts),
        ("PUTs", is.puts, was.puts + extra.puts),
        ("DELETEs", is.deletes, was.deletes + extra.deletes),
        ("metadata writes", is.marks, was.marks + extra.marks),
        ("status writes", is.statuses, was.statuses + extra.statuses),
        ("Events", is.events, was.events + extra.events),
    ];
    for (what, is, most) in limits {
        if is > most {
            write!(wrong, "\n  {is} {what}, at most {most} are allowed").unwrap();
        }
    }
    wrong
}
