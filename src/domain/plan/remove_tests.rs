//! The delete protocol, row by row.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use crate::domain::desired::{DeletionPolicy, Management, SpecError};
use crate::domain::ids::{CredentialId, Origin, Provenance, TenantId};
use crate::domain::memory::Accepted;
use crate::domain::observed::{Absence, RemoteCluster, Sighting, Trouble, Who};
use crate::domain::plan::{Again, Look, Stance, Step};
use crate::domain::reason::Reason;
use crate::domain::recorded::{Annotated, Identity};
use crate::domain::scene_tests::{
    Change, OTHER, OURS, Scene, accepted, at, deleted, deleting, identity, intent, proven, record, secs, status_of,
    trouble, who,
};

/// Our DELETE was accepted at 50 s and the record shows it; the clock is at `second`.
fn asked(second: i64) -> Scene {
    Scene::dying().but(|s| {
        s.recorded.delete_requested_at = Some(at(50));
        s.memory.delete_accepted = Some(accepted(&who()));
        s.observed.uuid = Sighting::Present(deleting(OURS, "east"));
        s.now = at(second);
    })
}

fn delete(force: bool) -> Step {
    Step::Delete { uuid: OURS, force }
}

// ---- nothing to delete ----

#[test]
fn an_object_without_finalizer_is_left_alone() {
    Scene::dying().but(|s| s.recorded.finalizer = false).rests(Reason::Orphaned, Stance::Quiet);
}

#[test]
fn an_object_that_registered_nothing_goes() {
    let scene = Scene::new().but(|s| {
        s.deleting = true;
        s.recorded.finalizer = true;
        s.observed.named = crate::domain::observed::Named::NotLooked;
        s.observed.access.who = Err(trouble(Reason::ControlPlaneMissing));
    });
    scene.releases(Reason::DeletionRequested);
}

#[test]
fn an_unsigned_annotation_deletes_nothing_and_lets_nothing_go() {
    for wish in [Some(OTHER), None] {
        let scene = || {
            Scene::new().but(|s| {
                s.deleting = true;
                s.recorded.finalizer = true;
                s.recorded.annotated = Annotated::Misfit(wish);
                s.observed.uuid = Sighting::Present(record(OTHER, "east"));
            })
        };
        scene().stalls(Reason::IdentityConflict, &["Orphan"]);
        scene().but(|s| s.deletion.policy = Some(DeletionPolicy::Orphan)).releases(Reason::Orphaned);
    }
}

// ---- policies ----

#[test]
fn who_keeps_the_registration() {
    let rows: [(Provenance, Change); 7] = [
        (Provenance::Created, |s| s.deletion.policy = Some(DeletionPolicy::Orphan)),
        (Provenance::Adopted, |_| {}),
        (Provenance::Created, |s| s.policy.default_deletion = Some(DeletionPolicy::Orphan)),
        (Provenance::Adopted, |s| s.policy.default_deletion = Some(DeletionPolicy::Delete)),
        (Provenance::Created, |s| s.deletion.management = Management::Observe),
        (Provenance::Created, |s| {
            s.deletion.management = Management::Observe;
            s.deletion.policy = Some(DeletionPolicy::Delete);
        }),
        (Provenance::Created, |s| s.elder_owns(OURS)),
    ];
    for (provenance, change) in rows {
        // Letting go needs no control plane and no valid spec.
        let scene = Scene::owner(provenance).but(change).but(|s| {
            s.deleting = true;
            s.desired = Err(SpecError::Undecodable("x".to_owned()));
            s.observed.access.who = Err(trouble(Reason::ControlPlaneMissing));
        });
        scene.releases(Reason::Orphaned);
    }
}

#[test]
fn who_deletes_the_registration() {
    let rows: [(Provenance, Change); 5] = [
        (Provenance::Created, |_| {}),
        (Provenance::Created, |s| s.policy.default_deletion = Some(DeletionPolicy::Delete)),
        (Provenance::Adopted, |s| s.deletion.policy = Some(DeletionPolicy::Delete)),
        (Provenance::Created, |s| {
            s.policy.default_deletion = Some(DeletionPolicy::Orphan);
            s.deletion.policy = Some(DeletionPolicy::Delete);
        }),
        (Provenance::Created, |s| s.spec().suspend = true),
    ];
    for (provenance, change) in rows {
        let scene = Scene::owner(provenance).but(change).but(|s| {
            s.deleting = true;
            s.observed.crd_deleting = Some(false);
        });
        scene.steps(&delete(false));
    }
}

#[test]
fn an_adopted_note_in_either_place_keeps_the_registration() {
    let scene = Scene::dying().but(|s| s.recorded.status = Some(status_of(&identity(OURS, Provenance::Adopted))));
    scene.releases(Reason::Orphaned);
}

// ---- ask once, follow ----

#[test]
fn the_crd_is_looked_at_before_every_delete() {
    Scene::dying().looks(Look::Crd);
    Scene::dying().but(|s| s.observed.crd_deleting = Some(false)).steps(&delete(false));
    Scene::dying().but(|s| s.observed.crd_deleting = Some(true)).releases(Reason::Orphaned);
}

#[test]
fn deletion_does_not_depend_on_the_rest() {
    let rows: [Change; 4] = [
        |s| s.desired = Err(SpecError::Undecodable("x".to_owned())),
        |s| s.observed.access.live = Some(trouble(Reason::NamespaceNotAllowed)),
        |s| s.observed.access.may_adopt = false,
        |s| s.observed.stale = true,
    ];
    for change in rows {
        Scene::dying().but(change).but(|s| s.observed.crd_deleting = Some(false)).steps(&delete(false));
    }
}

#[test]
fn a_graceful_deletion_is_asked_for_once_and_followed() {
    let plan = asked(100).rests(Reason::DeletionRequested, Stance::Progress);
    assert_eq!(plan.again, Again::After(secs(3550)), "the inventory wakes the object earlier");
    let unlisted = asked(100).but(|s| s.observed.unlisted = true);
    assert_eq!(unlisted.plan().again, Again::After(secs(10)));
    let old_list = asked(100).but(|s| s.observed.uuid = Sighting::Present(record(OURS, "east")));
    old_list.rests(Reason::DeletionRequested, Stance::Progress);
    let by_others = Scene::dying().but(|s| s.observed.uuid = Sighting::Present(deleting(OURS, "east")));
    by_others.rests(Reason::DeletionRequested, Stance::Progress);
}

#[test]
fn gone_is_deleted_at_or_a_proven_absence() {
    asked(100).but(|s| s.observed.uuid = Sighting::Present(deleted(OURS, "east"))).releases(Reason::DeletionRequested);
    asked(100).but(|s| s.observed.uuid = proven()).releases(Reason::DeletionRequested);
    Scene::dying().but(|s| s.observed.uuid = proven()).releases(Reason::DeletionRequested);
}

#[test]
fn not_listed_is_read_by_id_and_not_looked_waits() {
    asked(100).but(|s| s.observed.uuid = Sighting::NotListed).looks(Look::ById(OURS));
    let unseen = || asked(100).but(|s| s.observed.uuid = Sighting::NotLooked);
    unseen().rests(Reason::InventoryStale, Stance::Quiet);
    let failing = unseen().but(|s| {
        s.observed.inventory = Some(trouble(Reason::ConnectionFailed));
        s.observed.stale = true;
    });
    failing.holds(Reason::ConnectionFailed);
}

#[test]
fn the_record_of_another_registration_is_never_acted_on() {
    let other = Scene::dying().but(|s| {
        s.observed.uuid = Sighting::Present(record(OTHER, "east"));
        s.observed.crd_deleting = Some(false);
    });
    other.looks(Look::ById(OURS));
    let gone = Scene::dying().but(|s| s.observed.uuid = Sighting::Present(deleted(OTHER, "east")));
    gone.looks(Look::ById(OURS));
}

#[test]
fn an_instant_deletion_goes_through_the_same_proof() {
    let answered = |absence| {
        Scene::dying().but(|s| {
            s.recorded.delete_requested_at = Some(at(100));
            s.memory.delete_accepted = Some(accepted(&who()));
            s.observed.delete_sent = true;
            s.observed.uuid = absence;
        })
    };
    answered(Sighting::NotListed).looks(Look::ById(OURS));
    answered(Sighting::Absent(Absence { listed_after: true, tenant: None })).releases(Reason::DeletionRequested);
    answered(Sighting::Absent(Absence { listed_after: false, tenant: None }))
        .stalls(Reason::AbsenceUnproven, &[&OURS.to_string(), "Orphan"]);
}

#[test]
fn an_unproven_absence_holds_the_object() {
    let bare = Scene::dying().but(|s| {
        s.observed.uuid = Sighting::Absent(Absence { listed_after: true, tenant: None });
    });
    bare.stalls(Reason::AbsenceUnproven, &[&OURS.to_string(), "restore the connection", "Orphan"]);
    let other_tenant = Scene::dying().but(|s| {
        s.observed.uuid = Sighting::Absent(Absence { listed_after: true, tenant: Some(TenantId(2)) });
    });
    other_tenant.stalls(Reason::OriginChanged, &["tenant 2"]);
}

#[test]
fn nothing_is_deleted_elsewhere() {
    let origin = Scene::dying()
        .but(|s| s.observed.access.who = Ok(Who { origin: Origin::new("https://other.example.com"), ..who() }));
    origin.stalls(Reason::OriginChanged, &["other.example.com", "Orphan"]);
    let tenant = Scene::dying().but(|s| s.observed.access.who = Ok(Who { tenant: Some(TenantId(2)), ..who() }));
    tenant.stalls(Reason::OriginChanged, &["tenant 2"]);
    let record = Scene::dying().but(|s| {
        s.observed.access.who = Ok(Who { tenant: None, ..who() });
        s.observed.uuid = Sighting::Present(RemoteCluster { tenant: TenantId(2), ..record(OURS, "east") });
    });
    record.stalls(Reason::OriginChanged, &["tenant 2"]);
}

#[test]
fn what_only_this_process_knows_is_noted_before_its_deletion() {
    let scene = Scene::dying().but(|s| {
        s.recorded.annotated = Annotated::Nothing;
        s.recorded.status = None;
        s.recorded.intent = Some(intent());
        s.memory.learned = Some(identity(OURS, Provenance::Created));
        s.observed.crd_deleting = Some(false);
    });
    let noted = scene.marks();
    assert_eq!((noted.identity.map(|identity| identity.uuid), noted.intent), (Some(OURS), None));
}

#[test]
fn a_restored_object_with_status_alone_may_delete_what_it_sees_once_it_says_so() {
    let scene = Scene::dying().but(|s| {
        s.recorded.annotated = Annotated::Nothing;
        s.observed.crd_deleting = Some(false);
    });
    assert_eq!(scene.marks().identity, Some(identity(OURS, Provenance::Created)));
    scene.but(|s| s.recorded.annotated = Annotated::Fits(identity(OURS, Provenance::Created))).steps(&delete(false));
    let other_credentials = Scene::dying().but(|s| {
        let own = Identity { credential: Some(CredentialId::new("client:b")), ..identity(OURS, Provenance::Created) };
        s.recorded.annotated = Annotated::Fits(own);
        s.observed.uuid = proven();
    });
    other_credentials.stalls(Reason::AbsenceUnproven, &["Orphan"]);
}

// ---- blockers, stalled, forced ----

#[test]
fn a_failing_control_plane_is_named_and_nothing_goes() {
    for reason in [Reason::AuthFailed, Reason::Forbidden, Reason::ConnectionFailed, Reason::Undecodable] {
        asked(100).but(|s| s.observed.trouble = Some(trouble(reason))).holds(reason);
        asked(100).but(|s| s.observed.access.who = Err(trouble(reason))).holds(reason);
    }
    let missing = Trouble { stalled: true, ..trouble(Reason::ControlPlaneMissing) };
    asked(100).but(|s| s.observed.access.who = Err(missing)).stalls(Reason::ControlPlaneMissing, &[]);
}

#[test]
fn a_deletion_that_cannot_be_followed_says_why_once_what_is_known_is_old() {
    let failing = |stale, second| {
        asked(second).but(|s| {
            s.observed.inventory = Some(trouble(Reason::Undecodable));
            s.observed.stale = stale;
        })
    };
    failing(false, 100).rests(Reason::DeletionRequested, Stance::Progress);
    failing(true, 100).holds(Reason::Undecodable);
    failing(true, 50 + 3600).stalls(Reason::DeletionStalled, &["at present: trouble: Undecodable"]);
    asked(100).but(|s| s.observed.stale = true).rests(Reason::DeletionRequested, Stance::Progress);
}

#[test]
fn refused_credentials_need_a_person_only_when_it_lasts() {
    let refused = |since| {
        Scene::dying().but(|s| {
            s.observed.trouble = Some(trouble(Reason::AuthFailed));
            s.memory.trouble = Some((Reason::AuthFailed, at(since)));
        })
    };
    refused(41).holds(Reason::AuthFailed);
    refused(40).stalls(Reason::AuthFailed, &[]);
}

#[test]
fn a_throttled_deletion_says_nothing_and_waits_its_turn() {
    let wait = Trouble { retry_after: Some(secs(7)), ..trouble(Reason::DeletionThrottled) };
    let plan = Scene::dying().but(|s| s.observed.trouble = Some(wait)).rests(Reason::DeletionThrottled, Stance::Quiet);
    assert_eq!(plan.again, Again::After(secs(7)));
}

#[test]
fn a_deletion_that_does_not_resolve_is_stalled_and_still_followed() {
    asked(50 + 3599).rests(Reason::DeletionRequested, Stance::Progress);
    assert_eq!(asked(50 + 3590).plan().again, Again::After(secs(10)));
    let overdue = asked(50 + 3600);
    overdue.stalls(Reason::DeletionStalled, &["stalledAfter", "forceAfter", "Orphan"]);
    assert_eq!(overdue.plan().again, Again::After(secs(300)));
    assert_eq!(overdue.but(|s| s.observed.unlisted = true).plan().again, Again::After(secs(10)));
    let outage = asked(50 + 3600).but(|s| s.observed.trouble = Some(trouble(Reason::ConnectionFailed)));
    outage.stalls(Reason::DeletionStalled, &["at present: trouble: ConnectionFailed"]);
    asked(50 + 3600).but(|s| s.observed.uuid = proven()).releases(Reason::DeletionRequested);
}

#[test]
fn a_deletion_that_others_asked_for_counts_from_their_request() {
    let scene = asked(50 + 3600).but(|s| s.recorded.delete_requested_at = Some(at(3000)));
    scene.stalls(Reason::DeletionStalled, &[]);
    let noted_first = asked(50 + 3600).but(|s| {
        let record = RemoteCluster { delete_requested_at: Some(at(3000)), ..record(OURS, "east") };
        s.observed.uuid = Sighting::Present(record);
    });
    noted_first.stalls(Reason::DeletionStalled, &[]);
}

fn forced(after: Duration, second: i64) -> Scene {
    asked(second).but(|s| s.deletion.force_after = Some(after))
}

#[test]
fn force_comes_late_and_only_when_asked_for() {
    forced(secs(600), 649).rests(Reason::DeletionRequested, Stance::Progress);
    assert_eq!(forced(secs(600), 600).plan().again, Again::After(secs(50)));
    forced(secs(600), 650).looks(Look::Crd);
    forced(secs(600), 650).but(|s| s.observed.crd_deleting = Some(false)).steps(&delete(true));
    forced(secs(600), 650).but(|s| s.observed.crd_deleting = Some(true)).releases(Reason::Orphaned);
    let sent = forced(secs(600), 650).but(|s| {
        s.observed.crd_deleting = Some(false);
        s.observed.delete_sent = true;
    });
    assert_eq!(sent.rests(Reason::DeletionRequested, Stance::Progress).again, Again::After(secs(10)));
    let first = Scene::dying().but(|s| {
        s.deletion.force_after = Some(secs(0));
        s.observed.crd_deleting = Some(false);
    });
    first.steps(&delete(false));
}

#[test]
fn a_stalled_deletion_names_when_it_is_forced() {
    let message = |scene: &Scene| scene.plan().message;
    // Asked for at 50 s; the scene's zero is 2027-01-15T08:00:00Z.
    let early = forced(secs(7200), 50 + 3600);
    early.stalls(Reason::DeletionStalled, &["forceAfter has it forced at 2027-01-15T10:00:50Z;", "Orphan"]);
    assert!(!message(&early).contains("set spec.deletion.forceAfter"), "it is set: {}", message(&early));
    assert_eq!(message(&early), message(&forced(secs(7200), 50 + 7199)), "nothing changes from pass to pass");
    // Due, and the control plane cannot be asked, or has been and is not through with it.
    let failing = forced(secs(7200), 50 + 7200).but(|s| s.observed.trouble = Some(trouble(Reason::ConnectionFailed)));
    let words = ["forced since 2027-01-15T10:00:50Z;", "at present: trouble: ConnectionFailed"];
    failing.stalls(Reason::DeletionStalled, &words);
    let sent = forced(secs(7200), 50 + 7201).but(|s| s.observed.delete_sent = true);
    sent.stalls(Reason::DeletionStalled, &["forced since 2027-01-15T10:00:50Z;"]);
    let never = forced(Duration::MAX, 50 + 3600);
    never.stalls(Reason::DeletionStalled, &["set spec.deletion.forceAfter"]);
}

/// Just made and not found: a read that lags, most likely, so the registration would stay behind.
#[test]
fn a_registration_that_was_made_a_moment_ago_is_not_given_up() {
    let young = |clock| {
        Scene::dying().but(move |s| {
            s.observed.uuid = proven();
            s.observed.remote_now = Some(at(clock));
        })
    };
    let plan = young(1).rests(Reason::DeletionRequested, Stance::Progress);
    assert_eq!(plan.again, Again::After(secs(10)));
    assert_eq!(young(117).plan().again, Again::After(secs(3)));
    young(120).releases(Reason::DeletionRequested);
    let asked = young(1).but(|s| s.memory.delete_accepted = Some(accepted(&who())));
    asked.rests(Reason::DeletionRequested, Stance::Progress);
    let later = young(30).but(|s| s.memory.delete_accepted = Some(accepted(&who())));
    later.releases(Reason::DeletionRequested);
    let done = young(1).but(|s| s.memory.delete_accepted = Some(Accepted { done: true, ..accepted(&who()) }));
    done.releases(Reason::DeletionRequested);
}
