//! One moment of the second model. Times are ages in hours: half of a bootstrap token's life, and as long as information
//! is used.

/// Secrets: two names that may be asked for, each with a second one for the bootstrap token.
pub const SHELVES: usize = 4;
/// Registrations: somebody else's under the object's name, and two that the object makes one after the other.
pub const RECORDS: usize = 3;
/// Operator processes.
pub const PROCESSES: usize = 2;
/// No registration.
pub const NONE: u8 = u8::MAX;
/// An age beyond which nothing changes any more: the token is over.
pub const OVER: u8 = 2;

/// What one credential is: whose, and which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Value {
    /// The registration that it belongs to.
    pub of: u8,
    /// How often the client secret was rotated; of a token, its age.
    pub age: u8,
}

/// What the operator writes into a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Data {
    /// Key `uuid`.
    pub uuid: u8,
    /// Key `clientSecret`.
    pub secret: Option<Value>,
    /// Key `bootstrapToken`.
    pub token: Option<Value>,
}

/// A Secret of a name that matters. Equal ones stand for one resourceVersion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Secret {
    /// There is none.
    #[default]
    Missing,
    /// Somebody else's, without our label: it is not watched.
    Foreign,
    /// The object's.
    Ours {
        /// What was written into it.
        data: Data,
        /// It still holds that.
        intact: bool,
        /// It bears what the spec asks for.
        labels: bool,
        /// It was made immutable.
        locked: bool,
    },
}

impl Secret {
    /// What was written into it, if that is what it holds.
    pub(crate) const fn intact(self) -> Option<Data> {
        match self {
            Self::Ours { data, intact: true, .. } => Some(data),
            Self::Ours { .. } | Self::Missing | Self::Foreign => None,
        }
    }

    pub(crate) const fn is_ours(self) -> bool {
        matches!(self, Self::Ours { .. })
    }
}

/// A registration in the control plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Record {
    /// It exists.
    pub live: bool,
    /// How often its client secret was rotated.
    pub rotated: u8,
    /// Its agent has not connected yet.
    pub waiting: bool,
}

/// What the condition `CredentialsPublished` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Said {
    /// Nothing: it is not there.
    #[default]
    Nothing,
    /// `True`.
    Published,
    /// `SecretConflict`.
    Conflict,
    /// `InvalidSpec`.
    Observes,
    /// Another reason, which passes by itself.
    Waits,
}

/// The stored object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Object {
    /// `spec.installInfo.secretName`: which of two, plus one; 0: no `installInfo`.
    pub asked: u8,
    /// The registration that the notes say is its own, or [`NONE`].
    pub own: u8,
    /// `status.installSecretName`, as `asked`.
    pub told: u8,
    /// See [`Said`].
    pub said: Said,
}

/// An answer with install information.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Answer {
    /// The client secret.
    pub secret: Option<Value>,
    /// The bootstrap token.
    pub token: Option<Value>,
}

/// What a process remembers between passes: `Reading` of the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Memory {
    /// The age of what was read, plus one; 0: nothing was.
    pub read: u8,
    /// The last attempt failed: whether its pause lasts, and whether the spec is the same.
    pub failed: Option<(bool, bool)>,
    /// Writes of late.
    pub writes: u8,
    /// It watches Secrets.
    pub watches: bool,
}

/// Where a pass stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Stage {
    /// None is under way.
    #[default]
    Off,
    /// The Secrets are looked at and written.
    Publish,
    /// A read is under way: this is what comes back, if anything does.
    Reads(Option<Answer>),
    /// An immutable Secret was deleted, to be made anew with this.
    Makes(u8, Data),
    /// What is left over goes, and then status is told.
    Unpublish,
    /// Status is told.
    Say(Said, u8),
    /// What is left over goes.
    Tidy,
}

/// A pass under way, with what it knew when it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pass {
    /// See [`Stage`].
    pub stage: Stage,
    /// See [`Object`].
    pub asked: u8,
    /// The registration, as far as it is the object's and in step.
    pub own: u8,
    /// What status told.
    pub told: u8,
    /// Its agent had not connected.
    pub waiting: bool,
    /// What was read.
    pub info: Option<Answer>,
}

/// An operator process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Process {
    /// It believes to hold the lease.
    pub leads: bool,
    /// Its cache of the object.
    pub view: Object,
    /// Its cache of the Secrets.
    pub known: [Secret; SHELVES],
    /// See [`Memory`].
    pub memory: Memory,
    /// See [`Pass`].
    pub pass: Pass,
}

/// How often the unusual may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Calls that fail, or whose answer is lost or half.
    pub loss: u8,
    /// Process deaths.
    pub crash: u8,
    /// Changes of spec or of Secrets.
    pub user: u8,
    /// Rotations, losses and upgrades in the control plane.
    pub other: u8,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// See [`Object`].
    pub object: Object,
    /// The Secrets: the two names, then theirs for the tokens.
    pub secrets: [Secret; SHELVES],
    /// See [`Record`].
    pub records: [Record; RECORDS],
    /// The control plane gives bootstrap tokens.
    pub third: bool,
    /// See [`Process`].
    pub processes: [Process; PROCESSES],
    /// See [`Budget`].
    pub left: Budget,
}

impl State {
    /// What the control plane says about a registration.
    pub(crate) fn answer(&self, of: u8) -> Option<Answer> {
        let record = self.records.get(usize::from(of)).filter(|record| record.live)?;
        let secret = (!self.third).then_some(Value { of, age: record.rotated });
        Some(Answer { secret, token: self.third.then_some(Value { of, age: 0 }) })
    }
}

/// Where the Secret with the values is kept, and the one with the token.
pub(crate) const fn shelves(asked: u8) -> (usize, usize) {
    (asked as usize - 1, asked as usize + 1)
}
