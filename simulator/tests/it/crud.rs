//! Create, read, update, list: rules, order of checks, headers.

use reqwest::Method;
use runai_simulator::{
    Access, FaultAction, Identity, ListOrder, NullStyle, Profile, Scope, SeedCluster, Tenant, UniqueNames,
};
use serde_json::json;

use crate::common::{Api, read, uuid_of};

#[tokio::test]
async fn create_read_rename_list() {
    let api = Api::with(|_| ()).await;
    let created =
        api.post("/api/v1/clusters", json!({"name": "ä b", "domain": "https://h:1/", "version": "2.25", "x": 1})).await;
    assert_eq!(created.status, 201, "{}", created.text);
    assert_eq!(created.body["status"], json!({"state": "WaitingToConnect"}));
    assert_eq!(
        (created.body["domain"].as_str(), created.body["version"].as_str()),
        (Some("https://h:1/"), Some("2.25"))
    );
    assert!(created.headers.get("location").is_none());
    let path = format!("/api/v1/clusters/{}", created.body["uuid"].as_str().unwrap());
    assert_eq!(api.get(&path).await.body, created.body);
    assert_eq!(api.get(&path.to_uppercase().replace("/API/V1/CLUSTERS", "/api/v1/clusters")).await.body, created.body);
    assert_eq!(api.put(&path, json!({"name": "new", "domain": "other"})).await.status, 204);
    let after = api.get(&path).await.body;
    assert_eq!((after["name"].as_str(), after["domain"].as_str()), (Some("new"), Some("https://h:1/")));
    assert!(after["updatedAt"].as_str().unwrap() >= after["createdAt"].as_str().unwrap());
    assert_eq!(api.names("").await, ["new"]);
    let metadata = api.get("/api/v1/clusters?verbosity=metadata").await.body;
    assert!(metadata[0].get("status").is_none());
    assert_eq!(api.get("/api/v1/clusters?verbosity=all").await.status, 400);
    assert_eq!(api.get("/api/v1/clusters?includeRequestedForDelete=perhaps").await.status, 400);
}

#[tokio::test]
async fn bad_creates_are_400_and_change_nothing() {
    let api = Api::with(|_| ()).await;
    for body in [
        json!({}),
        json!([]),
        json!({"name": ""}),
        json!({"name": "  "}),
        json!({"name": 7}),
        json!({"name": "a\nb"}),
        json!({"name": "x".repeat(254)}),
        json!({"name": "a", "domain": ""}),
        json!({"name": "a", "domain": "https://h/path"}),
        json!({"name": "a", "domain": "a b"}),
        json!({"name": "a", "version": "latest"}),
        json!({"name": "a", "version": format!("2.20.{}", "1".repeat(50))}),
    ] {
        let answer = api.post("/api/v1/clusters", body.clone()).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text);
        assert_eq!(answer.body["code"], 400);
    }
    let broken = api.request(Method::POST, "/api/v1/clusters").body("{").send().await.unwrap();
    assert_eq!(broken.status(), 400);
    let huge = api.request(Method::POST, "/api/v1/clusters").body(vec![b' '; (1 << 20) + 1]).send().await.unwrap();
    assert_eq!(huge.status(), 413);
    assert!(api.sim.clusters().is_empty());
    let longest = api.post("/api/v1/clusters", json!({"name": "é".repeat(253)})).await;
    assert_eq!(longest.status, 201, "code points count, not bytes");
}

#[tokio::test]
async fn names() {
    let api = Api::with(|_| ()).await;
    let path = api.create("one").await;
    let create = |name: &'static str| api.post("/api/v1/clusters", json!({"name": name}));
    assert_eq!(create("one").await.status, 409);
    assert_eq!(create("ONE").await.status, 201);
    assert_eq!(api.put(&path, json!({"name": "ONE"})).await.status, 409);
    assert_eq!(api.put(&path, json!({"name": "one"})).await.status, 204, "its own name is no conflict");
    api.sim.set_unique_names(UniqueNames::Ci);
    assert_eq!(create("oNe").await.status, 409);
    api.sim.set_unique_names(UniqueNames::Off);
    assert_eq!(create("one").await.status, 201);
    assert_eq!(api.sim.clusters_named("one").len(), 2);
    assert_eq!(api.sim.counters().creates_per_name["one"], 2);
    assert_eq!(api.sim.counters().create_requests_per_name["one"], 3);
}

#[tokio::test]
async fn order_of_checks_and_headers() {
    let api = Api::with(|_| ()).await;
    let bare = |method, path: &str| api.client.request(method, api.at(path));
    let missing = read(bare(Method::GET, "/api/v1/nothing").send().await.unwrap()).await;
    assert_eq!((missing.status.as_u16(), missing.body["code"].as_i64()), (404, Some(404)));
    let slash = read(bare(Method::GET, "/api/v1/clusters/").send().await.unwrap()).await;
    assert_eq!(slash.status, 404);
    let wrong = read(bare(Method::PATCH, "/api/v1/clusters").send().await.unwrap()).await;
    assert_eq!((wrong.status.as_u16(), wrong.headers["allow"].to_str().unwrap()), (405, "GET, POST"));
    assert_eq!(bare(Method::GET, "/api/v1/clusters/not-a-uuid").send().await.unwrap().status(), 401);
    assert_eq!(api.get("/api/v1/clusters/not-a-uuid").await.status, 400);
    let unknown = api.get(&format!("/api/v1/clusters/{}", uuid::Uuid::nil())).await;
    assert_eq!(unknown.status, 404);
    let tagged = api.request(Method::GET, "/api/v1/clusters").header("x-request-id", "abc").send().await.unwrap();
    assert_eq!(tagged.headers()["x-request-id"], "abc");
    assert_eq!(tagged.headers()["content-type"], "application/json");
    for answer in [missing, wrong, unknown] {
        assert!(answer.headers.contains_key("x-request-id"));
        assert_eq!(answer.headers.get_all("date").iter().count(), 1);
    }
}

#[tokio::test]
async fn the_date_header_is_the_virtual_clock() {
    let start: jiff::Timestamp = "2031-05-06T07:08:09Z".parse().unwrap();
    let api = Api::with(|config| {
        config.clock = runai_simulator::ClockMode::Manual;
        config.clock_start = Some(start);
    })
    .await;
    let date = |answer: &crate::common::Answer| answer.headers["date"].to_str().unwrap().to_owned();
    assert_eq!(date(&api.get("/api/v1/clusters").await), "Tue, 06 May 2031 07:08:09 GMT");
    api.sim.set_clock_skew(jiff::SignedDuration::from_secs(-69));
    assert_eq!(date(&api.get("/nowhere").await), "Tue, 06 May 2031 07:07:00 GMT");
}

#[tokio::test]
async fn rights_scopes_and_tenants() {
    let seen = uuid::Uuid::from_u128(1);
    let api = Api::with(|config| {
        let reader = Identity { actions: vec![Access::Read], ..Identity::new("reader", "r") };
        let scoped = Identity { scope: Scope::Clusters(vec![seen]), ..Identity::new("scoped", "s") };
        config.tenants[0].identities.extend([reader, scoped]);
        config.tenants.push(Tenant { id: 7, identities: vec![Identity::new("other", "o")] });
    })
    .await;
    api.sim.seed(SeedCluster { uuid: Some(seen), ..SeedCluster::named("seen") }).unwrap();
    let hidden = api.create("hidden").await;
    let as_identity = |id: &'static str, secret: &'static str| {
        let body = json!({"grantType": "client_credentials", "clientID": id, "clientSecret": secret});
        let request = api.client.post(api.at("/api/v1/token")).json(&body);
        async { read(request.send().await.unwrap()).await.body["accessToken"].as_str().unwrap().to_owned() }
    };
    let send = |token: &str, method: Method, path: &str| {
        let request = api.client.request(method, api.at(path)).bearer_auth(token).json(&json!({"name": "n"}));
        async { read(request.send().await.unwrap()).await }
    };
    let reader = as_identity("reader", "r").await;
    assert_eq!(send(&reader, Method::GET, &hidden).await.status, 200);
    for (method, path) in [(Method::PUT, &hidden[..]), (Method::DELETE, &hidden), (Method::POST, "/api/v1/clusters")] {
        assert_eq!(send(&reader, method, path).await.status, 403);
    }
    let scoped = as_identity("scoped", "s").await;
    assert_eq!(send(&scoped, Method::GET, &hidden).await.status, 404);
    assert_eq!(send(&scoped, Method::GET, "/api/v1/clusters").await.body.as_array().unwrap().len(), 1);
    assert_eq!(send(&scoped, Method::POST, "/api/v1/clusters").await.status, 403);
    let other = as_identity("other", "o").await;
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        assert_eq!(send(&other, method, &hidden).await.status, 404, "another tenant's cluster");
    }
    assert_eq!(send(&other, Method::POST, "/api/v1/clusters").await.status, 201);
    assert_eq!(api.names("").await.len(), 2);
    api.sim.apply(&FaultAction::PermissionLoss { identity: None, actions: vec![Access::Read] });
    assert_eq!(api.get(&hidden).await.status, 403);
    api.sim.apply(&FaultAction::PermissionLoss { identity: None, actions: Vec::new() });
    assert_eq!(api.get(&hidden).await.status, 200);
}

#[tokio::test]
async fn knobs_of_lists_and_nulls() {
    let api = Api::with(|config| config.null_style = NullStyle::Null).await;
    let path = api.create("a").await;
    let body = api.get(&path).await.body;
    for key in ["domain", "version", "updatedAt", "deletedAt", "lastLiveness", "deleteRequestedAt"] {
        assert!(body.as_object().unwrap()[key].is_null(), "{key}");
    }
    for index in 0..20 {
        api.create(&format!("n{index}")).await;
    }
    let ordered = api.names("").await;
    assert_eq!(ordered, api.names("").await);
    api.sim.configure(|config| config.list.order = ListOrder::Shuffle);
    assert_ne!(ordered, api.names("").await);
    api.sim.configure(|config| config.requests.max_clusters = Some(21));
    assert_eq!(api.post("/api/v1/clusters", json!({"name": "more"})).await.status, 403);
}

#[tokio::test]
async fn the_limiter_answers_429_and_recovers() {
    let api = Api::with(|config| {
        config.clock = runai_simulator::ClockMode::Manual;
        config.limits.rps = 2.0;
        config.limits.burst = 3.0;
    })
    .await;
    for _ in 0..3 {
        assert_eq!(api.get("/api/v1/clusters").await.status, 200);
    }
    let refused = api.get("/api/v1/clusters").await;
    assert_eq!((refused.status.as_u16(), &refused.headers["retry-after"]), (429, &"1".parse().unwrap()));
    api.sim.advance(std::time::Duration::from_secs(1));
    assert_eq!(api.get("/api/v1/clusters").await.status, 200);
}

#[tokio::test]
async fn strict_doc_answers_documented_codes_only() {
    let api = Api::profile(Profile::StrictDoc).await;
    let path = api.create_with(json!({"name": "a", "version": "2.25"})).await;
    assert_eq!(api.post("/api/v1/clusters", json!({"name": "a"})).await.status, 500);
    assert_eq!(api.post("/api/v1/clusters", json!({"name": ""})).await.status, 500);
    let nil = format!("/api/v1/clusters/{}", uuid::Uuid::nil());
    assert_eq!(api.put(&nil, json!({"name": "b"})).await.status, 400);
    assert_eq!(api.delete(&nil).await.status, 500);
    assert_eq!(api.get(&format!("{path}/cluster-install-info?version=1.0")).await.status, 404);
    let refused = api.post("/api/v1/clusters", json!({"name": "a"})).await;
    assert_eq!(refused.body["code"], 500);
    assert_eq!(uuid_of(&path), api.sim.clusters()[0].uuid);
}
