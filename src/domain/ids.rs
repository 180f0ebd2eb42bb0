//! The vocabulary of identity: uuid, name, domain, version, origin, tenant, credential.
//!
//! Owns parsing and comparison of these values. Must not know where they come from.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name and domain the API documents, in characters (clusters-api, `max: 253`).
pub const MAX_NAME: usize = 253;
/// Longest version the API documents, in characters (clusters-api, `max: 50`).
pub const MAX_VERSION: usize = 50;

/// A value that cannot be used, with the field's name and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {problem}")]
pub struct IdError {
    /// The kind of value, in the user's words ("name", "domain", ...).
    pub what: &'static str,
    /// What is wrong and what is allowed.
    pub problem: String,
}

impl IdError {
    fn new(what: &'static str, problem: impl Into<String>) -> Self {
        Self { what, problem: problem.into() }
    }
}

/// The uuid that the control plane gave to a registration. Case is ignored (the API's own examples use both).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterUuid(pub uuid::Uuid);

impl FromStr for ClusterUuid {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        // `Uuid::parse_str` also takes braces, URNs and no hyphens; the API does not.
        let parsed = (text.len() == 36).then(|| uuid::Uuid::parse_str(text).ok()).flatten();
        parsed.map(Self).ok_or_else(|| IdError::new("uuid", "must have the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"))
    }
}

impl fmt::Display for ClusterUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The value as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

text_newtype! {
    /// A registration name: 1 to 253 characters, no control characters, no white space at either end.
    /// Compared exactly when adopting, without regard to case when looking for conflicts.
    ClusterName
}
text_newtype! {
    /// The cluster's URL or host as the user wrote it. Compare with [`ClusterDomain::same_as`], never byte for byte:
    /// the field is seen with and without scheme.
    ClusterDomain
}
text_newtype! {
    /// An agent version: 1 to 50 characters without white space.
    AgentVersion
}
text_newtype! {
    /// Scheme, host and port of a control plane, in lower case, without a default port or a trailing slash.
    Origin
}
text_newtype! {
    /// A stable, non-secret name for the credentials in use: the same for a rotated secret of the same client,
    /// different for another client.
    CredentialId
}

impl ClusterName {
    /// # Errors
    /// When the text is empty, too long, padded with white space or holds control characters.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let chars = text.chars().count();
        if chars == 0 || chars > MAX_NAME {
            return Err(IdError::new("name", format!("must have 1 to {MAX_NAME} characters, has {chars}")));
        }
        if text.trim() != text {
            return Err(IdError::new("name", "must not begin or end with white space"));
        }
        if text.chars().any(char::is_control) {
            return Err(IdError::new("name", "must not hold control characters"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether two names differ at most in case. Some servers refuse such a pair (`NameHeld`).
    #[must_use]
    pub fn resembles(&self, other: &str) -> bool {
        self.0.to_lowercase() == other.to_lowercase()
    }
}

impl ClusterDomain {
    /// # Errors
    /// When the text is empty, too long, or neither a host with optional port nor an http(s) URL of one.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let chars = text.chars().count();
        if chars == 0 || chars > MAX_NAME {
            return Err(IdError::new("domain", format!("must have 1 to {MAX_NAME} characters, has {chars}")));
        }
        let host = Self::host_part(text);
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        };
        let digits = |p: &str| p.bytes().all(|b| b.is_ascii_digit());
        let port_ok = port.is_none_or(|p| digits(p) && p.parse::<u16>().is_ok_and(|p| p > 0));
        let labels_ok = name.strip_suffix('.').unwrap_or(name).split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
        if port_ok && labels_ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::new(
                "domain",
                "must be a host such as runai.example.com or a URL such as https://runai.example.com, without a path",
            ))
        }
    }

    /// Takes a value from the control plane as it is: what the server stores is not ours to judge.
    #[must_use]
    pub fn observed(text: &str) -> Self {
        Self(text.to_owned())
    }

    fn host_part(text: &str) -> &str {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        rest.strip_suffix('/').unwrap_or(rest)
    }

    fn normal(&self) -> String {
        let lower = self.0.trim().to_lowercase();
        let host = Self::host_part(&lower);
        match host.rsplit_once(':') {
            Some((name, port)) => format!("{}:{port}", name.trim_end_matches('.')),
            None => host.trim_end_matches('.').to_owned(),
        }
    }

    /// Whether two domains mean the same host: scheme, case, a trailing slash or dot do not count, the port does.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.normal() == other.normal()
    }
}

impl AgentVersion {
    /// # Errors
    /// When the text is empty, too long, or not `major.minor[.patch[suffix]]`.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let chars = text.chars().count();
        if chars == 0 || chars > MAX_VERSION {
            return Err(IdError::new("version", format!("must have 1 to {MAX_VERSION} characters, has {chars}")));
        }
        let mut parts = text.splitn(3, '.');
        let number = |part: Option<&str>| part.is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
        let patch_ok = |part: Option<&str>| {
            part.is_none_or(|p| {
                p.starts_with(|c: char| c.is_ascii_digit())
                    && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"-+._".contains(&b))
            })
        };
        if number(parts.next()) && number(parts.next()) && patch_ok(parts.next()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::new("version", "must look like 2.24 or 2.24.37"))
        }
    }
}

impl Origin {
    /// Takes an origin that is already normalised (`scheme://host[:port]`, lower case).
    #[must_use]
    pub fn new(normalised: &str) -> Self {
        Self(normalised.to_owned())
    }
}

impl CredentialId {
    /// Takes an id made by the REST client or read back from an annotation.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self(id.to_owned())
    }
}

/// The tenant that a registration belongs to (`tenantId`, an int32 in the API; kept wider).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TenantId(pub i64);

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How the object came to own its registration. Unknown counts as adopted: it is the careful reading,
/// since an adopted registration is not deleted by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Provenance {
    /// This object's POST made it.
    Created,
    /// It existed before.
    Adopted,
}

impl Provenance {
    /// The spelling used in status and annotations.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Adopted => "Adopted",
        }
    }
}

#[cfg(test)]
#[path = "ids_tests.rs"]
mod tests;
