//! The files for Argo CD: one script in several places, few libraries, little time, and the layout of upstream.

use serde_json::{Value, json};
use testbed::TemporaryDirectory;

use crate::files::{documents, path};
use crate::judges::Judges;
use crate::situations::ALL;

const KINDS: [&str; 2] = ["RunaiCluster", "RunaiControlPlane"];

fn healthy(kind: &str) -> Value {
    json!({
        "apiVersion": "runai-operator.io/v1alpha1", "kind": kind, "metadata": { "name": "a", "generation": 1 },
        "status": {
            "observedGeneration": 1,
            "conditions": [{ "type": "Ready", "status": "True", "reason": "Registered", "message": "well" }],
        },
    })
}

#[test]
fn the_config_maps_hold_the_scripts() {
    for (config_map, script) in [("argocd-cm.yaml", "health.lua"), ("argocd-cm-strict.yaml", "health-strict.lua")] {
        let script = std::fs::read_to_string(path("gitops/argocd").join(script)).unwrap();
        let document = documents(&path("gitops/argocd").join(config_map)).remove(0);
        for kind in KINDS {
            let key = format!("resource.customizations.health.runai-operator.io_{kind}");
            assert_eq!(document["data"][&key], script, "{config_map}: {key}");
        }
    }
}

/// As Argo CD's own test runs them: what a maintainer would copy is complete and true.
#[tokio::test]
async fn the_folder_for_upstream_passes_upstreams_test() {
    let outcomes = Judges::new().await.upstream(&path("gitops/argocd/resource_customizations")).await;
    for kind in KINDS {
        let of_kind = outcomes.iter().filter(|outcome| outcome.test.contains(&format!("/{kind}/")));
        assert!(of_kind.count() >= 5, "{kind}: {outcomes:#?}");
    }
    for outcome in &outcomes {
        assert_eq!(outcome.found, outcome.expected, "{}", outcome.test);
    }
}

/// The judge is as narrow as Argo CD: a script that needs more would be seen.
#[tokio::test]
async fn a_script_gets_neither_more_libraries_nor_more_time_than_in_argo_cd() {
    let directory = TemporaryDirectory::create().unwrap();
    let said = async |script: &str| {
        let file = directory.path().join("argocd-cm.yaml");
        let key = "resource.customizations.health.runai-operator.io_RunaiCluster";
        let config_map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { key: script } });
        std::fs::write(&file, config_map.to_string()).unwrap();
        let verdict = Judges::new().await.with_argocd(&file).one(&healthy("RunaiCluster")).await;
        (verdict.argocd, verdict.argocd_message)
    };
    let healthy = "hs = {} hs.status = 'Healthy' hs.message = ";
    assert_eq!(said(&format!("{healthy} 'a' return hs")).await, ("Healthy".to_owned(), "a".to_owned()));
    for beyond in ["string.format('a')", "math.floor(1)", "io.read()", "os.getenv('HOME')", "('a'):upper()"] {
        let (status, message) = said(&format!("{healthy} {beyond} return hs")).await;
        assert_eq!(status, "Error", "{beyond}: {message}");
    }
    let (status, message) = said("while true do end").await;
    assert_eq!((status.as_str(), message.contains("deadline exceeded")), ("Error", true), "{message}");
    // A kind without a script has no health at all, which Argo CD takes for fine.
    let judges = Judges::new().await;
    let verdict = judges.one(&json!({ "apiVersion": "runai-operator.io/v1alpha1", "kind": "Other" })).await;
    assert_eq!(verdict.argocd, "None");
    for kind in KINDS {
        assert_eq!(judges.one(&self::healthy(kind)).await.words(), ["Current", "Healthy", "Healthy", "Current"]);
    }
}

/// Waves of an app of apps wait for the health of the Applications in it.
#[tokio::test]
async fn an_application_is_as_healthy_as_it_says() {
    let file = path("gitops/argocd/argocd-cm-applications.yaml");
    let application = documents(&path("gitops/argocd/apps/clusters.yaml")).remove(0);
    let mut degraded = application.clone();
    degraded["status"] = json!({ "health": { "status": "Degraded", "message": "a cluster is stalled" } });
    assert_eq!(Judges::new().await.one(&degraded).await.argocd, "None", "without the script waves do not wait");
    let verdicts = Judges::new().await.with_argocd(&file).health([&application, &degraded]).await;
    assert_eq!((verdicts[0].argocd.as_str(), verdicts[1].argocd.as_str()), ("Progressing", "Degraded"));
    assert_eq!(verdicts[1].argocd_message, "a cluster is stalled");
}

/// The recorded objects, with the verdicts that are due.
fn recordings() -> Vec<(Value, [&'static str; 4])> {
    let folder = path("gitops/argocd/resource_customizations/runai-operator.io");
    let read = |file: String| documents(&folder.join(file)).remove(0);
    ALL.iter().map(|one| (read(format!("{}/testdata/{}.yaml", one.kind, one.name)), one.due)).collect()
}

/// The situations that are judged otherwise than they should be.
async fn misjudged(judges: &Judges) -> Vec<&'static str> {
    let recordings = recordings();
    let verdicts = judges.health(recordings.iter().map(|(object, _)| object)).await;
    let wrong = ALL.iter().zip(recordings.iter().zip(&verdicts)).filter(|(_, ((_, due), said))| said.words() != *due);
    wrong.map(|(situation, _)| situation.name).collect()
}

/// The recordings tell a right script or expression from a wrong one.
#[tokio::test]
async fn a_mistake_in_a_script_or_an_expression_changes_a_verdict() {
    assert_eq!(misjudged(&Judges::new().await).await, Vec::<&str>::new());
    let directory = TemporaryDirectory::create().unwrap();
    let planted = directory.path().join("planted.yaml");
    let generation = "obj.status.observedGeneration ~= obj.metadata.generation";
    let mistakes = [
        ("gitops/argocd/argocd-cm.yaml", generation, "false", "changed"),
        ("gitops/argocd/argocd-cm.yaml", "is(\"Stalled\", \"True\")", "false", "refused"),
        ("gitops/argocd/argocd-cm.yaml", "is(\"Suspended\", \"True\")", "false", "suspended"),
        ("gitops/argocd/argocd-cm.yaml", "not is(\"Ready\", \"True\")", "false", "agent-awaited"),
        ("gitops/argocd/argocd-cm.yaml", "runai-operator.io_RunaiControlPlane", "runai-operator.io_Other", "answers"),
        ("gitops/argocd/argocd-cm-strict.yaml", "Disconnected = true, ", "", "disconnected"),
        ("gitops/argocd/argocd-cm-strict.yaml", "ServiceIssues = true, ", "", "service-issues"),
        ("gitops/argocd/argocd-cm-strict.yaml", ", MissingPrerequisites = true", "", "missing-prerequisites"),
        ("gitops/argocd/argocd-cm-strict.yaml", "Disconnected = true", "WaitingToConnect = true", "waiting"),
        ("gitops/flux/kustomizations.yaml", "has(metadata.deletionTimestamp) || ", "", "deletion-stalled"),
        ("gitops/flux/kustomizations.yaml", "c.type == 'Stalled'", "c.type == 'Never'", "refused"),
        ("gitops/flux/kustomizations.yaml", "c.type == 'Ready'", "c.type == 'Synced'", "agent-awaited"),
    ];
    for (file, right, wrong, seen) in mistakes {
        let text = std::fs::read_to_string(path(file)).unwrap();
        assert!(text.contains(right), "{file}: {right}");
        std::fs::write(&planted, text.replace(right, wrong)).unwrap();
        let judges = Judges::new().await;
        let judges = match file {
            "gitops/argocd/argocd-cm.yaml" => judges.with_argocd(&planted),
            "gitops/argocd/argocd-cm-strict.yaml" => judges.with_strict(&planted),
            _ => judges.with_flux(&planted),
        };
        let misjudged = misjudged(&judges).await;
        assert!(misjudged.contains(&seen), "{file}: {right} -> {wrong}: only {misjudged:?}");
    }
}
