//! `doctor` without Kubernetes: each thing that may be wrong between here and a control plane, by itself.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use runai_simulator::{Access, Config, Identity, Profile, ServerCertificate, Simulator};
use serde_json::Value;

use crate::tool::{Said, Tool, changes};

const CANARY: &str = "canary-91c4";
/// The checks of a control plane, in their order.
const STEPS: [&str; 8] = ["connection", "dns", "connect", "tls", "token", "list", "clock", "capabilities"];

/// A control plane that serves https; its credentials are a secret that must not be seen again.
fn start(change: impl FnOnce(&mut Config)) -> Simulator {
    testbed::install_crypto_provider();
    let mut config = Config::default();
    config.tls.enabled = true;
    config.tenants[0].identities = vec![Identity::new("operator", CANARY)];
    change(&mut config);
    Simulator::start(config).unwrap()
}

fn credentials(url: &str, secret: &str) -> String {
    format!("url: {url}\nclientID: operator\nclientSecret: {secret}\n")
}

/// Asks the doctor about a URL, trusting `ca`.
async fn examine(tool: &Tool, url: &str, secret: &str, ca: Option<&str>, more: &[&str]) -> Said {
    let file = tool.file("credentials.yaml", &credentials(url, secret));
    let ca = ca.map(|pem| tool.file("ca.pem", pem));
    let mut args = vec!["doctor", "--credentials", &file, "-o", "json"];
    args.extend(ca.iter().flat_map(|file| ["--ca-file", file.as_str()]));
    args.extend(more);
    let said = tool.run(&args).await;
    assert!(!format!("{said:?}").contains(CANARY), "{said:#?}");
    said
}

/// The finding of a check.
pub fn finding<'a>(report: &'a Value, about: &str, check: &str) -> &'a Value {
    let found = report["checks"].as_array().unwrap().iter();
    let mut found = found.filter(|finding| finding["about"] == about && finding["check"] == check);
    let finding = found.next().unwrap_or_else(|| panic!("no {check} of {about}: {report:#}"));
    assert!(found.next().is_none(), "{check} of {about} comes twice: {report:#}");
    finding
}

/// Checks that a finding has this result, says this, and gives this advice.
pub fn says(report: &Value, about: &str, check: &str, result: &str, found: &str, advice: &str) {
    let finding = finding(report, about, check);
    let has = |field: &str, part: &str| finding[field].as_str().unwrap_or_default().contains(part);
    assert!(finding["result"] == result && has("found", found) && has("advice", advice), "{finding:#} in {report:#}");
    let has_advice = finding.get("advice").is_some();
    assert_eq!(has_advice, result == "warning" || result == "problem", "advice is for what is wrong: {finding:#}");
}

/// Checks the results of all steps; the first letter of each: ok, warning, problem, skipped.
fn results(report: &Value, about: &str, want: &str) {
    let got: String = STEPS.iter().map(|step| &finding(report, about, step)["result"].as_str().unwrap()[..1]).collect();
    assert_eq!(got, want, "{report:#}");
}

const PLANE: &str = "control plane default";

#[tokio::test(flavor = "multi_thread")]
async fn all_is_well_in_every_format() {
    let (simulator, tool) = (start(|_| ()), Tool::alone());
    let ca = simulator.ca_pem().unwrap();
    let said = examine(&tool, simulator.url(), CANARY, Some(&ca), &[]).await.exits(0);
    let report = said.json();
    assert_eq!(report["result"], "ok");
    results(&report, PLANE, "oooooooo");
    says(&report, "kubernetes", "access", "skipped", "left out: with --credentials", "");
    says(&report, PLANE, "connection", "ok", simulator.url(), "");
    says(&report, PLANE, "list", "ok", "0 registrations of tenant 1001", "");
    says(&report, PLANE, "capabilities", "ok", "2.25 or newer", "");
    assert_eq!(said.stderr, "");

    let file = tool.file("credentials.yaml", &credentials(simulator.url(), CANARY));
    let file_of_ca = tool.file("ca.pem", &ca);
    let args = ["doctor", "--credentials", &file, "--ca-file", &file_of_ca, "--control-plane", "prod"];
    let table = tool.run(&args).await.exits(0).notes(&["9 checks: 8 ok, 0 warnings, 0 problems, 1 skipped"]);
    let lines: Vec<_> = table.stdout.lines().collect();
    assert_eq!(lines.len(), 10, "{table:#?}");
    assert!(lines[0].starts_with("RESULT    ABOUT"), "{table:#?}");
    assert!(lines[2].starts_with("ok        control plane prod   connection"), "{table:#?}");
    let untrusted = tool.run(&["doctor", "--credentials", &file]).await.exits(2).notes(&["1 problem, 5 skipped"]);
    let lines: Vec<_> = untrusted.stdout.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("problem   control plane default   tls ")).unwrap();
    assert!(lines[at + 1].starts_with("  what to do: put the certificate") && lines.len() == 11, "{untrusted:#?}");
    let yaml = tool.run(&[&args[..], &["-o", "yaml"]].concat()).await.exits(0);
    let value: Value = serde_saphyr::from_str(&yaml.stdout).unwrap();
    results(&value, "control plane prod", "oooooooo");
    assert!(!format!("{table:?}{yaml:?}").contains(CANARY));
    assert_eq!(changes(&simulator, 0), Vec::<String>::new());
}

#[tokio::test]
async fn bad_dns() {
    let tool = Tool::alone();
    let report = examine(&tool, "https://no-such-tenant.invalid", CANARY, None, &[]).await.exits(2).json();
    results(&report, PLANE, "opssssss");
    says(&report, PLANE, "dns", "problem", "the host name does not resolve", "check `url`");
    says(&report, PLANE, "dns", "problem", "no-such-tenant.invalid", "DNS");
}

#[tokio::test]
async fn refused() {
    let tool = Tool::alone();
    let [port] = testbed::free_ports::<1>().unwrap();
    let report = examine(&tool, &format!("https://127.0.0.1:{port}"), CANARY, None, &[]).await.exits(2).json();
    results(&report, PLANE, "oopsssss");
    says(&report, PLANE, "connect", "problem", "the connection was refused", "check host and port");
}

/// A server that takes the connection and says nothing: nobody waits for it for long.
#[tokio::test]
async fn silent() {
    let tool = Tool::alone();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let asked = examine(&tool, &url, CANARY, None, &[]);
    let said = tokio::time::timeout(Duration::from_secs(30), asked).await.unwrap().exits(2);
    results(&said.json(), PLANE, "oopsssss");
    says(&said.json(), PLANE, "connect", "problem", "no connection within the time-out", "firewalls");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_ca() {
    let (simulator, other, tool) = (start(|_| ()), start(|_| ()), Tool::alone());
    for ca in [None, Some(other.ca_pem().unwrap())] {
        let report = examine(&tool, simulator.url(), CANARY, ca.as_deref(), &[]).await.exits(2).json();
        results(&report, PLANE, "ooopssss");
        says(&report, PLANE, "tls", "problem", "an authority that is not trusted here", "--ca-file");
    }
}

/// A control plane whose certificate comes from an authority of its own, with the authority.
fn with_certificate(tool: &Tool, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> (Simulator, String) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = authority.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(authority, key);
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    let files = ServerCertificate {
        certificate: tool.file("server.pem", &certificate).into(),
        key: tool.file("server.key", &key.serialize_pem()).into(),
    };
    (start(|config| config.server_certificate = Some(files)), ca)
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_certificate() {
    let tool = Tool::alone();
    let (simulator, ca) = with_certificate(&tool, &["127.0.0.1"], |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let report = examine(&tool, simulator.url(), CANARY, Some(&ca), &[]).await.exits(2).json();
    results(&report, PLANE, "ooopssss");
    says(&report, PLANE, "tls", "problem", "has expired", "renew it, and check the clock");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_of_another_host_and_of_tomorrow() {
    let tool = Tool::alone();
    let (simulator, ca) = with_certificate(&tool, &["other.example.com"], |_| ());
    let report = examine(&tool, simulator.url(), CANARY, Some(&ca), &[]).await.exits(2).json();
    results(&report, PLANE, "ooopssss");
    says(&report, PLANE, "tls", "problem", "is for another host", "must use a name that the certificate holds");

    let (simulator, ca) =
        with_certificate(&tool, &["127.0.0.1"], |params| params.not_before = date_time_ymd(2100, 1, 1));
    let report = examine(&tool, simulator.url(), CANARY, Some(&ca), &[]).await.exits(2).json();
    results(&report, PLANE, "ooopssss");
    says(&report, PLANE, "tls", "problem", "is not valid yet", "check the clocks");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_tls_at_all() {
    let (simulator, tool) = (start(|config| config.tls.enabled = false), Tool::alone());
    let url = simulator.url().replace("http://", "https://");
    let report = examine(&tool, &url, CANARY, None, &[]).await.exits(2).json();
    results(&report, PLANE, "ooopssss");
    says(&report, PLANE, "tls", "problem", "does not speak TLS", "check scheme and port");
    // Asked for, it works, and is no good.
    let report = examine(&tool, simulator.url(), CANARY, None, &[]).await.exits(1).json();
    assert_eq!(report["result"], "warning");
    results(&report, PLANE, "ooowoooo");
    says(&report, PLANE, "tls", "warning", "in the clear", "use an https URL");
    let report = examine(&tool, simulator.url(), CANARY, None, &["--allow-insecure-http=false"]).await.exits(2).json();
    results(&report, PLANE, "psssssss");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_credentials() {
    let tool = Tool::alone();
    for status in [400, 401, 403] {
        let simulator = start(|config| {
            config.token.bad_credential_status = status;
            config.tenants[0].identities = vec![Identity::new("operator", "another-secret")];
        });
        let ca = simulator.ca_pem().unwrap();
        let report = examine(&tool, simulator.url(), CANARY, Some(&ca), &[]).await.exits(2).json();
        // The clock was told all the same.
        results(&report, PLANE, "oooopsos");
        says(
            &report,
            PLANE,
            "token",
            "problem",
            &format!("refused, status {status}"),
            "check the client id and secret",
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_credentials_file() {
    let tool = Tool::alone();
    let table = [
        (
            format!("url: https://x.invalid\nclientID: operator\nclientsecret: {CANARY}\n"),
            "`clientSecret` is missing",
            "must be spelled",
        ),
        (format!("[{CANARY}"), "is neither YAML nor JSON", "it must hold the keys of a connection Secret"),
    ];
    for (content, found, advice) in table {
        let file = tool.file("bad.yaml", &content);
        let said = tool.run(&["doctor", "--credentials", &file, "-o", "json"]).await.exits(2);
        assert!(!format!("{said:?}").contains(CANARY), "{said:#?}");
        results(&said.json(), PLANE, "psssssss");
        says(&said.json(), PLANE, "connection", "problem", found, advice);
    }
    let file = tool.file("good.yaml", &credentials("https://x.invalid", CANARY));
    let ca = tool.file("ca.pem", "no certificate");
    let args = ["doctor", "--credentials", &file, "--ca-file", &ca, "-o", "json"];
    let report = tool.run(&args).await.exits(2).json();
    says(&report, PLANE, "connection", "problem", "the CA bundle holds no certificate", "BEGIN CERTIFICATE");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_permission() {
    let (simulator, tool) = (
        start(|config| config.tenants[0].identities[0].actions.retain(|action| *action != Access::Read)),
        Tool::alone(),
    );
    let ca = simulator.ca_pem().unwrap();
    let report = examine(&tool, simulator.url(), CANARY, Some(&ca), &[]).await.exits(2).json();
    results(&report, PLANE, "ooooopos");
    says(&report, PLANE, "list", "problem", "lack a permission, status 403", "give the service account a role");
}

#[tokio::test(flavor = "multi_thread")]
async fn skewed_clock() {
    let tool = Tool::alone();
    let table = [
        (30, "ok", "within a minute", 0),
        (120, "warning", " s ahead of", 1),
        (-120, "warning", " s behind", 1),
        (3600, "problem", " s ahead of", 2),
        (-3600, "problem", " s behind", 2),
    ];
    for (seconds, result, found, code) in table {
        let start_at = Timestamp::now() + SignedDuration::from_secs(seconds);
        let simulator = start(|config| config.clock_start = Some(start_at));
        let ca = simulator.ca_pem().unwrap();
        let report = examine(&tool, simulator.url(), CANARY, Some(&ca), &[]).await.exits(code).json();
        says(&report, PLANE, "clock", result, found, if code == 0 { "" } else { "by NTP" });
        assert_eq!(report["result"], result);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_old_for_a_feature() {
    let tool = Tool::alone();
    let with = |profile| start(|config| config.profile = profile);
    let simulator = with(Profile::Cp224);
    let ca = simulator.ca_pem().unwrap();
    let report = examine(&tool, simulator.url(), CANARY, Some(&ca), &["--token-api", "V2"]).await.exits(1).json();
    results(&report, PLANE, "ooooooow");
    says(&report, PLANE, "capabilities", "warning", "older than 2.25", "upgrade it");

    let simulator = with(Profile::Cp222);
    let ca = simulator.ca_pem().unwrap();
    let report = examine(&tool, simulator.url(), CANARY, Some(&ca), &["--token-api", "V2"]).await.exits(2).json();
    results(&report, PLANE, "oooopsos");
    says(&report, PLANE, "token", "problem", "too old for tokenApi V2", "use --token-api V1, or upgrade");
    examine(&tool, simulator.url(), CANARY, Some(&ca), &["--token-api", "V1"]).await.exits(1);
}

#[tokio::test]
async fn no_kubernetes_and_mistakes() {
    let tool = Tool::alone();
    let report = tool.run(&["doctor", "-o", "json"]).await.exits(2).json();
    says(&report, "kubernetes", "access", "problem", "no way to a Kubernetes API", "--url and --credentials");
    for check in ["crd-runaiclusters", "rbac-objects", "control-planes"] {
        says(&report, "kubernetes", check, "skipped", "no access to Kubernetes", "");
    }
    tool.run(&["doctor", "--as", "a/b/c"]).await.exits(2).notes(&["must be NAME, NAMESPACE/NAME"]);
    tool.run(&["doctor", "--as", "a", "--credentials", "x"]).await.exits(2).notes(&["cannot be used with"]);
    let help = tool.run(&["doctor", "--help"]).await.exits(0);
    assert!(help.stdout.contains("Exit code: 0 all is well, 1 there are warnings, 2 there are problems"), "{help:#?}");
}
