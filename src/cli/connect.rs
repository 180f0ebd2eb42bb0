//! How commands reach a control plane: through its `RunaiControlPlane`, or with a URL and a credentials file alone.
//!
//! Owns the flags for both ways. Secrets come from the operator's namespace or from a file, never from the command
//! line. Must not know what a command does with the connection.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use kube::{Client, Config};

use crate::api::control_plane::{ConnectionSecretRef, TokenApi};
use crate::api::selector::LabelSelector;
use crate::api::{DEFAULT_CONTROL_PLANE, RunaiControlPlaneSpec, Watched};
use crate::controller::rehearsal::{Flags, Rehearsal};
use crate::controller::signer::Signer;
use crate::controller::source::{Failed, Source};
use crate::runai::{self, Limits};

use super::credentials::{self, CredentialsError};
use super::kube::{Kube, KubeArgs, KubeError};
use super::output::note;
use super::run::InsecureArgs;

/// Where the chart is installed unless somebody chose another namespace.
const OPERATOR_NAMESPACE: &str = "runai-operator";
/// The way that needs no Kubernetes.
const ALONE: &str = ", or use --url and --credentials";

/// Which control plane is meant, and how it is reached.
#[derive(Clone, Debug, Args)]
pub(super) struct ConnectArgs {
    /// Name of the RunaiControlPlane.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_CONTROL_PLANE)]
    pub(super) control_plane: String,

    #[command(flatten)]
    reach: ReachArgs,
}

/// How control planes are reached, whichever is meant.
#[derive(Clone, Debug, Args)]
pub(super) struct ReachArgs {
    #[command(flatten)]
    kube: KubeArgs,

    /// The operator's own namespace, where connection Secrets, CA bundles and its key lie.
    #[arg(
        long,
        env = "RUNAI_OPERATOR_NAMESPACE",
        value_name = "NAMESPACE",
        default_value = OPERATOR_NAMESPACE,
        help_heading = "Kubernetes"
    )]
    pub(super) operator_namespace: String,

    /// Do without Kubernetes: a file with the keys of a connection Secret (url, clientID, clientSecret) as YAML or JSON,
    /// or the Secret's own manifest.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kubeconfig", "context"], help_heading = "Without Kubernetes")]
    credentials: Option<PathBuf>,

    /// URL of the control plane, if the credentials file does not name it.
    #[arg(long, value_name = "URL", requires = "credentials", help_heading = "Without Kubernetes")]
    url: Option<String>,

    /// A file with certificate authorities to trust in addition to the system's, in PEM.
    #[arg(long, value_name = "FILE", requires = "credentials", help_heading = "Without Kubernetes")]
    ca_file: Option<PathBuf>,

    /// Which token endpoint is used.
    #[arg(
        long,
        value_name = "API",
        value_enum,
        default_value_t = TokenVersion::V1,
        requires = "credentials",
        help_heading = "Without Kubernetes"
    )]
    token_api: TokenVersion,

    #[command(flatten)]
    insecure: InsecureArgs,
}

/// `spec.tokenApi` as a flag.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum TokenVersion {
    #[value(name = "V1")]
    V1,
    #[value(name = "V2")]
    V2,
}

/// Why a control plane cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// See [`KubeError`].
    #[error(transparent)]
    Kube(#[from] KubeError),
    /// See [`CredentialsError`].
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The file of `--ca-file` cannot be read.
    #[error("--ca-file {}: {error}", .path.display())]
    Ca {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The credentials file holds something that cannot be used.
    #[error("--credentials {}: {error}", .path.display())]
    Settings {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: runai::SettingsError,
    },
    /// There is nobody to ask without Kubernetes, and the client for nobody cannot be made.
    #[error("no Kubernetes client: {0}")]
    Client(#[source] Box<kube::Error>),
}

/// What a command starts from.
pub(super) struct Opened {
    way: Way,
    /// The RunaiClusters of all namespaces; none without Kubernetes.
    pub(super) objects: Vec<Watched>,
    operator_namespace: String,
    limits: Limits,
}

/// How the control plane is reached.
pub(super) enum Way {
    /// Through its object.
    Kubernetes(Kube),
    /// With a URL and a credentials file.
    Alone(Box<runai::Settings>),
}

impl ConnectArgs {
    /// Reads what is needed whatever the command.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub(super) async fn open(&self) -> Result<Opened, ConnectError> {
        let limits = self.reach.limits(Limits::default());
        let way = self.reach.find(limits).await?;
        let objects = match &way {
            Way::Kubernetes(kube) => kube.objects().await?,
            Way::Alone(_) => Vec::new(),
        };
        Ok(Opened { way, objects, operator_namespace: self.reach.operator_namespace.clone(), limits })
    }
}

impl ReachArgs {
    /// The limits, with what the flags say.
    pub(super) const fn limits(&self, limits: Limits) -> Limits {
        Limits { allow_insecure_http: self.insecure.allow_insecure_http, ..limits }
    }

    /// The way to take; asks nobody yet.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub(super) async fn find(&self, limits: Limits) -> Result<Way, ConnectError> {
        match &self.credentials {
            Some(file) => Ok(Way::Alone(Box::new(self.settings(file, limits)?))),
            None => Ok(Way::Kubernetes(Kube::find(&self.kube, ALONE).await?)),
        }
    }

    fn settings(&self, file: &Path, limits: Limits) -> Result<runai::Settings, ConnectError> {
        let data = credentials::read(file, self.url.as_deref())?;
        let read = |path: &PathBuf| std::fs::read(path).map_err(|error| ConnectError::Ca { path: path.clone(), error });
        let ca = self.ca_file.as_ref().map(read).transpose()?;
        let token_api = match self.token_api {
            TokenVersion::V1 => runai::TokenApi::V1,
            TokenVersion::V2 => runai::TokenApi::V2,
        };
        runai::Settings::from_secret(&data, token_api, ca.as_deref(), limits)
            .map_err(|error| ConnectError::Settings { path: file.to_owned(), error })
    }
}

impl Opened {
    /// The Kubernetes cluster, if there is one.
    pub(super) const fn kube(&self) -> Option<&Kube> {
        match &self.way {
            Way::Kubernetes(kube) => Some(kube),
            Way::Alone(_) => None,
        }
    }

    /// A rehearsal over `objects`.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub(super) fn rehearse(
        &self,
        flags: Flags,
        signer: Option<Signer>,
        objects: Vec<Watched>,
    ) -> Result<Rehearsal, ConnectError> {
        let client = match &self.way {
            Way::Kubernetes(kube) => kube.client.clone(),
            Way::Alone(_) => nobody()?,
        };
        Ok(Rehearsal::new(client, flags, signer, objects))
    }

    /// The operator's key. Says on standard error whether annotations are checked with it or taken for genuine.
    pub(super) async fn signer(&self) -> Option<Signer> {
        let kube = self.kube()?;
        match kube.signer(&self.operator_namespace).await {
            Ok(Some(signer)) => {
                note("the operator's annotations are checked with its key");
                Some(signer)
            }
            Ok(None) => {
                note(&format!(
                    "the operator has no key in namespace {} yet (see --operator-namespace): its annotations count as genuine",
                    self.operator_namespace
                ));
                None
            }
            Err(error) => {
                note(&format!("the operator's annotations count as genuine, since its key cannot be read: {error}"));
                None
            }
        }
    }

    /// Makes the control plane `name` known to the rehearsal, if there is one.
    ///
    /// # Errors
    /// When Kubernetes cannot be asked for it. What is wrong with the control plane itself is told by what asks it.
    pub(super) async fn connect(&self, rehearsal: &Rehearsal, name: &str) -> Result<(), ConnectError> {
        let kube = match &self.way {
            Way::Kubernetes(kube) => kube,
            Way::Alone(settings) => {
                rehearsal.connect(name, Some(open_to_all()), Ok(settings.as_ref().clone()));
                return Ok(());
            }
        };
        let Some(object) = kube.control_plane(name).await? else { return Ok(()) };
        match object.spec() {
            Ok(spec) => {
                let source = Source { client: &kube.client, namespace: &self.operator_namespace, limits: self.limits };
                rehearsal.connect(name, Some(spec.clone()), source.settings(spec).await);
            }
            Err(error) => rehearsal.connect(name, None, Err(Failed::stalled(error.to_string()))),
        }
        Ok(())
    }

    /// Makes the labels of these namespaces known to the rehearsal, if they matter.
    ///
    /// # Errors
    /// When they cannot be read: what depends on them would be wrong.
    pub(super) async fn label(
        &self,
        rehearsal: &Rehearsal,
        namespaces: impl IntoIterator<Item = &str>,
    ) -> Result<(), ConnectError> {
        let Some(kube) = self.kube().filter(|_| rehearsal.needs_labels()) else { return Ok(()) };
        for namespace in namespaces {
            match kube.labels(namespace).await? {
                Some(labels) => rehearsal.label(namespace, labels),
                None => note(&format!("namespace {namespace} does not exist yet: it counts as one without labels")),
            }
        }
        Ok(())
    }
}

/// A control plane that nobody has restricted: without Kubernetes there is no object that would.
fn open_to_all() -> RunaiControlPlaneSpec {
    RunaiControlPlaneSpec {
        connection_secret_ref: ConnectionSecretRef { name: "none".to_owned() },
        token_api: TokenApi::V1,
        ca_bundle_ref: None,
        allowed_namespaces: None,
        adoption_namespaces: Some(LabelSelector::default()),
        poll_interval: crate::api::control_plane::DEFAULT_POLL_INTERVAL.to_owned(),
        liveness_granularity: crate::api::control_plane::DEFAULT_LIVENESS_GRANULARITY.to_owned(),
        max_deletions_per_minute: crate::api::control_plane::DEFAULT_MAX_DELETIONS,
        cluster_metrics: None,
    }
}

/// A client for where no Kubernetes is. Nothing asks it; a name that never resolves (RFC 6761) would be the answer.
fn nobody() -> Result<Client, ConnectError> {
    let config = Config::new(http::Uri::from_static("http://kubernetes.invalid"));
    Client::try_from(config).map_err(|error| ConnectError::Client(Box::new(error)))
}
