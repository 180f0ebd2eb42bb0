//! What the operator wrote down earlier about one object: the only facts that are ever read back.
//!
//! Owns the identity and the create intent. Must not know how they are stored or signed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::{ClusterUuid, CredentialId, Origin, Provenance, TenantId};
use super::memory::Memory;

/// Which registration an object owns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The registration.
    pub uuid: ClusterUuid,
    /// How it came to be owned.
    pub provenance: Provenance,
    /// The tenant it was seen in; `None` only where a record was restored without it.
    pub tenant: Option<TenantId>,
    /// The server it was seen on. Status does not hold it; the annotation does.
    pub origin: Option<Origin>,
    /// The credentials that saw it. Status does not hold them; the annotation does.
    pub credential: Option<CredentialId>,
    /// When the registration was made, by the control plane's clock: a young one may be hidden by a read that lags.
    pub created: Option<Timestamp>,
}

impl Identity {
    /// Whether two notes speak of the same registration. A part that one of them lacks does not count.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        fn same<T: PartialEq>(a: Option<&T>, b: Option<&T>) -> bool {
            a.zip(b).is_none_or(|(a, b)| a == b)
        }
        self.uuid == other.uuid
            && same(self.tenant.as_ref(), other.tenant.as_ref())
            && same(self.origin.as_ref(), other.origin.as_ref())
    }
}

/// The note "a POST may be under way", written before every POST and removed when its fate is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// Tells one attempt from another.
    pub attempt: uuid::Uuid,
    /// The name that the POST carries.
    pub name: String,
    /// The domain that the POST carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// When, by the control plane's own `Date`. `None` if it never sent one: then a record's age proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_time: Option<Timestamp>,
    /// When, by the operator's clock: the quarantine is counted from here.
    pub local_time: Timestamp,
    /// The server that the POST goes to.
    pub origin: Origin,
    /// The tenant behind it, as far as known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// The registration that this one replaces after somebody else deleted it: it is not the object's any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<ClusterUuid>,
    /// Registrations that already had this name: never ours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<ClusterUuid>,
}

/// What the annotations say about the identity, after the shell has checked their signature.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Annotated {
    /// There are none.
    #[default]
    Nothing,
    /// Signed by this operator for this object.
    Fits(Identity),
    /// Present, but not signed for this object: a wish to adopt, nothing more. `None` if not even a uuid can be read.
    Misfit(Option<ClusterUuid>),
}

/// Which copy of the create intent counts: the signed annotation, else the process's own, else status. Status keeps one
/// for the case that the others are lost; once there is an identity it is history. An attempt of this process that was
/// certainly never sent says less than one that somebody may have sent.
#[must_use]
pub fn open_intent(
    annotated: Option<Intent>,
    status: Option<Intent>,
    identified: bool,
    memory: &Memory,
) -> Option<Intent> {
    let is_unsent = |intent: &Intent| memory.unsent == Some(intent.attempt);
    let (unsent, sent) = (memory.intent.clone().filter(is_unsent), memory.intent.clone().filter(|i| !is_unsent(i)));
    annotated.or(sent).or(status.filter(|_| !identified)).or(unsent)
}

/// What the operator wrote down about one object.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Recorded {
    /// From status: trusted, since users get no `/status` verb.
    pub status: Option<Identity>,
    /// From the annotations.
    pub annotated: Annotated,
    /// One of the two identity annotations fits and the other is missing.
    pub incomplete: bool,
    /// The open create intent: see [`open_intent`].
    pub intent: Option<Intent>,
    /// Whether status holds a copy of an intent.
    pub intent_told: bool,
    /// Whether the intent annotation is there and is the one above.
    pub intent_annotated: bool,
    /// An intent annotation is there that this operator did not write.
    pub foreign_intent: bool,
    /// Whether our finalizer is on the object.
    pub finalizer: bool,
    /// When our own DELETE was accepted.
    pub delete_requested_at: Option<Timestamp>,
}

#[cfg(test)]
#[path = "recorded_tests.rs"]
mod tests;
