//! Pages that say the same as the code, and versions that say the same as each other.
//!
//! After a change of the types: `UPDATE_DOCS=1 cargo test --workspace --test docs` (`make crds` does it, too).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fields;
mod headings;
mod links;
mod versions;
mod workflows;

use std::path::{Path, PathBuf};

/// The root of the project.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// A file of the project.
fn read(name: &str) -> String {
    let path = root().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
