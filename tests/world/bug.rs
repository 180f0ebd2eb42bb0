//! Mistakes that the operator could make. Each distorts what goes into the core, or what is done with what comes out.

/// A seeded bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The inventory's last list passes for a look of its own.
    SkipTheLook,
    /// A list that failed passes for an empty one.
    TrustAFailedList,
    /// A new process does not read the intent.
    ForgetTheIntent,
    /// The copy of an attempt stays in status when the attempt ends.
    LeaveTheCopy,
    /// A doubt is resolved at once.
    SkipTheQuarantine,
    /// A 404 is all the proof there is.
    ReleaseOn404,
    /// A registration that no list shows counts as absent.
    SkipTheReadById,
    /// An annotation counts without its signature.
    TrustAnUnsignedNote,
    /// Metadata is written over whatever is there.
    NoCompareAndSwap,
    /// Tenants are not written down.
    ForgetTheTenant,
    /// Everything may be written, always.
    IgnoreObserve,
    /// `spec.suspend` is not read.
    IgnoreSuspend,
    /// `spec.deletion.policy` is not read, and what was adopted counts as created.
    IgnoreTheDeletionPolicy,
    /// Renames are not counted.
    IgnoreTheFight,
    /// Claims of other objects are not asked.
    IgnoreClaims,
    /// A DELETE does not ask whether the whole kind is going.
    IgnoreTheCrd,
    /// Conditions are added to those that are there, in place of them.
    LeaveTheConditions,
}
