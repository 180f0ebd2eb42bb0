//! The world of all rounds: etcd, API server, the proxy before it, the control plane over TLS, and operator processes.
//!
//! Owns starting, ending and repairing them. Must not know schedules or what is right.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions,
};
use kube::core::GroupVersionKind;
use runai_simulator::{Config, DisconnectedPolicy, Identity, Simulator, Tenant};
use serde_json::{Value, json};
use testbed::{Login, OPERATOR_NAMESPACE, OperatorOptions, OperatorProcess, Options, Proxy, Testbed, wait_until};

/// Where the objects live.
pub const NAMESPACE: &str = "chaos";
/// The shortest doubt that the operator accepts.
const DOUBT: [&str; 2] = ["--create-deadline=1s", "--create-quarantine=11s"];
/// A deadline that is never reached when all is well, on a machine that has much else to do.
pub const LONG: Duration = Duration::from_secs(120);
/// The credentials that take turns: client id and secret.
pub const CREDENTIALS: [(&str, &str); 2] =
    [("chaos-a", "canary-client-secret-a"), ("chaos-b", "canary-client-secret-b")];
const GROUP: &str = "runai-operator.io";

pub struct Arena {
    pub first: Option<OperatorProcess>,
    pub second: Option<OperatorProcess>,
    pub simulator: Simulator,
    pub proxy: Proxy,
    pub bed: Testbed,
    /// The CRD documents as the chart has them.
    pub crds: Vec<Value>,
    /// Which of [`CREDENTIALS`] are in the Secret.
    pub credentials: usize,
    /// Base URL of a server that nobody must ask, and how often somebody did.
    pub elsewhere: (String, Arc<AtomicU64>),
    /// How much of each log has been read.
    pub logs: HashMap<PathBuf, usize>,
    /// When each process was started, in the simulator's milliseconds.
    pub started: Vec<u64>,
    client: kube::Client,
    login: Login,
    birth: std::time::Instant,
}

impl Arena {
    pub async fn start() -> Self {
        let bed = Testbed::start(Options { audit: false, ..Options::default() }).await.unwrap();
        let documents = bed.install_chart(&["installInfo.enabled=true"]).await.unwrap();
        let crds = documents.into_iter().filter(|one| one["kind"] == "CustomResourceDefinition").collect();
        let birth = std::time::Instant::now();
        let simulator = Simulator::start(config()).unwrap();
        let upstream: SocketAddr = bed.url().trim_start_matches("https://").parse().unwrap();
        let proxy = Proxy::start(upstream).await.unwrap();
        let login = behind(&proxy, &bed).await;
        let client = bed.client().await.unwrap();
        let mut arena = Self {
            first: None,
            second: None,
            simulator,
            proxy,
            crds,
            credentials: 0,
            elsewhere: elsewhere().await,
            logs: HashMap::new(),
            started: Vec::new(),
            client,
            login,
            birth,
            bed,
        };
        arena.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } })).await;
        arena.write_authority().await;
        arena.write_credentials().await;
        arena.apply(&control_plane()).await;
        arena.first = Some(arena.operator());
        arena
    }

    // ---- processes ----

    /// Another operator process, behind the proxy.
    pub fn operator(&mut self) -> OperatorProcess {
        self.started.push(self.now_ms());
        // Another binary, to see that the oracle notices what is wrong with it.
        let binary = std::env::var("CHAOS_OPERATOR");
        let binary = binary.unwrap_or_else(|_| env!("CARGO_BIN_EXE_runai-cluster-operator").to_owned());
        let mut options = OperatorOptions::new(binary, self.login.kubeconfig(), self.bed.directory()).https_only();
        for arg in DOUBT.into_iter().chain(["--leader-elect=false"]) {
            options = options.arg(arg);
        }
        OperatorProcess::start(&options.env("RUST_LOG", "info,runai_cluster_operator=trace")).unwrap()
    }

    /// Milliseconds as the journal counts them, or a little more.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.birth.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    // ---- Kubernetes ----

    pub async fn apply(&self, manifest: &Value) {
        self.bed.kubectl_apply(&manifest.to_string()).await.unwrap();
    }

    pub fn clusters(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(GROUP, "v1alpha1", "RunaiCluster");
        Api::namespaced_with(self.client.clone(), NAMESPACE, &ApiResource::from_gvk(&kind))
    }

    fn published(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// All Secrets beside them.
    pub async fn secrets(&self) -> Vec<Secret> {
        let api = self.published();
        retry("list Secrets", async || api.list(&ListParams::default()).await).await.unwrap().items
    }

    /// Nobody collects here what belonged to objects that have gone.
    pub async fn forget_secrets(&self) {
        let api = self.published();
        let all = ListParams::default();
        let deleted = async || api.delete_collection(&DeleteParams::default(), &all).await.map(drop);
        retry("delete Secrets", deleted).await.unwrap();
    }

    fn events(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("events.k8s.io", "v1", "Event");
        Api::namespaced_with(self.client.clone(), NAMESPACE, &ApiResource::from_gvk(&kind))
    }

    /// All objects; tries on while the API server is away.
    pub async fn objects(&self) -> Vec<Value> {
        let api = self.clusters();
        retry("list objects", async || api.list(&ListParams::default()).await).await.map(values).unwrap()
    }

    /// All Events about them.
    pub async fn told(&self) -> Vec<Value> {
        let api = self.events();
        retry("list Events", async || api.list(&ListParams::default()).await).await.map(values).unwrap()
    }

    /// Makes an object; `None` while another one of that name is there.
    pub async fn create(&self, object: &Value) -> Option<Value> {
        let api = self.clusters();
        let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
        let made = retry("create", async || api.create(&PostParams::default(), &object).await).await;
        match made {
            Ok(made) => Some(serde_json::to_value(made).unwrap()),
            Err(kube::Error::Api(status)) if status.code == 409 => None,
            Err(error) => panic!("create: {error}"),
        }
    }

    /// A merge patch of an object; `None` when it is gone, or has changed since the version in the patch.
    pub async fn patch(&self, name: &str, patch: &Value) -> Option<Value> {
        let api = self.clusters();
        let params = PatchParams { field_manager: Some("rival".to_owned()), ..PatchParams::default() };
        let patched = retry("patch", async || api.patch(name, &params, &Patch::Merge(patch)).await).await;
        match patched {
            Ok(object) => Some(serde_json::to_value(object).unwrap()),
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => None,
            Err(error) => panic!("patch {name}: {error}"),
        }
    }

    /// Asks for an object's deletion, as it is seen: a finalizer that is written at the same moment is not to be lost,
    /// which the API server itself does not see to.
    pub async fn delete(&self, name: &str) {
        let api = self.clusters();
        let delete = async || {
            let Some(seen) = api.get_opt(name).await? else { return Ok(()) };
            let condition = Preconditions { resource_version: seen.metadata.resource_version, uid: None };
            api.delete(name, &DeleteParams::default().preconditions(condition)).await.map(drop)
        };
        loop {
            match retry("delete", delete).await {
                Ok(()) => return,
                Err(kube::Error::Api(status)) if status.code == 404 => return,
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => panic!("delete {name}: {error}"),
            }
        }
    }

    pub async fn forget_events(&self) {
        let api = self.events();
        let all = ListParams::default();
        let deleted = async || api.delete_collection(&DeleteParams::default(), &all).await.map(drop);
        retry("delete Events", deleted).await.unwrap();
    }

    /// The control plane's certificate authority, as its users know it.
    pub async fn write_authority(&self) {
        let data = json!({ "ca.crt": self.simulator.ca_pem().unwrap() });
        self.apply(&json!({ "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "authority", "namespace": OPERATOR_NAMESPACE }, "data": data }))
            .await;
    }

    pub async fn write_credentials(&self) {
        let (id, secret) = CREDENTIALS[self.credentials];
        let data = json!({ "url": self.simulator.url(), "clientID": id, "clientSecret": secret });
        self.apply(&json!({ "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": { "name": "connection", "namespace": OPERATOR_NAMESPACE }, "stringData": data }))
            .await;
    }

    /// Applies the CRDs with another description.
    pub async fn upgrade_crds(&self, note: &str) {
        let mut crds = self.crds.clone();
        for crd in &mut crds {
            let described = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"];
            *described = json!(format!("{} ({note})", described.as_str().unwrap_or_default()));
        }
        self.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": crds })).await;
    }

    // ---- what processes wrote ----

    /// What all operator processes have logged since the last call.
    pub fn new_log(&mut self) -> String {
        let mut text = String::new();
        for file in self.log_files() {
            let bytes = std::fs::read(&file).unwrap_or_default();
            let read = self.logs.entry(file).or_default();
            text.push_str(&String::from_utf8_lossy(&bytes[*read..]));
            *read = bytes.len();
        }
        text
    }

    fn log_files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.bed.directory()).unwrap().map(|entry| entry.unwrap().path());
        let is_log =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("operator-"));
        entries.filter(is_log).collect()
    }

    /// Keeps the schedule, the journal and the logs of a round that went wrong.
    pub fn keep_evidence(&self, seed: u64, details: &str) {
        let directory = testbed::workspace_dir().join(format!("target/chaos/{seed}"));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("round.txt"), details).unwrap();
        for file in self.log_files() {
            std::fs::copy(&file, directory.join(file.file_name().unwrap())).unwrap();
        }
        println!("  evidence in {}", directory.display());
    }

    /// A violation left the world in an unknown state: everything goes, whoever held it.
    pub async fn scrub(&mut self) {
        drop((self.first.take(), self.second.take()));
        for object in self.objects().await {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            self.delete(&name).await;
            self.patch(&name, &json!({ "metadata": { "finalizers": null } })).await;
        }
        self.simulator.reset();
        self.first = Some(self.operator());
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.tls.enabled = true;
    config.agent.heartbeat_seconds = 0.3;
    config.agent.stale_seconds = 1.0;
    config.delete.graceful_seconds = 0.4;
    config.delete.disconnected_policy = DisconnectedPolicy::Complete;
    let identities = CREDENTIALS.map(|(id, secret)| Identity::new(id, secret)).to_vec();
    config.tenants = vec![Tenant { identities, ..Tenant::default() }];
    config
}

fn control_plane() -> Value {
    json!({ "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "RunaiControlPlane", "metadata": { "name": "default" },
        "spec": {
            "connectionSecretRef": { "name": "connection" },
            "caBundleRef": { "kind": "ConfigMap", "name": "authority", "key": "ca.crt" },
            "pollInterval": "5s", "adoptionNamespaces": {}, "maxDeletionsPerMinute": 10_000,
        } })
}

/// The operator's login, by way of the proxy.
async fn behind(proxy: &Proxy, bed: &Testbed) -> Login {
    let direct =
        bed.serviceaccount_kubeconfig(OPERATOR_NAMESPACE, "runai-operator-runai-cluster-operator").await.unwrap();
    let text = std::fs::read_to_string(direct.kubeconfig()).unwrap();
    let file = bed.directory().join("proxy.kubeconfig");
    std::fs::write(&file, text.replace(&bed.url(), &format!("https://{}", proxy.address()))).unwrap();
    Login::new(file)
}

/// A place to which redirects lead. Whoever connects gives credentials away.
async fn elsewhere() -> (String, Arc<AtomicU64>) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicU64::new(0));
    let visits = Arc::clone(&count);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            visits.fetch_add(1, Ordering::Relaxed);
        }
    });
    (url, count)
}

/// Tries on for as long as the API server is away or not itself.
async fn retry<T>(what: &str, mut request: impl AsyncFnMut() -> kube::Result<T>) -> kube::Result<T> {
    let definite =
        |error: &kube::Error| matches!(error, kube::Error::Api(status) if matches!(status.code, 404 | 409 | 422));
    let done = wait_until(LONG, what, async || match request().await {
        Err(error) if !definite(&error) => Err(error),
        done => Ok(done),
    });
    done.await.unwrap()
}

fn values(list: kube::core::ObjectList<DynamicObject>) -> Vec<Value> {
    list.items.into_iter().map(|item| serde_json::to_value(item).unwrap()).collect()
}
