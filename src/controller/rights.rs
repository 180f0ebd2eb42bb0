//! What the operator must be allowed to do in Kubernetes, and the question whether somebody is.
//!
//! Owns the list of rights, which the chart grants one for one (a test compares), and the reviews by which the API server
//! tells who has them. A review is answered and not stored. Must not know what follows from an answer.

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::api::{CLUSTER_CRD, GROUP};

use super::calls::{CallError, call};
use super::lease::LEASE_NAME;

/// Where Events about objects without a namespace lie.
const EVENTS_OF_CLUSTER_SCOPED: &str = "default";

/// What a right is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The objects.
    Objects,
    /// Secrets and CA bundles.
    Connections,
    /// The Lease. Not needed without leader election.
    Election,
}

/// Where a right must hold.
#[derive(Clone, Copy)]
enum Scope {
    /// The kind has no namespace.
    Cluster,
    /// In every namespace of RunaiClusters.
    Watched,
    /// There, and where Events about control planes lie.
    WatchedAndDefault,
    /// In the operator's own namespace.
    Own,
}

/// The namespaces that the operator works in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Namespaces<'a> {
    /// Its own.
    pub(crate) own: &'a str,
    /// Those of the RunaiClusters (`run --watch-namespaces`); empty means all.
    pub(crate) watched: &'a [String],
}

impl<'a> Namespaces<'a> {
    /// The places that a right must hold in, each once; `None` is everywhere.
    fn places(self, scope: Scope) -> Vec<Option<&'a str>> {
        let beside = match scope {
            Scope::Cluster => return vec![None],
            Scope::Own => return vec![Some(self.own)],
            Scope::Watched => None,
            Scope::WatchedAndDefault => Some(EVENTS_OF_CLUSTER_SCOPED),
        };
        if self.watched.is_empty() {
            return vec![None];
        }
        let named: BTreeSet<_> = self.watched.iter().map(String::as_str).chain(beside).collect();
        named.into_iter().map(Some).collect()
    }
}

#[derive(Clone, Copy)]
struct Need {
    purpose: Purpose,
    scope: Scope,
    group: &'static str,
    resource: &'static str,
    subresource: Option<&'static str>,
    /// The only object that it is needed for.
    name: Option<&'static str>,
    verbs: &'static [&'static str],
}

type Verbs = &'static [&'static str];

/// A right on objects.
const fn on(scope: Scope, group: &'static str, resource: &'static str, verbs: Verbs) -> Need {
    Need { purpose: Purpose::Objects, scope, group, resource, subresource: None, name: None, verbs }
}

const fn status(scope: Scope, resource: &'static str) -> Need {
    Need { subresource: Some("status"), ..on(scope, GROUP, resource, &["patch"]) }
}

/// A right in the operator's own namespace.
const fn own(purpose: Purpose, group: &'static str, resource: &'static str, verbs: Verbs) -> Need {
    Need { purpose, ..on(Scope::Own, group, resource, verbs) }
}

const fn only(name: &'static str, need: Need) -> Need {
    Need { name: Some(name), ..need }
}

const NEEDS: [Need; 11] = [
    on(Scope::Watched, GROUP, "runaiclusters", &["list", "watch", "patch"]),
    status(Scope::Watched, "runaiclusters"),
    on(Scope::Cluster, GROUP, "runaicontrolplanes", &["list", "watch", "create", "patch"]),
    status(Scope::Cluster, "runaicontrolplanes"),
    on(Scope::Cluster, "", "namespaces", &["list", "watch"]),
    only(CLUSTER_CRD, on(Scope::Cluster, "apiextensions.k8s.io", "customresourcedefinitions", &["get"])),
    on(Scope::WatchedAndDefault, "events.k8s.io", "events", &["create", "patch"]),
    own(Purpose::Connections, "", "secrets", &["get", "list", "watch", "create"]),
    own(Purpose::Connections, "", "configmaps", &["get", "list", "watch"]),
    own(Purpose::Election, "coordination.k8s.io", "leases", &["create"]),
    only(LEASE_NAME, own(Purpose::Election, "coordination.k8s.io", "leases", &["get", "update"])),
];

/// One verb on one kind.
pub(crate) struct Right<'a> {
    need: &'static Need,
    verb: &'static str,
    namespace: Option<&'a str>,
}

/// The rights that a purpose takes.
pub(crate) fn needed(purpose: Purpose, namespaces: Namespaces<'_>) -> impl Iterator<Item = Right<'_>> {
    let needs = NEEDS.iter().filter(move |need| need.purpose == purpose);
    needs.flat_map(move |need| {
        let places = namespaces.places(need.scope).into_iter();
        places.flat_map(move |namespace| need.verbs.iter().map(move |&verb| Right { need, verb, namespace }))
    })
}

impl fmt::Display for Right<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Need { group, resource, subresource, name, .. } = self.need;
        write!(f, "{} {resource}", self.verb)?;
        if !group.is_empty() {
            write!(f, ".{group}")?;
        }
        if let Some(subresource) = subresource {
            write!(f, "/{subresource}")?;
        }
        if let Some(name) = name {
            write!(f, " {name}")?;
        }
        match self.namespace {
            Some(namespace) => write!(f, " in {namespace}"),
            None => f.write_str(" everywhere"),
        }
    }
}

/// A ServiceAccount that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// Where it lies.
    pub(crate) namespace: String,
    /// What it is called there.
    pub(crate) name: String,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "system:serviceaccount:{}:{}", self.namespace, self.name)
    }
}

/// Whether `account` has the right; without one, whether whoever asks has it.
///
/// # Errors
/// When the API server gives no answer: about others, only who may create SubjectAccessReviews gets one.
pub(crate) async fn has(client: &Client, account: Option<&Account>, right: &Right<'_>) -> Result<bool, CallError> {
    let attributes = Some(ResourceAttributes {
        group: Some(right.need.group.to_owned()),
        resource: Some(right.need.resource.to_owned()),
        subresource: right.need.subresource.map(str::to_owned),
        name: right.need.name.map(str::to_owned),
        namespace: right.namespace.map(str::to_owned),
        verb: Some(right.verb.to_owned()),
        ..ResourceAttributes::default()
    });
    let params = PostParams::default();
    let status = if let Some(account) = account {
        let groups = vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{}", account.namespace),
            "system:authenticated".to_owned(),
        ];
        let spec = SubjectAccessReviewSpec {
            resource_attributes: attributes,
            user: Some(account.to_string()),
            groups: Some(groups),
            ..SubjectAccessReviewSpec::default()
        };
        let api: Api<SubjectAccessReview> = Api::all(client.clone());
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        call(api.create(&params, &review)).await?.status
    } else {
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: attributes, non_resource_attributes: None };
        let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        call(api.create(&params, &review)).await?.status
    };
    Ok(status.is_some_and(|status| status.allowed))
}
