//! Manifests, good and bad, and what applying one makes of an object.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::json;

use super::*;

fn manifests(text: &str) -> Result<Vec<Manifest>, String> {
    let (mut found, schema) = (Vec::new(), schema());
    for document in parse(text)? {
        collect("a file", document, &schema, &mut found).map_err(|error| error.to_string())?;
    }
    Ok(found)
}

fn object(name: &str) -> String {
    format!("apiVersion: {API_VERSION}\nkind: RunaiCluster\nmetadata:\n  name: {name}\n")
}

fn names(text: &str, flag: Option<&str>) -> Result<Vec<String>, String> {
    let keys = keys(&manifests(text)?, flag, "here").map_err(|error| error.to_string())?;
    Ok(keys.iter().map(ToString::to_string).collect())
}

#[test]
fn documents_lists_and_other_kinds() {
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n- {{apiVersion: {API_VERSION}, kind: RunaiCluster, metadata: {{name: b, namespace: x}}}}\n"
    );
    let other = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n";
    let text = format!("---\n{}---\n---\n{list}---\n{other}---\n{}", object("a"), object("c"));
    assert_eq!(names(&text, None).unwrap(), ["here/a", "x/b", "here/c"]);
    let many: String = (0..2000).map(|number| format!("---\n{}", object(&format!("n{number}")))).collect();
    assert_eq!(names(&many, Some("team")).unwrap().len(), 2000);
}

#[test]
fn a_manifest_that_cannot_be_planned_is_named() {
    let table = [
        ("kind: [canary".to_owned(), "is neither YAML nor JSON (line 1"),
        (format!("{}---\nkind: RunaiCluster\n", object("a")), "a document without apiVersion and kind"),
        (object("a").replace("v1alpha1", "v2"), "RunaiCluster of runai-operator.io/v2; this version knows"),
        (object("\"\""), "a RunaiCluster has no metadata.name"),
        (object("a").replace("name: a", "generateName: a"), "a RunaiCluster has no metadata.name"),
        (format!("{}---\n{}", object("a"), object("a")), "RunaiCluster team/a comes twice"),
        (format!("{}---\n{}  namespace: team\n", object("a"), object("a")), "RunaiCluster team/a comes twice"),
        (format!("{}  namespace: other\n", object("a")), "is of namespace other, --namespace says team"),
        (format!("{}spec: {{adoptoin: {{}}}}\n", object("a")), "RunaiCluster \"a\": there is no field spec.adoptoin"),
        (format!("{}spec: {{deletion: {{Policy: x}}}}\n", object("a")), "there is no field spec.deletion.Policy"),
    ];
    for (text, part) in table {
        let problem = names(&text, Some("team")).expect_err(&text);
        assert!(problem.contains(part) && !problem.contains("canary"), "{text}\n{problem}");
    }
}

#[test]
fn an_apply_replaces_the_spec_and_keeps_the_rest() {
    let mut there = vec![
        serde_json::from_value::<Watched>(json!({
            "metadata": {
                "name": "a", "namespace": "here", "generation": 4, "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z",
                "annotations": { "old": "1", "both": "1" }, "finalizers": ["f"],
            },
            "spec": { "name": "one", "suspend": true }, "status": { "state": "Connected" },
        }))
        .unwrap(),
    ];
    let text = format!(
        "{}  uid: forged\n  deletionTimestamp: null\n  annotations: {{both: '2', new: '2'}}\nspec: {{name: two}}\nstatus: {{state: x}}\n",
        object("a")
    );
    let manifest = manifests(&text).unwrap();
    let key = ObjectKey { namespace: "here".to_owned(), name: "a".to_owned() };
    lay_over(&mut there, std::slice::from_ref(&key), &manifest);
    assert_eq!(there.len(), 1);
    let after = serde_json::to_value(&there[0]).unwrap();
    assert_eq!(after["metadata"]["annotations"], json!({ "old": "1", "both": "2", "new": "2" }));
    assert_eq!((&after["metadata"]["uid"], &after["metadata"]["generation"]), (&json!("u"), &json!(5)));
    assert!(there[0].is_deleted() && there[0].finalizers() == ["f"]);
    assert_eq!(there[0].status().unwrap().state.as_deref(), Some("Connected"));
    let spec = there[0].spec().unwrap().clone();
    assert_eq!((spec.name.as_deref(), spec.suspend), (Some("two"), false));

    lay_over(&mut there, std::slice::from_ref(&key), &manifest);
    assert_eq!(there[0].metadata.generation, Some(5), "the same spec again is no new generation");

    let other = ObjectKey { namespace: "there".to_owned(), name: "a".to_owned() };
    lay_over(&mut there, &[other], &manifest);
    assert_eq!(there.len(), 2);
    assert_eq!(
        (there[1].metadata.generation, there[1].uid()),
        (Some(1), None),
        "what the file says of these is not taken"
    );
    assert!(there[1].status().is_none() && !there[1].is_deleted());
}
