//! Conditions and the smallest patch from one status to the next.
//!
//! Owns `lastTransitionTime` and the question whether two statuses differ. Must not know what a condition means.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::lenient::Lenient;
use super::status::RunaiClusterStatus;

/// A condition as it should be, without its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Condition type.
    pub type_: &'static str,
    /// True, False or Unknown.
    pub status: &'static str,
    /// Why, for machines. Not empty.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// The generation that it speaks of.
    pub observed_generation: Option<i64>,
}

/// The new condition list: exactly the wanted ones, in their order. A condition whose status did not change keeps its
/// transition time; what is not wanted any more is dropped.
#[must_use]
pub fn merge(old: &[Condition], wanted: impl IntoIterator<Item = Wanted>, now: Timestamp) -> Vec<Condition> {
    wanted
        .into_iter()
        .map(|Wanted { type_, status, reason, message, observed_generation }| {
            let since = old.iter().find(|c| c.type_ == type_ && c.status == status).map(|c| c.last_transition_time.0);
            Condition {
                type_: type_.to_owned(),
                status: status.to_owned(),
                reason,
                message,
                observed_generation,
                last_transition_time: Time(since.unwrap_or(now)),
            }
        })
        .collect()
}

/// Whether two statuses say the same, transition times aside.
#[must_use]
pub fn same_ignoring_times(a: &RunaiClusterStatus, b: &RunaiClusterStatus) -> bool {
    let same_conditions = a.conditions.len() == b.conditions.len()
        && a.conditions.iter().zip(&b.conditions).all(|(a, b)| {
            let Condition { type_, status, reason, message, observed_generation, last_transition_time: _ } = a;
            (type_, status, reason, message, observed_generation)
                == (&b.type_, &b.status, &b.reason, &b.message, &b.observed_generation)
        });
    let rest = |status: &RunaiClusterStatus| RunaiClusterStatus { conditions: Vec::new(), ..status.clone() };
    same_conditions && rest(a) == rest(b)
}

/// The JSON merge patch (`{"status": ..}`) that leads from one status to the next: only what changed, null for what is
/// cleared. `None` when they differ in transition times at most.
#[must_use]
pub fn status_patch<S: Serialize>(old: Option<&S>, new: &S) -> Option<Value> {
    patch_between(&old.map_or(Value::Null, to_value), &to_value(new))
}

/// As [`status_patch`], over a stored status of any shape: what does not fit is cleared.
#[must_use]
pub fn status_patch_over<S: Serialize>(old: &Lenient<Option<S>>, new: &S) -> Option<Value> {
    patch_between(&old.to_value(), &to_value(new))
}

/// A status of ours always serialises: it holds text, numbers and lists only.
fn to_value<S: Serialize>(status: &S) -> Value {
    serde_json::to_value(status).unwrap_or(Value::Null)
}

fn patch_between(old: &Value, new: &Value) -> Option<Value> {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        // No status yet, or one that is no object at all: all of the new one.
        return new.is_object().then(|| json!({ "status": new }));
    };
    let mut patch = diff(old, new);
    let same_conditions = without_times(old.get("conditions")) == without_times(new.get("conditions"));
    if same_conditions {
        patch.remove("conditions");
    }
    (!patch.is_empty()).then(|| json!({ "status": patch }))
}

fn diff(old: &Map<String, Value>, new: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in new {
        match (old.get(key), value) {
            (Some(before), after) if before == after => {}
            (Some(Value::Object(before)), Value::Object(after)) => {
                patch.insert(key.clone(), Value::Object(diff(before, after)));
            }
            _ => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    patch
}

fn without_times(conditions: Option<&Value>) -> Value {
    let mut conditions = conditions.cloned().unwrap_or(Value::Null);
    for condition in conditions.as_array_mut().into_iter().flatten() {
        if let Some(condition) = condition.as_object_mut() {
            condition.remove("lastTransitionTime");
        }
    }
    conditions
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::api::status::Drift;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ready(status: &'static str, message: &str) -> Wanted {
        Wanted {
            type_: "Ready",
            status,
            reason: "Registered".to_owned(),
            message: message.to_owned(),
            observed_generation: Some(3),
        }
    }

    fn status(conditions: Vec<Condition>) -> RunaiClusterStatus {
        RunaiClusterStatus {
            observed_generation: Some(3),
            name: Some("east".to_owned()),
            state: Some("Connected".to_owned()),
            conditions,
            ..RunaiClusterStatus::default()
        }
    }

    #[test]
    fn the_time_moves_with_the_status_only() {
        let first = merge(&[], [ready("False", "a")], at(1));
        let same = merge(&first, [ready("False", "b")], at(2));
        assert_eq!(same[0].last_transition_time, Time(at(1)));
        assert_eq!(same[0].message, "b");
        let other = merge(&same, [ready("True", "b")], at(3));
        assert_eq!(other[0].last_transition_time, Time(at(3)));
    }

    #[test]
    fn what_is_not_wanted_goes() {
        let stalled = Wanted { type_: "Stalled", ..ready("True", "x") };
        let both = merge(&[], [ready("True", ""), stalled], at(1));
        assert_eq!(both.len(), 2);
        let one = merge(&both, [ready("True", "")], at(2));
        assert_eq!(one.len(), 1);
        assert_eq!(one[0].last_transition_time, Time(at(1)));
    }

    #[test]
    fn times_alone_make_no_patch() {
        let old = status(merge(&[], [ready("True", "")], at(1)));
        let new = status(merge(&[], [ready("True", "")], at(9)));
        assert!(same_ignoring_times(&old, &new));
        assert_eq!(status_patch(Some(&old), &new), None);
        assert_eq!(status_patch_over(&Lenient::Ok(Some(old)), &new), None);
    }

    #[test]
    fn every_other_difference_does() {
        let old = status(merge(&[], [ready("True", "")], at(1)));
        let changes: [fn(&mut RunaiClusterStatus); 6] = [
            |s| s.state = None,
            |s| s.observed_generation = Some(4),
            |s| s.conditions[0].message.push('x'),
            |s| s.conditions[0].reason.push('x'),
            |s| s.conditions[0].observed_generation = Some(4),
            |s| s.conditions.clear(),
        ];
        for change in changes {
            let mut new = old.clone();
            change(&mut new);
            assert!(!same_ignoring_times(&old, &new));
            assert!(status_patch(Some(&old), &new).is_some());
        }
    }

    #[test]
    fn a_patch_holds_what_changed_and_nulls_what_went() {
        let mut old = status(merge(&[], [ready("True", "")], at(1)));
        old.drift = vec![Drift { field: "version".to_owned(), ..Drift::default() }];
        let mut new = status(merge(&[], [ready("True", "")], at(9)));
        new.state = None;
        new.version = Some("2.24".to_owned());
        assert_eq!(
            status_patch(Some(&old), &new),
            Some(json!({ "status": { "state": null, "drift": null, "version": "2.24" } }))
        );
        assert_eq!(status_patch(None, &new), Some(json!({ "status": new })));
    }

    #[test]
    fn a_broken_status_is_cleaned() {
        let new = status(Vec::new());
        let broken = Lenient::from_value(json!({ "drift": "x", "name": "east", "nobody": { "knows": 1 } }));
        assert!(broken.ok().is_none());
        let patch = status_patch_over::<RunaiClusterStatus>(&broken, &new).unwrap();
        assert_eq!(
            patch,
            json!({ "status": { "drift": null, "nobody": null, "observedGeneration": 3, "state": "Connected" } })
        );
        let text = Lenient::from_value(json!("x"));
        assert_eq!(status_patch_over::<RunaiClusterStatus>(&text, &new), Some(json!({ "status": new })));
    }

    #[test]
    fn nested_objects_are_patched_by_field() {
        let old = json!({ "registrations": { "total": 1, "managed": 1 } });
        let new = json!({ "registrations": { "total": 2, "managed": 1 } });
        assert_eq!(patch_between(&old, &new), Some(json!({ "status": { "registrations": { "total": 2 } } })));
    }
}
