//! Roles as rights, one by one. Knows RBAC, not the operator.

use std::collections::BTreeSet;

use serde_json::Value;
use testbed::{AuditEvent, OPERATOR_NAMESPACE};

/// One verb on one kind of object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// The namespace that it is good for; `None`: everywhere.
    pub namespace: Option<String>,
    /// API group; empty for the core group.
    pub group: String,
    /// Plural name, with the subresource behind a slash.
    pub resource: String,
    pub verb: String,
    /// The only object that it is good for, if it is limited to one.
    pub name: Option<String>,
}

impl Right {
    /// Whether this request needs the right. Whoever may do something everywhere has to do it outside the operator's own
    /// namespace: a Role would be enough for the rest.
    pub fn is_used_by(&self, event: &AuditEvent) -> bool {
        let resource = match event.subresource.as_str() {
            "" => event.resource.clone(),
            subresource => format!("{}/{subresource}", event.resource),
        };
        // A server-side apply that makes its object is a patch that needs the right to create.
        let created = event.verb == "patch" && event.code == 201 && self.verb == "create";
        self.group == event.group
            && self.resource == resource
            && (self.verb == event.verb || created)
            && self.name.as_ref().is_none_or(|name| *name == event.name)
            && match &self.namespace {
                Some(namespace) => *namespace == event.namespace,
                None => event.namespace != OPERATOR_NAMESPACE,
            }
    }
}

pub fn is_kind<'a>(kind: &'a str) -> impl Fn(&&'a Value) -> bool {
    move |document| document["kind"] == kind
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// All rights of a Role or ClusterRole.
pub fn rights(role: &Value) -> BTreeSet<Right> {
    let namespace = role["metadata"]["namespace"].as_str().map(str::to_owned);
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        assert!(rule["nonResourceURLs"].is_null(), "addresses are no rights that anybody here needs: {rule}");
        let names = texts(&rule["resourceNames"]);
        let names: Vec<_> = if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    for name in &names {
                        rights.insert(Right {
                            namespace: namespace.clone(),
                            group: group.clone(),
                            resource: resource.clone(),
                            verb: verb.clone(),
                            name: name.clone(),
                        });
                    }
                }
            }
        }
    }
    rights
}

/// What a service account of the operator's namespace is granted by these documents.
pub fn granted(documents: &[Value], account: &str) -> BTreeSet<Right> {
    let mut all = BTreeSet::new();
    for binding in documents.iter().filter(|document| document["kind"].as_str().unwrap().ends_with("RoleBinding")) {
        let subjects = binding["subjects"].as_array().unwrap();
        if !subjects.iter().any(|subject| subject["kind"] == "ServiceAccount" && subject["name"] == account) {
            continue;
        }
        let is_the_role = |role: &&Value| {
            role["kind"] == binding["roleRef"]["kind"] && role["metadata"]["name"] == binding["roleRef"]["name"]
        };
        let role = documents.iter().find(is_the_role).unwrap_or_else(|| panic!("no role for {binding}"));
        let mut rights = rights(role);
        if binding["kind"] == "RoleBinding" {
            let namespace = binding["metadata"]["namespace"].as_str().unwrap();
            rights = rights.into_iter().map(|right| Right { namespace: Some(namespace.to_owned()), ..right }).collect();
        }
        all.extend(rights);
    }
    all
}

/// What nobody should grant to an operator like this one: rights that lead to all others, or to any container.
pub fn dangers(right: &Right) -> Option<&'static str> {
    let Right { namespace, group, resource, verb, name: _ } = right;
    if [group, resource, verb].contains(&&"*".to_owned()) {
        return Some("a wildcard");
    }
    if ["escalate", "impersonate", "bind", "deletecollection"].contains(&verb.as_str()) {
        return Some("a verb that leads further");
    }
    if group.ends_with("rbac.authorization.k8s.io")
        || group.contains("admissionregistration")
        || group.contains("certificates")
    {
        return Some("a group that leads further");
    }
    let leads_further = ["pods", "nodes", "serviceaccounts", "deployments", "jobs", "daemonsets", "statefulsets"];
    if leads_further.contains(&resource.split('/').next().unwrap()) {
        return Some("a kind that leads further");
    }
    (resource == "secrets" && namespace.as_deref() != Some(OPERATOR_NAMESPACE)).then_some("Secrets of other namespaces")
}
