//! Errors of the testbed. Owns their wording; knows no process and no API.

use std::{fmt, path::PathBuf, time::Duration};

/// Why the testbed cannot go on. `Debug` prints the same text as `Display`, so that `unwrap` in a test is readable.
#[derive(thiserror::Error)]
pub enum Error {
    /// A file or directory operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// `go` is not installed, and a binary has to be built.
    #[error(
        "go is needed to build {missing}, and it is not on PATH: install Go {wanted} or newer, or set KUBEBUILDER_ASSETS \
         to a directory with kube-apiserver, etcd and kubectl"
    )]
    GoMissing {
        /// The binaries that are not there.
        missing: String,
        /// The version that go.mod asks for.
        wanted: String,
    },
    /// `go` is there but cannot use the module.
    #[error("{found} cannot build the Kubernetes binaries, Go {wanted} or newer is needed: {detail}")]
    GoTooOld {
        /// What `go env GOVERSION` says.
        found: String,
        /// The version that go.mod asks for.
        wanted: String,
        /// What go says itself.
        detail: String,
    },
    /// A `go build` failed.
    #[error("building {name} failed ({status}):\n{tail}")]
    Build {
        /// The binary.
        name: String,
        /// How go ended.
        status: String,
        /// The end of its output.
        tail: String,
    },
    /// A child ended although it should run.
    #[error("{name} ended too early ({status}); the end of its log:\n{tail}")]
    Ended {
        /// The child.
        name: String,
        /// Its exit status.
        status: String,
        /// The end of its log.
        tail: String,
    },
    /// Something did not come true in time.
    #[error("waited {waited:.1?} in vain for {what}; last state: {last}")]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
        /// What the last look saw.
        last: String,
    },
    /// kubectl or helm ended with an error.
    #[error("{command} failed ({status}): {stderr}")]
    Command {
        /// The command line.
        command: String,
        /// The exit status.
        status: String,
        /// What it wrote on stderr.
        stderr: String,
    },
    /// The Kubernetes client failed.
    #[error("Kubernetes client: {0}")]
    Kube(String),
    /// Certificates could not be made.
    #[error("certificates: {0}")]
    Pki(#[from] rcgen::Error),
    /// A document could not be read.
    #[error("{what} cannot be read: {detail}")]
    Parse {
        /// Which document.
        what: String,
        /// Why.
        detail: String,
    },
    /// A file that must exist does not.
    #[error("{what} is not there: {}", path.display())]
    Missing {
        /// What it would be.
        what: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// An HTTP request to the operator failed.
    #[error("GET {url}: {detail}")]
    Http {
        /// The address.
        url: String,
        /// What went wrong.
        detail: String,
    },
    /// The step does not fit the state of the testbed, such as starting what runs.
    #[error("{0}")]
    State(String),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error {
    /// For `map_err` on file operations.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Kube(format!("{error:?}"))
    }
}
