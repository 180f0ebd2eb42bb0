//! The workflows in .github: they run what the project has, with few rights, and nothing of strangers.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{read, root};

/// Whose actions are run.
const OWNERS: [&str; 2] = ["actions", "sigstore"];

fn workflows() -> Vec<(String, Value)> {
    let directory = root().join(".github/workflows");
    let mut found: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let name = format!(".github/workflows/{}", entry.unwrap().file_name().to_str().unwrap());
            let parsed = serde_saphyr::from_str(&read(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, parsed)
        })
        .collect();
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found
}

/// Directories of the project that hold a file of this name, each as dependabot names it.
fn directories_with(name: &str) -> BTreeSet<String> {
    let (mut found, mut left) = (BTreeSet::new(), vec![root()]);
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            let file = entry.file_name();
            if file == name {
                found.insert(format!("/{}", directory.strip_prefix(root()).unwrap().display()));
            } else if entry.file_type().unwrap().is_dir() && file != "target" && file != ".git" {
                left.push(entry.path());
            }
        }
    }
    found
}

/// Whether one of these directories is meant; `*` stands for one name.
fn is_listed(listed: &[&str], directory: &str) -> bool {
    listed.iter().any(|pattern| match pattern.strip_suffix("/*") {
        Some(parent) => directory.rsplit_once('/').is_some_and(|(above, _)| above == parent),
        None => *pattern == directory,
    })
}

#[test]
fn dependabot_knows_every_lock_file() {
    let config: Value = serde_saphyr::from_str(&read(".github/dependabot.yml")).unwrap();
    for (ecosystem, file) in [("cargo", "Cargo.lock"), ("gomod", "go.mod"), ("pip", "requirements.txt")] {
        let entry = config["updates"].as_array().unwrap().iter().find(|entry| entry["package-ecosystem"] == ecosystem);
        let entry = entry.unwrap_or_else(|| panic!("nothing about {ecosystem}"));
        let many = entry["directories"].as_array().into_iter().flatten();
        let listed: Vec<_> = many.chain([&entry["directory"]]).filter_map(Value::as_str).collect();
        for directory in directories_with(file) {
            assert!(is_listed(&listed, &directory), "{file} of {directory}: only {listed:?}");
        }
    }
    assert!(is_listed(&["/a/*"], "/a/b") && !is_listed(&["/a/*"], "/a/b/c") && !is_listed(&["/a"], "/a/b"));
}

/// Targets of the Makefile.
fn targets(makefile: &str) -> BTreeSet<&str> {
    makefile.lines().filter_map(|line| line.split_once(':')).map(|(target, _)| target).collect()
}

/// The word after each `before` in a script.
fn words_after<'a>(script: &'a str, before: &str) -> Vec<&'a str> {
    let words: Vec<_> = script.split_whitespace().collect();
    words.windows(2).filter(|pair| pair[0] == before).map(|pair| pair[1]).collect()
}

fn step_objections(step: &Value, makefile: &str, found: &mut Vec<String>) {
    if let Some(action) = step["uses"].as_str() {
        let owner = action.split('/').next().unwrap_or_default();
        let version = action.split_once('@').map(|(_, version)| version).unwrap_or_default();
        let fixed = version.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            || (version.len() == 40 && version.chars().all(|c| c.is_ascii_hexdigit()));
        if !OWNERS.contains(&owner) || !fixed {
            found.push(format!("{action}: not of {OWNERS:?}, or without a version"));
        }
        if action.starts_with("actions/checkout@") && step["with"]["persist-credentials"] != false {
            found.push(format!("{action}: leaves the token behind"));
        }
    }
    let Some(script) = step["run"].as_str() else { return };
    // What somebody else may choose (a branch's name, a title) comes by the environment, never as text of a script.
    if script.contains("${{") {
        found.push(format!("an expression in a script: {script}"));
    }
    if script.lines().count() > 1 && !script.starts_with("set -euo pipefail\n") {
        found.push(format!("a script that goes on after an error: {script}"));
    }
    for target in words_after(script, "make") {
        if !targets(makefile).contains(target) {
            found.push(format!("no target {target}"));
        }
    }
    for program in script.split_whitespace().filter(|word| word.starts_with("image/")) {
        if !root().join(program).exists() {
            found.push(format!("no program {program}"));
        }
    }
    for test in words_after(script, "--test") {
        let place = root().join("tests").join(test);
        if !place.join("main.rs").exists() && !place.with_extension("rs").exists() {
            found.push(format!("no test {test}"));
        }
    }
}

fn objections(workflow: &Value, makefile: &str) -> Vec<String> {
    let mut found = Vec::new();
    if workflow["permissions"] != serde_json::json!({ "contents": "read" }) {
        found.push("a job may write unless it says otherwise".to_owned());
    }
    for (name, job) in workflow["jobs"].as_object().into_iter().flatten() {
        let called = job["uses"].as_str();
        if called.is_some_and(|called| !root().join(called).exists()) {
            found.push(format!("{name}: there is no {called:?}"));
        }
        if called.is_none() && !job["timeout-minutes"].is_number() {
            found.push(format!("{name}: no time limit"));
        }
        for step in job["steps"].as_array().into_iter().flatten() {
            step_objections(step, makefile, &mut found);
        }
    }
    found
}

#[test]
fn workflows_run_what_is_there() {
    let makefile = read("Makefile");
    let workflows = workflows();
    assert_eq!(workflows.len(), 2);
    for (name, workflow) in workflows {
        let objections = objections(&workflow, &makefile);
        assert!(objections.is_empty(), "{name}:\n{}", objections.join("\n"));
    }
}

#[test]
fn the_oldest_kubernetes_that_the_chart_takes_is_tested() {
    let chart: Value = serde_saphyr::from_str(&read("charts/runai-cluster-operator/Chart.yaml")).unwrap();
    let oldest = chart["kubeVersion"].as_str().unwrap().trim_start_matches(">=").trim_end_matches(".0-0");
    let ci = read(".github/workflows/ci.yaml");
    assert!(ci.contains(&format!("KUBERNETES: v{oldest}.")), "{oldest}");
}

#[test]
fn what_is_wrong_is_found() {
    let bad = serde_json::json!({ "permissions": "write-all", "jobs": {
        "a": { "uses": "./.github/workflows/none.yaml" },
        "b": { "steps": [
            { "uses": "someone/thing@v1" },
            { "uses": "actions/cache@main" },
            { "uses": "actions/checkout@v4" },
            { "run": "echo ${{ github.head_ref }}" },
            { "run": "one\ntwo" },
            { "run": "make nothing" },
            { "run": "cargo test --test nothing" },
            { "run": "image/nothing" },
        ] },
    } });
    assert_eq!(objections(&bad, "test: build\n").len(), 11);
}

/// Files that a workflow puts into `dist`, from where they come to the release page; variables as they are.
fn distributed(workflow: &Value) -> BTreeSet<String> {
    let steps = || workflow["jobs"].as_object().unwrap().values().filter_map(|job| job["steps"].as_array()).flatten();
    let mut found = BTreeSet::new();
    for script in steps().filter_map(|step| step["run"].as_str()) {
        let mut there = false;
        for line in script.lines() {
            let words: Vec<_> = line.split_whitespace().map(|word| word.trim_matches('"')).collect();
            match &words[..] {
                ["cd", to] => there = *to == "dist",
                ["cp" | "mv", files @ .., to] if to.starts_with("dist") => {
                    found.extend(files.iter().map(|file| file.rsplit('/').next().unwrap().to_owned()));
                }
                _ if there => {
                    let made = [">", "--bundle"].into_iter().flat_map(|before| words_after(line, before));
                    found.extend(made.map(str::to_owned));
                }
                _ => {}
            }
        }
    }
    let downloads = steps().any(|step| step["with"]["path"] == "dist" && step["with"]["pattern"] == "binary-*");
    for upload in steps().filter(|step| step["uses"].as_str().is_some_and(|uses| uses.contains("/upload-artifact@"))) {
        if downloads && upload["with"]["name"].as_str().unwrap().starts_with("binary-") {
            found.insert(upload["with"]["path"].as_str().unwrap().to_owned());
        }
    }
    found
}

#[test]
fn a_release_has_all_files_that_its_page_tells_of() {
    let page = read("docs/releases.md");
    let told = page.lines().filter(|line| line.contains("| release page")).filter_map(|line| line.split('`').nth(1));
    // Two in one row.
    let told: BTreeSet<_> = told.map(|name| name.replace("{amd64,arm64}", "${{ matrix.architecture }}")).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    let release = workflows().pop().unwrap().1;
    let files = distributed(&release);
    for name in told.iter().map(String::as_str).chain(["checksums.txt", "checksums.txt.sigstore.json"]) {
        assert!(files.contains(name), "{name} is not among {files:?}");
    }
    // Without the step that makes one, it is missing.
    for name in told {
        let mut without = release.clone();
        for job in without["jobs"].as_object_mut().unwrap().values_mut() {
            if let Some(steps) = job["steps"].as_array_mut() {
                steps.retain(|step| !step.to_string().contains(&name));
            }
        }
        assert!(!distributed(&without).contains(&name), "{name}");
    }
}
