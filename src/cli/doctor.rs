//! `doctor`: what is wrong between Kubernetes, the operator and its control planes, and what to do about it.
//!
//! Owns the flags, the order of the checks and how the report is shown. Each check is in a module of its own; they ask
//! through the controller's and the client's own code, so that what works here works there.

mod cluster;
mod definitions;
mod plane;
mod report;

use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use crate::api::{DEFAULT_CONTROL_PLANE, WatchedControlPlane};
use crate::controller::rights::{Account, Namespaces};
use crate::controller::source::Source;
use crate::runai::Limits;

use super::CliError;
use super::connect::{ConnectError, ReachArgs, Way};
use super::kube::Kube;
use super::output::{self, Format, note};
use cluster::KUBERNETES;
use report::{Check, Report};

/// Flags of `doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Check only the RunaiControlPlane of this name. Default: all.
    #[arg(long, value_name = "NAME")]
    control_plane: Option<String>,

    /// Check the rights of this ServiceAccount, the operator's own, as NAME (in the operator's namespace) or NAMESPACE/NAME.
    /// Default: the rights of whoever asks.
    #[arg(long = "as", value_name = "SERVICEACCOUNT", conflicts_with = "credentials", help_heading = "Kubernetes")]
    account: Option<AccountName>,

    /// Namespaces that the operator is limited to, separated by commas, as `run` is told: its rights on RunaiClusters are
    /// looked for there. Default: everywhere.
    #[arg(
        long,
        env = "RUNAI_OPERATOR_WATCH_NAMESPACES",
        value_delimiter = ',',
        value_name = "NAMESPACE,..",
        help_heading = "Kubernetes"
    )]
    watch_namespaces: Vec<String>,

    #[command(flatten)]
    reach: ReachArgs,

    /// How the report is written.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// A ServiceAccount as people write it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AccountName {
    namespace: Option<String>,
    name: String,
}

impl FromStr for AccountName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let short = text.strip_prefix("system:serviceaccount:");
        let (namespace, name) = match short {
            Some(rest) => rest.split_once(':').map(|(namespace, name)| (Some(namespace), name)),
            None => Some(text.split_once('/').map_or((None, text), |(namespace, name)| (Some(namespace), name))),
        }
        .ok_or("must be NAME, NAMESPACE/NAME or system:serviceaccount:NAMESPACE:NAME")?;
        let is_name = |part: &str| !part.is_empty() && !part.contains(['/', ':']);
        if !is_name(name) || namespace.is_some_and(|namespace| !is_name(namespace)) {
            return Err("must be NAME, NAMESPACE/NAME or system:serviceaccount:NAMESPACE:NAME");
        }
        Ok(Self { namespace: namespace.map(str::to_owned), name: name.to_owned() })
    }
}

/// Who waits for a diagnosis waits less long than a controller.
const PATIENCE: Limits = Limits {
    allow_insecure_http: false,
    connect_timeout: Duration::from_secs(5),
    read_deadline: Duration::from_secs(10),
    list_deadline: Duration::from_secs(30),
    create_deadline: Duration::from_secs(10),
};

pub(super) async fn execute(args: DoctorArgs) -> Result<ExitCode, CliError> {
    let report = examine(&args).await;
    output::data(&match args.output {
        Format::Table => {
            note(&report.summary());
            report.table()
        }
        Format::Json => output::json(&report)?,
        Format::Yaml => output::yaml(&report)?,
    })?;
    Ok(ExitCode::from(report.exit_code()))
}

async fn examine(args: &DoctorArgs) -> Report {
    let mut report = Report::default();
    let limits = args.reach.limits(PATIENCE);
    let name = args.control_plane.as_deref();
    match args.reach.find(limits).await {
        Ok(Way::Kubernetes(kube)) => {
            let namespace = args.reach.operator_namespace.as_str();
            let account = args.account.as_ref().map(|account| Account {
                namespace: account.namespace.clone().unwrap_or_else(|| namespace.to_owned()),
                name: account.name.clone(),
            });
            let watched: Vec<_> = args.watch_namespaces.iter().filter(|name| !name.is_empty()).cloned().collect();
            let namespaces = Namespaces { own: namespace, watched: &watched };
            if cluster::check(&mut report, &kube, namespaces, account.as_ref()).await {
                let source = Source { client: &kube.client, namespace, limits };
                planes(&mut report, &kube, &source, name).await;
            }
        }
        Ok(Way::Alone(settings)) => {
            report.skipped(KUBERNETES, Check::Access, "left out: with --credentials Kubernetes is not asked");
            let origin = settings.origin();
            let found = format!("{origin}, with the credentials of the file");
            plane::check(&mut report, name.unwrap_or(DEFAULT_CONTROL_PLANE), true, Ok((*settings, found))).await;
        }
        Err(ConnectError::Kube(error)) => {
            report.failed(KUBERNETES, Check::Access, &error.to_string(), "correct the kubeconfig");
            cluster::skip(&mut report, Check::AFTER_ACCESS);
        }
        Err(
            error @ (ConnectError::Credentials(_)
            | ConnectError::Ca { .. }
            | ConnectError::Settings { .. }
            | ConnectError::Client(_)),
        ) => {
            report.skipped(KUBERNETES, Check::Access, "left out: with --credentials Kubernetes is not asked");
            plane::check(&mut report, name.unwrap_or(DEFAULT_CONTROL_PLANE), true, Err(error.to_string())).await;
        }
    }
    report
}

/// Checks one control plane, or all.
async fn planes(report: &mut Report, kube: &Kube, source: &Source<'_>, only: Option<&str>) {
    let objects = match only {
        Some(name) => kube.control_plane(name).await.map(|object| object.into_iter().collect()),
        None => kube.control_planes().await,
    };
    let objects: Vec<WatchedControlPlane> = match objects {
        Ok(objects) => objects,
        Err(error) => {
            let advice = "install the CRDs, and let this user list and get RunaiControlPlanes";
            return report.failed(KUBERNETES, Check::ControlPlanes, &error.to_string(), advice);
        }
    };
    match (objects.len(), only) {
        (0, Some(name)) => report.problem(
            KUBERNETES,
            Check::ControlPlanes,
            format!("there is no RunaiControlPlane {name:?}"),
            "create it, or correct --control-plane",
        ),
        (0, None) => report.warning(
            KUBERNETES,
            Check::ControlPlanes,
            "there is no RunaiControlPlane",
            "create a Secret with url, clientID and clientSecret in the operator's namespace and a RunaiControlPlane that names it",
        ),
        (count, _) => report.ok(KUBERNETES, Check::ControlPlanes, output::count(count, "RunaiControlPlane")),
    }
    for object in &objects {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let found = match object.spec() {
            Ok(spec) => match source.settings(spec).await {
                Ok(settings) => {
                    let secret = &spec.connection_secret_ref.name;
                    let text = format!("{}, with Secret {}/{secret}", settings.origin(), source.namespace);
                    Ok((settings, text))
                }
                Err(failed) => Err(failed.problem.message),
            },
            Err(error) => Err(error.to_string()),
        };
        plane::check(report, name, false, found).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_service_account_is_read_as_people_write_it() {
        let account =
            |namespace: Option<&str>| AccountName { namespace: namespace.map(str::to_owned), name: "a".to_owned() };
        assert_eq!("a".parse(), Ok(account(None)));
        assert_eq!("n/a".parse(), Ok(account(Some("n"))));
        assert_eq!("system:serviceaccount:n:a".parse(), Ok(account(Some("n"))));
        for bad in ["", "/", "n/", "/a", "n/a/b", "system:serviceaccount:a", "system:node:a"] {
            assert!(bad.parse::<AccountName>().is_err(), "{bad}");
        }
    }
}
