//! Security advisories of other operators: what a tenant could read, stop or send elsewhere there.

use jiff::Timestamp;
use runai_simulator::{Config, FaultAction, FaultRule, Identity, Phase, SeedCluster, Simulator};
use serde_json::{Value, json};
use testbed::OPERATOR_NAMESPACE;

use crate::stage::{LONG, Stage, on_stage};
use crate::world::{TEAM, condition, control_plane, uuid};

const SECRET: &str = "c4nary-client-secret";

async fn plane_says(stage: &Stage, name: &str, reason: &str) -> Value {
    stage
        .eventually(&format!("control plane {name}: {reason}"), async || {
            let object = stage.world.plane(name).await;
            if condition(&object, "Ready").1 == reason { Ok(()) } else { Err(object["status"].clone()) }
        })
        .await;
    stage.world.plane(name).await
}

/// One invalid duration in one object stopped the controller for every object of the kind.
#[test]
fn flux_cve_2022_39272_an_invalid_duration_stops_its_own_object_only() {
    on_stage(async |stage| {
        let plane = stage.plane("flux-39272").await;
        let mut bad = plane.object("flux-39272", json!({ "deletion": { "stalledAfter": "forever" } }));
        let refused = stage.world.refused(&bad).await;
        assert!(refused.contains("stalledAfter"), "{refused}");
        // Stored all the same, as by an older or a loosened schema.
        let crd = "runaiclusters.runai-operator.io";
        let text = stage.world.kubectl(&["get", "crd", crd, "-o", "json"]).await;
        let crd_before: Value = serde_json::from_str(&text).unwrap();
        let schema = &crd_before["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let set = async |stage: &Stage, schema: &Value| {
            let path = "/spec/versions/0/schema/openAPIV3Schema";
            let patch = json!([{ "op": "replace", "path": path, "value": schema }]).to_string();
            stage.world.kubectl(&["patch", "crd", crd, "--type=json", "-p", &patch]).await;
        };
        let anything = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        set(stage, &json!({ "type": "object", "properties": { "spec": anything, "status": anything } })).await;
        stage
            .eventually("the bad object to be stored", async || {
                stage.world.bed.kubectl_apply(&bad.to_string()).await.map(|_| ())
            })
            .await;
        for round in ["watched", "listed"] {
            let object = stage.world.until_stalled("flux-39272", "InvalidSpec").await;
            assert!(crate::world::message(&object, "Stalled").contains("stalledAfter"), "{round}: {object}");
            let other = format!("flux-39272-{round}");
            plane.apply(stage, &other).await;
            stage.until_ready(&other).await;
            stage.restart().await;
        }
        set(stage, schema).await;
        bad["spec"]["deletion"]["stalledAfter"] = json!("1h");
        stage.world.apply(&bad).await;
        stage.until_ready("flux-39272").await;
    });
}

/// A reference to a CA named another namespace, and its contents came back in error texts.
#[test]
fn external_secrets_cve_2026_42875_no_reference_reaches_into_another_namespace() {
    on_stage(async |stage| {
        let since = Timestamp::now();
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "private", "namespace": TEAM },
            "data": { "ca.crt": "the tenant's own business" },
        });
        stage.world.apply(&map).await;
        let plane = stage.plane("eso-42875").await;
        let reference = json!({ "kind": "ConfigMap", "name": "private", "namespace": TEAM });
        let spec = json!({ "pollInterval": "5s", "caBundleRef": reference });
        let manifest = control_plane("eso-42875", "eso-42875", &spec);
        let refused = stage.world.refused(&manifest).await;
        assert!(refused.contains("namespace"), "{refused}");
        // Without the API server's strictness the field is dropped: the name is looked for in the operator's namespace.
        let apply = ["apply", "--validate=false", "-f", "-"];
        stage.world.bed.kubectl_handle().ok_with_input(&apply, &manifest.to_string()).await.unwrap();
        let object = plane_says(stage, "eso-42875", "ConnectionInvalid").await;
        let said = crate::world::message(&object, "Ready");
        assert!(said.contains("private") && !said.contains("business"), "{said}");
        let events = stage.world.bed.audit_events(Some(since)).unwrap();
        let reached = events.iter().filter(|event| {
            event.user.starts_with("system:serviceaccount:runai-operator:")
                && ["configmaps", "secrets"].contains(&event.resource.as_str())
                && event.namespace != OPERATOR_NAMESPACE
        });
        assert_eq!(reached.count(), 0, "no ConfigMap or Secret of another namespace was asked for");
        assert!(plane.sent().is_empty());
    });
}

/// The system's own token went to whatever server a tenant named.
#[test]
fn tekton_cve_2026_40161_credentials_go_to_the_server_they_lie_beside() {
    on_stage(async |stage| {
        let attacker = Simulator::start(Config::default()).unwrap();
        let plane = stage.plane("tekton-40161").await;
        // Neither kind has a place for a URL.
        let url = json!(attacker.url());
        for field in ["url", "baseURL", "serverURL"] {
            let mut object = plane.object("tekton-40161", json!({}));
            object["spec"][field] = url.clone();
            assert!(stage.world.refused(&object).await.contains(field));
            let mut object = control_plane("tekton-40161", "tekton-40161", &json!({ "pollInterval": "5s" }));
            object["spec"][field] = url.clone();
            assert!(stage.world.refused(&object).await.contains(field));
        }
        // And a tenant's Secret of the same name, with a URL in it, is not the one that is meant.
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "tekton-40161", "namespace": TEAM },
            "stringData": { "url": attacker.url() },
        });
        stage.world.apply(&secret).await;
        plane.apply(stage, "tekton-40161").await;
        stage.until_ready("tekton-40161").await;
        assert_eq!(attacker.counters().requests, 0);
        assert_eq!(plane.sent().len(), 1);
    });
}

/// Answers that redirect took requests, and the credentials in them, to other servers.
#[test]
fn kubernetes_cve_2022_3172_no_redirect_is_followed() {
    on_stage(async |stage| {
        let attacker = Simulator::start(Config::default()).unwrap();
        let plane = stage.plane("k8s-3172").await;
        for name in ["k8s-3172", "k8s-3172-going"] {
            plane.apply(stage, name).await;
            stage.until_ready(name).await;
        }
        for status in [301, 302, 303, 307, 308] {
            let redirect = FaultAction::Redirect { location: attacker.url().to_owned(), status, phase: Phase::Pre };
            plane.simulator.add_fault(FaultRule::new(redirect).times(2));
        }
        // New credentials mean a new login, with the client secret in its body.
        plane.simulator.apply(&FaultAction::TokenRevoke { identity: None, phase: Phase::Pre });
        stage.world.patch("k8s-3172", json!({ "spec": { "name": "k8s-3172-b" } })).await;
        stage.world.delete("k8s-3172-going").await;
        plane.apply(stage, "k8s-3172-new").await;
        let all_fired = |simulator: &Simulator| simulator.faults().iter().all(|(_, fired)| *fired == 2);
        assert!(plane.simulator.until(2 * LONG, all_fired).await, "{:?}", plane.simulator.faults());
        stage.until("k8s-3172", "renamed", |object| object["status"]["name"] == "k8s-3172-b").await;
        stage.until_gone("k8s-3172-going").await;
        stage.until_ready("k8s-3172-new").await;
        assert_eq!(attacker.counters().requests, 0, "somebody followed");
        assert_eq!(plane.simulator.clusters_named("k8s-3172-new").len(), 1);
    });
}

/// A token was part of a URL, and the error text of a failed connection took it into the log.
#[test]
fn flux_cve_2024_31216_failed_connections_log_no_credential() {
    on_stage(async |stage| {
        let identity = |config: &mut Config| config.tenants[0].identities.push(Identity::new("c4nary", SECRET));
        let plane = stage.plane_with("flux-31216", identity).await;
        let client = [("clientID", "c4nary"), ("clientSecret", SECRET)];
        let url = plane.simulator.url().to_owned();
        stage.world.connect_secret("flux-31216", &[&[("url", url.as_str())][..], &client].concat()).await;
        plane.apply(stage, "flux-31216").await;
        stage.until_ready("flux-31216").await;
        // Every way for a connection to fail, with the credential in use, and with one inside the URL.
        let [closed] = testbed::free_ports().unwrap();
        let bad = [
            (format!("http://127.0.0.1:{closed}"), "ConnectionFailed"),
            (format!("http://user:{SECRET}@127.0.0.1:{closed}"), "ConnectionInvalid"),
            ("http://nowhere.invalid".to_owned(), "ConnectionFailed"),
            (format!("http://127.0.0.1:{closed}/?token={SECRET}"), "ConnectionInvalid"),
        ];
        for (url, reason) in &bad {
            stage.world.connect_secret("flux-31216", &[&[("url", url.as_str())][..], &client].concat()).await;
            plane_says(stage, "flux-31216", reason).await;
        }
        let mut said = stage.world.operator.logs().unwrap();
        said += &stage.world.kubectl(&["get", "rcl,rcp,events", "-A", "-o", "json"]).await;
        said += &stage.world.operator.metrics().await.unwrap();
        assert!(said.contains("flux-31216") && !said.contains(SECRET), "the client secret came to light");
    });
}

/// A child was taken for one's own by its name: whoever made one of that name first could feed it results.
#[test]
fn tekton_cve_2023_37264_a_name_is_no_identity() {
    on_stage(async |stage| {
        let plane = stage.plane("tekton-37264").await;
        // Made by somebody else before the object.
        let first = plane.simulator.seed(SeedCluster::named("tekton-37264-first")).unwrap();
        plane.apply(stage, "tekton-37264-first").await;
        let object = stage.world.until_stalled("tekton-37264-first", "NameConflict").await;
        assert!(object["status"]["uuid"].is_null(), "{object}");
        // Put in the place of the object's own, which is gone.
        plane.apply(stage, "tekton-37264").await;
        let own = uuid(&stage.until_ready("tekton-37264").await);
        // Older than any read may be, so that an absence counts.
        plane.simulator.advance(std::time::Duration::from_secs(120));
        plane.simulator.remove(own).unwrap();
        let second = plane
            .simulator
            .seed(
                SeedCluster {
                    domain: Some("https://tekton-37264.example.com".to_owned()),
                    ..SeedCluster::named("tekton-37264")
                }
                .connected(),
            )
            .unwrap();
        let object = stage.world.until_stalled("tekton-37264", "ExternallyDeleted").await;
        assert_eq!(uuid(&object), own);
        assert_ne!(condition(&object, "Connected").0, "True", "the stranger's state is not shown as one's own");
        for name in ["tekton-37264", "tekton-37264-first"] {
            stage.world.delete(name).await;
            stage.until_gone(name).await;
        }
        for stranger in [first, second] {
            assert!(plane.simulator.cluster(stranger).unwrap().delete_requested_at.is_none());
        }
        let touched = plane.sent().iter().filter(|line| !line.starts_with("Create")).count();
        assert_eq!(touched, 0, "{:?}", plane.sent());
    });
}
