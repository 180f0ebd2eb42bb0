//! What the API server itself refuses and accepts, through the CRDs as the chart installs them. No operator runs.

use std::fs;

use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::bad_specs::{Kind, bad_specs, manifest, updates};
use crate::world::{Bare, cluster, control_plane};

/// Clusters live in this namespace; control planes in none.
const NAMESPACE: &str = "default";

fn api(client: &Client, kind: Kind) -> Api<DynamicObject> {
    let name = match kind {
        Kind::Cluster => "RunaiCluster",
        Kind::ControlPlane => "RunaiControlPlane",
    };
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("runai-operator.io", "v1alpha1", name));
    match kind {
        Kind::Cluster => Api::namespaced_with(client.clone(), NAMESPACE, &resource),
        Kind::ControlPlane => Api::all_with(client.clone(), &resource),
    }
}

async fn create(client: &Client, kind: Kind, name: &str, spec: &Value) -> Result<DynamicObject, String> {
    let object = serde_json::from_value(manifest(kind, name, spec)).unwrap();
    api(client, kind).create(&PostParams::default(), &object).await.map_err(said)
}

/// What the API server answered; anything but an answer of "invalid" is a failure of the test.
fn said(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 422 => status.message.clone(),
        other => panic!("not an answer about the object: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_refuses_bad_objects_and_takes_good_ones() {
    let bare = Bare::start().await;
    let client = bare.bed.client().await.unwrap();
    bad_specs_are_refused(&client).await;
    changes(&client).await;
    edges_are_accepted(&client).await;
    typing_errors_are_told(&bare).await;
    examples(&bare).await;
}

async fn bad_specs_are_refused(client: &Client) {
    for (number, row) in bad_specs().iter().enumerate() {
        let refused = create(client, row.kind, &format!("bad-{number}"), &row.spec).await;
        let message = refused.expect_err(row.name);
        assert!(message.contains(row.field), "{}: no {:?} in {message}", row.name, row.field);
        assert!(message.contains(row.message), "{}: no {:?} in {message}", row.name, row.message);
    }
    for kind in [Kind::Cluster, Kind::ControlPlane] {
        assert_eq!(api(client, kind).list(&Default::default()).await.unwrap().items.len(), 0, "nothing is stored");
    }
}

async fn changes(client: &Client) {
    for (number, row) in updates().iter().enumerate() {
        let name = format!("update-{number}");
        create(client, row.kind, &name, &row.before).await.expect(row.name);
        let api = api(client, row.kind);
        if !row.status.is_null() {
            let patch = Patch::Merge(json!({ "status": row.status }));
            api.patch_status(&name, &PatchParams::default(), &patch).await.expect(row.name);
        }
        let mut object = api.get(&name).await.unwrap();
        object.data["spec"] = row.after.clone();
        let outcome = api.replace(&name, &PostParams::default(), &object).await.map_err(said);
        match (outcome, row.refusal) {
            (Ok(_), None) => {}
            (Err(message), Some(expected)) => assert!(message.contains(expected), "{}: {message}", row.name),
            (outcome, expected) => panic!("{}: expected {expected:?}, got {outcome:?}", row.name),
        }
    }
}

async fn edges_are_accepted(client: &Client) {
    let label = "a".repeat(63);
    let longest_domain = format!("https://{label}.{label}.{label}.{}", "a".repeat(253 - 8 - 3 * 64));
    let specs = [
        json!({}),
        json!({ "name": "x" }),
        json!({ "name": "x".repeat(253) }),
        // Characters count, not bytes.
        json!({ "name": "\u{e4}\u{1f600}".repeat(126) }),
        json!({ "name": "GPU West (Z\u{fc}rich) / 1" }),
        json!({ "domain": "localhost" }),
        json!({ "domain": "runai.example.com:8443" }),
        json!({ "domain": "runai.example.com." }),
        json!({ "domain": "https://runai.example.com" }),
        json!({ "domain": "http://runai.example.com/" }),
        json!({ "domain": "https://10.0.0.1:65535/" }),
        json!({ "domain": "RUNAI.Example.com" }),
        json!({ "domain": label }),
        json!({ "domain": longest_domain }),
        json!({ "version": "2.24" }),
        json!({ "version": "2.24.37-rc.1" }),
        json!({ "version": format!("2.24.{}", "1".repeat(45)) }),
        json!({ "deletion": { "stalledAfter": "1s", "forceAfter": "0s" } }),
        json!({ "adoption": { "uuid": "11111111-2222-3333-4444-AAAAAAAAAAAA" } }),
    ];
    for (number, spec) in specs.iter().enumerate() {
        let object = create(client, Kind::Cluster, &format!("edge-{number}"), spec).await;
        let object = object.unwrap_or_else(|error| panic!("{spec}: {error}"));
        assert_eq!(object.data["status"]["observedGeneration"], -1, "{spec}: not seen yet, so not in order");
    }
    let longest = vec!["a".repeat(62); 4].join(".") + ".a";
    assert_eq!(longest.len(), 253);
    create(client, Kind::Cluster, &longest, &json!({})).await.expect("a metadata.name of 253 characters");
    let plane = json!({ "connectionSecretRef": { "name": "a.b" }, "pollInterval": "5s", "livenessGranularity": "1ms", "maxDeletionsPerMinute": 1 });
    create(client, Kind::ControlPlane, &longest, &plane).await.expect("the floors themselves");
}

/// A field with a typing error is not stored silently: kubectl asks for strict decoding.
async fn typing_errors_are_told(bare: &Bare) {
    let wrong = cluster(NAMESPACE, "typo", json!({ "nmae": "east" }));
    let error = bare.bed.kubectl_apply(&wrong.to_string()).await.unwrap_err().to_string();
    assert!(error.contains("nmae"), "{error}");
    // Nobody can name a foreign Secret: there is no such field on either kind.
    for plane in [
        control_plane("typo", "connection", &json!({ "url": "https://attacker.example.com" })),
        control_plane(
            "typo",
            "connection",
            &json!({ "caBundleRef": { "kind": "Secret", "name": "a", "namespace": "kube-system" } }),
        ),
    ] {
        let error = bare.bed.kubectl_apply(&plane.to_string()).await.unwrap_err().to_string();
        assert!(error.contains("url") || error.contains("namespace"), "{error}");
    }
}

async fn examples(bare: &Bare) {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(files.len() >= 6, "{files:?}");
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "platform" } });
    bare.bed.kubectl_apply(&namespace.to_string()).await.unwrap();
    // First without a trace, then for good.
    for dry_run in ["--dry-run=server", "--dry-run=none"] {
        let mut args = vec!["apply", "--server-side", "--validate=strict", dry_run];
        for file in &files {
            args.extend(["-f", file.to_str().unwrap()]);
        }
        let said = bare.bed.kubectl_ok(&args).await.unwrap();
        assert_eq!(said.lines().count(), files.len(), "one object a file: {said}");
    }
    let stored = bare.bed.kubectl_ok(&["get", "rcl,rcp", "-A", "-o", "name"]).await.unwrap();
    for name in ["gpu-west", "gpu-east", "gpu-legacy", "gpu-watched", "runaicontrolplane.runai-operator.io/default"] {
        assert!(stored.contains(name), "{name}: {stored}");
    }
}
