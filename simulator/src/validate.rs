//! What a request may contain.
//!
//! Owns the rules for names, domains, versions and ids. Must not know records.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::config::Config;
use crate::profile::Capabilities;
use crate::version::Version;

/// Fields of a create request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewCluster {
    pub(crate) name: String,
    pub(crate) domain: Option<String>,
    pub(crate) version: Option<String>,
}

/// An id in the path: a UUID in any case, with hyphens.
pub(crate) fn path_uuid(text: &str) -> Result<Uuid, String> {
    let canonical = text.len() == 36;
    Uuid::try_parse(text).ok().filter(|_| canonical).ok_or_else(|| "cluster id is not a UUID".to_owned())
}

/// A body that must be a JSON object.
pub(crate) fn object(body: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("request body must be a JSON object".to_owned()),
        Err(_) => Err("request body is not valid JSON".to_owned()),
    }
}

pub(crate) fn new_cluster(body: &[u8], config: &Config, caps: &Capabilities) -> Result<NewCluster, String> {
    let body = object(body)?;
    let name = name(&body, caps)?;
    let domain = optional_text(&body, "domain")?;
    if let Some(domain) = &domain {
        length("domain", domain, 253, caps)?;
        if !config.requests.any_domain && !is_domain(domain) {
            return Err("domain must be a host name, or an http(s) URL without a path".to_owned());
        }
    }
    let version = optional_text(&body, "version")?;
    if let Some(text) = &version {
        length("version", text, 50, caps)?;
        let parsed = Version::parse(text).ok_or("version must have the form major.minor[.patch]")?;
        if config.requests.refuse_newer_version && parsed.is_newer_line_than(caps.version) {
            return Err("version is newer than the control plane".to_owned());
        }
    }
    Ok(NewCluster { name, domain, version })
}

/// The new name in a PUT.
pub(crate) fn updated_name(body: &[u8], config: &Config, caps: &Capabilities) -> Result<String, String> {
    let body = object(body)?;
    if config.requests.refuse_unknown_update_fields
        && let Some(other) = body.keys().find(|key| *key != "name")
    {
        return Err(format!("field {other} cannot be changed"));
    }
    name(&body, caps)
}

fn name(body: &Map<String, Value>, caps: &Capabilities) -> Result<String, String> {
    let name = optional_text(body, "name")?.ok_or("name is required")?;
    length("name", &name, 253, caps)?;
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        return Err("name must not be blank or contain control characters".to_owned());
    }
    Ok(name)
}

fn optional_text(body: &Map<String, Value>, field: &str) -> Result<Option<String>, String> {
    match body.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("{field} must be a string")),
    }
}

/// Code points are counted, not bytes.
fn length(field: &str, text: &str, most: usize, caps: &Capabilities) -> Result<(), String> {
    let length = text.chars().count();
    let most = if caps.length_limits { most } else { usize::MAX };
    if (1..=most).contains(&length) { Ok(()) } else { Err(format!("{field} must have 1 to {most} characters")) }
}

/// A bare `host[:port]`, or `http(s)://host[:port][/]`.
pub(crate) fn is_domain(text: &str) -> bool {
    let bare = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let authority = bare.map_or(text, |rest| rest.strip_suffix('/').unwrap_or(rest));
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let label_fits = |label: &str| {
        let edge = |c: char| c.is_ascii_alphanumeric();
        (1..=63).contains(&label.len())
            && label.starts_with(edge)
            && label.ends_with(edge)
            && label.chars().all(|c| edge(c) || c == '-')
    };
    port_fits && host.strip_suffix('.').unwrap_or(host).split('.').all(label_fits)
}

/// A URL with any path, or a domain.
pub(crate) fn is_remote_url(text: &str) -> bool {
    let rest = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    !text.contains(char::is_whitespace) && is_domain(authority)
}

#[cfg(test)]
mod tests {
    use super::{is_domain, is_remote_url, path_uuid};

    #[test]
    fn domains() {
        for good in ["a", "my.company.com", "my.company.com:8443", "https://my.company.com/", "http://h:1", "h."] {
            assert!(is_domain(good), "{good}");
        }
        for bad in ["", "a b", "-a.b", "https://", "https://h/path", "ftp://h", "h:0", "h:99999", "a..b", "a_b"] {
            assert!(!is_domain(bad), "{bad}");
        }
        assert!(is_remote_url("https://h:8443/some/path"));
        assert!(!is_remote_url("https://h h"));
    }

    #[test]
    fn ids() {
        assert!(path_uuid("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11").is_ok());
        for bad in ["minimal", "a0eebc999c0b4ef8bb6d6bb9bd380a11", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"] {
            assert!(path_uuid(bad).is_err(), "{bad}");
        }
    }
}
