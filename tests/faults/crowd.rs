//! Many objects at once: how to apply them, to wait for them, and to check each against the control plane.
//!
//! Owns "exactly one registration for each". Must not know what went wrong on the way.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::wait_until;

use crate::world::{TEAM, World, cluster, condition, uuid};

/// Applies all of them with one request to kubectl.
pub async fn apply(world: &World, names: &[String], spec: impl Fn(usize) -> Value) {
    let items: Vec<_> = names.iter().enumerate().map(|(index, name)| cluster(TEAM, name, spec(index))).collect();
    world.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items })).await;
}

/// Asks for the deletion of all of them with one call of kubectl.
pub async fn delete(world: &World, names: &[String]) {
    let mut args = vec!["delete", "rcl", "-n", TEAM, "--wait=false"];
    args.extend(names.iter().map(String::as_str));
    world.kubectl(&args).await;
}

/// Waits until `count` objects exist and all of them are Ready.
pub async fn until_ready(world: &World, limit: Duration, count: usize) -> Vec<Value> {
    let what = format!("{count} objects Ready");
    let result = wait_until(limit, &what, async || {
        let objects = world.all().await;
        let waiting: Vec<_> = objects.iter().filter(|object| condition(object, "Ready").0 != "True").collect();
        if objects.len() == count && waiting.is_empty() {
            return Ok(objects);
        }
        let some: Vec<_> = waiting.iter().take(3).map(ToString::to_string).collect();
        Err(format!("{} of {} objects are not Ready, for example {}", waiting.len(), objects.len(), some.join("\n")))
    });
    match result.await {
        Ok(objects) => objects,
        Err(error) => panic!("{error}\n--- operator\n{}", world.tail()),
    }
}

/// Waits until no object is left.
pub async fn until_none(world: &World, limit: Duration) {
    let result = wait_until(limit, "no object left", async || {
        let left = world.all().await;
        let first = left.first().map(ToString::to_string).unwrap_or_default();
        if left.is_empty() { Ok(()) } else { Err(format!("{} are left, for example {first}", left.len())) }
    });
    if let Err(error) = result.await {
        panic!("{error}\n--- operator\n{}", world.tail());
    }
}

/// Each object has the one live registration of its name, there is no other registration, no POST had a second effect,
/// and no doubt is left on any object.
pub fn assert_one_each(world: &World, objects: &[Value]) {
    assert_eq!(world.simulator.pending_commits(), 0, "a late commit is still to come: looked too early");
    let live = world.simulator.live_clusters();
    let mut distinct = HashSet::new();
    for object in objects {
        let name = object["metadata"]["name"].as_str().unwrap();
        let records: Vec<_> = live.iter().filter(|record| record.name == name).map(|record| record.uuid).collect();
        assert_eq!(records, [uuid(object)], "{name}: its registrations and its status differ");
        assert!(distinct.insert(uuid(object)), "{name}: its uuid is another object's, too");
        let annotations = &object["metadata"]["annotations"];
        assert_eq!(annotations["runai-operator.io/cluster-uuid"], object["status"]["uuid"], "{name}");
        assert!(annotations["runai-operator.io/create-pending"].is_null(), "{name} is Ready with an open intent");
    }
    assert_eq!(live.len(), objects.len(), "registrations that no object owns: {live:?}");
    let made = world.simulator.counters().creates_per_name;
    let twice: Vec<_> = made.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "made more than once: {twice:?}");
}
