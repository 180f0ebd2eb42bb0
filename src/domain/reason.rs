//! The one vocabulary of reasons: conditions, Events and metric labels.
//!
//! Owns the spelling. Must not know what leads to a reason.

/// Why an object is in the condition it is in. The spelling is part of the product and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The object's own POST made the registration.
    Registered,
    /// An existing registration was taken over on request.
    Adopted,
    /// The registration is watched, never written.
    Observed,
    /// A POST is about to be sent, or waits for its turn.
    Creating,
    /// A POST may or may not have been committed.
    CreateInDoubt,
    /// Several registrations could be the one that was asked for.
    CreateAmbiguous,
    /// A second registration of this object's making appeared.
    DuplicateRegistration,
    /// The name belongs to a registration that the object does not own.
    NameConflict,
    /// The server holds the name back, for example for a registration that is being deleted.
    NameHeld,
    /// The registration to adopt does not exist.
    AdoptionTargetMissing,
    /// The control plane does not let this namespace adopt.
    AdoptionNotAllowed,
    /// Another object owns the registration.
    AlreadyClaimed,
    /// The remote name is being changed.
    Renaming,
    /// Somebody else keeps changing the name back.
    ManagementConflict,
    /// The registration differs in a field that the API cannot change.
    Drifted,
    /// The registration was deleted by somebody else.
    ExternallyDeleted,
    /// The control plane object now leads to another server or tenant.
    OriginChanged,
    /// Status and annotations name different registrations, or the signature does not fit.
    IdentityConflict,
    /// A deletion was asked for and has not resolved.
    DeletionRequested,
    /// A deletion takes longer than `spec.deletion.stalledAfter`.
    DeletionStalled,
    /// The registration is not found, but that does not prove that it is gone.
    AbsenceUnproven,
    /// Deletions are slowed down by `maxDeletionsPerMinute`.
    DeletionThrottled,
    /// The object went, the registration stays.
    Orphaned,
    /// `spec.suspend` is set.
    Suspended,
    /// The control plane object does not exist.
    ControlPlaneMissing,
    /// The control plane does not allow this namespace.
    NamespaceNotAllowed,
    /// The connection Secret or CA bundle cannot be used.
    ConnectionInvalid,
    /// The control plane cannot be reached or fails.
    ConnectionFailed,
    /// The credentials are refused.
    AuthFailed,
    /// The credentials lack a permission.
    Forbidden,
    /// The control plane asks for fewer requests.
    Throttled,
    /// The control plane answers something that is not its API.
    Undecodable,
    /// The control plane refuses the request.
    Rejected,
    /// The object's own fields are invalid.
    InvalidSpec,
    /// The last list of registrations is too old.
    InventoryStale,
    /// The install credentials are published.
    CredentialsPublished,
    /// The Secret to publish into belongs to somebody else.
    SecretConflict,
}

impl Reason {
    /// Every reason, for documentation and metrics.
    pub const ALL: [Self; 37] = [
        Self::Registered,
        Self::Adopted,
        Self::Observed,
        Self::Creating,
        Self::CreateInDoubt,
        Self::CreateAmbiguous,
        Self::DuplicateRegistration,
        Self::NameConflict,
        Self::NameHeld,
        Self::AdoptionTargetMissing,
        Self::AdoptionNotAllowed,
        Self::AlreadyClaimed,
        Self::Renaming,
        Self::ManagementConflict,
        Self::Drifted,
        Self::ExternallyDeleted,
        Self::OriginChanged,
        Self::IdentityConflict,
        Self::DeletionRequested,
        Self::DeletionStalled,
        Self::AbsenceUnproven,
        Self::DeletionThrottled,
        Self::Orphaned,
        Self::Suspended,
        Self::ControlPlaneMissing,
        Self::NamespaceNotAllowed,
        Self::ConnectionInvalid,
        Self::ConnectionFailed,
        Self::AuthFailed,
        Self::Forbidden,
        Self::Throttled,
        Self::Undecodable,
        Self::Rejected,
        Self::InvalidSpec,
        Self::InventoryStale,
        Self::CredentialsPublished,
        Self::SecretConflict,
    ];

    /// The one spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "Registered",
            Self::Adopted => "Adopted",
            Self::Observed => "Observed",
            Self::Creating => "Creating",
            Self::CreateInDoubt => "CreateInDoubt",
            Self::CreateAmbiguous => "CreateAmbiguous",
            Self::DuplicateRegistration => "DuplicateRegistration",
            Self::NameConflict => "NameConflict",
            Self::NameHeld => "NameHeld",
            Self::AdoptionTargetMissing => "AdoptionTargetMissing",
            Self::AdoptionNotAllowed => "AdoptionNotAllowed",
            Self::AlreadyClaimed => "AlreadyClaimed",
            Self::Renaming => "Renaming",
            Self::ManagementConflict => "ManagementConflict",
            Self::Drifted => "Drifted",
            Self::ExternallyDeleted => "ExternallyDeleted",
            Self::OriginChanged => "OriginChanged",
            Self::IdentityConflict => "IdentityConflict",
            Self::DeletionRequested => "DeletionRequested",
            Self::DeletionStalled => "DeletionStalled",
            Self::AbsenceUnproven => "AbsenceUnproven",
            Self::DeletionThrottled => "DeletionThrottled",
            Self::Orphaned => "Orphaned",
            Self::Suspended => "Suspended",
            Self::ControlPlaneMissing => "ControlPlaneMissing",
            Self::NamespaceNotAllowed => "NamespaceNotAllowed",
            Self::ConnectionInvalid => "ConnectionInvalid",
            Self::ConnectionFailed => "ConnectionFailed",
            Self::AuthFailed => "AuthFailed",
            Self::Forbidden => "Forbidden",
            Self::Throttled => "Throttled",
            Self::Undecodable => "Undecodable",
            Self::Rejected => "Rejected",
            Self::InvalidSpec => "InvalidSpec",
            Self::InventoryStale => "InventoryStale",
            Self::CredentialsPublished => "CredentialsPublished",
            Self::SecretConflict => "SecretConflict",
        }
    }
}

#[cfg(test)]
#[path = "reason_tests.rs"]
mod tests;
