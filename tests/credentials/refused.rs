//! What is not the operator's to touch, and what it may not do.

use runai_simulator::{Operation, SeedCluster, Simulator};
use serde_json::json;

use crate::books::{data, reads, secret, spec, third, until_no_secret, until_secret, world, writes};
use crate::world::{SOON, Setup, TEAM, World, condition, message, uuid};

const PUBLISHED: &str = "CredentialsPublished";

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_somebody_else_is_left_alone() {
    let world = world(third()).await;
    let foreign = |name: &str, over: serde_json::Value| {
        let mut object = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": { "name": name, "namespace": TEAM },
            "stringData": { "password": "theirs" },
        });
        for (key, value) in over.as_object().unwrap() {
            object["metadata"][key] = value.clone();
        }
        object
    };
    // One without our label, one with it, one that claims another owner, and one in the place of a bootstrap token.
    let owner =
        json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": uuid::Uuid::nil(), "controller": true }]);
    let rows = [
        ("plain", "plain-install", json!({})),
        (
            "labelled",
            "labelled-install",
            json!({ "labels": { "app.kubernetes.io/managed-by": "runai-cluster-operator" } }),
        ),
        ("owned", "owned-install", json!({ "ownerReferences": owner })),
        ("boot", "boot-install-bootstrap", json!({})),
    ];
    for (name, taken, over) in rows {
        world.apply(&foreign(taken, over)).await;
        let before = secret(&world, taken).await.unwrap();
        let mut asked = spec(&format!("{name}-install"));
        asked["domain"] = json!(format!("{name}.example.com"));
        world.cluster(name, asked).await;
        let object = world.until_condition(name, PUBLISHED, "False", "SecretConflict").await;
        assert_eq!(condition(&object, "Synced").0, "True");
        assert_eq!(condition(&object, "Stalled"), ("True".to_owned(), "SecretConflict".to_owned()));
        assert!(message(&object, PUBLISHED).contains(taken), "{object}");
        // Neither when the object wants something else, nor when it goes.
        world.patch(name, json!({ "spec": { "installInfo": null } })).await;
        world.until_ready(name).await;
        assert_eq!(secret(&world, taken).await, Some(before), "{name}");
        if name == "boot" {
            until_no_secret(&world, "boot-install").await;
        }
        world.patch(name, json!({ "spec": { "installInfo": { "secretName": format!("{name}-free") } } })).await;
        world.until_condition(name, PUBLISHED, "True", PUBLISHED).await;
        until_secret(&world, &format!("{name}-free"), "published", |secret| !data(secret).is_empty()).await;
    }
    // Once it is out of the way, its place is taken, although no watch tells of it.
    for (name, taken) in [("late", "late-install"), ("later", "later-install-bootstrap")] {
        world.apply(&foreign(taken, json!({}))).await;
        let mut asked = spec(&format!("{name}-install"));
        asked["domain"] = json!(format!("{name}.example.com"));
        world.cluster(name, asked).await;
        world.until_condition(name, PUBLISHED, "False", "SecretConflict").await;
        world.kubectl(&["delete", "secret", taken, "-n", TEAM]).await;
        world.until_condition(name, PUBLISHED, "True", PUBLISHED).await;
        until_secret(&world, taken, "published", |secret| !data(secret).is_empty()).await;
    }
    // What was its own it took away again: the values beside the bootstrap token that had no place.
    let touched: Vec<_> = writes(&world, None).into_iter().filter(|(verb, ..)| verb != "create").collect();
    assert_eq!(touched, [("delete".to_owned(), "boot-install".to_owned(), 200)], "no Secret of others was touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_it_is_told_and_nothing_else_suffers() {
    let world = World::start(Setup::default()).await;
    world.cluster("east", spec("east-install")).await;
    let object = world.until_condition("east", PUBLISHED, "False", "Forbidden").await;
    assert!(message(&object, PUBLISHED).contains("installInfo.enabled"), "{object}");
    assert_eq!(condition(&object, "Synced"), ("True".to_owned(), "Registered".to_owned()));
    assert_eq!(condition(&object, "Stalled"), ("True".to_owned(), "Forbidden".to_owned()));
    assert_eq!(reads(&world), 0, "nothing is asked for that cannot be kept");
    world.cluster("west", json!({})).await;
    world.until_ready("west").await;
    world.patch("east", json!({ "spec": { "name": "east-2" } })).await;
    world.until("east", "renamed all the same", |object| object["status"]["name"] == "east-2").await;

    // The right comes: nobody has to do more.
    world.bed.install_chart(&["installInfo.enabled=true"]).await.unwrap();
    world.until_condition("east", PUBLISHED, "True", PUBLISHED).await;
    let found = secret(&world, "east-install").await.unwrap();
    assert_eq!(data(&found)["uuid"], uuid(&world.get("east").await.unwrap()).to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_an_object_owns_is_published() {
    let world = world(Setup::default()).await;
    let id = world.simulator.seed(SeedCluster::named("theirs")).unwrap();
    let mut observed = spec("observed");
    observed["managementPolicy"] = json!("Observe");
    observed["adoption"] = json!({ "uuid": id });
    observed.as_object_mut().unwrap().remove("domain");
    world.cluster("observed", observed).await;
    let object = world.until_condition("observed", PUBLISHED, "False", "InvalidSpec").await;
    assert!(message(&object, PUBLISHED).contains("managementPolicy"), "{object}");
    assert_eq!(reads(&world), 0);
    assert!(secret(&world, "observed").await.is_none());

    // Without a version there is nothing to ask for; a version is enough.
    let created_at = Some(world.simulator.now() - jiff::SignedDuration::from_hours(1));
    let old = SeedCluster { created_at, ..SeedCluster::named("versionless") };
    let versionless = world.simulator.seed(old).unwrap();
    // Listed before it is adopted: what no list has shown is looked at less often.
    let lists = |simulator: &Simulator| simulator.counters().requests_per_operation.get(&Operation::List).copied();
    let before = lists(&world.simulator).unwrap_or_default();
    assert!(world.simulator.until(SOON, |simulator| lists(simulator) >= Some(before + 2)).await);
    let asked = json!({ "adoption": { "uuid": versionless }, "installInfo": { "secretName": "versionless" } });
    world.cluster("versionless", asked).await;
    let object = world.until_condition("versionless", PUBLISHED, "False", "InvalidSpec").await;
    assert!(message(&object, PUBLISHED).contains("set spec.version"), "{object}");
    world.patch("versionless", json!({ "spec": { "version": "2.24" } })).await;
    world.until_condition("versionless", PUBLISHED, "True", PUBLISHED).await;

    // A registration that is lost takes nothing away, and says so.
    world.simulator.remove(versionless).unwrap();
    let object = world.until_condition("versionless", PUBLISHED, "False", "ExternallyDeleted").await;
    assert_eq!(object["status"]["installSecretName"], "versionless");
    let found = secret(&world, "versionless").await.unwrap();
    assert_eq!(data(&found)["uuid"], versionless.to_string());
    // A new one does not get the old one's credentials.
    world.patch("versionless", json!({ "spec": { "recreatePolicy": "IfMissing" } })).await;
    let found = until_secret(&world, "versionless", "of the new registration", |secret| {
        data(secret)["uuid"] != versionless.to_string()
    })
    .await;
    let object = world.until_condition("versionless", PUBLISHED, "True", PUBLISHED).await;
    let record = world.simulator.cluster(uuid(&object)).unwrap();
    assert_eq!(
        (&data(&found)["uuid"], &data(&found)["clientSecret"]),
        (&record.uuid.to_string(), &record.client_secret)
    );

    // A locked Secret of ours is replaced.
    let lock = json!({ "immutable": true }).to_string();
    world.kubectl(&["patch", "secret", "versionless", "-n", TEAM, "--type=merge", "-p", &lock]).await;
    world.patch("versionless", json!({ "spec": { "version": "2.25" } })).await;
    until_secret(&world, "versionless", "replaced", |secret| data(secret)["version"] == "2.25").await;
    world.patch("versionless", json!({ "spec": { "installInfo": null } })).await;
    until_no_secret(&world, "versionless").await;
}
