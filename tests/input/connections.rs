//! Connections that cannot work: what is said on the control plane and on its objects, that nothing is written to any
//! control plane, and that a correction is enough.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testbed::{OPERATOR_NAMESPACE, OperatorOptions, OperatorProcess, wait_until};

use crate::rows::{CANARY, Row, Servers, good, mutations_since, rows};
use crate::world::{SOON, Setup, TEAM, World, cluster, condition, control_plane, message};

fn list(items: &[Value]) -> Value {
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

fn secret(name: &str, text: &Value, binary: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "namespace": OPERATOR_NAMESPACE },
        "stringData": text, "data": binary,
    })
}

fn config_map(name: &str, pem: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": OPERATOR_NAMESPACE },
        "data": { "ca.crt": pem },
    })
}

impl World {
    /// All control planes and all objects of `team-a` with one command, by kind and name.
    async fn everything(&self) -> BTreeMap<(String, String), Value> {
        let text = self.kubectl(&["get", "rcp,rcl", "-A", "-o", "json"]).await;
        let list: Value = serde_json::from_str(&text).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let items = list["items"].as_array().unwrap().iter().cloned();
        items.map(|item| ((text(&item["kind"]), text(&item["metadata"]["name"])), item)).collect()
    }

    /// Waits until no row complains about what it sees.
    async fn until_all(&self, what: &str, rows: &[Row], check: impl Fn(&Row, &Value, &Value) -> Result<(), String>) {
        let result = wait_until(SOON, what, async || {
            let all = self.everything().await;
            let one =
                |kind: &str, row: &Row| all.get(&(kind.to_owned(), row.name.clone())).cloned().unwrap_or_default();
            let wrong: Vec<_> = rows
                .iter()
                .filter_map(|row| {
                    let wrong = check(row, &one("RunaiControlPlane", row), &one("RunaiCluster", row)).err()?;
                    Some(format!("{}: {wrong}", row.name))
                })
                .collect();
            if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
        });
        if let Err(error) = result.await {
            panic!("{error}\n--- operator\n{}", self.tail());
        }
    }
}

fn refused(row: &Row, plane: &Value, object: &Value) -> Result<(), String> {
    let wanted = ("False".to_owned(), row.reason.to_owned());
    for (what, seen, kind) in
        [("control plane", plane, "Ready"), ("object", object, "Ready"), ("object", object, "Synced")]
    {
        if condition(seen, kind) != wanted {
            return Err(format!("{what}: {kind} is not False/{}: {}", row.reason, seen["status"]));
        }
        let said = message(seen, kind);
        if let Some(part) = row.says.iter().find(|part| !said.contains(**part)) {
            return Err(format!("{what}: {part:?} is not in {said:?}"));
        }
    }
    let stalled = condition(plane, "Stalled").0 == "True";
    if row.stalled.is_some_and(|wanted| wanted != stalled) {
        return Err(format!("Stalled is {stalled}: {}", plane["status"]));
    }
    if plane["status"]["observedGeneration"] != plane["metadata"]["generation"] {
        return Err("the status is of an older spec".to_owned());
    }
    if !object["status"]["uuid"].is_null() || !object["metadata"]["finalizers"].is_null() {
        return Err(format!("something was begun: {object}"));
    }
    Ok(())
}

fn ready(_row: &Row, plane: &Value, object: &Value) -> Result<(), String> {
    for seen in [plane, object] {
        if condition(seen, "Ready").0 != "True" {
            return Err(seen["status"].to_string());
        }
        if !condition(seen, "Stalled").0.is_empty() {
            return Err(format!("still Stalled: {}", seen["status"]));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_cannot_work_is_explained_writes_nothing_and_recovers() {
    let mut servers = Servers::start();
    let mut world = World::start(Setup::default()).await;
    let rows = rows(&servers);

    let right = servers.tls.ca_pem().unwrap();
    let cut = &right[..right.len() / 2];
    let mut items = vec![
        config_map("right", &right),
        config_map("wrong", &servers.foreign.ca_pem().unwrap()),
        config_map("garbage", "this is no certificate"),
        config_map("cut", cut),
        config_map("hollow", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"),
        secret("right-ca", &json!({ "custom.pem": right }), &json!({})),
    ];
    for row in &rows {
        if let Some(text) = &row.secret {
            items.push(secret(&row.name, text, &row.binary));
        }
        items.push(control_plane(&row.name, &row.name, &row.spec));
        items.push(cluster(TEAM, &row.name, json!({ "controlPlaneRef": { "name": row.name } })));
    }
    // A control plane that nobody made.
    items.push(cluster(TEAM, "missing", json!({ "controlPlaneRef": { "name": "missing" } })));
    world.apply(&list(&items)).await;

    world.until_all("every bad connection is explained", &rows, refused).await;
    let object = world.until_condition("missing", "Ready", "False", "ControlPlaneMissing").await;
    let said = message(&object, "Ready");
    assert!(said.contains("\"missing\" does not exist") && said.contains("spec.controlPlaneRef.name"), "{said}");
    assert_eq!(servers.mutations(), Vec::<String>::new(), "nothing is written where nothing is clear");
    assert_eq!(servers.foreign.counters().requests, 0, "nobody follows a redirect, with or without credentials");
    let everything = world.kubectl(&["get", "rcp,rcl,events", "-A", "-o", "json"]).await;
    assert!(!everything.contains(CANARY), "a message repeats the password of a URL");
    assert!(!world.operator.logs().unwrap().contains(CANARY), "the log repeats the password of a URL");

    correct(&world, &servers, &rows).await;
    for row in &rows {
        let made = [&servers.plain, &servers.tls].into_iter().flat_map(|server| server.clusters_named(&row.name));
        assert_eq!(made.count(), 1, "{}: one registration", row.name);
    }

    a_secret_that_breaks_later(&world, &servers).await;
    https_only(&mut world, &mut servers).await;
}

/// Puts everything right, in each case at the place that the message named.
async fn correct(world: &World, servers: &Servers, rows: &[Row]) {
    servers.plain.clear_faults();
    let right = json!({ "kind": "ConfigMap", "name": "right" });
    let right_secret = json!({ "kind": "Secret", "name": "right-ca", "key": "custom.pem" });
    let mut stale = vec!["delete", "secret", "-n", OPERATOR_NAMESPACE, "--ignore-not-found"];
    stale.extend(rows.iter().filter(|row| row.spec["caBundleRef"].is_null()).map(|row| row.name.as_str()));
    // Deleted and made anew: an apply would leave keys that it does not name.
    world.kubectl(&stale).await;
    let mut items = Vec::new();
    for row in rows {
        let ca = match row.name.as_str() {
            "unknown-ca" => Some(&right_secret),
            _ if row.spec["caBundleRef"].is_null() => None,
            _ => Some(&right),
        };
        let mut text = good(servers);
        let mut spec = json!({});
        if let Some(ca) = ca {
            text["url"] = json!(servers.tls.url());
            spec["caBundleRef"] = ca.clone();
        }
        items.push(secret(&row.name, &text, &json!({})));
        items.push(control_plane(&row.name, &row.name, &spec));
    }
    items.push(secret("missing", &good(servers), &json!({})));
    items.push(control_plane("missing", "missing", &json!({})));
    world.apply(&list(&items)).await;
    world.until_all("every corrected connection works", rows, ready).await;
    world.until_ready("missing").await;
}

/// A live object keeps its registration when its connection breaks; what is being deleted still goes, by the credentials
/// in memory.
async fn a_secret_that_breaks_later(world: &World, servers: &Servers) {
    let seq = servers.plain.last_seq();
    world.kubectl(&["delete", "secret", "missing", "-n", OPERATOR_NAMESPACE]).await;
    world.until_condition("missing", "Synced", "False", "ConnectionInvalid").await;
    world.patch("missing", json!({ "spec": { "name": "renamed" } })).await;
    let renamed = |object: &Value| object["status"]["observedGeneration"] == object["metadata"]["generation"];
    let object = world.until("missing", "the new spec is seen", renamed).await;
    assert_eq!(condition(&object, "Synced").1, "ConnectionInvalid");
    assert_eq!(mutations_since(&servers.plain, seq), Vec::<String>::new(), "no rename without a sound connection");
    world.delete("missing").await;
    world.until_gone("missing").await;
    assert_eq!(mutations_since(&servers.plain, seq), ["DELETE /api/v1/clusters/{clusterUuid}"]);
}

/// The same control planes under an operator that does not allow http: those are refused, the one with TLS goes on.
async fn https_only(world: &mut World, servers: &mut Servers) {
    world.operator.sigterm_and_wait(SOON).await.unwrap();
    let seq = servers.plain.last_seq();
    let binary = env!("CARGO_BIN_EXE_runai-cluster-operator");
    let options = OperatorOptions::new(binary, world.login.kubeconfig(), world.bed.directory()).https_only();
    world.operator = OperatorProcess::start(&options).unwrap();
    world.operator.wait_ready(SOON).await.unwrap();
    let object = world.until_condition("closed-port", "Synced", "False", "ConnectionInvalid").await;
    let said = message(&object, "Synced");
    assert!(said.contains("uses http") && said.contains("--allow-insecure-http"), "{said}");
    assert!(object["status"]["uuid"].is_string(), "what is known of the registration stays");
    world.patch("wrong-ca", json!({ "spec": { "name": "by-tls" } })).await;
    world.until("wrong-ca", "renamed through TLS", |object| object["status"]["name"] == "by-tls").await;
    assert_eq!(servers.plain.journal_since(seq).len(), 0, "not one request in the clear");
}
