//! What the chart asks for: few rights, and pods that a strict namespace takes.

use serde_json::{Value, json};
use testbed::{OPERATOR_NAMESPACE, Testbed, workspace_dir};

use crate::roles::{Right, dangers, granted, is_kind, rights};
use crate::world::Bare;

/// The operator's service account.
pub const ACCOUNT: &str = "runai-operator-runai-cluster-operator";

/// The documents of the project's chart.
pub async fn render(bed: &Testbed, settings: &[&str]) -> Vec<Value> {
    let path = workspace_dir().join("charts/runai-cluster-operator");
    bed.helm_template(&path.display().to_string(), settings).await.unwrap()
}

/// The verbs that the operator has on Secrets, each with the place where it is needed: reading connections and the
/// signing key (`get`), noticing changes (`list`, `watch`), making the signing key once (`create`).
const ON_SECRETS: [&str; 4] = ["create", "get", "list", "watch"];

#[tokio::test(flavor = "multi_thread")]
async fn the_chart_asks_for_little() {
    let bare = Bare::start().await;
    few_rights(&bare.bed).await;
    strict_pods(&bare.bed).await;
}

async fn few_rights(bed: &Testbed) {
    let documents = render(bed, &[]).await;
    let mut roles = 0;
    for role in
        documents.iter().filter(|document| ["Role", "ClusterRole"].contains(&document["kind"].as_str().unwrap()))
    {
        roles += 1;
        for right in rights(role) {
            // Users may delete their own objects in one go.
            let is_users = right.verb == "deletecollection" && right.resource == "runaiclusters";
            assert!(is_users || dangers(&right).is_none(), "{}: {right:?}", dangers(&right).unwrap());
        }
        assert!(role["aggregationRule"].is_null(), "a role that grows: {role}");
    }
    assert_eq!(roles, 4, "the operator's two, view and edit");

    let all = granted(&documents, ACCOUNT);
    let on_secrets: Vec<_> = all.iter().filter(|right| right.resource == "secrets").collect();
    assert!(on_secrets.iter().all(|right| right.namespace.as_deref() == Some(OPERATOR_NAMESPACE)), "{on_secrets:?}");
    assert_eq!(on_secrets.iter().map(|right| right.verb.as_str()).collect::<Vec<_>>(), ON_SECRETS);
    publishing_is_asked_for(bed).await;
    let has_lease = |rights: &std::collections::BTreeSet<Right>| rights.iter().any(|right| right.resource == "leases");
    assert!(has_lease(&all));
    let alone = granted(&render(bed, &["leaderElection.enabled=false"]).await, ACCOUNT);
    assert!(!has_lease(&alone), "without leader election there is nothing to do with Leases");

    // Every danger is seen: a check that never fires is none.
    let harmless = Right {
        namespace: Some(OPERATOR_NAMESPACE.to_owned()),
        group: String::new(),
        resource: "secrets".to_owned(),
        verb: "get".to_owned(),
        name: None,
    };
    assert_eq!(dangers(&harmless), None);
    let over = |change: fn(&mut Right)| {
        let mut right = harmless.clone();
        change(&mut right);
        right
    };
    for danger in [
        over(|right| right.verb = "*".to_owned()),
        over(|right| right.resource = "*".to_owned()),
        over(|right| right.group = "*".to_owned()),
        over(|right| right.verb = "impersonate".to_owned()),
        over(|right| right.verb = "escalate".to_owned()),
        over(|right| right.verb = "bind".to_owned()),
        over(|right| right.group = "rbac.authorization.k8s.io".to_owned()),
        over(|right| right.resource = "serviceaccounts/token".to_owned()),
        over(|right| right.resource = "pods/exec".to_owned()),
        over(|right| right.namespace = None),
        over(|right| right.namespace = Some("kube-system".to_owned())),
    ] {
        assert!(dangers(&danger).is_some(), "{danger:?}");
    }
}

/// Only the value for it grants rights to Secrets of users, and it grants nothing else.
async fn publishing_is_asked_for(bed: &Testbed) {
    let without = granted(&render(bed, &[]).await, ACCOUNT);
    let with = granted(&render(bed, &["installInfo.enabled=true"]).await, ACCOUNT);
    assert!(with.is_superset(&without));
    let more: Vec<_> = with.difference(&without).collect();
    let is_it = |right: &&&Right| {
        right.resource == "secrets" && right.group.is_empty() && right.namespace.is_none() && right.name.is_none()
    };
    assert!(more.iter().all(|right| is_it(&right)), "{more:?}");
    let verbs: Vec<_> = more.iter().map(|right| right.verb.as_str()).collect();
    assert_eq!(verbs, ["create", "delete", "get", "list", "update", "watch"]);
}

/// A pod as the Deployment makes it is taken by a namespace that enforces Pod Security "restricted"; without its security
/// contexts it is not.
async fn strict_pods(bed: &Testbed) {
    for mode in ["enforce", "warn"] {
        let label = format!("pod-security.kubernetes.io/{mode}=restricted");
        bed.kubectl_ok(&["label", "namespace", OPERATOR_NAMESPACE, &label]).await.unwrap();
    }
    let documents = render(bed, &[]).await;
    let deployment = documents.iter().find(is_kind("Deployment")).unwrap();
    let kubectl = bed.kubectl_in_namespace(OPERATOR_NAMESPACE).unwrap();
    let file = bed.directory().join("candidate.json");
    let path = file.display().to_string();
    let try_out = async |object: &Value| {
        std::fs::write(&file, object.to_string()).unwrap();
        kubectl.run(&["create", "--dry-run=server", "-f", &path]).await.unwrap()
    };

    let whole = try_out(deployment).await;
    assert!(whole.status.success() && !whole.stderr.contains("Warning"), "{whole:?}");
    let template = &deployment["spec"]["template"];
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"].clone(), "spec": template["spec"].clone(),
    });
    pod["metadata"]["name"] = json!("candidate");
    let admitted = try_out(&pod).await;
    assert!(admitted.status.success(), "{admitted:?}");

    for (what, pointer) in
        [("the pod", "/spec/securityContext"), ("the container", "/spec/containers/0/securityContext")]
    {
        let mut naked = pod.clone();
        *naked.pointer_mut(pointer).unwrap() = json!({});
        let refused = try_out(&naked).await;
        assert!(!refused.status.success() && refused.stderr.contains("PodSecurity"), "{what}: {refused:?}");
    }
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "beyond what the level asks for");
    assert_eq!(pod["spec"]["volumes"], Value::Null, "nothing of the node is mounted");
    let host = ["hostNetwork", "hostPID", "hostIPC"];
    assert!(host.iter().all(|field| pod["spec"][field].is_null()), "{pod}");
}
