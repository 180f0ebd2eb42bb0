//! What must hold, judged from Kubernetes objects, the control plane's records and journal, and the books alone.
//!
//! Owns the invariants. Must not know the operator's insides, nor its log but for what must not be in it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use runai_simulator::{ClusterView, JournalEntry, Operation};
use serde_json::Value;
use uuid::Uuid;

use crate::books::{Books, Life, line, path_uuid, sent_name};
use crate::schedule::{Fault, Role, Schedule};

/// A broken invariant of docs/reliability.md.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    pub invariant: &'static str,
    pub what: String,
}

pub fn broken(invariant: &'static str, what: impl Into<String>) -> Violation {
    Violation { invariant, what: what.into() }
}

/// One look at both sides. The objects were read before the control plane was.
pub struct Look<'a> {
    pub objects: &'a [Value],
    pub records: &'a [ClusterView],
    pub makers: &'a BTreeMap<Uuid, usize>,
    /// Read after the objects, before the control plane.
    pub secrets: &'a [Secret],
}

impl Look<'_> {
    pub fn object(&self, life: &Life) -> Option<&Value> {
        self.objects.iter().find(|object| object["metadata"]["uid"] == *life.uid)
    }

    fn record(&self, uuid: Uuid) -> Option<&ClusterView> {
        self.records.iter().find(|record| record.uuid == uuid)
    }

    fn living(&self) -> impl Iterator<Item = &ClusterView> {
        self.records.iter().filter(|record| record.deleted_at.is_none())
    }
}

/// I1 and I3, which hold at every moment.
pub fn at_any_time(books: &Books, look: &Look<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, life) in books.lives.iter().enumerate() {
        let own: Vec<_> = look.living().filter(|record| look.makers.get(&record.uuid) == Some(&index)).collect();
        if own.len() > 1 {
            let uuids: Vec<_> = own.iter().map(|record| record.uuid).collect();
            found.push(broken("I1", format!("{} has two live registrations: {uuids:?}", life.object)));
        }
        let took_over = |record: &&ClusterView| life.took_over == Some(record.uuid);
        let left = own.first().copied().or_else(|| look.living().find(took_over));
        if life.gone
            && !life.keeps
            && let Some(left) = left
        {
            found.push(broken("I3", format!("{} has gone, and its registration {} lives", life.object, left.uuid)));
        }
    }
    found
}

/// What a Secret with install credentials holds, whatever the control plane gives to log in with.
pub const WHOLE: [&str; 8] = [
    "uuid",
    "clusterName",
    "clusterUrl",
    "controlPlaneUrl",
    "chartRepoURL",
    "repositoryName",
    "version",
    "values.yaml",
];

/// I10: whatever a Secret says of a registration is whole, and about one of its owner's.
pub fn published(books: &Books, look: &Look<'_>) -> Vec<Violation> {
    const TOKEN: [&str; 4] = ["uuid", "controlPlaneUrl", "bootstrapToken", "values.yaml"];
    let mut found = Vec::new();
    for secret in look.secrets {
        let name = secret.metadata.name.clone().unwrap_or_default();
        let mut wrong = |what: String| found.push(broken("I10", format!("Secret {name}: {what}")));
        let owners = secret.metadata.owner_references.iter().flatten();
        let Some(owner) = owners.filter_map(|owner| books.lives.iter().position(|life| life.uid == owner.uid)).next()
        else {
            wrong("nobody's".to_owned());
            continue;
        };
        let text = |key: &str| {
            let value = secret.data.as_ref().and_then(|data| data.get(key));
            value.map(|value| String::from_utf8_lossy(&value.0).into_owned())
        };
        let keys: &[&str] = if name.ends_with("-bootstrap") { &TOKEN } else { &WHOLE };
        for key in keys.iter().filter(|key| text(key).is_none_or(|value| value.is_empty())) {
            wrong(format!("{key} is missing"));
        }
        let Some(uuid) = text("uuid").and_then(|uuid| uuid.parse::<Uuid>().ok()) else { continue };
        let life = &books.lives[owner];
        if books.owner(uuid, look.makers) != Some(owner) && life.took_over != Some(uuid) {
            wrong(format!("it is about {uuid}, which {} does not own", life.object));
        }
        let issued = look.record(uuid).map(|record| record.client_secret.clone());
        if let Some(held) = text("clientSecret").filter(|held| Some(held) != issued.as_ref()) {
            let what = if held.is_empty() { "blanked" } else { "of another registration" };
            wrong(format!("its client secret is {what}"));
        }
    }
    found
}

/// The Secret that the object asks for holds what is so by now.
fn holds_credentials(object: &Value, look: &Look<'_>) -> Result<(), String> {
    let Some(name) = object["spec"]["installInfo"]["secretName"].as_str() else { return Ok(()) };
    let is_told = condition(object, "CredentialsPublished").is_some_and(|(status, _)| status == "True");
    check(is_told && object["status"]["installSecretName"] == name, "its credentials are not published")?;
    let secret = look.secrets.iter().find(|secret| secret.metadata.name.as_deref() == Some(name));
    let data = secret.and_then(|secret| secret.data.as_ref()).ok_or("its Secret is not there")?;
    let is = |key: &str, field: &str| {
        data.get(key).map(|value| String::from_utf8_lossy(&value.0).into_owned()).as_deref()
            == object["status"][field].as_str()
    };
    check(is("uuid", "uuid") && is("clusterName", "name"), "its Secret is about another registration")
}

/// Whether an object has got where it belongs; what is missing otherwise.
pub fn goal(life: &Life, look: &Look<'_>, schedule: &Schedule, books: &Books) -> Result<(), String> {
    let Some(object) = look.object(life) else {
        return if life.deleted.is_some() { Ok(()) } else { Err("the object is gone".to_owned()) };
    };
    if let Some(reason) = stalled(object) {
        return if may_stall(life, &reason, schedule, books) { Ok(()) } else { Err(format!("stalled: {reason}")) };
    }
    if life.deleted.is_some() {
        return Err("the object is still there".to_owned());
    }
    let metadata = &object["metadata"];
    check(object["status"]["observedGeneration"] == metadata["generation"], "status is behind the spec")?;
    check(metadata["annotations"]["runai-operator.io/create-pending"].is_null(), "a create is in doubt")?;
    check(condition(object, "Reconciling").is_none(), "Reconciling")?;
    check(life.role != Role::Refused, "should be refused")?;
    if life.suspended.is_some() {
        check(condition(object, "Suspended").is_some(), "not Suspended")?;
        return agrees(life, object, look);
    }
    check(condition(object, "Ready").is_some_and(|(status, _)| status == "True"), "not Ready")?;
    let id = uuid(object).ok_or("no uuid")?;
    let record = look.record(id).ok_or("its registration is not there")?;
    check(record.deleted_at.is_none() && record.delete_requested_at.is_none(), "its registration is going")?;
    if life.role == Role::Observer {
        return agrees(life, object, look);
    }
    check(
        books.owner(id, look.makers).is_some_and(|owner| books.lives[owner].uid == life.uid),
        "not its registration",
    )?;
    check(record.name == life.desired(), "the registration has another name")?;
    check(
        metadata["annotations"]["runai-operator.io/cluster-uuid"] == object["status"]["uuid"],
        "no note of its uuid",
    )?;
    holds_credentials(object, look)?;
    agrees(life, object, look)
}

/// What status says of the registration is so.
fn agrees(life: &Life, object: &Value, look: &Look<'_>) -> Result<(), String> {
    let Some(record) = uuid(object).and_then(|id| look.record(id)) else {
        return check(uuid(object).is_none(), "status names a registration that is not there");
    };
    let finalizer = life.role == Role::Observer || object["metadata"]["finalizers"].is_array();
    check(finalizer, "no finalizer")?;
    check(object["status"]["name"] == *record.name, "status shows an old name")?;
    check(object["status"]["state"] == *record.state, "status shows an old state")?;
    // All agents run by now; what has not been heard yet will be, and changes the state once more.
    check(record.agent.is_none() || record.state == "Connected", "its agent has not been heard yet")
}

fn may_stall(life: &Life, reason: &str, schedule: &Schedule, books: &Books) -> bool {
    let stepped_back = schedule.has(|fault| matches!(fault, Fault::ClockBack(..)));
    let other_credentials = schedule.has(|fault| matches!(fault, Fault::Credentials));
    match reason {
        _ if life.allowed.contains(reason) => true,
        "NameConflict" => life.role == Role::Refused,
        // By the control plane's own clock the registration is older than the wish for it.
        "CreateAmbiguous" => stepped_back,
        // Others never saw it, so that a 404 to them proves nothing.
        "AbsenceUnproven" => other_credentials && !books.deleted_outside.is_empty(),
        _ => false,
    }
}

/// I2, I5: every change that was asked for was the right of some object at the time.
pub fn requests(books: &Books, journal: &[JournalEntry]) -> Vec<Violation> {
    let makers = books.makers(journal);
    let mut found = Vec::new();
    for entry in journal {
        let wrong = match entry.operation {
            Some(Operation::Create) => post(books, entry),
            Some(operation @ (Operation::Update | Operation::Delete)) => {
                let owner = path_uuid(entry).and_then(|uuid| books.owner(uuid, &makers));
                match owner {
                    None => Some(broken("I2", "nobody owns this registration")),
                    Some(owner) if operation == Operation::Update => put(&books.lives[owner], entry),
                    Some(owner) => delete(&books.lives[owner], entry),
                }
            }
            Some(_) | None => None,
        };
        found.extend(wrong.map(|Violation { invariant, what }| broken(invariant, format!("{}: {what}", line(entry)))));
    }
    found
}

fn post(books: &Books, entry: &JournalEntry) -> Option<Violation> {
    let Some(life) = books.asker(entry).map(|index| &books.lives[index]) else {
        return Some(broken("I2", "nobody asked for this name"));
    };
    if !life.may_create() {
        return Some(broken("I5", format!("{} must not create anything", life.object)));
    }
    is_quiet(life, entry).then(|| broken("I5", format!("{} was suspended", life.object)))
}

fn put(life: &Life, entry: &JournalEntry) -> Option<Violation> {
    if !life.names.iter().any(|name| Some(name.as_str()) == sent_name(entry)) {
        return Some(broken("I2", format!("{} never asked for this name", life.object)));
    }
    is_quiet(life, entry).then(|| broken("I5", format!("{} was suspended", life.object)))
}

fn delete(owner: &Life, entry: &JournalEntry) -> Option<Violation> {
    match owner.deleted {
        None => Some(broken("I2", format!("{} is not being deleted", owner.object))),
        Some(deleted) if entry.seq <= deleted => {
            Some(broken("I2", format!("{} was not being deleted yet", owner.object)))
        }
        Some(_) if owner.keeps => Some(broken("I2", format!("the registration of {} was to stay", owner.object))),
        Some(_) => None,
    }
}

fn is_quiet(life: &Life, entry: &JournalEntry) -> bool {
    life.quiet.iter().any(|(from, until)| entry.seq > *from && until.is_none_or(|until| entry.seq <= until))
}

/// I9: no second with more requests than the limiter may ever let through, for so many processes.
pub fn rate(journal: &[JournalEntry], started: &[u64], processes: u64) -> Option<Violation> {
    const BURST: u64 = 10;
    const MOST: u64 = 50;
    let counted = |entry: &&JournalEntry| !matches!(entry.operation, Some(Operation::Token | Operation::TokenV2));
    let arrivals: Vec<_> = journal.iter().filter(counted).map(|entry| entry.arrival_ms).collect();
    for (index, from) in arrivals.iter().enumerate() {
        let count = arrivals[index..].iter().take_while(|at| **at < from + 1000).count() as u64;
        // A process that was started within the second brings a limiter of its own.
        let new = started.iter().filter(|at| (from.saturating_sub(1000)..from + 1000).contains(at)).count() as u64;
        let most = (processes + new) * (BURST + MOST);
        if count > most {
            return Some(broken("I9", format!("{count} requests in the second from {from} ms on, at most {most}")));
        }
    }
    None
}

/// Everything that lives at the end and belongs to nobody.
pub fn left_behind(books: &Books, look: &Look<'_>) -> Vec<Violation> {
    let stays = |uuid: &Uuid| {
        let owner = books.owner(*uuid, look.makers);
        books.foreign.contains_key(uuid) || owner.is_some_and(|owner| books.lives[owner].keeps)
    };
    let left: BTreeSet<_> = look.living().map(|record| record.uuid).filter(|uuid| !stays(uuid)).collect();
    left.into_iter().map(|uuid| broken("I3", format!("registration {uuid} is left behind"))).collect()
}

fn check(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

pub fn uuid(object: &Value) -> Option<Uuid> {
    object["status"]["uuid"].as_str()?.parse().ok()
}

/// Status and reason of a condition.
pub fn condition(object: &Value, kind: &str) -> Option<(String, String)> {
    let found = object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)?;
    Some((found["status"].as_str()?.to_owned(), found["reason"].as_str()?.to_owned()))
}

/// The reason, if it is stalled.
pub fn stalled(object: &Value) -> Option<String> {
    condition(object, "Stalled").filter(|(status, _)| status == "True").map(|(_, reason)| reason)
}
