//! Conditions, facts and Events for every stance, and that a second report says nothing new.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{
    Before, Condition, ConditionStatus, ConditionType, Drift, EventNote, Report, StatusFacts, farewell, report,
    stretched, trouble,
};
use crate::domain::desired::{Management, ReadyWhen, SpecError};
use crate::domain::ids::{AgentVersion, ClusterDomain, ClusterUuid, Provenance};
use crate::domain::observed::{ClusterState, RemoteCluster, Sighting};
use crate::domain::plan::{Again, Plan, Stance, Step};
use crate::domain::reason::Reason;
use crate::domain::scene_tests::{
    OTHER, OURS, Scene, TENANT, at, deleted, deleting, fresh, intent, proven, record, secs, snapshot,
    trouble as a_trouble,
};
use crate::domain::schedule::FIRST_DELAY;

fn said(report: &Report) -> Before {
    let words = |c: &Condition| (c.kind.as_str().to_owned(), c.status.as_str().to_owned(), c.reason.clone());
    Before { facts: report.facts.clone(), conditions: report.conditions.iter().map(words).collect() }
}

fn tell(scene: &Scene, before: &Before) -> Report {
    report(&scene.case(), &scene.plan(), before).expect("not quiet")
}

/// The first report of a scene, after checking that it is a fixpoint.
fn first(scene: &Scene) -> Report {
    let first = tell(scene, &Before::default());
    let second = tell(scene, &said(&first));
    assert_eq!(second.facts, first.facts);
    assert_eq!(second.conditions, first.conditions);
    assert_eq!(second.events, []);
    first
}

fn condition(report: &Report, kind: ConditionType) -> Option<(ConditionStatus, &str)> {
    report.conditions.iter().find(|c| c.kind == kind).map(|c| (c.status, c.reason.as_str()))
}

fn kinds(report: &Report) -> Vec<&'static str> {
    report.conditions.iter().map(|c| c.kind.as_str()).collect()
}

fn created() -> Scene {
    Scene::owner(Provenance::Created)
}

fn with_record(change: impl FnOnce(&mut RemoteCluster)) -> Scene {
    let mut seen = record(OURS, "east");
    change(&mut seen);
    created().but(|s| {
        s.observed.uuid = Sighting::Present(seen.clone());
        s.observed.named = snapshot(&[seen]);
    })
}

// ---- conditions ----

#[test]
fn conditions_by_stance() {
    use ConditionStatus::{False, True, Unknown};
    let in_sync = created();
    let progress = created().but(|s| s.observed.trouble = Some(a_trouble(Reason::ConnectionFailed)));
    let stalled = created().but(|s| s.elder_owns(OURS));
    let apart = created().but(|s| s.spec().domain = Some(ClusterDomain::parse("west.example.com").unwrap()));
    let unsure = created().but(|s| s.observed.stale = true);
    let rows: [(Scene, ConditionStatus, &str, &[&str]); 5] = [
        (in_sync, True, "Registered", &["Ready", "Synced", "Connected"]),
        (progress, False, "ConnectionFailed", &["Ready", "Synced", "Connected", "Reconciling"]),
        (stalled, False, "AlreadyClaimed", &["Ready", "Synced", "Connected", "Stalled"]),
        (apart, False, "Drifted", &["Ready", "Synced", "Connected"]),
        (unsure, Unknown, "InventoryStale", &["Ready", "Synced", "Connected"]),
    ];
    for (scene, status, why, present) in rows {
        let report = first(&scene);
        assert_eq!(kinds(&report), present, "{why}");
        assert_eq!(condition(&report, ConditionType::Ready), Some((status, why)));
        assert_eq!(condition(&report, ConditionType::Synced), Some((status, why)));
        for kind in [ConditionType::Reconciling, ConditionType::Stalled] {
            assert!(condition(&report, kind).is_none_or(|found| found == (True, why)));
        }
    }
}

#[test]
fn a_quiet_pass_says_nothing() {
    let scene = created().but(|s| s.observed.uuid = Sighting::NotLooked);
    assert_eq!(report(&scene.case(), &scene.plan(), &Before::default()), None);
}

#[test]
fn suspended_is_shown_beside_the_rest_but_not_while_dying() {
    let suspended = created().but(|s| s.spec().suspend = true);
    let report = first(&suspended);
    assert_eq!(condition(&report, ConditionType::Suspended), Some((ConditionStatus::True, "Suspended")));
    assert_eq!(condition(&report, ConditionType::Synced), Some((ConditionStatus::True, "Suspended")));
    let dying = suspended.but(|s| {
        s.deleting = true;
        s.recorded.delete_requested_at = Some(at(50));
    });
    assert_eq!(condition(&first(&dying), ConditionType::Suspended), None);
}

#[test]
fn connected_follows_the_state() {
    use ConditionStatus::{False, True, Unknown};
    let long = "A".repeat(65);
    let rows = [
        (Some("Connected"), True, "Connected"),
        (Some("ServiceIssues"), True, "ServiceIssues"),
        (Some("MissingPrerequisites"), True, "MissingPrerequisites"),
        (Some("WaitingToConnect"), False, "WaitingToConnect"),
        (Some("Disconnected"), False, "Disconnected"),
        (Some("Unknown"), Unknown, "Unknown"),
        (Some("Paused"), Unknown, "Paused"),
        (Some("not a word"), Unknown, "Unknown"),
        (Some("9lives"), Unknown, "Unknown"),
        (Some(""), Unknown, "Unknown"),
        (Some(long.as_str()), Unknown, "Unknown"),
        (None, Unknown, "Unknown"),
    ];
    for (state, status, reason) in rows {
        let report = first(&with_record(|r| r.state = state.map(ClusterState::from_api)));
        assert_eq!(condition(&report, ConditionType::Connected), Some((status, reason)), "{state:?}");
        assert_eq!(report.facts.state.as_deref(), state);
    }
}

#[test]
fn connected_says_what_the_state_means() {
    let rows = [
        (Some("Connected"), "services run"),
        (Some("ServiceIssues"), "services do not work"),
        (Some("MissingPrerequisites"), "prerequisite is missing"),
        (Some("WaitingToConnect"), "has not connected yet"),
        (Some("Disconnected"), "hears nothing"),
        (Some("Unknown"), "does not know"),
        (Some("Paused"), "see status.state"),
        (None, "nothing is known"),
    ];
    for (state, words) in rows {
        let report = first(&with_record(|r| r.state = state.map(ClusterState::from_api)));
        let connected = report.conditions.iter().find(|c| c.kind == ConditionType::Connected).unwrap();
        assert!(connected.message.contains(words), "{state:?}: {}", connected.message);
    }
}

#[test]
fn a_status_has_one_spelling() {
    let spelled =
        [ConditionStatus::True, ConditionStatus::False, ConditionStatus::Unknown].map(ConditionStatus::as_str);
    assert_eq!(spelled, ["True", "False", "Unknown"]);
}

#[test]
fn ready_waits_for_the_agent_only_where_asked() {
    for (state, ready) in
        [("WaitingToConnect", false), ("Disconnected", false), ("Paused", false), ("ServiceIssues", true)]
    {
        let scene = with_record(|r| r.state = Some(ClusterState::from_api(state)));
        assert_eq!(condition(&first(&scene), ConditionType::Ready), Some((ConditionStatus::True, "Registered")));
        let scene = scene.but(|s| s.spec().ready_when = ReadyWhen::Connected);
        let report = first(&scene);
        let expected = if ready { (ConditionStatus::True, "Registered") } else { (ConditionStatus::False, state) };
        assert_eq!(condition(&report, ConditionType::Ready), Some(expected));
        assert_eq!(condition(&report, ConditionType::Synced), Some((ConditionStatus::True, "Registered")));
        assert_eq!(condition(&report, ConditionType::Stalled), None);
    }
}

// ---- facts ----

#[test]
fn facts_copy_the_record() {
    let scene = with_record(|r| {
        r.platform = Some("EKS".to_owned());
        r.kubernetes_version = Some("1.33".to_owned());
        r.last_liveness = Some(at(7));
        r.state = Some(ClusterState::Connected);
    });
    let expected = StatusFacts {
        uuid: Some(OURS),
        tenant: Some(TENANT),
        origin: Some(Provenance::Created),
        name: Some("east".to_owned()),
        domain: Some("https://east.example.com".to_owned()),
        version: Some("2.24.37".to_owned()),
        state: Some("Connected".to_owned()),
        last_liveness: Some(at(7)),
        created_at: Some(at(0)),
        updated_at: Some(at(0)),
        platform: Some("EKS".to_owned()),
        kubernetes_version: Some("1.33".to_owned()),
        ..StatusFacts::default()
    };
    assert_eq!(first(&scene).facts, expected);
}

#[test]
fn what_a_reply_leaves_out_stays_known() {
    let before = said(&first(&with_record(|r| {
        r.state = Some(ClusterState::Connected);
        r.platform = Some("EKS".to_owned());
        r.kubernetes_version = Some("1.33".to_owned());
    })));
    let bare = with_record(|r| r.state = None);
    let facts = tell(&bare, &before).facts;
    assert_eq!(facts.state.as_deref(), Some("Connected"));
    assert_eq!((facts.platform.as_deref(), facts.kubernetes_version.as_deref()), (Some("EKS"), Some("1.33")));
    let unseen = created().but(|s| {
        s.observed.uuid = Sighting::NotLooked;
        s.observed.named = snapshot(&[]);
        s.observed.trouble = Some(a_trouble(Reason::ConnectionFailed));
    });
    assert_eq!(tell(&unseen, &before).facts, before.facts);
    let another = Before { facts: StatusFacts { uuid: Some(OTHER), ..before.facts.clone() }, ..before };
    let facts = tell(&bare, &another).facts;
    assert_eq!((facts.uuid, facts.state), (Some(OURS), None), "what was known of another registration is not copied");
}

#[test]
fn nothing_owned_nothing_said() {
    let conflict = Scene::new().but(|s| s.observed.named = snapshot(&[record(OTHER, "east")]));
    assert_eq!(first(&conflict).facts, StatusFacts::default());
    let adopting = Scene::new().but(|s| {
        s.spec().adoption.uuid = Some(OTHER);
        s.observed.uuid = Sighting::Present(record(OTHER, "east"));
        s.observed.access.may_adopt = false;
    });
    assert_eq!(first(&adopting).facts, StatusFacts::default());
}

#[test]
fn an_observed_registration_is_kept_in_status_alone() {
    let observe = |s: &mut Scene| s.spec().management = Management::Observe;
    let by_name = Scene::new().but(observe).but(|s| {
        s.observed.named = snapshot(&[deleted(crate::domain::scene_tests::THIRD, "east"), record(OTHER, "east")]);
        s.read(&[record(OTHER, "east")]);
    });
    let by_uuid = Scene::new().but(observe).but(|s| {
        s.spec().adoption.uuid = Some(OTHER);
        s.observed.uuid = Sighting::Present(record(OTHER, "west"));
        s.read(&[record(OTHER, "west")]);
    });
    for scene in [by_name, by_uuid] {
        let facts = first(&scene).facts;
        assert_eq!((facts.uuid, facts.origin), (Some(OTHER), Some(Provenance::Adopted)));
        assert_eq!(facts.drift, [], "a name is not asked for");
    }
}

#[test]
fn contradicting_notes_leave_status_as_it_is() {
    let scene =
        created().but(|s| s.memory.learned = Some(crate::domain::scene_tests::identity(OTHER, Provenance::Created)));
    let before = said(&first(&created()));
    let after = tell(&scene, &before);
    assert_eq!((after.facts.uuid, after.facts.origin), (Some(OURS), Some(Provenance::Created)));
}

#[test]
fn text_that_reorders_its_surroundings_is_not_shown_as_it_is() {
    let scene = created().but(|s| {
        let evil = RemoteCluster { version: Some("\u{202e}42.2".to_owned()), ..record(OURS, "e\u{2066}ast") };
        s.observed.uuid = Sighting::Present(evil);
        s.spec().suspend = true;
    });
    let facts = first(&scene).facts;
    assert_eq!((facts.name.as_deref(), facts.version.as_deref()), (Some("e\u{fffd}ast"), Some("\u{fffd}42.2")));
    assert_eq!(facts.drift[0].observed, "e\u{fffd}ast");
}

#[test]
fn drift_names_every_field() {
    let scene = created().but(|s| {
        s.spec().suspend = true;
        s.spec().domain = Some(ClusterDomain::parse("west.example.com").unwrap());
        s.spec().version = Some(AgentVersion::parse("2.23").unwrap());
        s.rename_spec("west");
    });
    let drift = |field, desired: &str, observed: &str| Drift {
        field,
        desired: desired.to_owned(),
        observed: observed.to_owned(),
    };
    let expected = [
        drift("name", "west", "east"),
        drift("domain", "west.example.com", "https://east.example.com"),
        drift("version", "2.23", "2.24.37"),
    ];
    assert_eq!(first(&scene).facts.drift, expected);
    assert_eq!(first(&created()).facts.drift, []);
    let refined = created().but(|s| s.spec().version = Some(AgentVersion::parse("2.24").unwrap()));
    assert_eq!(first(&refined).facts.drift, [], "2.24.37 is a 2.24");
    let dying = scene.but(|s| {
        s.deleting = true;
        s.recorded.delete_requested_at = Some(at(50));
    });
    assert_eq!(first(&dying).facts.drift, []);
}

#[test]
fn an_open_intent_goes_into_status_whatever_the_pass_calls_it() {
    let doubt = Scene::doubtful(&[]);
    assert_eq!(first(&doubt).facts.intent, Some(intent()));
    let outage = Scene::doubtful(&[]).but(|s| s.observed.trouble = Some(a_trouble(Reason::ConnectionFailed)));
    assert_eq!(first(&outage).facts.intent, Some(intent()));
    let owner = created().but(|s| s.recorded.intent = Some(intent()));
    assert_eq!(first(&owner).facts.intent, Some(intent()), "until it is taken out");
    let settled = tell(&created(), &said(&first(&doubt)));
    assert_eq!(settled.facts.intent, None);
}

#[test]
fn the_delete_request_is_kept() {
    let scene = Scene::dying().but(|s| {
        s.recorded.delete_requested_at = Some(at(50));
        s.observed.uuid = Sighting::Present(deleting(OURS, "east"));
    });
    assert_eq!(first(&scene).facts.delete_requested_at, Some(at(50)));
}

// ---- times ----

fn alive(second: i64) -> Scene {
    with_record(|r| {
        r.last_liveness = Some(at(second));
        r.updated_at = Some(at(second));
    })
}

#[test]
fn liveness_is_copied_coarsely() {
    let before = said(&first(&alive(0)));
    let limit = i64::try_from(stretched(secs(600), OURS).as_secs()).unwrap();
    for second in [1, 599] {
        assert_eq!(tell(&alive(second), &before).facts, before.facts, "{second}");
    }
    let moved = tell(&alive(limit + 1), &before).facts;
    assert_eq!((moved.last_liveness, moved.updated_at), (Some(at(limit + 1)), Some(at(limit + 1))));
    assert_eq!(tell(&alive(-100), &before).facts, before.facts, "liveness that steps back is no news");
}

#[test]
fn times_come_along_with_any_other_change() {
    let before = said(&first(&alive(0)));
    let changed = alive(5).but(|s| {
        let Sighting::Present(record) = &mut s.observed.uuid else { panic!() };
        record.state = Some(ClusterState::Connected);
    });
    let facts = tell(&changed, &before).facts;
    assert_eq!((facts.last_liveness, facts.updated_at), (Some(at(5)), Some(at(5))));
    let updated_alone = with_record(|r| {
        r.last_liveness = Some(at(0));
        r.updated_at = Some(at(5));
    });
    assert_eq!(tell(&updated_alone, &before).facts, before.facts);
    let first_sign = said(&first(&created()));
    assert_eq!(tell(&alive(5), &first_sign).facts.last_liveness, Some(at(5)), "the first sign of life is news");
}

#[test]
fn objects_do_not_write_in_step() {
    let last = |byte: u128| ClusterUuid(uuid::Uuid::from_u128(byte));
    assert_eq!(stretched(secs(600), last(0)), secs(600));
    assert_eq!(stretched(secs(600), last(128)), secs(675));
    assert!(stretched(secs(600), last(255)) < secs(750));
    assert_eq!(
        stretched(std::time::Duration::MAX, last(255)),
        std::time::Duration::MAX,
        "that of a control plane that is not to be used"
    );
}

// ---- Events ----

fn event(warning: bool, reason: &str) -> (bool, String) {
    (warning, reason.to_owned())
}

fn events(report: &Report) -> Vec<(bool, String)> {
    report.events.iter().map(|EventNote { warning, reason, message: _ }| (*warning, reason.clone())).collect()
}

#[test]
fn a_transition_is_one_event() {
    let new = first(&created());
    assert_eq!(events(&new), [event(false, "Registered")]);
    let conflict = created().but(|s| s.elder_owns(OURS));
    assert_eq!(events(&tell(&conflict, &said(&new))), [event(true, "AlreadyClaimed")]);
    let dying = Scene::dying().but(|s| {
        s.recorded.delete_requested_at = Some(at(50));
        s.observed.uuid = Sighting::Present(deleting(OURS, "east"));
    });
    assert_eq!(events(&tell(&dying, &said(&new))), [event(false, "DeletionRequested")]);
}

#[test]
fn an_outage_is_no_event_of_the_object() {
    let before = said(&first(&created()));
    let unsure = tell(&created().but(|s| s.observed.stale = true), &before);
    assert_eq!(unsure.events, []);
    assert_eq!(tell(&created(), &said(&unsure)).events, []);
    let worse = created().but(|s| s.elder_owns(OURS));
    assert_eq!(events(&tell(&worse, &said(&unsure))), [event(true, "AlreadyClaimed")]);
}

#[test]
fn a_state_that_changes_is_one_event() {
    let state = |text: &str| with_record(|r| r.state = Some(ClusterState::from_api(text)));
    let waiting = said(&first(&state("WaitingToConnect")));
    assert_eq!(events(&tell(&state("Connected"), &waiting)), [event(false, "Connected")]);
    let connected = said(&first(&state("Connected")));
    assert_eq!(events(&tell(&state("Disconnected"), &connected)), [event(true, "Disconnected")]);
    assert_eq!(events(&tell(&state("ServiceIssues"), &connected)), [event(true, "ServiceIssues")]);
    let unknown = said(&first(&with_record(|r| r.state = None)));
    assert_eq!(events(&tell(&state("Connected"), &unknown)), [], "the first state is not a change");
}

#[test]
fn a_finished_rename_is_one_event() {
    let before = said(&first(&created()));
    let renamed = with_record(|r| r.name = "west".to_owned()).but(|s| s.rename_spec("west"));
    assert_eq!(events(&tell(&renamed, &before)), [event(false, "Renaming")]);
    let elsewhere = Before { facts: StatusFacts { uuid: Some(OTHER), ..before.facts.clone() }, ..before };
    assert_eq!(events(&tell(&renamed, &elsewhere)), []);
}

#[test]
fn a_farewell_is_said_once() {
    let scene = Scene::dying().but(|s| {
        s.recorded.delete_requested_at = Some(at(50));
        s.observed.uuid = Sighting::Present(deleting(OURS, "east"));
    });
    let before = said(&first(&scene));
    let gone = scene.but(|s| s.observed.uuid = proven()).plan();
    assert_eq!(gone.step, Step::Release);
    assert_eq!(farewell(&gone, &before), None);
    let note = farewell(&gone, &Before::default()).unwrap();
    assert_eq!((note.warning, note.reason.as_str()), (false, "DeletionRequested"));
    let orphan = Plan { why: Reason::Orphaned, ..gone };
    assert_eq!(farewell(&orphan, &before).unwrap().reason, "Orphaned");
}

// ---- back-off ----

#[test]
fn what_counts_as_a_failed_pass() {
    let plan = |why, stance, again| Plan { step: Step::Rest, why, message: String::new(), stance, again };
    let rows = [
        (Reason::Registered, Stance::InSync, Again::WhenChanged, None),
        (Reason::Drifted, Stance::Apart, Again::WhenChanged, None),
        (Reason::InventoryStale, Stance::Quiet, Again::Backoff, None),
        (Reason::NameConflict, Stance::Stalled, Again::After(FIRST_DELAY), None),
        (Reason::DeletionRequested, Stance::Progress, Again::After(FIRST_DELAY), None),
        (Reason::ConnectionFailed, Stance::Progress, Again::Backoff, Some(Reason::ConnectionFailed)),
        (Reason::CreateInDoubt, Stance::Progress, Again::After(FIRST_DELAY), Some(Reason::CreateInDoubt)),
        (Reason::InventoryStale, Stance::Unsure, Again::Backoff, Some(Reason::InventoryStale)),
        (Reason::AuthFailed, Stance::Stalled, Again::After(FIRST_DELAY), Some(Reason::AuthFailed)),
        (Reason::Rejected, Stance::Stalled, Again::Backoff, Some(Reason::Rejected)),
    ];
    for (why, stance, again, expected) in rows {
        assert_eq!(trouble(&plan(why, stance, again)), expected, "{why:?} {stance:?}");
    }
}

#[test]
fn every_stance_is_a_fixpoint() {
    let scenes = [
        created(),
        Scene::owner(Provenance::Adopted),
        created().but(|s| s.observed.uuid = proven()),
        created().but(|s| s.desired = Err(SpecError::Undecodable("x".to_owned()))),
        created().but(|s| s.observed.access.live = Some(a_trouble(Reason::NamespaceNotAllowed))),
        Scene::doubtful(&[]),
        Scene::new().but(|s| s.observed.named = fresh(&[record(OTHER, "east"), record(OURS, "east")])),
        Scene::dying().but(|s| s.observed.trouble = Some(a_trouble(Reason::Forbidden))),
        Scene::dying().but(|s| s.recorded.delete_requested_at = Some(at(50))),
    ];
    for scene in scenes {
        first(&scene);
    }
}

/// The registration is lost and another one is being made: a Secret that was published is still there.
#[test]
fn the_published_secret_stays_known_while_nothing_is_owned() {
    let facts = StatusFacts { install_secret: Some("install".to_owned()), ..StatusFacts::default() };
    let before = Before { facts: facts.clone(), conditions: Vec::new() };
    assert_eq!(tell(&Scene::new().but(|s| s.spec().suspend = true), &before).facts, facts);
}
