//! Which endpoint a request is for.
//!
//! Owns paths and methods of the public API. Must not know what an endpoint does.

use http::Method;
use serde::{Deserialize, Serialize};

use crate::profile::Capabilities;

/// An endpoint: path and method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Operation {
    /// `POST /api/v1/token`
    Token,
    /// `POST /api/v2/token`
    TokenV2,
    /// `GET /api/v1/clusters`
    List,
    /// `POST /api/v1/clusters`
    Create,
    /// `GET /api/v1/clusters/{clusterUuid}`
    Get,
    /// `PUT /api/v1/clusters/{clusterUuid}`
    Update,
    /// `DELETE /api/v1/clusters/{clusterUuid}`
    Delete,
    /// `GET /api/v1/clusters/minimal`
    MinimalList,
    /// `GET /api/v1/clusters/{clusterUuid}/minimal`
    Minimal,
    /// `GET /api/v1/clusters/{clusterUuid}/cluster-install-info`
    InstallInfo,
    /// `GET /api/v1/clusters/{clusterUuid}/metrics`
    Metrics,
}

impl Operation {
    /// Changes registrations.
    #[must_use]
    pub const fn is_mutation(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Delete)
    }

    /// A token request, which needs no token.
    #[must_use]
    pub const fn is_token(self) -> bool {
        matches!(self, Self::Token | Self::TokenV2)
    }

    /// The path with its parameter by name.
    #[must_use]
    pub const fn template(self) -> &'static str {
        match self {
            Self::Token => "/api/v1/token",
            Self::TokenV2 => "/api/v2/token",
            Self::List | Self::Create => "/api/v1/clusters",
            Self::Get | Self::Update | Self::Delete => "/api/v1/clusters/{clusterUuid}",
            Self::MinimalList => "/api/v1/clusters/minimal",
            Self::Minimal => "/api/v1/clusters/{clusterUuid}/minimal",
            Self::InstallInfo => "/api/v1/clusters/{clusterUuid}/cluster-install-info",
            Self::Metrics => "/api/v1/clusters/{clusterUuid}/metrics",
        }
    }
}

/// Outcome of matching a path and method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Routed {
    /// An endpoint, with the path's id as it was written.
    To(Operation, Option<String>),
    /// The path is known, the method is not: these are allowed.
    WrongMethod(&'static str),
    /// No such path.
    Unknown,
}

impl Routed {
    pub(crate) fn operation(&self) -> Option<Operation> {
        match self {
            Self::To(operation, _) => Some(*operation),
            Self::WrongMethod(_) | Self::Unknown => None,
        }
    }

    pub(crate) fn path_id(&self) -> Option<&str> {
        match self {
            Self::To(_, id) => id.as_deref(),
            Self::WrongMethod(_) | Self::Unknown => None,
        }
    }
}

/// Matches literally: a trailing slash is another path.
pub(crate) fn route(method: &Method, path: &str, capabilities: &Capabilities) -> Routed {
    let to = |operation: Operation, id: Option<&str>| Routed::To(operation, id.map(decode));
    let only = |wanted: Method, allow: &'static str, operation: Operation, id: Option<&str>| {
        if *method == wanted { to(operation, id) } else { Routed::WrongMethod(allow) }
    };
    let segments: Vec<_> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    match segments.as_slice() {
        ["api", "v1", "token"] => only(Method::POST, "POST", Operation::Token, None),
        ["api", "v2", "token"] if capabilities.token_v2 => only(Method::POST, "POST", Operation::TokenV2, None),
        ["api", "v1", "clusters"] => match *method {
            Method::GET => to(Operation::List, None),
            Method::POST => to(Operation::Create, None),
            _ => Routed::WrongMethod("GET, POST"),
        },
        ["api", "v1", "clusters", "minimal"] if capabilities.minimal => {
            only(Method::GET, "GET", Operation::MinimalList, None)
        }
        ["api", "v1", "clusters", id] if !id.is_empty() => match *method {
            Method::GET => to(Operation::Get, Some(id)),
            Method::PUT => to(Operation::Update, Some(id)),
            Method::DELETE => to(Operation::Delete, Some(id)),
            _ => Routed::WrongMethod("GET, PUT, DELETE"),
        },
        ["api", "v1", "clusters", id, "minimal"] if capabilities.minimal && !id.is_empty() => {
            only(Method::GET, "GET", Operation::Minimal, Some(id))
        }
        ["api", "v1", "clusters", id, "cluster-install-info"] if !id.is_empty() => {
            only(Method::GET, "GET", Operation::InstallInfo, Some(id))
        }
        ["api", "v1", "clusters", id, "metrics"] if !id.is_empty() => {
            only(Method::GET, "GET", Operation::Metrics, Some(id))
        }
        _ => Routed::Unknown,
    }
}

fn decode(segment: &str) -> String {
    crate::query::percent_decode(segment, false)
}
