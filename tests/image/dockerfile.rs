//! The Dockerfile and the rest of the project agree.

use serde_json::Value;
use testbed::workspace_dir;

fn read(name: &str) -> String {
    std::fs::read_to_string(workspace_dir().join(name)).unwrap()
}

/// The default of a build argument.
fn argument<'a>(dockerfile: &'a str, name: &str) -> &'a str {
    let mut lines = dockerfile.lines().filter_map(|line| line.strip_prefix("ARG ")?.split_once('='));
    lines.find(|(key, _)| *key == name).unwrap_or_else(|| panic!("no ARG {name} with a default")).1
}

#[test]
fn the_image_is_compiled_as_the_project_is_tested() {
    let dockerfile = read("Dockerfile");
    let toolchain = read("rust-toolchain.toml");
    let version = argument(&dockerfile, "RUST_VERSION");
    assert!(toolchain.contains(&format!("channel = \"{version}\"")), "{version}: {toolchain}");
    let auditable = argument(&dockerfile, "CARGO_AUDITABLE_VERSION");
    assert!(read("Makefile").contains(&format!("CARGO_AUDITABLE := {auditable}\n")), "{auditable}");
    // A binary runs with the glibc that it was linked to: both bases are of one Debian.
    assert!(argument(&dockerfile, "BUILDER").ends_with("-bookworm"));
    assert!(argument(&dockerfile, "BASE").contains("debian12"));
}

#[test]
fn the_chart_runs_the_image_as_the_user_that_the_image_names() {
    let dockerfile = read("Dockerfile");
    let users: Vec<_> = dockerfile.lines().filter_map(|line| line.strip_prefix("USER ")).collect();
    let values: Value = serde_saphyr::from_str(&read("charts/runai-cluster-operator/values.yaml")).unwrap();
    let of = |name: &str| values["podSecurityContext"][name].as_u64().unwrap();
    assert_eq!(users, [format!("{}:{}", of("runAsUser"), of("runAsGroup"))]);
    assert_ne!(of("runAsUser"), 0);
}

#[test]
fn nothing_that_changes_under_the_same_name_is_run() {
    let dockerfile = read("Dockerfile");
    for line in dockerfile.lines().filter(|line| !line.starts_with('#')) {
        for word in [":latest", "ADD ", "curl", "wget", "--privileged"] {
            assert!(!line.contains(word), "{word}: {line}");
        }
        if line.contains("cargo") && (line.contains(" install ") || line.contains(" build ")) {
            assert!(line.contains("--locked"), "{line}");
        }
    }
}
