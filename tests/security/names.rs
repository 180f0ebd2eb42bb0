//! SECURITY.md names tests: they exist.

use std::fs;
use std::path::Path;

/// The words in back quotes that are spelled like a test: lower case, at least two underscores.
fn named(text: &str) -> Vec<&str> {
    let is_test = |word: &&str| {
        word.matches('_').count() >= 2 && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    text.split('`').skip(1).step_by(2).filter(is_test).collect()
}

fn sources(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_named_test_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let mut code = String::new();
    for directory in ["src", "tests"] {
        sources(&root.join(directory), &mut code);
    }
    let names = named(&page);
    assert!(names.len() > 40, "{names:?}");
    let missing: Vec<_> = names.into_iter().filter(|name| !code.contains(&format!("fn {name}("))).collect();
    assert_eq!(missing, Vec::<&str>::new());
    assert_eq!(named("a `test_with_a_name`, a `word`, `unsafe_code`, `Other_Thing_Here`"), ["test_with_a_name"]);
}
