//! The election: its decision by tables, and two contenders on one Lease kept by a small API in memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::Client;
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

use super::{Action, Boottime, Election, Ended, Leadership, Observed, Tenure, Timing, decide, written};

const LIMIT: Duration = Duration::from_secs(30);

/// Short, but in the proportions of the real one.
const QUICK: Timing = Timing {
    duration: Duration::from_secs(1),
    renew_deadline: Duration::from_millis(600),
    retry: Duration::from_millis(60),
    call_timeout: Duration::from_millis(300),
};

fn record(holder: Option<&str>, seconds: Option<i32>) -> Lease {
    let spec = LeaseSpec {
        holder_identity: holder.map(str::to_owned),
        lease_duration_seconds: seconds,
        ..LeaseSpec::default()
    };
    Lease { spec: Some(spec), ..Lease::default() }
}

#[test]
fn the_decision() {
    let timing = Timing::default();
    let now = Boottime::now().after(Duration::from_secs(1000));
    let ago = |seconds: f64| Boottime::now().after(Duration::from_secs_f64(1000.0 - seconds));
    let seen = |lease, seconds| Some(Observed { lease, since: ago(seconds), exists: true });
    let deleted = |lease, seconds| Some(Observed { lease, since: ago(seconds), exists: false });
    let cases = [
        ("no record", None, Action::Create),
        ("no spec", seen(Lease::default(), 0.0), Action::Take),
        ("no holder", seen(record(None, Some(15)), 0.0), Action::Take),
        ("released", seen(record(Some(""), Some(15)), 0.0), Action::Take),
        ("ours", seen(record(Some("me"), Some(15)), 0.0), Action::Renew),
        ("ours and old", seen(record(Some("me"), Some(15)), 99.0), Action::Renew),
        ("theirs", seen(record(Some("you"), Some(15)), 0.0), Action::Wait),
        ("theirs, almost expired", seen(record(Some("you"), Some(15)), 14.0), Action::Wait),
        ("theirs, expired", seen(record(Some("you"), Some(15)), 16.0), Action::Take),
        ("theirs, longer by their word", seen(record(Some("you"), Some(60)), 16.0), Action::Wait),
        ("theirs, no word", seen(record(Some("you"), None), 14.0), Action::Wait),
        ("theirs, no word, expired", seen(record(Some("you"), None), 16.0), Action::Take),
        ("deleted, ours", deleted(record(Some("me"), Some(15)), 0.0), Action::Create),
        ("deleted, was free", deleted(record(Some(""), Some(15)), 0.0), Action::Create),
        ("deleted, but its holder may not know", deleted(record(Some("you"), Some(15)), 14.0), Action::Wait),
        ("deleted, expired", deleted(record(Some("you"), Some(15)), 16.0), Action::Create),
        ("theirs, nonsense, expired", seen(record(Some("you"), Some(-1)), 16.0), Action::Take),
    ];
    for (name, observed, expected) in cases {
        assert_eq!(decide("me", &timing, observed.as_ref(), now), expected, "{name}");
    }
}

#[test]
fn only_a_change_of_the_spec_is_a_sign_of_life() {
    let start = Boottime::now();
    let later = start.after(Duration::from_secs(5));
    let first = Observed::update(None, record(Some("you"), Some(15)), start);
    let mut touched = record(Some("you"), Some(15));
    touched.metadata.resource_version = Some("9".into());
    let second = Observed::update(Some(first), touched, later);
    assert_eq!(second.since, start, "a touched label prolonged the lease");
    assert_eq!(second.lease.metadata.resource_version.as_deref(), Some("9"));
    let third = Observed::update(Some(second), record(Some("you"), Some(16)), later);
    assert_eq!(third.since, later);
}

#[test]
fn an_old_time_in_the_record_means_nothing() {
    let mut lease = record(Some("you"), Some(15));
    let hour_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1);
    lease.spec.as_mut().unwrap().renew_time = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime(hour_ago));
    let now = Boottime::now();
    let observed = Observed::update(None, lease, now);
    assert_eq!(decide("me", &Timing::default(), Some(&observed), now), Action::Wait);
}

#[test]
fn transitions_count_changes_of_hands() {
    let timing = Timing { duration: Duration::from_millis(1500), ..Timing::default() };
    let created = written("a", &timing, None, false);
    assert_eq!(created.lease_transitions, Some(0));
    assert_eq!(created.lease_duration_seconds, Some(2), "rounded up");
    let renewed = written("a", &timing, Some(&created), true);
    assert_eq!(renewed.lease_transitions, Some(0));
    assert_eq!(renewed.acquire_time, created.acquire_time);
    let taken = written("b", &timing, Some(&renewed), false);
    assert_eq!(taken.lease_transitions, Some(1));
    assert_eq!(taken.holder_identity.as_deref(), Some("b"));
}

#[test]
fn the_fence_closes_without_any_task() {
    // No runtime here at all: only the clock moves.
    let leadership = |renewed| {
        let (_, tenure) = tokio::sync::watch::channel(Tenure::Held { renewed });
        Leadership { tenure, renew_deadline: Duration::from_millis(20) }
    };
    assert!(leadership(Boottime::now().after(Duration::from_secs(60))).is_leader());
    let held = leadership(Boottime::now());
    let deadline = Instant::now() + LIMIT;
    while held.is_leader() {
        assert!(Instant::now() < deadline, "the fence stays open");
    }
}

#[tokio::test]
async fn without_an_election_leadership_is_always_held() {
    let always = Leadership::always();
    assert!(always.is_leader());
    timeout(LIMIT, always.wait_until_leader()).await.unwrap();
    assert!(futures::FutureExt::now_or_never(always.lost()).is_none());
}

#[test]
fn identities_differ() {
    assert_ne!(super::identity(), super::identity());
}

/// One Lease with compare-and-swap on its resourceVersion.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Option<Value>>>);

impl Store {
    fn spec(&self) -> Value {
        self.0.lock().unwrap().as_ref().map_or(Value::Null, |lease| lease["spec"].clone())
    }

    fn holder(&self) -> String {
        self.spec()["holderIdentity"].as_str().unwrap_or_default().to_owned()
    }
}

const UP: u8 = 0;
const ERROR: u8 = 1;
const SILENT: u8 = 2;

/// The way of one contender to the store, which can be cut.
#[derive(Clone, Default)]
struct Wire {
    store: Store,
    fault: Arc<AtomicU8>,
    reads: Arc<AtomicU8>,
    /// When the last write arrived.
    write: Arc<Mutex<Option<Boottime>>>,
}

fn status(code: StatusCode, reason: &str) -> Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
        "message": reason, "code": code.as_u16()});
    (code, Json(body)).into_response()
}

impl Wire {
    async fn faulty(&self) -> Option<Response> {
        match self.fault.load(Ordering::SeqCst) {
            UP => None,
            ERROR => Some(status(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")),
            _ => std::future::pending().await,
        }
    }

    fn client(&self) -> Client {
        let path = "/apis/coordination.k8s.io/v1/namespaces/ops/leases";
        let router = Router::new()
            .route(path, post(create))
            .route(&format!("{path}/{{name}}"), get(read).put(replace))
            .with_state(self.clone());
        Client::new(router, "ops")
    }
}

async fn read(State(wire): State<Wire>) -> Response {
    if let Some(fault) = wire.faulty().await {
        return fault;
    }
    let lease = wire.store.0.lock().unwrap().clone();
    wire.reads.fetch_max(1, Ordering::SeqCst);
    lease.map_or_else(|| status(StatusCode::NOT_FOUND, "NotFound"), |lease| Json(lease).into_response())
}

async fn create(State(wire): State<Wire>, Json(mut lease): Json<Value>) -> Response {
    if let Some(fault) = wire.faulty().await {
        return fault;
    }
    *wire.write.lock().unwrap() = Some(Boottime::now());
    let mut stored = wire.store.0.lock().unwrap();
    if stored.is_some() {
        return status(StatusCode::CONFLICT, "AlreadyExists");
    }
    lease["metadata"]["resourceVersion"] = json!("1");
    *stored = Some(lease.clone());
    (StatusCode::CREATED, Json(lease)).into_response()
}

async fn replace(State(wire): State<Wire>, Json(mut lease): Json<Value>) -> Response {
    if let Some(fault) = wire.faulty().await {
        return fault;
    }
    let mut stored = wire.store.0.lock().unwrap();
    let Some(current) = stored.as_ref() else {
        return status(StatusCode::NOT_FOUND, "NotFound");
    };
    let version = &current["metadata"]["resourceVersion"];
    // As the real one: without a resourceVersion the write would be unconditional, which must not happen here.
    if lease["metadata"]["resourceVersion"] != *version {
        return status(StatusCode::CONFLICT, "Conflict");
    }
    let next = version.as_str().unwrap().parse::<u64>().unwrap() + 1;
    lease["metadata"]["resourceVersion"] = json!(next.to_string());
    *stored = Some(lease.clone());
    Json(lease).into_response()
}

struct Contender {
    leadership: Leadership,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Ended>,
    wire: Wire,
}

fn contend(store: &Store, identity: &str) -> Contender {
    contend_with(store, identity, QUICK)
}

fn contend_with(store: &Store, identity: &str, timing: Timing) -> Contender {
    let wire = Wire { store: store.clone(), ..Wire::default() };
    let election = Election::new(wire.client(), "ops", super::LEASE_NAME, identity.to_owned(), timing);
    let leadership = election.leadership();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(election.run(async move {
        let _ = stopped.await;
    }));
    Contender { leadership, stop, task, wire }
}

async fn leads(contender: &Contender) {
    timeout(LIMIT, contender.leadership.wait_until_leader()).await.expect("never became leader");
}

#[tokio::test]
async fn the_first_creates_the_lease_and_the_second_waits() {
    let store = Store::default();
    let first = contend(&store, "a");
    leads(&first).await;
    assert_eq!(store.spec()["holderIdentity"], "a");
    assert_eq!(store.spec()["leaseTransitions"], 0);
    let second = contend(&store, "b");
    // Several durations: enough renewals to see that the second never gets in between.
    let until = Instant::now() + QUICK.duration * 3;
    while Instant::now() < until {
        assert!(!second.leadership.is_leader());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(first.leadership.is_leader(), "renewals do not keep the lease");
    assert_eq!(store.spec()["leaseTransitions"], 0);
}

#[tokio::test]
async fn of_many_that_start_together_one_leads() {
    let store = Store::default();
    let contenders: Vec<_> = (0..5).map(|n| contend(&store, &format!("c{n}"))).collect();
    timeout(LIMIT, async {
        while !contenders.iter().any(|c| c.leadership.is_leader()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    let until = Instant::now() + QUICK.duration * 2;
    while Instant::now() < until {
        let leaders = contenders.iter().filter(|c| c.leadership.is_leader()).count();
        assert!(leaders <= 1, "{leaders} leaders");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_release_lets_the_standby_in_at_once() {
    let store = Store::default();
    let first = contend(&store, "a");
    leads(&first).await;
    let second = contend(&store, "b");
    first.stop.send(()).unwrap();
    assert_eq!(timeout(LIMIT, first.task).await.unwrap().unwrap(), Ended::Shutdown);
    assert!(!first.leadership.is_leader());
    assert!(futures::FutureExt::now_or_never(first.leadership.lost()).is_none(), "a release is not a loss");
    // Free, or taken already: in no case still ours.
    assert_ne!(store.holder(), "a");
    leads(&second).await;
    assert_eq!(store.spec()["holderIdentity"], "b");
    assert_eq!(store.spec()["leaseTransitions"], 1);
}

#[tokio::test]
async fn a_standby_that_leaves_touches_nothing() {
    let store = Store::default();
    let first = contend(&store, "a");
    leads(&first).await;
    let second = contend(&store, "b");
    second.stop.send(()).unwrap();
    assert_eq!(timeout(LIMIT, second.task).await.unwrap().unwrap(), Ended::Shutdown);
    assert_eq!(store.holder(), "a");
    assert!(first.leadership.is_leader());
}

/// Cuts the leader off and checks that it stops before the standby starts.
async fn cut_off_with(fault: u8) {
    let store = Store::default();
    let first = contend(&store, "a");
    leads(&first).await;
    let second = contend(&store, "b");
    first.wire.fault.store(fault, Ordering::SeqCst);
    let deadline = Instant::now() + LIMIT;
    loop {
        // In this order: whoever sees the second lead must find the first fenced afterwards.
        let (theirs, ours) = (second.leadership.is_leader(), first.leadership.is_leader());
        assert!(!(theirs && ours), "two leaders");
        if theirs {
            break;
        }
        assert!(Instant::now() < deadline, "no takeover");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(timeout(LIMIT, first.task).await.unwrap().unwrap(), Ended::Lost);
    timeout(LIMIT, first.leadership.lost()).await.unwrap();
    assert!(!first.leadership.is_leader());
    assert_eq!(store.spec()["leaseTransitions"], 1);
}

#[tokio::test]
async fn a_leader_that_gets_errors_is_replaced() {
    cut_off_with(ERROR).await;
}

#[tokio::test]
async fn a_leader_that_gets_no_answer_is_replaced() {
    cut_off_with(SILENT).await;
}

#[tokio::test]
async fn a_request_without_an_answer_does_not_hide_the_loss() {
    let store = Store::default();
    let timing = Timing { call_timeout: LIMIT * 2, ..QUICK };
    let first = contend_with(&store, "a", timing);
    leads(&first).await;
    first.wire.fault.store(SILENT, Ordering::SeqCst);
    assert_eq!(timeout(LIMIT, first.task).await.unwrap().unwrap(), Ended::Lost);
}

#[tokio::test]
async fn a_short_failure_costs_nothing() {
    let store = Store::default();
    let first = contend(&store, "a");
    leads(&first).await;
    first.wire.fault.store(ERROR, Ordering::SeqCst);
    tokio::time::sleep(QUICK.retry * 2).await;
    first.wire.fault.store(UP, Ordering::SeqCst);
    let until = Instant::now() + QUICK.duration;
    while Instant::now() < until {
        assert!(!first.task.is_finished(), "gave up too early");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(first.leadership.is_leader());
}

#[tokio::test]
async fn a_lease_taken_by_force_is_a_loss_at_once() {
    let store = Store::default();
    // The fence alone would hold longer than the test waits.
    let timing = Timing { duration: LIMIT * 3, renew_deadline: LIMIT * 2, ..QUICK };
    let first = contend_with(&store, "a", timing);
    leads(&first).await;
    {
        let mut stored = store.0.lock().unwrap();
        let lease = stored.as_mut().unwrap();
        lease["spec"]["holderIdentity"] = json!("intruder");
        lease["metadata"]["resourceVersion"] = json!("1000");
    }
    assert_eq!(timeout(LIMIT, first.task).await.unwrap().unwrap(), Ended::Lost);
    assert_eq!(store.holder(), "intruder");
}

#[tokio::test]
async fn leadership_counts_from_the_start_of_the_request() {
    let store = Store::default();
    let first = contend(&store, "a");
    leads(&first).await;
    let Tenure::Held { renewed } = *first.leadership.tenure.borrow() else {
        panic!("not held");
    };
    let arrived = first.wire.write.lock().unwrap().expect("no write");
    assert!(renewed <= arrived, "the fence stays open longer than others wait");
}

#[tokio::test]
async fn a_foreign_touch_of_the_record_is_survived() {
    let store = Store::default();
    let first = contend(&store, "a");
    leads(&first).await;
    {
        let mut stored = store.0.lock().unwrap();
        let lease = stored.as_mut().unwrap();
        lease["metadata"]["labels"] = json!({"touched": "yes"});
        lease["metadata"]["resourceVersion"] = json!("1000");
    }
    let version = || store.0.lock().unwrap().as_ref().unwrap()["metadata"]["resourceVersion"].clone();
    timeout(LIMIT, async {
        while version() == json!("1000") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("no renewal after the touch");
    assert!(first.leadership.is_leader());
    assert_eq!(store.0.lock().unwrap().as_ref().unwrap()["metadata"]["labels"]["touched"], "yes");
}

#[tokio::test]
async fn a_deleted_lease_is_made_anew_by_its_holder() {
    let store = Store::default();
    let first = contend(&store, "a");
    leads(&first).await;
    let second = contend(&store, "b");
    // The standby has had the time to see who holds the lease, as it is seen to look from its own counter.
    timeout(LIMIT, async {
        while second.wire.reads.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    *store.0.lock().unwrap() = None;
    timeout(LIMIT, async {
        while store.holder().is_empty() {
            assert!(!second.leadership.is_leader());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("not made anew");
    assert_eq!(store.holder(), "a");
    assert!(first.leadership.is_leader());
}
