//! Names, domains, versions, uuids and durations: what is read is what is written.

use runai_cluster_operator::api::duration;
use runai_cluster_operator::domain::{AgentVersion, ClusterDomain, ClusterName, ClusterUuid};
use runai_cluster_operator::runai::sanitize;

/// Two texts, one per line.
pub fn ids(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (a, b) = text.split_once('\n').unwrap_or((&text, ""));
    if let Ok(uuid) = a.parse::<ClusterUuid>() {
        assert_eq!(uuid.to_string(), a.to_lowercase());
    }
    if let Ok(name) = ClusterName::parse(a) {
        assert_eq!(name.as_str(), a);
        assert!(name.resembles(a));
    }
    if let Ok(version) = AgentVersion::parse(a) {
        assert_eq!(version.as_str(), a);
    }
    let (one, other) = (ClusterDomain::observed(a), ClusterDomain::observed(b));
    assert!(one.same_as(&one));
    assert_eq!(one.same_as(&other), other.same_as(&one), "{one} {other}");
    if let Ok(domain) = ClusterDomain::parse(a) {
        let upper = ClusterDomain::observed(&a.to_uppercase());
        assert!(domain.same_as(&upper), "{domain}: case does not count");
    }
    // A sum may have more hours than one number may have digits.
    if let Ok(value) = duration::parse(a)
        && value.as_secs() < 1_000_000 * 3600
    {
        assert_eq!(duration::parse(&duration::format(value)), Ok(value), "{a}");
    }
    let shown = sanitize(&text, [a, b]);
    assert!(shown.chars().count() <= 256);
}
