//! Objects as they are stored: any JSON may be there.

use std::collections::BTreeMap;

use runai_cluster_operator::api::conditions::{same_ignoring_times, status_patch_over};
use runai_cluster_operator::api::remembered::remembered;
use runai_cluster_operator::api::{Lenient, RunaiClusterStatus, Watched, WatchedControlPlane, convert};
use runai_cluster_operator::domain::{DeletionPolicy, Management};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A JSON merge patch (RFC 7386), as the API server applies it.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// What is written is read and written alike. (The first writing may drop fractions of a second.)
fn check_writing<T: Serialize + DeserializeOwned>(object: &T) {
    let written = serde_json::to_value(object).expect("it is JSON");
    let again: T = serde_json::from_value(written.clone()).expect("what is written can be read");
    assert_eq!(serde_json::to_value(again).expect("it is JSON"), written);
}

pub fn cluster(data: &[u8]) {
    let Ok(object) = serde_json::from_slice::<Watched>(data) else { return };
    check_writing::<Watched>(&object);

    let deletion = convert::deletion(&object.spec);
    match (&object.spec, object.spec().and_then(|spec| convert::desired("east", spec))) {
        (Lenient::Ok(_), Ok(desired)) => assert_eq!(desired.management, deletion.management),
        (Lenient::Ok(_), Err(error)) => assert!(!error.to_string().is_empty()),
        (Lenient::Err(bad), desired) => {
            assert!(desired.is_err());
            let said = |pointer: &str| bad.raw.pointer(pointer).filter(|value| !value.is_null());
            let odd_policy = said("/deletion/policy").is_some_and(|policy| policy != "Delete");
            assert!(!odd_policy || deletion.policy == Some(DeletionPolicy::Orphan), "{bad:?}");
            let odd_management = said("/managementPolicy").is_some_and(|policy| policy != "Manage");
            assert!(!odd_management || deletion.management == Management::Observe, "{bad:?}");
        }
    }
    let facts = remembered(&object.status);
    if let Some(status) = object.status() {
        assert_eq!(facts.identity.map(|identity| identity.uuid), status.uuid);
    }
    check_patch(&object);
}

/// The patch to any status leads there, and then there is nothing to patch.
fn check_patch(object: &Watched) {
    let wanted = RunaiClusterStatus { name: Some("east".to_owned()), ..RunaiClusterStatus::default() };
    let mut stored = json!({ "status": object.status.to_value() });
    if let Some(patch) = status_patch_over(&object.status, &wanted) {
        merge(&mut stored, &patch);
    }
    let status: RunaiClusterStatus = serde_json::from_value(stored["status"].clone()).expect("the patch mends it");
    assert!(same_ignoring_times(&status, &wanted), "{status:?}");
    assert_eq!(status_patch_over(&Lenient::Ok(Some(status)), &wanted), None);
}

pub fn control_plane(data: &[u8]) {
    let Ok(object) = serde_json::from_slice::<WatchedControlPlane>(data) else { return };
    check_writing::<WatchedControlPlane>(&object);
    let Ok(spec) = object.spec() else { return };
    let labels = object.metadata.labels.clone().unwrap_or_default();
    let adopts = spec.allows_adoption(&labels);
    assert!(!adopts || spec.adoption_namespaces.is_some(), "adoption is asked for, never a default");
    let _ = (spec.allows(&labels), spec.allows(&BTreeMap::new()), spec.needs_namespace_labels());
    if let Ok(settings) = convert::settings(spec) {
        assert!(settings.poll_interval >= convert::MIN_POLL_INTERVAL);
        assert!(settings.max_deletions_per_minute > 0 && !settings.liveness_granularity.is_zero());
        // The operator adds and stretches them.
        assert!(settings.poll_interval.checked_mul(4).is_some());
        assert!(std::time::Instant::now().checked_add(settings.poll_interval * 2).is_some());
    }
}
