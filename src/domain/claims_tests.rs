//! Who owns which registration.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Claim, Claims, Holding, NameClaim, ObjectKey};
use crate::domain::ids::{ClusterUuid, Origin, TenantId};
use crate::domain::scene_tests::{OTHER, OURS, TENANT, at, holding, key, who};

fn name(name: &str, tenant: Option<TenantId>) -> NameClaim {
    NameClaim { origin: who().origin, tenant, name: name.to_owned() }
}

fn claim(age: Option<i64>, uid: &str, uuid: Option<ClusterUuid>, of: Option<NameClaim>) -> Claim {
    Claim { created: age.map(at), uid: uid.to_owned(), holds: uuid.map(holding), name: of }
}

fn owner(claims: &Claims, uuid: ClusterUuid) -> Option<&ObjectKey> {
    claims.owner(Some(&who().origin), uuid)
}

#[test]
fn nobody_owns_what_nobody_claims() {
    let claims = Claims::default();
    assert_eq!(owner(&claims, OURS), None);
    assert!(claims.claimants(OURS).is_empty());
    assert_eq!(claims.name_holder(&name("east", Some(TENANT))), None);
    assert_eq!(claims.get(&key("a")), None);
}

#[test]
fn the_older_object_wins_whatever_the_order() {
    let (young, old) = (claim(Some(2), "1", Some(OURS), None), claim(Some(1), "2", Some(OURS), None));
    for order in [[("young", &young), ("old", &old)], [("old", &old), ("young", &young)]] {
        let mut claims = Claims::default();
        for (object, claim) in order {
            claims.set(&key(object), Some(claim.clone()));
        }
        assert_eq!(owner(&claims, OURS), Some(&key("old")));
        assert_eq!(claims.claimants(OURS).len(), 2);
        assert_eq!(claims.owned(&who().origin).collect::<Vec<_>>(), [OURS, OURS]);
    }
}

#[test]
fn the_uid_breaks_ties_and_an_unknown_age_is_the_youngest() {
    let mut claims = Claims::default();
    claims.set(&key("nameless"), Some(claim(None, "0", Some(OURS), None)));
    assert_eq!(owner(&claims, OURS), Some(&key("nameless")));
    claims.set(&key("b"), Some(claim(Some(1), "b", Some(OURS), None)));
    assert_eq!(owner(&claims, OURS), Some(&key("b")));
    claims.set(&key("a"), Some(claim(Some(1), "a", Some(OURS), None)));
    assert_eq!(owner(&claims, OURS), Some(&key("a")));
}

#[test]
fn a_claim_moves_and_goes() {
    let mut claims = Claims::default();
    let east = name("east", Some(TENANT));
    claims.set(&key("a"), Some(claim(Some(1), "a", None, Some(east.clone()))));
    let of_b = claim(Some(2), "b", Some(OURS), Some(east.clone()));
    claims.set(&key("b"), Some(of_b.clone()));
    assert_eq!(claims.get(&key("b")), Some(&of_b));
    assert_eq!(claims.name_holder(&east), Some(&key("a")));

    claims.set(&key("a"), Some(claim(Some(1), "a", Some(OURS), None)));
    assert_eq!(claims.name_holder(&east), Some(&key("b")));
    assert_eq!(owner(&claims, OURS), Some(&key("a")));

    claims.set(&key("a"), Some(claim(Some(1), "a", Some(OTHER), None)));
    assert_eq!(owner(&claims, OURS), Some(&key("b")));
    assert_eq!(owner(&claims, OTHER), Some(&key("a")));

    claims.set(&key("a"), None);
    claims.set(&key("b"), None);
    assert_eq!((owner(&claims, OURS), owner(&claims, OTHER), claims.name_holder(&east)), (None, None, None));
    assert_eq!(claims.owned(&who().origin).count(), 0);
    assert_eq!(claims.get(&key("a")), None);
}

#[test]
fn the_same_claim_twice_counts_once() {
    let mut claims = Claims::default();
    for _ in 0..2 {
        claims.set(&key("a"), Some(claim(Some(1), "a", Some(OURS), None)));
    }
    assert_eq!(claims.claimants(OURS), [key("a")]);
}

#[test]
fn a_name_counts_per_server_and_tenant() {
    let mut claims = Claims::default();
    claims.set(&key("a"), Some(claim(Some(1), "a", None, Some(name("east", Some(TENANT))))));
    assert_eq!(claims.name_holder(&name("east", Some(TenantId(2)))), None);
    assert_eq!(claims.name_holder(&name("East", Some(TENANT))), None);
    let elsewhere = NameClaim {
        origin: crate::domain::ids::Origin::new("https://other.example.com"),
        ..name("east", Some(TENANT))
    };
    assert_eq!(claims.name_holder(&elsewhere), None);
    assert_eq!(key("a").to_string(), "team-a/a");
}

/// A server that was restored from another's backup has the other's uuids.
#[test]
fn a_registration_counts_per_server_as_far_as_it_is_known() {
    let (here, there) = (who().origin, Origin::new("https://other.example.com"));
    let claim_at = |origin: Option<&Origin>, age, uid: &str| {
        let holds = Some(Holding { uuid: OURS, origin: origin.cloned() });
        Some(Claim { holds, ..claim(Some(age), uid, None, None) })
    };
    let mut claims = Claims::default();
    claims.set(&key("there"), claim_at(Some(&there), 1, "1"));
    claims.set(&key("here"), claim_at(Some(&here), 2, "2"));
    assert_eq!(claims.owner(Some(&here), OURS), Some(&key("here")));
    assert_eq!(claims.owner(Some(&there), OURS), Some(&key("there")));
    assert_eq!(claims.owner(None, OURS), Some(&key("there")), "whichever server is meant: the oldest");
    assert_eq!(claims.owned(&here).count(), 1);
    claims.set(&key("anywhere"), claim_at(None, 0, "0"));
    assert_eq!(claims.owner(Some(&here), OURS), Some(&key("anywhere")), "it may be this server's");
    assert_eq!(claims.owned(&here).count(), 2);
    assert_eq!(claims.claimants(OURS).len(), 3);
}
