//! The rooms of the project and the arrows between them, sizes and headers.
//!
//! Each rule is a function over one source text, so that the last tests can show that it finds a breach.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/source.rs"]
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use source::{blank_comments_and_literals, block_end, code_lines, without_tests, words};

/// Every room with the rooms that it may use. `telemetry` is a leaf.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("telemetry", &[]),
    ("api", &["domain", "telemetry"]),
    ("runai", &["domain", "telemetry"]),
    ("inventory", &["runai", "domain", "telemetry"]),
    ("controller", &["inventory", "runai", "api", "domain", "telemetry"]),
    ("cli", &["controller", "inventory", "runai", "api", "domain", "telemetry"]),
];

/// Paths that a room must not name, with the reason.
const BANNED: &[(&str, &[&str], &str)] = &[
    (
        "domain",
        &[
            "kube",
            "k8s_openapi",
            "reqwest",
            "http",
            "hyper",
            "axum",
            "tokio",
            "futures",
            "tracing",
            "rustls",
            "aws_lc_rs",
            "prometheus_client",
            "clap",
        ],
        "the core does no I/O",
    ),
    (
        "domain",
        &[
            "SystemTime",
            "Instant",
            "Timestamp::now",
            "Zoned::now",
            "fastrand",
            "new_v4",
            "std::fs",
            "std::net",
            "std::env",
            "std::process",
            "std::thread",
        ],
        "time, randomness and the outside world are arguments of the core",
    ),
    (
        "api",
        &["reqwest", "http", "axum", "tokio", "Timestamp::now", "SystemTime"],
        "the Kubernetes face reads and writes shapes only",
    ),
    ("runai", &["kube", "k8s_openapi"], "the REST face knows no Kubernetes"),
    ("inventory", &["kube", "k8s_openapi", "reqwest"], "the inventory knows the REST face only"),
    ("cli", &["reqwest", "axum", "hyper", "prometheus_client"], "commands reach the outside through the rooms below"),
    (
        "cli",
        &["Patch", "PatchParams", "PostParams", "DeleteParams", "Permit"],
        "commands only read; what writes is the controller",
    ),
];

/// Names that only these files may hold, with the reason.
const RESERVED: &[(&str, &[&str], &str)] = &[
    (
        "believing",
        &["src/controller/signer.rs", "src/controller/rehearsal.rs"],
        "a process that writes must not take every signature for genuine",
    ),
    ("Step", &["src/domain/", "src/controller/", "src/cli/plan/words.rs"], "commands decide nothing"),
];

/// Most lines of code of a file, tests, comments and blank lines aside.
const MAX_CODE_LINES: usize = 400;
/// Most lines of a file, all told.
const MAX_LINES: usize = 800;
/// Most lines of code of a function.
const MAX_FUNCTION_LINES: usize = 60;
/// Most lines of `main.rs`.
const MAX_MAIN_LINES: usize = 59;

struct File {
    /// Path below the root, with `/`.
    path: String,
    text: String,
}

impl File {
    /// The code without literals, comments and tests; empty for a file of tests.
    fn code(&self) -> String {
        if self.is_test() {
            return String::new();
        }
        without_tests(&blank_comments_and_literals(&self.text))
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("_tests.rs") || self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The room that it lies in.
    fn room(&self) -> Option<&str> {
        let (room, _) = self.path.strip_prefix("src/")?.split_once('/')?;
        Some(room)
    }

    /// How many `super`s lead to the crate's root.
    fn depth(&self) -> usize {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let parts = below.split('/').count();
        if below.ends_with("/mod.rs") { parts - 1 } else { parts }
    }
}

fn files(folder: &str) -> Vec<File> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    collect(&root, &root.join(folder), &mut found);
    assert!(!found.is_empty(), "{folder} holds no Rust file");
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<File>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            found.push(File { path, text });
        }
    }
}

/// The operator's own sources.
fn operator() -> Vec<File> {
    files("src")
}

/// All sources that ship or support tests.
fn everything() -> Vec<File> {
    ["src", "simulator/src", "testbed/src"].into_iter().flat_map(files).collect()
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// The rooms that a file names, as `crate::room`, `crate::{room::.., room}` or `super::..::room`, with their lines.
fn rooms_named(file: &File) -> Vec<(String, usize)> {
    let code = file.code();
    let mut named = Vec::new();
    for start in ["crate", "super"] {
        for at in words(&code, start) {
            let mut rest = &code[at + start.len()..];
            let mut climbed = usize::from(start == "super");
            if start == "super" {
                // The head of the chain counts the whole chain.
                if code[..at].trim_end().ends_with("super::") || code[..at].ends_with("::") {
                    continue;
                }
                while let Some(tail) = rest.strip_prefix("::super") {
                    climbed += 1;
                    rest = tail;
                }
                if climbed < file.depth() {
                    continue;
                }
            }
            let Some(path) = rest.strip_prefix("::") else { continue };
            let line = line_of(&code, at);
            named.extend(heads(path).into_iter().map(|name| (name, line)));
        }
    }
    named
}

/// The first names of a path: one, or those of a `{..}` group.
fn heads(path: &str) -> Vec<String> {
    let word =
        |text: &str| text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    if !path.starts_with('{') {
        return vec![word(path)];
    }
    let group = &path[1..block_end(path, 0) - 1];
    let (mut depth, mut names, mut start) = (0_i32, Vec::new(), 0);
    for (i, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(word(&group[start..i]));
                start = i + 1;
            }
            _ => {}
        }
    }
    names.push(word(&group[start..]));
    names.retain(|name| !name.is_empty());
    names
}

fn forbidden_arrows(file: &File) -> Vec<String> {
    let Some(room) = file.room() else { return Vec::new() };
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room) else {
        return vec![format!("{}: {room} is no room of the design", file.path)];
    };
    let is_room = |name: &str| ARROWS.iter().any(|(room, _)| *room == name);
    rooms_named(file)
        .into_iter()
        .filter(|(name, _)| is_room(name) && name != room && !allowed.contains(&name.as_str()))
        .map(|(name, line)| format!("{}:{line}: {room} must not use {name}", file.path))
        .collect()
}

fn banned_paths(file: &File) -> Vec<String> {
    let code = file.code();
    let mut found = Vec::new();
    for (room, paths, why) in BANNED {
        if file.room() != Some(room) {
            continue;
        }
        for path in *paths {
            for at in words(&code, path) {
                // A crate is named at the head of a path (`http::Uri`, `use http;`), never behind `::` or `.`.
                let is_crate = path.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit());
                let before = code[..at].trim_end();
                let behind = before.ends_with("::") || before.ends_with('.');
                let leads = code[at + path.len()..].trim_start().starts_with("::") || before.ends_with("use");
                if is_crate && *path != "new_v4" && (behind || !leads) {
                    continue;
                }
                found.push(format!("{}:{}: {room} must not name {path}: {why}", file.path, line_of(&code, at)));
            }
        }
    }
    found
}

fn reserved_names(file: &File) -> Vec<String> {
    let code = file.code();
    let mut found = Vec::new();
    for (name, homes, why) in RESERVED {
        if homes.iter().any(|home| file.path == *home || (home.ends_with('/') && file.path.starts_with(home))) {
            continue;
        }
        found.extend(
            words(&code, name).map(|at| format!("{}:{}: must not name {name}: {why}", file.path, line_of(&code, at))),
        );
    }
    found
}

fn too_long(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    let (code, all) = (code_lines(&file.code()), file.text.lines().count());
    if code > MAX_CODE_LINES {
        found.push(format!("{}: {code} lines of code, at most {MAX_CODE_LINES}", file.path));
    }
    if all > MAX_LINES {
        found.push(format!("{}: {all} lines, at most {MAX_LINES}", file.path));
    }
    if file.path == "src/main.rs" && all > MAX_MAIN_LINES {
        found.push(format!("{}: {all} lines, at most {MAX_MAIN_LINES}", file.path));
    }
    found
}

fn long_functions(file: &File) -> Vec<String> {
    let code = file.code();
    words(&code, "fn")
        .filter_map(|at| {
            let rest = &code[at..];
            let open = rest.find('{')?;
            if rest.find(';').is_some_and(|semicolon| semicolon < open) {
                return None;
            }
            let lines = code_lines(&rest[..block_end(rest, open)]);
            let name: String =
                rest[2..].trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            (lines > MAX_FUNCTION_LINES).then(|| {
                format!(
                    "{}:{}: fn {name} has {lines} lines, at most {MAX_FUNCTION_LINES}",
                    file.path,
                    line_of(&code, at)
                )
            })
        })
        .collect()
}

fn missing_header(file: &File) -> Vec<String> {
    if file.text.starts_with("//! ") {
        Vec::new()
    } else {
        vec![format!("{}: does not begin with a `//!` header", file.path)]
    }
}

fn utility_drawer(file: &File) -> Vec<String> {
    let drawers = ["utils.rs", "util.rs", "helpers.rs", "common.rs", "misc.rs"];
    let name = file.path.rsplit('/').next().unwrap_or_default();
    if drawers.contains(&name) { vec![format!("{}: name it after what it owns", file.path)] } else { Vec::new() }
}

fn check(files: &[File], rule: fn(&File) -> Vec<String>) {
    let breaches: Vec<_> = files.iter().flat_map(rule).collect();
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn rooms_use_only_what_the_design_allows() {
    check(&operator(), forbidden_arrows);
}

#[test]
fn rooms_keep_out_what_they_must_not_know() {
    check(&operator(), banned_paths);
}

#[test]
fn some_names_stay_where_they_are() {
    check(&operator(), reserved_names);
}

#[test]
fn files_stay_readable() {
    check(&everything(), too_long);
}

#[test]
fn functions_stay_readable() {
    check(&everything(), long_functions);
}

#[test]
fn every_file_says_what_it_owns() {
    check(&everything(), missing_header);
    check(&files("tests"), missing_header);
}

#[test]
fn nothing_is_kept_in_a_drawer() {
    check(&everything(), utility_drawer);
}

#[test]
fn every_room_exists() {
    let files = operator();
    for (room, _) in ARROWS {
        assert!(files.iter().any(|file| file.room() == Some(room)), "{room} is empty");
    }
}

// From here on: the rules themselves, on good and bad samples.

fn sample(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}

#[test]
fn a_forbidden_arrow_is_found_however_it_is_written() {
    let breaches = [
        ("src/domain/plan.rs", "use crate::api::RunaiCluster;"),
        ("src/domain/plan.rs", "fn f() { crate::telemetry::count() }"),
        ("src/api/convert.rs", "use crate::{domain::Desired, runai::Client};"),
        ("src/api/convert.rs", "use crate::{\n    domain::{Desired, Plan},\n    runai,\n};"),
        ("src/api/convert.rs", "use super::super::runai::Client;"),
        ("src/api/mod.rs", "use super::runai::Client;"),
        ("src/runai/wire/list.rs", "use super::super::super::controller;"),
        ("src/telemetry/logs.rs", "use crate::domain::Reason;"),
        ("src/inventory/mod.rs", "pub(crate) use crate::api;"),
        ("src/spare/mod.rs", ""),
    ];
    for (path, text) in breaches {
        assert_eq!(forbidden_arrows(&sample(path, text)).len(), 1, "{path}: {text}");
    }
}

#[test]
fn an_allowed_arrow_is_no_breach() {
    let sound = [
        ("src/api/convert.rs", "use crate::{domain::Desired, api::status};\nuse super::runai_names::X;"),
        ("src/api/convert.rs", "// use crate::runai;\n/* crate::runai */ const A: &str = \"crate::runai\";"),
        ("src/api/convert.rs", "#[cfg(test)]\nmod tests { use crate::runai; }\nfn f() {}"),
        ("src/runai/convert_tests.rs", "use crate::controller;"),
        ("src/api/deep/convert.rs", "use super::super::runai;"),
        ("src/cli/run.rs", "use crate::{api, controller, domain, inventory, runai, telemetry};"),
        ("src/lib.rs", "pub mod api;"),
    ];
    for (path, text) in sound {
        assert_eq!(forbidden_arrows(&sample(path, text)), Vec::<String>::new(), "{path}: {text}");
    }
}

#[test]
fn a_banned_path_is_found() {
    let breaches = [
        ("src/domain/a.rs", "use kube::Api;"),
        ("src/domain/a.rs", "fn f() { tracing::info!(x) }"),
        ("src/domain/a.rs", "fn f() -> Timestamp { Timestamp::now() }"),
        ("src/domain/a.rs", "use std::time::{Duration, Instant};"),
        ("src/domain/a.rs", "let id = uuid::Uuid::new_v4();"),
        ("src/domain/a.rs", "let x = fastrand::u32(..);"),
        ("src/runai/a.rs", "use k8s_openapi::api::core::v1::Secret;"),
        ("src/api/a.rs", "let now = jiff::Timestamp::now();"),
    ];
    for (path, text) in breaches {
        assert_eq!(banned_paths(&sample(path, text)).len(), 1, "{text}");
    }
    let sound = [
        (
            "src/domain/a.rs",
            "use jiff::Timestamp;\nfn f(http: u8, kube: u8) { self.http.len(); crate::domain::http::x(); }",
        ),
        ("src/domain/a.rs", "/// kube::Api\nfn f() { g(\"kube::Api\") }"),
        ("src/controller/a.rs", "use kube::Api; fn f() { Timestamp::now() }"),
    ];
    for (path, text) in sound {
        assert_eq!(banned_paths(&sample(path, text)), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_reserved_name_is_found() {
    for (path, text) in [
        ("src/controller/start.rs", "let signer = Signer::believing();"),
        ("src/cli/plan.rs", "use crate::domain::Step;"),
        ("src/cli/inventory.rs", "match plan.step { Step::Rest => {} }"),
    ] {
        assert_eq!(reserved_names(&sample(path, text)).len(), 1, "{path}: {text}");
    }
    for (path, text) in [
        ("src/controller/rehearsal.rs", "Signer::believing()"),
        ("src/controller/pass.rs", "Step::Rest"),
        ("src/cli/plan/words.rs", "Step::Rest"),
        ("src/cli/plan.rs", "// Step by step, believing nothing\nlet steps = FirstStep::new();"),
    ] {
        assert_eq!(reserved_names(&sample(path, text)), Vec::<String>::new(), "{path}: {text}");
    }
    let breach = sample("src/cli/export.rs", "use kube::api::Patch;");
    assert_eq!(banned_paths(&breach).len(), 1, "a command that writes");
}

#[test]
fn a_long_file_is_found() {
    let lines = |count: usize| "let a = 1;\n".repeat(count);
    assert!(too_long(&sample("src/api/a.rs", &lines(400))).is_empty());
    assert_eq!(too_long(&sample("src/api/a.rs", &lines(401))).len(), 1);
    assert!(too_long(&sample("src/api/a.rs", &format!("{}{}", lines(400), "\n// why\n".repeat(150)))).is_empty());
    assert!(too_long(&sample("src/api/a.rs", &format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(500)))).is_empty());
    assert_eq!(too_long(&sample("src/api/a_tests.rs", &lines(801))).len(), 1);
    assert!(too_long(&sample("src/main.rs", &lines(59))).is_empty());
    assert_eq!(too_long(&sample("src/main.rs", &lines(60))).len(), 1);
}

#[test]
fn a_long_function_is_found() {
    let function = |count: usize| format!("fn f() {{\n{}}}\nfn g();\nconst A: u8 = 1;\n", "    a();\n".repeat(count));
    assert!(long_functions(&sample("src/api/a.rs", &function(58))).is_empty());
    assert_eq!(long_functions(&sample("src/api/a.rs", &function(59))).len(), 1);
}

#[test]
fn a_missing_header_is_found() {
    assert_eq!(missing_header(&sample("src/api/a.rs", "use a;")).len(), 1);
    assert_eq!(missing_header(&sample("src/api/a.rs", "// a\n")).len(), 1);
    assert!(missing_header(&sample("src/api/a.rs", "//! Owns a.\n")).is_empty());
    assert_eq!(utility_drawer(&sample("src/api/utils.rs", "")).len(), 1);
}

#[test]
fn literals_and_comments_are_told_from_code() {
    let table = [
        ("a // b", "a     "),
        ("a /* b /* c */ d */ e", "a                   e"),
        (r#"f("x\"y") z"#, "f(      ) z"),
        (r##"r#"a"b"# c"##, "         c"),
        ("b\"x\" y", "     y"),
        ("'x' '\\'' '\\u{41}' b", "                  b"),
        ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
        ("for_r(x)", "for_r(x)"),
    ];
    for (source, expected) in table {
        assert_eq!(blank_comments_and_literals(source), expected, "{source}");
    }
    assert_eq!(without_tests("a\n#[cfg(test)]\nmod t { x { y } }\nb").replace(' ', ""), "a\n\n\nb");
    assert_eq!(without_tests("a\n#[cfg(test)]\n#[path = x]\nmod t;\nb").replace(' ', ""), "a\n\n\n\nb");
}
