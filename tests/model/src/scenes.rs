//! The bounded worlds that are explored, each about one question.

use crate::mutant::Mutant;
use crate::state::{Budget, Credentials, Note, Object, Process, Record, Spec, State};
use crate::world::Edit;

/// A bounded world.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "independent features of a world")]
pub struct Scene {
    /// Its name.
    pub name: &'static str,
    /// Objects.
    pub objects: usize,
    /// Operator processes.
    pub processes: usize,
    /// Whether both act at once; else the lease decides.
    pub without_lease: bool,
    /// What the objects ask for.
    pub specs: [Spec; 2],
    /// What users may do.
    pub edits: &'static [Edit],
    /// What may go wrong, and how often.
    pub budget: Budget,
    /// Registrations of somebody else, by name.
    pub neighbours: &'static [u8],
    /// Names are unique on the server.
    pub unique_names: bool,
    /// Lists leave out what is being deleted.
    pub hides_deleting: bool,
    /// A DELETE takes effect at once.
    pub instant_delete: bool,
    /// A graceful deletion never ends.
    pub never_ends: bool,
    /// The token says whose it is.
    pub token_tells: bool,
    /// The namespace may adopt.
    pub may_adopt: bool,
    /// The CRD is being deleted.
    pub crd_deleting: bool,
    /// Users write annotations of ours.
    pub forgery: bool,
    /// POSTs may be committed after the quarantine: beyond the assumption of I1.
    pub commits_late: bool,
    /// I1 is not asked for; a second registration has to be reported.
    pub tolerates_two: bool,
    /// Credentials may come to see less.
    pub narrow: bool,
    /// Lists may come out empty.
    pub lists_lie: bool,
    /// Lists may come out with wrong uuids.
    pub lists_mix: bool,
    /// A read may come from a replica that lags by up to half a quarantine.
    pub reads_lag: bool,
    /// The second object begins with a registration, and nobody touches it.
    pub registered: bool,
    /// A mistake of the operator.
    pub mutant: Option<Mutant>,
}

const NOTHING: Budget = Budget { loss: 0, crash: 0, user: 0, other: 0, wipe: 0, swap: 0, lease: 0 };
const PLAIN: Spec = Spec { name: 0, suspend: false, observe: false, orphan: false, recreate: false, adopt: false };

impl Scene {
    /// One object, one process, a control plane of today, nothing goes wrong.
    #[must_use]
    pub const fn calm(name: &'static str) -> Self {
        Self {
            name,
            objects: 1,
            processes: 1,
            without_lease: false,
            specs: [PLAIN, PLAIN],
            edits: &[Edit::Delete],
            budget: NOTHING,
            neighbours: &[],
            unique_names: false,
            hides_deleting: false,
            instant_delete: false,
            never_ends: false,
            token_tells: true,
            may_adopt: false,
            crd_deleting: false,
            forgery: false,
            commits_late: false,
            tolerates_two: false,
            narrow: false,
            lists_lie: false,
            lists_mix: false,
            reads_lag: false,
            registered: false,
            mutant: None,
        }
    }

    /// Whether the operator makes this mistake.
    #[must_use]
    pub fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    const fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// The same world with a mistake.
    #[must_use]
    pub const fn with(self, mutant: Mutant) -> Self {
        Self { mutant: Some(mutant), ..self }
    }

    /// Where it begins.
    pub(crate) fn first(&self) -> State {
        let mut state = State { left: self.budget, ..State::default() };
        for object in 0..self.objects {
            state.objects[object] = Object { here: true, spec: self.specs[object], ..Object::default() };
        }
        for (slot, name) in self.neighbours.iter().enumerate() {
            state.records[slot] = Record {
                life: crate::state::Life::Live,
                name: *name,
                maker: crate::state::OTHERS,
                foreign: false,
                young: 0,
            };
        }
        if self.registered {
            let slot = u8::try_from(self.neighbours.len()).unwrap_or_default();
            state.records[usize::from(slot)] =
                Record { life: crate::state::Life::Live, name: self.specs[1].name, maker: 1, foreign: false, young: 0 };
            let object = &mut state.objects[1];
            object.finalizer = true;
            object.note = Note::Signed { uuid: slot, adopted: false, by: Credentials::Ours };
            object.status.uuid = slot;
        }
        for process in 0..self.processes {
            state.processes[process] = Process {
                leads: self.without_lease || process == 0,
                view: state.objects,
                current: [true; crate::state::OBJECTS],
                ..Process::default()
            };
        }
        state
    }
}

const WEST: Spec = Spec { name: 1, ..PLAIN };
const AGAIN: Spec = Spec { recreate: true, ..PLAIN };
const ADOPTS: Spec = Spec { adopt: true, ..PLAIN };
const ALL_EDITS: &[Edit] = &[
    Edit::Name(0),
    Edit::Name(1),
    Edit::Suspend(true),
    Edit::Suspend(false),
    Edit::Observe,
    Edit::Orphan,
    Edit::Delete,
];

const LOSSES: Scene =
    Scene { budget: Budget { loss: 4, crash: 2, user: 1, ..NOTHING }, ..Scene::calm("answers are lost") };
const OLD_SERVER: Scene = Scene {
    unique_names: true,
    hides_deleting: true,
    ..LOSSES.named("answers are lost, names are unique, lists hide what is being deleted")
};
const PAIR: Scene = Scene {
    processes: 2,
    without_lease: true,
    edits: &[],
    budget: Budget { loss: 1, ..NOTHING },
    ..Scene::calm("two operators at once")
};
const PAIR_DELETES: Scene = Scene {
    edits: &[Edit::Delete],
    budget: Budget { user: 1, ..NOTHING },
    ..PAIR.named("two operators at once, and a deletion")
};
const LEASE: Scene = Scene {
    processes: 2,
    budget: Budget { loss: 1, lease: 1, user: 1, ..NOTHING },
    ..Scene::calm("the lease goes over")
};
const MINDS: Scene = Scene {
    edits: ALL_EDITS,
    budget: Budget { loss: 1, crash: 1, user: 3, ..NOTHING },
    ..Scene::calm("users change their minds")
};
const HANDS: Scene = Scene {
    specs: [AGAIN, PLAIN],
    budget: Budget { loss: 1, crash: 1, user: 1, other: 2, ..NOTHING },
    ..Scene::calm("others rename, delete and create")
};
const NOTES: Scene = Scene {
    neighbours: &[1],
    forgery: true,
    budget: Budget { loss: 2, crash: 1, user: 1, wipe: 2, ..NOTHING },
    ..Scene::calm("notes are lost and forged")
};
const SWAPS: Scene = Scene {
    budget: Budget { loss: 2, crash: 1, user: 1, swap: 2, ..NOTHING },
    ..Scene::calm("credentials are swapped and revoked")
};
const NARROW: Scene = Scene {
    narrow: true,
    budget: Budget { loss: 1, crash: 1, user: 1, swap: 2, ..NOTHING },
    ..SWAPS.named("credentials come to see less")
};
const OPAQUE: Scene = Scene { token_tells: false, hides_deleting: true, ..SWAPS.named("tokens tell nothing") };
const LIES: Scene = Scene {
    objects: 2,
    specs: [PLAIN, WEST],
    registered: true,
    lists_lie: true,
    budget: Budget { loss: 3, crash: 1, user: 1, ..NOTHING },
    ..Scene::calm("lists come out empty")
};
const MIXED: Scene = Scene {
    specs: [ADOPTS, PLAIN],
    neighbours: &[1],
    may_adopt: true,
    lists_mix: true,
    budget: Budget { loss: 2, crash: 1, user: 1, other: 1, ..NOTHING },
    ..Scene::calm("lists come out with wrong uuids")
};
const LAG: Scene = Scene {
    specs: [AGAIN, PLAIN],
    reads_lag: true,
    budget: Budget { loss: 3, crash: 1, user: 1, wipe: 1, ..NOTHING },
    ..Scene::calm("reads lag")
};
const ENDLESS: Scene = Scene {
    never_ends: true,
    edits: &[Edit::Delete, Edit::Orphan],
    budget: Budget { loss: 1, crash: 1, user: 2, other: 1, ..NOTHING },
    ..Scene::calm("deletions never end")
};
const ANEW: Scene = Scene {
    instant_delete: true,
    edits: &[Edit::Delete, Edit::Again],
    budget: Budget { loss: 1, crash: 1, user: 3, ..NOTHING },
    ..Scene::calm("objects are made anew")
};
const RIVALS: Scene = Scene {
    objects: 2,
    budget: Budget { loss: 1, crash: 1, user: 1, ..NOTHING },
    ..Scene::calm("two objects ask for one name")
};
const SHARED: Scene = Scene {
    objects: 2,
    specs: [ADOPTS, ADOPTS],
    neighbours: &[0],
    may_adopt: true,
    edits: &[Edit::Name(1), Edit::Delete],
    budget: Budget { loss: 2, user: 2, ..NOTHING },
    ..Scene::calm("two objects adopt one registration")
};
const UNINSTALL: Scene = Scene {
    crd_deleting: true,
    budget: Budget { loss: 1, crash: 1, user: 1, ..NOTHING },
    ..Scene::calm("the CRD goes")
};

/// The worlds that are explored on every run of the tests, the largest first.
pub const QUICK: &[Scene] = &[
    PAIR,
    PAIR_DELETES,
    LEASE,
    MINDS,
    NARROW,
    SWAPS,
    HANDS,
    RIVALS,
    OPAQUE,
    LIES,
    SHARED,
    LAG,
    MIXED,
    NOTES,
    ENDLESS,
    LOSSES,
    OLD_SERVER,
    ANEW,
    UNINSTALL,
];

/// The same, with more going wrong in each history.
pub const DEEP: &[Scene] = &[
    Scene { budget: Budget { loss: 1, user: 1, ..NOTHING }, ..PAIR_DELETES },
    Scene { budget: Budget { crash: 1, user: 1, ..NOTHING }, ..PAIR_DELETES },
    Scene { budget: Budget { loss: 2, crash: 1, ..NOTHING }, ..PAIR },
    Scene { budget: Budget { loss: 2, lease: 2, crash: 1, user: 1, ..NOTHING }, ..LEASE },
    Scene { budget: Budget { loss: 2, crash: 1, user: 4, ..NOTHING }, ..MINDS },
    Scene { budget: Budget { loss: 2, crash: 2, user: 1, swap: 2, ..NOTHING }, ..NARROW },
    Scene { budget: Budget { loss: 2, crash: 2, user: 1, swap: 2, ..NOTHING }, ..SWAPS },
    Scene { budget: Budget { loss: 2, crash: 1, user: 2, other: 3, ..NOTHING }, ..HANDS },
    Scene { budget: Budget { loss: 3, crash: 2, user: 1, ..NOTHING }, ..RIVALS },
    Scene { budget: Budget { loss: 2, crash: 2, user: 1, swap: 2, ..NOTHING }, ..OPAQUE },
    Scene { budget: Budget { loss: 4, crash: 1, user: 1, ..NOTHING }, ..LIES },
    Scene { budget: Budget { loss: 2, crash: 1, user: 3, ..NOTHING }, ..SHARED },
    Scene { budget: Budget { loss: 5, crash: 2, user: 1, wipe: 1, ..NOTHING }, ..LAG },
    Scene { budget: Budget { loss: 4, crash: 1, user: 1, other: 1, ..NOTHING }, ..MIXED },
    Scene { budget: Budget { loss: 2, crash: 2, user: 1, wipe: 3, ..NOTHING }, ..NOTES },
    Scene { budget: Budget { loss: 2, crash: 2, user: 2, other: 2, ..NOTHING }, ..ENDLESS },
    Scene { budget: Budget { loss: 5, crash: 3, user: 1, ..NOTHING }, ..LOSSES },
    Scene { budget: Budget { loss: 5, crash: 3, user: 1, ..NOTHING }, ..OLD_SERVER },
    Scene { budget: Budget { loss: 2, crash: 2, user: 5, ..NOTHING }, ..ANEW },
    Scene { budget: Budget { loss: 3, crash: 3, user: 1, ..NOTHING }, ..UNINSTALL },
];

/// Beyond the assumption: a POST may be committed after the quarantine.
pub const BEYOND: Scene = Scene {
    commits_late: true,
    edits: &[],
    budget: Budget { loss: 2, crash: 1, ..NOTHING },
    ..Scene::calm("commits come after the quarantine")
};

/// Each mistake, and a world in which it leads to a breach of one of these rules.
#[must_use]
pub fn mistaken() -> Vec<(Scene, &'static [&'static str])> {
    use Mutant as M;
    let hidden = Scene { hides_deleting: true, ..LOSSES };
    let single: &[&str] = &["I1", "I3"];
    vec![
        (PAIR.with(M::NoCompareAndSwap), &["I1"]),
        (LOSSES.with(M::SkipTheQuarantine), single),
        (LOSSES.with(M::SkipTheLook), single),
        (LEASE.with(M::SendLate), single),
        (LOSSES.with(M::SendAgain), single),
        (LOSSES.with(M::LaterMeansUnsent), single),
        (LOSSES.with(M::RefusedMeansUnsent), single),
        (LOSSES.with(M::ForgetTheIntent), single),
        (RIVALS.with(M::LeaveTheCopy), &["I2", "I6"]),
        (HANDS.with(M::IgnoreTheAge), &["I2"]),
        (HANDS.with(M::ForgetWhatIsReplaced), &["I6"]),
        (LOSSES.with(M::FinalizerLate), &["I3"]),
        (NOTES.with(M::IdentityInStatusOnly), single),
        (LOSSES.with(M::TrustAFailedList), &["I4"]),
        (LIES.with(M::TrustAnEmptyList), single),
        (MIXED.with(M::TrustAListAlone), &["I1", "I2", "I3"]),
        (LAG.with(M::MissItAtOnce), single),
        (hidden.with(M::AbsentWhenNotListed), &["I3"]),
        (NARROW.with(M::AbsentWhenNotFound), &["I3"]),
        (SWAPS.with(M::AbsentWhenRefused), &["I3", "I4"]),
        (LOSSES.with(M::AcceptedMeansGone), &["I3"]),
        (SWAPS.with(M::ForgetTheTenant), &["I3"]),
        (NOTES.with(M::TrustAForgedNote), &["I2"]),
        (SHARED.with(M::IgnoreClaims), &["I2"]),
        (MINDS.with(M::IgnoreObserve), &["I5"]),
        (MINDS.with(M::IgnoreSuspend), &["I5"]),
        (MINDS.with(M::IgnoreOrphan), &["I5"]),
        (UNINSTALL.with(M::IgnoreTheCrd), &["I5"]),
        (LEASE.with(M::IgnoreTheLease), &["I5"]),
    ]
}
