//! What the client tells about itself, for metrics.
//!
//! Owns the names of operations and the hook that telemetry fills. Must not know any metrics library.

use std::time::Duration;

/// One kind of request. The spelling is a metric label and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `POST /api/v1/token` or `/api/v2/token`.
    Token,
    /// `GET /api/v1/clusters`.
    ListClusters,
    /// `GET /api/v1/clusters/{uuid}`.
    GetCluster,
    /// `POST /api/v1/clusters`.
    CreateCluster,
    /// `PUT /api/v1/clusters/{uuid}`.
    RenameCluster,
    /// `DELETE /api/v1/clusters/{uuid}`.
    DeleteCluster,
    /// `GET /api/v1/clusters/minimal`, one page.
    ListMinimal,
    /// `GET /api/v1/clusters/{uuid}/minimal`.
    GetMinimal,
    /// `GET /api/v1/clusters/{uuid}/cluster-install-info`.
    InstallInfo,
    /// `GET /api/v1/clusters/{uuid}/metrics`.
    Metrics,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Token,
        Self::ListClusters,
        Self::GetCluster,
        Self::CreateCluster,
        Self::RenameCluster,
        Self::DeleteCluster,
        Self::ListMinimal,
        Self::GetMinimal,
        Self::InstallInfo,
        Self::Metrics,
    ];

    /// The metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::ListClusters => "list_clusters",
            Self::GetCluster => "get_cluster",
            Self::CreateCluster => "create_cluster",
            Self::RenameCluster => "rename_cluster",
            Self::DeleteCluster => "delete_cluster",
            Self::ListMinimal => "list_minimal",
            Self::GetMinimal => "get_minimal",
            Self::InstallInfo => "install_info",
            Self::Metrics => "metrics",
        }
    }

    /// The operation in a sentence: "... failed".
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Token => "logging in",
            Self::ListClusters => "listing the registrations",
            Self::GetCluster => "reading the registration",
            Self::CreateCluster => "creating the registration",
            Self::RenameCluster => "renaming the registration",
            Self::DeleteCluster => "deleting the registration",
            Self::ListMinimal => "reading the minimal list",
            Self::GetMinimal => "reading the minimal data of the registration",
            Self::InstallInfo => "reading the install information",
            Self::Metrics => "reading the cluster's metrics",
        }
    }

    /// Whether sending it twice changes nothing.
    #[must_use]
    pub const fn is_read(self) -> bool {
        match self {
            Self::ListClusters
            | Self::GetCluster
            | Self::ListMinimal
            | Self::GetMinimal
            | Self::InstallInfo
            | Self::Metrics => true,
            Self::Token | Self::CreateCluster | Self::RenameCluster | Self::DeleteCluster => false,
        }
    }
}

/// Hears what the client does. Every method may be called from any task and must return at once.
pub trait ClientObserver: Send + Sync {
    /// One request on the wire ended; `code` is `None` when no status arrived.
    fn request(&self, operation: Operation, code: Option<u16>, took: Duration) {
        let _ = (operation, code, took);
    }

    /// One attempt to get a token ended.
    fn token_refresh(&self, ok: bool) {
        let _ = ok;
    }

    /// A request waited this long for the rate limit.
    fn rate_limit_wait(&self, waited: Duration) {
        let _ = waited;
    }
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl ClientObserver for NoObserver {}
