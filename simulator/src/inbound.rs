//! A request as it came in, and what of it may be remembered.
//!
//! Owns redaction: whatever leaves this file towards the journal is free of secrets and tokens.

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Map, Value};

use crate::query::Query;
use crate::route::{Operation, Routed};

/// Most bytes of a request body.
pub(crate) const BODY_LIMIT: usize = 1 << 20;

/// A request with its body read.
#[derive(Debug)]
pub(crate) struct Inbound {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    /// `None` if it was longer than allowed.
    pub(crate) body: Option<Bytes>,
}

impl Inbound {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn bytes(&self) -> &[u8] {
        self.body.as_deref().unwrap_or_default()
    }

    /// The client id of a token request.
    pub(crate) fn token_identity(&self, routed: &Routed) -> Option<String> {
        match routed.operation()? {
            Operation::Token => {
                let body = LooseKeys::parse(self.bytes())?;
                body.text("clientid").or_else(|| body.text("appid")).map(str::to_owned)
            }
            Operation::TokenV2 => {
                let form = Query::parse(&String::from_utf8_lossy(self.bytes()));
                form.get("client_id").map(str::to_owned).or_else(|| basic_auth(self).map(|(id, _)| id))
            }
            _ => None,
        }
    }

    /// What of the body may be remembered.
    pub(crate) fn redacted(&self, routed: &Routed) -> Option<Value> {
        let keep: &[&str] = match routed.operation()? {
            Operation::Create => &["name", "domain", "version"],
            Operation::Update => &["name"],
            Operation::Token => return self.redacted_token(),
            Operation::TokenV2 => {
                let form = Query::parse(&String::from_utf8_lossy(self.bytes()));
                return Some(serde_json::json!({"grant_type": form.get("grant_type")}));
            }
            _ => return None,
        };
        let Ok(Value::Object(body)) = serde_json::from_slice(self.bytes()) else {
            return Some(format!("unreadable, {} bytes", self.bytes().len()).into());
        };
        Some(Value::Object(body.into_iter().filter(|(key, _)| keep.contains(&key.as_str())).collect()))
    }

    fn redacted_token(&self) -> Option<Value> {
        let body = LooseKeys::parse(self.bytes())?;
        Some(serde_json::json!({"grantType": body.text("granttype")}))
    }
}

/// Id and secret of a basic authorization header.
pub(crate) fn basic_auth(inbound: &Inbound) -> Option<(String, String)> {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    let (scheme, encoded) = inbound.header("authorization")?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decode = |part: &str| crate::query::percent_decode(part, true);
    Some((decode(id), decode(secret)))
}

/// A JSON object whose keys are matched without regard to case, as the V1 token endpoint does.
pub(crate) struct LooseKeys(Map<String, Value>);

impl LooseKeys {
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let Ok(Value::Object(object)) = serde_json::from_slice(body) else { return None };
        Some(Self(object.into_iter().map(|(key, value)| (key.to_lowercase(), value)).collect()))
    }

    /// `key` in lower case.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str().filter(|text| !text.is_empty())
    }
}
