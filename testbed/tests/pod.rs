//! A Deployment becomes what a process is started with, or is refused with a reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use testbed::{Options, Testbed};

fn deployment(container: &Value, spec: &Value) -> Value {
    let mut pod = json!({
        "serviceAccountName": "worker", "terminationGracePeriodSeconds": 7, "containers": [container],
        "volumes": [
            { "name": "files", "configMap": { "name": "settings" } },
            { "name": "keys", "secret": { "secretName": "keys" } },
            { "name": "scratch", "emptyDir": {} },
            { "name": "host", "hostPath": { "path": "/" } },
        ],
    });
    pod.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let labels = json!({ "app": "worker" });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "worker", "namespace": "default" },
        "spec": {
            "selector": { "matchLabels": labels }, "template": { "metadata": { "labels": labels }, "spec": pod },
        },
    })
}

fn container(more: &Value) -> Value {
    let mut container = json!({
        "name": "main", "image": "worker",
        "args": ["run", "--config=/etc/worker/main.yaml", "--listen=0.0.0.0:8080"],
        "envFrom": [{ "configMapRef": { "name": "settings" }, "prefix": "SET_" }],
        "env": [
            { "name": "WHERE", "valueFrom": { "fieldRef": { "fieldPath": "metadata.namespace" } } },
            { "name": "WHO", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
            { "name": "HEALTH", "value": "0.0.0.0:8081" },
        ],
        "ports": [{ "name": "main", "containerPort": 8080 }, { "name": "health", "containerPort": 8081 }],
        "readinessProbe": { "httpGet": { "path": "/readyz", "port": "health" } },
        "volumeMounts": [
            { "name": "files", "mountPath": "/etc/worker" }, { "name": "keys", "mountPath": "/keys" },
            { "name": "scratch", "mountPath": "/scratch" },
        ],
    });
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    container
}

#[tokio::test]
async fn a_deployment_says_how_a_process_is_started() {
    let bed = Testbed::start(Options::default()).await.unwrap();
    let settings = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" }, "data": { "main.yaml": "a: 1" },
    });
    let keys = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "keys" }, "stringData": { "password": "canary" },
    });
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "worker" } });
    for manifest in [settings, keys, account, deployment(&container(&json!({})), &json!({}))] {
        bed.kubectl_apply(&manifest.to_string()).await.unwrap();
    }
    let pod = bed.pod("default", "worker").await.unwrap();
    let (main, health) = (&pod.ports["main"], &pod.ports["health"]);
    assert!(main.starts_with("127.0.0.1:") && main != health);
    assert_eq!((pod.args[0].as_str(), pod.args[2].as_str()), ("run", format!("--listen={main}").as_str()));
    let file = pod.args[1].strip_prefix("--config=").unwrap();
    assert_eq!(std::fs::read_to_string(file).unwrap(), "a: 1");
    let password = std::path::Path::new(file).parent().unwrap().parent().unwrap().join("keys/password");
    assert_eq!(std::fs::read_to_string(password).unwrap(), "canary");
    let env: Vec<_> = pod.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let name = env[2].1;
    assert!(name.starts_with("worker-"), "{name}");
    assert_eq!(env, [("SET_main.yaml", "a: 1"), ("WHERE", "default"), ("WHO", name), ("HEALTH", health)]);
    assert_eq!(pod.probes["readinessProbe"], format!("http://{health}/readyz"));
    assert_eq!(pod.grace.as_secs(), 7);
    let who = bed.kubectl_as(&pod.login).ok(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]).await;
    assert_eq!(who.unwrap(), "system:serviceaccount:default:worker");

    // The next pod of the same Deployment has nothing in common with it but what the Deployment says.
    let next = bed.pod("default", "worker").await.unwrap();
    assert_ne!(next.env[2].1, name);
    let own = |pod: &testbed::Pod| (pod.args[1].clone(), pod.ports["main"].clone());
    let (one, other) = (own(&pod), own(&next));
    assert!(one.0 != other.0 && one.1 != other.1, "{one:?} {other:?}");
    let token = |pod: &testbed::Pod| std::fs::read_to_string(pod.login.kubeconfig()).unwrap();
    assert_ne!(token(&pod), token(&next));

    // What a process cannot be given is no reason to start it differently.
    let mount = |mount: Value| json!({ "volumeMounts": [mount] });
    for (more, spec, word) in [
        (json!({ "command": ["sh"] }), json!({}), "commands"),
        (mount(json!({ "name": "host", "mountPath": "/host" })), json!({}), "of another kind"),
        (mount(json!({ "name": "files", "mountPath": "/a", "subPath": "main.yaml" })), json!({}), "subPath"),
        (json!({}), json!({ "automountServiceAccountToken": false }), "no token"),
        (json!({ "envFrom": [{ "secretRef": { "name": "missing" } }] }), json!({}), "not found"),
    ] {
        bed.kubectl_apply(&deployment(&container(&more), &spec).to_string()).await.unwrap();
        let refused = bed.pod("default", "worker").await.err().unwrap().to_string();
        assert!(refused.contains(word), "{word}: {refused}");
        bed.kubectl_ok(&["delete", "deployment", "worker"]).await.unwrap();
    }
}
