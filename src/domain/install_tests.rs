//! Tables over `decide` and the condition.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::Duration;

use super::{
    Answered, Failed, InstallCase, InstallStep, Publication, REREAD, Shelf, Timing, decide, fresh_for, is_waiting,
    left_over, observes, token_age, version,
};
use crate::domain::desired::{InstallSpec, Management};
use crate::domain::ids::Provenance;
use crate::domain::observed::{ClusterState, Sighting, Trouble};
use crate::domain::plan::{Stance, owned};
use crate::domain::reason::Reason;
use crate::domain::report::{Before, ConditionStatus, ConditionType, Report, report};
use crate::domain::scene_tests::{OTHER, OURS, Scene, at, record, trouble as a_trouble};

fn asked() -> InstallSpec {
    InstallSpec {
        secret_name: "install".to_owned(),
        remote_url: None,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
    }
}

/// All is well, on a control plane up to 2.x.
fn good(asked: &InstallSpec) -> InstallCase<'_> {
    InstallCase {
        asked,
        main: Shelf::Good,
        has_secret: true,
        bootstrap: Shelf::Missing,
        token_due: false,
        waiting: true,
        due: false,
        answer: None,
        unread: None,
        fought: false,
    }
}

/// All is well, from 3.0 on.
fn third(asked: &InstallSpec) -> InstallCase<'_> {
    InstallCase { has_secret: false, bootstrap: Shelf::Good, ..good(asked) }
}

fn reason(step: &InstallStep) -> Option<Reason> {
    match step {
        InstallStep::Rest(Err(trouble)) => Some(trouble.reason),
        InstallStep::Rest(Ok(())) | InstallStep::Read | InstallStep::WriteMain | InstallStep::WriteBootstrap => None,
    }
}

const DONE: InstallStep = InstallStep::Rest(Ok(()));

#[test]
fn up_to_2_x() {
    let asked = asked();
    let case = |change: fn(&mut InstallCase<'_>)| {
        let mut case = good(&asked);
        change(&mut case);
        decide(&case)
    };
    assert_eq!(case(|_| {}), DONE);
    for shelf in [Shelf::Missing, Shelf::Damaged, Shelf::Outdated] {
        let mut unread = good(&asked);
        unread.main = shelf;
        assert_eq!(decide(&unread), InstallStep::Read, "{shelf:?}");
        unread.unread = Some(a_trouble(Reason::ConnectionFailed));
        assert_eq!(reason(&decide(&unread)), Some(Reason::ConnectionFailed), "{shelf:?}: nothing is made of nothing");
        unread.answer = Some(Answered { token: false });
        assert_eq!(decide(&unread), InstallStep::WriteMain, "{shelf:?}");
    }
    assert_eq!(case(|c| c.main = Shelf::Differs), InstallStep::WriteMain, "a label is nothing to ask for");
    assert_eq!(case(|c| c.due = true), InstallStep::Read);
    assert_eq!(case(|c| (c.due, c.answer) = (true, Some(Answered { token: false }))), DONE, "asked once");
    assert_eq!(case(|c| (c.due, c.unread) = (true, Some(observes()))), DONE, "a failed renewal takes nothing away");
    assert_eq!(case(|c| c.token_due = true), DONE, "there is no token");
    assert_eq!(case(|c| c.bootstrap = Shelf::Foreign), DONE, "it is not needed");
    let damaged = InstallCase { main: Shelf::Damaged, has_secret: false, bootstrap: Shelf::Foreign, ..good(&asked) };
    assert_eq!(decide(&damaged), InstallStep::Read, "nothing says yet that a token is needed");
}

#[test]
fn from_3_0_on() {
    let asked = asked();
    let case = |change: fn(&mut InstallCase<'_>)| {
        let mut case = third(&asked);
        change(&mut case);
        decide(&case)
    };
    const TOKEN: Option<Answered> = Some(Answered { token: true });
    assert_eq!(case(|_| {}), DONE);
    assert_eq!(case(|c| c.token_due = true), InstallStep::Read);
    assert_eq!(case(|c| (c.token_due, c.waiting) = (true, false)), DONE, "renewed only while the cluster waits");
    assert_eq!(case(|c| (c.token_due, c.unread) = (true, Some(observes()))), DONE, "half of its life is left");
    for shelf in [Shelf::Missing, Shelf::Damaged, Shelf::Outdated] {
        let mut lost = third(&asked);
        lost.bootstrap = shelf;
        assert_eq!(decide(&lost), InstallStep::Read, "{shelf:?}");
        lost.answer = TOKEN;
        assert_eq!(decide(&lost), InstallStep::WriteBootstrap, "{shelf:?}");
        lost.waiting = false;
        assert_eq!(decide(&lost), DONE, "{shelf:?}: nobody waits for it");
    }
    assert_eq!(case(|c| (c.main, c.answer) = (Shelf::Missing, TOKEN)), InstallStep::WriteMain);
    assert_eq!(case(|c| (c.bootstrap, c.answer) = (Shelf::Differs, TOKEN)), InstallStep::WriteBootstrap);
    assert_eq!(case(|c| (c.bootstrap, c.waiting) = (Shelf::Differs, false)), InstallStep::WriteBootstrap, "labels");
    assert_eq!(reason(&case(|c| (c.bootstrap, c.waiting) = (Shelf::Foreign, true))), Some(Reason::SecretConflict));
    // A client secret of earlier days stays, and a token comes beside it.
    assert_eq!(case(|c| (c.has_secret, c.token_due) = (true, true)), InstallStep::Read);
}

#[test]
fn what_belongs_to_others_is_left_alone_whatever_is_wanted() {
    let asked = asked();
    for due in [false, true] {
        for answer in [None, Some(Answered { token: true })] {
            let case = InstallCase { main: Shelf::Foreign, due, answer, ..good(&asked) };
            let step = decide(&case);
            assert_eq!(reason(&step), Some(Reason::SecretConflict));
            let case = InstallCase { bootstrap: Shelf::Foreign, due, answer, ..third(&asked) };
            let step = decide(&case);
            let InstallStep::Rest(Err(trouble)) = step else { panic!("{step:?}") };
            assert!(trouble.stalled && trouble.message.contains("install-bootstrap"), "{trouble:?}");
        }
    }
}

#[test]
fn a_fight_is_not_fought_for_ever() {
    let asked = asked();
    let answer = Some(Answered { token: true });
    for case in [
        InstallCase { main: Shelf::Damaged, answer, fought: true, ..good(&asked) },
        InstallCase { main: Shelf::Differs, fought: true, ..good(&asked) },
        InstallCase { bootstrap: Shelf::Damaged, answer, fought: true, ..third(&asked) },
    ] {
        assert_eq!(reason(&decide(&case)), Some(Reason::ManagementConflict), "{case:?}");
    }
    assert_eq!(decide(&InstallCase { fought: true, ..good(&asked) }), DONE);
}

/// Whatever stands where: what is written is needed and ours, an answer is asked for once, and nothing goes round.
#[test]
fn every_case_leads_somewhere() {
    let shelves = [Shelf::Missing, Shelf::Foreign, Shelf::Damaged, Shelf::Outdated, Shelf::Differs, Shelf::Good];
    let asked = asked();
    for number in 0..6 * 6 * 64 * 3 {
        let mut n = number / 36;
        let mut flag = || {
            let is = n % 2 == 1;
            n /= 2;
            is
        };
        let mut case = InstallCase {
            asked: &asked,
            main: shelves[number % 6],
            bootstrap: shelves[number / 6 % 6],
            has_secret: flag(),
            token_due: flag(),
            waiting: flag(),
            due: flag(),
            unread: flag().then(|| a_trouble(Reason::ConnectionFailed)),
            fought: flag(),
            answer: None,
        };
        let answers = [Answered { token: true }, Answered { token: false }];
        let answered = answers[n % 2];
        let mut steps = 0;
        let end = loop {
            steps += 1;
            assert!(steps < 6, "{case:?}");
            match decide(&case) {
                InstallStep::Read => {
                    assert!(case.answer.is_none() && case.unread.is_none(), "{case:?}");
                    case.answer = Some(answered);
                    // Measured against the answer.
                    let measured = |shelf| if shelf == Shelf::Outdated { Shelf::Differs } else { shelf };
                    (case.main, case.bootstrap) = (measured(case.main), measured(case.bootstrap));
                }
                InstallStep::WriteMain => {
                    assert!(case.main != Shelf::Foreign && case.main != Shelf::Good && !case.fought, "{case:?}");
                    assert!(case.answer.is_some() || case.main == Shelf::Differs, "out of nothing: {case:?}");
                    case.main = Shelf::Good;
                }
                InstallStep::WriteBootstrap => {
                    assert!(
                        case.bootstrap != Shelf::Foreign && case.bootstrap != Shelf::Good && !case.fought,
                        "{case:?}"
                    );
                    assert!(
                        case.answer.is_some_and(|answer| answer.token) || case.bootstrap == Shelf::Differs,
                        "out of nothing: {case:?}"
                    );
                    case.bootstrap = Shelf::Good;
                }
                InstallStep::Rest(end) => break end,
            }
        };
        if end.is_ok() {
            assert!(matches!(case.main, Shelf::Good), "{case:?}");
        }
    }
}

// ---- inputs ----

#[test]
fn the_version_is_the_specs_else_the_observed_one() {
    let mut seen = record(OURS, "east");
    seen.version = Some("2.24.37".to_owned());
    assert_eq!(version(Some("2.25"), &seen).unwrap(), "2.25");
    assert_eq!(version(None, &seen).unwrap(), "2.24.37");
    seen.version = None;
    assert!(version(None, &seen).unwrap_err().message.contains("set spec.version"));
}

#[test]
fn only_what_is_owned_and_seen_counts() {
    let is = |scene: &Scene| owned(&scene.case()).map(|record| record.uuid);
    let own = || Scene::owner(Provenance::Created);
    assert_eq!(is(&own()), Some(OURS));
    type Row = (&'static str, fn(&mut Scene));
    let table: [Row; 7] = [
        ("observed", |s| s.spec().management = Management::Observe),
        ("going", |s| s.deleting = true),
        ("another one", |s| s.observed.uuid = Sighting::Present(record(OTHER, "east"))),
        ("not looked", |s| s.observed.uuid = Sighting::NotLooked),
        ("not listed", |s| s.observed.uuid = Sighting::NotListed),
        ("asked to go", |s| {
            let mut seen = record(OURS, "east");
            seen.delete_requested_at = Some(at(1));
            s.observed.uuid = Sighting::Present(seen);
        }),
        ("not noted", |s| s.recorded.finalizer = false),
    ];
    for (what, change) in table {
        assert_eq!(is(&own().but(change)), None, "{what}");
    }
    assert_eq!(is(&Scene::new()), None);
}

#[test]
fn only_a_cluster_that_never_connected_waits() {
    let mut seen = record(OURS, "east");
    for (state, waits) in [
        (Some(ClusterState::WaitingToConnect), true),
        (Some(ClusterState::Connected), false),
        (Some(ClusterState::Disconnected), false),
        (None, false),
    ] {
        seen.state = state;
        assert_eq!(is_waiting(&seen), waits);
    }
}

#[test]
fn information_is_fresh_for_an_hour_and_a_little() {
    let fresh = fresh_for(OURS, at(0), at(0));
    assert!(fresh >= REREAD && fresh < REREAD * 5 / 4, "{fresh:?}");
    assert_eq!(fresh_for(OURS, at(0), at(600)), fresh.checked_sub(Duration::from_secs(600)).unwrap());
    assert_eq!(fresh_for(OURS, at(0), at(4500)), Duration::ZERO);
    assert_eq!(fresh_for(OURS, at(100), at(0)), fresh, "a clock that stepped back");
    assert_eq!(token_age(at(0), at(7200), at(600)), Duration::from_secs(3000));
    assert_eq!(token_age(at(0), at(7200), at(3600)), Duration::ZERO);
    assert_eq!(token_age(at(0), at(7200), at(9000)), Duration::ZERO);
}

/// In order, and read a moment ago.
fn calm() -> Timing {
    let fresh = Duration::from_secs(3600);
    Timing { has_secret: true, waiting: false, requested: false, fresh, token: None, failed: None }
}

fn failed(left: u64, same_spec: bool) -> Option<Failed> {
    Some(Failed { left: Duration::from_secs(left), same_spec })
}

#[test]
fn what_grows_old_is_read_again() {
    let due = |change: fn(&mut Timing)| {
        let mut timing = calm();
        change(&mut timing);
        timing.is_due()
    };
    assert!(!due(|_| {}));
    assert!(due(|t| t.fresh = Duration::ZERO));
    assert!(due(|t| (t.fresh, t.has_secret, t.waiting) = (Duration::ZERO, false, true)));
    assert!(!due(|t| (t.fresh, t.has_secret) = (Duration::ZERO, false)), "nobody waits for a token");
    assert!(due(|t| t.requested = true));
    assert!(due(|t| (t.requested, t.has_secret) = (true, false)), "a person may always ask");
    assert!(due(|t| t.failed = failed(0, true)), "what failed is still to be done");
    assert!(!due(|t| (t.failed, t.has_secret) = (failed(0, true), false)));

    assert!(!calm().is_token_due());
    assert!(Timing { fresh: Duration::ZERO, ..calm() }.is_token_due(), "it does not say how long it is good");
    let half = Some(Duration::from_secs(1));
    assert!(!Timing { fresh: Duration::ZERO, token: half, ..calm() }.is_token_due());
    assert!(Timing { token: Some(Duration::ZERO), ..calm() }.is_token_due());
}

#[test]
fn a_failure_holds_back_for_a_while_and_for_its_own_spec() {
    let holds = |failed, requested| Timing { failed, requested, ..calm() }.holds_back();
    assert!(holds(failed(1, true), false));
    assert!(!holds(failed(0, true), false), "it is over");
    assert!(!holds(failed(1, false), false), "another spec may fare better");
    assert!(!holds(failed(1, true), true), "a person asks");
    assert!(!holds(None, false));
}

#[test]
fn the_next_look_is_never_now_while_all_is_well() {
    let hour = Duration::from_secs(3600);
    let minute = Duration::from_secs(60);
    let next = |change: fn(&mut Timing)| {
        let mut timing = calm();
        change(&mut timing);
        timing.next_look(true)
    };
    assert_eq!(next(|_| {}), Some(hour));
    assert_eq!(next(|t| t.has_secret = false), None, "nothing in it grows old");
    assert_eq!(next(|t| (t.has_secret, t.waiting) = (false, true)), Some(hour));
    assert_eq!(next(|t| t.token = Some(Duration::from_secs(60))), Some(hour), "nobody waits for the token");
    assert_eq!(next(|t| (t.waiting, t.token) = (true, Some(Duration::from_secs(60)))), Some(minute));
    assert_eq!(next(|t| (t.waiting, t.token) = (true, Some(Duration::from_secs(7200)))), Some(hour));
    assert_eq!(next(|t| t.failed = failed(60, true)), Some(minute));
    assert_eq!(next(|t| t.failed = failed(0, true)), Some(hour), "else one pass would follow the other");
    assert_eq!(next(|t| (t.failed, t.has_secret) = (failed(0, true), false)), None);
    assert_eq!(next(|t| (t.failed, t.has_secret) = (failed(60, true), false)), Some(minute));
    let short = |failed| Timing { waiting: true, failed, ..calm() }.next_look(false);
    assert_eq!(short(failed(60, true)), Some(minute));
    assert_eq!(short(None), None, "a conflict or a fight is looked at before the hour is over");
}

#[test]
fn what_is_left_over_is_everything_but_what_is_asked_for() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let known = || names(&["install", "install-bootstrap", "old", "older"]);
    let asked = asked();
    assert_eq!(left_over(Some(&asked), Some("old"), known()), names(&["old", "old-bootstrap", "older"]));
    assert_eq!(left_over(Some(&asked), Some("install"), names(&[])), names(&[]));
    assert_eq!(left_over(None, Some("install"), names(&[])), names(&["install", "install-bootstrap"]));
    assert_eq!(left_over(None, None, known()), known());
}

// ---- what is said ----

fn asking(outcome: Option<Result<(), Trouble>>) -> Scene {
    Scene::owner(Provenance::Created).but(|s| {
        s.spec().install = Some(asked());
        s.observed.publication = outcome.map(|outcome| Publication {
            secret: outcome.is_ok().then(|| "install".to_owned()),
            outcome: Some(outcome),
        });
    })
}

fn tell(scene: &Scene, before: &Before) -> Report {
    report(&scene.case(), &scene.plan(), before).expect("not quiet")
}

fn said(report: &Report) -> Before {
    let words =
        report.conditions.iter().map(|c| (c.kind.as_str().to_owned(), c.status.as_str().to_owned(), c.reason.clone()));
    Before { facts: report.facts.clone(), conditions: words.collect() }
}

fn condition(report: &Report, kind: ConditionType) -> Option<(ConditionStatus, &str)> {
    report.conditions.iter().find(|c| c.kind == kind).map(|c| (c.status, c.reason.as_str()))
}

#[test]
fn ready_waits_for_the_credentials() {
    use ConditionStatus::{False, True};
    let published = tell(&asking(Some(Ok(()))), &Before::default());
    assert_eq!(condition(&published, ConditionType::CredentialsPublished), Some((True, "CredentialsPublished")));
    assert_eq!(condition(&published, ConditionType::Ready), Some((True, "Registered")));
    assert_eq!(published.facts.install_secret.as_deref(), Some("install"));
    assert!(published.events.iter().any(|event| event.reason == "CredentialsPublished" && !event.warning));

    let passing = Trouble { stalled: false, ..a_trouble(Reason::ConnectionFailed) };
    let conflict = Trouble { stalled: true, ..a_trouble(Reason::SecretConflict) };
    for (trouble, kind, other) in [
        (passing, ConditionType::Reconciling, ConditionType::Stalled),
        (conflict, ConditionType::Stalled, ConditionType::Reconciling),
    ] {
        let reason = trouble.reason.as_str();
        let report = tell(&asking(Some(Err(trouble))), &said(&published));
        assert_eq!(condition(&report, ConditionType::CredentialsPublished), Some((False, reason)));
        assert_eq!(condition(&report, ConditionType::Ready), Some((False, reason)));
        assert_eq!(
            condition(&report, ConditionType::Synced),
            Some((True, "Registered")),
            "the registration is in step"
        );
        assert_eq!(condition(&report, kind), Some((True, reason)));
        assert_eq!(condition(&report, other), None);
        assert_eq!(report.events.iter().filter(|event| event.warning && event.reason == reason).count(), 1);
    }
}

#[test]
fn a_second_report_says_nothing_new() {
    for outcome in [Ok(()), Err(a_trouble(Reason::SecretConflict))] {
        let scene = asking(Some(outcome));
        let first = tell(&scene, &Before::default());
        let second = tell(&scene, &said(&first));
        assert_eq!((&second.facts, &second.conditions), (&first.facts, &first.conditions));
        assert_eq!(second.events, []);
    }
}

#[test]
fn an_outage_unmakes_nothing_and_a_lost_registration_does() {
    use ConditionStatus::{False, True};
    let published = said(&tell(&asking(Some(Ok(()))), &Before::default()));
    let kind = ConditionType::CredentialsPublished;
    let unsure = asking(None).but(|s| s.observed.stale = true);
    let report = tell(&unsure, &published);
    assert_eq!(condition(&report, kind), Some((True, "CredentialsPublished")));
    assert_eq!(report.facts.install_secret.as_deref(), Some("install"));
    assert!(report.events.iter().all(|event| event.reason != "CredentialsPublished"));

    let stalled = asking(None).but(|s| s.elder_owns(OURS));
    assert_eq!(stalled.plan().stance, Stance::Stalled);
    let report = tell(&stalled, &published);
    assert_eq!(condition(&report, kind), Some((False, "AlreadyClaimed")));
    assert_eq!(report.facts.install_secret.as_deref(), Some("install"), "it is there, and has to be found again");

    let moved = asking(None).but(|s| {
        s.spec().install.as_mut().unwrap().secret_name = "elsewhere".to_owned();
        s.observed.stale = true;
    });
    assert_eq!(condition(&tell(&moved, &published), kind).map(|(status, _)| status), Some(False));
    let never = asking(None).but(|s| s.spec().install = None);
    assert_eq!(condition(&tell(&never, &published), kind), None);
}
