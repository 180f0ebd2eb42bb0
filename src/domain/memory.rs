//! What the process remembers of one object between passes. Losing it (a restart) costs time, never correctness.
//!
//! Owns the facts that decide about doubt, fights and proof. Must not hold anything that only lives here and matters
//! for "at most one registration": those facts are written to the object.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::ids::{ClusterUuid, CredentialId, Origin};
use super::observed::{Trouble, Who};
use super::plan::Marks;
use super::reason::Reason;
use super::recorded::{Identity, Intent};

/// This many renames within [`FIGHT_WINDOW`] are a fight.
pub const FIGHT_RENAMES: usize = 3;
/// See [`FIGHT_RENAMES`].
pub const FIGHT_WINDOW: SignedDuration = SignedDuration::from_hours(1);
/// Refused credentials and missing permissions become `Stalled` after this long: a rotation passes through them.
pub const STALL_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// The two looks after the quarantine lie at least this far apart.
pub const LOOK_GAP: SignedDuration = SignedDuration::from_secs(2);

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// A 201 or a resolved doubt told us the uuid, and it is not on the object yet.
    pub learned: Option<Identity>,
    /// When a registration that was just made began to be noted on the object.
    pub made: Option<Timestamp>,
    /// That registration, until the write that notes it has succeeded.
    pub unnoted: Option<Identity>,
    /// The open intent, in case somebody wipes the annotation.
    pub intent: Option<Intent>,
    /// The attempt that was certainly never sent: its intent may be written over at once.
    pub unsent: Option<uuid::Uuid>,
    /// The first look after the quarantine that found nothing, and of which attempt: another process may have begun
    /// another one since.
    pub empty_look: Option<(uuid::Uuid, Timestamp)>,
    /// The refusal that answered the POST of this attempt.
    pub refused: Option<(uuid::Uuid, Trouble)>,
    /// The answer to this object's own DELETE.
    pub delete_accepted: Option<Accepted>,
    /// Who saw this object's registration.
    pub seen_by: Option<Who>,
    /// The registration in question, and since when this process knows it.
    pub known: Option<(ClusterUuid, Timestamp)>,
    /// When we renamed lately, and for which generation of the spec.
    pub renames: Vec<Timestamp>,
    /// The generation that `renames` belongs to.
    pub renames_for: i64,
    /// The trouble of the last pass and since when it lasts.
    pub trouble: Option<(Reason, Timestamp)>,
    /// Failed passes in a row.
    pub failures: u32,
}

/// An accepted DELETE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Where it was sent.
    pub origin: Origin,
    /// With which credentials.
    pub credential: CredentialId,
    /// The answer said that the registration is gone (204), not that it will go (202).
    pub done: bool,
}

impl Memory {
    /// How long this process has known the registration `uuid`, which is in question from now on.
    pub fn known_for(&mut self, uuid: ClusterUuid, now: Timestamp) -> Duration {
        let since = self.known.filter(|(of, _)| *of == uuid).map_or(now, |(_, since)| since);
        self.known = Some((uuid, since));
        elapsed(since, now)
    }

    /// Notes that an intent is about to be written: until its POST goes out, it is certainly not sent.
    pub fn intends(&mut self, intent: &Intent) {
        self.intent = Some(intent.clone());
        self.unsent = Some(intent.attempt);
        self.empty_look = None;
        self.refused = None;
    }

    /// Notes that a registration that was just made is about to be noted on the object.
    pub fn notes(&mut self, made: &Identity, now: Timestamp) {
        self.made = Some(now);
        self.unnoted = Some(made.clone());
    }

    /// Notes that the object's metadata says `marks` now.
    pub fn marked(&mut self, marks: &Marks) {
        if marks.intent.is_none() {
            self.intent = None;
            self.unsent = None;
            self.empty_look = None;
            self.refused = None;
        }
        if marks.identity.is_some() {
            self.learned = None;
            self.unnoted = None;
        }
    }

    /// Notes a rename that the control plane accepted.
    pub fn renamed(&mut self, generation: i64, now: Timestamp) {
        if self.renames_for != generation {
            self.renames.clear();
            self.renames_for = generation;
        }
        self.renames.retain(|at| now.duration_since(*at) < FIGHT_WINDOW);
        self.renames.push(now);
    }

    /// Whether somebody keeps changing the name back: no more renames within the window, unless the spec changes.
    #[must_use]
    pub fn is_fighting(&self, generation: i64, now: Timestamp) -> bool {
        self.renames_for == generation
            && self.renames.iter().filter(|at| now.duration_since(**at) < FIGHT_WINDOW).count() >= FIGHT_RENAMES
    }

    /// Notes that a look after the quarantine of this attempt found nothing.
    pub fn looked_in_vain(&mut self, attempt: uuid::Uuid, now: Timestamp) {
        if self.empty_look.is_none_or(|(of, _)| of != attempt) {
            self.empty_look = Some((attempt, now));
        }
    }

    /// Notes how a pass ended. The same trouble keeps its start.
    pub fn pass_ended(&mut self, trouble: Option<Reason>, now: Timestamp) {
        match trouble {
            None => {
                self.trouble = None;
                self.failures = 0;
            }
            Some(reason) => {
                self.failures = self.failures.saturating_add(1);
                if self.trouble.is_none_or(|(last, _)| last != reason) {
                    self.trouble = Some((reason, now));
                }
            }
        }
    }

    /// Whether trouble of this kind has lasted long enough to need a person.
    #[must_use]
    pub fn has_lasted(&self, reason: Reason, now: Timestamp) -> bool {
        self.trouble.is_some_and(|(last, since)| last == reason && now.duration_since(since) >= STALL_AFTER)
    }
}

/// `later - earlier`, never negative: clocks step.
#[must_use]
pub(crate) fn elapsed(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or_default()
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
