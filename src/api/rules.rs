//! The validation rules that the schema carries, with messages that name the field and the fix.
//!
//! Owns the CEL texts. Must not know the code that re-checks them (`convert`), nor be the only guard: objects may be
//! older than a rule. Rules stand at the field they judge, where the API server leaves unchanged values alone
//! (ratcheting), so that no rule added later can block a finalizer from being removed.

use kube::core::{Message, Reason, Rule};

use super::duration::MAX_DIGITS;

fn text(message: String) -> Message {
    Message::Message(message)
}

/// A string that [`super::duration::parse`] reads, at least `floor`.
pub(super) fn duration(field: &str, floor: &str) -> Rule {
    Rule::new(format!(
        "self.matches('^([0-9]{{1,{MAX_DIGITS}}}(ms|s|m|h))+$') && duration(self) >= duration('{floor}')"
    ))
    .message(text(format!(
        "{field} must be a duration such as 30s, 10m or 1h30m (whole numbers with the units ms, s, m, h), at least {floor}"
    )))
}

/// The name of another Kubernetes object (an RFC 1123 subdomain).
pub(super) fn object_name(field: &str) -> Rule {
    Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message(text(format!(
        "{field} must be an object name: lower case letters, digits, '-' and '.', beginning and ending with a letter or digit"
    )))
}

/// A key of a Secret or ConfigMap.
pub(super) fn data_key(field: &str) -> Rule {
    Rule::new("self.matches('^[-._a-zA-Z0-9]+$')")
        .message(text(format!("{field} must consist of letters, digits, '-', '_' and '.', such as ca.crt")))
}

/// A value that never changes while its object lives.
pub(super) fn immutable(field: &str, fix: &str) -> Rule {
    Rule::new("self == oldSelf")
        .message(text(format!("{field} is immutable; {fix}")))
        .reason(Reason::FieldValueForbidden)
}

/// The characters of a registration name; its length is in the schema.
pub(super) fn registration_name() -> Rule {
    Rule::new(r"self == self.trim() && !self.matches('\\p{Cc}')")
        .message("name must not begin or end with white space and must not hold control characters; remove them")
}

const LABEL: &str = "[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?";
const PORT: &str = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";

/// A host with an optional port, or an http(s) URL of one. Empty texts are left to the schema's minimum length.
pub(super) fn registration_domain() -> Rule {
    Rule::new(format!("self.matches('^(https?://)?{LABEL}([.]{LABEL})*[.]?(:{PORT})?/?$')")).message(
        "domain must be a host such as runai.example.com, with or without a port, or a URL such as \
         https://runai.example.com, without a path",
    )
}

/// An agent version.
pub(super) fn agent_version() -> Rule {
    Rule::new("self.matches('^[0-9]+[.][0-9]+([.][0-9][-0-9A-Za-z+._]*)?$')")
        .message("version must look like 2.24 or 2.24.37")
}

/// An https URL of a host, without a path.
pub(super) fn remote_cluster_url() -> Rule {
    Rule::new(format!("self.matches('^https://{LABEL}([.]{LABEL})*[.]?(:{PORT})?/?$')")).message(
        "installInfo.remoteClusterUrl must be an https URL such as https://runai.example.com, without a path, user or query",
    )
}

/// The keys of labels or annotations: qualified names, none with a prefix that belongs to somebody else.
pub(super) fn metadata_keys(field: &str, reserved: &[&str]) -> [Rule; 2] {
    let owners = reserved.iter().map(|owner| owner.replace('.', "[.]")).collect::<Vec<_>>().join("|");
    [
        Rule::new(
            "self.all(key, key.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",
        )
        .message(text(format!(
            "a key of {field} must be a name such as team or example.com/team: letters, digits, '-', '_' and '.', at most 63 \
             characters"
        ))),
        Rule::new(format!("self.all(key, !key.matches('^([^/]*[.])?({owners})/'))")).message(text(format!(
            "a key of {field} must not have the prefix {}, or one below it",
            reserved.join(", ")
        ))),
    ]
}

/// The value of a label.
pub(super) fn label_value(field: &str) -> Rule {
    Rule::new("self.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$')").message(text(format!(
        "a value of {field} must consist of letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
    )))
}

/// The uuid of a registration.
pub(super) fn uuid(field: &str) -> Rule {
    Rule::new("self.matches('^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$')").message(text(format!(
        "{field} must have the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx (hexadecimal digits); copy it from the control plane"
    )))
}

/// `field` of the spec may not be added, changed or removed once the object has a registration. Such a rule stands at
/// the root (only there is `status` in sight) and compares `has()` on both sides (a rule at the field itself would not
/// run when the field comes or goes).
pub(super) fn fixed_once_registered(field: &str, message: &str) -> Rule {
    Rule::new(format!(
        "!has(oldSelf.status) || !has(oldSelf.status.uuid) || (has(self.spec.{field}) == has(oldSelf.spec.{field}) \
         && (!has(self.spec.{field}) || self.spec.{field} == oldSelf.spec.{field}))"
    ))
    .message(message)
    .reason(Reason::FieldValueForbidden)
    .field_path(format!(".spec.{field}"))
}

/// `values` of a label requirement, by its operator.
pub(super) fn requirement_values() -> Rule {
    Rule::new(
        "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 \
         : !has(self.values) || size(self.values) == 0",
    )
    .message("values must be given for the operators In and NotIn, and left out for Exists and DoesNotExist")
}
