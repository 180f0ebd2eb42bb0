//! What an object may call its own, from its notes: annotations, status, and what the process has learned.
//!
//! Owns how notes are put together, and what contradicts what.

use crate::domain::claims::Holding;
use crate::domain::ids::{ClusterUuid, Provenance};
use crate::domain::memory::Memory;
use crate::domain::recorded::{Annotated, Identity, Recorded};

use super::Case;

/// What the object may call its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::domain) enum Standing {
    /// Nothing.
    Nothing,
    /// Nothing, but unsigned annotations ask for something.
    Wish(Option<ClusterUuid>),
    /// A registration.
    Owns(Identity),
    /// The notes contradict each other.
    Conflict(String),
}

/// Puts the notes together. An intent that replaces a lost registration takes that registration's notes out.
pub(in crate::domain) fn standing(case: &Case<'_>) -> Standing {
    standing_of(case.recorded, case.memory)
}

fn standing_of(recorded: &Recorded, memory: &Memory) -> Standing {
    let replaced = recorded.intent.as_ref().and_then(|intent| intent.replaces);
    let annotated = match &recorded.annotated {
        Annotated::Fits(identity) => Some(identity),
        Annotated::Nothing | Annotated::Misfit(_) => None,
    };
    let notes = [memory.learned.as_ref(), annotated, recorded.status.as_ref()];
    let mut notes = notes.into_iter().flatten().filter(|note| Some(note.uuid) != replaced);
    let Some(first) = notes.next() else {
        return match &recorded.annotated {
            Annotated::Misfit(wish) => Standing::Wish(*wish),
            Annotated::Nothing | Annotated::Fits(_) => Standing::Nothing,
        };
    };
    let mut whole = first.clone();
    for note in notes {
        if !whole.agrees_with(note) {
            return Standing::Conflict(format!(
                "the object's notes name two registrations, {} and {}; nothing is written until one of them is removed: \
                 delete the annotations runai-operator.io/cluster-uuid and runai-operator.io/registered-with if {} is right",
                whole.uuid,
                note.uuid,
                recorded.status.as_ref().map_or(note.uuid, |status| status.uuid),
            ));
        }
        whole.tenant = whole.tenant.or(note.tenant);
        whole.origin = whole.origin.or_else(|| note.origin.clone());
        whole.credential = whole.credential.or_else(|| note.credential.clone());
        whole.created = whole.created.or(note.created);
        if note.provenance == Provenance::Adopted {
            whole.provenance = Provenance::Adopted;
        }
    }
    Standing::Owns(whole)
}

/// The registration that an object lays claim to by its notes.
#[must_use]
pub fn claimed(recorded: &Recorded, memory: &Memory) -> Option<Holding> {
    match standing_of(recorded, memory) {
        Standing::Owns(identity) => Some(Holding { uuid: identity.uuid, origin: identity.origin }),
        Standing::Conflict(_) => recorded.status.as_ref().map(|status| Holding { uuid: status.uuid, origin: None }),
        Standing::Nothing | Standing::Wish(_) => None,
    }
}
