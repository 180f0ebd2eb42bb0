//! What the operator is built from: one of each that must be one, none of what must not be there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::process::Command;

/// Names and versions in the resolved tree of a package, features considered. Needs no network: what is built is there.
fn tree(package: &str, edges: &str) -> BTreeSet<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--prefix", "none", "--no-dedupe", "--format", "{p}"])
        .args(["--package", package, "--edges", edges])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let (text, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "cargo tree failed: {errors}");
    let packages: BTreeSet<_> = text.lines().filter_map(package_of).collect();
    assert!(packages.len() > 50, "cargo tree shows only {}", packages.len());
    packages
}

/// `kube v5.0.0 (proc-macro)` and the like.
fn package_of(line: &str) -> Option<(String, String)> {
    let mut words = line.split_whitespace();
    let (name, version) = (words.next()?, words.next()?);
    Some((name.to_owned(), version.strip_prefix('v')?.to_owned()))
}

fn versions<'a>(tree: &'a BTreeSet<(String, String)>, name: &str) -> Vec<&'a str> {
    tree.iter().filter(|(n, _)| n == name).map(|(_, version)| version.as_str()).collect()
}

/// What stands against a tree.
fn objections(tree: &BTreeSet<(String, String)>) -> Vec<String> {
    let mut found = Vec::new();
    for name in ["kube", "k8s-openapi", "jiff", "rustls", "aws-lc-rs", "tokio", "reqwest", "schemars", "thiserror"] {
        let versions = versions(tree, name);
        if versions.len() != 1 {
            found.push(format!("{name}: exactly one version is wanted, there are {versions:?}"));
        }
    }
    if !versions(tree, "jiff").iter().all(|version| version.starts_with("0.2.")) {
        found.push("jiff: kube and k8s-openapi speak 0.2".to_owned());
    }
    // A second provider makes rustls panic at the first connection; the others are a second TLS or time library.
    for name in
        ["ring", "native-tls", "openssl", "openssl-sys", "chrono", "time", "anyhow", "serde_yaml", "webpki-roots"]
    {
        if !versions(tree, name).is_empty() {
            found.push(format!("{name}: must not be part of the operator"));
        }
    }
    for name in ["runai-simulator", "testbed"] {
        if !versions(tree, name).is_empty() {
            found.push(format!("{name}: is for tests only"));
        }
    }
    found
}

#[test]
fn the_operator_is_built_from_one_of_each() {
    // What only expands macros is not part of the binary.
    let objections = objections(&tree("runai-cluster-operator", "normal,no-proc-macro"));
    assert!(objections.is_empty(), "\n{}\n", objections.join("\n"));
}

#[test]
fn no_second_crypto_provider_comes_with_the_tests() {
    for package in ["runai-cluster-operator", "runai-simulator", "testbed"] {
        let tree = tree(package, "normal,build,dev");
        assert_eq!(versions(&tree, "ring"), Vec::<&str>::new(), "{package}");
        assert_eq!(versions(&tree, "rustls").len().max(1), 1, "{package}");
    }
}

#[test]
fn an_objection_is_raised() {
    let sound = tree("runai-cluster-operator", "normal");
    for (name, version) in [
        ("kube", "4.0.0"),
        ("jiff", "1.0.1"),
        ("ring", "0.17.14"),
        ("chrono", "0.4.0"),
        ("testbed", "0.1.0"),
        ("runai-simulator", "0.1.0"),
    ] {
        let mut bad = sound.clone();
        bad.insert((name.to_owned(), version.to_owned()));
        assert!(objections(&bad).iter().any(|objection| objection.starts_with(name)), "{name}");
    }
    let without = sound.iter().filter(|(name, _)| name != "aws-lc-rs").cloned().collect();
    assert!(!objections(&without).is_empty());
}

#[test]
fn lines_of_cargo_tree_are_read() {
    assert_eq!(package_of("kube v5.0.0"), Some(("kube".to_owned(), "5.0.0".to_owned())));
    assert_eq!(
        package_of("serde_derive v1.0.229 (proc-macro)"),
        Some(("serde_derive".to_owned(), "1.0.229".to_owned()))
    );
    assert_eq!(package_of(""), None);
}
