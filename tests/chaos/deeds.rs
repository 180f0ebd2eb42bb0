//! What users do with their objects in a round, written down in the books before it is done.
//!
//! Owns specs and names. Must not know faults.

use runai_simulator::SeedCluster;
use serde_json::{Value, json};

use crate::arena::{Arena, NAMESPACE};
use crate::books::{Books, Life};
use crate::remote::OLDEST_READ;
use crate::schedule::{Deed, Role, Schedule};

/// The users of one round.
#[derive(Debug)]
pub struct Users {
    seed: u64,
    roles: Vec<Role>,
    agents: bool,
    /// Objects that shall be made again once the old ones have gone.
    pub wanted: Vec<usize>,
}

impl Users {
    pub fn of(schedule: &Schedule) -> Self {
        let Schedule { seed, roles, agents, .. } = schedule;
        Self { seed: *seed, roles: roles.clone(), agents: *agents, wanted: Vec::new() }
    }

    /// `metadata.name` of the object with that number, and the name that it asks for at first.
    pub fn name(&self, slot: usize) -> (String, String) {
        let object = format!("r{}-{slot}", self.seed);
        let foreign = self.roles[slot].needs_foreign();
        let name = if foreign { format!("{object}-foreign") } else { object.clone() };
        (object, name)
    }

    /// The registrations that others have before the round begins.
    pub fn seed_foreign(&self, arena: &Arena, books: &mut Books) {
        for slot in (0..self.roles.len()).filter(|slot| self.roles[*slot].needs_foreign()) {
            let (_, name) = self.name(slot);
            let uuid = arena.simulator.seed(SeedCluster { version: Some("2.24".into()), ..SeedCluster::named(&name) });
            books.foreign.insert(uuid.unwrap(), name);
        }
        // They have been there for longer than any read of this round is old.
        arena.simulator.advance(OLDEST_READ);
    }

    pub async fn carry_out(&mut self, deed: Deed, arena: &Arena, books: &mut Books) {
        match deed {
            Deed::Create(slot) => drop(self.create(slot, arena, books).await),
            Deed::CreateAgain(slot) => self.wanted.push(slot),
            Deed::Rename(slot) => {
                let Some(life) = books.present(slot).filter(|life| life.deleted.is_none()) else { return };
                let name = format!("{}-n{}", life.object, life.names.len());
                life.names.push(name.clone());
                arena.patch(&life.object, &json!({ "spec": { "name": name } })).await;
            }
            Deed::Suspend(slot) => {
                let Some(life) = books.present(slot) else { return };
                let patched = arena.patch(&life.object, &json!({ "spec": { "suspend": true } })).await;
                life.suspended = patched.as_ref().and_then(|object| object["metadata"]["generation"].as_i64());
            }
            Deed::Resume(slot) => {
                let Some(life) = books.present(slot) else { return };
                life.suspended = None;
                let end = arena.simulator.last_seq();
                if let Some((_, until)) = life.quiet.last_mut() {
                    *until = Some(end);
                }
                arena.patch(&life.object, &json!({ "spec": { "suspend": false } })).await;
            }
            Deed::Delete(slot) => {
                let Some(life) = books.present(slot) else { return };
                life.deleted = Some(arena.simulator.last_seq());
                arena.delete(&life.object).await;
            }
        }
    }

    /// Makes what is wanted again, if the old objects have gone. Whether nothing is wanted any more.
    pub async fn make_again(&mut self, arena: &Arena, books: &mut Books) -> bool {
        for slot in std::mem::take(&mut self.wanted) {
            if !self.create(slot, arena, books).await {
                self.wanted.push(slot);
            }
        }
        // Where a person has to look at the old one, it may stay.
        self.wanted.iter().all(|slot| books.tainted.contains_key(slot))
    }

    async fn create(&self, slot: usize, arena: &Arena, books: &mut Books) -> bool {
        let (role, (object, name)) = (self.roles[slot], self.name(slot));
        let made = arena.simulator.last_seq();
        let manifest = json!({
            "apiVersion": "runai-operator.io/v1alpha1", "kind": "RunaiCluster",
            "metadata": { "name": object, "namespace": NAMESPACE }, "spec": self.spec(slot, &object, &name, books.lives.len()),
        });
        // Before the old one has gone its uid is still in the books.
        let Some(created) = arena.create(&manifest).await else { return false };
        let asleep = role == Role::Asleep;
        books.lives.push(Life {
            slot,
            uid: created["metadata"]["uid"].as_str().unwrap().to_owned(),
            role,
            made,
            foreign: books.foreign.iter().find(|(_, known)| **known == name).map(|(uuid, _)| *uuid),
            names: vec![name],
            suspended: asleep.then_some(1),
            quiet: if asleep { vec![(made, None)] } else { Vec::new() },
            deleted: None,
            keeps: matches!(role, Role::Keeper | Role::Observer),
            allowed: books.tainted.get(&slot).into_iter().flatten().copied().collect(),
            object,
            took_over: None,
            gone: false,
        });
        true
    }

    fn spec(&self, slot: usize, object: &str, name: &str, life: usize) -> Value {
        let mut spec = json!({ "name": name, "domain": format!("https://{object}.example.com") });
        if slot.is_multiple_of(2) {
            spec["version"] = json!("2.24");
        }
        match self.roles[slot] {
            Role::Plain | Role::Renamed | Role::Deleted | Role::Remade | Role::Sleeper | Role::Refused => {}
            Role::Patient if self.agents => spec["readyWhen"] = json!("Connected"),
            Role::Patient => {}
            Role::Stubborn => spec["recreatePolicy"] = json!("IfMissing"),
            Role::Asleep => spec["suspend"] = json!(true),
            Role::Observer => spec = json!({ "name": name, "managementPolicy": "Observe" }),
            Role::Adopter => {
                spec =
                    json!({ "name": name, "adoption": { "policy": "Required" }, "deletion": { "policy": "Delete" } });
            }
            Role::Keeper => spec["deletion"] = json!({ "policy": "Orphan" }),
        }
        // A life of its own has a Secret of its own: nobody collects that of the one before.
        if !slot.is_multiple_of(3) && self.roles[slot] != Role::Observer {
            spec["version"] = json!("2.24");
            spec["installInfo"] = json!({ "secretName": format!("{object}-{life}-install") });
        }
        spec
    }
}
