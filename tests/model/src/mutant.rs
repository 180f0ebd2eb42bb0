//! Mistakes that the operator could make. Each must lead to a counterexample.

/// A mistake. It distorts what goes into the core, what comes out, or what is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Metadata is written over whatever is there.
    NoCompareAndSwap,
    /// A doubt is resolved at once.
    SkipTheQuarantine,
    /// The inventory's last list passes for a look of its own.
    SkipTheLook,
    /// A POST is sent however long ago its intent was written, and may be committed as long after.
    SendLate,
    /// A POST whose answer was lost is sent again.
    SendAgain,
    /// 503 with `Retry-After` means that a POST took no effect.
    LaterMeansUnsent,
    /// Any 4xx means that a POST took no effect.
    RefusedMeansUnsent,
    /// The intent annotation is not read.
    ForgetTheIntent,
    /// The copy of an attempt stays in status when the attempt ends.
    LeaveTheCopy,
    /// A registration is taken for the one that was asked for however old it is.
    IgnoreTheAge,
    /// The intent does not hold which registration it replaces.
    ForgetWhatIsReplaced,
    /// The finalizer is not written along with the intent.
    FinalizerLate,
    /// The uuid is written to status alone.
    IdentityInStatusOnly,
    /// A list that failed passes for an empty one.
    TrustAFailedList,
    /// An empty list is believed although another object owns a registration.
    TrustAnEmptyList,
    /// What only a list shows is taken for an object's own.
    TrustAListAlone,
    /// The absence of a registration that was made a moment ago is believed.
    MissItAtOnce,
    /// What no list shows counts as absent.
    AbsentWhenNotListed,
    /// A 404 is all the proof there is.
    AbsentWhenNotFound,
    /// 401 and 403 pass for 404.
    AbsentWhenRefused,
    /// An accepted DELETE passes for a finished one.
    AcceptedMeansGone,
    /// Tenants are not written down.
    ForgetTheTenant,
    /// An annotation counts without its signature.
    TrustAForgedNote,
    /// Claims of other objects are not asked.
    IgnoreClaims,
    /// `spec.managementPolicy` is not read.
    IgnoreObserve,
    /// `spec.suspend` is not read.
    IgnoreSuspend,
    /// `spec.deletion.policy` is not read.
    IgnoreOrphan,
    /// A DELETE does not ask whether the whole kind is going.
    IgnoreTheCrd,
    /// The lease is not asked before a write.
    IgnoreTheLease,
}
