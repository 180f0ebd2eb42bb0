//! The testbed itself: start, restart, isolation, rights, audit, and that nothing outlives its parent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{Api, api::PostParams};
use testbed::{Options, Testbed, count_by_user, wait_until};

const SOON: Duration = Duration::from_secs(30);

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(serde_json::json!({ "metadata": { "name": name } })).unwrap()
}

/// Whether a process is there and no zombie.
fn is_alive(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// Processes whose command line contains the directory.
fn processes_of(directory: &Path) -> Vec<String> {
    let needle = directory.display().to_string();
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().into_string().ok());
    pids.filter(|pid| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        pid.parse::<u32>().is_ok() && String::from_utf8_lossy(&command).contains(&needle) && is_alive(pid)
    })
    .collect()
}

#[tokio::test]
async fn data_survive_a_killed_apiserver_and_nothing_stays_after_the_end() {
    let mut bed = Testbed::start(Options::default()).await.unwrap();
    let directory = bed.directory().to_owned();
    let maps: Api<ConfigMap> = Api::namespaced(bed.client().await.unwrap(), "default");
    maps.create(&PostParams::default(), &config_map("kept")).await.unwrap();

    bed.stop_apiserver();
    assert!(maps.get("kept").await.is_err(), "the API server is gone");
    bed.start_apiserver().await.unwrap();
    // The same client, so the same port.
    maps.get("kept").await.unwrap();
    assert!(bed.start_apiserver().await.is_err(), "it runs already");

    bed.kill_etcd();
    let map = config_map("refused");
    let refused = tokio::time::timeout(Duration::from_secs(2), maps.create(&PostParams::default(), &map)).await;
    assert!(!matches!(refused, Ok(Ok(_))), "nothing is stored without etcd");
    bed.start_etcd().unwrap();
    let map = config_map("stored");
    let stored = async || maps.create(&PostParams::default(), &map).await;
    wait_until(SOON, "a write after etcd came back", stored).await.unwrap();

    assert_eq!(processes_of(&directory).len(), 2, "etcd and API server");
    drop(bed);
    assert_eq!(processes_of(&directory), Vec::<String>::new());
    assert!(!directory.exists());
}

#[tokio::test]
async fn two_testbeds_run_side_by_side_and_do_not_see_each_other() {
    let options = Options { controller_manager: true, ..Options::default() };
    let (one, two) = tokio::join!(Testbed::start(options), Testbed::start(Options::default()));
    let (one, two) = (one.unwrap(), two.unwrap());
    one.kubectl_ok(&["create", "namespace", "only-in-one"]).await.unwrap();
    let other = two.kubectl(&["get", "namespace", "only-in-one"]).await.unwrap();
    assert!(!other.status.success() && other.stderr.contains("NotFound"), "{other:?}");

    // The controller manager does its work: contents and namespace go.
    one.kubectl_ok(&["-n", "only-in-one", "create", "configmap", "inside"]).await.unwrap();
    one.kubectl_ok(&["delete", "namespace", "only-in-one", "--wait=false"]).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(one.client().await.unwrap());
    wait_until(SOON, "the namespace to go", async || match namespaces.get_opt("only-in-one").await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_release_gives_exactly_its_rights_and_the_audit_log_counts_them() {
    let bed = Testbed::start(Options::default()).await.unwrap();
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chart");
    let documents = bed.helm_template(&chart.display().to_string(), &["account=tester"]).await.unwrap();
    assert!(documents.iter().any(|document| document["kind"] == "Deployment"));
    bed.apply_release(&documents).await.unwrap();
    let deployments = bed.kubectl_ok(&["get", "deployments", "-A", "-o", "name"]).await.unwrap();
    assert_eq!(deployments, "", "workloads are left out");

    let login = bed.serviceaccount_kubeconfig("runai-operator", "tester").await.unwrap();
    let client = login.client().await.unwrap();
    let own: Api<ConfigMap> = Api::namespaced(client.clone(), "runai-operator");
    let foreign: Api<ConfigMap> = Api::namespaced(client, "default");
    let since = jiff::Timestamp::now();
    own.get("from-the-chart").await.unwrap();
    own.get("from-the-chart").await.unwrap();
    own.list(&kube::api::ListParams::default()).await.unwrap_err();
    foreign.get("kube-root-ca.crt").await.unwrap_err();

    let user = "system:serviceaccount:runai-operator:tester";
    let events = bed.audit_events(Some(since)).unwrap();
    let counts = count_by_user(&events);
    let key = |verb: &str| (verb.to_owned(), "configmaps".to_owned(), String::new());
    assert_eq!(counts[user], BTreeMap::from([(key("get"), 3), (key("list"), 1)]));
    let mut codes: Vec<_> = events.iter().filter(|event| event.user == user).collect();
    codes.sort_by_key(|event| event.stage_timestamp);
    let codes: Vec<_> = codes.iter().map(|event| event.code).collect();
    assert_eq!(codes, [200, 200, 403, 403]);
}

#[tokio::test]
async fn the_projects_chart_gives_the_operator_its_login() {
    let bed = Testbed::start(Options::default()).await.unwrap();
    let documents = bed.install_chart(&[]).await.unwrap();
    let account = documents.iter().find(|document| document["kind"] == "ServiceAccount").unwrap();
    let name = account["metadata"]["name"].as_str().unwrap();
    let login = bed.serviceaccount_kubeconfig(testbed::OPERATOR_NAMESPACE, name).await.unwrap();
    let kubectl = bed.kubectl_as(&login);
    kubectl.ok(&["get", "runaiclusters", "-A"]).await.unwrap();
    let refused = kubectl.run(&["-n", "kube-system", "get", "secrets"]).await.unwrap();
    assert!(refused.stderr.contains("Forbidden"), "{refused:?}");
}

/// Not a test of its own: the parent that the next test kills. Does nothing unless asked to.
#[tokio::test]
async fn parent_to_be_killed() {
    if std::env::var_os("TESTBED_TEST_PARENT").is_none() {
        return;
    }
    let bed = Testbed::start(Options::default()).await.unwrap();
    println!("directory={}", bed.directory().display());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn children_and_files_go_when_the_parent_is_killed() {
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "parent_to_be_killed", "--nocapture"])
        .env("TESTBED_TEST_PARENT", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = parent.stdout.take().unwrap();
    let find = move || {
        use std::io::BufRead as _;
        let mut lines = std::io::BufReader::new(stdout).lines().map_while(Result::ok);
        lines.find_map(|line| Some(line.split_once("directory=")?.1.to_owned()))
    };
    let directory = tokio::task::spawn_blocking(find).await.unwrap();
    let directory = std::path::PathBuf::from(directory.expect("the parent starts its testbed"));
    assert_eq!(processes_of(&directory).len(), 2, "etcd and API server");

    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_until(SOON, "children and files to go", async || {
        let left = processes_of(&directory);
        if left.is_empty() && !directory.exists() {
            Ok(())
        } else {
            Err(format!("processes {left:?}, directory {}", directory.exists()))
        }
    })
    .await
    .unwrap();
}
