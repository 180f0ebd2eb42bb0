//! Connections that cannot work: what is said on the control plane and on its objects, that nothing is written to any
//! control plane, and that a correction is enough.

use std::collections::BTreeMap;

use runai_simulator::{Config, FaultAction, FaultMatch, FaultRule, Identity, Operation, Phase, Simulator};
use serde_json::{Value, json};
use testbed::{OPERATOR_NAMESPACE, OperatorOptions, OperatorProcess, wait_until};

use crate::world::{SOON, Setup, TEAM, World, cluster, condition, control_plane, message};

/// A password within a URL: it must not be repeated by any message.
const CANARY: &str = "canary-in-the-url";

/// One bad connection.
struct Row {
    /// Name of the control plane, its Secret and its one RunaiCluster.
    name: String,
    /// Values of the Secret; `None`: there is no Secret.
    secret: Option<Value>,
    /// Base64 values of the Secret, for what is not text.
    binary: Value,
    /// Spec of the control plane beyond the reference to the Secret.
    spec: Value,
    /// Reason on both objects.
    reason: &'static str,
    /// Whether the control plane needs a person. `None`: either, since it depends on time.
    stalled: Option<bool>,
    /// What the message must hold.
    says: &'static [&'static str],
}

/// The servers of this test.
struct Servers {
    plain: Simulator,
    tls: Simulator,
    /// Where a redirect leads: must never hear anything.
    foreign: Simulator,
}

impl Servers {
    fn start() -> Self {
        // Seeds of their own: uuids come from the seed, and those of two real servers differ.
        let start = |seed, tls| {
            let mut config = Config { seed, ..Config::default() };
            config.tls.enabled = tls;
            Simulator::start(config).unwrap()
        };
        Self { plain: start(11, false), tls: start(12, true), foreign: start(13, true) }
    }

    /// Requests that would change registrations, anywhere.
    fn mutations(&self) -> Vec<String> {
        [&self.plain, &self.tls, &self.foreign].into_iter().flat_map(|server| mutations_since(server, 0)).collect()
    }

    /// What servers do to the clients of these rows, told apart by their ids.
    fn disturb(&self) {
        let target = |path: &str| format!("{}{path}", self.foreign.url());
        let redirect = |path: &str| FaultAction::Redirect { location: target(path), status: 307, phase: Phase::Pre };
        let status = |code, body: Value| FaultAction::Status {
            code,
            body: Some(body),
            headers: BTreeMap::new(),
            phase: Phase::Pre,
        };
        let page = json!("<html><body>please log in</body></html>");
        for (name, operation, action) in [
            ("redirected-token", Operation::Token, redirect("/api/v1/token")),
            ("redirected-list", Operation::List, redirect("/api/v1/clusters")),
            ("expired", Operation::Token, status(401, json!({ "code": 401, "message": "access key expired" }))),
            ("page-token", Operation::Token, status(200, page.clone())),
            ("page-list", Operation::List, status(200, page)),
            ("forbidden", Operation::List, status(403, json!({ "code": 403, "message": "not in scope" }))),
            ("failing", Operation::List, status(500, json!({ "code": 500, "message": "database away" }))),
            ("throttled", Operation::List, status(429, json!({ "code": 429, "message": "slow down" }))),
        ] {
            let matches =
                FaultMatch { operation: Some(operation), identity: Some(identity(name)), ..FaultMatch::default() };
            self.plain.add_fault(FaultRule { matches, ..FaultRule::new(action) });
        }
    }
}

/// Requests that would change registrations. One that no endpoint knows counts too.
fn mutations_since(server: &Simulator, seq: u64) -> Vec<String> {
    let all = server.journal_since(seq).into_iter();
    let mutations = all.filter(|entry| entry.operation.is_none_or(Operation::is_mutation));
    mutations.map(|entry| format!("{} {}", entry.method, entry.route)).collect()
}

/// The client id that a faulty row logs in with: they differ, so that faults can be aimed. Not a word of any message,
/// since the id is masked like the secret.
fn identity(row: &str) -> String {
    format!("client-of-{row}")
}

/// Rows that meet a fault.
const FAULTY: [&str; 8] =
    ["redirected-token", "redirected-list", "expired", "page-token", "page-list", "forbidden", "failing", "throttled"];

fn secret_rows(servers: &Servers) -> Vec<Row> {
    const INVALID: &str = "ConnectionInvalid";
    let good = good(servers);
    let with = |change: Value| {
        let mut data = good.clone();
        for (key, value) in change.as_object().unwrap() {
            data[key] = value.clone();
        }
        data.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        data
    };
    let row = |name: &str, secret: Value, says: &'static [&'static str]| Row {
        name: name.to_owned(),
        secret: Some(secret),
        binary: json!({}),
        spec: json!({}),
        reason: INVALID,
        stalled: Some(true),
        says,
    };
    let host = servers.plain.url().strip_prefix("http://").unwrap();
    let url = |name: &str, url: String, says: &'static [&'static str]| row(name, with(json!({ "url": url })), says);
    let mut rows = vec![
        row("no-keys", json!({}), &["key `url` is missing"]),
        row("no-url", with(json!({ "url": null })), &["key `url` is missing"]),
        row(
            "no-credentials",
            json!({ "url": servers.plain.url() }),
            &["no credentials", "`clientID` and `clientSecret`"],
        ),
        row("no-secret-key", with(json!({ "clientSecret": null })), &["key `clientSecret` is missing"]),
        row("no-id-key", with(json!({ "clientID": null })), &["key `clientID` is missing"]),
        row(
            "slip",
            with(json!({ "clientSecret": null, "client_secret": "x" })),
            &["`client_secret`", "spelled `clientSecret`"],
        ),
        row(
            "both-pairs",
            with(json!({ "appID": "a", "appSecret": "b" })),
            &["`clientID`/`clientSecret`", "remove one pair"],
        ),
        row("half-a-pair-too-many", with(json!({ "appID": "a" })), &["remove one pair"]),
        row("empty-secret", with(json!({ "clientSecret": "" })), &["key `clientSecret` is empty"]),
        row("padded-id", with(json!({ "clientID": " operator" })), &["key `clientID`", "white space"]),
        row("two-lines", with(json!({ "clientSecret": "a\nb" })), &["key `clientSecret`", "one line"]),
        url("no-scheme", host.to_owned(), &["key `url`", "https://tenant.run.ai"]),
        url("other-scheme", format!("ftp://{host}"), &["key `url` has a scheme other than https"]),
        url("path", format!("http://{host}/api/v1"), &["key `url` holds a path", "adds /api/v1 itself"]),
        url("query", format!("http://{host}?tenant=a"), &["key `url` holds a query"]),
        url("fragment", format!("http://{host}#a"), &["key `url` holds a query or fragment"]),
        url("userinfo", format!("http://operator:{CANARY}@{host}"), &["key `url` holds a user name or password"]),
        url("no-host", "https://".to_owned(), &["key `url`", "https://tenant.run.ai"]),
        url("bad-port", "https://127.0.0.1:99999".to_owned(), &["key `url` cannot be read as a URL"]),
    ];
    rows.push(Row {
        secret: None,
        stalled: Some(false),
        says: &["Secret", "does not exist", "create it"],
        ..row("no-secret", json!({}), &[])
    });
    let binary = json!({ "clientSecret": "/v8=" });
    rows.push(Row {
        binary,
        says: &["key `clientSecret` is not UTF-8"],
        ..row("not-utf-8", with(json!({ "clientSecret": null })), &[])
    });
    let app = json!({ "url": servers.plain.url(), "appID": "operator", "appSecret": "operator-secret" });
    rows.push(Row { spec: json!({ "tokenApi": "V2" }), ..row("app-with-v2", app, &["`tokenApi: V1`"]) });
    rows
}

fn server_rows(servers: &Servers) -> Vec<Row> {
    const FAILED: &str = "ConnectionFailed";
    let [closed] = testbed::free_ports().unwrap();
    let row = |name: &str, change: Value, reason, says: &'static [&'static str]| {
        let mut secret = good(servers);
        for (key, value) in change.as_object().unwrap() {
            secret[key] = value.clone();
        }
        Row {
            name: name.to_owned(),
            secret: Some(secret),
            binary: json!({}),
            spec: json!({}),
            reason,
            stalled: None,
            says,
        }
    };
    let url = |name: &str, url: String, says: &'static [&'static str]| row(name, json!({ "url": url }), FAILED, says);
    let https = servers.plain.url().replacen("http", "https", 1);
    let mut rows = vec![
        url(
            "closed-port",
            format!("http://127.0.0.1:{closed}"),
            &["connection was refused", "check host and port of `url`"],
        ),
        url("no-such-host", "http://nonexistent.invalid".to_owned(), &["host name does not resolve", "DNS"]),
        url("no-tls-there", https, &["does not speak TLS", "check scheme and port of `url`"]),
        url("tls-there", servers.tls.url().replacen("https", "http", 1), &[]),
        row(
            "wrong-secret",
            json!({ "clientSecret": "nothing" }),
            "AuthFailed",
            &["credentials were refused", "connection Secret"],
        ),
        row(
            "wrong-id",
            json!({ "clientID": "nobody" }),
            "AuthFailed",
            &["credentials were refused", "connection Secret"],
        ),
    ];
    for (name, reason, says) in [
        ("redirected-token", "Undecodable", &["307", "redirects are not followed"] as &[_]),
        ("redirected-list", "Undecodable", &["307", "redirects are not followed"]),
        ("expired", "AuthFailed", &["status 401", "access key expired", "connection Secret"]),
        ("page-token", "Undecodable", &["login page"]),
        ("page-list", "Undecodable", &["login page"]),
        ("forbidden", "Forbidden", &["status 403", "not in scope", "role"]),
        ("failing", FAILED, &["status 500", "database away"]),
        ("throttled", "Throttled", &["fewer requests"]),
    ] {
        rows.push(row(name, json!({ "clientID": identity(name) }), reason, says));
    }
    rows
}

fn ca_rows(servers: &Servers) -> Vec<Row> {
    let mut secret = good(servers);
    secret["url"] = json!(servers.tls.url());
    let row = |name: &str, ca: Value, reason, stalled, says: &'static [&'static str]| {
        let spec = if ca.is_null() { json!({}) } else { json!({ "caBundleRef": ca }) };
        Row { name: name.to_owned(), secret: Some(secret.clone()), binary: json!({}), spec, reason, stalled, says }
    };
    let map = |name: &str| json!({ "kind": "ConfigMap", "name": name });
    const INVALID: &str = "ConnectionInvalid";
    vec![
        row("unknown-ca", json!(null), "ConnectionFailed", None, &["not trusted here", "`caBundleRef`"]),
        row("wrong-ca", map("wrong"), "ConnectionFailed", None, &["not trusted here", "`caBundleRef`"]),
        row("no-ca-map", map("absent"), INVALID, Some(false), &["absent", "create it", "spec.caBundleRef"]),
        row(
            "no-ca-secret",
            json!({ "kind": "Secret", "name": "absent" }),
            INVALID,
            Some(false),
            &["absent", "create it"],
        ),
        row(
            "no-ca-key",
            json!({ "kind": "ConfigMap", "name": "right", "key": "absent.crt" }),
            INVALID,
            Some(false),
            &["absent.crt"],
        ),
        row("garbage-ca", map("garbage"), INVALID, Some(true), &["CA bundle", "-----BEGIN CERTIFICATE-----"]),
        row("cut-ca", map("cut"), INVALID, Some(true), &["CA bundle", "PEM"]),
        row("hollow-ca", map("hollow"), INVALID, Some(true), &["CA bundle", "not an X.509 certificate"]),
    ]
}

fn good(servers: &Servers) -> Value {
    json!({ "url": servers.plain.url(), "clientID": "operator", "clientSecret": "operator-secret" })
}

fn list(items: &[Value]) -> Value {
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

fn secret(name: &str, text: &Value, binary: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "namespace": OPERATOR_NAMESPACE },
        "stringData": text, "data": binary,
    })
}

fn config_map(name: &str, pem: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": OPERATOR_NAMESPACE },
        "data": { "ca.crt": pem },
    })
}

impl World {
    /// All control planes and all objects of `team-a` with one command, by kind and name.
    async fn everything(&self) -> BTreeMap<(String, String), Value> {
        let text = self.kubectl(&["get", "rcp,rcl", "-A", "-o", "json"]).await;
        let list: Value = serde_json::from_str(&text).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let items = list["items"].as_array().unwrap().iter().cloned();
        items.map(|item| ((text(&item["kind"]), text(&item["metadata"]["name"])), item)).collect()
    }

    /// Waits until no row complains about what it sees.
    async fn until_all(&self, what: &str, rows: &[Row], check: impl Fn(&Row, &Value, &Value) -> Result<(), String>) {
        let result = wait_until(SOON, what, async || {
            let all = self.everything().await;
            let one =
                |kind: &str, row: &Row| all.get(&(kind.to_owned(), row.name.clone())).cloned().unwrap_or_default();
            let wrong: Vec<_> = rows
                .iter()
                .filter_map(|row| {
                    let wrong = check(row, &one("RunaiControlPlane", row), &one("RunaiCluster", row)).err()?;
                    Some(format!("{}: {wrong}", row.name))
                })
                .collect();
            if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
        });
        if let Err(error) = result.await {
            panic!("{error}\n--- operator\n{}", self.tail());
        }
    }
}

fn refused(row: &Row, plane: &Value, object: &Value) -> Result<(), String> {
    let wanted = ("False".to_owned(), row.reason.to_owned());
    for (what, seen, kind) in
        [("control plane", plane, "Ready"), ("object", object, "Ready"), ("object", object, "Synced")]
    {
        if condition(seen, kind) != wanted {
            return Err(format!("{what}: {kind} is not False/{}: {}", row.reason, seen["status"]));
        }
        let said = message(seen, kind);
        if let Some(part) = row.says.iter().find(|part| !said.contains(**part)) {
            return Err(format!("{what}: {part:?} is not in {said:?}"));
        }
    }
    let stalled = condition(plane, "Stalled").0 == "True";
    if row.stalled.is_some_and(|wanted| wanted != stalled) {
        return Err(format!("Stalled is {stalled}: {}", plane["status"]));
    }
    if plane["status"]["observedGeneration"] != plane["metadata"]["generation"] {
        return Err("the status is of an older spec".to_owned());
    }
    if !object["status"]["uuid"].is_null() || !object["metadata"]["finalizers"].is_null() {
        return Err(format!("something was begun: {object}"));
    }
    Ok(())
}

fn ready(_row: &Row, plane: &Value, object: &Value) -> Result<(), String> {
    for seen in [plane, object] {
        if condition(seen, "Ready").0 != "True" {
            return Err(seen["status"].to_string());
        }
        if !condition(seen, "Stalled").0.is_empty() {
            return Err(format!("still Stalled: {}", seen["status"]));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_cannot_work_is_explained_writes_nothing_and_recovers() {
    let mut servers = Servers::start();
    for row in FAULTY {
        servers.plain.configure(|config| {
            config.tenants[0].identities.push(Identity::new(&identity(row), "operator-secret"));
        });
    }
    servers.disturb();
    let mut world = World::start(Setup::default()).await;
    let mut rows = secret_rows(&servers);
    rows.extend(server_rows(&servers));
    rows.extend(ca_rows(&servers));

    let right = servers.tls.ca_pem().unwrap();
    let cut = &right[..right.len() / 2];
    let mut items = vec![
        config_map("right", &right),
        config_map("wrong", &servers.foreign.ca_pem().unwrap()),
        config_map("garbage", "this is no certificate"),
        config_map("cut", cut),
        config_map("hollow", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"),
        secret("right-ca", &json!({ "custom.pem": right }), &json!({})),
    ];
    for row in &rows {
        if let Some(text) = &row.secret {
            items.push(secret(&row.name, text, &row.binary));
        }
        items.push(control_plane(&row.name, &row.name, &row.spec));
        items.push(cluster(TEAM, &row.name, json!({ "controlPlaneRef": { "name": row.name } })));
    }
    // A control plane that nobody made.
    items.push(cluster(TEAM, "missing", json!({ "controlPlaneRef": { "name": "missing" } })));
    world.apply(&list(&items)).await;

    world.until_all("every bad connection is explained", &rows, refused).await;
    let object = world.until_condition("missing", "Ready", "False", "ControlPlaneMissing").await;
    let said = message(&object, "Ready");
    assert!(said.contains("\"missing\" does not exist") && said.contains("spec.controlPlaneRef.name"), "{said}");
    assert_eq!(servers.mutations(), Vec::<String>::new(), "nothing is written where nothing is clear");
    assert_eq!(servers.foreign.counters().requests, 0, "nobody follows a redirect, with or without credentials");
    let everything = world.kubectl(&["get", "rcp,rcl,events", "-A", "-o", "json"]).await;
    assert!(!everything.contains(CANARY), "a message repeats the password of a URL");
    assert!(!world.operator.logs().unwrap().contains(CANARY), "the log repeats the password of a URL");

    correct(&world, &servers, &rows).await;
    for row in &rows {
        let made = [&servers.plain, &servers.tls].into_iter().flat_map(|server| server.clusters_named(&row.name));
        assert_eq!(made.count(), 1, "{}: one registration", row.name);
    }

    a_secret_that_breaks_later(&world, &servers).await;
    https_only(&mut world, &mut servers).await;
}

/// Puts everything right, in each case at the place that the message named.
async fn correct(world: &World, servers: &Servers, rows: &[Row]) {
    servers.plain.clear_faults();
    let right = json!({ "kind": "ConfigMap", "name": "right" });
    let right_secret = json!({ "kind": "Secret", "name": "right-ca", "key": "custom.pem" });
    let mut stale = vec!["delete", "secret", "-n", OPERATOR_NAMESPACE, "--ignore-not-found"];
    stale.extend(rows.iter().filter(|row| row.spec["caBundleRef"].is_null()).map(|row| row.name.as_str()));
    // Deleted and made anew: an apply would leave keys that it does not name.
    world.kubectl(&stale).await;
    let mut items = Vec::new();
    for row in rows {
        let ca = match row.name.as_str() {
            "unknown-ca" => Some(&right_secret),
            _ if row.spec["caBundleRef"].is_null() => None,
            _ => Some(&right),
        };
        let mut text = good(servers);
        let mut spec = json!({});
        if let Some(ca) = ca {
            text["url"] = json!(servers.tls.url());
            spec["caBundleRef"] = ca.clone();
        }
        items.push(secret(&row.name, &text, &json!({})));
        items.push(control_plane(&row.name, &row.name, &spec));
    }
    items.push(secret("missing", &good(servers), &json!({})));
    items.push(control_plane("missing", "missing", &json!({})));
    world.apply(&list(&items)).await;
    world.until_all("every corrected connection works", rows, ready).await;
    world.until_ready("missing").await;
}

/// A live object keeps its registration when its connection breaks; what is being deleted still goes, by the credentials
/// in memory.
async fn a_secret_that_breaks_later(world: &World, servers: &Servers) {
    let seq = servers.plain.last_seq();
    world.kubectl(&["delete", "secret", "missing", "-n", OPERATOR_NAMESPACE]).await;
    world.until_condition("missing", "Synced", "False", "ConnectionInvalid").await;
    world.patch("missing", json!({ "spec": { "name": "renamed" } })).await;
    let renamed = |object: &Value| object["status"]["observedGeneration"] == object["metadata"]["generation"];
    let object = world.until("missing", "the new spec is seen", renamed).await;
    assert_eq!(condition(&object, "Synced").1, "ConnectionInvalid");
    assert_eq!(mutations_since(&servers.plain, seq), Vec::<String>::new(), "no rename without a sound connection");
    world.delete("missing").await;
    world.until_gone("missing").await;
    assert_eq!(mutations_since(&servers.plain, seq), ["DELETE /api/v1/clusters/{clusterUuid}"]);
}

/// The same control planes under an operator that does not allow http: those are refused, the one with TLS goes on.
async fn https_only(world: &mut World, servers: &mut Servers) {
    world.operator.sigterm_and_wait(SOON).await.unwrap();
    let seq = servers.plain.last_seq();
    let binary = env!("CARGO_BIN_EXE_runai-cluster-operator");
    let options = OperatorOptions::new(binary, world.login.kubeconfig(), world.bed.directory()).https_only();
    world.operator = OperatorProcess::start(&options).unwrap();
    world.operator.wait_ready(SOON).await.unwrap();
    let object = world.until_condition("closed-port", "Synced", "False", "ConnectionInvalid").await;
    let said = message(&object, "Synced");
    assert!(said.contains("uses http") && said.contains("--allow-insecure-http"), "{said}");
    assert!(object["status"]["uuid"].is_string(), "what is known of the registration stays");
    world.patch("wrong-ca", json!({ "spec": { "name": "by-tls" } })).await;
    world.until("wrong-ca", "renamed through TLS", |object| object["status"]["name"] == "by-tls").await;
    assert_eq!(servers.plain.journal_since(seq).len(), 0, "not one request in the clear");
}
