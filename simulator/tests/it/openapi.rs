//! Every reply of every endpoint fits the published schemas, in every state and for every profile.
//!
//! The checker here is strict about what the document leaves open: a field that it does not know is an error. With
//! `OPENAPI_ANSWERS=FILE` every answer is also written to that file, for `tests/conformance/answers.py`, which judges
//! them with a validator that is not ours.

use std::io::Write as _;
use std::sync::{LazyLock, Mutex};

use serde_json::{Map, Value};

use runai_simulator::{
    Access, AgentCommand, FaultAction, NeverConnected, NullStyle, OldTokens, Profile, RecordPatch, SeedCluster,
};
use serde_json::json;

use crate::common::{Answer, Api};

/// The part of OpenAPI 3.0 that the Clusters API uses. A field that no schema mentions is an error.
struct Schemas(Value);

impl Schemas {
    fn load() -> Self {
        let mut document =
            serde_json::from_str(include_str!("../../../tests/conformance/clusters-openapi.json")).unwrap();
        let pages = serde_json::from_str(include_str!("../../../tests/conformance/reference-pages.json")).unwrap();
        lay_over(&mut document, &pages);
        Self(document)
    }

    fn resolve<'s>(&'s self, schema: &'s Value) -> &'s Value {
        match schema["$ref"].as_str() {
            Some(path) => self.resolve(self.0.pointer(path.trim_start_matches('#')).unwrap()),
            None => schema,
        }
    }

    /// Properties and required names of an object schema, `allOf` flattened.
    fn members<'s>(&'s self, schema: &'s Value, properties: &mut Map<String, Value>, required: &mut Vec<&'s str>) {
        let schema = self.resolve(schema);
        properties.extend(schema["properties"].as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
        required.extend(schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str));
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.members(part, properties, required);
        }
    }

    fn check(&self, value: &Value, schema: &Value, at: &str, errors: &mut Vec<String>) {
        let schema = self.resolve(schema);
        let mut fail = |what: String| errors.push(format!("{at}: {what}"));
        if value.is_null() {
            if schema["nullable"] != true {
                fail("must not be null".to_owned());
            }
            return;
        }
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.contains(value)
        {
            fail(format!("{value} is not one of {allowed:?}"));
        }
        match value {
            Value::String(text) => self.check_text(text, schema, at, errors),
            Value::Number(number) => {
                let number = number.as_i64().unwrap();
                let least = schema["minimum"].as_i64().unwrap_or(i64::MIN);
                let most = schema["maximum"].as_i64().unwrap_or(i64::MAX);
                if schema["type"] != "integer" || !(least..=most).contains(&number) {
                    fail(format!("{number} does not fit {schema}"));
                }
            }
            Value::Bool(_) if schema["type"] != "boolean" => fail("must not be a boolean".to_owned()),
            Value::Bool(_) | Value::Null => {}
            Value::Array(items) => {
                if schema["type"] != "array" {
                    fail("must not be an array".to_owned());
                }
                for (index, item) in items.iter().enumerate() {
                    self.check(item, &schema["items"], &format!("{at}[{index}]"), errors);
                }
            }
            Value::Object(object) => self.check_object(object, schema, at, errors),
        }
    }

    fn check_text(&self, text: &str, schema: &Value, at: &str, errors: &mut Vec<String>) {
        let schema = self.resolve(schema);
        let length = text.chars().count() as u64;
        let fits = match schema["format"].as_str() {
            Some("uuid") => uuid::Uuid::try_parse(text).is_ok(),
            // Milliseconds and Z, always.
            Some("date-time") => text.parse::<jiff::Timestamp>().is_ok() && text.len() == 24 && text.ends_with('Z'),
            Some("password") | None => true,
            // Of numbers, so the type does not fit.
            Some("int32" | "int64") => false,
            Some(other) => panic!("{at}: format {other} is not checked"),
        };
        // The only pattern is that of condition reasons.
        let word = schema["pattern"].is_null() || text.chars().all(|c| c.is_ascii_alphanumeric() || "_,:".contains(c));
        let long = length >= schema["minLength"].as_u64().unwrap_or(0);
        let short = length <= schema["maxLength"].as_u64().unwrap_or(u64::MAX);
        let string = schema["type"].is_null() || schema["type"] == "string";
        if !(fits && word && long && short && string) {
            errors.push(format!("{at}: {text:?} does not fit {schema}"));
        }
    }

    fn check_object(&self, object: &Map<String, Value>, schema: &Value, at: &str, errors: &mut Vec<String>) {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        self.members(schema, &mut properties, &mut required);
        for name in required.into_iter().filter(|name| !object.contains_key(*name)) {
            errors.push(format!("{at}: {name} is missing"));
        }
        for (key, value) in object {
            let path = format!("{at}.{key}");
            match properties.get(key).or_else(|| schema.get("additionalProperties")) {
                Some(schema) => self.check(value, schema, &path, errors),
                None => errors.push(format!("{path} is in no schema")),
            }
        }
    }

    /// Checks a reply against what is listed for the endpoint.
    fn fits(&self, answer: &Answer, method: &str, path: &str, context: &str) {
        let code = answer.status.as_u16().to_string();
        note(answer, method, path, context);
        let responses = &self.0["paths"][path][method]["responses"];
        assert!(responses.is_object(), "{method} {path} is not in the document");
        let response = self.resolve(&responses[&code]);
        // Two endpoints are not in the document itself, and their pages name no codes.
        let listed = !context.starts_with("StrictDoc") || path.ends_with("/minimal") || response.is_object();
        assert!(listed, "{context}: {code} is not listed for {method} {path}");
        let error = json!({"$ref": "#/components/schemas/Error"});
        // Undocumented codes, which every server has, carry the common error body.
        let schema = if response.is_null() { &error } else { &response["content"]["application/json"]["schema"] };
        if schema.is_null() {
            assert!(answer.text.is_empty(), "{context}: a body with {code}");
            return;
        }
        let schema = match Self::bootstrap(path, &answer.body) {
            Some(newer) => newer,
            None => schema.clone(),
        };
        let mut errors = Vec::new();
        self.check(&answer.body, &schema, "body", &mut errors);
        assert!(errors.is_empty(), "{context}: {method} {path} {code}\n{}\n{}", errors.join("\n"), answer.text);
        assert_eq!(answer.headers["content-type"], "application/json");
    }

    /// Install information has another shape from 3.0 on.
    fn bootstrap(path: &str, body: &Value) -> Option<Value> {
        let newer = path.ends_with("cluster-install-info") && body.get("bootstrapToken").is_some();
        newer.then(|| json!({"$ref": "#/components/schemas/ClusterInstallationInfoResponse30"}))
    }
}

/// JSON merge patch; nothing is taken away here.
fn lay_over(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                lay_over(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

/// Writes an answer down for the other validator.
fn note(answer: &Answer, method: &str, path: &str, context: &str) {
    static FILE: LazyLock<Option<Mutex<std::fs::File>>> = LazyLock::new(|| {
        let path = std::env::var_os("OPENAPI_ANSWERS")?;
        Some(Mutex::new(std::fs::File::create(path).unwrap()))
    });
    if let Some(file) = &*FILE {
        let line = json!({
            "method": method, "path": path, "status": answer.status.as_u16(), "context": context,
            "contentType": answer.headers.get("content-type").map(|value| value.to_str().unwrap()),
            "body": (!answer.text.is_empty()).then_some(&answer.text),
        });
        writeln!(file.lock().unwrap(), "{line}").unwrap();
    }
}

const CLUSTERS: &str = "/api/v1/clusters";
const CLUSTER: &str = "/api/v1/clusters/{clusterUuid}";

/// One cluster in each state, one being deleted, one deleted.
fn zoo(api: &Api) -> Vec<uuid::Uuid> {
    let old = api.sim.now() - jiff::SignedDuration::from_hours(1);
    let seed = |name: &str| SeedCluster {
        created_at: Some(old),
        version: Some("2.24.1".to_owned()),
        domain: Some("my.host".to_owned()),
        ..SeedCluster::named(name)
    };
    let connected = |name: &str| api.sim.seed(seed(name).connected()).unwrap();
    let waiting = api.sim.seed(SeedCluster::named("waiting")).unwrap();
    let (well, silent, poor, broken, odd, leaving) = (
        connected("Connected"),
        connected("Disconnected"),
        connected("MissingPrerequisites"),
        connected("ServiceIssues"),
        connected("Unknown"),
        connected("leaving"),
    );
    let command = |uuid, command| api.sim.agent(uuid, command).unwrap();
    command(silent, AgentCommand::Pause);
    command(silent, AgentCommand::Stop);
    let long_ago = RecordPatch { last_liveness: Some(old), ..RecordPatch::default() };
    let dead = api.sim.seed(seed("dead")).unwrap();
    api.sim.patch(dead, long_ago).unwrap();
    command(poor, AgentCommand::Dependency { name: "prometheus".to_owned(), available: false });
    command(broken, AgentCommand::Operand { name: "cluster-sync".to_owned(), ready: false });
    command(odd, AgentCommand::Report { version: None, domain: None, report: None, unreadable: Some(true) });
    let leave = RecordPatch { delete_requested_at: Some(api.sim.now()), ..RecordPatch::default() };
    api.sim.patch(leaving, leave).unwrap();
    let gone = connected("gone");
    api.sim.remove(gone).unwrap();
    vec![waiting, well, silent, dead, poor, broken, odd, leaving, gone, uuid::Uuid::nil()]
}

async fn reads(api: &Api, schemas: &Schemas, context: &str) {
    let list = api.get("/api/v1/clusters?includeRequestedForDelete=true").await;
    assert_eq!(list.status, 200);
    assert!(list.body.as_array().unwrap().len() >= 7);
    schemas.fits(&list, "get", CLUSTERS, context);
    schemas.fits(&api.get("/api/v1/clusters?verbosity=metadata").await, "get", CLUSTERS, context);
    schemas.fits(&api.get("/api/v1/clusters?verbosity=x").await, "get", CLUSTERS, context);
    let minimal = api.get("/api/v1/clusters/minimal?limit=500").await;
    schemas.fits(&minimal, "get", "/api/v1/clusters/minimal", context);
}

async fn reads_by_id(api: &Api, schemas: &Schemas, uuid: uuid::Uuid, context: &str) {
    let path = format!("{CLUSTERS}/{uuid}");
    schemas.fits(&api.get(&path).await, "get", CLUSTER, context);
    let minimal = api.get(&format!("{path}/minimal")).await;
    schemas.fits(&minimal, "get", "/api/v1/clusters/{clusterUuid}/minimal", context);
    for query in ["?version=2.24&remoteClusterUrl=https://h", "?version=1"] {
        let info = api.get(&format!("{path}/cluster-install-info{query}")).await;
        schemas.fits(&info, "get", "/api/v1/clusters/{clusterUuid}/cluster-install-info", context);
    }
    let (end, start) = (api.sim.now(), api.sim.now() - jiff::SignedDuration::from_mins(50));
    for query in ["metricType=TOTAL_GPU,CPU_UTILIZATION", "metricType=ALLOCATED_GPU&groupBy=Project", "metricType=X"] {
        let metrics = api.get(&format!("{path}/metrics?start={start}&end={end}&{query}")).await;
        schemas.fits(&metrics, "get", "/api/v1/clusters/{clusterUuid}/metrics", context);
    }
}

async fn writes(api: &Api, schemas: &Schemas, context: &str) {
    let create = api.post(CLUSTERS, json!({"name": "new", "domain": "h", "version": "2.20.1"})).await;
    assert_eq!(create.status, 201);
    schemas.fits(&create, "post", CLUSTERS, context);
    let path = format!("{CLUSTERS}/{}", create.body["uuid"].as_str().unwrap());
    schemas.fits(&api.post(CLUSTERS, json!({"name": "new"})).await, "post", CLUSTERS, context);
    schemas.fits(&api.post(CLUSTERS, json!({})).await, "post", CLUSTERS, context);
    schemas.fits(&api.put(&path, json!({"name": "newer"})).await, "put", CLUSTER, context);
    schemas.fits(&api.put(&path, json!({"name": "waiting"})).await, "put", CLUSTER, context);
    for query in ["", "?force=maybe", "?force=true", ""] {
        schemas.fits(&api.delete(&format!("{path}{query}")).await, "delete", CLUSTER, context);
    }
}

/// Every operation without a token, without the right, and too often.
async fn refusals(api: &Api, schemas: &Schemas, uuid: uuid::Uuid, context: &str) {
    let path = format!("{CLUSTERS}/{uuid}");
    let everything = [
        ("get", CLUSTERS.to_owned(), CLUSTERS.to_owned()),
        ("post", CLUSTERS.to_owned(), CLUSTERS.to_owned()),
        ("get", path.clone(), CLUSTER.to_owned()),
        ("put", path.clone(), CLUSTER.to_owned()),
        ("delete", path.clone(), CLUSTER.to_owned()),
        ("get", format!("{path}/cluster-install-info?version=2.24"), format!("{CLUSTER}/cluster-install-info")),
        ("get", format!("{path}/metrics?metricType=TOTAL_GPU"), format!("{CLUSTER}/metrics")),
    ];
    let refused = async |why: &str, wanted: &[u16]| {
        for (method, path, template) in &everything {
            let body = (*method == "post" || *method == "put").then(|| json!({"name": "refused"}));
            let method_name = reqwest::Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = api.call(method_name, path, body).await;
            assert!(wanted.contains(&answer.status.as_u16()), "{context} {why}: {method} {path} {}", answer.status);
            schemas.fits(&answer, method, template, &format!("{context} {why}"));
        }
    };
    let lose = |actions| api.sim.apply(&FaultAction::PermissionLoss { identity: None, actions });
    lose(Access::all());
    refused("no right", &[403]).await;
    lose(Vec::new());
    api.sim.configure(|config| (config.limits.rps, config.limits.burst) = (1e-6, 1.0));
    api.get(CLUSTERS).await;
    refused("too often", &[429, 503]).await;
    api.sim.configure(|config| config.limits.rps = 0.0);
    api.sim.apply(&FaultAction::TokenRevoke { identity: None, phase: runai_simulator::Phase::Pre });
    refused("no token", &[401]).await;
}

/// Both token endpoints: good, bad, nonsense.
async fn tokens(api: &Api, schemas: &Schemas, context: &str) {
    for (grant, secret) in [("app_token", "operator-secret"), ("app_token", "wrong"), ("magic", "wrong")] {
        let body = json!({"grantType": grant, "AppId": "operator", "AppSecret": secret});
        schemas.fits(&api.post("/api/v1/token", body).await, "post", "/api/v1/token", context);
    }
    for form in [
        "grant_type=client_credentials&client_id=operator&client_secret=operator-secret",
        "grant_type=client_credentials&client_id=operator&client_secret=wrong",
        "grant_type=client_credentials",
        "grant_type=magic",
    ] {
        let answer =
            crate::common::read(api.client.post(api.at("/api/v2/token")).body(form).send().await.unwrap()).await;
        schemas.fits(&answer, "post", "/api/v2/token", context);
    }
}

#[tokio::test]
async fn every_profile_in_every_state() {
    let schemas = Schemas::load();
    for profile in Profile::ALL {
        for nulls in [NullStyle::Omit, NullStyle::Null] {
            let api = Api::profile(profile).await;
            api.sim.configure(|config| {
                config.null_style = nulls;
                // Seen from 2.18 too, where only an old record can be on its way out.
                config.capabilities.include_requested_for_delete = Some(true);
            });
            let context = format!("{profile:?} {nulls:?}");
            let zoo = zoo(&api);
            reads(&api, &schemas, &context).await;
            for uuid in &zoo {
                reads_by_id(&api, &schemas, *uuid, &context).await;
            }
            writes(&api, &schemas, &context).await;
            tokens(&api, &schemas, &context).await;
            refusals(&api, &schemas, zoo[1], &context).await;
        }
    }
}

#[tokio::test]
async fn states_are_all_there() {
    let api = Api::with(|_| ()).await;
    zoo(&api);
    let list = api.get("/api/v1/clusters?includeRequestedForDelete=true").await.body;
    let states: std::collections::BTreeSet<_> =
        list.as_array().unwrap().iter().map(|one| one["status"]["state"].as_str().unwrap().to_owned()).collect();
    let all = ["Connected", "Disconnected", "MissingPrerequisites", "ServiceIssues", "Unknown", "WaitingToConnect"];
    assert_eq!(states, all.map(str::to_owned).into());
}

#[tokio::test]
async fn knobs_that_change_how_a_cluster_looks() {
    let schemas = Schemas::load();
    let api = Api::with(|_| ()).await;
    for never in [NeverConnected::State, NeverConnected::Null, NeverConnected::Empty] {
        api.sim.configure(|config| config.list.never_connected = never);
        let create = api.post(CLUSTERS, json!({"name": format!("{never:?}")})).await;
        schemas.fits(&create, "post", CLUSTERS, "never connected");
        assert_eq!(create.body.get("status").is_some(), never != NeverConnected::Null);
    }
    api.sim.apply(&FaultAction::SwapTenant { identity: None, tenant_id: 3, old_tokens: OldTokens::Revoke });
    let refused = api.get(CLUSTERS).await;
    assert_eq!(refused.status, 401);
    schemas.fits(&refused, "get", CLUSTERS, "revoked");
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let schemas = Schemas::load();
    let cluster = json!({"$ref": "#/components/schemas/DisplayedCluster"});
    let good = json!({"uuid": uuid::Uuid::nil(), "tenantId": 1, "name": "a", "createdAt": "2026-01-01T00:00:00.000Z"});
    let errors = |change: Value| {
        let mut body = good.clone();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let mut errors = Vec::new();
        schemas.check(&body, &cluster, "body", &mut errors);
        errors
    };
    assert_eq!(errors(json!({})), Vec::<String>::new());
    for bad in [
        json!({"uuid": "x"}),
        json!({"name": null}),
        json!({"tenantId": "1"}),
        json!({"createdAt": "2026-01-01T00:00:00Z"}),
        json!({"other": 1}),
        json!({"domain": ""}),
        json!({"status": {"state": "Happy"}}),
        json!({"status": {"operands": {"a": {}}}}),
        json!({"status": {"dependencies": {"required": {}}}}),
    ] {
        assert_eq!(errors(bad.clone()).len(), 1, "{bad}");
    }
}
