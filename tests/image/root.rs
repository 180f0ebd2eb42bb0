//! The root file system that `image/root` lays out, and what has to be in it.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use testbed::{TemporaryDirectory, workspace_dir};

/// Some time in the past, in seconds: of every file.
pub const EPOCH: i64 = 1_700_000_000;

/// The operator without debug information, as a release has it.
pub fn binary(directory: &Path) -> PathBuf {
    let stripped = directory.join("stripped");
    let built = env!("CARGO_BIN_EXE_runai-cluster-operator");
    match Command::new("strip").arg("-o").arg(&stripped).arg(built).status() {
        Ok(status) if status.success() => stripped,
        Ok(_) | Err(_) => built.into(),
    }
}

fn script(binary: &Path, root: &Path, bundle: Option<&Path>) -> Output {
    let mut command = Command::new(workspace_dir().join("image/root"));
    command.arg(binary).arg(root).env("SOURCE_DATE_EPOCH", EPOCH.to_string()).env_remove("CA_BUNDLE");
    if let Some(bundle) = bundle {
        command.env("CA_BUNDLE", bundle);
    }
    command.output().unwrap()
}

/// Lays it out below `directory`, with this bundle.
pub fn lay_out(directory: &Path, bundle: &Path) -> PathBuf {
    let root = directory.join("root");
    let output = script(&binary(directory), &root, Some(bundle));
    assert!(output.status.success(), "{output:?}");
    root
}

/// Every file and directory below `root`, without its head.
fn entries(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![root.to_owned()];
    let mut at = 0;
    while let Some(path) = found.get(at).cloned() {
        at += 1;
        if path.is_dir() {
            found.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

#[test]
fn the_root_holds_the_binary_its_libraries_and_a_ca_bundle() {
    let directory = TemporaryDirectory::create().unwrap();
    let bundle = directory.path().join("bundle.pem");
    std::fs::write(&bundle, "certificates").unwrap();
    let root = lay_out(directory.path(), &bundle);
    let entries = entries(&root);
    let files: BTreeSet<_> = entries.iter().filter(|path| path.is_file()).collect();
    let inside = |path: &Path| path.strip_prefix(&root).unwrap().display().to_string();
    let (mut libraries, mut others) = (0, BTreeSet::new());
    for file in files {
        let name = inside(file);
        if name.starts_with("lib") || name.starts_with("usr/lib") {
            assert!(name.contains(".so"), "{name}");
            libraries += 1;
        } else {
            others.insert(name);
        }
    }
    let expected = ["etc/nsswitch.conf", "etc/ssl/certs/ca-certificates.crt", "usr/bin/runai-cluster-operator"];
    assert_eq!(others, expected.map(str::to_owned).into());
    // The loader and libc, at least.
    assert!(libraries >= 2, "{entries:?}");
    assert_eq!(std::fs::read_to_string(root.join("etc/ssl/certs/ca-certificates.crt")).unwrap(), "certificates");
    for path in &entries {
        let data = path.metadata().unwrap();
        let needed = if path.is_dir() || inside(path).contains("bin/") { 0o005 } else { 0o004 };
        assert_eq!(data.permissions().mode() & needed, needed, "not for an arbitrary user: {}", path.display());
        assert_eq!(data.permissions().mode() & 0o6022, 0, "writable, or set-uid: {}", path.display());
        assert_eq!(data.mtime(), EPOCH, "not reproducible: {}", path.display());
    }
}

#[test]
fn what_is_missing_is_told() {
    let directory = TemporaryDirectory::create().unwrap();
    let root = directory.path().join("root");
    for (binary, bundle, expected) in [
        ("/no/such/program", "/etc/hostname", "there is no program /no/such/program; build it first"),
        ("/bin/sh", "/no/such/bundle", "no CA bundle at /no/such/bundle; install ca-certificates, or set CA_BUNDLE"),
    ] {
        let output = script(binary.as_ref(), &root, Some(bundle.as_ref()));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}
