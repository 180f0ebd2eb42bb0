//! docs/api-coverage.md has a row for every endpoint, and names tests and files that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use runai_simulator::Operation;

/// Method and path of every endpoint that the simulator serves.
fn endpoints() -> BTreeSet<String> {
    use Operation::{Create, Delete, Get, InstallInfo, List, Metrics, Minimal, MinimalList, Token, TokenV2, Update};
    let all = [Token, TokenV2, List, Create, Get, Update, Delete, MinimalList, Minimal, InstallInfo, Metrics];
    let method = |operation: Operation| match operation {
        Token | TokenV2 | Create => "POST",
        List | Get | MinimalList | Minimal | InstallInfo | Metrics => "GET",
        Update => "PUT",
        Delete => "DELETE",
    };
    all.into_iter().map(|operation| format!("{} {}", method(operation), operation.template())).collect()
}

/// The rows of a table, each with its cells.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let lines = page.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    lines.skip(2).map(|line| line.split('|').map(str::trim).collect()).collect()
}

/// The words in back quotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn code(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            code(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_endpoint_has_a_row_and_every_row_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/api-coverage.md")).unwrap();
    let rows = rows(&page);
    let listed: BTreeSet<String> = rows.iter().map(|row| quoted(row[0]).next().unwrap().to_owned()).collect();
    assert_eq!(listed, endpoints());
    assert_eq!(rows.len(), listed.len(), "one row each");

    let mut tests = String::new();
    code(&root.join("tests"), &mut tests);
    for row in &rows {
        let [endpoint, used, places, shown] = row[..] else { panic!("four cells: {row:?}") };
        if used.ends_with("not used") {
            assert!(places.is_empty() && shown.is_empty(), "{endpoint}: not used, but {row:?}");
            continue;
        }
        for place in quoted(places) {
            assert!(root.join(place).exists(), "{endpoint}: there is no {place}");
        }
        let names: Vec<_> = quoted(shown).collect();
        assert!(!names.is_empty() && !places.is_empty(), "{endpoint}: who shows it?");
        for name in names {
            assert!(tests.contains(&format!("fn {name}(")), "{endpoint}: there is no test {name}");
        }
    }
}

#[test]
fn the_table_is_read_as_it_is_written() {
    let page = "text\n\n| A | B |\n| --- | --- |\n| `GET /x` | `one_two`, `three` |\n| `PUT /x` | |\n";
    assert_eq!(rows(page)[0], ["`GET /x`", "`one_two`, `three`"]);
    assert_eq!(rows(page)[1], ["`PUT /x`", ""]);
    assert_eq!(quoted(rows(page)[0][1]).collect::<Vec<_>>(), ["one_two", "three"]);
}
