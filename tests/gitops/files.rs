//! The files that users get, read as YAML.
//!
//! Owns where they lie. Must not know what is in them.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A file or folder of the project.
pub fn path(name: &str) -> PathBuf {
    testbed::workspace_dir().join(name)
}

/// All documents of a YAML file.
pub fn documents(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let all: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    all.into_iter().filter(Value::is_object).collect()
}

/// The YAML files below a folder, in order.
pub fn yaml_below(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![path(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Whether recordings are to be written instead of compared.
pub fn updating() -> bool {
    std::env::var_os("UPDATE_GITOPS").is_some_and(|value| value == "1")
}

/// Compares a file with what it should hold, or writes it.
pub fn hold(file: &Path, content: &str) {
    if updating() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
        return;
    }
    let found = std::fs::read_to_string(file).unwrap_or_default();
    let first = found.lines().zip(content.lines()).find(|(found, made)| found != made);
    assert!(
        found == content,
        "{} is not what is made now (first at {first:?}); run `make recordings` and look at the difference",
        file.display()
    );
}
