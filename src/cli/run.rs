//! `run`: from flags and environment to settings.
//!
//! Owns the flags of the controller. Every flag has an environment variable `RUNAI_OPERATOR_*`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tracing::{error, info};

use super::CliError;
use crate::api::duration;
use crate::controller::settings::Settings;
use crate::domain::DeletionPolicy;
use crate::telemetry::logs::{self, Lines, LogError, LogFormat};
use crate::telemetry::traces::Traces;

/// Flags of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The operator's own namespace: connection Secrets, CA bundles, identity key and Lease lie there. Default: that of
    /// the kubeconfig or of the pod.
    #[arg(long, env = "RUNAI_OPERATOR_NAMESPACE", value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// Namespaces of the RunaiClusters to work on, separated by commas. Default: all.
    #[arg(long, env = "RUNAI_OPERATOR_WATCH_NAMESPACES", value_delimiter = ',', value_name = "NAMESPACE,..")]
    watch_namespaces: Vec<String>,

    /// Let a Lease decide which replica works. Turn it off only where a second process cannot exist.
    #[arg(
        long,
        env = "RUNAI_OPERATOR_LEADER_ELECT",
        value_name = "BOOL",
        default_value_t = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set
    )]
    leader_elect: bool,

    /// Address of /metrics.
    #[arg(long, env = "RUNAI_OPERATOR_METRICS_BIND", value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8080")]
    metrics_bind: SocketAddr,

    /// Address of /livez and /readyz.
    #[arg(long, env = "RUNAI_OPERATOR_HEALTH_BIND", value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8081")]
    health_bind: SocketAddr,

    /// How log lines are written. What is logged: RUST_LOG, for example `info,runai_cluster_operator=debug`.
    #[arg(long, env = "RUNAI_OPERATOR_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,

    #[command(flatten)]
    insecure: InsecureArgs,

    /// Most objects of one control plane worked on at once.
    #[arg(long, env = "RUNAI_OPERATOR_CONCURRENCY", value_name = "N", default_value_t = 128)]
    concurrency: u16,

    /// What happens to a registration that the operator made when its object is deleted and does not say. Adopted
    /// registrations stay unless their object says otherwise.
    #[arg(long, env = "RUNAI_OPERATOR_DEFAULT_DELETION_POLICY", value_enum, default_value_t = Policy::Delete)]
    default_deletion_policy: Policy,

    /// How long to wait, after a create whose answer was lost, before it counts as never committed. The promise "one
    /// registration per object" holds as long as the control plane commits every create within this time, or keeps
    /// names unique.
    #[arg(long, env = "RUNAI_OPERATOR_CREATE_QUARANTINE", value_name = "DURATION", default_value = "2m", value_parser = period)]
    create_quarantine: Duration,

    /// How long one create may take in total. The quarantine must be at least 10 s longer.
    #[arg(long, env = "RUNAI_OPERATOR_CREATE_DEADLINE", value_name = "DURATION", default_value = "20s", value_parser = period)]
    create_deadline: Duration,

    /// A file with a RunaiControlPlane to apply at start. The chart uses it, since Helm cannot create an object of a kind
    /// that the same release brings.
    #[arg(long, env = "RUNAI_OPERATOR_DEFAULT_CONTROL_PLANE", value_name = "FILE")]
    default_control_plane: Option<PathBuf>,
}

/// What every command that reaches control planes takes.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct InsecureArgs {
    /// Accept control planes at `http://`. The credentials then cross the network in the clear.
    #[arg(
        long,
        env = "RUNAI_OPERATOR_ALLOW_INSECURE_HTTP",
        value_name = "BOOL",
        default_value_t = false,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set
    )]
    pub(super) allow_insecure_http: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub(super) enum Policy {
    Delete,
    Orphan,
}

/// What stands in the way of starting.
#[derive(Debug, thiserror::Error)]
pub enum ArgsError {
    /// Neither in a pod nor with a kubeconfig.
    #[error("no way to a Kubernetes API: {0}; set KUBECONFIG, or run in a pod with a service account")]
    NoCluster(#[source] Box<kube::config::InferConfigError>),
    /// See [`LogError`].
    #[error(transparent)]
    Log(#[from] LogError),
}

pub(super) fn period(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

/// Two workers are enough: the work is waiting. More threads only cost memory.
const WORKERS: usize = 2;

/// What goes wrong is the last line of the log where machines read it, and the caller's to tell where people do.
pub(super) fn execute(args: RunArgs) -> Result<ExitCode, CliError> {
    let (traces, problem) = match Traces::from_env() {
        Ok(traces) => (traces, None),
        Err(problem) => (Traces::default(), Some(problem)),
    };
    let lines = logs::init(args.log_format, &traces).map_err(ArgsError::Log)?;
    if let Some(problem) = problem {
        error!("{problem}");
    }
    let result = operate(args);
    traces.end();
    match (result, lines) {
        (Ok(()), _) => Ok(ExitCode::SUCCESS),
        (Err(error), Lines::Text { .. }) => Err(error),
        (Err(error), Lines::Json) => {
            logs::end(&error);
            Ok(ExitCode::FAILURE)
        }
    }
}

fn operate(args: RunArgs) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let result = runtime.block_on(async {
        let mut config = kube::Config::infer().await.map_err(|error| ArgsError::NoCluster(Box::new(error)))?;
        super::kube::reach_directly(&mut config);
        let settings = settings(args, &config.default_namespace);
        info!(version = env!("CARGO_PKG_VERSION"), namespace = settings.namespace, "starting");
        Ok(crate::controller::run(settings, config).await?)
    });
    // Requests that hang must not hold the end up.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

fn settings(args: RunArgs, default_namespace: &str) -> Settings {
    let RunArgs {
        namespace,
        watch_namespaces,
        leader_elect,
        metrics_bind,
        health_bind,
        log_format: _,
        insecure,
        concurrency,
        default_deletion_policy,
        create_quarantine,
        create_deadline,
        default_control_plane,
    } = args;
    Settings {
        namespace: namespace.or_else(pod_namespace).unwrap_or_else(|| default_namespace.to_owned()),
        watch_namespaces: watch_namespaces.into_iter().filter(|namespace| !namespace.is_empty()).collect(),
        leader_elect,
        metrics_bind,
        health_bind,
        allow_insecure_http: insecure.allow_insecure_http,
        concurrency,
        default_deletion: Some(match default_deletion_policy {
            Policy::Delete => DeletionPolicy::Delete,
            Policy::Orphan => DeletionPolicy::Orphan,
        }),
        create_quarantine,
        create_deadline,
        default_control_plane,
    }
}

fn pod_namespace() -> Option<String> {
    std::env::var("POD_NAMESPACE").ok().filter(|namespace| !namespace.is_empty())
}
