//! `doctor` where the chart limits the operator to named namespaces: rights are looked for where it needs them.

use std::collections::BTreeSet;

use testbed::{Options, Testbed};

use crate::doctor::says;
use crate::doctor_kubernetes::{ACCOUNT, KUBERNETES, apply, ask, missing, written};
use crate::roles::granted;
use crate::tool::{Said, Tool};
use crate::world::{World, namespace};

/// Without a control plane there is a warning, whatever the rights.
const ALL_RIGHTS: i32 = 1;
const RIGHTS_MISSING: i32 = 2;

fn set<'a>(rights: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    rights.into_iter().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_in_named_namespaces_are_looked_for_there() {
    let _room = World::room().await;
    let bed = Testbed::start(Options::default()).await.unwrap();
    for name in ["team-a", "team-b"] {
        apply(&bed, &namespace(name)).await;
    }
    let documents = bed.install_chart(&["watch.namespaces={team-a,team-b}"]).await.unwrap();
    let tool = Tool::with(bed.kubeconfig());
    let named = ["--watch-namespaces", "team-a,team-b"];

    // What the doctor wants is what the chart grants, no more and no less.
    let report = ask(&tool, &[&["--as", ACCOUNT][..], &named].concat(), ALL_RIGHTS).await;
    assert_eq!(missing(&report), BTreeSet::new());
    says(&report, KUBERNETES, "rbac-objects", "ok", "has all", "");
    let report = ask(&tool, &[&["--as", "nobody"][..], &named].concat(), RIGHTS_MISSING).await;
    let all: BTreeSet<_> = granted(&documents, ACCOUNT).iter().map(written).collect();
    assert_eq!(missing(&report), all, "{report:#}");

    // The environment of the operator's own pod says it as well, each namespace once.
    let mut command = tool.command(&["doctor", "-o", "json", "--as", ACCOUNT]);
    command.env("RUNAI_OPERATOR_WATCH_NAMESPACES", "team-b,team-a,team-b,");
    let report = Said::of(&command.output().await.unwrap()).exits(ALL_RIGHTS).json();
    assert_eq!(missing(&report), BTreeSet::new());

    // Who does not say it hears what to say.
    let report = ask(&tool, &["--as", ACCOUNT], RIGHTS_MISSING).await;
    says(&report, KUBERNETES, "rbac-objects", "problem", "may not", "--watch-namespaces");
    says(&report, KUBERNETES, "rbac-connections", "ok", "has all", "");
    let left_out = [
        "create events.events.k8s.io everywhere",
        "list runaiclusters.runai-operator.io everywhere",
        "patch events.events.k8s.io everywhere",
        "patch runaiclusters.runai-operator.io everywhere",
        "patch runaiclusters.runai-operator.io/status everywhere",
        "watch runaiclusters.runai-operator.io everywhere",
    ];
    assert_eq!(missing(&report), set(left_out));

    // A namespace that the chart was not told of.
    let report = ask(&tool, &["--as", ACCOUNT, "--watch-namespaces", "team-a,team-c"], RIGHTS_MISSING).await;
    let there: Vec<_> = left_out.iter().map(|right| right.replace("everywhere", "in team-c")).collect();
    assert_eq!(missing(&report), set(there.iter().map(String::as_str)));
}
