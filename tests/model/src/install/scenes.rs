//! The bounded worlds of the second model, and the mistakes that must be found in them.

use super::state::Budget;
use super::world::{Edit, Hand};

/// A mistake of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// A Secret of the right name passes for the object's.
    TakeANameForOwnership,
    /// Whatever bears a name that is not asked for any more is removed.
    RemoveByName,
    /// A read that failed passes for one that held nothing.
    TakeNoAnswerForAnEmptyOne,
    /// A registration of the object's name is published before it is the object's.
    PublishBeforeOwnership,
    /// What a Secret holds of another registration is kept.
    KeepAnothersCredentials,
    /// The cache is written back whatever is there by now.
    NoPrecondition,
    /// What an earlier name has left is forgotten.
    ForgetToMove,
    /// What an earlier name has left goes although nothing is published yet.
    RemoveFirst,
    /// A Secret without our label, which no watch tells of, is believed to be as it was.
    BelieveWhatIsNotWatched,
    /// What was read once is never read again.
    NeverReadAgain,
    /// After a failure the next pass waits for the end of a pause, also where that is over and nothing is to be read.
    WaitForAPauseThatIsOver,
}

/// A bounded world.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// Its name.
    pub name: &'static str,
    /// The control plane gives bootstrap tokens from the beginning.
    pub third: bool,
    /// The object only observes.
    pub observes: bool,
    /// There is a second operator for a while.
    pub second: bool,
    /// What users may do.
    pub edits: &'static [Edit],
    /// What may happen in the control plane.
    pub hands: &'static [Hand],
    /// How often.
    pub budget: Budget,
    /// A mistake of the operator.
    pub mistake: Option<Mistake>,
}

impl Scene {
    pub(crate) fn has(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    pub(crate) const fn processes(&self) -> usize {
        if self.second { 2 } else { 1 }
    }

    const fn with(self, mistake: Mistake) -> Self {
        Self { mistake: Some(mistake), ..self }
    }

    const fn may(self, loss: u8, crash: u8, user: u8, other: u8) -> Self {
        Self { budget: Budget { loss, crash, user, other }, ..self }
    }
}

const ASKS: &[Edit] = &[Edit::Ask(0), Edit::Ask(1), Edit::Ask(2)];
const EDITS: &[Edit] = &[
    Edit::Ask(0),
    Edit::Ask(1),
    Edit::Ask(2),
    Edit::Erase(0),
    Edit::Erase(1),
    Edit::Erase(2),
    Edit::Damage(0),
    Edit::Damage(2),
    Edit::Relabel(0),
    Edit::Relabel(2),
    Edit::Lock(0),
    Edit::Plant(0),
    Edit::Plant(1),
    Edit::Plant(2),
    Edit::Plant(3),
];
const TOUCHES: &[Edit] =
    &[Edit::Ask(2), Edit::Erase(0), Edit::Erase(2), Edit::Damage(2), Edit::Lock(0), Edit::Plant(2)];
const HANDS: &[Hand] = &[Hand::Rotate, Hand::Lose, Hand::Upgrade];

const PLAIN: Scene = Scene {
    name: "credentials: answers are lost, secrets rotate",
    third: false,
    observes: false,
    second: false,
    edits: ASKS,
    hands: &[Hand::Rotate, Hand::Lose],
    budget: Budget { loss: 2, crash: 1, user: 1, other: 2 },
    mistake: None,
};
const USERS: Scene =
    Scene { name: "credentials: users edit, delete and make Secrets", edits: EDITS, ..PLAIN }.may(0, 1, 3, 0);
const MOVES: Scene = Scene { name: "credentials: the Secret moves", ..PLAIN }.may(2, 1, 3, 0);
const TOKENS: Scene =
    Scene { name: "credentials: bootstrap tokens", third: true, hands: &[Hand::Lose], edits: TOUCHES, ..PLAIN }
        .may(1, 1, 1, 1);
const UPGRADE: Scene =
    Scene { name: "credentials: the control plane is upgraded", hands: HANDS, edits: TOUCHES, ..PLAIN }.may(1, 0, 1, 2);
const SECOND: Scene =
    Scene { name: "credentials: a second operator for a while", second: true, edits: &[Edit::Ask(2)], ..PLAIN }
        .may(0, 0, 1, 0);
const OBSERVES: Scene =
    Scene { name: "credentials: an object that only observes", observes: true, edits: EDITS, ..PLAIN }.may(1, 1, 2, 0);

/// The worlds that are explored on every run of the tests.
pub const QUICK: &[Scene] = &[SECOND, USERS, UPGRADE, TOKENS, MOVES, PLAIN, OBSERVES];

/// The same, with more going wrong in each history.
pub const DEEP: &[Scene] = &[
    Scene { edits: ASKS, ..SECOND }.may(0, 0, 1, 1),
    Scene { edits: EDITS, ..UPGRADE }.may(1, 0, 2, 2),
    Scene { edits: EDITS, ..TOKENS }.may(1, 1, 2, 1),
    USERS.may(1, 1, 4, 0),
    PLAIN.may(2, 2, 2, 2),
    MOVES.may(3, 2, 4, 0),
    OBSERVES.may(2, 2, 3, 0),
];

/// Each mistake, and a world in which it leads to a breach of one of these rules.
#[must_use]
pub fn mistaken() -> Vec<(Scene, &'static [&'static str])> {
    use Mistake as M;
    vec![
        (USERS.with(M::TakeANameForOwnership), &["I10"]),
        (USERS.with(M::RemoveByName), &["I10"]),
        (PLAIN.with(M::TakeNoAnswerForAnEmptyOne), &["I10"]),
        (PLAIN.with(M::PublishBeforeOwnership), &["I10"]),
        (PLAIN.with(M::KeepAnothersCredentials), &["I10"]),
        (USERS.with(M::NoPrecondition), &["I10"]),
        (MOVES.with(M::ForgetToMove), &["I6"]),
        (MOVES.with(M::RemoveFirst), &["I10"]),
        (USERS.with(M::BelieveWhatIsNotWatched), &["I6"]),
        (PLAIN.with(M::NeverReadAgain), &["I6"]),
        (TOKENS.with(M::WaitForAPauseThatIsOver), &["I8"]),
    ]
}
