//! A door for `fuzz/`: the notes on an object, read and written as a pass does.
//!
//! Owns nothing. Not part of the library's interface.

use serde_json::Value;

use super::notes;
use super::signer::Signer;
use crate::api::Watched;
use crate::domain::{Marks, Memory, Recorded};

/// The notes of an operator with a given key.
#[derive(Debug)]
pub struct Notes(Signer);

impl Notes {
    /// With this key.
    #[must_use]
    pub fn with_key(key: &[u8]) -> Self {
        Self(Signer::with_key(key))
    }

    /// What is written on `object`.
    #[must_use]
    pub fn read(&self, object: &Watched, memory: &Memory) -> Recorded {
        notes::read(object, &self.0, memory)
    }

    /// The merge patch that makes the metadata say `marks`.
    #[must_use]
    pub fn mark(&self, object: &Watched, marks: &Marks) -> Value {
        notes::mark_patch(object, marks, &self.0)
    }
}
