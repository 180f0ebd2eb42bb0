//! Traces over OTLP: what is sent, when nothing is, and that nobody waits for a collector. The operator as a process, a
//! real API server, the simulated control plane, and a collector over HTTP.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod collector;
#[path = "../e2e/world.rs"]
mod world;

use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::{Value, json};
use testbed::{OperatorOptions, OperatorProcess, wait_until};

use collector::{Collector, Span};
use world::{SOON, Setup, World, uuid};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// Longer than the exporter's default, which is 5 s, would only make the tests longer.
const OFTEN: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "500");
/// What stands in a header for the collector, and in nothing else.
const TOKEN: &str = "canary-of-the-collector";

impl World {
    /// The operator anew, with these variables.
    async fn restart_with(&mut self, env: &[(&str, &str)]) {
        self.operator.sigkill();
        let binary = env!("CARGO_BIN_EXE_runai-cluster-operator");
        let mut options = OperatorOptions::new(binary, self.login.kubeconfig(), self.bed.directory())
            .arg("--leader-elect=false")
            .arg("--log-format=json")
            .env("RUST_LOG", "info,runai_cluster_operator=debug");
        for (name, value) in env {
            options = options.env(*name, *value);
        }
        self.operator = OperatorProcess::start(&options).unwrap();
        self.operator.wait_ready(SOON).await.unwrap();
    }

    async fn register(&self, name: &str) -> Value {
        self.cluster(name, json!({ "domain": format!("https://{name}.example.com"), "version": "2.24" })).await;
        self.until_ready(name).await
    }

    async fn rename(&self, name: &str, to: &str) {
        self.patch(name, json!({ "spec": { "name": to } })).await;
        self.until(name, "renamed", |object| object["status"]["name"] == *to).await;
    }

    fn lines(&self) -> Vec<Value> {
        let logs = self.operator.logs().unwrap();
        logs.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"))).collect()
    }

    /// Lines of the log that hold this text.
    fn said(&self, text: &str) -> usize {
        self.operator.logs().unwrap().lines().filter(|line| line.contains(text)).count()
    }

    /// Whether the process has a thread of the exporter.
    fn exports(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.operator.pid())).unwrap();
        let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        tasks.flatten().map(name).any(|name| name.starts_with("OpenTelemetry"))
    }
}

/// Waits for a pass over the object with these spans below it.
async fn pass_with(collector: &Collector, object: &str, wanted: &[&str]) -> Span {
    let what = format!("a pass over {object} with {wanted:?}");
    let found = wait_until(SOON, &what, async || {
        let has = |pass: &Span| wanted.iter().all(|name| collector.below(pass).contains(*name));
        let passes = collector.passes(object);
        passes.iter().find(|pass| has(pass)).cloned().ok_or_else(|| {
            passes.iter().map(|pass| format!("{:?}", collector.below(pass))).collect::<Vec<_>>().join("; ")
        })
    });
    found.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_is_told_in_traces_that_hold_no_secret_and_never_end() {
    let collector = Collector::start().await;
    let mut world = World::start(Setup { chart: &["installInfo.enabled=true"], ..Setup::default() }).await;
    let headers = format!("authorization=Bearer {TOKEN}");
    let env = [
        (ENDPOINT, collector.url.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", headers.as_str()),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_RESOURCE_ATTRIBUTES", "k8s.cluster.name=hub"),
        OFTEN,
    ];
    world.restart_with(&env).await;
    let started = Instant::now();
    let object = world.register("east").await;
    world.patch("east", json!({ "spec": { "installInfo": { "secretName": "east-agent" } } })).await;
    world.until_condition("east", "CredentialsPublished", "True", "CredentialsPublished").await;

    let pass = pass_with(&collector, "east", &["runai create_cluster", "patch", "patch_status"]).await;
    assert_eq!((pass.parent.as_str(), pass.kind), ("", 1), "{pass:?}");
    assert_eq!(pass.fields["namespace"], "team-a");
    assert_eq!(pass.resource["service.name"], "runai-cluster-operator");
    assert_eq!(pass.resource["k8s.cluster.name"], "hub");
    let spans = collector.spans();
    let create = spans.iter().find(|span| span.name == "runai create_cluster").unwrap();
    assert_eq!((create.kind, create.failed), (3, false), "{create:?}");
    assert_eq!(create.fields["http.response.status_code"], "201");
    assert_eq!(create.fields["http.request.method"], "POST");
    pass_with(&collector, "east", &["runai install_info"]).await;
    // The lines of a pass lead to its trace.
    let line = world.lines().into_iter().find(|line| line["span"]["trace_id"] == pass.trace.as_str());
    assert_eq!(line.unwrap_or_else(|| panic!("no line of {pass:?}"))["span"]["object"], "east");

    // The exporter's thread lives as long as the operator; one with an asynchronous client dies at its first batch.
    world.holds(Duration::from_secs(61).saturating_sub(started.elapsed()), "running", async || Ok(())).await;
    world.rename("east", "east-2").await;
    pass_with(&collector, "east", &["runai rename_cluster"]).await;
    // What is not sent yet when it is told to end is sent then.
    world.restart_with(&[(ENDPOINT, collector.url.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "600000")]).await;
    world.rename("east", "east-3").await;
    let before = collector.spans().len();
    assert!(world.operator.sigterm_and_wait(SOON).await.unwrap().success());
    let last = &collector.spans()[before..];
    assert!(last.iter().any(|span| span.name == "runai rename_cluster"), "{last:?}");
    every_span_has_a_root(&collector);
    no_secret_was_sent(&world, &collector, &object).await;
}

fn every_span_has_a_root(collector: &Collector) {
    let spans = collector.spans();
    for span in &spans {
        if span.parent.is_empty() {
            assert!(matches!(span.name.as_str(), "reconcile" | "poll"), "{span:?}");
        } else {
            let parent = spans.iter().find(|other| other.trace == span.trace && other.id == span.parent);
            // What was under way when a process was killed has no end and was not sent.
            let killed = parent.is_none() && span.name.starts_with("runai list");
            assert!(killed || parent.is_some_and(|parent| parent.parent.is_empty()), "{span:?} {parent:?}");
        }
    }
    assert!(spans.iter().any(|span| span.name == "poll"));
}

async fn no_secret_was_sent(world: &World, collector: &Collector, object: &Value) {
    let secret = world.read("/api/v1/namespaces/team-a/secrets/east-agent").await.unwrap();
    assert!(!secret["data"]["clientSecret"].is_null(), "{secret}");
    let of_agent = world.kubectl(&[
        "get",
        "secret",
        "east-agent",
        "-n",
        "team-a",
        "-o",
        "go-template={{.data.clientSecret | base64decode}}",
    ]);
    let of_agent = of_agent.await;
    assert!(of_agent.len() > 8, "{of_agent}");
    let (sent, logs) = (collector.bodies(), world.operator.logs().unwrap());
    let sent = String::from_utf8_lossy(&sent);
    for secret in ["operator-secret", "Bearer", TOKEN, &of_agent] {
        assert!(!sent.contains(secret), "{secret} was sent");
        assert!(!logs.contains(secret), "{secret} was logged");
    }
    // The search finds what is there.
    assert!(sent.contains("runai create_cluster") && sent.contains("team-a"));
    assert!(!uuid(object).is_nil());
    let known = |headers: &http::HeaderMap| {
        headers.get("authorization").is_some_and(|value| value == "Bearer canary-of-the-collector")
    };
    assert!(collector.headers().iter().any(known), "the header was meant for the collector");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_unless_asked_for() {
    let collector = Collector::start().await;
    let mut world = World::start(Setup::default()).await;
    let endpoint = (ENDPOINT, collector.url.as_str());
    let table: [(&[(&str, &str)], &str); 5] = [
        (&[], ""),
        (&[endpoint, ("OTEL_SDK_DISABLED", "true")], ""),
        (&[endpoint, ("OTEL_TRACES_EXPORTER", "none")], ""),
        (&[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], r#"set it to \"http/protobuf\""#),
        (&[(ENDPOINT, "collector:4317")], "OTEL_EXPORTER_OTLP_ENDPOINT must be a URL"),
    ];
    for (number, (env, says)) in table.iter().enumerate() {
        let often: Vec<_> = env.iter().copied().chain([OFTEN]).collect();
        world.restart_with(&often).await;
        world.register(&format!("quiet-{number}")).await;
        assert!(!world.exports(), "{env:?}");
        assert_eq!(world.said("no traces"), usize::from(!says.is_empty()), "{env:?}");
        assert!(world.said(says) > 0, "{env:?}");
        let span = world.lines().into_iter().find(|line| !line["span"].is_null());
        assert_eq!(span, None, "without traces a span would only make lines longer");
    }
    // The exporter is there when it is wanted, and so is its thread.
    world.restart_with(&[endpoint, OFTEN]).await;
    assert!(world.exports());
    assert!(
        collector.spans().iter().all(|span| !span.fields.get("object").is_some_and(|name| name.starts_with("quiet")))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_collector() {
    let collector = Collector::start().await;
    collector.answer(StatusCode::UNAUTHORIZED);
    let mut world = World::start(Setup::default()).await;
    world.restart_with(&[(ENDPOINT, collector.url.as_str()), OFTEN]).await;
    world.register("one").await;
    let refused = wait_until(SOON, "three refused batches", async || {
        let sent = collector.headers().len();
        if sent >= 3 { Ok(()) } else { Err(sent) }
    });
    refused.await.unwrap();
    assert_eq!(world.said("traces are not taken"), 1, "said once");
    assert_eq!(world.said("status 401"), 1);
    collector.answer(StatusCode::OK);
    world.register("two").await;
    pass_with(&collector, "two", &["runai create_cluster"]).await;
    assert_eq!(world.said("traces are taken again"), 1);

    // One that takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    world.restart_with(&[(ENDPOINT, &url), OFTEN]).await;
    world.register("three").await;
    let asked = Instant::now();
    assert!(world.operator.sigterm_and_wait(SOON).await.unwrap().success());
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(10), "the end took {took:?}");
}
