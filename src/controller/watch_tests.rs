//! The watch against a scripted API: what it asks for, when, and what it tells. Time is virtual.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods, reason = "a short stop of the thread is what is being tested")]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        reflector::{ObjectRef, Store, store},
        watcher,
    },
};
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, timeout},
};

use super::{Change, HEALTHY_AFTER, LAG, LAST_DELAY, Next, Recovery, Watch};
use crate::telemetry::health::Liveness;

/// Virtual time for anything to happen.
const LIMIT: Duration = Duration::from_secs(600);

enum Reply {
    /// A whole list, or the events of a watch that stays open.
    Good(Vec<Value>),
    /// Events of a watch that the server closes.
    Closed(Vec<Value>),
    /// An event of a watch, a while after its start.
    Late(Duration, Value),
    Fail(u16),
    /// No answer, ever.
    Silent,
}

#[derive(Clone, Debug, PartialEq)]
struct Asked {
    watch: bool,
    version: Option<String>,
    at: Duration,
}

/// Answers lists and watches from two scripts; when a script ends, lists are empty and watches stay silent.
#[derive(Clone)]
struct Fake(Arc<Mutex<Script>>);

struct Script {
    lists: VecDeque<Reply>,
    watches: VecDeque<Reply>,
    asked: Vec<Asked>,
    accept: Vec<String>,
    start: Instant,
}

fn fake(lists: Vec<Reply>, watches: Vec<Reply>) -> Fake {
    let script = Script {
        lists: lists.into(),
        watches: watches.into(),
        asked: Vec::new(),
        accept: Vec::new(),
        start: Instant::now(),
    };
    Fake(Arc::new(Mutex::new(script)))
}

impl Fake {
    fn client(&self) -> Client {
        Client::new(Router::new().fallback(answer).with_state(self.clone()), "team")
    }

    fn asked(&self, watch: bool) -> Vec<Asked> {
        self.0.lock().unwrap().asked.iter().filter(|asked| asked.watch == watch).cloned().collect()
    }
}

fn object(name: &str, version: u32) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "team",
        "uid": format!("uid-{name}"), "resourceVersion": version.to_string(),
        "managedFields": [{"manager": "kubectl"}],
        "annotations": {super::LAST_APPLIED: "{}", "kept": "yes"}}})
}

fn event(kind: &str, object: &Value) -> Value {
    json!({"type": kind, "object": object})
}

fn gone() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410,
        "message": "too old resource version"})
}

async fn answer(State(fake): State<Fake>, RawQuery(query): RawQuery, headers: HeaderMap, uri: Uri) -> Response {
    match fake.answer(&query.unwrap_or_default(), &headers, &uri) {
        Some(response) => response,
        None => std::future::pending().await,
    }
}

impl Fake {
    /// The next answer of the script; `None` for silence.
    fn answer(&self, query: &str, headers: &HeaderMap, uri: &Uri) -> Option<Response> {
        let parameter = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let watch = parameter("watch") == Some("true");
        let mut script = self.0.lock().unwrap();
        let at = script.start.elapsed();
        script.asked.push(Asked { watch, version: parameter("resourceVersion").map(str::to_owned), at });
        script.accept.push(headers.get("accept").map_or(String::new(), |accept| accept.to_str().unwrap().to_owned()));
        assert!(uri.path().starts_with("/api/v1/"), "{uri}");
        let reply = if watch { script.watches.pop_front() } else { script.lists.pop_front() };
        let lines = |events: Vec<Value>| {
            stream::iter(events).map(|event| Ok::<_, std::convert::Infallible>(Bytes::from(format!("{event}\n"))))
        };
        Some(match (watch, reply.unwrap_or(Reply::Good(Vec::new()))) {
            (true, Reply::Good(events)) => Body::from_stream(lines(events).chain(stream::pending())).into_response(),
            (true, Reply::Closed(events)) => Body::from_stream(lines(events)).into_response(),
            (true, Reply::Late(pause, event)) => {
                let events = stream::once(tokio::time::sleep(pause)).flat_map(move |()| lines(vec![event.clone()]));
                Body::from_stream(events.chain(stream::pending())).into_response()
            }
            (false, Reply::Good(items) | Reply::Closed(items)) => {
                let kind = if uri.path().ends_with("secrets") { "PartialObjectMetadataList" } else { "ConfigMapList" };
                let version = 100 + script.asked.len();
                let list = json!({"apiVersion": "v1", "kind": kind, "items": items,
                "metadata": {"resourceVersion": version.to_string()}});
                Json(list).into_response()
            }
            (_, Reply::Silent) | (false, Reply::Late(..)) => return None,
            (_, Reply::Fail(410)) => (StatusCode::GONE, Json(gone())).into_response(),
            (_, Reply::Fail(code)) => {
                let body = json!({"kind": "Status", "status": "Failure", "reason": "Broken", "code": code,
                "message": "scripted"});
                (StatusCode::from_u16(code).unwrap(), Json(body)).into_response()
            }
        })
    }
}

struct Running {
    changes: mpsc::UnboundedReceiver<Change<ConfigMap>>,
    store: Store<ConfigMap>,
    synced: watch::Receiver<bool>,
    doubt: Arc<Notify>,
    _task: tokio::task::JoinSet<()>,
}

fn run(fake: &Fake) -> Running {
    let (store, writer) = store();
    let (sender, changes) = mpsc::unbounded_channel();
    let seen = store.clone();
    let on_change = move |change: Change<ConfigMap>| {
        // Whoever hears of a change finds the store in step with it.
        match &change {
            Change::Applied(object) => assert!(seen.get(&ObjectRef::from_obj(&**object)).is_some()),
            Change::Deleted(_) | Change::Vanished(_) | Change::Resynced => (),
        }
        let _ = sender.send(change);
    };
    let doubt: Arc<Notify> = Arc::default();
    let watch = Watch::new("config maps", Api::all(fake.client()), watcher::Config::default(), writer, on_change)
        .with_doubt(Arc::clone(&doubt));
    let synced = watch.synced();
    let mut task = tokio::task::JoinSet::new();
    task.spawn(async move {
        watch.run().await;
    });
    Running { changes, store, synced, doubt, _task: task }
}

impl Running {
    /// The changes up to and with `last`, sorted, for the order within a list is arbitrary.
    async fn until(&mut self, last: &str) -> Vec<String> {
        let mut told = Vec::new();
        timeout(LIMIT, async {
            while told.last().map(String::as_str) != Some(last) {
                told.push(match self.changes.recv().await.unwrap() {
                    Change::Applied(object) => format!("+{}", object.name_any()),
                    Change::Deleted(object) => format!("-{}", object.name_any()),
                    Change::Vanished(object) => format!("?{}", object.name_any()),
                    Change::Resynced => "resynced".to_owned(),
                });
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{last} did not come"));
        told.sort();
        told
    }
}

#[tokio::test(start_paused = true)]
async fn list_and_events_reach_the_store_and_the_listener() {
    let events = vec![
        event("ADDED", &object("c", 11)),
        event("MODIFIED", &object("a", 12)),
        event("DELETED", &object("b", 13)),
        event("ADDED", &object("end", 14)),
    ];
    let fake = fake(vec![Reply::Good(vec![object("a", 1), object("b", 2)])], vec![Reply::Good(events)]);
    let mut running = run(&fake);
    assert_eq!(running.until("resynced").await, ["+a", "+b", "resynced"]);
    assert!(*running.synced.borrow());
    assert_eq!(running.until("+end").await, ["+a", "+c", "+end", "-b"]);
    let mut names: Vec<_> = running.store.state().iter().map(|object| object.name_any()).collect();
    names.sort();
    assert_eq!(names, ["a", "c", "end"]);
}

#[tokio::test(start_paused = true)]
async fn ballast_is_dropped_and_other_annotations_stay() {
    let events = vec![event("ADDED", &object("b", 11))];
    let fake = fake(vec![Reply::Good(vec![object("a", 1)])], vec![Reply::Good(events)]);
    let mut running = run(&fake);
    running.until("+b").await;
    assert_eq!(running.store.len(), 2);
    for object in running.store.state() {
        assert!(object.metadata.managed_fields.is_none());
        assert_eq!(object.annotations().keys().collect::<Vec<_>>(), ["kept"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_refused_with_410_leads_to_a_list_at_once() {
    let fake = fake(
        vec![Reply::Good(vec![object("a", 1)]), Reply::Good(vec![object("a", 1), object("b", 9)])],
        vec![Reply::Fail(410)],
    );
    let mut running = run(&fake);
    assert_eq!(running.until("resynced").await, ["+a", "resynced"]);
    assert_eq!(running.until("resynced").await, ["+b", "resynced"], "unchanged objects are not told again");
    let lists = fake.asked(false);
    assert_eq!(lists.len(), 2);
    assert!(lists[1].at - lists[0].at < Duration::from_secs(1), "{lists:?}");
}

#[tokio::test(start_paused = true)]
async fn an_error_event_410_leads_to_a_list_at_once() {
    let fake = fake(
        vec![Reply::Good(vec![object("a", 1)]), Reply::Good(vec![object("b", 9)])],
        vec![Reply::Good(vec![event("ERROR", &gone())])],
    );
    let mut running = run(&fake);
    assert_eq!(running.until("resynced").await, ["+a", "resynced"]);
    assert_eq!(running.until("resynced").await, ["+b", "?a", "resynced"]);
    let lists = fake.asked(false);
    assert!(lists[1].at - lists[0].at < Duration::from_secs(1), "{lists:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_always_refused_does_not_list_without_a_pause() {
    let fake = fake(Vec::new(), (0..200).map(|_| Reply::Fail(410)).collect());
    let mut running = run(&fake);
    while fake.asked(false).len() < 20 {
        running.until("resynced").await;
    }
    let lists = fake.asked(false);
    let spread = lists[19].at - lists[9].at;
    assert!(spread > LAST_DELAY * 5, "ten lists within {spread:?}");
}

#[tokio::test(start_paused = true)]
async fn failing_lists_are_retried_with_growing_pauses() {
    let lists = (0..4).map(|_| Reply::Fail(500)).chain([Reply::Good(vec![object("a", 1)])]).collect();
    let fake = fake(lists, Vec::new());
    let mut running = run(&fake);
    assert!(!*running.synced.borrow());
    assert_eq!(running.until("resynced").await, ["+a", "resynced"]);
    assert!(*running.synced.borrow());
    let asked = fake.asked(false);
    let pauses: Vec<_> = asked.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs_f64()).collect();
    assert_eq!(pauses.len(), 4);
    for (pause, full) in pauses.iter().zip([0.8, 1.6, 3.2, 6.4]) {
        assert!((full * 0.74..=full + 0.1).contains(pause), "{pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_keeps_failing_is_built_anew() {
    let watches = (0..5).map(|_| Reply::Fail(500)).collect();
    let fake = fake(vec![Reply::Good(vec![object("a", 1)]), Reply::Good(vec![object("b", 9)])], watches);
    let mut running = run(&fake);
    running.until("resynced").await;
    assert_eq!(running.until("resynced").await, ["+b", "?a", "resynced"]);
    assert_eq!(fake.asked(false).len(), 2);
    let watches = fake.asked(true);
    assert!(watches.len() >= 5);
    assert!(watches[..5].iter().all(|watch| watch.version == watches[0].version), "{watches:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_watch_is_built_anew_when_something_was_missed() {
    let lists = vec![Reply::Good(vec![object("a", 1)]), Reply::Good(vec![object("a", 9)])];
    let fake = fake(lists, vec![Reply::Silent]);
    let mut running = run(&fake);
    running.until("resynced").await;
    tokio::time::sleep(HEALTHY_AFTER).await;
    assert_eq!(fake.asked(false).len(), 1, "silence alone says nothing");
    // Said again and again, as by an object that tries again and again.
    let doubt = Arc::clone(&running.doubt);
    let said = async move {
        loop {
            doubt.notify_one();
            tokio::time::sleep(LAG / 20).await;
        }
    };
    let begun = Instant::now();
    let told = tokio::select! {
        told = running.until("resynced") => told,
        () = said => unreachable!(),
    };
    assert_eq!(told, ["+a", "resynced"]);
    let after = begun.elapsed();
    assert!((LAG..LAG * 2).contains(&after), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_only_lags_goes_on() {
    let late = Reply::Late(HEALTHY_AFTER, event("MODIFIED", &object("a", 2)));
    let fake = fake(vec![Reply::Good(vec![object("a", 1)])], vec![late]);
    let mut running = run(&fake);
    running.until("resynced").await;
    tokio::time::sleep(HEALTHY_AFTER - LAG / 2).await;
    running.doubt.notify_one();
    tokio::task::yield_now().await;
    // Two more who have found the same, before the event comes.
    running.doubt.notify_one();
    running.until("+a").await;
    tokio::time::sleep(LIMIT).await;
    assert_eq!(fake.asked(false).len(), 1, "the event answers all doubts");
}

#[tokio::test(start_paused = true)]
async fn a_closed_watch_goes_on_where_it_stopped() {
    let fake = fake(
        vec![Reply::Good(vec![object("a", 1)])],
        vec![
            Reply::Closed(vec![event("ADDED", &object("b", 207))]),
            Reply::Fail(503),
            Reply::Good(vec![event("ADDED", &object("c", 208))]),
        ],
    );
    let mut running = run(&fake);
    assert_eq!(running.until("+c").await, ["+a", "+b", "+c", "resynced"]);
    assert_eq!(fake.asked(false).len(), 1, "a relist for a mere disconnect");
    let versions: Vec<_> = fake.asked(true).into_iter().map(|watch| watch.version.unwrap()).collect();
    assert_eq!(&versions[1..3], ["207", "207"]);
}

#[tokio::test(start_paused = true)]
async fn what_vanished_or_was_replaced_while_we_did_not_look_is_told() {
    let mut reborn = object("b", 9);
    reborn["metadata"]["uid"] = json!("uid-other");
    let fake = fake(
        vec![
            Reply::Good(vec![object("a", 1), object("b", 2), object("c", 3), object("d", 4)]),
            Reply::Good(vec![reborn, object("c", 3), object("d", 10)]),
        ],
        vec![Reply::Fail(410)],
    );
    let mut running = run(&fake);
    running.until("resynced").await;
    assert_eq!(running.until("resynced").await, ["+b", "+d", "?a", "?b", "resynced"]);
    assert_eq!(running.store.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_fails_halfway_leaves_the_store_as_it_was() {
    let fake = fake(
        vec![Reply::Good(vec![object("a", 1)]), Reply::Fail(500), Reply::Good(vec![object("a", 1)])],
        vec![Reply::Fail(410)],
    );
    let mut running = run(&fake);
    running.until("resynced").await;
    assert_eq!(running.until("resynced").await, ["resynced"], "an object was lost and found");
    assert_eq!(fake.asked(false).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_poisoned_event_does_not_end_the_watch() {
    let poison = json!({"type": "ADDED", "object": {"metadata": "not an object"}});
    let fake = fake(Vec::new(), vec![Reply::Good(vec![poison, event("ADDED", &object("b", 7))])]);
    let mut running = run(&fake);
    running.until("+b").await;
}

#[tokio::test(start_paused = true)]
async fn metadata_only_watches_ask_for_metadata_only() {
    let item = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {"name": "s", "namespace": "team", "uid": "u", "resourceVersion": "3"}});
    let fake = fake(vec![Reply::Good(vec![item.clone()])], vec![Reply::Good(vec![event("DELETED", &item)])]);
    let (_, writer) = store::<PartialObjectMeta<Secret>>();
    let (sender, mut changes) = mpsc::unbounded_channel();
    let api = Api::<PartialObjectMeta<Secret>>::all(fake.client());
    let watch = Watch::new("secrets", api, watcher::Config::default(), writer, move |change| {
        let _ = sender.send(change);
    });
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        watch.run().await;
    });
    timeout(LIMIT, async {
        while !matches!(changes.recv().await.unwrap(), Change::Deleted(secret) if secret.name_any() == "s") {}
    })
    .await
    .expect("the deletion did not come");
    for accept in &fake.0.lock().unwrap().accept {
        assert!(accept.contains("PartialObjectMetadata"), "{accept}");
    }
}

/// Runs a watch for a long virtual time and checks that its pulse does not beat.
///
/// The pulse counts real time: with a maximal age of zero it is stale a moment after each beat, and its age shows
/// whether there was another one.
async fn does_not_beat(lists: Vec<Reply>) {
    let liveness = Liveness::default();
    let pulse = liveness.watch("watch", Duration::ZERO);
    let fake = fake(lists, Vec::new());
    let (_, writer) = store::<ConfigMap>();
    let api = Api::all(fake.client());
    let watch = Watch::new("config maps", api, watcher::Config::default(), writer, |_| ());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        watch.with_pulse(pulse).run().await;
    });
    let before = loop {
        std::thread::sleep(Duration::from_millis(2));
        if let Some(stopped) = liveness.stale().pop() {
            break stopped.age;
        }
    };
    tokio::time::sleep(LIMIT).await;
    assert!(!fake.asked(false).is_empty());
    let after = liveness.stale().pop().expect("it beats").age;
    assert!(after >= before, "{after:?} after {before:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_always_fails_is_no_life() {
    does_not_beat((0..1000).map(|_| Reply::Fail(500)).collect()).await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_never_comes_is_no_life() {
    does_not_beat(vec![Reply::Silent]).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_without_events_is_alive() {
    let liveness = Liveness::default();
    let pulse = liveness.watch("watch", Duration::from_secs(3600));
    let beats = pulse.clone();
    let fake = fake(Vec::new(), Vec::new());
    let (_, writer) = store::<ConfigMap>();
    let api = Api::all(fake.client());
    let watch = Watch::new("config maps", api, watcher::Config::default(), writer, |_| ());
    let mut synced = watch.synced();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        watch.with_pulse(pulse).run().await;
    });
    synced.wait_for(|synced| *synced).await.unwrap();
    let before = beats.last();
    std::thread::sleep(Duration::from_millis(5));
    tokio::time::sleep(LIMIT).await;
    assert!(beats.last() > before, "a quiet watch counts as stuck");
}

#[test]
fn pauses_grow_to_a_limit_and_start_again_after_a_success() {
    let mut recovery = Recovery::default();
    let now = Instant::now();
    let delays: Vec<_> = (0..8).map(|_| recovery.failed(false, now, 0.0).delay.as_millis()).collect();
    assert_eq!(delays, [800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
    assert!(recovery.succeeded());
    assert!(!recovery.succeeded());
    assert_eq!(recovery.failed(false, now, 1.0), Next { delay: Duration::from_millis(600), rebuild: false });
}

#[test]
fn every_fifth_failure_and_every_410_rebuilds() {
    let mut recovery = Recovery::default();
    let now = Instant::now();
    let rebuilds: Vec<_> = (0..10).map(|_| recovery.failed(false, now, 0.0).rebuild).collect();
    assert_eq!(rebuilds, [false, false, false, false, true, false, false, false, false, true]);
    let mut recovery = Recovery::default();
    assert_eq!(recovery.failed(true, now, 0.0), Next { delay: Duration::ZERO, rebuild: true });
    assert_eq!(recovery.failed(true, now, 0.0), Next { delay: Duration::from_millis(1600), rebuild: true });
}

#[test]
fn a_long_quiet_run_counts_as_recovery() {
    let mut recovery = Recovery::default();
    let now = Instant::now();
    recovery.failed(false, now, 0.0);
    recovery.resumed(now);
    assert!(!recovery.settle(now + HEALTHY_AFTER - Duration::from_secs(1)));
    assert!(recovery.settle(now + HEALTHY_AFTER));
    assert!(!recovery.settle(now + HEALTHY_AFTER));
}

#[test]
fn the_log_names_the_first_failure_and_then_one_a_minute() {
    let mut recovery = Recovery::default();
    let now = Instant::now();
    let logged: Vec<_> = (0..7).map(|n| recovery.may_log(now + Duration::from_secs(20 * n))).collect();
    assert_eq!(logged, [true, false, false, true, false, false, true]);
    recovery.failed(false, now, 0.0);
    recovery.succeeded();
    assert!(recovery.may_log(now + Duration::from_secs(121)), "a new trouble is logged at once");
}
