//! Tables of good and bad identity values.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::{any, proptest};

use super::{AgentVersion, ClusterDomain, ClusterName, ClusterUuid, Provenance};

const UUID: &str = "11111111-2222-3333-4444-55555555abcd";

#[test]
fn uuids_have_one_form_and_no_case() {
    let upper: ClusterUuid = UUID.to_uppercase().parse().unwrap();
    assert_eq!(upper, UUID.parse().unwrap());
    assert_eq!(upper.to_string(), UUID);
    let bad = [
        "",
        "11111111222233334444555555555555",
        "{11111111-2222-3333-4444-555555555555}",
        "urn:uuid:11111111-2222-3333-4444-555555555555",
        "11111111-2222-3333-4444-55555555555",
        "11111111-2222-3333-4444-5555555555555",
        "11111111-2222-3333-4444-55555555555g",
        " 1111111-2222-3333-4444-555555555555",
        "11111111-2222-3333-4444+555555555555",
    ];
    for text in bad {
        let error = text.parse::<ClusterUuid>().expect_err(text).to_string();
        assert!(error.starts_with("uuid: must have the form xxxxxxxx-"), "{error}");
    }
}

#[test]
fn names() {
    let longest = "ü".repeat(253);
    for good in ["a", "East 1", "east/1", "日本", "a\u{a0}b", longest.as_str()] {
        assert_eq!(ClusterName::parse(good).expect(good).as_str(), good);
    }
    let too_long = "a".repeat(254);
    let bad = [
        ("", "1 to 253 characters, has 0"),
        (too_long.as_str(), "has 254"),
        (" a", "white space"),
        ("a\t", "white space"),
        ("a\u{a0}", "white space"),
        ("a\nb", "control characters"),
        ("a\u{7f}b", "control characters"),
    ];
    for (text, hint) in bad {
        let error = ClusterName::parse(text).expect_err(text).to_string();
        assert!(error.starts_with("name: ") && error.contains(hint), "{text:?}: {error}");
    }
}

#[test]
fn names_resemble_each_other_without_regard_to_case() {
    let name = ClusterName::parse("Öst").unwrap();
    assert!(name.resembles("öST") && name.resembles("Öst"));
    assert!(!name.resembles("Ost"));
}

#[test]
fn domains() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", &label[2..]);
    assert_eq!(longest.len(), 253);
    let good = [
        "runai.example.com",
        "https://runai.example.com",
        "http://runai.example.com/",
        "runai.example.com:8443",
        "https://10.0.0.1:65535/",
        "localhost",
        "runai.example.com.",
        "RUNAI.Example.com",
        label.as_str(),
        longest.as_str(),
    ];
    for text in good {
        assert_eq!(ClusterDomain::parse(text).expect(text).as_str(), text);
    }
    let long_label = "a".repeat(64);
    let too_long = format!("{}.com", vec!["a"; 130].join("."));
    let bad = [
        "",
        "https://",
        "ftp://runai.example.com",
        "runai.example.com/path",
        "https://user@runai.example.com",
        "runai.example.com:0",
        "runai.example.com:65536",
        "runai.example.com:",
        "runai.example.com:1:2",
        "-a.example.com",
        "a-.example.com",
        "a..b",
        ".a",
        "a b",
        "a_b",
        "exämple.com",
        "[::1]",
        long_label.as_str(),
        too_long.as_str(),
    ];
    for text in bad {
        let error = ClusterDomain::parse(text).expect_err(text).to_string();
        assert!(error.starts_with("domain: must "), "{text:?}: {error}");
    }
}

#[test]
fn domains_are_the_same_when_the_host_is() {
    let same = [
        ("a.example.com", "https://a.example.com"),
        ("a.example.com", "http://A.Example.com/"),
        ("a.example.com", "a.example.com."),
        ("https://a.example.com:8443/", "a.example.com:8443"),
        ("a.example.com.:8443", "a.example.com:8443"),
        ("a.example.com", " HTTPS://a.example.com "),
        ("", ""),
    ];
    for (a, b) in same {
        let (a, b) = (ClusterDomain::observed(a), ClusterDomain::observed(b));
        assert!(a.same_as(&b) && b.same_as(&a), "{a} {b}");
    }
    let other = [
        ("a.example.com", "b.example.com"),
        ("a.example.com", "a.example.com:8443"),
        ("a.example.com:443", "a.example.com:8443"),
        ("a.example.com", "a.example.com/path"),
        ("a.example.com", "example.com"),
        ("a.example.com", ""),
    ];
    for (a, b) in other {
        let (a, b) = (ClusterDomain::observed(a), ClusterDomain::observed(b));
        assert!(!a.same_as(&b) && !b.same_as(&a), "{a} {b}");
    }
}

#[test]
fn versions() {
    let longest = format!("2.24.{}", "1".repeat(45));
    for good in ["2.24", "2.24.37", "2.24.37-rc.1", "2.24.37+b_1", "02.1", "2.25.0beta", longest.as_str()] {
        assert_eq!(AgentVersion::parse(good).expect(good).as_str(), good);
    }
    let too_long = format!("{longest}1");
    for bad in ["", "2", "2.", ".24", "v2.24", "2.24.", "2.x", "2.24 ", "2.24.x", "2.24.1/2", "2.24.ä", &too_long] {
        let error = AgentVersion::parse(bad).expect_err(bad).to_string();
        assert!(error.starts_with("version: must "), "{bad:?}: {error}");
    }
}

#[test]
fn provenance_has_one_spelling() {
    assert_eq!(Provenance::Created.as_str(), "Created");
    assert_eq!(Provenance::Adopted.as_str(), "Adopted");
}

proptest! {
    #[test]
    fn parsers_are_total_and_keep_the_text(text in any::<String>()) {
        if let Ok(name) = ClusterName::parse(&text) {
            assert_eq!(name.as_str(), text);
        }
        if let Ok(domain) = ClusterDomain::parse(&text) {
            assert!(domain.same_as(&ClusterDomain::observed(&text)));
        }
        if let Ok(version) = AgentVersion::parse(&text) {
            assert_eq!(version.as_str(), text);
        }
    }

    #[test]
    fn sameness_is_symmetric_and_survives_a_scheme(host in "[A-Za-z0-9.:-]{0,20}", other in "[a-z0-9./:-]{0,20}") {
        let (a, b) = (ClusterDomain::observed(&host), ClusterDomain::observed(&other));
        assert_eq!(a.same_as(&b), b.same_as(&a));
        assert!(a.same_as(&ClusterDomain::observed(&format!("https://{host}"))));
    }
}
