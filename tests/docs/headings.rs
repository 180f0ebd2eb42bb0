//! docs/troubleshooting.md has one section for every reason of a condition, and for no other.

use runai_cluster_operator::domain::observed::ClusterState;
use runai_cluster_operator::domain::reason::Reason;

use crate::read;

const PAGE: &str = "docs/troubleshooting.md";

/// The API's states, which are reasons of `Connected`.
fn states() -> Vec<String> {
    use ClusterState::{Connected, Disconnected, MissingPrerequisites, ServiceIssues, Unknown, WaitingToConnect};
    let all = [Connected, WaitingToConnect, Disconnected, MissingPrerequisites, ServiceIssues, Unknown];
    let name = |state: ClusterState| match &state {
        Connected | WaitingToConnect | Disconnected | MissingPrerequisites | ServiceIssues | Unknown => {
            state.as_str().to_owned()
        }
        // One that this version does not know has no section.
        ClusterState::Other(text) => panic!("{text}"),
    };
    all.map(name).into()
}

/// Headings of the third level, each with its text.
fn sections(page: &str) -> Vec<(&str, &str)> {
    let bodies = page.split("\n### ").skip(1);
    bodies
        .map(|section| {
            let (heading, body) = section.split_once('\n').unwrap();
            (heading.trim_matches('`'), body.split("\n## ").next().unwrap())
        })
        .collect()
}

/// What a page does wrong.
fn objections(page: &str, wanted: &[String]) -> Vec<String> {
    let sections = sections(page);
    let mut found = Vec::new();
    for name in wanted {
        match sections.iter().filter(|(heading, _)| heading == name).count() {
            1 => {}
            count => found.push(format!("{name}: {count} sections")),
        }
    }
    for (heading, body) in sections {
        if !wanted.iter().any(|name| name == heading) {
            found.push(format!("{heading}: no such reason"));
        }
        for part in ["**Means:** ", "**Do:** "] {
            if !body.contains(&format!("\n{part}")) {
                found.push(format!("{heading}: does not say {part}"));
            }
        }
    }
    found
}

fn wanted() -> Vec<String> {
    let reasons = Reason::ALL.iter().map(|reason| reason.as_str().to_owned());
    reasons.chain(states()).collect()
}

#[test]
fn every_reason_has_a_section() {
    let objections = objections(&read(PAGE), &wanted());
    assert!(objections.is_empty(), "{PAGE}:\n{}", objections.join("\n"));
}

#[test]
fn a_missing_reason_and_a_reason_too_many_are_found() {
    let page = "# T\n\n## A\n\n### `One`\n\n**Means:** x\n\n**Do:** y\n\n## B\n\n### `Two`\n\n**Means:** x\n";
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(objections(page, &names(&["One", "Two"])), ["Two: does not say **Do:** "]);
    assert_eq!(
        objections(page, &names(&["One", "Three"])),
        ["Three: 0 sections", "Two: no such reason", "Two: does not say **Do:** "]
    );
}
