//! `image/build`, which `make image` runs: takes the engine that is there, and says so when there is none.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use testbed::{TemporaryDirectory, workspace_dir};

/// What the script itself needs.
const PROGRAMS: [&str; 5] = ["sh", "dirname", "sed", "date", "git"];

/// A program that shows how it was called; asked for `info` it ends like docker with or without a daemon.
fn engine(bin: &Path, name: &str, daemon: bool) {
    let file = bin.join(name);
    let code = i32::from(!daemon);
    let script = format!("#!/bin/sh\n[ \"$1\" = info ] && exit {code}\necho {name} \"$@\" epoch=$SOURCE_DATE_EPOCH\n");
    std::fs::write(&file, script).unwrap();
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o755)).unwrap();
}

fn run(engines: &[(&str, bool)], environment: &[(&str, &str)]) -> Output {
    let directory = TemporaryDirectory::create().unwrap();
    for name in PROGRAMS {
        let mut places = ["/usr/bin", "/bin", "/usr/local/bin"].into_iter().map(|place| Path::new(place).join(name));
        if let Some(found) = places.find(|path| path.exists()) {
            symlink(found, directory.path().join(name)).unwrap();
        }
    }
    for (name, daemon) in engines {
        engine(directory.path(), name, *daemon);
    }
    let mut command = Command::new(workspace_dir().join("image/build"));
    command.args(["operator:test", "--push"]).env_clear().env("PATH", directory.path());
    command.envs(environment.iter().copied()).output().unwrap()
}

/// The commit, as git tells it without our environment, as it is run above; `unknown` without a repository.
fn revision() -> String {
    let mut git = Command::new("git");
    git.args(["rev-parse", "HEAD"])
        .current_dir(workspace_dir())
        .env_clear()
        .env("PATH", "/usr/bin:/bin:/usr/local/bin");
    let output = git.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    if output.status.success() { said } else { "unknown".to_owned() }
}

#[test]
fn the_first_engine_that_works_is_taken() {
    let revision = revision();
    let all = [("docker", true), ("podman", true), ("buildah", true)];
    for (engines, environment, expected) in [
        (&all[..], &[][..], "docker buildx build "),
        (&[("docker", false), ("podman", true)][..], &[], "podman build --timestamp 86400 "),
        (&[("buildah", true)], &[], "buildah build --timestamp 86400 "),
        (&all, &[("ENGINE", "buildah")], "buildah build --timestamp 86400 "),
    ] {
        let environment = [environment, &[("SOURCE_DATE_EPOCH", "86400"), ("SOURCE", "https://example.com")]].concat();
        let output = run(engines, &environment);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.starts_with(expected), "{said}");
        for word in [
            "--tag operator:test",
            concat!("VERSION=", env!("CARGO_PKG_VERSION")),
            &format!("REVISION={revision}"),
            "CREATED=1970-01-02T00:00:00Z",
            "SOURCE_DATE_EPOCH=86400",
            "SOURCE=https://example.com",
            "--push",
        ] {
            assert!(said.contains(&format!("{word} ")), "{word}: {said}");
        }
        assert!(said.ends_with(". epoch=86400\n"), "{said}");
    }
}

/// Everybody can read an image's labels.
#[test]
fn the_label_source_is_a_web_address_without_credentials() {
    for (origin, expected) in [
        ("https://user:canary@example.com/owner/operator.git", "https://example.com/owner/operator"),
        ("https://canary@example.com/owner/operator", "https://example.com/owner/operator"),
        ("git@example.com:owner/operator.git", "https://example.com/owner/operator"),
        ("ssh://git@example.com/owner/operator.git", "https://example.com/owner/operator"),
        ("https://example.com/owner/operator.git", "https://example.com/owner/operator"),
        ("", "unknown"),
    ] {
        let repository = TemporaryDirectory::create().unwrap();
        let git = |args: &[&str]| {
            let output = Command::new("git").arg("-C").arg(repository.path()).args(args).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        git(&["init", "--quiet"]);
        if !origin.is_empty() {
            git(&["remote", "add", "origin", origin]);
        }
        let place = repository.path().join(".git").display().to_string();
        let output = run(&[("buildah", true)], &[("GIT_DIR", &place)]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(&format!("SOURCE={expected} ")), "{origin}: {said}");
        assert!(!said.contains("canary"), "{said}");
    }
}

#[test]
fn without_one_it_says_what_to_install() {
    let none = "no container engine; install docker (and start its daemon), podman or buildah";
    for (engines, environment, expected) in [
        (&[][..], &[][..], none),
        (&[("docker", false)][..], &[], none),
        (&[("docker", false)], &[("ENGINE", "docker")][..], "docker is not installed, or its daemon does not run"),
        (&[], &[("ENGINE", "kaniko")], "ENGINE=kaniko is not known; use docker, podman or buildah"),
    ] {
        let output = run(engines, environment);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}
