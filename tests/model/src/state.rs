//! One state of the model: small, comparable, free of absolute times, so that the set of states is finite.
//!
//! Owns what is remembered. Times are ages: a tick is half a quarantine, and what is older than a quarantine is just
//! old. Slots of registrations and attempts are used again once nothing refers to them.

/// Objects, operator processes, registrations, create attempts: at most.
pub const OBJECTS: usize = 2;
/// See [`OBJECTS`].
pub const PROCESSES: usize = 2;
/// See [`OBJECTS`].
pub const RECORDS: usize = 5;
/// See [`OBJECTS`].
pub const ATTEMPTS: usize = 6;
/// No slot.
pub const NONE: u8 = u8::MAX;
/// A maker that is not one of the objects.
pub const OTHERS: u8 = 9;
/// Ticks after which an attempt has left its quarantine.
pub const OLD: u8 = 2;

/// What has become of a registration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Life {
    /// The slot is free.
    #[default]
    Free,
    /// It exists.
    Live,
    /// Its deletion was asked for.
    Deleting,
    /// It does not exist any more, but something still refers to it.
    Gone,
}

/// A registration, as it truly is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Record {
    /// See [`Life`].
    pub life: Life,
    /// Its name.
    pub name: u8,
    /// Whose POST made it: an object, or [`OTHERS`].
    pub maker: u8,
    /// In the tenant that the foreign credentials belong to.
    pub foreign: bool,
    /// Ticks after which every read knows of it.
    pub young: u8,
}

/// A registration as a list shows it: 0 is absent, then by name, odd while it lives and even while it is being deleted.
pub type Seen = u8;

/// How a registration looks.
#[must_use]
pub const fn seen(name: u8, deleting: bool) -> Seen {
    1 + 2 * name + deleting as u8
}

/// Name, and whether it is being deleted.
#[must_use]
pub const fn unseen(seen: Seen) -> Option<(u8, bool)> {
    match seen {
        0 => None,
        seen => Some(((seen - 1) / 2, (seen - 1) % 2 == 1)),
    }
}

/// All registrations as a list shows them.
pub type List = [Seen; RECORDS];

/// A create attempt: what its intent says, and what is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// The object that made it; [`NONE`]: the slot is free.
    pub object: u8,
    /// The name.
    pub name: u8,
    /// Ticks since the intent was written, at most [`OLD`].
    pub age: u8,
    /// Which registrations of that name the look before it saw.
    pub seen: u8,
    /// Which registrations existed when it was written.
    pub before: u8,
    /// The registration that it replaces.
    pub replaces: u8,
    /// The tenant as far as it was known: 0 not at all, 1 ours, 2 the foreign one.
    pub tenant: u8,
    /// Its POST went to the foreign tenant.
    pub foreign: bool,
    /// POSTs under way that nobody waits for any more.
    pub flying: u8,
}

impl Default for Attempt {
    fn default() -> Self {
        Self { object: NONE, name: 0, age: 0, seen: 0, before: 0, replaces: NONE, tenant: 0, foreign: false, flying: 0 }
    }
}

/// The identity annotations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Note {
    /// There are none.
    #[default]
    Nothing,
    /// Signed.
    Signed {
        /// Which registration.
        uuid: u8,
        /// Taken over, not made.
        adopted: bool,
        /// By which credentials.
        by: Credentials,
    },
    /// Written by a user.
    Forged(u8),
}

/// What a user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "a spec is what it is")]
pub struct Spec {
    /// `spec.name`.
    pub name: u8,
    /// `spec.suspend`.
    pub suspend: bool,
    /// `spec.managementPolicy: Observe`.
    pub observe: bool,
    /// `spec.deletion.policy: Orphan`.
    pub orphan: bool,
    /// `spec.recreatePolicy: IfMissing`.
    pub recreate: bool,
    /// `spec.adoption.policy: IfExists`.
    pub adopt: bool,
}

/// Status, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status {
    /// The registration.
    pub uuid: u8,
    /// How it came to be owned.
    pub adopted: bool,
    /// 0: our DELETE was not accepted. 1: it was. 2: longer ago than `stalledAfter`.
    pub asked: u8,
    /// The copy of the open intent.
    pub intent: u8,
    /// Reason of `Synced`, as an index into the operator's reasons.
    pub why: u8,
    /// How the object stands, see [`crate::bridge`].
    pub stance: u8,
}

impl Default for Status {
    fn default() -> Self {
        Self { uuid: NONE, adopted: false, asked: 0, intent: NONE, why: NONE, stance: NONE }
    }
}

/// One stored object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Object {
    /// Not yet out of the store.
    pub here: bool,
    /// Its UID: tells an object from the next one under the same name.
    pub uid: bool,
    /// `metadata.deletionTimestamp`.
    pub deleting: bool,
    /// Our finalizer.
    pub finalizer: bool,
    /// The finalizer went with leave to let the registration stay.
    pub left: bool,
    /// See [`Spec`].
    pub spec: Spec,
    /// See [`Note`].
    pub note: Note,
    /// The attempt that the intent annotation speaks of.
    pub intent: u8,
    /// See [`Status`].
    pub status: Status,
}

impl Default for Object {
    fn default() -> Self {
        Self {
            here: false,
            uid: false,
            deleting: false,
            finalizer: false,
            left: false,
            spec: Spec::default(),
            note: Note::Nothing,
            intent: NONE,
            status: Status::default(),
        }
    }
}

/// What one process remembers of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Memory {
    /// See `domain::Memory`.
    pub learned: u8,
    /// See `domain::Memory`.
    pub intent: u8,
    /// See `domain::Memory`.
    pub unsent: u8,
    /// A registration that the object lays claim to while it is in doubt whether its notes say so.
    pub claim: u8,
    /// The attempt that was looked for in vain, and whether that was just now.
    pub empty_look: (u8, bool),
    /// The refusal that answered the POST of this attempt.
    pub refused: Option<(u8, Failure)>,
    /// Whose DELETE was accepted, and whether the answer was that it is done.
    pub accepted: Option<(Credentials, bool)>,
    /// Who saw the registration.
    pub seen_by: Option<Credentials>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            learned: NONE,
            intent: NONE,
            unsent: NONE,
            claim: NONE,
            empty_look: (NONE, false),
            refused: None,
            accepted: None,
            seen_by: None,
        }
    }
}

/// What a pass knows of the uuid in question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sight {
    /// Nobody looked.
    #[default]
    NotLooked,
    /// Seen: which, and how it looked.
    Present(u8, Seen),
    /// Not in the list.
    NotListed,
    /// 404, with a list after it or without; and the tenant that answered: 0 unknown, 1 ours, 2 the foreign one.
    Absent(bool, u8),
}

/// What a pass knows of the name in question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Named {
    /// Nobody looked.
    #[default]
    NotLooked,
    /// From the inventory.
    Snapshot(u8, List),
    /// From a list of its own.
    Fresh(u8, List),
}

/// A failure that a pass has met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No answer.
    Connection,
    /// 401 or 403.
    Refused,
    /// 409.
    Held,
    /// Another 4xx.
    Rejected,
}

/// One pass under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Pass {
    /// It is under way.
    pub on: bool,
    /// The attempt whose intent it wrote, plus one.
    pub armed: u8,
    /// Its POST was refused.
    pub refused: Option<Failure>,
    /// A call failed.
    pub trouble: Option<Failure>,
    /// Whether the CRD is being deleted, once it looked.
    pub crd: Option<bool>,
    /// It sent a DELETE.
    pub sent: bool,
    /// Its DELETE was accepted, which status does not say yet.
    pub asked: bool,
    /// The registration exists but is not listed.
    pub unlisted: bool,
    /// The last read failed.
    pub failed: bool,
    /// Which uuid `sight` is about, plus one.
    pub about: u8,
    /// See [`Sight`].
    pub sight: Sight,
    /// See [`Named`].
    pub named: Named,
    /// The age of the open attempt when the last look for its name began.
    pub looked: u8,
    /// What speaks against an empty list, plus one.
    pub witness: u8,
    /// What reads by id answered.
    pub reads: [Option<Seen>; RECORDS],
    /// How young each registration was by the control plane's clock as the pass knows it: it was read before the last look.
    pub young: [u8; RECORDS],
}

/// One operator process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Process {
    /// It believes to hold the lease.
    pub leads: bool,
    /// Its cache of each object.
    pub view: [Object; OBJECTS],
    /// Whether the cache is what the API has.
    pub current: [bool; OBJECTS],
    /// See [`Memory`].
    pub memory: [Memory; OBJECTS],
    /// See [`Pass`].
    pub pass: [Pass; OBJECTS],
    /// The last list.
    pub inventory: Option<List>,
}

/// Whose credentials the connection holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Credentials {
    /// The right tenant's.
    #[default]
    Ours,
    /// Other ones of the right tenant.
    Rotated,
    /// The right tenant's, but with a scope that holds none of the objects' registrations.
    Narrow,
    /// Another tenant's.
    Foreign,
    /// Refused with 401 or 403.
    Revoked,
}

/// How often the unusual may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Calls whose request or answer is lost, or that are refused.
    pub loss: u8,
    /// Process deaths.
    pub crash: u8,
    /// Changes by the user.
    pub user: u8,
    /// Changes by somebody else in the control plane.
    pub other: u8,
    /// Status or annotations lost.
    pub wipe: u8,
    /// Changes of credentials.
    pub swap: u8,
    /// Changes of the leader.
    pub lease: u8,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// Kubernetes objects.
    pub objects: [Object; OBJECTS],
    /// Operator processes.
    pub processes: [Process; PROCESSES],
    /// The control plane's registrations.
    pub records: [Record; RECORDS],
    /// Create attempts.
    pub attempts: [Attempt; ATTEMPTS],
    /// The connection's credentials.
    pub credentials: Credentials,
    /// See [`Budget`].
    pub left: Budget,
}

impl State {
    /// The list that these credentials are shown.
    #[must_use]
    pub fn list(&self, hides_deleting: bool, lags: bool) -> List {
        std::array::from_fn(|slot| {
            let record = &self.records[slot];
            match record.life {
                _ if lags && record.young > 0 => 0,
                Life::Live if self.sees(record) => seen(record.name, false),
                Life::Deleting if self.sees(record) && !hides_deleting => seen(record.name, true),
                Life::Free | Life::Gone | Life::Live | Life::Deleting => 0,
            }
        })
    }

    /// What a read by id shows.
    #[must_use]
    pub fn get(&self, slot: u8, lags: bool) -> Seen {
        let record = &self.records[usize::from(slot)];
        match record.life {
            _ if lags && record.young > 0 => 0,
            Life::Live if self.sees(record) => seen(record.name, false),
            Life::Deleting if self.sees(record) => seen(record.name, true),
            Life::Free | Life::Gone | Life::Live | Life::Deleting => 0,
        }
    }

    /// Whether the record lies in the tenant of the present credentials.
    #[must_use]
    pub fn sees(&self, record: &Record) -> bool {
        let in_scope = self.credentials != Credentials::Narrow || record.maker == OTHERS;
        in_scope && record.foreign == (self.credentials == Credentials::Foreign)
    }

    /// Whether a registration of this name, other than `but`, blocks it where names are unique.
    #[must_use]
    pub fn taken(&self, name: u8, foreign: bool, but: u8) -> bool {
        self.records.iter().enumerate().any(|(slot, record)| {
            matches!(record.life, Life::Live | Life::Deleting)
                && record.name == name
                && record.foreign == foreign
                && slot != usize::from(but)
        })
    }

    /// Makes a registration. `None`: no slot is left.
    pub fn commit(&mut self, name: u8, maker: u8, foreign: bool, young: u8) -> Option<u8> {
        let slot = self.records.iter().position(|record| record.life == Life::Free)?;
        self.records[slot] = Record { life: Life::Live, name, maker, foreign, young };
        for attempt in &mut self.attempts {
            attempt.seen &= !(1 << slot);
            attempt.before &= !(1 << slot);
        }
        u8::try_from(slot).ok()
    }

    /// The object was written: whoever has it in a cache has it wrong now, but for the writer.
    pub fn written(&mut self, object: usize, by: Option<usize>) {
        let stored = self.objects[object];
        for (index, process) in self.processes.iter_mut().enumerate() {
            process.current[object] = Some(index) == by || process.view[object] == stored;
            if Some(index) == by {
                process.view[object] = stored;
            }
        }
    }
}
