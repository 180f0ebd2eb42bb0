//! Who owns which registration, and who is about to make which name, among all objects.
//!
//! Owns the rule "one registration belongs to one object, the older claimant wins". Must not know where objects are stored.

use std::collections::HashMap;
use std::fmt;

use jiff::Timestamp;

use super::ids::{ClusterUuid, Origin, TenantId};

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What one object lays claim to.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Claim {
    /// When the object was made; with `uid` it decides who is older.
    pub created: Option<Timestamp>,
    /// The object's UID: breaks ties.
    pub uid: String,
    /// The registration it owns, from its records or from an adoption under way.
    pub holds: Option<Holding>,
    /// The name it is about to register, with the place it registers it at.
    pub name: Option<NameClaim>,
}

/// A registration of one server: a server that was restored from another's backup has the same uuids.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holding {
    /// Its uuid.
    pub uuid: ClusterUuid,
    /// The server. `None` where no note says: then it may be any.
    pub origin: Option<Origin>,
}

impl Holding {
    /// Whether it may be one of that server: what is not known may be any.
    #[must_use]
    pub fn is_at(&self, origin: Option<&Origin>) -> bool {
        self.origin.as_ref().zip(origin).is_none_or(|(own, other)| own == other)
    }
}

/// A name in one tenant of one server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NameClaim {
    /// The server.
    pub origin: Origin,
    /// The tenant, as far as known.
    pub tenant: Option<TenantId>,
    /// The name.
    pub name: String,
}

impl Claim {
    fn seniority(&self) -> (Timestamp, &str) {
        (self.created.unwrap_or(Timestamp::MAX), &self.uid)
    }
}

/// All claims, by object.
#[derive(Debug, Default)]
pub struct Claims {
    by_object: HashMap<ObjectKey, Claim>,
    by_uuid: HashMap<ClusterUuid, Vec<ObjectKey>>,
    by_name: HashMap<NameClaim, Vec<ObjectKey>>,
}

impl Claims {
    /// Replaces what `object` claims. `None` when the object is gone.
    pub fn set(&mut self, object: &ObjectKey, claim: Option<Claim>) {
        if self.by_object.get(object) == claim.as_ref() {
            return;
        }
        if let Some(old) = self.by_object.remove(object) {
            if let Some(held) = old.holds {
                forget(&mut self.by_uuid, &held.uuid, object);
            }
            if let Some(name) = old.name {
                forget(&mut self.by_name, &name, object);
            }
        }
        let Some(claim) = claim else { return };
        if let Some(held) = &claim.holds {
            self.by_uuid.entry(held.uuid).or_default().push(object.clone());
        }
        if let Some(name) = &claim.name {
            self.by_name.entry(name.clone()).or_default().push(object.clone());
        }
        self.by_object.insert(object.clone(), claim);
    }

    /// What `object` claims at present.
    #[must_use]
    pub fn get(&self, object: &ObjectKey) -> Option<&Claim> {
        self.by_object.get(object)
    }

    /// The object that owns `uuid` of that server: the oldest claimant. Where it is not known which server a claim or
    /// the question means, it may be the same.
    #[must_use]
    pub fn owner(&self, origin: Option<&Origin>, uuid: ClusterUuid) -> Option<&ObjectKey> {
        let claimants = self.by_uuid.get(&uuid)?.iter();
        self.eldest(claimants.filter(|key| self.held(key).is_some_and(|held| held.is_at(origin))))
    }

    fn held(&self, object: &ObjectKey) -> Option<&Holding> {
        self.by_object.get(object)?.holds.as_ref()
    }

    /// Every object that claims `uuid`, of whichever server.
    #[must_use]
    pub fn claimants(&self, uuid: ClusterUuid) -> &[ObjectKey] {
        self.by_uuid.get(&uuid).map_or(&[], Vec::as_slice)
    }

    /// The object that may register `name`: the oldest that is about to.
    #[must_use]
    pub fn name_holder(&self, name: &NameClaim) -> Option<&ObjectKey> {
        self.eldest(self.by_name.get(name)?.iter())
    }

    /// The registrations of that server that some object owns.
    pub fn owned(&self, origin: &Origin) -> impl Iterator<Item = ClusterUuid> {
        let held = self.by_object.values().filter_map(|claim| claim.holds.as_ref());
        held.filter(|held| held.is_at(Some(origin))).map(|held| held.uuid)
    }

    fn eldest<'a>(&'a self, keys: impl Iterator<Item = &'a ObjectKey>) -> Option<&'a ObjectKey> {
        keys.min_by_key(|key| {
            let claim = self.by_object.get(*key);
            claim.map_or((Timestamp::MAX, ""), Claim::seniority)
        })
    }
}

fn forget<K: std::hash::Hash + Eq>(index: &mut HashMap<K, Vec<ObjectKey>>, key: &K, object: &ObjectKey) {
    if let Some(keys) = index.get_mut(key) {
        keys.retain(|k| k != object);
        if keys.is_empty() {
            index.remove(key);
        }
    }
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
