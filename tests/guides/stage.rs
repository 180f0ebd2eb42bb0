//! Where a page is played: a Kubernetes API, as a rule with the chart installed by helm and the operator beside it, the
//! control plane `https://tenant.run.ai`, the chart repository that it names, and a directory to work in.
//!
//! Owns what a reader has before the first line of a page. Must not know any page.

use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, Uri};
use runai_simulator::{Config, Identity, SeedCluster, Simulator};
use serde_json::{Value, json};
use testbed::{
    OPERATOR_NAMESPACE, OperatorOptions, OperatorProcess, Options, TemporaryDirectory, Testbed, workspace_dir,
};
use tokio::process::Command;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::authority::Authority;
use crate::front::Front;
use crate::page::without_client_log;

/// Testbeds at once.
static ROOM: Semaphore = Semaphore::const_new(3);
/// The chart repository's files; made once.
static CHARTS: OnceCell<TemporaryDirectory> = OnceCell::const_new();

/// The control plane's host on the pages.
pub const HOST: &str = "tenant.run.ai";
/// Where the control plane says that the chart `runai-cluster` is.
const CHART_HOST: &str = "runai.jfrog.io";
const CHART_PATH: &str = "/artifactory/api/helm/run-ai-charts/";
/// The agent versions that are in the repository.
const VERSIONS: [&str; 2] = ["2.24.37", "2.25.9"];
/// The namespace of the objects on the pages.
pub const NAMESPACE: &str = "clusters";
/// The operator's Deployment, and its service account.
pub const DEPLOYMENT: &str = "runai-operator-runai-cluster-operator";
/// What of a checkout the pages use.
const CHECKOUT: [&str; 7] = ["Cargo.toml", "Dockerfile", "Makefile", "charts", "examples", "gitops", "image"];
/// A deadline that is never reached when all is well.
pub const SOON: Duration = Duration::from_secs(60);
/// Longer than any command of a page takes.
const LONG: Duration = Duration::from_secs(150);

/// What a page begins with.
#[derive(Clone, Copy, Default)]
pub struct Setup {
    /// `--set` arguments of the chart.
    pub chart: &'static [&'static str],
    /// Whether the control plane `default` is there, and the namespace.
    pub connected: bool,
}

pub struct Stage {
    /// The pod, or the process in the place of one.
    pub operator: Option<OperatorProcess>,
    pub simulator: Simulator,
    pub front: Front,
    pub bed: Testbed,
    /// Whom everybody trusts.
    public: Authority,
    /// The company's own ones.
    pub old: Authority,
    pub new: Authority,
    repository: JoinHandle<()>,
    directory: TemporaryDirectory,
    _room: SemaphorePermit<'static>,
}

/// Room for one testbed.
pub async fn room() -> SemaphorePermit<'static> {
    ROOM.acquire().await.unwrap()
}

impl Stage {
    /// With the chart installed, and the operator beside it.
    pub async fn start(setup: Setup) -> Self {
        let mut stage = Self::empty(Options::default()).await;
        install_chart(&stage.bed, setup.chart).await;
        stage.operator = Some(start_operator(&stage).await);
        if setup.connected {
            stage.connect().await;
        }
        stage
    }

    /// With a cluster that nobody has installed anything in.
    pub async fn empty(cluster: Options) -> Self {
        let room = room().await;
        let directory = TemporaryDirectory::create().unwrap();
        let front = Front::start().await;
        let [public, old, new] = ["Public CA", "Company CA", "Company CA 2"].map(Authority::new);
        std::fs::write(directory.path().join("public.pem"), &public.pem).unwrap();
        let simulator = simulator();
        front.lead(HOST, &public, address(simulator.url()));
        let repository = repository(&front, &public).await;
        let bed = Testbed::start(cluster).await.unwrap();
        let stage =
            Self { operator: None, simulator, front, bed, public, old, new, repository, directory, _room: room };
        stage.furnish();
        stage
    }

    /// A file or directory of the stage.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The directory that commands run in.
    pub fn work(&self) -> PathBuf {
        self.path("work")
    }

    /// The world outside: hosts by their names, and whom to trust. What a node gives to its pods.
    pub fn surroundings(&self) -> [(&'static str, OsString); 3] {
        [
            ("ALL_PROXY", self.front.url().into()),
            ("NO_PROXY", "127.0.0.1".into()),
            ("SSL_CERT_FILE", self.path("public.pem").into()),
        ]
    }

    /// Gives the control plane a certificate of another authority.
    pub fn certify(&self, authority: &Authority) {
        self.front.lead(HOST, authority, address(self.simulator.url()));
    }

    /// A program with the environment of the page's reader, and nothing of ours.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", self.path("bin").display()))
            .env("HOME", self.path("home"))
            .env("KUBECONFIG", self.path("kubeconfig"))
            .env("KUBECACHEDIR", self.path("home/kube"))
            .envs(self.surroundings())
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "Reader").env(format!("GIT_{role}_EMAIL"), "reader@example.com");
        }
        command
            .current_dir(self.work())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs a script; returns both streams in the order in which they were written. It has to succeed, every command of
    /// it.
    pub async fn run(&self, script: &str) -> String {
        self.enter(&format!("set -eo pipefail\n{script}")).await
    }

    /// The same as in a terminal: the last command of a line has to succeed.
    pub async fn enter(&self, line: &str) -> String {
        let script = format!("exec 2>&1\n{line}\n");
        let output = tokio::time::timeout(LONG, self.command("bash").args(["-c", &script]).output()).await;
        let output = output.unwrap_or_else(|_| panic!("{script}does not end\n--- operator\n{}", self.tail())).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{script}ended with {}:\n{text}--- operator\n{}", output.status, self.tail());
        without_client_log(&text)
    }

    pub async fn apply(&self, manifest: &Value) {
        self.bed.kubectl_apply(&manifest.to_string()).await.unwrap();
    }

    /// One object, or a list of them.
    pub async fn get(&self, args: &[&str]) -> Value {
        let args = [&["get", "-o", "json"], args].concat();
        serde_json::from_str(&self.bed.kubectl_ok(&args).await.unwrap()).unwrap()
    }

    /// The registration that an object of the page owns.
    pub async fn registration(&self, name: &str) -> Uuid {
        let object = self.get(&["runaicluster", name, "-n", NAMESPACE]).await;
        object["status"]["uuid"].as_str().unwrap().parse().unwrap()
    }

    /// What the operator has logged.
    pub fn log(&self) -> String {
        self.operator.as_ref().and_then(|operator| operator.logs().ok()).unwrap_or_default()
    }

    fn tail(&self) -> String {
        let logs = self.log();
        let lines: Vec<_> = logs.lines().rev().take(40).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Programs, kubeconfigs, and what else lies in the directory.
    fn furnish(&self) {
        for name in ["bin", "home", "work"] {
            std::fs::create_dir(self.path(name)).unwrap();
        }
        let binaries = self.bed.binaries();
        symlink(env!("CARGO_BIN_EXE_runai-cluster-operator"), self.path("bin/runai-cluster-operator")).unwrap();
        symlink(&binaries.kubectl, self.path("bin/kubectl")).unwrap();
        // Not for all: the operator's commands would take the proxy for Kubernetes, too.
        let helm = format!("#!/bin/sh\nHTTPS_PROXY={} exec {} \"$@\"\n", self.front.url(), binaries.helm.display());
        self.program("helm", &helm);
        for name in CHECKOUT {
            symlink(workspace_dir().join(name), self.work().join(name)).unwrap();
        }
        std::fs::write(self.work().join("old-ca.pem"), &self.old.pem).unwrap();
        std::fs::write(self.work().join("new-ca.pem"), &self.new.pem).unwrap();
        self.write_kubeconfigs();
    }

    /// Puts a script among the reader's programs.
    pub fn program(&self, name: &str, script: &str) {
        let file = self.path("bin").join(name);
        std::fs::write(&file, script).unwrap();
        std::fs::set_permissions(file, PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// The way to the cluster, and to those that are to come: contexts beside it, all of them the same server here.
    pub fn write_kubeconfigs(&self) {
        let text = std::fs::read_to_string(self.bed.kubeconfig()).unwrap();
        let mut hub: Value = serde_json::from_str(&text).unwrap();
        let context = hub["contexts"][0]["context"].clone();
        for name in ["gpu-west", "gpu-east", "gpu-north"] {
            hub["contexts"].as_array_mut().unwrap().push(json!({ "name": name, "context": context }));
            std::fs::write(self.work().join(format!("{name}.kubeconfig")), &text).unwrap();
        }
        std::fs::write(self.path("kubeconfig"), hub.to_string()).unwrap();
    }

    /// What `docs/install.md` does before the pages that build on it.
    async fn connect(&self) {
        let labels = json!({ "runai": "enabled" });
        let data = json!({
            "url": format!("https://{HOST}"), "clientID": "runai-cluster-operator", "clientSecret": "replace-me",
        });
        for object in [
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE, "labels": labels } }),
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "stringData": data,
                "metadata": { "name": "runai-connection", "namespace": OPERATOR_NAMESPACE },
            }),
            json!({
                "apiVersion": "runai-operator.io/v1alpha1", "kind": "RunaiControlPlane",
                "metadata": { "name": "default" },
                "spec": {
                    "connectionSecretRef": { "name": "runai-connection" }, "pollInterval": "5s",
                    "allowedNamespaces": { "matchLabels": labels }, "adoptionNamespaces": { "matchLabels": labels },
                },
            }),
        ] {
            self.apply(&object).await;
        }
        let wait = ["wait", "--for=condition=Ready", "--timeout=60s", "runaicontrolplane/default"];
        self.bed.kubectl_ok(&wait).await.unwrap();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.repository.abort();
    }
}

fn simulator() -> Simulator {
    let mut config = Config::default();
    config.tenants[0].identities = vec![Identity::new("runai-cluster-operator", "replace-me")];
    config.install_info.control_plane_url = Some(format!("https://{HOST}"));
    Simulator::start(config).unwrap()
}

/// A tenant that was there before the operator, with ids that stay the same.
pub fn fill(simulator: &Simulator) {
    let uuid = |digit: u8| Some(Uuid::from_bytes([digit * 0x11; 16]));
    let domain = |name: &str| Some(format!("https://{name}.example.com"));
    let east = SeedCluster { uuid: uuid(1), domain: domain("gpu-east"), ..SeedCluster::named("gpu-east").connected() };
    let west = SeedCluster { uuid: uuid(2), domain: domain("gpu-west"), ..SeedCluster::named("GPU West").connected() };
    let north = SeedCluster { uuid: uuid(3), ..SeedCluster::named("gpu-north") };
    let lab = SeedCluster { uuid: uuid(4), delete_requested_at: Some(simulator.now()), ..SeedCluster::named("lab") };
    for record in [east, west, north, lab] {
        simulator.seed(record).unwrap();
    }
    let stuck = runai_simulator::RecordPatch { stuck_delete: Some(true), ..Default::default() };
    simulator.patch(uuid(4).unwrap(), stuck).unwrap();
}

fn address(url: &str) -> std::net::SocketAddr {
    url.strip_prefix("http://").unwrap().parse().unwrap()
}

/// As a user installs it. Nothing runs its pods: the operator is a process of ours.
async fn install_chart(bed: &Testbed, settings: &[&str]) {
    let chart = workspace_dir().join("charts/runai-cluster-operator").display().to_string();
    let mut args = vec!["install", "runai-operator", &chart, "-n", OPERATOR_NAMESPACE, "--create-namespace"];
    for setting in settings {
        args.extend(["--set", setting]);
    }
    bed.helm(&args).await.unwrap().success("helm", &args).unwrap();
    let crds = ["runaiclusters.runai-operator.io", "runaicontrolplanes.runai-operator.io"];
    bed.kubectl_handle().established(&crds).await.unwrap();
}

async fn start_operator(stage: &Stage) -> OperatorProcess {
    let login = stage.bed.serviceaccount_kubeconfig(OPERATOR_NAMESPACE, DEPLOYMENT).await.unwrap();
    let binary = env!("CARGO_BIN_EXE_runai-cluster-operator");
    let mut options = OperatorOptions::new(binary, login.kubeconfig(), stage.bed.directory())
        .https_only()
        // A machine that is too busy to renew a Lease would end it.
        .arg("--leader-elect=false")
        .env("RUST_LOG", "info,runai_cluster_operator=debug");
    for (name, value) in stage.surroundings() {
        options = options.env(name, value);
    }
    let mut operator = OperatorProcess::start(&options).unwrap();
    operator.wait_ready(SOON).await.unwrap();
    operator
}

/// Serves the stand-in for the vendor's chart where the control plane says that the chart is.
async fn repository(front: &Front, authority: &Authority) -> JoinHandle<()> {
    let files = CHARTS.get_or_init(pack).await.path();
    let serve = move |uri: Uri| async move {
        let name = uri.path().strip_prefix(CHART_PATH).filter(|name| !name.contains('/'));
        let file = name.and_then(|name| std::fs::read(files.join(name)).ok());
        file.ok_or(StatusCode::NOT_FOUND)
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    front.lead(CHART_HOST, authority, listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(serve)).await.unwrap() })
}

async fn pack() -> TemporaryDirectory {
    let directory = TemporaryDirectory::create().unwrap();
    let helm = testbed::find_all().await.unwrap().helm;
    let run = async |args: &[&str]| {
        let mut command = Command::new(&helm);
        command.args(args).current_dir(directory.path()).env("HOME", directory.path());
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "helm {args:?}: {output:?}");
    };
    let chart = workspace_dir().join("tests/guides/chart").display().to_string();
    for version in VERSIONS {
        run(&["package", &chart, "--version", version]).await;
    }
    run(&["repo", "index", "."]).await;
    directory
}
