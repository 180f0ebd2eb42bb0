//! Room for the passes of each control plane, so that one which keeps everybody waiting keeps nobody else's objects.
//!
//! Owns how many passes of one control plane are under way, and the order of those that wait. Must not know what a pass
//! does, nor how it is queued.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Mutex;

use super::sync::lock;
use crate::domain::ObjectKey;

/// All rooms. One without a pass takes no memory.
#[derive(Debug)]
pub(crate) struct Rooms {
    most: usize,
    by_name: Mutex<HashMap<String, Room>>,
}

#[derive(Debug, Default)]
struct Room {
    inside: usize,
    waiting: VecDeque<ObjectKey>,
    /// The same keys, so that none waits twice.
    known: HashSet<ObjectKey>,
}

impl Rooms {
    /// With room for `most` passes of each control plane.
    pub(crate) fn new(most: u16) -> Self {
        Self { most: usize::from(most), by_name: Mutex::default() }
    }

    /// Lets a pass in. `false` when the room is full: [`Self::leave`] gives the key back when it is its turn.
    pub(crate) fn enter(&self, name: &str, key: &ObjectKey) -> bool {
        let mut rooms = lock(&self.by_name);
        let room = rooms.entry(name.to_owned()).or_default();
        if room.inside < self.most {
            room.inside += 1;
            return true;
        }
        if room.known.insert(key.clone()) {
            room.waiting.push_back(key.clone());
        }
        false
    }

    /// Ends a pass; whose turn it is now.
    pub(crate) fn leave(&self, name: &str) -> Option<ObjectKey> {
        let mut rooms = lock(&self.by_name);
        let room = rooms.get_mut(name)?;
        room.inside = room.inside.saturating_sub(1);
        let next = room.waiting.pop_front();
        if let Some(key) = &next {
            room.known.remove(key);
        } else if room.inside == 0 {
            rooms.remove(name);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey { namespace: "team-a".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn a_full_room_keeps_its_own_waiting_and_nobody_else() {
        let rooms = Rooms::new(2);
        assert!(rooms.enter("slow", &key("a")) && rooms.enter("slow", &key("b")));
        assert!(!rooms.enter("slow", &key("c")) && !rooms.enter("slow", &key("d")));
        assert!(!rooms.enter("slow", &key("c")), "it waits already");
        assert!(rooms.enter("other", &key("e")));
        assert_eq!(rooms.leave("slow"), Some(key("c")), "first come, first served");
        assert!(rooms.enter("slow", &key("c")));
        assert_eq!(rooms.leave("slow"), Some(key("d")));
        assert!(rooms.enter("slow", &key("d")));
        for name in ["slow", "slow", "other", "other"] {
            assert_eq!(rooms.leave(name), None);
        }
        assert!(lock(&rooms.by_name).is_empty(), "an empty room takes no memory");
    }
}
