//! Minimal lists, install information, metrics.

use runai_simulator::{Profile, SeedCluster};
use serde_json::json;
use std::time::Duration;

use crate::common::{Api, manual, uuid_of};

#[tokio::test]
async fn minimal_lists_filter_and_page() {
    let api = Api::start(manual()).await;
    for (name, version) in [("a", "2.9"), ("b", "2.20"), ("c", "3.0")] {
        api.create_with(json!({"name": name, "version": version})).await;
        api.sim.advance(Duration::from_secs(60));
    }
    api.sim.seed(SeedCluster::named("d").connected()).unwrap();
    let names = |query: &str| {
        let path = format!("/api/v1/clusters/minimal{query}");
        let api = &api;
        async move {
            let answer = api.get(&path).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
            let clusters = answer.body["clusters"].as_array().unwrap();
            clusters.iter().map(|one| one["name"].as_str().unwrap()).collect::<String>()
        }
    };
    assert_eq!(names("").await, "abcd");
    assert_eq!(names("?limit=2&offset=1").await, "bc");
    assert_eq!(names("?filterBy=name==b").await, "b");
    assert_eq!(names("?filterBy=name+!=+b&filterBy=version%3E%3D2.10").await, "cd");
    assert_eq!(names("?filterBy=version%3C=2.20,name!=a").await, "b");
    assert_eq!(names("?filterBy=state==Connected").await, "d");
    let created = api.sim.clusters()[1].created_at;
    assert_eq!(names(&format!("?filterBy=createdAt%3C={created}")).await, "ab");
    for bad in ["limit=0", "limit=501", "offset=-1", "filterBy=size==1", "filterBy=name", "filterBy=name%3C=b"] {
        assert_eq!(api.get(&format!("/api/v1/clusters/minimal?{bad}")).await.status, 400, "{bad}");
    }
    let eleven = "filterBy=name!=x&".repeat(11);
    assert_eq!(api.get(&format!("/api/v1/clusters/minimal?{eleven}")).await.status, 400);
    let one = api.get(&format!("/api/v1/clusters/{}/minimal", api.sim.clusters()[3].uuid)).await;
    assert_eq!((one.body["state"].as_str(), one.body["ingressClass"].as_str()), (Some("Connected"), Some("nginx")));
}

#[tokio::test]
async fn without_minimal_the_word_is_an_id() {
    let api = Api::profile(Profile::Cp224).await;
    assert_eq!(api.get("/api/v1/clusters/minimal").await.status, 400);
    assert_eq!(api.get(&format!("/api/v1/clusters/{}/minimal", uuid::Uuid::nil())).await.status, 404);
    let api = Api::with(|config| config.capabilities.minimal = Some(false)).await;
    assert_eq!(api.get("/api/v1/clusters/minimal").await.status, 400);
}

#[tokio::test]
async fn install_information() {
    let api = Api::with(|_| ()).await;
    let path = api.create_with(json!({"name": "a", "domain": "my.host"})).await;
    let info = format!("{path}/cluster-install-info");
    let first = api.get(&format!("{info}?version=2.24.37")).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let secret = first.body["clientSecret"].as_str().unwrap();
    assert_eq!(secret.len(), 32);
    assert_eq!(Some(secret), api.sim.cluster(uuid_of(&path)).map(|view| view.client_secret).as_deref());
    assert!(first.body.get("bootstrapToken").is_none());
    let command = first.body["installationStr"].as_str().unwrap();
    for part in ["cluster.url=my.host ", "--version=\"2.24.37\"", &format!("cluster.uid={}", uuid_of(&path)), secret] {
        assert!(command.contains(part), "{part} in {command}");
    }
    let bare = api.create("without-a-domain").await;
    let bare = api.get(&format!("{bare}/cluster-install-info?version=2.24")).await;
    let host = format!("cluster.url={} ", api.sim.url().trim_start_matches("http://"));
    assert!(bare.body["installationStr"].as_str().unwrap().contains(&host), "{}", bare.text);
    let again = api.get(&format!("{info}?version=2.18&remoteClusterUrl=https://other.host:8443/path")).await;
    assert_eq!(again.body["clientSecret"], secret);
    assert!(again.body["installationStr"].as_str().unwrap().contains("cluster.url=https://other.host:8443/path"));
    for bad in ["", "?version=", "?version=latest", "?version=2.14", "?version=2.20&remoteClusterUrl=a%20b"] {
        assert_eq!(api.get(&format!("{info}{bad}")).await.status, 400, "{bad}");
    }
    api.sim.configure(|config| config.install_info.rotate_on_read = true);
    assert_ne!(api.get(&format!("{info}?version=2.24")).await.body["clientSecret"], secret);
    api.sim.configure(|config| config.profile = Profile::Cp30);
    let new = api.get(&format!("{info}?version=3.0")).await;
    assert_eq!(new.body["bootstrapToken"].as_str().unwrap().split('.').count(), 3);
    assert!(new.body.get("clientSecret").is_none());
    api.sim.configure(|config| config.install_info.warmup_seconds = 1e6);
    assert_eq!(api.get(&format!("{info}?version=3.0")).await.status, 503);
}

#[tokio::test]
async fn metrics_are_consistent_and_checked() {
    let api = Api::start(manual()).await;
    let created = api.sim.now();
    let uuid = api.sim.seed(SeedCluster::named("a").connected()).unwrap();
    api.sim.advance(Duration::from_secs(3000));
    let end = api.sim.now();
    let path = format!("/api/v1/clusters/{uuid}/metrics?start={created}&end={end}");
    let answer =
        api.get(&format!("{path}&metricType=ALLOCATED_GPU%2CUNALLOCATED_GPU,TOTAL_GPU&numberOfSamples=5")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let value = |metric: usize, sample: usize| -> f64 {
        let value = &answer.body["measurements"][metric]["values"][sample]["value"];
        value.as_str().unwrap_or_else(|| panic!("{}", answer.text)).parse().unwrap()
    };
    for sample in 0..5 {
        assert!((value(0, sample) + value(1, sample) - value(2, sample)).abs() < 1e-9);
    }
    let csv = api.request(reqwest::Method::GET, &format!("{path}&metricType=TOTAL_GPU")).header("accept", "text/csv");
    let csv = csv.send().await.unwrap();
    assert_eq!(csv.headers()["content-type"], "text/csv");
    assert_eq!(csv.text().await.unwrap().lines().count(), 21);
    api.sim.configure(|config| config.metrics.failing = vec!["TOTAL_GPU".to_owned()]);
    let partial = api.get(&format!("{path}&metricType=TOTAL_GPU,GPU_QUOTA")).await;
    assert_eq!((partial.status.as_u16(), partial.body["measurements"].as_array().unwrap().len()), (207, 1));
    for (query, status) in [
        ("", 400),
        ("&metricType=NOPE", 400),
        ("&metricType=TOTAL_GPU&numberOfSamples=1001", 400),
        ("&metricType=TOTAL_GPU&groupBy=Colour", 400),
        ("&metricType=TOTAL_GPU&groupBy=Nodepool", 422),
        ("&metricType=ALLOCATED_GPU&groupBy=Nodepool", 200),
    ] {
        assert_eq!(api.get(&format!("{path}{query}")).await.status, status, "{query}");
    }
    let turned = format!("/api/v1/clusters/{uuid}/metrics?start={end}&end={created}&metricType=TOTAL_GPU");
    assert_eq!(api.get(&turned).await.status, 400);
    let naive = format!(
        "/api/v1/clusters/{uuid}/metrics?start=2020-01-01T00:00:00&end=2020-01-02T00:00:00&metricType=TOTAL_GPU"
    );
    api.sim.configure(|config| config.metrics.failing.clear());
    let nothing = api.get(&naive).await;
    assert_eq!(nothing.body["measurements"][0]["values"], json!([]), "{}", nothing.text);
    api.sim.configure(|config| config.profile = Profile::Cp220);
    assert_eq!(api.get(&format!("{path}&metricType=WORKLOADS_COUNT")).await.status, 400);
    assert_eq!(api.get(&format!("{path}&metricType=ALLOCATED_GPU&groupBy=Nodepool")).await.status, 400);
}
