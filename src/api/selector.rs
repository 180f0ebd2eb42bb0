//! Label selectors over namespaces.
//!
//! Owns the standard selector semantics. Must not know where labels come from.

#![allow(unreachable_pub, reason = "KubeSchema repeats each struct inside a function body")]

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// Selects namespaces by their labels; all parts must match, an empty selector matches every namespace.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must be present with exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements that must all hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub match_expressions: Vec<LabelRequirement>,
}

/// One requirement on a label.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::requirement_values())]
pub struct LabelRequirement {
    /// Key of the label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// How the label is compared: In, NotIn, Exists or DoesNotExist.
    pub operator: LabelOperator,
    /// Values for In and NotIn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum LabelOperator {
    /// The label has one of the values.
    In,
    /// The label has none of the values, or is absent.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

impl LabelSelector {
    /// Whether labels match.
    #[must_use]
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.holds(labels))
    }

    /// Whether every namespace matches, so that nobody needs to look at its labels.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }
}

impl LabelRequirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            LabelOperator::In => value.is_some_and(|value| self.values.contains(value)),
            LabelOperator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn selector(json: serde_json::Value) -> LabelSelector {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn the_empty_selector_selects_everything() {
        let empty = selector(serde_json::json!({}));
        assert!(empty.is_empty());
        assert!(empty.selects(&labels(&[])));
        assert!(empty.selects(&labels(&[("team", "a")])));
    }

    #[test]
    fn every_part_must_match() {
        let both = selector(serde_json::json!({
            "matchLabels": { "team": "a" },
            "matchExpressions": [{ "key": "stage", "operator": "In", "values": ["dev", "prod"] }],
        }));
        assert!(!both.is_empty());
        assert!(both.selects(&labels(&[("team", "a"), ("stage", "prod"), ("x", "y")])));
        assert!(!both.selects(&labels(&[("team", "a"), ("stage", "test")])));
        assert!(!both.selects(&labels(&[("team", "b"), ("stage", "prod")])));
        assert!(!both.selects(&labels(&[("team", "a")])));
    }

    #[test]
    fn operators() {
        let table = [
            ("In", Some("a"), true),
            ("In", Some("b"), false),
            ("In", None, false),
            ("NotIn", Some("a"), false),
            ("NotIn", Some("b"), true),
            ("NotIn", None, true),
            ("Exists", Some("b"), true),
            ("Exists", None, false),
            ("DoesNotExist", Some("a"), false),
            ("DoesNotExist", None, true),
        ];
        for (operator, value, expected) in table {
            let values: &[&str] = if operator.ends_with("In") { &["a"] } else { &[] };
            let selector = selector(serde_json::json!({
                "matchExpressions": [{ "key": "k", "operator": operator, "values": values }],
            }));
            let have = labels(&value.map(|v| ("k", v)).into_iter().collect::<Vec<_>>());
            assert_eq!(selector.selects(&have), expected, "{operator} {value:?}");
        }
    }
}
