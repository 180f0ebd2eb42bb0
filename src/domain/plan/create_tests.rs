//! The create protocol: one look, one intent, one POST, and every way out of doubt.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use jiff::Timestamp;

use crate::domain::desired::{AdoptionPolicy, DeletionPolicy, Management, SpecError};
use crate::domain::ids::{AgentVersion, ClusterDomain, ClusterUuid, Origin, Provenance, TenantId};
use crate::domain::observed::{Named, RemoteCluster};
use crate::domain::plan::{Again, Fate, Look, NewCluster, Stale, Stance, Step, fate, looked_in_vain};
use crate::domain::reason::Reason;
use crate::domain::recorded::{Annotated, Identity, Intent};
use crate::domain::scene_tests::{
    ATTEMPT, Change, NONCE, OTHER, OURS, Scene, TENANT, THIRD, at, deleted, deleting, fresh, holding, identity, intent,
    record, secs, snapshot, status_of, trouble, who,
};

/// The record that our POST makes: one second after the intent.
fn made() -> RemoteCluster {
    RemoteCluster { created_at: at(1), ..record(OURS, "east") }
}

/// What the object notes of it.
fn identity_of(record: &RemoteCluster) -> Identity {
    Identity { created: Some(record.created_at), ..identity(record.uuid, Provenance::Created) }
}

/// The intent of this pass is on the object.
fn armed() -> Scene {
    Scene::doubtful(&[]).but(|s| s.observed.armed = Some(ATTEMPT))
}

/// The quarantine is over, and a first look after it found nothing `gap` seconds ago.
fn looked_twice(gap: i64) -> Scene {
    Scene::doubtful(&[]).but(|s| {
        s.now = at(130);
        s.memory.empty_look = Some((ATTEMPT, at(130 - gap)));
    })
}

// ---- look, intent, POST ----

#[test]
fn a_snapshot_is_not_enough_to_create() {
    Scene::new().looks_for("east");
    Scene::new().but(|s| s.observed.named = Named::NotLooked).rests(Reason::InventoryStale, Stance::Quiet);
}

#[test]
fn a_fresh_look_that_finds_nothing_leads_to_an_intent() {
    let scene = Scene::new().but(|s| s.observed.named = fresh(&[]));
    let expected = Intent { attempt: NONCE, remote_time: Some(at(100)), local_time: at(100), ..intent() };
    assert_eq!(scene.intends(), expected);
}

#[test]
fn the_intent_notes_what_is_unknown_as_unknown_and_what_had_the_name_before() {
    let scene = Scene::new().but(|s| {
        s.observed.named = fresh(&[deleted(OTHER, "east")]);
        s.observed.remote_now = None;
        s.observed.access.who = Ok(crate::domain::observed::Who { tenant: None, ..who() });
        s.spec().domain = None;
    });
    let written = scene.intends();
    assert_eq!((written.remote_time, written.tenant, written.domain), (None, None, None));
    assert_eq!(written.seen, [OTHER]);
}

#[test]
fn an_intent_has_room_for_the_namesakes_or_is_not_written() {
    let many = |count: u128| -> Vec<_> {
        (0..count).map(|n| deleted(ClusterUuid(uuid::Uuid::from_u128(0x1000 + n)), "east")).collect()
    };
    let scene = |count| Scene::new().but(|s| s.observed.named = fresh(&many(count)));
    assert_eq!(scene(1000).intends().seen.len(), 1000);
    scene(1001).stalls(Reason::CreateAmbiguous, &["1001 deleted registrations", "spec.name"]);
}

#[test]
fn the_post_follows_only_the_intent_of_this_pass() {
    let scene = armed().but(|s| s.spec().version = Some(AgentVersion::parse("2.24").unwrap()));
    let desired = scene.desired.as_ref().unwrap();
    let new =
        NewCluster { name: desired.name.clone(), domain: desired.domain.clone(), version: desired.version.clone() };
    let step = Step::Create(new);
    scene.steps(&step);
    for change in [
        (|s: &mut Scene| s.observed.armed = None) as Change,
        |s| s.observed.armed = Some(NONCE),
        |s| s.observed.refused = Some(trouble(Reason::Rejected)),
        |s| s.rename_spec("west"),
        |s| s.spec().suspend = true,
        |s| s.spec().management = Management::Observe,
        |s| s.deleting = true,
        |s| s.observed.trouble = Some(trouble(Reason::ConnectionFailed)),
        |s| s.desired = Err(SpecError::Undecodable("x".to_owned())),
    ] {
        let plan = armed().but(change).plan();
        assert!(!matches!(plan.step, Step::Create(_)), "{plan:?}");
    }
}

#[test]
fn a_lost_registration_leaves_status_before_its_successor_is_posted() {
    let replacing = || {
        armed().but(|s| {
            s.recorded.intent = Some(Intent { replaces: Some(OTHER), ..intent() });
            s.recorded.status = Some(status_of(&identity(OTHER, Provenance::Created)));
        })
    };
    replacing().steps(&Step::Forget(Stale::Registration));
    let plan = replacing().but(|s| s.recorded.status = None).plan();
    assert!(matches!(plan.step, Step::Create(_)), "{plan:?}");
}

#[test]
fn an_older_object_that_registers_the_name_comes_first() {
    let taken = Scene::new().but(|s| s.elder_registers("east"));
    taken.stalls(Reason::NameConflict, &["team-a/elder", "spec.name"]);
    Scene::new().but(|s| s.elder_registers("west")).looks_for("east");
}

#[test]
fn a_failed_look_is_not_an_empty_one() {
    for reason in [Reason::ConnectionFailed, Reason::Undecodable, Reason::Forbidden, Reason::Throttled] {
        let scene = Scene::new().but(|s| s.observed.trouble = Some(trouble(reason)));
        scene.holds(reason);
        Scene::doubtful(&[]).but(|s| s.observed.trouble = Some(trouble(reason))).holds(reason);
    }
}

#[test]
fn an_answered_post_is_noted_and_nothing_else_is_sent() {
    let scene = armed().but(|s| {
        s.memory.learned = Some(identity_of(&made()));
        s.observed.uuid = crate::domain::observed::Sighting::Present(made());
    });
    let marks = scene.marks();
    assert_eq!(marks.identity, Some(identity_of(&made())));
    assert_eq!(marks.intent, None);
}

// ---- doubt ----

#[test]
fn doubt_needs_a_fresh_look_at_the_name_of_the_intent() {
    Scene::doubtful(&[]).but(|s| s.observed.named = snapshot(&[made()])).looks_for("east");
    Scene::doubtful(&[]).but(|s| s.observed.named = Named::NotLooked).looks_for("east");
    let moved_on = Scene::doubtful(&[]).but(|s| {
        s.rename_spec("west");
        s.observed.named = Named::Fresh("west".to_owned(), Vec::new());
    });
    moved_on.looks_for("east");
}

#[test]
fn a_record_that_fits_the_intent_is_ours() {
    for (change, what) in [
        ((|_| {}) as fn(&mut RemoteCluster), "as sent"),
        (|r| r.created_at = at(-1), "two clocks"),
        (|r| r.domain = Some(ClusterDomain::observed("EAST.example.com/")), "the domain in another spelling"),
        (|r| r.delete_requested_at = Some(at(5)), "somebody deletes it already"),
    ] {
        let mut found = made();
        change(&mut found);
        let marks = Scene::doubtful(&[found.clone()]).marks();
        assert_eq!(marks.identity, Some(identity_of(&found)), "{what}");
        assert_eq!(marks.intent, None, "{what}");
    }
}

/// A list that mixes uuids up would make a stranger's registration ours.
#[test]
fn what_a_list_alone_shows_is_read_by_id_before_it_is_ours() {
    let unread = || Scene::doubtful(&[made()]).but(|s| s.observed.reads.clear());
    for dying in [false, true] {
        let scene = || unread().but(|s| s.deleting = dying);
        scene().looks(Look::Read(OURS));
        for found in [None, Some(RemoteCluster { name: "west".to_owned(), ..made() })] {
            let disputed = scene().but(|s| s.observed.reads.push((OURS, found)));
            disputed.rests(Reason::Undecodable, Stance::Progress);
            assert_eq!(looked_in_vain(&disputed.but(|s| s.now = at(130)).case()), None, "nor is it nothing");
        }
    }
}

#[test]
fn our_own_claim_does_not_stand_in_the_way() {
    let scene = Scene::doubtful(&[made()]).but(|s| {
        let claim = crate::domain::claims::Claim { holds: Some(holding(OURS)), ..Default::default() };
        let own = s.key.clone();
        s.claims.set(&own, Some(claim));
    });
    assert!(scene.marks().identity.is_some());
}

#[test]
fn a_record_that_might_be_someone_elses_is_not_taken() {
    let rows: [(Change, &str); 4] = [
        (|s| s.recorded.intent.as_mut().unwrap().remote_time = None, "its age proves nothing"),
        (|s| s.recorded.intent.as_mut().unwrap().remote_time = Some(at(3)), "older than the request"),
        (|s| s.recorded.intent.as_mut().unwrap().domain = Some("west.example.com".to_owned()), "its domain is another"),
        (|s| s.observed.reads[0].1 = Some(RemoteCluster { domain: None, ..made() }), "its domain is another"),
    ];
    for (change, hint) in rows {
        for dying in [false, true] {
            let scene = Scene::doubtful(&[made()]).but(change).but(|s| s.deleting = dying);
            scene.stalls(Reason::CreateAmbiguous, &[&OURS.to_string(), hint]);
        }
    }
}

#[test]
fn a_record_that_another_object_owns_is_no_candidate() {
    let taken = Scene::doubtful(&[made()]).but(|s| s.elder_owns(OURS));
    taken.rests(Reason::CreateInDoubt, Stance::Progress);
    let own = RemoteCluster { uuid: OTHER, ..made() };
    let both = Scene::doubtful(&[made(), own]).but(|s| s.elder_owns(OURS));
    assert_eq!(both.marks().identity.unwrap().uuid, OTHER);
}

#[test]
fn without_a_domain_in_the_intent_any_domain_fits() {
    let scene = Scene::doubtful(&[made()]).but(|s| s.recorded.intent.as_mut().unwrap().domain = None);
    assert!(scene.marks().identity.is_some());
}

#[test]
fn two_candidates_are_a_question_for_a_person() {
    let other = RemoteCluster { uuid: OTHER, ..made() };
    Scene::doubtful(&[made(), other]).stalls(Reason::CreateAmbiguous, &[&OURS.to_string(), &OTHER.to_string()]);
}

#[test]
fn records_from_before_the_intent_and_deleted_ones_are_no_candidates() {
    let scene = Scene::doubtful(&[record(OTHER, "east"), deleted(THIRD, "east"), record(OURS, "east")]).but(|s| {
        let intent = s.recorded.intent.as_mut().unwrap();
        intent.seen = vec![OTHER];
        intent.replaces = Some(OURS);
    });
    scene.rests(Reason::CreateInDoubt, Stance::Progress);
    assert_eq!(looked_in_vain(&scene.case()), None, "the quarantine is not over");
    assert_eq!(looked_in_vain(&scene.but(|s| s.now = at(120)).case()), Some(ATTEMPT));
}

#[test]
fn no_time_is_too_far_away() {
    for time in [Timestamp::MIN, Timestamp::MAX] {
        let scene = Scene::doubtful(&[RemoteCluster { created_at: time, ..made() }]);
        let _ = scene.but(|s| s.recorded.intent.as_mut().unwrap().remote_time = Some(Timestamp::MIN)).plan();
    }
}

// ---- quarantine ----

#[test]
fn nothing_is_sent_within_the_quarantine() {
    for second in [0, 10, 119] {
        let scene = Scene::doubtful(&[]).but(|s| {
            s.now = at(second);
            s.memory.empty_look = Some((ATTEMPT, at(-100)));
        });
        let plan = scene.rests(Reason::CreateInDoubt, Stance::Progress);
        let Again::After(wait) = plan.again else { panic!("{plan:?}") };
        assert!(!wait.is_zero() && wait <= secs(120), "{wait:?}");
        assert_eq!(looked_in_vain(&scene.case()), None);
    }
}

#[test]
fn the_wait_grows_and_never_goes_past_the_quarantine() {
    let wait = |failures, second| {
        let scene = Scene::doubtful(&[]).but(|s| {
            s.memory.failures = failures;
            s.now = at(second);
        });
        scene.plan().again
    };
    assert_eq!(wait(0, 10), Again::After(secs(1)));
    assert_eq!(wait(3, 10), Again::After(secs(8)));
    assert_eq!(wait(20, 10), Again::After(secs(110)));
    assert_eq!(wait(20, 119), Again::After(secs(1)));
}

#[test]
fn a_clock_that_steps_back_prolongs_the_quarantine() {
    Scene::doubtful(&[]).but(|s| s.now = at(-500)).rests(Reason::CreateInDoubt, Stance::Progress);
}

#[test]
fn two_looks_in_vain_two_seconds_apart_end_the_doubt() {
    let first = Scene::doubtful(&[]).but(|s| s.now = at(120));
    let plan = first.rests(Reason::CreateInDoubt, Stance::Progress);
    assert_eq!(plan.again, Again::After(secs(2)));
    assert_eq!(looked_in_vain(&first.case()), Some(ATTEMPT));
    looked_twice(1).rests(Reason::CreateInDoubt, Stance::Progress);
    looked_twice(2).clears();
    let told = looked_twice(2).but(|s| s.recorded.intent_told = true);
    told.steps(&Step::Forget(Stale::Attempt));
    let another = looked_twice(2).but(|s| s.memory.empty_look = Some((NONCE, at(100))));
    another.rests(Reason::CreateInDoubt, Stance::Progress);
}

#[test]
fn a_look_that_finds_something_is_not_in_vain() {
    let scene = Scene::doubtful(&[made()]).but(|s| s.now = at(130));
    assert_eq!(looked_in_vain(&scene.case()), None);
    assert_eq!(looked_in_vain(&scene.but(|s| s.observed.named = snapshot(&[])).case()), None, "a snapshot is no look");
    let calm = Scene::new().but(|s| s.observed.named = fresh(&[]));
    assert_eq!(looked_in_vain(&calm.case()), None, "nothing was in doubt");
}

#[test]
fn after_the_doubt_the_whole_table_applies_again() {
    let settled = |change: fn(&mut Scene)| {
        looked_twice(2).but(|s| {
            s.recorded.intent = None;
            s.recorded.intent_annotated = false;
            change(s);
        })
    };
    assert_eq!(settled(|_| {}).intends().attempt, NONCE);
    settled(|s| s.spec().management = Management::Observe).stalls(Reason::AdoptionTargetMissing, &["east"]);
    settled(|s| s.spec().adoption.policy = AdoptionPolicy::Required).stalls(Reason::AdoptionTargetMissing, &["east"]);
    settled(|s| s.spec().suspend = true).rests(Reason::Suspended, Stance::Apart);
    settled(|s| s.observed.named = fresh(&[record(OTHER, "east")])).stalls(Reason::NameConflict, &[&OTHER.to_string()]);
    settled(|s| s.rename_spec("west")).rests(Reason::InventoryStale, Stance::Quiet);
}

#[test]
fn an_attempt_that_was_never_sent_needs_no_quarantine() {
    let unsent = || {
        Scene::doubtful(&[]).but(|s| {
            s.memory.unsent = Some(ATTEMPT);
            s.observed.named = snapshot(&[]);
        })
    };
    unsent().clears();
    unsent().but(|s| s.rename_spec("west")).clears();
    unsent().but(|s| s.observed.named = snapshot(&[record(OTHER, "east")])).clears();
    unsent().but(|s| s.deleting = true).releases(Reason::DeletionRequested);
    unsent().but(|s| s.memory.unsent = Some(NONCE)).looks_for("east");
    unsent().but(|s| s.observed.trouble = Some(trouble(Reason::ConnectionFailed))).holds(Reason::ConnectionFailed);
}

#[test]
fn suspend_and_observe_resolve_the_doubt_and_create_nothing() {
    let quiet: [Change; 2] = [|s| s.spec().suspend = true, |s| s.spec().management = Management::Observe];
    for change in quiet {
        assert!(Scene::doubtful(&[made()]).but(change).marks().identity.is_some());
        Scene::doubtful(&[]).but(change).rests(Reason::CreateInDoubt, Stance::Progress);
        looked_twice(2).but(change).clears();
    }
}

// ---- refusals ----

#[test]
fn a_refusal_is_believed_after_a_look() {
    let refused = |reason| armed().but(|s| s.observed.refused = Some(trouble(reason)));
    for reason in [Reason::Rejected, Reason::NameHeld, Reason::Forbidden] {
        refused(reason).but(|s| s.observed.named = Named::NotLooked).looks_for("east");
        refused(reason).but(|s| s.observed.looked_at = Some(at(30))).clears();
        let cleared = refused(reason).but(|s| {
            s.recorded.intent = None;
            s.recorded.intent_annotated = false;
        });
        assert_eq!(cleared.rests(reason, Stance::Progress).again, Again::After(secs(1)));
        let after_much_else = cleared.but(|s| s.memory.failures = 20);
        assert_eq!(after_much_else.plan().again, Again::After(secs(30)), "the next attempt comes soon");
        let asked_to_wait = after_much_else.but(|s| s.observed.refused.as_mut().unwrap().retry_after = Some(secs(99)));
        assert_eq!(asked_to_wait.plan().again, Again::After(secs(99)));
    }
    refused(Reason::Forbidden).clears();
    refused(Reason::AuthFailed).clears();
    // The look may lag, and a gateway may have sent the request twice.
    for reason in [Reason::Rejected, Reason::NameHeld] {
        assert_eq!(refused(reason).rests(reason, Stance::Progress).again, Again::After(secs(20)));
        refused(reason).but(|s| s.policy.quarantine = secs(10)).clears();
        refused(reason).but(|s| s.now = at(50)).rests(reason, Stance::Progress);
        refused(reason).but(|s| s.observed.looked_at = None).rests(reason, Stance::Progress);
    }
    let committed = refused(Reason::Rejected).but(|s| s.observed.named = fresh(&[made()]));
    committed.looks(Look::Read(OURS));
    assert_eq!(committed.but(|s| s.read(&[made()])).marks().identity, Some(identity_of(&made())));
}

// ---- elsewhere, and dying ----

#[test]
fn doubt_at_another_server_or_tenant_is_not_resolved_here() {
    let rows: [fn(&mut Intent); 2] =
        [|intent| intent.origin = Origin::new("https://old.example.com"), |intent| intent.tenant = Some(TenantId(2))];
    for change in rows {
        for dying in [false, true] {
            let scene = looked_twice(2).but(|s| {
                change(s.recorded.intent.as_mut().unwrap());
                s.deleting = dying;
            });
            scene.stalls(Reason::OriginChanged, &["east", "restore the connection", "Orphan", "com (tenant 1001)"]);
            let unsent = scene.but(|s| s.memory.unsent = Some(ATTEMPT));
            if dying { unsent.releases(Reason::DeletionRequested) } else { unsent.clears() }
        }
    }
    let unknown = Scene::doubtful(&[made()]).but(|s| s.recorded.intent.as_mut().unwrap().tenant = None);
    assert_eq!(unknown.marks().identity.unwrap().tenant, Some(TENANT));
}

#[test]
fn a_dying_object_resolves_its_doubt_first() {
    let dying = |records: &[RemoteCluster]| Scene::doubtful(records).but(|s| s.deleting = true);
    dying(&[]).rests(Reason::CreateInDoubt, Stance::Progress);
    dying(&[]).but(|s| s.observed.named = Named::NotLooked).looks_for("east");
    assert!(dying(&[made()]).marks().identity.is_some());
    looked_twice(2).but(|s| s.deleting = true).releases(Reason::DeletionRequested);
    looked_twice(1).but(|s| s.deleting = true).rests(Reason::CreateInDoubt, Stance::Progress);
    let invalid = dying(&[]).but(|s| s.desired = Err(SpecError::Undecodable("x".to_owned())));
    invalid.rests(Reason::CreateInDoubt, Stance::Progress);
    dying(&[]).but(|s| s.observed.access.who = Err(trouble(Reason::AuthFailed))).holds(Reason::AuthFailed);
}

#[test]
fn a_dying_object_that_leaves_its_registration_need_not_wait() {
    let dying = || Scene::doubtful(&[]).but(|s| s.deleting = true);
    dying().but(|s| s.deletion.policy = Some(DeletionPolicy::Orphan)).releases(Reason::Orphaned);
    dying().but(|s| s.policy.default_deletion = Some(DeletionPolicy::Orphan)).releases(Reason::Orphaned);
    dying().but(|s| s.deletion.management = Management::Observe).releases(Reason::Orphaned);
}

#[test]
fn a_deleting_namesake_is_waited_for_and_a_wish_does_not_hide_an_intent() {
    Scene::new().but(|s| s.observed.named = fresh(&[deleting(OTHER, "east")])).holds(Reason::NameHeld);
    let wish = Scene::doubtful(&[]).but(|s| s.recorded.annotated = Annotated::Misfit(Some(OTHER)));
    wish.rests(Reason::CreateInDoubt, Stance::Progress);
}

// ---- an empty list ----

/// A fresh list that held nothing, although another object owns `OTHER`.
fn empty(alive: Option<bool>) -> impl Fn(&mut Scene) {
    move |s| {
        s.observed.named = fresh(&[]);
        s.observed.witness = Some(OTHER);
        let found = |lives| if lives { Some(record(OTHER, "west")) } else { Some(deleting(OTHER, "west")) };
        s.observed.reads.extend(alive.map(|lives| (OTHER, found(lives))));
    }
}

#[test]
fn an_empty_list_is_held_against_a_known_registration_before_it_counts() {
    let scenes: [fn() -> Scene; 3] = [Scene::new, || looked_twice(2), || looked_twice(2).but(|s| s.deleting = true)];
    for scene in scenes {
        scene().but(empty(None)).steps(&Step::Look(Look::Read(OTHER)));
        let unsettled = scene().but(empty(Some(true)));
        unsettled.rests(Reason::Undecodable, Stance::Progress);
        assert!(unsettled.plan().message.contains(&OTHER.to_string()), "{}", unsettled.plan().message);
        let believed = scene().but(empty(Some(false))).plan();
        assert!(matches!(believed.step, Step::Mark(_) | Step::Release), "{believed:?}");
    }
}

#[test]
fn a_look_that_is_not_believed_was_not_in_vain() {
    for (alive, vain) in [(None, false), (Some(true), false), (Some(false), true)] {
        let scene = looked_twice(0).but(empty(alive));
        assert_eq!(looked_in_vain(&scene.case()).is_some(), vain, "{alive:?}");
    }
}

#[test]
fn only_what_cannot_have_been_committed_counts_as_unsent() {
    for status in [None, Some(201), Some(503)] {
        assert_eq!(fate(true, status), Fate::Unsent);
    }
    let table = [
        (None, Fate::Unknown),
        (Some(201), Fate::Unknown),
        (Some(307), Fate::Unknown),
        (Some(400), Fate::Refused),
        (Some(401), Fate::Refused),
        (Some(408), Fate::Unknown),
        (Some(409), Fate::Refused),
        (Some(429), Fate::Unsent),
        (Some(499), Fate::Refused),
        (Some(500), Fate::Unknown),
        (Some(503), Fate::Unknown),
        (Some(599), Fate::Unknown),
    ];
    for (status, meaning) in table {
        assert_eq!(fate(false, status), meaning, "{status:?}");
    }
}
