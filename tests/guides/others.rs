//! What others do while a page is read: people in Run:ai, agents, and the tools that the page hands credentials to.
//!
//! The tools do not run here. Each is played as far as the page relies on it: what its own objects say, which the API
//! server has accepted by the schemas of `kinds.rs`, it does with the real Secrets and with `helm template`; and an agent
//! that has the wrong secret stays unheard by the control plane. Must not know the pages' commands.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use runai_simulator::{AgentCommand, FaultAction, Identity, Operation, Phase, RecordPatch, Simulator};
use serde_json::{Value, json};
use testbed::OPERATOR_NAMESPACE;

use crate::cluster;
use crate::stage::{HOST, NAMESPACE, Stage};

/// The repository that the control plane names.
const CHARTS: &str = "https://runai.jfrog.io/artifactory/api/helm/run-ai-charts";
/// A deadline that is never reached when all is well.
const PATIENCE: Duration = Duration::from_secs(60);
/// More than an agent may be silent for.
const SILENCE: Duration = Duration::from_secs(150);

/// Whom External Secrets comes as into the cluster that it writes to.
const PUSHER: &str = "system:serviceaccount:runai:external-secrets";

/// The service account that comes after the first.
const SECOND: &str = "runai-cluster-operator-2";

/// What a remark of a page says that somebody does.
pub async fn act(stage: &mut Stage, deed: &str) {
    match deed {
        "Flux runs" => flux(stage).await,
        "External Secrets runs" => external_secrets(stage).await,
        "Argo CD runs" => argo_cd(stage).await,
        "the agent of gpu-north starts" => {
            let found = ["configmap", "secret"].map(|kind| [kind, "runai-agent", "-n", "runai"]);
            agent(stage, &[stage.get(&found[0]).await, stage.get(&found[1]).await]).await;
        }
        "a second service account is made in Run:ai" => {
            let second = Identity::new(SECOND, "the-second-secret");
            stage.simulator.configure(|config| config.tenants[0].identities.push(second));
        }
        "the first service account is removed" => first_account_goes(stage).await,
        "Run:ai gives the service account another secret" => {
            let refused = stage.simulator.journal().into_iter().find(|entry| entry.status >= Some(400));
            assert_eq!(refused, None, "there was to be no gap");
            let identity = Identity::new(SECOND, "the-new-secret");
            stage.simulator.configure(|config| config.tenants[0].identities = vec![identity]);
            stage.simulator.apply(&FaultAction::TokenRevoke { identity: None, phase: Phase::Pre });
        }
        "Run:ai gives gpu-west another client secret" => {
            let secret = Some("another-client-secret-of-gpu-west".to_owned());
            let patch = RecordPatch { client_secret: secret, ..RecordPatch::default() };
            stage.simulator.patch(stage.registration("gpu-west").await, patch).unwrap();
            stage.simulator.advance(SILENCE);
        }
        "the control plane moves behind the company's authority" => company_authority(stage).await,
        "the control plane gets a certificate of the new authority" => {
            lists(stage, 2).await;
            stage.certify(&stage.new);
        }
        other => assert!(cluster::act(stage, other).await, "nobody knows how to do this: {other}"),
    }
}

/// Once the operator uses the second one, as the page says.
async fn first_account_goes(stage: &Stage) {
    let by_second = |simulator: &Simulator| {
        let mut entries = simulator.journal().into_iter();
        entries.any(|entry| looks(entry.operation) && entry.identity.as_deref() == Some(SECOND))
    };
    assert!(stage.simulator.until(PATIENCE, by_second).await, "the operator does not take the second account");
    stage.simulator.configure(|config| drop(config.tenants[0].identities.remove(0)));
    let first = Some("runai-cluster-operator".to_owned());
    stage.simulator.apply(&FaultAction::TokenRevoke { identity: first, phase: Phase::Pre });
    // And it goes on using it.
    lists(stage, 1).await;
}

/// A poll: a full list, or a look at the minimal one.
fn looks(operation: Option<Operation>) -> bool {
    matches!(operation, Some(Operation::List | Operation::MinimalList))
}

/// The operator has polled so many times more: by the last one it goes by what was changed before.
async fn lists(stage: &Stage, times: usize) {
    let since = stage.simulator.last_seq();
    let listed = |simulator: &Simulator| {
        let entries = simulator.journal_since(since).into_iter();
        entries.filter(|entry| looks(entry.operation)).count() >= times
    };
    assert!(stage.simulator.until(PATIENCE, listed).await, "nobody lists any more");
}

/// A control plane of one's own, with a certificate of one's own authority, which the operator knows.
async fn company_authority(stage: &Stage) {
    let metadata = json!({ "name": "company-ca", "namespace": OPERATOR_NAMESPACE });
    let data = json!({ "ca.crt": stage.old.pem });
    stage.apply(&json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data })).await;
    let bundle = json!({ "kind": "ConfigMap", "name": "company-ca", "key": "ca.crt" });
    let patch = json!({ "spec": { "caBundleRef": bundle } }).to_string();
    let args = ["patch", "runaicontrolplane", "default", "--type=merge", "-p", &patch];
    stage.bed.kubectl_ok(&args).await.unwrap();
    lists(stage, 2).await;
    stage.certify(&stage.old);
}

/// helm-controller: renders each HelmRelease with the values of its Secrets.
async fn flux(stage: &Stage) {
    let releases = items(stage, "helmreleases.helm.toolkit.fluxcd.io").await;
    assert!(!releases.is_empty());
    for release in releases {
        let (namespace, spec) = (text(&release["metadata"]["namespace"]), &release["spec"]);
        let access = text(&spec["kubeConfig"]["secretRef"]["name"]);
        assert!(!secret(stage, namespace, access).await.unwrap()["value"].is_empty(), "a way into the cluster");
        let chart = &spec["chart"]["spec"];
        let source = text(&chart["sourceRef"]["name"]);
        let repository = ["helmrepositories.source.toolkit.fluxcd.io", source, "-n", namespace];
        assert_eq!(stage.get(&repository).await["spec"]["url"], CHARTS);
        assert_eq!((text(&chart["chart"]), text(&spec["targetNamespace"])), ("runai-cluster", "runai"));
        // The namespace of the release's own books has to be there, too.
        assert_eq!(spec["storageNamespace"], spec["targetNamespace"]);
        let mut values = Vec::new();
        for from in spec["valuesFrom"].as_array().unwrap() {
            match secret(stage, namespace, text(&from["name"])).await {
                Some(data) => values.push(data["values.yaml"].clone()),
                None => assert_eq!(from["optional"], true, "{from}"),
            }
        }
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        agent(stage, &template(stage, text(&chart["version"]), &values).await).await;
    }
}

/// The External Secrets Operator: copies what each PushSecret says into the store that it names.
async fn external_secrets(stage: &Stage) {
    let pushes = items(stage, "pushsecrets.external-secrets.io").await;
    assert!(!pushes.is_empty());
    for push in pushes {
        let (namespace, spec) = (text(&push["metadata"]["namespace"]), &push["spec"]);
        let store = text(&spec["secretStoreRefs"][0]["name"]);
        let store = stage.get(&["secretstores.external-secrets.io", store, "-n", namespace]).await;
        let provider = &store["spec"]["provider"]["kubernetes"];
        let access = &provider["authRef"];
        let login = secret(stage, namespace, text(&access["name"])).await.unwrap();
        assert!(login[text(&access["key"])].contains("clusters"), "a kubeconfig");
        let source = secret(stage, namespace, text(&spec["selector"]["secret"]["name"])).await.unwrap();
        let target = text(&provider["remoteNamespace"]);
        may_push(stage, target).await;
        for data in spec["data"].as_array().unwrap() {
            let remote = &data["match"]["remoteRef"];
            let value = &source[text(&data["match"]["secretKey"])];
            let pushed = json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": { "name": remote["remoteKey"], "namespace": target },
                "stringData": { (text(&remote["property"])): value },
            });
            let file = stage.work().join(".pushed.json");
            std::fs::write(&file, pushed.to_string()).unwrap();
            let path = file.display().to_string();
            let args = ["apply", "--server-side", "--as", PUSHER, "-f", &path];
            stage.bed.kubectl_ok(&args).await.unwrap();
            std::fs::remove_file(file).unwrap();
        }
    }
}

/// What the documentation of External Secrets asks for, in the store's namespace, and nothing elsewhere.
async fn may_push(stage: &Stage, target: &str) {
    let may = async |verb: &str, namespace: &str| {
        stage.bed.kubectl_ok(&["auth", "can-i", verb, "secrets", "-n", namespace, "--as", PUSHER]).await.is_ok()
    };
    for verb in ["get", "list", "watch", "create", "update", "patch", "delete"] {
        assert!(may(verb, target).await, "{verb} Secrets in {target}");
        assert!(!may(verb, NAMESPACE).await, "{verb} Secrets in {NAMESPACE}");
    }
}

/// Argo CD: renders each Application.
async fn argo_cd(stage: &Stage) {
    let applications = items(stage, "applications.argoproj.io").await;
    assert!(!applications.is_empty());
    for application in applications {
        let spec = &application["spec"];
        let source = &spec["source"];
        assert_eq!((text(&source["repoURL"]), text(&source["chart"])), (CHARTS, "runai-cluster"));
        assert_eq!(spec["destination"]["namespace"], "runai");
        let values = &source["helm"]["valuesObject"];
        assert!(values["controlPlane"]["clientSecret"].is_null(), "what Argo CD renders it also keeps in its cache");
        agent(stage, &template(stage, text(&source["targetRevision"]), &[&values.to_string()]).await).await;
    }
}

/// The chart `runai-cluster` of the control plane's repository, rendered with these values, later ones first in rank.
pub async fn template(stage: &Stage, version: &str, values: &[&str]) -> Vec<Value> {
    let mut script =
        format!("helm template runai-cluster runai-cluster --repo {CHARTS} --version '{version}' -n runai");
    let files: Vec<_> = (0..values.len()).map(|at| stage.work().join(format!(".values-{at}.yaml"))).collect();
    for (file, values) in files.iter().zip(values) {
        std::fs::write(file, values).unwrap();
        script.push_str(&format!(" --values {}", file.display()));
    }
    let rendered = stage.run(&script).await;
    files.iter().for_each(|file| std::fs::remove_file(file).unwrap());
    serde_saphyr::from_multiple(&rendered).unwrap_or_else(|error| panic!("{error}: {rendered}"))
}

/// The agent that these objects of the chart make: it logs in as what it was told to be, with the secret it was given.
async fn agent(stage: &Stage, objects: &[Value]) {
    let find = |kind: &str| objects.iter().find(|object| object["kind"] == kind);
    let told = &find("ConfigMap").unwrap()["data"];
    assert_eq!(text(&told["url"]), format!("https://{HOST}"));
    let key = text(&told["secretKey"]);
    let given = match find("Secret") {
        Some(own) if own["stringData"].is_object() => text(&own["stringData"][key]).to_owned(),
        // Not in what was rendered: in the cluster, by this name.
        _ => secret(stage, "runai", text(&told["secretName"])).await.unwrap()[key].clone(),
    };
    let uuid = text(&told["uid"]).parse().unwrap();
    // Not before it knows its version.
    let start = AgentCommand::Start { after_seconds: 0.2, client_secret: Some(given) };
    stage.simulator.agent(uuid, start).unwrap();
    let version = Some(text(&told["version"]).to_owned());
    let report = AgentCommand::Report { version, domain: None, report: None, unreadable: None };
    stage.simulator.agent(uuid, report).unwrap();
}

async fn items(stage: &Stage, kind: &str) -> Vec<Value> {
    stage.get(&[kind, "-A"]).await["items"].as_array().unwrap().clone()
}

/// The data of a Secret as text; `None` if there is none.
async fn secret(stage: &Stage, namespace: &str, name: &str) -> Option<std::collections::BTreeMap<String, String>> {
    let args = ["get", "secret", name, "-n", namespace, "-o", "json", "--ignore-not-found"];
    let found = stage.bed.kubectl_ok(&args).await.unwrap();
    let found: Value = serde_json::from_str(Some(found.trim()).filter(|text| !text.is_empty())?).unwrap();
    let decode = |value: &Value| String::from_utf8(STANDARD.decode(text(value)).unwrap()).unwrap();
    Some(found["data"].as_object().unwrap().iter().map(|(key, value)| (key.clone(), decode(value))).collect())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}
