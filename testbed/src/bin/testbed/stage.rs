//! Everything that runs for `up` and `demo`: a Kubernetes API, the simulator and the operator.
//!
//! Owns how they are put together. Does not know what is shown on the stage.

use std::{path::PathBuf, process::Stdio, time::Duration};

use runai_simulator::{Config, Identity, Simulator};
use testbed::{
    Error, Kubectl, OPERATOR_NAMESPACE, OperatorOptions, OperatorProcess, Options, TemporaryDirectory, Testbed,
    workspace_dir,
};

use crate::sample;

const OPERATOR: &str = "runai-cluster-operator";
/// The operator answers `/readyz` as soon as its caches are filled.
const OPERATOR_READY: Duration = Duration::from_secs(60);

/// Where Kubernetes comes from.
pub(crate) enum Cluster {
    /// Started here and gone with us.
    Own(Box<Testbed>),
    /// The one that `KUBECONFIG` points to.
    Foreign { kubeconfig: PathBuf, logs: TemporaryDirectory },
}

/// The running parts. Dropping it ends what was started.
pub(crate) struct Stage {
    // The order of fields is the order of ending.
    pub(crate) operator: Option<OperatorProcess>,
    pub(crate) simulator: Simulator,
    pub(crate) kubectl: Kubectl,
    pub(crate) cluster: Cluster,
}

impl Stage {
    /// A testbed of its own with the project's chart.
    pub(crate) async fn own(simulator: Config) -> Result<Self, Error> {
        eprintln!("testbed: starting etcd, kube-apiserver and kube-controller-manager");
        let options = Options { controller_manager: true, audit: false, ..Options::default() };
        let bed = Testbed::start(options).await?;
        eprintln!("testbed: installing the chart's CRDs and RBAC");
        bed.install_chart(&["allowInsecureHttp=true"]).await?;
        let kubectl = bed.kubectl_handle();
        let cluster = Cluster::Own(Box::new(bed));
        Ok(Self { operator: None, simulator: start_simulator(simulator)?, kubectl, cluster })
    }

    /// The cluster of a kubeconfig, with the CRDs applied; refuses one that is in use.
    pub(crate) async fn foreign(kubeconfig: PathBuf, simulator: Config) -> Result<Self, Error> {
        let kubectl = Kubectl::new(find_kubectl().await?, &kubeconfig);
        let context = kubectl.ok(&["config", "current-context"]).await?;
        eprintln!("testbed: using context {} of {}", context.trim(), kubeconfig.display());
        let crds = workspace_dir().join("crds").display().to_string();
        kubectl.ok(&["apply", "--server-side", "--field-manager=testbed", "-f", &crds]).await?;
        kubectl.established(&["runaiclusters.runai-operator.io", "runaicontrolplanes.runai-operator.io"]).await?;
        let in_use = kubectl.ok(&["get", "runaicontrolplanes,runaiclusters", "-A", "-o", "name"]).await?;
        if !in_use.trim().is_empty() {
            return Err(Error::State(format!(
                "this cluster is in use, so the demonstration leaves it alone:\n{}",
                in_use.trim()
            )));
        }
        let cluster = Cluster::Foreign { kubeconfig, logs: TemporaryDirectory::create()? };
        Ok(Self { operator: None, simulator: start_simulator(simulator)?, kubectl, cluster })
    }

    /// Starts the operator and waits until it is ready. On a testbed of our own it logs in as the chart's service
    /// account, else with the kubeconfig as it is.
    pub(crate) async fn start_operator(&mut self, binary: PathBuf) -> Result<(), Error> {
        eprintln!("testbed: starting the operator");
        let options = match &self.cluster {
            Cluster::Own(bed) => {
                let login = bed.serviceaccount_kubeconfig(OPERATOR_NAMESPACE, &service_account(bed).await?).await?;
                OperatorOptions::new(binary, login.kubeconfig(), bed.directory())
            }
            Cluster::Foreign { kubeconfig, logs } => OperatorOptions::new(binary, kubeconfig, logs.path()),
        };
        let mut operator = OperatorProcess::start(&options)?;
        operator.wait_ready(OPERATOR_READY).await?;
        self.operator = Some(operator);
        Ok(())
    }

    /// Secret and control plane object for the simulator.
    pub(crate) async fn apply_control_plane(&self) -> Result<(), Error> {
        let identity = Identity::default();
        let url = self.simulator.url();
        let manifests = sample::control_plane(url, &identity.client_id, &identity.client_secret);
        self.kubectl.apply(&manifests).await.map(drop)
    }

    /// The error, with the end of the operator's log.
    pub(crate) fn with_log(&self, error: Error) -> Error {
        let log = self.operator.as_ref().and_then(|operator| operator.logs().ok()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(30)..].join("\n");
        if tail.is_empty() { error } else { Error::State(format!("{error}\nthe end of the operator's log:\n{tail}")) }
    }
}

/// The operator's binary: as asked for, or the one beside ours.
pub(crate) fn operator_binary(asked: Option<PathBuf>) -> Result<PathBuf, Error> {
    let beside = || {
        let own = std::env::current_exe().unwrap_or_default();
        own.with_file_name(OPERATOR)
    };
    let path = asked.unwrap_or_else(beside);
    if path.is_file() {
        Ok(path)
    } else {
        Err(Error::Missing { what: "the operator's binary (cargo build makes it)".to_owned(), path })
    }
}

async fn service_account(bed: &Testbed) -> Result<String, Error> {
    let selector =
        ["-n", OPERATOR_NAMESPACE, "get", "serviceaccounts", "-l", "app.kubernetes.io/instance", "-o", "name"];
    let names = bed.kubectl_ok(&selector).await?;
    let name = names.lines().next().and_then(|line| line.split_once('/'));
    name.map(|(_kind, name)| name.to_owned())
        .ok_or_else(|| Error::State("the chart has made no service account".to_owned()))
}

fn start_simulator(config: Config) -> Result<Simulator, Error> {
    Simulator::start(config).map_err(|error| Error::State(error.to_string()))
}

/// The user's own kubectl fits the user's cluster best; else the testbed's, which may have to be built.
async fn find_kubectl() -> Result<PathBuf, Error> {
    let mut version = tokio::process::Command::new("kubectl");
    version.args(["version", "--client"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if version.status().await.is_ok_and(|status| status.success()) {
        return Ok(PathBuf::from("kubectl"));
    }
    Ok(testbed::find_all().await?.kubectl)
}
