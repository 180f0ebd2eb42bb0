//! Who may log in, which tokens are good, and what a token's bearer may do.
//!
//! Owns tokens, tenant swaps and lost permissions. Must not know records or HTTP.

use std::collections::{HashMap, HashSet};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::clock::after;
use crate::config::{Access, Config, Identity, OtherGrant, TokenFormat};

/// What becomes of tokens issued before a tenant swap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OldTokens {
    /// 401 from now on.
    #[default]
    Revoke,
    /// They act for the new tenant, though their claim says the old one.
    Move,
    /// They go on acting for the old tenant.
    Keep,
}

/// The bearer of a good token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) client_id: String,
    pub(crate) tenant: i32,
}

#[derive(Debug, Clone)]
struct Token {
    session: Session,
    expires: Timestamp,
    revoked: bool,
}

/// A token just made.
pub(crate) struct Issued {
    pub(crate) text: String,
    pub(crate) ttl_seconds: i64,
    pub(crate) refresh: String,
}

/// Tokens and what has been done to identities since start.
#[derive(Debug)]
pub(crate) struct Auth {
    key: hmac::Key,
    tokens: HashMap<String, Token>,
    /// Refresh token to the bearer of the token that it came with.
    refresh: HashMap<String, Session>,
    tenants: HashMap<String, i32>,
    lost: HashMap<String, HashSet<Access>>,
}

impl Auth {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let secret: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(32).collect();
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            tokens: HashMap::new(),
            refresh: HashMap::new(),
            tenants: HashMap::new(),
            lost: HashMap::new(),
        }
    }

    /// The identity with these credentials and the tenant it belongs to at present.
    pub(crate) fn login<'c>(&self, config: &'c Config, id: &str, secret: &str) -> Option<(&'c Identity, i32)> {
        let mut all = config.tenants.iter().flat_map(|tenant| tenant.identities.iter().map(|one| (one, tenant.id)));
        let (identity, home) = all.find(|(one, _)| one.client_id == id && one.client_secret == secret)?;
        Some((identity, self.tenants.get(id).copied().unwrap_or(home)))
    }

    pub(crate) fn issue(
        &mut self,
        config: &Config,
        session: Session,
        now: Timestamp,
        ttl_seconds: i64,
        rng: &mut Rng,
    ) -> Issued {
        let issued = after(now, SignedDuration::from_secs(config.token.skew_seconds));
        let expires = after(issued, SignedDuration::from_secs(ttl_seconds));
        let text = match config.token.format {
            TokenFormat::Opaque => hex(rng, 40),
            format @ (TokenFormat::Jwt | TokenFormat::JwtNoExp | TokenFormat::JwtUrlsafeChars) => {
                self.jwt(format, &session, issued, expires, rng)
            }
        };
        if self.tokens.len() > 50_000 {
            self.tokens.retain(|_, token| token.expires > now);
        }
        let refresh = if config.token.grants.contains(&OtherGrant::RefreshToken) {
            let refresh = hex(rng, 40);
            self.refresh.insert(refresh.clone(), session.clone());
            refresh
        } else {
            String::new()
        };
        self.tokens.insert(text.clone(), Token { session, expires, revoked: false });
        Issued { text, ttl_seconds, refresh }
    }

    /// Whose token the refresh token came with; it is used up.
    pub(crate) fn refresh(&mut self, refresh: &str) -> Option<Session> {
        self.refresh.remove(refresh)
    }

    /// A JWT signed with this process's key; also used for bootstrap tokens.
    pub(crate) fn jwt(
        &self,
        format: TokenFormat,
        session: &Session,
        issued: Timestamp,
        expires: Timestamp,
        rng: &mut Rng,
    ) -> String {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        let payload = loop {
            let mut claims = json!({
                "iss": "runai-simulator",
                "sub": session.client_id,
                "iat": issued.as_second(),
                "exp": expires.as_second(),
                "jti": hex(rng, 24),
                "tenantId": session.tenant,
            });
            match format {
                TokenFormat::JwtNoExp => claims["exp"] = serde_json::Value::Null,
                TokenFormat::JwtUrlsafeChars => claims["note"] = "???>>>~~~???>>>~~~".into(),
                TokenFormat::Jwt | TokenFormat::Opaque => {}
            }
            if let Some(claims) = claims.as_object_mut() {
                claims.retain(|_, value| !value.is_null());
            }
            let text = URL_SAFE_NO_PAD.encode(claims.to_string());
            let special = text.contains(['-', '_']);
            // An identity whose own name needs those characters would never come out without them.
            let unavoidable = session.client_id.contains(|c: char| !c.is_ascii() || "?>~".contains(c));
            if unavoidable || special == (format == TokenFormat::JwtUrlsafeChars) {
                break text;
            }
        };
        let signed = format!("{header}.{payload}");
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// The bearer of the `Authorization` value; `None` means 401.
    pub(crate) fn check(&self, config: &Config, authorization: Option<&str>, now: Timestamp) -> Option<Session> {
        let (scheme, token) = authorization?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let token = self.tokens.get(token.trim())?;
        let good = !token.revoked && token.expires > now && identity(config, &token.session.client_id).is_some();
        good.then(|| token.session.clone())
    }

    /// Whether the identity has this right at present.
    pub(crate) fn may(&self, config: &Config, client_id: &str, access: Access) -> bool {
        let granted = identity(config, client_id).is_some_and(|identity| identity.actions.contains(&access));
        let lost = self.lost.get(client_id).is_some_and(|lost| lost.contains(&access));
        granted && !lost
    }

    /// Revokes the tokens of one identity, or of all.
    pub(crate) fn revoke(&mut self, client_id: Option<&str>) {
        for token in self.tokens.values_mut() {
            token.revoked |= client_id.is_none_or(|id| token.session.client_id == id);
        }
    }

    /// From now on the identity (or every one) belongs to another tenant.
    pub(crate) fn swap_tenant(&mut self, config: &Config, client_id: Option<&str>, tenant: i32, old: OldTokens) {
        let all = config.tenants.iter().flat_map(|tenant| &tenant.identities);
        for identity in all.filter(|identity| client_id.is_none_or(|id| identity.client_id == id)) {
            self.tenants.insert(identity.client_id.clone(), tenant);
        }
        let hit = |token: &&mut Token| client_id.is_none_or(|id| token.session.client_id == id);
        for token in self.tokens.values_mut().filter(hit) {
            match old {
                OldTokens::Revoke => token.revoked = true,
                OldTokens::Move => token.session.tenant = tenant,
                OldTokens::Keep => {}
            }
        }
    }

    /// Takes rights from one identity, or from all; none listed gives everything back.
    pub(crate) fn lose(&mut self, config: &Config, client_id: Option<&str>, actions: &[Access]) {
        let all = config.tenants.iter().flat_map(|tenant| &tenant.identities);
        for identity in all.filter(|identity| client_id.is_none_or(|id| identity.client_id == id)) {
            let lost = self.lost.entry(identity.client_id.clone()).or_default();
            if actions.is_empty() {
                lost.clear();
            }
            lost.extend(actions);
        }
    }
}

/// The configured identity with this id.
pub(crate) fn identity<'c>(config: &'c Config, client_id: &str) -> Option<&'c Identity> {
    config.tenants.iter().flat_map(|tenant| &tenant.identities).find(|identity| identity.client_id == client_id)
}

fn hex(rng: &mut Rng, length: usize) -> String {
    std::iter::repeat_with(|| char::from_digit(rng.u32(0..16), 16).unwrap_or('0')).take(length).collect()
}
