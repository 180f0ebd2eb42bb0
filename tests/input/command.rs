//! The command line without any cluster: help, `crds`, and flags that cannot be used.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use testbed::TemporaryDirectory;

/// The binary with an environment in which it finds no cluster by itself.
fn binary(kubeconfig: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runai-cluster-operator"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RUNAI_OPERATOR_")) {
        command.env_remove(name);
    }
    command.env("KUBECONFIG", kubeconfig).env("RUST_LOG", "error").env_remove("KUBERNETES_SERVICE_HOST");
    command
}

/// A kubeconfig that leads nowhere: settings are refused before anybody is asked.
fn nowhere() -> (TemporaryDirectory, std::path::PathBuf) {
    let directory = TemporaryDirectory::create().unwrap();
    let file = directory.path().join("kubeconfig");
    let [port] = testbed::free_ports().unwrap();
    let content = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{ "name": "a", "cluster": { "server": format!("http://127.0.0.1:{port}") } }],
        "users": [{ "name": "a", "user": {} }],
        "contexts": [{ "name": "a", "context": { "cluster": "a", "user": "a" } }],
    });
    fs::write(&file, content.to_string()).unwrap();
    (directory, file)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stderr), "", "data goes to stdout, and there is nothing else to say");
    text(&output.stdout)
}

#[test]
fn help_names_commands_flags_and_variables() {
    let (_directory, kubeconfig) = nowhere();
    let all = stdout(&binary(&kubeconfig).arg("--help").output().unwrap());
    let commands = ["run", "crds", "inventory", "export", "plan", "wait", "completions", "man"];
    assert!(commands.iter().all(|word| all.lines().any(|line| line.trim_start().starts_with(word))), "{all}");
    let version = stdout(&binary(&kubeconfig).arg("--version").output().unwrap());
    assert_eq!(version.trim(), format!("runai-cluster-operator {}", env!("CARGO_PKG_VERSION")));

    let help = stdout(&binary(&kubeconfig).args(["run", "--help"]).output().unwrap());
    let flags: BTreeSet<_> = help
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("--"))
        .map(|word| word.split(['=', '[']).next().unwrap().trim_end_matches(|c: char| !c.is_ascii_alphanumeric()))
        .collect();
    for flag in [
        "namespace",
        "watch-namespaces",
        "leader-elect",
        "metrics-bind",
        "health-bind",
        "log-format",
        "allow-insecure-http",
        "concurrency",
        "default-deletion-policy",
        "create-quarantine",
        "create-deadline",
        "default-control-plane",
    ] {
        assert!(flags.contains(flag), "--{flag} is not in {flags:?}");
    }
    for flag in flags.iter().filter(|flag| !["help", "version"].contains(flag)) {
        let variable = format!("[env: RUNAI_OPERATOR_{}=", flag.to_uppercase().replace('-', "_"));
        assert!(help.contains(&variable), "--{flag} has no variable {variable}");
    }
}

/// Flags of the commands that only read, and the variables of those that the controller has too.
#[test]
fn commands_have_their_flags_and_no_secret_among_them() {
    let (_directory, kubeconfig) = nowhere();
    let connect = [
        "control-plane",
        "kubeconfig",
        "context",
        "operator-namespace",
        "credentials",
        "url",
        "ca-file",
        "token-api",
        "allow-insecure-http",
    ];
    let table: [(&str, &[&str], bool); 6] = [
        ("inventory", &["output", "only"], true),
        ("export", &["namespace", "output-dir"], true),
        ("plan", &["filename", "namespace", "output", "default-deletion-policy", "create-quarantine"], true),
        ("wait", &["for", "namespace", "timeout", "kubeconfig", "context"], false),
        ("completions", &[], false),
        ("man", &["output-dir"], false),
    ];
    for (command, own, connects) in table {
        let help = stdout(&binary(&kubeconfig).args([command, "--help"]).output().unwrap());
        let name = |line: &str| {
            let flag = line.trim_start().strip_prefix("-")?.split("--").nth(1).map(str::to_owned);
            let flag = flag.or_else(|| line.trim_start().strip_prefix("--").map(str::to_owned))?;
            Some(flag.split([' ', '[', '=']).next().unwrap_or_default().to_owned())
        };
        let flags: BTreeSet<String> = help.lines().filter_map(name).collect();
        let mut want: BTreeSet<String> =
            own.iter().chain(&["help", "version"]).map(|flag| (*flag).to_owned()).collect();
        want.extend(connect.iter().filter(|_| connects).map(|flag| (*flag).to_owned()));
        assert_eq!(flags, want, "{command}: {help}");
        assert!(
            !flags.iter().any(|flag| flag.contains("secret") || flag.contains("password") || flag.contains("token="))
        );
        for flag in ["operator-namespace", "allow-insecure-http", "default-deletion-policy", "create-quarantine"] {
            let variable = match flag {
                "operator-namespace" => "NAMESPACE".to_owned(),
                flag => flag.to_uppercase().replace('-', "_"),
            };
            assert_eq!(
                help.contains(&format!("[env: RUNAI_OPERATOR_{variable}=")),
                flags.contains(flag),
                "{command}: {flag}"
            );
        }
    }
}

#[test]
fn a_command_without_a_way_to_anything_says_so() {
    let (directory, kubeconfig) = nowhere();
    let file = directory.path().join("objects.yaml");
    fs::write(&file, "apiVersion: runai-operator.io/v1alpha1\nkind: RunaiCluster\nmetadata: {name: a}\n").unwrap();
    let file = file.to_str().unwrap();
    let table: [(&[&str], &[&str]); 8] = [
        (&["inventory"], &["RunaiClusters of all namespaces cannot be read", "Kubernetes API"]),
        (&["export"], &["RunaiClusters of all namespaces cannot be read"]),
        (&["plan", "-f", file], &["RunaiClusters of all namespaces cannot be read"]),
        (&["wait", "a", "--for=ready"], &["RunaiCluster default/a cannot be read"]),
        (&["inventory", "--context", "other"], &["no way to a Kubernetes API", "other"]),
        (&["export", "--kubeconfig", "no/such/file"], &["no way to a Kubernetes API", "no/such/file"]),
        (&["plan", "-f", "no/such/file"], &["no/such/file: ", "No such file"]),
        (&["inventory", "-o", "xml"], &["--output", "xml"]),
    ];
    for (args, parts) in table {
        let said = refusal(binary(&kubeconfig).args(args));
        assert!(parts.iter().all(|part| said.contains(part)), "{args:?}: {said}");
    }
}

#[test]
fn crds_prints_the_generated_file() {
    let (_directory, kubeconfig) = nowhere();
    let printed = stdout(&binary(&kubeconfig).arg("crds").output().unwrap());
    let mut files: Vec<_> = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/crds"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    let written: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    assert_eq!(printed, written);
    let names: Vec<_> = serde_saphyr::from_multiple::<Value>(&printed)
        .unwrap()
        .iter()
        .map(|crd| crd["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["runaiclusters.runai-operator.io", "runaicontrolplanes.runai-operator.io"]);
}

/// What a refused start says, in one line.
fn refusal(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{command:?} started");
    assert_eq!(text(&output.stdout), "", "{command:?}");
    let said = text(&output.stderr);
    assert!(!said.contains("panicked"), "{said}");
    let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{command:?}: {said}");
    errors[0].to_owned()
}

#[test]
fn a_flag_that_cannot_be_used_is_named() {
    let (_directory, kubeconfig) = nowhere();
    let table: &[(&[&str], &[&str])] = &[
        // 5 s to send, the default deadline of 20 s, 5 s in between: 30 s is the least.
        (&["--create-quarantine=29s"], &["--create-quarantine", "29s", "at least 30s", "--create-deadline"]),
        (&["--create-deadline=2m"], &["--create-quarantine", "at least 130s"]),
        (&["--create-deadline=0s"], &["--create-deadline"]),
        (&["--create-quarantine=fast"], &["--create-quarantine", "fast", "30s, 10m or 1h30m"]),
        (&["--create-quarantine=60"], &["--create-quarantine", "30s, 10m or 1h30m"]),
        (&["--create-quarantine=-1s"], &["--create-quarantine", "30s, 10m or 1h30m"]),
        (&["--concurrency=0"], &["--concurrency", "at least 1"]),
        (&["--concurrency=many"], &["--concurrency", "many"]),
        (&["--concurrency=70000"], &["--concurrency", "65535"]),
        (&["--metrics-bind=8080"], &["--metrics-bind", "8080"]),
        (&["--log-format=xml"], &["--log-format", "xml"]),
        (&["--default-deletion-policy=Keep"], &["--default-deletion-policy", "Keep"]),
        (&["--leader-elect=perhaps"], &["--leader-elect", "perhaps"]),
        (&["--no-such-flag"], &["--no-such-flag"]),
    ];
    for (args, parts) in table {
        let said = refusal(binary(&kubeconfig).arg("run").args(*args));
        assert!(parts.iter().all(|part| said.contains(part)), "{args:?}: {said}");
    }
    let said = refusal(binary(&kubeconfig).arg("run").env("RUST_LOG", "=loud="));
    assert!(said.contains("RUST_LOG") && said.contains("info,runai_cluster_operator=debug"), "{said}");
    let said = refusal(binary(Path::new("/nonexistent/kubeconfig")).args(["run"]));
    assert!(said.contains("KUBECONFIG"), "{said}");
}

/// Whoever reads the log of a pod reads nothing else: the reason for the end is a line of it, whatever the filter.
#[test]
fn a_refused_start_is_told_in_json_too() {
    let (_directory, kubeconfig) = nowhere();
    for filter in ["info", "off"] {
        let mut command = binary(&kubeconfig);
        command.args(["run", "--log-format=json", "--concurrency=0"]).env("RUST_LOG", filter);
        let output = command.output().unwrap();
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()));
        let said = text(&output.stderr);
        let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
        let last = lines.last().unwrap();
        assert_eq!(last["level"], "ERROR", "{said}");
        assert!(last["message"].as_str().unwrap().contains("--concurrency"), "{said}");
    }
}

#[test]
fn variables_mirror_flags() {
    let (_directory, kubeconfig) = nowhere();
    let said = refusal(binary(&kubeconfig).arg("run").env("RUNAI_OPERATOR_CREATE_QUARANTINE", "29s"));
    assert!(said.contains("--create-quarantine 29s is too short"), "{said}");
    let said = refusal(binary(&kubeconfig).arg("run").env("RUNAI_OPERATOR_CREATE_QUARANTINE", "soon"));
    assert!(said.contains("--create-quarantine") && said.contains("soon"), "{said}");
    // A flag goes before its variable: 40 s would do, the concurrency would not.
    let mut both = binary(&kubeconfig);
    both.args(["run", "--create-quarantine=40s", "--concurrency=0"]).env("RUNAI_OPERATOR_CREATE_QUARANTINE", "29s");
    let said = refusal(&mut both);
    assert!(said.contains("--concurrency"), "{said}");
}
