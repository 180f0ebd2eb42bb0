//! The table of bad connections, and the servers that they lead to.
//!
//! Owns what is wrong in each row and what must be said. Must not know how a row is tried.

use std::collections::BTreeMap;

use runai_simulator::{Config, FaultAction, FaultMatch, FaultRule, Identity, Operation, Phase, Simulator};
use serde_json::{Value, json};

/// A password within a URL: it must not be repeated by any message.
pub const CANARY: &str = "canary-in-the-url";

/// One bad connection.
pub struct Row {
    /// Name of the control plane, its Secret and its one RunaiCluster.
    pub name: String,
    /// Values of the Secret; `None`: there is no Secret.
    pub secret: Option<Value>,
    /// Base64 values of the Secret, for what is not text.
    pub binary: Value,
    /// Spec of the control plane beyond the reference to the Secret.
    pub spec: Value,
    /// Reason on both objects.
    pub reason: &'static str,
    /// Whether the control plane needs a person. `None`: either, since it depends on time.
    pub stalled: Option<bool>,
    /// What the message must hold.
    pub says: &'static [&'static str],
}

/// The servers of this test.
pub struct Servers {
    pub plain: Simulator,
    pub tls: Simulator,
    /// Where a redirect leads: must never hear anything.
    pub foreign: Simulator,
}

impl Servers {
    pub fn start() -> Self {
        // Seeds of their own: uuids come from the seed, and those of two real servers differ.
        let start = |seed, tls| {
            let mut config = Config { seed, ..Config::default() }.full_lists_only();
            config.tls.enabled = tls;
            Simulator::start(config).unwrap()
        };
        let servers = Self { plain: start(11, false), tls: start(12, true), foreign: start(13, true) };
        servers.disturb();
        servers
    }

    /// Requests that would change registrations, anywhere.
    pub fn mutations(&self) -> Vec<String> {
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
            let client = Identity::new(&identity(name), "operator-secret");
            self.plain.configure(|config| config.tenants[0].identities.push(client));
            let matches =
                FaultMatch { operation: Some(operation), identity: Some(identity(name)), ..FaultMatch::default() };
            self.plain.add_fault(FaultRule { matches, ..FaultRule::new(action) });
        }
    }
}

/// Requests that would change registrations. One that no endpoint knows counts too.
pub fn mutations_since(server: &Simulator, seq: u64) -> Vec<String> {
    let all = server.journal_since(seq).into_iter();
    let mutations = all.filter(|entry| entry.operation.is_none_or(Operation::is_mutation));
    mutations.map(|entry| format!("{} {}", entry.method, entry.route)).collect()
}

/// The client id that a faulty row logs in with: they differ, so that faults can be aimed. Not a word of any message,
/// since the id is masked like the secret.
fn identity(row: &str) -> String {
    format!("client-of-{row}")
}

/// The whole table.
pub fn rows(servers: &Servers) -> Vec<Row> {
    [secret_rows(servers), url_rows(servers), server_rows(servers), ca_rows(servers)].into_iter().flatten().collect()
}

/// A row about the Secret's content: `change` goes over a good one, null takes a key out.
fn secret_row(servers: &Servers, name: &str, change: &Value, says: &'static [&'static str]) -> Row {
    let mut secret = good(servers);
    for (key, value) in change.as_object().unwrap() {
        secret[key] = value.clone();
    }
    secret.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    Row {
        name: name.to_owned(),
        secret: Some(secret),
        binary: json!({}),
        spec: json!({}),
        reason: "ConnectionInvalid",
        stalled: Some(true),
        says,
    }
}

fn url_rows(servers: &Servers) -> Vec<Row> {
    let host = servers.plain.url().strip_prefix("http://").unwrap();
    let row = |name: &str, url: String, says: &'static [&'static str]| {
        secret_row(servers, name, &json!({ "url": url }), says)
    };
    vec![
        row("no-scheme", host.to_owned(), &["key `url`", "https://tenant.run.ai"]),
        row("other-scheme", format!("ftp://{host}"), &["key `url` has a scheme other than https"]),
        row("path", format!("http://{host}/api/v1"), &["key `url` holds a path", "adds /api/v1 itself"]),
        row("query", format!("http://{host}?tenant=a"), &["key `url` holds a query"]),
        row("fragment", format!("http://{host}#a"), &["key `url` holds a query or fragment"]),
        row("userinfo", format!("http://operator:{CANARY}@{host}"), &["key `url` holds a user name or password"]),
        row("no-host", "https://".to_owned(), &["key `url`", "https://tenant.run.ai"]),
        row("bad-port", "https://127.0.0.1:99999".to_owned(), &["key `url` cannot be read as a URL"]),
    ]
}

fn secret_rows(servers: &Servers) -> Vec<Row> {
    let row = |name: &str, change: Value, says: &'static [&'static str]| secret_row(servers, name, &change, says);
    let no_keys = json!({ "url": null, "clientID": null, "clientSecret": null });
    let no_credentials = json!({ "clientID": null, "clientSecret": null });
    let app = json!({ "clientID": null, "clientSecret": null, "appID": "operator", "appSecret": "operator-secret" });
    let no_secret = json!({ "clientSecret": null });
    let slip = json!({ "clientSecret": null, "client_secret": "x" });
    let both = json!({ "appID": "a", "appSecret": "b" });
    vec![
        row("no-keys", no_keys, &["key `url` is missing"]),
        row("no-url", json!({ "url": null }), &["key `url` is missing"]),
        row("no-credentials", no_credentials, &["no credentials", "`clientID` and `clientSecret`"]),
        row("no-secret-key", no_secret.clone(), &["key `clientSecret` is missing"]),
        row("no-id-key", json!({ "clientID": null }), &["key `clientID` is missing"]),
        row("slip", slip, &["`client_secret`", "spelled `clientSecret`"]),
        row("both-pairs", both, &["`clientID`/`clientSecret`", "remove one pair"]),
        row("half-a-pair-too-many", json!({ "appID": "a" }), &["remove one pair"]),
        row("empty-secret", json!({ "clientSecret": "" }), &["key `clientSecret` is empty"]),
        row("padded-id", json!({ "clientID": " operator" }), &["key `clientID`", "white space"]),
        row("two-lines", json!({ "clientSecret": "a\nb" }), &["key `clientSecret`", "one line"]),
        Row {
            secret: None,
            stalled: Some(false),
            ..row("no-secret", json!({}), &["Secret", "does not exist", "create it"])
        },
        Row {
            binary: json!({ "clientSecret": "/v8=" }),
            ..row("not-utf-8", no_secret, &["key `clientSecret` is not UTF-8"])
        },
        Row { spec: json!({ "tokenApi": "V2" }), ..row("app-with-v2", app, &["`tokenApi: V1`"]) },
    ]
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

pub fn good(servers: &Servers) -> Value {
    json!({ "url": servers.plain.url(), "clientID": "operator", "clientSecret": "operator-secret" })
}
