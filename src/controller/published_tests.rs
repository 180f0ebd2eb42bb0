//! What a Secret holds, byte by byte, and how one that was tampered with is told from one that was not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::{Facts, Owner, Press, quoted};
use crate::api::PUBLISHED;
use crate::controller::signer::Signer;
use crate::domain::{InstallSpec, Shelf};
use crate::runai::{self, InstallInfo};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

struct Desk {
    owner: Owner,
    asked: InstallSpec,
    facts: Facts,
    signer: Signer,
}

impl Desk {
    fn new() -> Self {
        let text = str::to_owned;
        Self {
            owner: Owner { namespace: text("team"), name: text("east"), uid: text("u-1") },
            asked: InstallSpec {
                secret_name: text("install"),
                remote_url: None,
                labels: BTreeMap::from([(text("team"), text("a"))]),
                annotations: BTreeMap::from([(text("note"), text("b"))]),
            },
            facts: Facts {
                uuid: text("11111111-2222-3333-4444-555555555555"),
                cluster_name: text("East \"1\""),
                cluster_url: text("https://east.example.com"),
                control_plane_url: text("https://runai.example.com"),
                version: text("2.24"),
            },
            signer: Signer::with_key(&[7; 32]),
        }
    }

    fn press(&self) -> Press<'_> {
        Press { owner: &self.owner, asked: &self.asked, facts: &self.facts, signer: &self.signer }
    }
}

fn info(secret: Option<&str>, token: Option<&str>) -> InstallInfo {
    InstallInfo {
        client_secret: secret.map(runai::Secret::new),
        bootstrap_token: token.map(runai::Secret::new),
        chart_repo_url: "https://charts.example.com".to_owned(),
        repository_name: "runai".to_owned(),
    }
}

fn text(secret: &Secret, key: &str) -> Option<String> {
    secret.data.as_ref().unwrap().get(key).map(|value| String::from_utf8(value.0.clone()).unwrap())
}

fn tampered(secret: &Secret, change: impl FnOnce(&mut Secret)) -> Secret {
    let mut secret = secret.clone();
    change(&mut secret);
    secret
}

#[test]
fn the_values_are_what_the_chart_takes_and_always_the_same_bytes() {
    let desk = Desk::new();
    let first = desk.press().main(None, Some(&info(Some("s3cr3t"), None))).unwrap();
    let values = "cluster:\n  uid: \"11111111-2222-3333-4444-555555555555\"\n  url: \"https://east.example.com\"\n\
                  controlPlane:\n  clientSecret: \"s3cr3t\"\n  url: \"https://runai.example.com\"\n";
    assert_eq!(text(&first, "values.yaml").as_deref(), Some(values));
    assert_eq!(desk.press().main(None, Some(&info(Some("s3cr3t"), None))), Some(first.clone()));
    assert_eq!(desk.press().main(Some(&first), None), Some(first.clone()), "from itself");
    assert_eq!(desk.press().main_shelf(Some(&first), None), Shelf::Good);
    let note = &first.metadata.annotations.as_ref().unwrap()[PUBLISHED];
    assert!(!note.contains("s3cr3t"), "{note}");
}

#[test]
fn whatever_a_text_holds_it_stays_one_value() {
    for (value, written) in [
        ("plain", "\"plain\""),
        ("a\"b\\c", "\"a\\\"b\\\\c\""),
        ("a: b # c", "\"a: b # c\""),
        ("x\ny", "\"x\\U0000000Ay\""),
        ("\u{e4}\u{2028}\u{1f600}", "\"\\U000000E4\\U00002028\\U0001F600\""),
    ] {
        assert_eq!(quoted(value), written);
        assert_eq!(serde_saphyr::from_str::<String>(&quoted(value)).unwrap(), value);
    }
}

#[test]
fn every_change_of_what_was_written_is_seen() {
    let desk = Desk::new();
    let good = desk.press().main(None, Some(&info(Some("s3cr3t"), None))).unwrap();
    let shelf = |secret: &Secret| desk.press().main_shelf(Some(secret), None);
    let data = |secret: &mut Secret, key: &str, value: &[u8]| {
        secret.data.as_mut().unwrap().insert(key.to_owned(), ByteString(value.to_vec()));
    };
    let damaged = [
        tampered(&good, |s| data(s, "clientSecret", b"")),
        tampered(&good, |s| data(s, "extra", b"x")),
        tampered(&good, |s| data(s, "uuid", b"\xff")),
        tampered(&good, |s| drop(s.data.as_mut().unwrap().remove("version"))),
        tampered(&good, |s| s.data = None),
        tampered(&good, |s| drop(s.metadata.annotations.as_mut().unwrap().remove(PUBLISHED))),
        tampered(&good, |s| s.metadata.name = Some("copy".to_owned())),
    ];
    for secret in &damaged {
        assert_eq!(shelf(secret), Shelf::Damaged);
    }
    let differs = [
        tampered(&good, |s| drop(s.metadata.labels.as_mut().unwrap().remove("team"))),
        tampered(&good, |s| drop(s.metadata.annotations.as_mut().unwrap().insert("note".into(), "x".into()))),
        tampered(&good, |s| s.metadata.owner_references.as_mut().unwrap()[0].block_owner_deletion = Some(true)),
    ];
    for secret in &differs {
        assert_eq!(shelf(secret), Shelf::Differs);
    }
    let foreign = [
        tampered(&good, |s| s.metadata.owner_references = None),
        tampered(&good, |s| s.metadata.owner_references.as_mut().unwrap()[0].uid = "u-2".to_owned()),
        tampered(&good, |s| s.metadata.owner_references.as_mut().unwrap()[0].controller = None),
        tampered(&good, |s| s.type_ = Some("kubernetes.io/service-account-token".to_owned())),
    ];
    for secret in &foreign {
        assert_eq!(shelf(secret), Shelf::Foreign);
    }
    assert_eq!(desk.press().main_shelf(None, None), Shelf::Missing);
    let other = Desk { signer: Signer::with_key(&[8; 32]), ..Desk::new() };
    assert_eq!(other.press().main_shelf(Some(&good), None), Shelf::Damaged, "signed by somebody else");
}

#[test]
fn what_was_asked_for_earlier_is_read_again_but_for_a_name() {
    let good = Desk::new().press().main(None, Some(&info(Some("s3cr3t"), None))).unwrap();
    type Row = (&'static str, fn(&mut Desk), Shelf);
    let table: [Row; 6] = [
        ("uuid", |d| d.facts.uuid = "other".to_owned(), Shelf::Outdated),
        ("version", |d| d.facts.version = "2.25".to_owned(), Shelf::Outdated),
        ("URL", |d| d.facts.cluster_url = "https://x.example".to_owned(), Shelf::Outdated),
        ("control plane", |d| d.facts.control_plane_url = "https://y.example".to_owned(), Shelf::Outdated),
        ("name", |d| d.facts.cluster_name = "west".to_owned(), Shelf::Differs),
        ("labels", |d| d.asked.labels.clear(), Shelf::Differs),
    ];
    for (what, change, shelf) in table {
        let mut desk = Desk::new();
        change(&mut desk);
        assert_eq!(desk.press().main_shelf(Some(&good), None), shelf, "{what}");
    }
}

#[test]
fn a_client_secret_stays_where_an_answer_has_none_but_not_that_of_another_registration() {
    let mut desk = Desk::new();
    let old = desk.press().main(None, Some(&info(Some("s3cr3t"), None))).unwrap();
    let next = desk.press().main(Some(&old), Some(&info(None, Some("token")))).unwrap();
    assert_eq!(text(&next, "clientSecret").as_deref(), Some("s3cr3t"));
    assert_eq!(text(&next, "bootstrapToken"), None);
    desk.facts.uuid = "22222222-2222-3333-4444-555555555555".to_owned();
    let other = desk.press().main(Some(&old), Some(&info(None, Some("token")))).unwrap();
    assert_eq!(text(&other, "clientSecret"), None);
    let damaged = tampered(&old, |s| drop(s.metadata.annotations.take()));
    let fresh = Desk::new().press().main(Some(&damaged), Some(&info(None, Some("token")))).unwrap();
    assert_eq!(text(&fresh, "clientSecret"), None, "what somebody wrote is not passed on");
}

#[test]
fn metadata_of_others_stays_and_what_is_no_longer_asked_for_goes() {
    let mut desk = Desk::new();
    let first = desk.press().main(None, Some(&info(Some("s3cr3t"), None))).unwrap();
    let touched = tampered(&first, |s| {
        s.metadata.labels.as_mut().unwrap().insert("theirs".into(), "x".into());
        s.metadata.annotations.as_mut().unwrap().insert("theirs".into(), "x".into());
    });
    assert_eq!(desk.press().main_shelf(Some(&touched), None), Shelf::Good, "no fight");
    desk.asked.labels.clear();
    desk.asked.annotations.clear();
    let next = desk.press().main(Some(&touched), None).unwrap();
    let keys = |map: &Option<BTreeMap<String, String>>| map.as_ref().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&next.metadata.labels), ["app.kubernetes.io/managed-by", "theirs"]);
    assert_eq!(keys(&next.metadata.annotations), ["runai-operator.io/published", "theirs"]);
}

#[test]
fn a_bootstrap_secret_holds_the_token_and_knows_when_it_is_over() {
    use base64::Engine as _;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"iat":0,"exp":7200}"#);
    let token = format!("eyJhbGciOiJub25lIn0.{claims}.x");
    let desk = Desk::new();
    let press = desk.press();
    let answer = info(None, Some(&token));
    let secret = press.bootstrap(None, Some(&answer)).unwrap();
    assert_eq!(secret.metadata.name.as_deref(), Some("install-bootstrap"));
    assert_eq!(text(&secret, "values.yaml"), Some(format!("controlPlane:\n  bootstrapToken: \"{token}\"\n")));
    assert_eq!(press.bootstrap_shelf(Some(&secret), None, NOW), Shelf::Good);
    assert_eq!(press.bootstrap_shelf(Some(&secret), Some(&answer), NOW), Shelf::Good);
    assert_eq!(press.bootstrap_shelf(Some(&secret), Some(&info(None, Some("next"))), NOW), Shelf::Differs);
    assert_eq!(press.bootstrap_shelf(Some(&secret), None, Timestamp::from_second(7200).unwrap()), Shelf::Outdated);
    assert_eq!(press.token_life(&secret).map(|(_, expires)| expires.as_second()), Some(7200));
    let damaged = tampered(&secret, |s| drop(s.data.as_mut().unwrap().remove("uuid")));
    assert_eq!(press.bootstrap_shelf(Some(&damaged), None, NOW), Shelf::Damaged);
    assert_eq!(press.bootstrap(None, Some(&info(Some("s"), None))), None, "no token, no Secret");
    assert!(!press.has_client_secret(Some(&secret)));
}
