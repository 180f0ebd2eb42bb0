//! The table for live objects, row by row.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use crate::domain::desired::{AdoptionPolicy, Management, RecreatePolicy, SpecError};
use crate::domain::ids::{
    ClusterDomain, ClusterName, ClusterUuid, CredentialId, IdError, Origin, Provenance, TenantId,
};
use crate::domain::observed::{Absence, Access, Named, RemoteCluster, Sighting, Trouble, Who};
use crate::domain::plan::{Again, Look, Marks, Stance, Step};
use crate::domain::reason::Reason;
use crate::domain::recorded::{Annotated, Identity};
use crate::domain::scene_tests::{
    Change, NONCE, OTHER, OURS, Scene, THIRD, at, deleted, deleting, fresh, identity, intent, key, proven, record,
    secs, snapshot, status_of, trouble, who,
};

fn created() -> Scene {
    Scene::owner(Provenance::Created)
}

/// The registration is named `remote`; the spec still says `east`, and the snapshot was asked for `east`.
fn renamed_to(remote: &str) -> Scene {
    created().but(|s| {
        s.observed.uuid = Sighting::Present(record(OURS, remote));
        s.observed.named = snapshot(&[]);
    })
}

fn rename_to_east() -> Step {
    Step::Rename(OURS, ClusterName::parse("east").unwrap())
}

// ---- what comes before everything else ----

#[test]
fn an_invalid_spec_writes_nothing_and_names_the_field() {
    let source = IdError { what: "name", problem: "must not be bad".to_owned() };
    let error = SpecError::Field { field: "name", source };
    for scene in [Scene::new(), created(), Scene::doubtful(&[])] {
        let scene = scene.but(|s| s.desired = Err(error.clone()));
        scene.stalls(Reason::InvalidSpec, &["spec.name", "must not be bad"]);
    }
}

#[test]
fn without_access_nothing_is_done() {
    for scene in [Scene::new, created, || Scene::doubtful(&[])] {
        scene()
            .but(|s| s.observed.access.who = Err(trouble(Reason::ConnectionInvalid)))
            .holds(Reason::ConnectionInvalid);
        scene()
            .but(|s| s.observed.access.live = Some(trouble(Reason::NamespaceNotAllowed)))
            .holds(Reason::NamespaceNotAllowed);
        let lasting = Trouble { stalled: true, ..trouble(Reason::ControlPlaneMissing) };
        scene().but(|s| s.observed.access.who = Err(lasting)).stalls(Reason::ControlPlaneMissing, &[]);
    }
}

#[test]
fn a_retry_after_is_obeyed() {
    let throttled = Trouble { retry_after: Some(secs(33)), ..trouble(Reason::Throttled) };
    let plan = created().but(|s| s.observed.trouble = Some(throttled)).rests(Reason::Throttled, Stance::Progress);
    assert_eq!(plan.again, Again::After(secs(33)));
}

#[test]
fn the_first_list_is_waited_for_in_silence_unless_it_fails() {
    let early = |scene: Scene| {
        scene.but(|s| {
            s.observed.uuid = Sighting::NotLooked;
            s.observed.named = Named::NotLooked;
        })
    };
    for scene in [Scene::new(), created(), Scene::new().but(|s| s.spec().adoption.uuid = Some(OURS))] {
        early(scene).rests(Reason::InventoryStale, Stance::Quiet);
    }
    let failing = |scene: Scene| early(scene).but(|s| s.observed.inventory = Some(trouble(Reason::ConnectionFailed)));
    failing(Scene::new()).holds(Reason::ConnectionFailed);
    failing(created()).rests(Reason::InventoryStale, Stance::Quiet);
    failing(created()).but(|s| s.observed.stale = true).rests(Reason::ConnectionFailed, Stance::Unsure);
}

// ---- settled ----

#[test]
fn a_registration_that_matches_is_left_alone() {
    let plan = created().rests(Reason::Registered, Stance::InSync);
    assert_eq!(plan.again, Again::WhenChanged);
    Scene::owner(Provenance::Adopted).rests(Reason::Adopted, Stance::InSync);
    let unlisted = created().but(|s| s.observed.unlisted = true).rests(Reason::Registered, Stance::InSync);
    assert_eq!(unlisted.again, Again::After(secs(60)));
}

#[test]
fn identity_is_written_where_it_is_missing() {
    let whole = Marks { identity: Some(identity(OURS, Provenance::Created)), intent: None };
    let rows: [(Change, &str); 7] = [
        (|s| s.recorded.annotated = Annotated::Nothing, "annotations wiped"),
        (|s| s.recorded.annotated = Annotated::Misfit(Some(OTHER)), "annotations forged"),
        (|s| s.recorded.incomplete = true, "half of the annotations wiped"),
        (|s| s.recorded.finalizer = false, "finalizer taken"),
        (|s| s.recorded.foreign_intent = true, "an intent that is not ours"),
        (|s| s.recorded.intent = Some(intent()), "an intent that is done"),
        (|s| s.recorded.intent_annotated = true, "the annotation of an intent"),
    ];
    for (change, what) in rows {
        assert_eq!(created().but(change).marks(), whole, "{what}");
    }
    let restored = created().but(|s| s.recorded.status = None);
    restored.rests(Reason::Registered, Stance::InSync);
}

#[test]
fn a_rotated_credential_keeps_the_note() {
    let rotated = created().but(|s| {
        s.observed.access.who = Ok(Who { credential: CredentialId::new("client:b"), ..who() });
    });
    rotated.rests(Reason::Registered, Stance::InSync);
    let marks = rotated.but(|s| s.recorded.finalizer = false).marks();
    assert_eq!(marks.identity.unwrap().credential, Some(who().credential));
}

#[test]
fn drift_is_reported_and_never_fought() {
    let drifted = created().but(|s| s.spec().domain = Some(ClusterDomain::parse("west.example.com").unwrap()));
    drifted.rests(Reason::Drifted, Stance::Apart);
    let same = created().but(|s| s.spec().domain = Some(ClusterDomain::parse("http://EAST.example.com/").unwrap()));
    same.rests(Reason::Registered, Stance::InSync);
    created().but(|s| s.spec().domain = None).rests(Reason::Registered, Stance::InSync);
    let unknown = RemoteCluster { domain: None, ..record(OURS, "east") };
    created().but(|s| s.observed.uuid = Sighting::Present(unknown)).rests(Reason::Registered, Stance::InSync);
}

#[test]
fn a_twin_is_reported_and_never_touched() {
    let twins = |twin: RemoteCluster| created().but(|s| s.observed.named = snapshot(&[record(OURS, "east"), twin]));
    twins(record(OTHER, "east")).stalls(Reason::DuplicateRegistration, &[&OTHER.to_string(), &OURS.to_string()]);
    let innocent = [
        deleting(OTHER, "east"),
        deleted(OTHER, "east"),
        RemoteCluster { domain: None, ..record(OTHER, "east") },
        RemoteCluster { domain: Some(ClusterDomain::observed("west.example.com")), ..record(OTHER, "east") },
    ];
    for twin in innocent {
        twins(twin).rests(Reason::Registered, Stance::InSync);
    }
    twins(record(OTHER, "east")).but(|s| s.elder_owns(OTHER)).rests(Reason::Registered, Stance::InSync);
    let adopted = Scene::owner(Provenance::Adopted)
        .but(|s| s.observed.named = snapshot(&[record(OURS, "east"), record(OTHER, "east")]));
    adopted.rests(Reason::Adopted, Stance::InSync);
}

#[test]
fn a_stale_inventory_is_said_and_nothing_is_written() {
    let stale = |s: &mut Scene| s.observed.stale = true;
    created().but(stale).rests(Reason::InventoryStale, Stance::Unsure);
    renamed_to("west").but(stale).rests(Reason::InventoryStale, Stance::Unsure);
    let why = created().but(stale).but(|s| s.observed.inventory = Some(trouble(Reason::ConnectionFailed)));
    why.rests(Reason::ConnectionFailed, Stance::Unsure);
    let refused = |since| {
        created().but(stale).but(|s| {
            s.observed.inventory = Some(trouble(Reason::Forbidden));
            s.memory.trouble = Some((Reason::Forbidden, at(since)));
        })
    };
    refused(41).rests(Reason::Forbidden, Stance::Unsure);
    refused(40).stalls(Reason::Forbidden, &[]);
    let failing = created().but(|s| s.observed.inventory = Some(trouble(Reason::ConnectionFailed)));
    failing.rests(Reason::Registered, Stance::InSync);
}

// ---- rename ----

#[test]
fn a_name_that_differs_is_put_back() {
    renamed_to("west").steps(&rename_to_east());
    renamed_to("East").steps(&rename_to_east());
    renamed_to("west").but(|s| s.observed.trouble = Some(trouble(Reason::Rejected))).holds(Reason::Rejected);
}

#[test]
fn the_new_name_is_looked_for_first() {
    for named in [Named::NotLooked, Named::Fresh("west".to_owned(), vec![record(OURS, "west")])] {
        renamed_to("west").but(|s| s.observed.named = named).looks_for("east");
    }
}

#[test]
fn a_taken_or_held_name_is_not_renamed_onto() {
    let onto = |other: RemoteCluster| renamed_to("west").but(|s| s.observed.named = snapshot(&[other]));
    onto(record(OTHER, "east")).stalls(Reason::NameConflict, &[&OTHER.to_string(), "spec.name"]);
    onto(deleting(OTHER, "east")).holds(Reason::NameHeld);
    onto(deleted(OTHER, "east")).steps(&rename_to_east());
}

#[test]
fn a_fight_about_the_name_ends_until_the_spec_changes() {
    let fight = |renames: &[i64]| {
        let renames: Vec<_> = renames.iter().map(|second| at(*second)).collect();
        renamed_to("west").but(|s| {
            s.memory.renames = renames;
            s.memory.renames_for = 1;
        })
    };
    fight(&[10, 20]).steps(&rename_to_east());
    fight(&[10, 20, 30]).stalls(Reason::ManagementConflict, &["west"]);
    fight(&[10, 20, 30]).but(|s| s.generation = 2).steps(&rename_to_east());
    fight(&[10, 20, 30]).but(|s| s.now = at(3610)).steps(&rename_to_east());
    let over = fight(&[10, 20, 30]).but(|s| s.observed.uuid = Sighting::Present(record(OURS, "east")));
    over.rests(Reason::Registered, Stance::InSync);
}

// ---- suspend, observe ----

#[test]
fn suspend_writes_nothing_remote() {
    let suspend = |s: &mut Scene| s.spec().suspend = true;
    Scene::new().but(suspend).rests(Reason::Suspended, Stance::Apart);
    Scene::new().but(suspend).but(|s| s.spec().adoption.uuid = Some(OURS)).rests(Reason::Suspended, Stance::Apart);
    created().but(suspend).rests(Reason::Suspended, Stance::InSync);
    renamed_to("west").but(suspend).rests(Reason::Suspended, Stance::Apart);
    let lost = created().but(suspend).but(|s| {
        s.spec().recreate = RecreatePolicy::IfMissing;
        s.observed.uuid = proven();
    });
    lost.stalls(Reason::ExternallyDeleted, &[]);
}

#[test]
fn observe_writes_nothing_at_all() {
    let observe = |s: &mut Scene| s.spec().management = Management::Observe;
    created().but(observe).rests(Reason::Observed, Stance::InSync);
    renamed_to("west").but(observe).rests(Reason::Observed, Stance::InSync);
    created().but(observe).but(|s| s.recorded.annotated = Annotated::Nothing).rests(Reason::Observed, Stance::InSync);
    let by_name = Scene::new().but(observe).but(|s| s.observed.named = snapshot(&[record(OTHER, "east")]));
    by_name.looks(Look::Read(OTHER));
    let by_name = by_name.but(|s| s.read(&[record(OTHER, "east")]));
    by_name.rests(Reason::Observed, Stance::InSync);
    let by_uuid = Scene::new().but(observe).but(|s| {
        s.spec().adoption.uuid = Some(OTHER);
        s.observed.uuid = Sighting::Present(record(OTHER, "whatever"));
        s.read(&[record(OTHER, "whatever")]);
    });
    by_uuid.rests(Reason::Observed, Stance::InSync);
    Scene::new().but(observe).stalls(Reason::AdoptionTargetMissing, &["east"]);
    Scene::new()
        .but(observe)
        .but(|s| s.observed.access.may_adopt = false)
        .stalls(Reason::AdoptionNotAllowed, &["team-a"]);
    let lost = created().but(observe).but(|s| {
        s.spec().recreate = RecreatePolicy::IfMissing;
        s.observed.uuid = proven();
    });
    lost.stalls(Reason::ExternallyDeleted, &[]);
}

// ---- adopt ----

fn adopting(record: Option<RemoteCluster>) -> Scene {
    Scene::new().but(|s| {
        s.spec().adoption.uuid = Some(OTHER);
        s.observed.uuid = record.map_or(Sighting::NotListed, Sighting::Present);
    })
}

fn adopted() -> Marks {
    Marks { identity: Some(identity(OTHER, Provenance::Adopted)), intent: None }
}

#[test]
fn adoption_by_uuid() {
    let seen = || adopting(Some(record(OTHER, "any name")));
    seen().looks(Look::Read(OTHER));
    assert_eq!(seen().but(|s| s.read(&[record(OTHER, "any name")])).marks(), adopted());
    adopting(None).looks(Look::ById(OTHER));
    let missing = Sighting::Absent(Absence { listed_after: false, tenant: None });
    for sighting in [missing, Sighting::Present(deleting(OTHER, "east")), Sighting::Present(deleted(OTHER, "east"))] {
        let scene = adopting(None).but(|s| s.observed.uuid = sighting);
        scene.stalls(Reason::AdoptionTargetMissing, &[&OTHER.to_string(), "spec.adoption.uuid"]);
    }
    adopting(None).but(|s| s.observed.trouble = Some(trouble(Reason::Forbidden))).holds(Reason::Forbidden);
}

#[test]
fn adoption_needs_permission_and_an_unclaimed_registration() {
    let seen = || adopting(Some(record(OTHER, "east")));
    seen()
        .but(|s| s.observed.access.may_adopt = false)
        .stalls(Reason::AdoptionNotAllowed, &["team-a", "adoptionNamespaces"]);
    seen().but(|s| s.elder_owns(OTHER)).stalls(Reason::AlreadyClaimed, &["team-a/elder"]);
    let observing = seen().but(|s| s.elder_owns(OTHER)).but(|s| s.spec().management = Management::Observe);
    observing.stalls(Reason::AlreadyClaimed, &[]);
}

#[test]
fn adoption_by_name() {
    use AdoptionPolicy::{IfExists, Never, Required};
    let named = |policy, records: &[RemoteCluster]| {
        let records = records.to_vec();
        Scene::new().but(|s| {
            s.spec().adoption.policy = policy;
            s.observed.named = snapshot(&records);
        })
    };
    let (one, two) = ([record(OTHER, "east")], [record(OTHER, "east"), record(THIRD, "east")]);

    named(Never, &[]).looks_for("east");
    named(IfExists, &[]).looks_for("east");
    named(IfExists, &[]).but(|s| s.observed.access.may_adopt = false).looks_for("east");
    named(Required, &[]).stalls(Reason::AdoptionTargetMissing, &["east"]);

    named(Never, &one).stalls(Reason::NameConflict, &[&OTHER.to_string(), "spec.adoption.uuid", "spec.name"]);
    for policy in [IfExists, Required] {
        named(policy, &one).looks(Look::Read(OTHER));
        assert_eq!(named(policy, &one).but(|s| s.read(&one)).marks(), adopted());
        named(policy, &one).but(|s| s.observed.access.may_adopt = false).stalls(Reason::AdoptionNotAllowed, &[]);
        named(policy, &one).but(|s| s.elder_owns(OTHER)).stalls(Reason::NameConflict, &["team-a/elder"]);
        named(policy, &[deleting(OTHER, "east")]).holds(Reason::NameHeld);
        let with_old = named(policy, &[deleted(THIRD, "east"), record(OTHER, "east")]).but(|s| s.read(&one));
        assert_eq!(with_old.marks(), adopted());
    }
    for policy in [Never, IfExists, Required] {
        named(policy, &two).stalls(Reason::CreateAmbiguous, &[&OTHER.to_string(), &THIRD.to_string()]);
    }
}

/// A list that mixes uuids up would hand out what is another's, or nobody's.
#[test]
fn a_list_alone_hands_out_nothing() {
    let by_name = || {
        Scene::new().but(|s| {
            s.spec().adoption.policy = AdoptionPolicy::IfExists;
            s.observed.named = snapshot(&[record(OTHER, "east")]);
        })
    };
    for scene in [by_name, || adopting(Some(record(OTHER, "east")))] {
        for found in [None, Some(record(OTHER, "west"))] {
            let disputed = scene().but(|s| s.observed.reads.push((OTHER, found)));
            disputed.rests(Reason::Undecodable, Stance::Progress);
            assert!(disputed.plan().message.contains(&OTHER.to_string()), "{}", disputed.plan().message);
            assert_eq!(disputed.plan().again, Again::Backoff);
        }
        let of_another = scene().but(|s| s.observed.reads.push((THIRD, Some(record(THIRD, "east")))));
        of_another.looks(Look::Read(OTHER));
    }
}

/// Just made and not found: a read that lags, most likely.
#[test]
fn a_registration_that_was_made_a_moment_ago_is_not_missed_yet() {
    for recreate in [RecreatePolicy::Never, RecreatePolicy::IfMissing] {
        let scene = created().but(|s| {
            s.spec().recreate = recreate;
            s.observed.uuid = proven();
            s.observed.remote_now = Some(at(90));
        });
        let plan = scene.rests(Reason::Registered, Stance::Quiet);
        assert_eq!(plan.again, Again::After(secs(30)));
        let sooner = scene.but(|s| s.observed.remote_now = Some(at(10)));
        assert_eq!(sooner.plan().again, Again::After(secs(60)));
    }
}

#[test]
fn thousands_of_namesakes_fit_into_a_message() {
    let many: Vec<_> = (0..5000).map(|n| record(ClusterUuid(uuid::Uuid::from_u128(0x1000 + n)), "east")).collect();
    let scene = Scene::new().but(|s| s.observed.named = snapshot(&many));
    scene.stalls(Reason::CreateAmbiguous, &["5000 registrations", "and 4990 more"]);
    assert!(scene.plan().message.len() < 1000);
}

#[test]
fn a_name_that_turns_up_in_the_fresh_look_is_a_conflict_too() {
    let late = Scene::new().but(|s| s.observed.named = fresh(&[record(OTHER, "east")]));
    late.stalls(Reason::NameConflict, &[&OTHER.to_string()]);
}

#[test]
fn an_unsigned_annotation_is_only_a_wish_to_adopt() {
    let wish = |uuid| {
        Scene::new().but(|s| {
            s.recorded.annotated = Annotated::Misfit(uuid);
            s.observed.uuid = Sighting::Present(record(OTHER, "west"));
            s.read(&[record(OTHER, "west")]);
        })
    };
    assert_eq!(wish(Some(OTHER)).marks(), adopted());
    wish(Some(OTHER)).but(|s| s.observed.access.may_adopt = false).stalls(Reason::AdoptionNotAllowed, &["annotations"]);
    wish(Some(OTHER)).but(|s| s.elder_owns(OTHER)).stalls(Reason::AlreadyClaimed, &[]);
    wish(None).stalls(Reason::IdentityConflict, &["remove them"]);
    wish(None).but(|s| s.spec().suspend = true).rests(Reason::Suspended, Stance::Apart);
}

// ---- claims, elsewhere ----

#[test]
fn the_younger_owner_stands_back() {
    renamed_to("west").but(|s| s.elder_owns(OURS)).stalls(Reason::AlreadyClaimed, &["team-a/elder", &OURS.to_string()]);
    let own = created().but(|s| {
        s.elder_owns(OURS);
        s.key = key("elder");
    });
    own.rests(Reason::Registered, Stance::InSync);
}

#[test]
fn another_origin_or_tenant_stops_every_write() {
    let rows: [Change; 4] = [
        |s| s.observed.access.who = Ok(Who { origin: Origin::new("https://other.example.com"), ..who() }),
        |s| s.observed.access.who = Ok(Who { tenant: Some(TenantId(2)), ..who() }),
        |s| s.observed.uuid = Sighting::Present(RemoteCluster { tenant: TenantId(2), ..record(OURS, "west") }),
        |s| s.observed.uuid = Sighting::Absent(Absence { listed_after: true, tenant: Some(TenantId(2)) }),
    ];
    for change in rows {
        let scene = renamed_to("west").but(|s| s.spec().recreate = RecreatePolicy::IfMissing).but(change);
        scene.stalls(Reason::OriginChanged, &["restore the connection"]);
    }
}

#[test]
fn what_status_lacks_is_learnt_from_the_record() {
    let scene = created().but(|s| {
        s.recorded.status = Some(Identity { tenant: None, ..status_of(&identity(OURS, Provenance::Created)) });
        s.recorded.annotated = Annotated::Nothing;
    });
    assert_eq!(scene.marks().identity, Some(identity(OURS, Provenance::Created)));
}

// ---- gone by someone else's hand ----

fn lost(policy: RecreatePolicy) -> Scene {
    created().but(|s| {
        s.spec().recreate = policy;
        s.observed.uuid = proven();
        s.observed.named = snapshot(&[]);
    })
}

#[test]
fn not_listed_is_read_by_id() {
    for other in [record(OTHER, "west"), deleted(OTHER, "east")] {
        created().but(|s| s.observed.uuid = Sighting::Present(other)).looks(Look::ById(OURS));
    }
    created().but(|s| s.observed.uuid = Sighting::NotListed).looks(Look::ById(OURS));
    created().but(|s| s.observed.trouble = Some(trouble(Reason::Undecodable))).holds(Reason::Undecodable);
}

#[test]
fn an_unproven_absence_recreates_nothing() {
    for absence in [Absence { listed_after: false, tenant: None }, Absence { listed_after: true, tenant: None }] {
        let scene = lost(RecreatePolicy::IfMissing).but(|s| s.observed.uuid = Sighting::Absent(absence));
        scene.stalls(Reason::AbsenceUnproven, &[&OURS.to_string(), "Orphan"]);
    }
}

#[test]
fn a_lost_registration_is_recreated_only_on_request() {
    lost(RecreatePolicy::Never).stalls(Reason::ExternallyDeleted, &[&OURS.to_string(), "IfMissing"]);
    lost(RecreatePolicy::IfMissing).looks_for("east");
    let written = lost(RecreatePolicy::IfMissing).but(|s| s.observed.named = fresh(&[])).intends();
    assert_eq!((written.attempt, written.replaces), (NONCE, Some(OURS)));
    let taken = lost(RecreatePolicy::IfMissing).but(|s| s.observed.named = snapshot(&[record(OTHER, "east")]));
    taken.stalls(Reason::NameConflict, &[&OTHER.to_string()]);
    let itself = lost(RecreatePolicy::IfMissing).but(|s| s.observed.named = fresh(&[record(OURS, "east")]));
    assert_eq!(itself.intends().seen, [OURS]);
}

#[test]
fn deleted_at_is_proof_whoever_sees_it() {
    let seen = |policy| {
        lost(policy).but(|s| {
            s.observed.uuid = Sighting::Present(deleted(OURS, "east"));
            s.observed.access.who = Ok(Who { credential: CredentialId::new("client:b"), tenant: None, ..who() });
        })
    };
    seen(RecreatePolicy::Never).stalls(Reason::ExternallyDeleted, &[&OURS.to_string()]);
    seen(RecreatePolicy::IfMissing).looks_for("east");
}

#[test]
fn a_deletion_by_someone_else_is_waited_for() {
    let scene = renamed_to("west").but(|s| {
        s.observed.uuid = Sighting::Present(deleting(OURS, "west"));
        s.spec().recreate = RecreatePolicy::IfMissing;
    });
    scene.rests(Reason::DeletionRequested, Stance::Apart);
}

#[test]
fn every_rest_comes_back_in_time() {
    // A wait of zero would be a loop, and whatever needs a person is still looked at.
    let scenes = [created(), renamed_to("west"), lost(RecreatePolicy::Never), Scene::doubtful(&[]), adopting(None)];
    for scene in scenes {
        let Access { who, .. } = &scene.observed.access;
        assert!(who.is_ok());
        let plan = scene.plan();
        match plan.again {
            Again::After(wait) => assert!(!wait.is_zero(), "{plan:?}"),
            Again::WhenChanged => assert_eq!(plan.stance, Stance::InSync, "{plan:?}"),
            Again::Backoff => {}
        }
        if plan.stance == Stance::Stalled {
            assert_eq!(plan.again, Again::After(Duration::from_secs(300)));
        }
    }
}
