//! Without Kubernetes: a URL and a credentials file.

use std::collections::BTreeMap;

use runai_simulator::{FaultAction, FaultRule, Operation, Phase, SeedCluster, Simulator};
use serde_json::json;

use crate::tool::{Said, Tool, changes, credentials};

const CANARY: &str = "canary-5e1c";

fn start() -> Simulator {
    testbed::install_crypto_provider();
    Simulator::start(runai_simulator::Config::default()).unwrap()
}

fn seed(simulator: &Simulator, name: &str) -> String {
    simulator.seed(SeedCluster::named(name)).unwrap().to_string()
}

/// Runs a command with the simulator's credentials.
async fn ask(tool: &Tool, simulator: &Simulator, args: &[&str]) -> Said {
    let [flag, file] = credentials(tool, simulator);
    let args: Vec<&str> = args.iter().copied().chain([flag.as_str(), file.as_str()]).collect();
    tool.run(&args).await
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_are_listed_as_unknown_in_every_format() {
    let (simulator, tool) = (start(), Tool::alone());
    let connected = simulator.seed(SeedCluster::named("west").connected()).unwrap().to_string();
    let waiting = seed(&simulator, "gpu east");
    let deleting = SeedCluster { delete_requested_at: Some(simulator.now()), ..SeedCluster::named("going") };
    simulator.seed(deleting).unwrap();
    let gone = simulator.seed(SeedCluster::named("gone")).unwrap();
    simulator.remove(gone).unwrap();

    let said = ask(&tool, &simulator, &["inventory"]).await.exits(0);
    let lines: Vec<Vec<&str>> = said.stdout.lines().map(|line| line.split("   ").map(str::trim).collect()).collect();
    assert!(lines[0][0] == "KIND" && lines.len() == 4, "{said:#?}");
    assert!(said.stdout.contains(&waiting) && said.stdout.contains(&connected));
    assert!(said.stdout.lines().nth(1).unwrap().starts_with("deleting   going"), "{said:#?}");
    let said = said.notes(&["nobody can say which registrations are managed", "3 registrations at http://127.0.0.1"]);
    assert!(said.stderr.contains("0 managed, 0 unmanaged, 0 claimed twice, 1 deleting, 2 unknown"), "{said:#?}");

    let document = ask(&tool, &simulator, &["inventory", "-o", "json"]).await.exits(0).json();
    assert_eq!(document["counts"]["total"], 3);
    assert_eq!(document["tenantId"], 1001);
    assert_eq!(document["url"], simulator.url());
    let west = document["registrations"].as_array().unwrap().iter().find(|one| one["name"] == "west").unwrap();
    assert_eq!(
        (&west["kind"], &west["uuid"], &west["state"]),
        (&json!("unknown"), &json!(connected), &json!("Connected"))
    );
    let yaml = ask(&tool, &simulator, &["inventory", "-o", "yaml"]).await.exits(0);
    assert_eq!(serde_saphyr::from_str::<serde_json::Value>(&yaml.stdout).unwrap()["counts"], document["counts"]);
    let only = ask(&tool, &simulator, &["inventory", "-o", "json", "--only", "deleting,managed"]).await.exits(0).json();
    assert_eq!(only["registrations"].as_array().unwrap().len(), 1);
    assert_eq!(only["counts"], document["counts"], "counts are of everything");
    assert_eq!(changes(&simulator, 0), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_says_what_it_leaves_out_and_why() {
    let (simulator, tool) = (start(), Tool::alone());
    let uuid = seed(&simulator, "GPU East");
    let odd = simulator
        .seed(SeedCluster { domain: Some("https://x.example.com/path".to_owned()), ..SeedCluster::named("odd") });
    odd.unwrap();
    for name in [" padded", "line\nbreak", &"x".repeat(254)] {
        seed(&simulator, name);
    }
    let gone = simulator.seed(SeedCluster::named("gone")).unwrap();
    simulator.remove(gone).unwrap();
    simulator.seed(SeedCluster { delete_requested_at: Some(simulator.now()), ..SeedCluster::named("going") }).unwrap();

    let said = ask(&tool, &simulator, &["export", "--control-plane", "prod"]).await.exits(0).notes(&[
        "skipped \" padded\" (",
        "must not begin or end with white space; rename it first",
        "its name holds characters that an object cannot ask for",
        "must have 1 to 253 characters, has 254",
        "skipped \"going\" (",
        "its deletion was requested at 20",
        "\"odd\" (",
        "left out spec.domain: must be a host such as",
        "2 registrations exported, 4 skipped",
    ]);
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&said.stdout).unwrap();
    let want = json!({
        "apiVersion": "runai-operator.io/v1alpha1", "kind": "RunaiCluster", "metadata": { "name": "gpu-east" },
        "spec": {
            "controlPlaneRef": { "name": "prod" }, "name": "GPU East", "adoption": { "uuid": uuid },
            "deletion": { "policy": "Orphan" },
        },
    });
    assert_eq!(documents[0], want);
    assert_eq!(documents[1]["spec"].get("domain"), None);
    assert_eq!(documents.len(), 2);

    let into = tool.directory().join("objects");
    let args = ["export", "--output-dir", into.to_str().unwrap(), "-n", "team"];
    let said = ask(&tool, &simulator, &args).await.exits(0);
    assert_eq!(said.stdout, "");
    let written: serde_json::Value =
        serde_saphyr::from_str(&std::fs::read_to_string(into.join("gpu-east.yaml")).unwrap()).unwrap();
    assert_eq!(written["metadata"], json!({ "name": "gpu-east", "namespace": "team" }));
    assert_eq!(std::fs::read_dir(&into).unwrap().count(), 2);
    let blocked = tool.file("blocked", "");
    ask(&tool, &simulator, &["export", "--output-dir", &blocked]).await.exits(1).notes(&["error: ", "blocked"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_comes_from_live_reads_and_changes_nothing() {
    let (simulator, tool) = (start(), Tool::alone());
    let taken = seed(&simulator, "taken");
    let object = |name: &str, spec: serde_json::Value| {
        json!({ "apiVersion": "runai-operator.io/v1alpha1", "kind": "RunaiCluster", "metadata": { "name": name }, "spec": spec })
            .to_string()
    };
    let absent = uuid::Uuid::from_u128(7);
    let table = [
        (object("new", json!({})), 3, "Create", "Creating", true),
        (object("taken", json!({})), 1, "None", "NameConflict", false),
        (object("taken", json!({ "adoption": { "policy": "IfExists" } })), 3, "Adopt", "Adopted", false),
        (object("other", json!({ "adoption": { "uuid": taken } })), 3, "Adopt", "Adopted", false),
        (object("other", json!({ "adoption": { "uuid": absent } })), 1, "None", "AdoptionTargetMissing", false),
        (object("taken", json!({ "managementPolicy": "Observe" })), 0, "None", "Observed", false),
        (object("new", json!({ "suspend": true })), 0, "None", "Suspended", false),
        (object("new", json!({ "name": " x" })), 1, "None", "InvalidSpec", false),
        (object("new", json!({ "controlPlaneRef": { "name": "else" } })), 1, "None", "ControlPlaneMissing", false),
    ];
    for (manifest, code, step, reason, remote) in table {
        let file = tool.file("plan.json", &manifest);
        let said = ask(&tool, &simulator, &["plan", "-f", &file, "-o", "json"]).await.exits(code);
        let object = &said.json()["objects"][0];
        let got = (&object["step"], &object["reason"], &object["writesToControlPlane"], &object["namespace"]);
        assert_eq!(got, (&json!(step), &json!(reason), &json!(remote), &json!("default")), "{manifest}: {said:#?}");
    }
    // Of two that want the same, the second is told so.
    let both = format!("{}\n---\n{}", object("a", json!({ "name": "free" })), object("b", json!({ "name": "free" })));
    let [flag, file] = credentials(&tool, &simulator);
    let said = tool.run_with_input(&["plan", "-f", "-", "-n", "team", &flag, &file], &both).await.exits(1);
    let lines: Vec<_> = said.stdout.lines().collect();
    assert!(lines[1].starts_with("team/a") && lines[1].contains("create registration \"free\""), "{said:#?}");
    assert!(
        lines[2].starts_with("team/b") && lines[2].contains("RunaiCluster team/a is registering the name"),
        "{said:#?}"
    );
    assert_eq!(changes(&simulator, 0), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_does_not_answer_is_an_error_and_no_empty_list() {
    let (simulator, tool) = (start(), Tool::alone());
    seed(&simulator, "east");
    let file =
        tool.file("new.yaml", "apiVersion: runai-operator.io/v1alpha1\nkind: RunaiCluster\nmetadata: {name: new}\n");
    let forbidden = FaultAction::Status { code: 403, body: None, headers: BTreeMap::new(), phase: Phase::default() };
    simulator.add_fault(FaultRule::on(Operation::List, forbidden));
    for args in [&["inventory"][..], &["export"]] {
        let said = ask(&tool, &simulator, args).await.exits(1).notes(&["error: control plane \"default\": ", "403"]);
        assert_eq!(said.stdout, "", "{said:#?}");
    }
    let said = ask(&tool, &simulator, &["plan", "-f", &file]).await.exits(1);
    assert!(said.stdout.contains("unknown") && said.stdout.contains("Forbidden"), "{said:#?}");
    let url = simulator.url().to_owned();
    simulator.shutdown();
    let text = format!("url: {url}\nclientID: operator\nclientSecret: {CANARY}\n");
    let credentials = tool.file("gone.yaml", &text);
    let said = tool.run(&["plan", "-f", &file, "--credentials", &credentials]).await.exits(1);
    assert!(said.stdout.contains("ConnectionFailed"), "{said:#?}");
    assert!(!format!("{said:?}").contains(CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_credentials_are_named_and_no_secret_is_shown() {
    let (simulator, tool) = (start(), Tool::alone());
    let url = simulator.url();
    let plain = |lines: &str| format!("url: {url}\n{lines}");
    let table = [
        (plain("clientID: operator\n"), "key `clientSecret` is missing"),
        (plain(&format!("clientID: operator\nclientsecret: {CANARY}\n")), "must be spelled `clientSecret`"),
        (plain(&format!("clientID: [{CANARY}\n")), "is neither YAML nor JSON (line"),
        (format!("clientID: operator\nclientSecret: {CANARY}\n"), "key `url` is missing"),
        (
            format!("url: ftp://{CANARY}@x\nclientID: operator\nclientSecret: {CANARY}\n"),
            "key `url` has a scheme other than",
        ),
        (plain(&format!("clientID: operator\nclientSecret: {CANARY}\n")), "control plane \"default\": "),
    ];
    for (content, part) in table {
        let file = tool.file("bad.yaml", &content);
        for level in ["", "trace"] {
            let mut command = tool.command(&["inventory", "--credentials", &file]);
            command.env("RUST_LOG", level);
            let said = Said::of(&command.output().await.unwrap()).exits(1).notes(&["error: ", part]);
            assert!(said.stdout.is_empty() && !said.stderr.contains(CANARY), "{said:#?}");
        }
    }
    let missing = tool.run(&["inventory", "--credentials", "no/such/file"]).await.exits(1);
    missing.notes(&["error: --credentials no/such/file: ", "No such file"]);
    let file = tool.file("good.yaml", &plain("clientID: operator\nclientSecret: operator-secret\n"));
    let ca = tool.file("ca.pem", "no certificate");
    let said = tool.run(&["inventory", "--credentials", &file, "--ca-file", &ca]).await.exits(1);
    said.notes(&["the CA bundle holds no certificate"]);
    let said = tool.run(&["inventory", "--credentials", &file, "--ca-file", "no/such/ca"]).await.exits(1);
    said.notes(&["--ca-file no/such/ca: "]);
    let https = tool.run(&["inventory", "--credentials", &file, "--allow-insecure-http=false"]).await.exits(1);
    https.notes(&["uses http, which would send the credentials in clear text"]);
    tool.run(&["inventory", "--url", url]).await.exits(2).notes(&["--credentials"]);
    tool.run(&["inventory", "--credentials", &file, "--context", "x"]).await.exits(2).notes(&["cannot be used with"]);
    tool.run(&["inventory"]).await.exits(1).notes(&["KUBECONFIG", "--url and --credentials"]);
    tool.run(&["wait", "x", "--for", "ready"]).await.exits(1).notes(&["no way to a Kubernetes API", "--kubeconfig"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_authority_and_the_other_token_endpoint_work() {
    testbed::install_crypto_provider();
    let mut config = runai_simulator::Config::default();
    config.tls.enabled = true;
    let (simulator, tool) = (Simulator::start(config).unwrap(), Tool::alone());
    seed(&simulator, "east");
    let [flag, file] = credentials(&tool, &simulator);
    let ca = tool.file("ca.pem", &simulator.ca_pem().unwrap());
    tool.run(&["inventory", &flag, &file]).await.exits(1).notes(&["certificate"]);
    let said = tool.run(&["inventory", &flag, &file, "--ca-file", &ca, "--token-api", "V2"]).await.exits(0);
    assert!(said.stdout.contains("east"), "{said:#?}");
    // A URL on the command line goes before the one in the file.
    let elsewhere =
        tool.file("elsewhere.yaml", "url: https://x.invalid\nclientID: operator\nclientSecret: operator-secret\n");
    let args = ["inventory", "--credentials", &elsewhere, "--url", simulator.url(), "--ca-file", &ca];
    tool.run(&args).await.exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    let (simulator, tool) = (start(), Tool::alone());
    for number in 0..2000 {
        seed(&simulator, &format!("a-rather-long-name-so-that-no-pipe-holds-them-all-{number}"));
    }
    let [flag, file] = credentials(&tool, &simulator);
    let program = env!("CARGO_BIN_EXE_runai-cluster-operator");
    let script = format!("{{ {program} export {flag} {file}; echo \"exit $?\" >&2; }} | head -n 1");
    let said = Said::of(&tool.prepare("sh").args(["-c", &script]).output().await.unwrap());
    assert!(said.stdout == "---\n" && said.stderr.contains("exit 0") && !said.stderr.contains("error"), "{said:#?}");
}
