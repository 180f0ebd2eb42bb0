//! Install, upgrade, uninstall, install again; two replicas; named namespaces; a trial. On a real API server, with the
//! operator as its Deployment starts it.

use runai_simulator::Operation;
use serde_json::{Value, json};
use testbed::{OPERATOR_NAMESPACE, OperatorProcess, RELEASE_NAME, TemporaryDirectory, Tool, wait_until};

use crate::helm::{chart, copy, documents, of_kind, run};
use crate::release::{
    SIMPLE, helm_of, pod, release, remote_writes, simple, start, stop, uninstall, world, world_of_helm_4,
};
use crate::world::{SOON, TEAM, World, cluster, condition, namespace, uuid};

/// The chart with definitions from before `spec.recreatePolicy`.
fn older(dir: &TemporaryDirectory) -> std::path::PathBuf {
    let older = dir.path().join("older");
    copy(&chart(), &older);
    let file = older.join("files/crds/runaiclusters.yaml");
    let mut definition = documents(&std::fs::read_to_string(&file).unwrap()).remove(0);
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    assert!(definition.pointer_mut(spec).unwrap().as_object_mut().unwrap().remove("recreatePolicy").is_some());
    std::fs::write(file, definition.to_string()).unwrap();
    older
}

async fn plane_is_ready(world: &World) {
    let reached = wait_until(SOON, "the control plane of the values to be ready", async || {
        let plane = world.read("/apis/runai-operator.io/v1alpha1/runaicontrolplanes/default").await;
        let plane = plane.ok_or("not there yet")?;
        if condition(&plane, "Ready").0 == "True" { Ok(()) } else { Err(plane["status"].to_string()) }
    });
    reached.await.unwrap_or_else(|error| panic!("{error}\n--- operator\n{}", world.tail()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_upgraded_removed_and_installed_again() {
    let dir = TemporaryDirectory::create().unwrap();
    // One process at a time: how leaders change is told below.
    let settings = [SIMPLE, &["leaderElection.enabled=false"]].concat();
    let mut world = world(&older(&dir), &settings).await;
    plane_is_ready(&world).await;
    world.cluster("east", json!({ "domain": "https://east.example.com" })).await;
    let id = uuid(&world.until_ready("east").await);
    let newer = json!({ "spec": { "recreatePolicy": "IfMissing" } });
    world.patch("east", newer.clone()).await;
    assert!(world.get("east").await.unwrap()["spec"]["recreatePolicy"].is_null(), "the older definition drops it");

    // An upgrade brings the newer definitions, and another pod.
    release(&world.bed, "upgrade", &chart(), &settings).await;
    stop(&mut world.operator).await;
    (world.operator, world.login) = start(&world.bed).await;
    world.patch("east", newer).await;
    assert_eq!(world.get("east").await.unwrap()["spec"]["recreatePolicy"], "IfMissing");
    world.patch("east", json!({ "spec": { "name": "east-2" } })).await;
    world.until("east", "renamed", |object| object["status"]["name"] == "east-2").await;
    helm_test(&world).await;
    let before = remote_writes(&world.simulator);
    assert_eq!(before, [(Operation::Create, Some(201)), (Operation::Update, Some(204))]);

    // An uninstall takes rights and account from under a pod that is still there.
    uninstall(&world.bed).await;
    stop(&mut world.operator).await;
    let object = world.get("east").await.expect("objects stay");
    assert!(object["metadata"]["deletionTimestamp"].is_null());
    assert_eq!(world.simulator.live_clusters().len(), 1, "an uninstall deregisters nothing");
    assert_eq!(world.plane("default").await["spec"]["connectionSecretRef"]["name"], "connection");

    release(&world.bed, "install", &chart(), &settings).await;
    (world.operator, world.login) = start(&world.bed).await;
    plane_is_ready(&world).await;
    let seen = world.simulator.last_seq();
    world.until_ready("east").await;
    let listed = wait_until(SOON, "two polls more", async || {
        let lists = world.simulator.journal_since(seen);
        let lists = lists
            .iter()
            .filter(|entry| matches!(entry.operation, Some(Operation::List | Operation::MinimalList)))
            .count();
        if lists >= 2 { Ok(()) } else { Err(lists.to_string()) }
    });
    listed.await.unwrap();
    assert_eq!(remote_writes(&world.simulator), before, "taken up again without a write");
    world.patch("east", json!({ "spec": { "name": "east-3" } })).await;
    let object = world.until("east", "renamed", |object| object["status"]["name"] == "east-3").await;
    assert_eq!(uuid(&object), id);
    world.delete("east").await;
    world.until_gone("east").await;
    assert!(world.simulator.live_clusters().is_empty(), "its own, and so it may delete it");
}

/// The pod of `helm test`, as it would be started, with the operator where its Service would lead to.
async fn helm_test(world: &World) {
    let args = ["get", "hooks", RELEASE_NAME, "--namespace", OPERATOR_NAMESPACE];
    let hooks = documents(&crate::release::helm(&world.bed, &args).await);
    let pods = of_kind(&hooks, "Pod");
    let [pod] = pods[..] else { panic!("{pods:?}") };
    let strict = "pod-security.kubernetes.io/enforce=restricted";
    world.kubectl(&["label", "namespace", OPERATOR_NAMESPACE, strict]).await;
    // A controller of Kubernetes makes it in every namespace; here none runs.
    world.kubectl(&["create", "serviceaccount", "default", "-n", OPERATOR_NAMESPACE]).await;
    let create = ["create", "--dry-run=server", "-n", OPERATOR_NAMESPACE, "-f", "-"];
    world.bed.kubectl_handle().ok_with_input(&create, &pod.to_string()).await.unwrap();
    let container = &pod["spec"]["containers"][0];
    let service = "runai-operator-runai-cluster-operator.runai-operator:8081";
    let args: Vec<String> =
        container["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap().to_owned()).collect();
    assert!(args.iter().any(|arg| arg.contains(service)), "{args:?}");
    let ask = async |address: &str, limit: &str| {
        let args: Vec<_> = args.iter().map(|arg| arg.replace(service, address).replace("60s", limit)).collect();
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        run(env!("CARGO_BIN_EXE_runai-cluster-operator").as_ref(), &[], &args).await
    };
    assert_eq!(ask(world.operator.health_address(), "60s").await, Ok("ok\n".to_owned()));
    let said = ask("127.0.0.1:1", "0s").await.unwrap_err();
    assert!(said.contains("no answer: Connection refused"), "{said}");
}

async fn leads(process: &OperatorProcess) -> bool {
    process.metrics().await.is_ok_and(|text| text.contains("\nrunai_operator_leader 1.0\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_do_the_work_of_one() {
    let mut world = simple(&["replicaCount=2"]).await;
    let deployment =
        world.kubectl(&["get", "deploy", "-n", OPERATOR_NAMESPACE, "-o", "jsonpath={.items[*].spec.replicas}"]).await;
    assert_eq!(deployment, "2");
    let (mut other, _) = start(&world.bed).await;
    plane_is_ready(&world).await;
    world.cluster("east", json!({ "domain": "https://east.example.com" })).await;
    world.until_ready("east").await;

    let led = wait_until(SOON, "one leader", async || {
        let both = (leads(&world.operator).await, leads(&other).await);
        if both.0 == both.1 { Err(format!("{both:?}")) } else { Ok(both) }
    });
    if led.await.unwrap().1 {
        std::mem::swap(&mut world.operator, &mut other);
    }
    // Asked for at the moment in which the leader dies.
    world.patch("east", json!({ "spec": { "name": "east-2" } })).await;
    world.operator.sigkill();
    world.operator = other;
    world.until("east", "renamed", |object| object["status"]["name"] == "east-2").await;
    let taken =
        wait_until(
            SOON,
            "the other to lead",
            async || {
                if leads(&world.operator).await { Ok(()) } else { Err(String::new()) }
            },
        );
    taken.await.unwrap();
    // A Deployment makes a new pod.
    let (mut third, _) = start(&world.bed).await;
    world.delete("east").await;
    world.until_gone("east").await;
    assert!(world.simulator.live_clusters().is_empty());
    let writes = remote_writes(&world.simulator);
    let count = |operation| writes.iter().filter(|(write, _)| *write == operation).count();
    assert_eq!((count(Operation::Create), count(Operation::Delete)), (1, 1), "{writes:?}");
    assert!((1..=2).contains(&count(Operation::Update)), "{writes:?}");

    // A leader that ends in good order hands over, and does not leave its Lease to run out.
    stop(&mut world.operator).await;
    assert!(world.operator.logs().unwrap().contains("lease released"));
    let taken =
        wait_until(SOON, "the third to lead", async || if leads(&third).await { Ok(()) } else { Err(String::new()) });
    taken.await.unwrap();
    stop(&mut third).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn named_namespaces_are_enough() {
    let mut world = world_of_helm_4(&["watch.namespaces={team-a}", "leaderElection.enabled=false"]).await;
    plane_is_ready(&world).await;
    world.apply_all(vec![namespace("team-b"), cluster("team-b", "north", json!({}))]).await;
    world.cluster("east", json!({ "domain": "https://east.example.com" })).await;
    world.until_ready("east").await;
    world.patch("east", json!({ "spec": { "name": "east-2" } })).await;
    world.until("east", "renamed", |object| object["status"]["name"] == "east-2").await;
    world.delete("east").await;
    world.until_gone("east").await;
    let north = world.get_in("team-b", "north").await.unwrap();
    assert_eq!(north["status"], json!({ "observedGeneration": -1 }), "nobody works there");
    assert!(world.simulator.counters().create_requests_per_name.keys().eq(["east"]));

    let user = format!("system:serviceaccount:{OPERATOR_NAMESPACE}:{}", crate::release::DEPLOYMENT);
    let events = world.bed.audit_events(None).unwrap();
    let mine: Vec<_> = events.iter().filter(|event| event.user == user).collect();
    assert!(mine.len() > 10);
    let refused: Vec<_> = mine.iter().filter(|event| event.code == 403).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let elsewhere: Vec<_> = mine.iter().filter(|event| event.namespace == "team-b").collect();
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
    let may = ["auth", "can-i", "list", "runaiclusters", "-n", "team-b", "--as", &user];
    assert!(!world.bed.kubectl(&may).await.unwrap().status.success());

    // Helm 4 knows what it made, and leaves the definitions.
    let helm = Tool::Helm4.find().await.unwrap();
    helm_of(&world.bed, &helm, &["uninstall", RELEASE_NAME, "--namespace", OPERATOR_NAMESPACE]).await;
    stop(&mut world.operator).await;
    let left = world
        .kubectl(&[
            "get",
            "deploy,role,rolebinding,service",
            "-A",
            "-l",
            "app.kubernetes.io/managed-by=Helm",
            "-o",
            "name",
        ])
        .await;
    assert_eq!(left, "");
    assert!(world.get_in("team-b", "north").await.is_some());
}

/// Everything in the values: address, credentials, and the certification authority of a server with TLS.
#[tokio::test(flavor = "multi_thread")]
async fn a_trial_needs_nothing_but_values() {
    let room = World::room().await;
    let bed = testbed::Testbed::start(testbed::Options::default()).await.unwrap();
    let mut config = runai_simulator::Config::default();
    config.tls.enabled = true;
    let simulator = runai_simulator::Simulator::start(config).unwrap();
    let authority = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "authority", "namespace": OPERATOR_NAMESPACE },
        "data": { "ca.crt": simulator.ca_pem().unwrap() },
    });
    for manifest in [namespace(TEAM), namespace(OPERATOR_NAMESPACE), authority] {
        bed.kubectl_apply(&manifest.to_string()).await.unwrap();
    }
    let url = format!("controlPlane.url={}", simulator.url());
    let settings = [
        &url,
        "controlPlane.clientID=operator",
        "controlPlane.clientSecret=operator-secret",
        "controlPlane.spec.pollInterval=5s",
        "customCA.configMapName=authority",
        "leaderElection.enabled=false",
    ];
    release(&bed, "install", &chart(), &settings).await;
    let pod = pod(&bed).await;
    assert!(
        !pod.env.iter().any(|(_, value)| value.contains("operator-secret")),
        "secrets do not lie in the environment"
    );
    let (operator, login) = start(&bed).await;
    let mut world = World::around(room, bed, simulator, operator, login).await;
    plane_is_ready(&world).await;
    world.cluster("east", json!({})).await;
    world.until_ready("east").await;

    // A release that takes its definitions along deregisters nothing, although its objects are being deleted.
    release(&world.bed, "upgrade", &chart(), &[&settings[..], &["crds.keep=false"]].concat()).await;
    let since = jiff::Timestamp::now();
    uninstall(&world.bed).await;
    let kind = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/runaiclusters.runai-operator.io";
    let going = world.read(kind).await.is_none_or(|kind| kind["metadata"]["deletionTimestamp"].is_string());
    assert!(going, "the definition goes with the release");
    // The pod is still there, and tries what it has no right to any more.
    let user = format!("system:serviceaccount:{OPERATOR_NAMESPACE}:{}", crate::release::DEPLOYMENT);
    let tried = wait_until(SOON, "a request that is refused", async || {
        let events = world.bed.audit_events(Some(since)).unwrap();
        let mine: Vec<_> = events.into_iter().filter(|event| event.user == user).collect();
        if mine.iter().any(|event| event.code == 403) { Ok(()) } else { Err(format!("{:?}", mine.last())) }
    });
    tried.await.unwrap();
    stop(&mut world.operator).await;
    let writes = remote_writes(&world.simulator);
    assert!(writes.iter().all(|(operation, _)| *operation == Operation::Create), "{writes:?}");
    assert_eq!(world.simulator.live_clusters().len(), 1);
    let gone: Option<Value> = world
        .read("/api/v1/namespaces/runai-operator/configmaps/runai-operator-runai-cluster-operator-control-plane")
        .await;
    assert_eq!(gone, None);
}
