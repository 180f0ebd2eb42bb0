//! Owns who is woken when something changes. Must not know what a pass does.

use std::collections::HashSet;

use kube::ResourceExt;

use crate::domain::{ClusterUuid, ObjectKey};
use crate::inventory::Changed;

use super::{Context, lock, notes, reference};

impl Context {
    /// Queues a pass. Passes that back off stay held.
    pub(crate) fn enqueue(&self, key: &ObjectKey) {
        if !self.leadership.is_leader() {
            return;
        }
        if let Some(lane) = self.lane(key) {
            // The receiver only goes when the process ends.
            let _ = lane.queue.send(reference(key));
        }
    }

    /// Queues a pass that does not wait for its back-off: something changed for this object.
    pub(crate) fn wake(&self, key: &ObjectKey) {
        if let Some(entry) = lock(&self.entries).get_mut(key) {
            entry.hold = None;
            entry.woken = true;
        }
        self.enqueue(key);
    }

    /// Wakes all objects, or those of one control plane.
    pub(crate) fn wake_all(&self, control_plane: Option<&str>) {
        for object in self.objects(control_plane) {
            self.wake(&notes::key_of(&object));
        }
    }

    /// Wakes the objects of a namespace.
    pub(crate) fn wake_namespace(&self, namespace: &str) {
        for object in self.objects(None).iter().filter(|object| object.namespace().as_deref() == Some(namespace)) {
            self.wake(&notes::key_of(object));
        }
    }

    /// Wakes the objects that changed registrations matter to: their owners, the owners of registrations with the same
    /// name, and objects that wait for such a uuid or name.
    pub(crate) fn wake_for(&self, changed: &[Changed], named: impl Fn(&str) -> Vec<ClusterUuid>) {
        // Each name is looked up once, and before the lock: a control plane may list thousands of records under one.
        let names: HashSet<&str> = changed
            .iter()
            .flat_map(|change| [&change.names.0, &change.names.1])
            .flatten()
            .map(String::as_str)
            .collect();
        let uuids: HashSet<ClusterUuid> = changed.iter().map(|change| change.uuid).collect();
        let namesakes: HashSet<ClusterUuid> = names.iter().flat_map(|name| named(name)).collect();
        let mut keys: Vec<ObjectKey> = {
            let claims = lock(&self.claims);
            uuids.union(&namesakes).flat_map(|uuid| claims.claimants(*uuid)).cloned().collect()
        };
        keys.extend(self.waiting_for(&uuids, &names));
        keys.sort();
        keys.dedup();
        for key in &keys {
            self.wake(key);
        }
    }

    /// Wakes the objects that wait for one of these uuids or names, but for the one that gives them up.
    pub(super) fn wake_waiting(&self, giver: &ObjectKey, uuids: &HashSet<ClusterUuid>, names: &HashSet<&str>) {
        for key in self.waiting_for(uuids, names).iter().filter(|key| *key != giver) {
            self.wake(key);
        }
    }

    fn waiting_for(&self, uuids: &HashSet<ClusterUuid>, names: &HashSet<&str>) -> Vec<ObjectKey> {
        let entries = lock(&self.entries);
        let waiting = entries.iter().filter_map(|(key, entry)| Some((key, entry.waits_for.as_ref()?)));
        waiting
            .filter(|(_, (uuid, name))| {
                uuid.is_some_and(|uuid| uuids.contains(&uuid))
                    || name.as_deref().is_some_and(|name| names.contains(name))
            })
            .map(|(key, _)| key.clone())
            .collect()
    }
}
