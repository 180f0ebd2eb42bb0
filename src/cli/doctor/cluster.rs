//! The Kubernetes side: access, the CRDs, and the operator's rights.
//!
//! Owns the words for that. Which rights are needed is the controller's list.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::super::kube::Kube;
use super::super::output::count;
use super::definitions::{Flaw, judge};
use super::report::{Check, Outcome, Report};
use crate::api::CLUSTER_CRD;
use crate::api::crds::crds;
use crate::controller::rights::{self, Account, Namespaces, Purpose};

/// What these findings are about.
pub(super) const KUBERNETES: &str = "kubernetes";
/// How the CRDs of this binary get into a cluster.
const INSTALL: &str = "install this binary's: runai-cluster-operator crds | kubectl apply --server-side -f -";

/// Runs the checks. Whether it makes sense to look for control planes.
pub(super) async fn check(
    report: &mut Report,
    kube: &Kube,
    namespaces: Namespaces<'_>,
    account: Option<&Account>,
) -> bool {
    match kube.version().await {
        Ok(version) => report.ok(KUBERNETES, Check::Access, format!("{version} at {}", kube.url)),
        Err(error) => {
            let advice = if error.is_unauthorized() {
                "the API server does not take these credentials: log in again, or choose another --context"
            } else {
                "check server, certificate authority and credentials of the kubeconfig's context; `kubectl version` must work"
            };
            report.problem(KUBERNETES, Check::Access, format!("{}: {}", kube.url, error.explained()), advice);
            skip(report, Check::AFTER_ACCESS);
            return false;
        }
    }
    let installed = definitions(report, kube).await;
    rights_of(report, kube, namespaces, account).await;
    if !installed {
        report.skipped(KUBERNETES, Check::ControlPlanes, "their kind is not installed");
    }
    installed
}

/// Skips checks for want of access.
pub(super) fn skip(report: &mut Report, checks: &[Check]) {
    for &check in checks {
        report.skipped(KUBERNETES, check, "no access to Kubernetes");
    }
}

/// Checks both kinds. Whether there is one for control planes.
async fn definitions(report: &mut Report, kube: &Kube) -> bool {
    let own = match crds() {
        Ok(own) => own,
        Err(error) => {
            report.problem(KUBERNETES, Check::CrdRunaiclusters, error.to_string(), "use another build of this binary");
            return true;
        }
    };
    let mut planes_are_there = true;
    for own in &own {
        let name = own.metadata.name.as_deref().unwrap_or_default();
        let is_planes = name != CLUSTER_CRD;
        let check = if is_planes { Check::CrdRunaicontrolplanes } else { Check::CrdRunaiclusters };
        match kube.definition(name).await {
            Ok(Some(found)) => told(report, check, own, &found),
            Ok(None) => {
                report.problem(KUBERNETES, check, format!("CRD {name} is missing"), INSTALL);
                planes_are_there &= !is_planes;
            }
            Err(error) if error.is_forbidden() => {
                report.skipped(KUBERNETES, check, format!("this user may not read it: {error}"));
            }
            Err(error) => report.problem(
                KUBERNETES,
                check,
                format!("CRD {name} cannot be read: {}", error.explained()),
                "see to it that the API server is well, and run doctor again",
            ),
        }
    }
    planes_are_there
}

fn told(report: &mut Report, check: Check, own: &CustomResourceDefinition, found: &CustomResourceDefinition) {
    let mut say = |result, text: String, advice, details| {
        report.listed(KUBERNETES, check, result, text, advice, details);
    };
    match judge(own, found) {
        None => report.ok(KUBERNETES, check, "as this binary's"),
        Some(Flaw::Deleting) => say(
            Outcome::Problem,
            "the CRD is being deleted, and with it all its objects".to_owned(),
            "wait until it is gone (kubectl get crd), then install it again: runai-cluster-operator crds | kubectl apply --server-side -f -",
            Vec::new(),
        ),
        Some(Flaw::NotEstablished(why)) => say(
            Outcome::Problem,
            format!("the API server does not serve the CRD: {why}"),
            "remove what stands in its way: see the conditions in `kubectl describe crd`",
            Vec::new(),
        ),
        Some(Flaw::StoredVersions(versions)) => say(
            Outcome::Problem,
            "objects are stored in versions that this binary does not know".to_owned(),
            "use the operator that these versions belong to",
            versions,
        ),
        Some(Flaw::NotServed) => say(
            Outcome::Problem,
            "the CRD does not serve the version that this binary speaks, v1alpha1".to_owned(),
            INSTALL,
            Vec::new(),
        ),
        Some(Flaw::Older(fields)) => {
            say(Outcome::Problem, "older than this binary; fields are missing".to_owned(), INSTALL, fields);
        }
        Some(Flaw::Newer(fields)) => say(
            Outcome::Warning,
            "newer than this binary, which does not know these fields".to_owned(),
            "use the operator and the doctor that the CRDs came with",
            fields,
        ),
        Some(Flaw::Differs(places)) => {
            say(Outcome::Warning, "its rules are not this binary's".to_owned(), INSTALL, places);
        }
    }
}

async fn rights_of(report: &mut Report, kube: &Kube, namespaces: Namespaces<'_>, account: Option<&Account>) {
    let who = account.map_or_else(|| "whoever asks".to_owned(), ToString::to_string);
    for (check, purpose) in [
        (Check::RbacObjects, Purpose::Objects),
        (Check::RbacConnections, Purpose::Connections),
        (Check::RbacElection, Purpose::Election),
    ] {
        let (mut missing, mut asked) = (Vec::new(), 0);
        let mut refused = None;
        for right in rights::needed(purpose, namespaces) {
            asked += 1;
            match rights::has(&kube.client, account, &right).await {
                Ok(true) => {}
                Ok(false) => missing.push(right.to_string()),
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        if let Some(error) = refused {
            let advice = "ask with a user who may create subjectaccessreviews.authorization.k8s.io, or without --as";
            report.warning(KUBERNETES, check, format!("rights cannot be asked for: {error}"), advice);
        } else if missing.is_empty() {
            report.ok(KUBERNETES, check, format!("{who} has all {} needed", count(asked, "right")));
        } else {
            let (result, advice) = verdict(purpose, account.is_some());
            report.listed(KUBERNETES, check, result, format!("{who} may not"), advice, missing);
        }
    }
}

/// How bad a missing right is, and what to do.
const fn verdict(purpose: Purpose, of_account: bool) -> (Outcome, &'static str) {
    match (purpose, of_account) {
        (Purpose::Election, true) => (
            Outcome::Warning,
            "needed with leader election only: set leaderElection.enabled in the chart, or run one replica with --leader-elect=false",
        ),
        (Purpose::Election, false) => (
            Outcome::Warning,
            "needed with leader election only; if this is not the operator's user, name that with --as NAMESPACE/SERVICEACCOUNT",
        ),
        (Purpose::Objects, true) => (
            Outcome::Problem,
            "bind the chart's roles to this ServiceAccount (rbac.create, serviceAccount.name), name the namespaces of the chart's watch.namespaces with --watch-namespaces, or correct --as",
        ),
        (Purpose::Connections, true) => (
            Outcome::Problem,
            "bind the chart's roles to this ServiceAccount (rbac.create, serviceAccount.name), or correct --as and --operator-namespace",
        ),
        (Purpose::Objects | Purpose::Connections, false) => (
            Outcome::Problem,
            "if this is not the operator's user, name that with --as NAMESPACE/SERVICEACCOUNT; else grant it what the chart's roles grant",
        ),
    }
}
