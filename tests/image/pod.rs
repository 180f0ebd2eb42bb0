//! The operator in the image's root file system, with what a pod gives it: reaches Kubernetes and a control plane, and
//! says clearly what is wrong when there is no CA bundle.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use runai_simulator::{Config, Simulator};
use serde_json::{Value, json};
use testbed::{OPERATOR_NAMESPACE, OperatorOptions, OperatorProcess, Options, TemporaryDirectory, Testbed, wait_until};

use crate::jail::{Jail, USER};
use crate::root::lay_out;

/// A deadline that is never reached when all is well.
const SOON: Duration = Duration::from_secs(60);
const ACCOUNT: &str = "runai-operator-runai-cluster-operator";
/// Where a pod finds its login.
const LOGIN: &str = "var/run/secrets/kubernetes.io/serviceaccount";
const CA_STORE: &str = "etc/ssl/certs/ca-certificates.crt";

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_runs_in_the_image_as_a_pod_does() {
    let directory = TemporaryDirectory::create().unwrap();
    let simulator = simulator();
    let authority = directory.path().join("authority.pem");
    std::fs::write(&authority, simulator.ca_pem().unwrap()).unwrap();
    let root = lay_out(directory.path(), &authority);
    let Some(jail) = Jail::find(&root) else { return };

    let bed = Testbed::start(Options::default()).await.unwrap();
    bed.install_chart(&[]).await.unwrap();
    mount_login(&bed, &root).await;
    connect(&bed, &simulator, &json!({})).await;

    // The control plane's certificate is signed by an authority of the image's bundle: it is in use.
    let mut operator = start(&bed, &jail, directory.path()).await;
    wait_for(&bed, &operator, "True", "").await;
    looks_like_a_pod(&operator, &jail);
    let ended = operator.sigterm_and_wait(SOON).await.unwrap();
    assert!(ended.success(), "{ended}");

    // Without it the operator lives, and says what to do.
    std::fs::remove_file(root.join(CA_STORE)).unwrap();
    let operator = start(&bed, &jail, directory.path()).await;
    let wanted = "this system has no CA certificates; name a CA bundle in `caBundleRef`";
    wait_for(&bed, &operator, "False", wanted).await;
    let log = operator.logs().unwrap();
    assert!(!log.contains("panicked"), "{log}");

    // Which helps.
    let bundle = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "ca", "namespace": OPERATOR_NAMESPACE },
        "data": { "ca.crt": simulator.ca_pem().unwrap() },
    });
    bed.kubectl_apply(&bundle.to_string()).await.unwrap();
    connect(&bed, &simulator, &json!({ "kind": "ConfigMap", "name": "ca", "key": "ca.crt" })).await;
    wait_for(&bed, &operator, "True", "").await;
}

fn simulator() -> Simulator {
    let mut config = Config::default();
    config.tls.enabled = true;
    Simulator::start(config).unwrap()
}

/// What kubelet mounts: token, authority and namespace.
async fn mount_login(bed: &Testbed, root: &Path) {
    let login = bed.serviceaccount_kubeconfig(OPERATOR_NAMESPACE, ACCOUNT).await.unwrap();
    let text = std::fs::read_to_string(login.kubeconfig()).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    let authority = config["clusters"][0]["cluster"]["certificate-authority-data"].as_str().unwrap();
    let authority = STANDARD.decode(authority).unwrap();
    let directory = root.join(LOGIN);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("token"), config["users"][0]["user"]["token"].as_str().unwrap()).unwrap();
    std::fs::write(directory.join("ca.crt"), authority).unwrap();
    std::fs::write(directory.join("namespace"), OPERATOR_NAMESPACE).unwrap();
}

async fn connect(bed: &Testbed, simulator: &Simulator, bundle: &Value) {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": { "name": "connection", "namespace": OPERATOR_NAMESPACE },
        "stringData": { "url": simulator.url(), "clientID": "operator", "clientSecret": "operator-secret" },
    });
    let mut spec = json!({ "connectionSecretRef": { "name": "connection" }, "pollInterval": "5s" });
    if bundle.as_object().is_some_and(|fields| !fields.is_empty()) {
        spec["caBundleRef"] = bundle.clone();
    }
    let plane = json!({
        "apiVersion": "runai-operator.io/v1alpha1", "kind": "RunaiControlPlane", "metadata": { "name": "default" },
        "spec": spec,
    });
    for object in [secret, plane] {
        bed.kubectl_apply(&object.to_string()).await.unwrap();
    }
}

async fn start(bed: &Testbed, jail: &Jail, directory: &Path) -> OperatorProcess {
    let url = bed.url();
    let (host, port) = url.strip_prefix("https://").unwrap().rsplit_once(':').unwrap();
    let wrapper = directory.join("operator");
    jail.wrapper(
        &wrapper,
        &[
            ("KUBERNETES_SERVICE_HOST", host.to_owned()),
            ("KUBERNETES_SERVICE_PORT", port.to_owned()),
            ("POD_NAMESPACE", OPERATOR_NAMESPACE.to_owned()),
            ("POD_NAME", "runai-operator-0".to_owned()),
        ],
    );
    let options = OperatorOptions::new(&wrapper, bed.kubeconfig(), bed.directory()).https_only();
    let mut operator = OperatorProcess::start(&options).unwrap();
    operator.wait_ready(SOON).await.unwrap();
    operator
}

/// Waits until the control plane's `Ready` has this status and says this.
async fn wait_for(bed: &Testbed, operator: &OperatorProcess, status: &str, message: &str) {
    let waited = wait_until(SOON, "the control plane", async || {
        let text = bed.kubectl_ok(&["get", "runaicontrolplane", "default", "-o", "json"]).await;
        let object: Value = serde_json::from_str(&text.map_err(|error| error.to_string())?).unwrap();
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready").cloned().unwrap_or_default();
        let said = ready["message"].as_str().unwrap_or_default();
        // A status from before a change of the spec says nothing about it.
        let current = ready["observedGeneration"] == object["metadata"]["generation"];
        if current && ready["status"] == status && said.contains(message) { Ok(()) } else { Err(ready.to_string()) }
    });
    if let Err(error) = waited.await {
        panic!("{error}\n--- operator\n{}", operator.logs().unwrap());
    }
}

/// Another root, read-only, and not the user root.
fn looks_like_a_pod(operator: &OperatorProcess, jail: &Jail) {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", operator.pid())).unwrap();
    let mounts = read("mountinfo");
    // Fields 5 and 6: where, seen from the process, and how.
    let fields = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let roots: Vec<_> = mounts.lines().map(fields).filter(|fields| fields[4] == "/").collect();
    let [root] = &roots[..] else { panic!("one root: {mounts}") };
    assert!(root[5].split(',').any(|option| option == "ro"), "{root:?}");
    if jail.is_real_user() {
        let status = read("status");
        let users = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
        assert!(users.split_whitespace().all(|user| user == USER.to_string()), "{users}");
        let rights = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
        assert_eq!(rights.trim().trim_start_matches('0'), "", "no capabilities");
    }
}
