//! Who may do what, as the API server decides it: users of a namespace by the chart's aggregated roles, and whoever holds
//! the operator's own token.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use testbed::{OPERATOR_NAMESPACE, Options, Testbed, wait_until};

use crate::chart::ACCOUNT;
use crate::world::{SOON, TEAM};

const OTHER: &str = "team-b";
const KINDS: &str = "runai-operator.io";
const EVERY_WRITE: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

/// A place: a namespace, or `""` for everywhere and for objects without one.
type Place = &'static str;

/// Asks for one verb; `kind` is `group/resource[/subresource]`.
async fn may(bed: &Testbed, (namespace, account): (&str, &str), verb: &str, kind: &str, place: Place) -> bool {
    let mut parts = kind.split('/').map(str::to_owned);
    let attributes = ResourceAttributes {
        verb: Some(verb.to_owned()),
        group: parts.next(),
        resource: parts.next(),
        subresource: parts.next(),
        namespace: Some(place.to_owned()),
        ..ResourceAttributes::default()
    };
    let groups = ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}"), "system:authenticated"];
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:{namespace}:{account}")),
            groups: Some(groups.map(str::to_owned).to_vec()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let api: Api<SubjectAccessReview> = Api::all(bed.client().await.unwrap());
    api.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
}

/// Every verb on every kind at this place is answered like this.
async fn all(bed: &Testbed, who: (&str, &str), answer: bool, verbs: &[&str], kinds: &[&str], place: Place) {
    for kind in kinds {
        for verb in verbs {
            let is = may(bed, who, verb, kind, place).await;
            assert_eq!(is, answer, "{who:?} {verb} {kind} in {place:?}");
        }
    }
}

async fn people(bed: &Testbed) {
    for namespace in [TEAM, OTHER] {
        bed.kubectl_ok(&["create", "namespace", namespace]).await.unwrap();
    }
    for role in ["view", "edit", "admin"] {
        bed.kubectl_ok(&["create", "serviceaccount", role, "-n", TEAM]).await.unwrap();
        let (role_flag, subject) = (format!("--clusterrole={role}"), format!("--serviceaccount={TEAM}:{role}"));
        bed.kubectl_ok(&["create", "rolebinding", role, "-n", TEAM, &role_flag, &subject]).await.unwrap();
        let covered = wait_until(SOON, "the roles to cover RunaiClusters", async || {
            let covered = may(bed, (TEAM, role), "list", "runai-operator.io/runaiclusters", TEAM).await;
            if covered { Ok(()) } else { Err(role.to_owned()) }
        });
        covered.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reaches_more_than_the_threat_model_says() {
    let options = Options { controller_manager: true, ..Options::default() };
    let bed = Testbed::start(options).await.unwrap();
    bed.install_chart(&[]).await.unwrap();
    people(&bed).await;
    for role in ["edit", "admin"] {
        writers(&bed, (TEAM, role)).await;
    }
    viewers(&bed, (TEAM, "view")).await;
    the_operators_token(&bed, (OPERATOR_NAMESPACE, ACCOUNT)).await;
    in_practice(&bed).await;
}

async fn writers(bed: &Testbed, who: (&str, &str)) {
    let reads = ["get", "list", "watch"];
    all(bed, who, true, &reads, &["runai-operator.io/runaiclusters"], TEAM).await;
    all(bed, who, true, &EVERY_WRITE, &["runai-operator.io/runaiclusters"], TEAM).await;
    all(bed, who, false, &EVERY_WRITE, &["runai-operator.io/runaiclusters/status"], TEAM).await;
    out_of_reach(bed, who).await;
}

async fn viewers(bed: &Testbed, who: (&str, &str)) {
    all(bed, who, true, &["get", "list", "watch"], &["runai-operator.io/runaiclusters"], TEAM).await;
    let kinds = ["runai-operator.io/runaiclusters", "runai-operator.io/runaiclusters/status"];
    all(bed, who, false, &EVERY_WRITE, &kinds, TEAM).await;
    all(bed, who, false, &["get", "list", "watch"], &["/secrets"], TEAM).await;
    out_of_reach(bed, who).await;
}

/// What no user of a namespace reaches, whatever the role there.
async fn out_of_reach(bed: &Testbed, who: (&str, &str)) {
    let every: Vec<_> = ["get", "list", "watch"].into_iter().chain(EVERY_WRITE).collect();
    let planes = ["runai-operator.io/runaicontrolplanes", "runai-operator.io/runaicontrolplanes/status"];
    all(bed, who, false, &every, &planes, "").await;
    let definitions = ["apiextensions.k8s.io/customresourcedefinitions"];
    all(bed, who, false, &EVERY_WRITE, &definitions, "").await;
    let others = ["runai-operator.io/runaiclusters", "/secrets", "/configmaps"];
    for place in [OTHER, ""] {
        all(bed, who, false, &every, &others, place).await;
    }
    let own =
        ["/secrets", "/configmaps", "/pods", "/pods/exec", "/serviceaccounts/token", "coordination.k8s.io/leases"];
    all(bed, who, false, &every, &own, OPERATOR_NAMESPACE).await;
}

/// A stolen token of the operator. What it can do is what SECURITY.md says; what it cannot is here.
async fn the_operators_token(bed: &Testbed, who: (&str, &str)) {
    let reads = ["get", "list", "watch"];
    all(bed, who, true, &reads, &["/secrets", "/configmaps"], OPERATOR_NAMESPACE).await;
    all(bed, who, true, &["create"], &["/secrets"], OPERATOR_NAMESPACE).await;
    all(bed, who, false, &["update", "patch", "delete", "deletecollection"], &["/secrets"], OPERATOR_NAMESPACE).await;
    all(bed, who, false, &EVERY_WRITE, &["/configmaps"], OPERATOR_NAMESPACE).await;

    let every: Vec<_> = reads.into_iter().chain(EVERY_WRITE).collect();
    for place in [TEAM, OTHER, "kube-system", ""] {
        all(bed, who, false, &every, &["/secrets", "/configmaps"], place).await;
    }
    let leads_further = [
        "/pods",
        "/pods/exec",
        "/pods/attach",
        "/pods/portforward",
        "/serviceaccounts",
        "/serviceaccounts/token",
        "apps/deployments",
        "batch/jobs",
        "rbac.authorization.k8s.io/roles",
        "rbac.authorization.k8s.io/rolebindings",
    ];
    for place in [OPERATOR_NAMESPACE, TEAM, ""] {
        all(bed, who, false, &every, &leads_further, place).await;
    }
    let without_a_place = [
        "rbac.authorization.k8s.io/clusterroles",
        "rbac.authorization.k8s.io/clusterrolebindings",
        "admissionregistration.k8s.io/validatingwebhookconfigurations",
        "admissionregistration.k8s.io/mutatingwebhookconfigurations",
        "certificates.k8s.io/certificatesigningrequests",
        "/nodes",
        "/nodes/proxy",
        "/persistentvolumes",
    ];
    all(bed, who, false, &every, &without_a_place, "").await;
    all(bed, who, false, &["impersonate"], &["/users", "/groups", "/serviceaccounts"], "").await;
    let roles = ["rbac.authorization.k8s.io/clusterroles", "rbac.authorization.k8s.io/roles"];
    all(bed, who, false, &["bind", "escalate"], &roles, "").await;

    // Our own kinds: no object can be made or taken away, a registration is asked for by nobody but users.
    all(
        bed,
        who,
        false,
        &["create", "update", "delete", "deletecollection"],
        &["runai-operator.io/runaiclusters"],
        TEAM,
    )
    .await;
    all(
        bed,
        who,
        true,
        &["patch"],
        &["runai-operator.io/runaiclusters", "runai-operator.io/runaiclusters/status"],
        TEAM,
    )
    .await;
    all(bed, who, false, &["update", "delete", "deletecollection"], &["runai-operator.io/runaicontrolplanes"], "")
        .await;
    all(bed, who, false, &EVERY_WRITE, &["apiextensions.k8s.io/customresourcedefinitions", "/namespaces"], "").await;
}

/// The same once more with real requests: a review could be asked wrongly.
async fn in_practice(bed: &Testbed) {
    let login = bed.serviceaccount_kubeconfig(TEAM, "edit").await.unwrap();
    let editor = bed.kubectl_as(&login);
    let object = json!({
        "apiVersion": format!("{KINDS}/v1alpha1"), "kind": "RunaiCluster",
        "metadata": { "name": "mine", "namespace": TEAM }, "spec": {}, "status": { "uuid": uuid::Uuid::nil() },
    });
    editor.apply(&object.to_string()).await.unwrap();
    let made = bed.kubectl_ok(&["get", "rcl", "mine", "-n", TEAM, "-o", "jsonpath={.status.uuid}"]).await.unwrap();
    assert_eq!(made, "", "status cannot be brought along");
    let status = json!({ "status": { "uuid": uuid::Uuid::nil() } }).to_string();
    let attempts: [&[&str]; 6] = [
        &["patch", "rcl", "mine", "-n", TEAM, "--subresource=status", "--type=merge", "-p", &status],
        &["get", "secrets", "-n", OPERATOR_NAMESPACE],
        &["get", "rcp"],
        &["delete", "rcp", "--all"],
        &["get", "rcl", "-A"],
        &["delete", "crd", "runaiclusters.runai-operator.io"],
    ];
    for args in attempts {
        let refused = editor.run(args).await.unwrap();
        assert!(!refused.status.success() && refused.stderr.contains("Forbidden"), "{args:?}: {refused:?}");
    }
}
