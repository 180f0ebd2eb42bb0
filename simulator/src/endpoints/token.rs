//! Access tokens: V1 (JSON) and V2 (OAuth 2 form).
//!
//! Owns the two request and reply shapes. Must not know what a token looks like inside.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use crate::auth::{Issued, Session};
use crate::config::OtherGrant;
use crate::fault::FaultAction;
use crate::inbound::{Inbound, LooseKeys, basic_auth};
use crate::query::Query;
use crate::reply::Reply;
use crate::state::State;

impl State {
    /// `POST /api/v1/token`.
    pub(crate) fn token_v1(&mut self, inbound: &Inbound, modifiers: &[FaultAction], now: Timestamp) -> Reply {
        let Some(body) = inbound.body.as_deref().and_then(LooseKeys::parse) else {
            return Reply::message(400, "request body must be a JSON object");
        };
        let (id, secret) = match body.text("granttype") {
            Some("client_credentials") if self.caps.client_credentials => ("clientid", "clientsecret"),
            Some("app_token") => ("appid", "appsecret"),
            Some("password") if self.grants(OtherGrant::Password) => ("username", "password"),
            Some("refresh_token") if self.grants(OtherGrant::RefreshToken) => {
                let Some(session) = body.text("refreshtoken").and_then(|text| self.auth.refresh(text)) else {
                    return Reply::message(
                        self.config.token.bad_credential_status,
                        "refresh token is missing or not valid",
                    );
                };
                let issued = self.issue(session, modifiers, now);
                return self.v1_reply(&issued);
            }
            Some("password" | "refresh_token" | "exchange_token" | "external_token_exchange") => {
                return Reply::message(400, "this grant type is not enabled");
            }
            Some(_) | None => return Reply::message(400, "grantType is missing or unknown"),
        };
        let (Some(id), Some(secret)) = (body.text(id), body.text(secret)) else {
            return Reply::message(400, "id or secret is missing");
        };
        match self.log_in(id, secret, modifiers, now) {
            None => Reply::message(self.config.token.bad_credential_status, "id or secret is wrong"),
            Some(issued) => self.v1_reply(&issued),
        }
    }

    fn grants(&self, grant: OtherGrant) -> bool {
        self.config.token.grants.contains(&grant)
    }

    fn v1_reply(&self, issued: &Issued) -> Reply {
        let mut body = json!({"accessToken": issued.text});
        if self.caps.expires_in {
            body["expiresIn"] = issued.ttl_seconds.into();
        }
        if self.grants(OtherGrant::RefreshToken) {
            body["refreshToken"] = issued.refresh.as_str().into();
        }
        Reply::value(200, &body)
    }

    /// `POST /api/v2/token`.
    pub(crate) fn token_v2(&mut self, inbound: &Inbound, modifiers: &[FaultAction], now: Timestamp) -> Reply {
        let body = inbound.body.as_deref().unwrap_or_default();
        let form = Query::parse(&String::from_utf8_lossy(body));
        match form.get("grant_type") {
            None | Some("") => return Reply::oauth_error(400, "invalid_request", "grant_type is missing"),
            Some("client_credentials") => {}
            Some(_) => return Reply::oauth_error(400, "unsupported_grant_type", "use client_credentials"),
        }
        let in_form = || Some((form.get("client_id")?.to_owned(), form.get("client_secret")?.to_owned()));
        let Some((id, secret)) = basic_auth(inbound).or_else(in_form) else {
            return Reply::oauth_error(400, "invalid_request", "client_id or client_secret is missing");
        };
        match self.log_in(&id, &secret, modifiers, now) {
            None => Reply::oauth_error(401, "invalid_client", "client authentication failed"),
            Some(Issued { text, ttl_seconds, refresh: _ }) => {
                let body = json!({"access_token": text, "token_type": "Bearer", "expires_in": ttl_seconds});
                Reply::value(200, &body)
            }
        }
    }

    fn log_in(&mut self, id: &str, secret: &str, modifiers: &[FaultAction], now: Timestamp) -> Option<Issued> {
        let config = Arc::clone(&self.config);
        let (identity, tenant) = self.auth.login(&config, id, secret)?;
        let session = Session { client_id: identity.client_id.clone(), tenant };
        Some(self.issue(session, modifiers, now))
    }

    fn issue(&mut self, session: Session, modifiers: &[FaultAction], now: Timestamp) -> Issued {
        let config = Arc::clone(&self.config);
        let short = modifiers.iter().find_map(|fault| match fault {
            FaultAction::TokenShort { ttl_seconds } => Some(*ttl_seconds),
            _ => None,
        });
        let ttl = short.unwrap_or(config.token.ttl_seconds);
        self.auth.issue(&config, session, now, ttl, &mut self.rng)
    }
}
