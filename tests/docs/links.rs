//! Links between pages lead somewhere: to a file that exists and to a heading that it has.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::root;

/// The pages: at the root, in docs and below.
fn pages() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for directory in ["", "docs", "docs/guides", "simulator", "charts/runai-cluster-operator"] {
        for entry in std::fs::read_dir(root().join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found
}

/// The text without fenced blocks: what is printed in them is no link.
fn prose(page: &str) -> String {
    let mut out = String::new();
    let mut is_code = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// Where the links of a text lead.
fn targets(prose: &str) -> Vec<&str> {
    let parts = prose.split("](").skip(1);
    parts.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target).collect()
}

/// Anchors of headings, as GitHub makes them.
fn anchors(prose: &str) -> BTreeSet<String> {
    let headings = prose.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let letters = |heading: &str| {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
    };
    headings.map(letters).collect()
}

/// What is wrong with a link of a page in `directory`.
fn objection(directory: &Path, own: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let path = directory.join(file);
    if !file.is_empty() && !path.exists() {
        return Some(format!("there is no {target}"));
    }
    let anchor = anchor?;
    let text = if file.is_empty() { own.to_owned() } else { prose(&std::fs::read_to_string(path).unwrap()) };
    (!anchors(&text).contains(anchor)).then(|| format!("there is no heading {target}"))
}

#[test]
fn every_link_leads_somewhere() {
    let mut found = Vec::new();
    let mut links = 0;
    for page in pages() {
        let text = prose(&std::fs::read_to_string(&page).unwrap());
        for target in targets(&text) {
            links += 1;
            if let Some(objection) = objection(page.parent().unwrap(), &text, target) {
                found.push(format!("{}: {objection}", page.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(links > 30, "{links}");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_broken_link_is_found() {
    let page = prose("# A `b` c\n[x](Cargo.toml) [y](none.md)\n```\n[z](w)\n```\n[q](#a-b-c) [r](#a)\n");
    assert_eq!(targets(&page), ["Cargo.toml", "none.md", "#a-b-c", "#a"]);
    let objections: Vec<_> = targets(&page).iter().filter_map(|target| objection(&root(), &page, target)).collect();
    assert_eq!(objections, ["there is no none.md", "there is no heading #a"]);
}
