//! The rules that live and dying objects share: what an object may call its own, and what proves an absence.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::proof::is_proof;
use super::{
    Look, Marks, Standing, Step, Verdict, claimed, clean_up, elsewhere, judge, left_behind, may_create,
    name_in_question, note, open_attempt, remembered_refusal, standing, uuid_in_question,
};
use crate::domain::claims::Holding;
use crate::domain::desired::{DeletionPolicy, Management, SpecError};
use crate::domain::ids::{CredentialId, Origin, Provenance, TenantId};
use crate::domain::memory::Accepted;
use crate::domain::observed::{Absence, Who};
use crate::domain::reason::Reason;
use crate::domain::recorded::{Annotated, Identity, Intent};
use crate::domain::scene_tests::{
    ATTEMPT, NONCE, OTHER, OURS, QUARANTINE, Scene, TENANT, THIRD, accepted, at, holding, identity, intent, record,
    secs, status_of, trouble, who,
};

fn owns(scene: &Scene) -> Identity {
    let standing = standing(&scene.case());
    let Standing::Owns(identity) = standing else { panic!("{standing:?}") };
    identity
}

#[test]
fn any_note_alone_makes_an_owner() {
    let own = identity(OURS, Provenance::Created);
    let status = Scene::new().but(|s| s.recorded.status = Some(status_of(&own)));
    assert_eq!(owns(&status), status_of(&own));
    let annotated = Scene::new().but(|s| s.recorded.annotated = Annotated::Fits(own.clone()));
    assert_eq!(owns(&annotated), own);
    let learned = Scene::new().but(|s| s.memory.learned = Some(own.clone()));
    assert_eq!(owns(&learned), own);
    assert_eq!(standing(&Scene::new().case()), Standing::Nothing);
}

#[test]
fn notes_complete_each_other_and_one_adopted_makes_adopted() {
    let scene = Scene::owner(Provenance::Created).but(|s| {
        s.recorded.status = Some(status_of(&identity(OURS, Provenance::Adopted)));
        s.recorded.annotated = Annotated::Fits(Identity { tenant: None, ..identity(OURS, Provenance::Created) });
    });
    assert_eq!(owns(&scene), identity(OURS, Provenance::Adopted));
}

#[test]
fn contradicting_notes_are_a_conflict() {
    let scene = Scene::owner(Provenance::Created);
    let changes: [fn(&mut Identity); 3] = [
        |note| note.uuid = OTHER,
        |note| note.tenant = Some(TenantId(2)),
        |note| note.origin = Some(Origin::new("https://other.example.com")),
    ];
    let mut scenes: Vec<Scene> = changes
        .iter()
        .map(|change| {
            let mut note = identity(OURS, Provenance::Created);
            change(&mut note);
            Scene::owner(Provenance::Created).but(|s| s.memory.learned = Some(note))
        })
        .collect();
    assert!(matches!(standing(&scene.case()), Standing::Owns(_)));
    scenes.push(Scene::owner(Provenance::Created).but(|s| {
        s.recorded.annotated = Annotated::Fits(identity(OTHER, Provenance::Created));
    }));
    for scene in scenes {
        assert!(matches!(standing(&scene.case()), Standing::Conflict(_)), "{:?}", scene.recorded);
        assert_eq!(uuid_in_question(&scene.case()), None);
    }
}

#[test]
fn the_conflict_names_both_registrations_and_the_one_in_status() {
    let scene = Scene::owner(Provenance::Created)
        .but(|s| s.recorded.annotated = Annotated::Fits(identity(OTHER, Provenance::Created)));
    let hint = format!("if {OURS} is right");
    scene.stalls(Reason::IdentityConflict, &[&OURS.to_string(), &OTHER.to_string(), &hint]);
    let dying = scene.but(|s| s.deleting = true);
    dying.stalls(Reason::IdentityConflict, &["registered-with"]);
}

#[test]
fn an_unsigned_annotation_is_a_wish_and_never_outweighs_a_note() {
    for wish in [Some(OTHER), None] {
        let scene = Scene::new().but(|s| s.recorded.annotated = Annotated::Misfit(wish));
        assert_eq!(standing(&scene.case()), Standing::Wish(wish));
        assert_eq!(uuid_in_question(&scene.case()), wish);
        let owner = Scene::owner(Provenance::Created).but(|s| s.recorded.annotated = Annotated::Misfit(wish));
        assert_eq!(owns(&owner).uuid, OURS);
    }
}

#[test]
fn an_intent_that_replaces_takes_the_lost_registration_out_of_every_note() {
    let scene = Scene::owner(Provenance::Created).but(|s| {
        s.memory.learned = Some(identity(OURS, Provenance::Created));
        s.recorded.intent = Some(Intent { replaces: Some(OURS), ..intent() });
    });
    assert_eq!(standing(&scene.case()), Standing::Nothing);
    let learned = scene.but(|s| s.memory.learned = Some(identity(OTHER, Provenance::Created)));
    assert_eq!(owns(&learned).uuid, OTHER);
}

#[test]
fn the_questions_of_a_pass() {
    let fresh = Scene::new();
    assert_eq!((uuid_in_question(&fresh.case()), name_in_question(&fresh.case())), (None, Some("east")));
    let asked = Scene::new().but(|s| s.spec().adoption.uuid = Some(THIRD));
    assert_eq!(uuid_in_question(&asked.case()), Some(THIRD));
    let wish_and_asked = asked.but(|s| s.recorded.annotated = Annotated::Misfit(Some(OTHER)));
    assert_eq!(uuid_in_question(&wish_and_asked.case()), Some(THIRD));
    let owner = Scene::owner(Provenance::Created).but(|s| s.spec().adoption.uuid = Some(THIRD));
    assert_eq!(uuid_in_question(&owner.case()), Some(OURS));
    let pending = Scene::doubtful(&[]).but(|s| s.rename_spec("west"));
    assert_eq!(name_in_question(&pending.case()), Some("east"));
    let answered = pending.but(|s| s.memory.learned = Some(identity(OURS, Provenance::Created)));
    assert_eq!(name_in_question(&answered.case()), Some("west"), "the attempt is not open any more");
    let invalid = Scene::new().but(|s| s.desired = Err(SpecError::Undecodable("x".to_owned())));
    assert_eq!((uuid_in_question(&invalid.case()), name_in_question(&invalid.case())), (None, None));
}

#[test]
fn what_an_object_lays_claim_to() {
    let claim = |scene: &Scene| claimed(&scene.recorded, &scene.memory);
    assert_eq!(claim(&Scene::owner(Provenance::Adopted)), Some(holding(OURS)));
    let unnoted = Scene::owner(Provenance::Created).but(|s| s.recorded.annotated = Annotated::Nothing);
    assert_eq!(claim(&unnoted), Some(Holding { origin: None, ..holding(OURS) }), "status does not hold the server");
    assert_eq!(claim(&Scene::new()), None);
    assert_eq!(claim(&Scene::new().but(|s| s.recorded.annotated = Annotated::Misfit(Some(OTHER)))), None, "a wish");
    let learned =
        Scene::owner(Provenance::Created).but(|s| s.memory.learned = Some(identity(OTHER, Provenance::Created)));
    assert_eq!(claim(&learned).map(|held| held.uuid), Some(OURS), "of contradicting notes status counts");
}

#[test]
fn a_note_keeps_what_is_known_and_adds_what_is_not() {
    let noted = |identity: &Identity| match note(identity, &record(OURS, "east"), &who(), Reason::Registered).step {
        Step::Mark(Marks { identity: Some(noted), intent: None }) => noted,
        other => panic!("{other:?}"),
    };
    let (origin, credential) = (Origin::new("https://old.example.com"), CredentialId::new("client:old"));
    let whole = Identity { origin: Some(origin), credential: Some(credential), ..identity(OURS, Provenance::Adopted) };
    assert_eq!(noted(&whole), whole);
    assert_eq!(noted(&status_of(&whole)), identity(OURS, Provenance::Adopted));
}

#[test]
fn another_origin_or_tenant_is_elsewhere_and_what_is_unknown_is_not() {
    let own = identity(OURS, Provenance::Created);
    assert_eq!(elsewhere(&own, &who()), None);
    assert_eq!(elsewhere(&own, &Who { tenant: None, ..who() }), None);
    assert_eq!(elsewhere(&own, &Who { credential: CredentialId::new("client:b"), ..who() }), None);
    let bare = Identity { tenant: None, origin: None, ..own.clone() };
    let far = Who { origin: Origin::new("https://other.example.com"), tenant: Some(TenantId(2)), ..who() };
    assert_eq!(elsewhere(&bare, &far), None);
    let tenant = elsewhere(&own, &Who { tenant: Some(TenantId(2)), ..who() }).unwrap();
    assert!(tenant.contains("tenant 1001") && tenant.contains("tenant 2") && tenant.contains("Orphan"), "{tenant}");
    let origin = elsewhere(&own, &Who { origin: Origin::new("https://other.example.com"), ..who() }).unwrap();
    assert!(origin.contains("cp.example.com") && origin.contains("other.example.com"), "{origin}");
}

/// One row: what is noted, remembered and answered, and whether that proves the registration gone.
struct Proof {
    why: &'static str,
    change: fn(&mut Scene, &mut Identity, &mut Absence),
    holds: bool,
}

#[test]
fn what_proves_that_a_registration_is_gone() {
    const B: fn() -> CredentialId = || CredentialId::new("client:b");
    let rows = [
        Proof { why: "the same credentials saw it before", change: |_, _, _| {}, holds: true },
        Proof { why: "no list after the 404", change: |_, _, a| a.listed_after = false, holds: false },
        Proof {
            why: "no list after the 404, even though our DELETE was accepted",
            change: |s, _, a| {
                a.listed_after = false;
                s.memory.delete_accepted = Some(accepted(&who()));
                s.recorded.delete_requested_at = Some(at(50));
            },
            holds: false,
        },
        Proof { why: "another tenant answered", change: |_, _, a| a.tenant = Some(TenantId(2)), holds: false },
        Proof {
            why: "another tenant answered, even though our DELETE was accepted",
            change: |s, _, a| {
                a.tenant = Some(TenantId(2));
                s.memory.delete_accepted = Some(accepted(&who()));
            },
            holds: false,
        },
        Proof { why: "nobody knows which tenant answered", change: |_, _, a| a.tenant = None, holds: false },
        Proof { why: "nobody noted the tenant", change: |_, i, _| i.tenant = None, holds: false },
        Proof {
            why: "other credentials, which never saw it",
            change: |_, i, _| i.credential = Some(B()),
            holds: false,
        },
        Proof { why: "nobody noted the credentials", change: |_, i, _| i.credential = None, holds: false },
        Proof { why: "nobody noted the origin", change: |_, i, _| i.origin = None, holds: false },
        Proof {
            why: "other credentials, but these saw it since the process started",
            change: |s, i, _| {
                i.credential = Some(B());
                s.memory.seen_by = Some(who());
            },
            holds: true,
        },
        Proof {
            why: "yet others saw it since the process started",
            change: |s, i, _| {
                i.credential = Some(B());
                s.memory.seen_by = Some(Who { credential: B(), ..who() });
            },
            holds: false,
        },
        Proof {
            why: "seen with these credentials at another server",
            change: |s, i, _| {
                i.credential = Some(B());
                s.memory.seen_by = Some(Who { origin: Origin::new("https://other.example.com"), ..who() });
            },
            holds: false,
        },
        Proof {
            why: "our DELETE was accepted in this process, tenant unknown",
            change: |s, i, a| {
                (i.tenant, i.credential, a.tenant) = (None, None, None);
                s.memory.delete_accepted = Some(accepted(&who()));
            },
            holds: true,
        },
        Proof {
            why: "a DELETE was accepted from other credentials",
            change: |s, i, a| {
                (i.credential, a.tenant) = (Some(B()), None);
                s.memory.delete_accepted = Some(accepted(&Who { credential: B(), ..who() }));
            },
            holds: false,
        },
        Proof {
            why: "a DELETE was accepted from other credentials of the same tenant",
            change: |s, i, _| {
                i.credential = Some(B());
                s.memory.delete_accepted = Some(accepted(&Who { credential: B(), ..who() }));
            },
            holds: true,
        },
        Proof {
            why: "a DELETE was accepted at another server",
            change: |s, i, a| {
                (i.credential, a.tenant) = (None, None);
                s.memory.delete_accepted =
                    Some(accepted(&Who { origin: Origin::new("https://other.example.com"), ..who() }));
            },
            holds: false,
        },
        Proof {
            why: "our DELETE was accepted before a restart, same credentials",
            change: |s, _, a| {
                a.tenant = None;
                s.recorded.delete_requested_at = Some(at(50));
            },
            holds: true,
        },
        Proof {
            why: "our DELETE was accepted before a restart, same tenant",
            change: |s, i, _| {
                i.credential = Some(B());
                s.recorded.delete_requested_at = Some(at(50));
            },
            holds: true,
        },
        Proof {
            why: "our DELETE was accepted before a restart, neither known to be the same",
            change: |s, i, a| {
                (i.credential, a.tenant) = (Some(B()), None);
                s.recorded.delete_requested_at = Some(at(50));
            },
            holds: false,
        },
    ];
    for Proof { why, change, holds } in rows {
        let mut scene = Scene::dying();
        let mut own = identity(OURS, Provenance::Created);
        let mut absence = Absence { listed_after: true, tenant: Some(TENANT) };
        change(&mut scene, &mut own, &mut absence);
        assert_eq!(is_proof(&scene.case(), &own, &who(), absence), holds, "{why}");
    }
}

/// A read that lags does not know what was made a moment ago, and looks like one that proves something.
#[test]
fn no_absence_counts_while_a_read_may_not_know_the_registration_yet() {
    let absence = Absence { listed_after: true, tenant: Some(TENANT) };
    let verdict =
        |own: &Identity, change: fn(&mut Scene)| judge(&Scene::dying().but(change).case(), own, &who(), absence);
    let made = |seconds| Identity { created: Some(at(seconds)), ..identity(OURS, Provenance::Created) };
    // The control plane's clock shows 1000 s.
    assert_eq!(verdict(&made(1000), |_| {}), Verdict::TooEarly(QUARANTINE));
    assert_eq!(verdict(&made(881), |_| {}), Verdict::TooEarly(secs(1)));
    assert_eq!(verdict(&made(880), |_| {}), Verdict::Gone);
    assert_eq!(verdict(&made(1119), |_| {}), Verdict::TooEarly(QUARANTINE), "two clocks");
    assert_eq!(verdict(&made(1120), |_| {}), Verdict::Gone, "no clock of ours");
    assert_eq!(verdict(&Identity { created: None, ..made(0) }, |_| {}), Verdict::Gone);

    let asked = |s: &mut Scene| {
        s.memory.delete_accepted = Some(accepted(&who()));
        s.recorded.delete_requested_at = Some(at(990));
    };
    assert_eq!(verdict(&made(980), asked), Verdict::TooEarly(secs(10)), "it will go, says the answer");
    assert_eq!(verdict(&made(970), asked), Verdict::Gone);
    let before = |s: &mut Scene| s.recorded.delete_requested_at = Some(at(990));
    assert_eq!(verdict(&made(980), before), Verdict::TooEarly(secs(10)), "whoever was told so");
    let done = |s: &mut Scene| s.memory.delete_accepted = Some(Accepted { done: true, ..accepted(&who()) });
    assert_eq!(verdict(&made(980), done), Verdict::Gone, "it is gone, says the answer");
    let unproven = |s: &mut Scene| s.policy.quarantine = secs(0);
    let other = Identity { credential: None, ..made(980) };
    assert_eq!(verdict(&other, unproven), Verdict::Unproven);
    assert_eq!(verdict(&other, |_| {}), Verdict::Unproven, "time does not prove anything");
}

/// Without the control plane's clock a registration is as old as it has been known, whatever times are shown.
#[test]
fn where_the_control_plane_does_not_tell_the_time_an_absence_counts_once_the_registration_is_known_for_long_enough() {
    let absence = Absence { listed_after: true, tenant: Some(TENANT) };
    let verdict = |created, known, change: fn(&mut Scene)| {
        let scene = Scene::dying().but(|s| {
            s.observed.remote_now = None;
            s.observed.known_for = secs(known);
            change(s);
        });
        let own = Identity { created, ..identity(OURS, Provenance::Created) };
        judge(&scene.case(), &own, &who(), absence)
    };
    for created in [None, Some(at(-5000)), Some(at(0)), Some(at(5000))] {
        assert_eq!(verdict(created, 0, |_| {}), Verdict::TooEarly(QUARANTINE));
        assert_eq!(verdict(created, 119, |_| {}), Verdict::TooEarly(secs(1)));
        assert_eq!(verdict(created, 120, |_| {}), Verdict::Gone);
        let asked = |s: &mut Scene| s.memory.delete_accepted = Some(accepted(&who()));
        assert_eq!(verdict(created, 29, asked), Verdict::TooEarly(secs(1)));
        assert_eq!(verdict(created, 30, asked), Verdict::Gone);
        let done = |s: &mut Scene| s.memory.delete_accepted = Some(Accepted { done: true, ..accepted(&who()) });
        assert_eq!(verdict(created, 0, done), Verdict::Gone, "it is gone, says the answer");
    }
}

#[test]
fn an_attempt_is_open_until_its_registration_is_known() {
    assert_eq!(open_attempt(&Scene::new().case()), None);
    let pending = Scene::doubtful(&[]);
    assert_eq!(open_attempt(&pending.case()), Some(&intent()));
    let answered = pending.but(|s| s.memory.learned = Some(identity(OURS, Provenance::Created)));
    assert_eq!(open_attempt(&answered.case()), None);
}

#[test]
fn a_refusal_is_remembered_as_long_as_its_attempt_is_open() {
    let refusal = trouble(Reason::Rejected);
    let of = |attempt| Scene::doubtful(&[]).but(|s| s.memory.refused = Some((attempt, trouble(Reason::Rejected))));
    assert_eq!(remembered_refusal(&of(ATTEMPT).case()), Some(&refusal));
    assert_eq!(remembered_refusal(&of(NONCE).case()), None);
    assert_eq!(remembered_refusal(&of(ATTEMPT).but(|s| s.recorded.intent = None).case()), None);
    let known = of(ATTEMPT).but(|s| s.memory.learned = Some(identity(OURS, Provenance::Created)));
    assert_eq!(remembered_refusal(&known.case()), None);
}

#[test]
fn a_look_leads_to_a_post_only_where_no_fate_is_open() {
    assert!(may_create(&Scene::new().case()));
    assert!(!may_create(&Scene::new().but(|s| s.deleting = true).case()));
    let open = |now| Scene::doubtful(&[]).but(move |s| s.now = at(now));
    assert!(!may_create(&open(119).case()));
    assert!(may_create(&open(120).case()));
    assert!(may_create(&open(10).but(|s| s.memory.unsent = Some(ATTEMPT)).case()));
    assert!(!may_create(&open(10).but(|s| s.memory.unsent = Some(NONCE)).case()));
}

#[test]
fn what_was_just_made_goes_with_its_object_unless_the_policy_says_otherwise() {
    let made = identity(OURS, Provenance::Created);
    let just = |crd| Scene::doubtful(&[]).but(move |s| s.observed.crd_deleting = crd);
    let step = |scene: &Scene, made: &Identity| clean_up(&scene.case(), made).map(|plan| plan.step);
    assert_eq!(step(&just(None), &made), Some(Step::Look(Look::Crd)));
    assert_eq!(step(&just(Some(false)), &made), Some(Step::Delete { uuid: OURS, force: false }));
    assert_eq!(step(&just(Some(true)), &made), Some(Step::Release), "the whole kind goes");
    assert_eq!(step(&just(None), &identity(OURS, Provenance::Adopted)), None);
    assert_eq!(step(&Scene::owner(Provenance::Created), &made), None, "it was noted before");
    let changes: [fn(&mut Scene); 4] = [
        |s| s.elder_owns(OURS),
        |s| s.deletion.policy = Some(DeletionPolicy::Orphan),
        |s| s.policy.default_deletion = Some(DeletionPolicy::Orphan),
        |s| s.deletion.management = Management::Observe,
    ];
    for change in changes {
        assert_eq!(step(&just(None).but(change), &made), None);
    }
    let noted = |now| {
        Scene::owner(Provenance::Created).but(move |s| {
            s.memory.made = Some(at(1000));
            s.now = at(now);
        })
    };
    assert!(step(&noted(1000), &made).is_some(), "Kubernetes may have been deleting it already");
    assert!(step(&noted(1089), &made).is_some());
    assert_eq!(step(&noted(1090), &made), None, "no request takes that long");
}

#[test]
fn an_object_leaves_something_behind_if_its_deletion_did_not_wait_for_our_finalizer() {
    let own = identity(OURS, Provenance::Created);
    let noted = || Scene::owner(Provenance::Created).but(|s| s.recorded.annotated = Annotated::Fits(own.clone()));
    assert_eq!(left_behind(&noted().case()), Some(own.clone()));
    assert_eq!(left_behind(&noted().but(|s| s.recorded.finalizer = false).case()), None, "somebody took it off");
    assert_eq!(left_behind(&noted().but(|s| s.deleting = true).case()), None, "it waited, and somebody took it off");
    assert_eq!(left_behind(&noted().but(|s| s.recorded.annotated = Annotated::Nothing).case()), None, "not noted");

    let new = identity(OTHER, Provenance::Created);
    let unnoted = || noted().but(|s| s.memory.notes(&new, at(1000)));
    assert_eq!(left_behind(&unnoted().case()), Some(new.clone()), "another write came between");
    assert_eq!(left_behind(&unnoted().but(|s| s.recorded.finalizer = false).case()), Some(new.clone()));
    assert_eq!(left_behind(&unnoted().but(|s| s.deleting = true).case()), None);
    let marks = Marks { identity: Some(new.clone()), intent: None };
    assert_eq!(left_behind(&unnoted().but(|s| s.memory.marked(&marks)).case()), Some(own.clone()), "noted");
}
