//! The token.
//!
//! Owns getting it, keeping it and renewing it: one request at a time however many ask, early renewal, and a growing
//! pause after failures. Must not know what the token is used for.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use serde_json::Value;

use super::error::{ErrorKind, StatusError};
use super::observer::{ClientObserver, Operation};
use super::redact::{Secret, sanitize};
use super::settings::{Grant, Settings, TokenApi};
use super::sync::lock;
use super::transport::{Call, ERROR_CAP, OBJECT_CAP, Transport};
use super::wire;
use crate::domain::TenantId;

/// Life of a token that does not tell.
const DEFAULT_LIFE: Duration = Duration::from_secs(300);
/// Longest life that is believed, so that no arithmetic overflows.
const LONGEST_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Renewal comes this long before expiry, or a tenth of the life if that is shorter.
const MARGIN: Duration = Duration::from_secs(60);
/// Pause after failed attempts.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// One token, as used by requests.
#[derive(Debug)]
pub(crate) struct Token {
    /// `Bearer ...`, marked sensitive.
    pub(crate) bearer: HeaderValue,
    /// When it was asked for.
    requested: Instant,
    renew_at: Instant,
    expires_at: Instant,
    tenant: Option<TenantId>,
    /// Whether any request was ever let in with it.
    accepted: AtomicBool,
}

#[derive(Debug, Default)]
struct Attempts {
    failed: u32,
    not_before: Option<Instant>,
    last_error: Option<ErrorKind>,
}

/// How many tokens are kept for masking: answers to requests with an older one may still be on their way.
const REMEMBERED: usize = 4;

pub(crate) struct TokenKeeper {
    settings: Settings,
    observer: Arc<dyn ClientObserver>,
    /// The token in use, and those before it.
    tokens: Mutex<VecDeque<Arc<Token>>>,
    // Whoever holds it is the one that asks for a token.
    attempts: tokio::sync::Mutex<Attempts>,
}

impl TokenKeeper {
    pub(crate) fn new(settings: Settings, observer: Arc<dyn ClientObserver>) -> Self {
        Self { settings, observer, tokens: Mutex::default(), attempts: tokio::sync::Mutex::default() }
    }

    /// The token in use, a new one if it is about to expire. Errors are already wrapped as token failures.
    pub(crate) async fn token(&self, transport: &Transport) -> Result<Arc<Token>, ErrorKind> {
        if let Some(token) = self.usable(|token| token.renew_at) {
            return Ok(token);
        }
        let mut attempts = self.attempts.lock().await;
        if let Some(token) = self.usable(|token| token.renew_at) {
            return Ok(token);
        }
        match self.fetch(transport, &mut attempts).await {
            // Early renewal failed, but the old token still has some life: better than failing everybody.
            Err(error) => self.usable(|token| token.expires_at).ok_or(error),
            fetched => fetched,
        }
    }

    /// A token other than the one that was refused: the present one if somebody renewed meanwhile, else a new one.
    pub(crate) async fn replace(&self, refused: &Arc<Token>, transport: &Transport) -> Result<Arc<Token>, ErrorKind> {
        let mut attempts = self.attempts.lock().await;
        if let Some(token) = self.usable(|token| token.renew_at)
            && !Arc::ptr_eq(&token, refused)
        {
            return Ok(token);
        }
        let never_worked = !refused.accepted.load(Ordering::Relaxed);
        let fetched = self.fetch(transport, &mut attempts).await;
        if never_worked && fetched.is_ok() {
            // Tokens are handed out and then refused: asking ever faster would not help.
            attempts.fail(None);
        }
        fetched
    }

    /// A token that was asked for after this call began, whatever the old one is good for. Callers at the same time
    /// share one.
    pub(crate) async fn renew(&self, transport: &Transport) -> Result<Arc<Token>, ErrorKind> {
        let asked = Instant::now();
        let mut attempts = self.attempts.lock().await;
        if let Some(token) = self.usable(|token| token.renew_at).filter(|token| token.requested >= asked) {
            return Ok(token);
        }
        self.fetch(transport, &mut attempts).await
    }

    /// Notes that a request was let in with this token.
    pub(crate) fn accepted(&self, token: &Token) {
        let first = !token.accepted.swap(true, Ordering::Relaxed);
        // When somebody holds the lock, a renewal is under way and will settle the matter itself.
        if first && let Ok(mut attempts) = self.attempts.try_lock() {
            *attempts = Attempts::default();
        }
    }

    /// The tenant in the claims of the present token.
    pub(crate) fn tenant(&self) -> Option<TenantId> {
        lock(&self.tokens).front().and_then(|token| token.tenant)
    }

    /// Makes remote text fit to show.
    /// `issued` are credentials that the control plane gave out lately.
    pub(crate) fn clean(&self, text: &str, issued: &[Secret]) -> String {
        let known = lock(&self.tokens).clone();
        let bearers = known.iter().filter_map(|token| token.bearer.to_str().ok());
        let tokens = bearers.filter_map(|bearer| bearer.strip_prefix("Bearer "));
        let grant = &self.settings.grant;
        let issued = issued.iter().map(Secret::expose);
        sanitize(text, [grant.secret().expose(), grant.id()].into_iter().chain(tokens).chain(issued))
    }

    fn usable(&self, until: impl Fn(&Token) -> Instant) -> Option<Arc<Token>> {
        lock(&self.tokens).front().filter(|token| Instant::now() < until(token)).cloned()
    }

    /// Puts a new token in use; returns the one before it.
    fn keep(&self, token: Arc<Token>) -> Option<Arc<Token>> {
        let mut tokens = lock(&self.tokens);
        tokens.truncate(REMEMBERED - 1);
        tokens.push_front(token);
        tokens.get(1).cloned()
    }

    async fn fetch(&self, transport: &Transport, attempts: &mut Attempts) -> Result<Arc<Token>, ErrorKind> {
        if let Some(error) = attempts.still_pausing(Instant::now()) {
            return Err(error);
        }
        let requested = Instant::now();
        let fetched = self.request(transport).await;
        self.observer.token_refresh(fetched.is_ok());
        match fetched {
            Ok(token) => {
                let token = Arc::new(Token { requested, ..token });
                let worked = self.keep(token.clone()).is_none_or(|old| old.accepted.load(Ordering::Relaxed));
                if worked {
                    *attempts = Attempts::default();
                }
                Ok(token)
            }
            Err(error) => {
                let error = ErrorKind::Token(Box::new(error));
                attempts.fail(Some(error.clone()));
                Err(error)
            }
        }
    }

    async fn request(&self, transport: &Transport) -> Result<Token, ErrorKind> {
        let (path, content_type, body) = login(&self.settings);
        let mut url = self.settings.url.clone();
        url.set_path(path);
        let call = Call {
            operation: Operation::Token,
            method: Method::POST,
            url,
            bearer: None,
            body: Some((content_type, body)),
            deadline: self.settings.limits.read_deadline,
        };
        let mut reply = transport.send(call).await?;
        let code = reply.code;
        match code {
            200 | 201 => {
                let body = reply.body(OBJECT_CAP).await?;
                parse(&body, reply.date).map_err(|what| ErrorKind::Undecodable {
                    code,
                    what: wire::describe_object(&body, &reply.content_type, &what),
                })
            }
            400.. => {
                let body = reply.body(ERROR_CAP).await.unwrap_or_default();
                let message = wire::error_message(&body).map(|message| self.clean(&message, &[]));
                Err(ErrorKind::Status(StatusError { code, message, retry_after: reply.retry_after, refreshed: false }))
            }
            _ => Err(ErrorKind::UnexpectedStatus { code }),
        }
    }
}

impl Attempts {
    fn fail(&mut self, error: Option<ErrorKind>) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failed.min(6)).min(LONGEST_PAUSE);
        let wish = error.as_ref().and_then(|error| match error.class() {
            super::Class::Throttled(wish) => wish,
            super::Class::Retry
            | super::Class::Auth
            | super::Class::Gone
            | super::Class::Rejected
            | super::Class::Bug => None,
        });
        self.failed = self.failed.saturating_add(1);
        self.not_before = Some(Instant::now() + pause.max(wish.unwrap_or_default()));
        self.last_error = error;
    }

    /// The last error, as long as it is too early for another attempt.
    fn still_pausing(&self, now: Instant) -> Option<ErrorKind> {
        let not_before = self.not_before.filter(|at| now < *at)?;
        Some(self.last_error.clone().unwrap_or(ErrorKind::Paused(not_before - now)))
    }
}

/// Path, content type and body of the token request. Key spelling as in the OpenAPI document.
fn login(settings: &Settings) -> (&'static str, &'static str, Vec<u8>) {
    let grant = &settings.grant;
    let (id, secret) = (grant.id(), grant.secret().expose());
    match settings.token_api {
        TokenApi::V1 => {
            let (id_key, secret_key) = match grant {
                Grant::Client { .. } => ("clientID", "clientSecret"),
                Grant::App { .. } => ("appID", "appSecret"),
            };
            let body = serde_json::json!({"grantType": grant.kind(), id_key: id, secret_key: secret});
            ("/api/v1/token", "application/json", body.to_string().into_bytes())
        }
        TokenApi::V2 => {
            // A throw-away URL is the form encoder at hand.
            let mut form = settings.url.clone();
            form.query_pairs_mut()
                .append_pair("grant_type", grant.kind())
                .append_pair("client_id", id)
                .append_pair("client_secret", secret);
            let body = form.query().unwrap_or_default().as_bytes().to_vec();
            ("/api/v2/token", "application/x-www-form-urlencoded", body)
        }
    }
}

#[derive(Deserialize)]
struct TokenReply {
    #[serde(alias = "accessToken")]
    access_token: String,
    #[serde(alias = "expiresIn")]
    expires_in: Option<Value>,
}

#[derive(Default)]
struct Claims {
    issued: Option<i64>,
    expires: Option<i64>,
    tenant: Option<TenantId>,
}

fn parse(body: &[u8], date: Option<Timestamp>) -> Result<Token, String> {
    let reply: TokenReply =
        serde_json::from_slice(body).map_err(|_| "expected an object with an access token".to_owned())?;
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", reply.access_token))
        .ok()
        .filter(|_| !reply.access_token.is_empty() && reply.access_token.is_ascii())
        .ok_or_else(|| "the access token is empty or holds characters that no header may hold".to_owned())?;
    bearer.set_sensitive(true);
    let claims = claims(&reply.access_token);
    let now = Instant::now();
    let life = life(reply.expires_in.as_ref(), &claims, date);
    Ok(Token {
        bearer,
        requested: now,
        renew_at: now + life - MARGIN.min(life / 10),
        expires_at: now + life,
        tenant: claims.tenant,
        accepted: AtomicBool::new(false),
    })
}

/// What a token reply tells beside the token.
pub(super) fn life_and_tenant(body: &[u8], date: Option<Timestamp>) -> Result<(Duration, Option<TenantId>), String> {
    parse(body, date).map(|token| (token.expires_at - token.requested, token.tenant))
}

/// When any token was issued and when it is over, in seconds since 1970, as far as it says.
pub(super) fn token_times(token: &str) -> (Option<i64>, Option<i64>) {
    let claims = claims(token);
    (claims.issued, claims.expires)
}

/// How long a token lives, counted on our own clock: `expiresIn`, else the distance of its two claims, else the
/// distance of its expiry from the reply's date.
fn life(expires_in: Option<&Value>, claims: &Claims, date: Option<Timestamp>) -> Duration {
    let positive = |seconds: i64| u64::try_from(seconds).ok().filter(|s| *s > 0).map(Duration::from_secs);
    expires_in
        .and_then(whole_number)
        .and_then(positive)
        .or_else(|| positive(claims.expires?.saturating_sub(claims.issued?)))
        .or_else(|| positive(claims.expires?.saturating_sub(date?.as_second())))
        .unwrap_or(DEFAULT_LIFE)
        .min(LONGEST_LIFE)
}

/// The claims, unverified: they serve to plan and as a hint, never to decide what is allowed. Tolerates anything.
fn claims(token: &str) -> Claims {
    let payload = token.split('.').nth(1).map(|part| part.trim_end_matches('='));
    let decoded = payload.and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let Some(Value::Object(map)) = decoded.and_then(|bytes| serde_json::from_slice(&bytes).ok()) else {
        return Claims::default();
    };
    let number = |key: &str| map.get(key).and_then(whole_number);
    Claims {
        issued: number("iat"),
        expires: number("exp"),
        tenant: number("tenantId").or_else(|| number("tenant_id")).map(TenantId),
    }
}

/// A number, a number with a fraction, or a string that holds a number.
fn whole_number(value: &Value) -> Option<i64> {
    match value {
        #[allow(clippy::cast_possible_truncation, reason = "claims are seconds and ids; a cast saturates")]
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|float| float as i64)),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use serde_json::json;

    fn jwt(claims: &Value) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    #[test]
    fn the_tenant_is_found_in_every_spelling_and_nothing_else_matters() {
        let table = [
            (jwt(&json!({"tenantId": 1001})), Some(1001)),
            (jwt(&json!({"tenantId": "1001"})), Some(1001)),
            (jwt(&json!({"tenant_id": 7})), Some(7)),
            (jwt(&json!({"tenantId": null, "tenant_id": "8"})), Some(8)),
            (jwt(&json!({"tenantId": "~~~???\u{fc}", "x": ">>>"})), None),
            (jwt(&json!([1])), None),
            (jwt(&json!({})), None),
            (format!("{}==", jwt(&json!({"tenantId": 1})).trim_end_matches(".c2ln")), Some(1)),
            ("opaque".to_owned(), None),
            ("a.b.c".to_owned(), None),
            ("..".to_owned(), None),
            ("e30.\u{0}.x".to_owned(), None),
        ];
        for (token, want) in table {
            assert_eq!(claims(&token).tenant, want.map(TenantId), "{token}");
        }
    }

    #[test]
    fn the_life_of_a_token() {
        let date = Timestamp::from_second(1_000_000).ok();
        let table = [
            (Some(json!(3600)), json!({}), date, 3600),
            (Some(json!("3600")), json!({}), date, 3600),
            (Some(json!(3600.9)), json!({}), date, 3600),
            (Some(json!(null)), json!({"iat": 50, "exp": 150}), date, 100),
            (Some(json!(0)), json!({"iat": 50, "exp": 150}), date, 100),
            (Some(json!(-5)), json!({"iat": 50, "exp": 150}), date, 100),
            (Some(json!("soon")), json!({"iat": 50, "exp": 150}), date, 100),
            (None, json!({"exp": 1_000_060}), date, 60),
            (None, json!({"exp": 1_000_060}), None, 300),
            (None, json!({"exp": 999_999}), date, 300),
            (None, json!({"iat": 9, "exp": 5}), None, 300),
            (None, json!({"exp": i64::MIN, "iat": i64::MAX}), date, 300),
            (None, json!({}), date, 300),
            (Some(json!(u64::MAX)), json!({}), date, 30 * 24 * 3600),
            (Some(json!(1e300)), json!({}), date, 30 * 24 * 3600),
        ];
        for (expires_in, payload, date, want) in table {
            let got = life(expires_in.as_ref(), &claims(&jwt(&payload)), date);
            assert_eq!(got, Duration::from_secs(want), "{expires_in:?} {payload}");
        }
    }

    #[test]
    fn is_renewed_a_minute_or_a_tenth_before_expiry() {
        for (life, margin) in [(3600, 60.0), (300, 30.0), (10, 1.0)] {
            let body = json!({"accessToken": "x", "expiresIn": life}).to_string();
            let token = parse(body.as_bytes(), None).unwrap();
            assert!((token.expires_at - token.renew_at).as_secs_f64() - margin < 0.001);
        }
    }

    #[test]
    fn a_token_that_cannot_be_a_header_is_refused() {
        for token in ["", "two\nlines", "nul\u{0}", "\u{fc}ml\u{e4}ut"] {
            assert!(parse(json!({"accessToken": token}).to_string().as_bytes(), None).is_err(), "{token:?}");
        }
        for body in ["", "[]", "{}", "<html>", r#"{"accessToken":5}"#] {
            assert!(parse(body.as_bytes(), None).is_err(), "{body:?}");
        }
        assert!(parse(br#"{"access_token":"a.b.c","expires_in":60,"token_type":"Bearer"}"#, None).is_ok());
    }

    #[test]
    fn failures_are_spaced_from_one_second_to_one_minute() {
        let mut attempts = Attempts::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let now = Instant::now();
            attempts.fail(Some(ErrorKind::Closed));
            pauses.push((attempts.not_before.unwrap() - now).as_secs_f64().round());
        }
        assert_eq!(pauses, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]);
        assert_eq!(attempts.still_pausing(Instant::now()), Some(ErrorKind::Closed));
        assert_eq!(attempts.still_pausing(Instant::now() + LONGEST_PAUSE), None);
    }

    #[test]
    fn a_token_never_prints() {
        let body = json!({"accessToken": "canary-token"}).to_string();
        let text = format!("{:?}", parse(body.as_bytes(), None).unwrap());
        assert!(!text.contains("canary"), "{text}");
    }
}
