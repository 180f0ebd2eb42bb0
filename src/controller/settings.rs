//! The operator's settings, validated once.
//!
//! Owns what `run` was told. Must not know the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::domain::DeletionPolicy;

/// How long after the intent was begun its POST may still be sent.
pub const SEND_WINDOW: Duration = Duration::from_secs(5);

/// Everything that `run` was told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The operator's own namespace: connection Secrets, CA bundles, identity key, Lease.
    pub namespace: String,
    /// Namespaces of the objects; empty means all.
    pub watch_namespaces: Vec<String>,
    /// Whether a Lease decides who works.
    pub leader_elect: bool,
    /// Where `/metrics` is served.
    pub metrics_bind: SocketAddr,
    /// Where `/livez` and `/readyz` are served.
    pub health_bind: SocketAddr,
    /// Whether a control plane may be reached without TLS.
    pub allow_insecure_http: bool,
    /// Most passes at once, of each control plane.
    pub concurrency: u16,
    /// What to do with created registrations whose object does not say.
    pub default_deletion: Option<DeletionPolicy>,
    /// See [`crate::domain::Policy::quarantine`].
    pub create_quarantine: Duration,
    /// Total time of a POST.
    pub create_deadline: Duration,
    /// A manifest of the control plane to apply at start.
    pub default_control_plane: Option<PathBuf>,
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The quarantine would end before every POST has.
    #[error(
        "--create-quarantine {quarantine:?} is too short: it must be at least {least:?} (time to send, --create-deadline, and 5 s for \
         what lies in between), or a create that is committed late is made twice"
    )]
    Quarantine {
        /// What was asked for.
        quarantine: Duration,
        /// The least that is safe.
        least: Duration,
    },
    /// A number that must not be zero.
    #[error("{flag} must be at least 1")]
    Zero {
        /// The flag.
        flag: &'static str,
    },
}

impl Settings {
    /// Refuses settings that would break a promise.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn check(&self) -> Result<(), SettingsError> {
        let least = SEND_WINDOW + self.create_deadline + Duration::from_secs(5);
        if self.create_quarantine < least {
            return Err(SettingsError::Quarantine { quarantine: self.create_quarantine, least });
        }
        if self.concurrency == 0 {
            return Err(SettingsError::Zero { flag: "--concurrency" });
        }
        if self.create_deadline.is_zero() {
            return Err(SettingsError::Zero { flag: "--create-deadline" });
        }
        Ok(())
    }
}
