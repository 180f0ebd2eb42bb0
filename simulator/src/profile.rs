//! Control plane versions that can be imitated, and what each of them can do.
//!
//! Owns the table of capabilities. Must not know how a request is carried out.

use serde::{Deserialize, Serialize};

use crate::config::CapabilityOverrides;
use crate::version::Version;

/// A control plane version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Profile {
    /// 2.18: instant deletion only, `app_token` only.
    #[serde(rename = "cp-2.18")]
    Cp218,
    /// 2.20: graceful deletion and `client_credentials`; lists always hide clusters being deleted.
    #[serde(rename = "cp-2.20")]
    Cp220,
    /// 2.22: lists can include clusters being deleted.
    #[serde(rename = "cp-2.22")]
    Cp222,
    /// 2.24: V2 token, `expiresIn`, `ingressClass`.
    #[serde(rename = "cp-2.24")]
    Cp224,
    /// 2.25: minimal lists.
    #[default]
    #[serde(rename = "cp-2.25")]
    Cp225,
    /// 3.0: bootstrap token in place of the client secret.
    #[serde(rename = "cp-3.0")]
    Cp30,
    /// 2.25 that answers with documented status codes only.
    #[serde(rename = "strict-doc")]
    StrictDoc,
}

impl Profile {
    /// Every profile, oldest first.
    pub const ALL: [Self; 7] =
        [Self::Cp218, Self::Cp220, Self::Cp222, Self::Cp224, Self::Cp225, Self::Cp30, Self::StrictDoc];

    /// The version of the control plane itself.
    pub(crate) const fn version(self) -> Version {
        match self {
            Self::Cp218 => Version::new(2, 18),
            Self::Cp220 => Version::new(2, 20),
            Self::Cp222 => Version::new(2, 22),
            Self::Cp224 => Version::new(2, 24),
            Self::Cp225 | Self::StrictDoc => Version::new(2, 25),
            Self::Cp30 => Version::new(3, 0),
        }
    }

    /// The agent version that belongs to this control plane.
    pub(crate) const fn agent_version(self) -> &'static str {
        match self {
            Self::Cp218 => "2.18.40",
            Self::Cp220 => "2.20.22",
            Self::Cp222 => "2.22.17",
            Self::Cp224 => "2.24.37",
            Self::Cp225 | Self::StrictDoc => "2.25.9",
            Self::Cp30 => "3.0.4",
        }
    }
}

impl std::str::FromStr for Profile {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_value(serde_json::Value::String(text.to_owned()))
    }
}

/// What the imitated control plane can do.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "a table of independent capabilities")]
pub(crate) struct Capabilities {
    pub(crate) version: Version,
    pub(crate) graceful_delete: bool,
    pub(crate) client_credentials: bool,
    pub(crate) include_requested_for_delete: bool,
    pub(crate) expires_in: bool,
    pub(crate) token_v2: bool,
    pub(crate) ingress_class: bool,
    pub(crate) subdomain_enabled: bool,
    pub(crate) metrics_219: bool,
    pub(crate) metrics_223: bool,
    pub(crate) minimal: bool,
    pub(crate) length_limits: bool,
    pub(crate) bootstrap_token: bool,
    pub(crate) documented_codes_only: bool,
}

impl Capabilities {
    pub(crate) fn of(profile: Profile, overrides: &CapabilityOverrides) -> Self {
        let version = profile.version();
        let since = |major, minor| version >= Version::new(major, minor);
        Self {
            version,
            graceful_delete: since(2, 19),
            client_credentials: since(2, 20),
            include_requested_for_delete: overrides.include_requested_for_delete.unwrap_or(since(2, 22)),
            expires_in: since(2, 24),
            token_v2: overrides.token_v2.unwrap_or(since(2, 24)),
            ingress_class: since(2, 24),
            subdomain_enabled: since(2, 19),
            metrics_219: since(2, 19),
            metrics_223: since(2, 23),
            minimal: overrides.minimal.unwrap_or(since(2, 25)),
            length_limits: since(2, 25),
            bootstrap_token: overrides.bootstrap_token.unwrap_or(since(3, 0)),
            documented_codes_only: profile == Profile::StrictDoc,
        }
    }
}
