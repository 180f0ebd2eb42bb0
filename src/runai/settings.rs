//! The connection Secret, parsed once.
//!
//! Owns which keys a connection Secret must hold and what may be wrong with them. Must not know Kubernetes: it gets
//! the data of the Secret, not the Secret. No message repeats a value: a URL may hold a password.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use reqwest::Url;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::redact::Secret;
use crate::domain::{CredentialId, Origin};

/// Largest value of a connection Secret that is looked at, in bytes.
const MAX_VALUE: usize = 64 * 1024;
/// Longest host, in characters.
const MAX_HOST: usize = 253;
/// Largest CA bundle that is looked at, in bytes. The same cap as cert-manager's: a bundle with all public CAs fits.
const MAX_CA: usize = 330_000;

const URL: &str = "url";
const CLIENT: (&str, &str) = ("clientID", "clientSecret");
const APP: (&str, &str) = ("appID", "appSecret");

/// Which token endpoint is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum TokenApi {
    /// `POST /api/v1/token` with JSON.
    #[default]
    V1,
    /// `POST /api/v2/token`, form-encoded as in OAuth2.
    V2,
}

/// How the client behaves; nothing in here comes from the Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Whether `http://` may be used.
    pub allow_insecure_http: bool,
    /// Time for DNS, TCP and TLS.
    pub connect_timeout: Duration,
    /// Total time of a read by id, a change other than create, or a token request.
    pub read_deadline: Duration,
    /// Total time of a list.
    pub list_deadline: Duration,
    /// Total time of a create.
    pub create_deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            allow_insecure_http: false,
            connect_timeout: Duration::from_secs(5),
            read_deadline: Duration::from_secs(20),
            list_deadline: Duration::from_secs(60),
            create_deadline: Duration::from_secs(20),
        }
    }
}

/// Why a connection Secret or CA bundle cannot be used. The message names the key and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A key is not there.
    #[error("key `{key}` is missing{hint}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What was found instead, if it looks like a slip.
        hint: String,
    },
    /// Neither pair of credentials is there.
    #[error(
        "no credentials: add `clientID` and `clientSecret` of a service account (or `appID` and `appSecret` of an application){hint}"
    )]
    NoCredentials {
        /// What was found instead, if it looks like a slip.
        hint: String,
    },
    /// Both pairs are there.
    #[error(
        "both `clientID`/`clientSecret` and `appID`/`appSecret` are set: remove one pair, so that it is clear which one is used"
    )]
    BothPairs,
    /// The old grant with the new endpoint.
    #[error("`appID` and `appSecret` work with `tokenApi: V1` only: use that, or `clientID` and `clientSecret`")]
    AppNeedsV1,
    /// A value cannot be used whatever it means.
    #[error("key `{key}` {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The URL is none.
    #[error("key `url` {problem}; it must look like https://tenant.run.ai")]
    Url {
        /// What is wrong.
        problem: String,
    },
    /// The CA bundle cannot be used.
    #[error("the CA bundle {problem}")]
    Ca {
        /// What is wrong and what to do.
        problem: String,
    },
}

/// How the client logs in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Grant {
    /// `client_credentials`.
    Client { id: String, secret: Secret },
    /// `app_token`, deprecated by the API.
    App { id: String, secret: Secret },
}

impl Grant {
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Client { .. } => "client_credentials",
            Self::App { .. } => "app_token",
        }
    }

    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Client { id, .. } | Self::App { id, .. } => id,
        }
    }

    pub(crate) const fn secret(&self) -> &Secret {
        match self {
            Self::Client { secret, .. } | Self::App { secret, .. } => secret,
        }
    }
}

/// Everything needed to talk to one control plane. Equal settings mean that a changed Secret changes nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    pub(crate) url: Url,
    pub(crate) grant: Grant,
    pub(crate) token_api: TokenApi,
    pub(crate) ca: Arc<[CertificateDer<'static>]>,
    pub(crate) limits: Limits,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("origin", &self.origin().as_str())
            .field("credential", &self.credential().as_str())
            .field("grant", &self.grant.kind())
            .field("token_api", &self.token_api)
            .field("extra_cas", &self.ca.len())
            .field("limits", &self.limits)
            .finish()
    }
}

impl Settings {
    /// Reads the data of a connection Secret: `url` with `clientID` and `clientSecret`, or with `appID` and
    /// `appSecret`. A newline at the end of a value (an editor's, or `echo`'s) is dropped.
    ///
    /// # Errors
    /// See [`SettingsError`]. An expired CA is no error here: the handshake tells.
    pub fn from_secret(
        data: &BTreeMap<String, Vec<u8>>,
        token_api: TokenApi,
        ca_pem: Option<&[u8]>,
        limits: Limits,
    ) -> Result<Self, SettingsError> {
        let url = parse_url(&required(data, URL)?, limits.allow_insecure_http)?;
        let grant = parse_grant(data)?;
        if token_api == TokenApi::V2 && matches!(grant, Grant::App { .. }) {
            return Err(SettingsError::AppNeedsV1);
        }
        let ca = ca_pem.map(parse_ca).transpose()?.unwrap_or_default();
        Ok(Self { url, grant, token_api, ca: ca.into(), limits })
    }

    /// Where requests go: scheme, host and port, lower case, without a default port.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin::new(&self.url.origin().ascii_serialization())
    }

    /// Which token endpoint is used.
    #[must_use]
    pub const fn token_api(&self) -> TokenApi {
        self.token_api
    }

    /// The same, with the first token endpoint: for the question whether that one works.
    #[must_use]
    pub fn with_first_token_api(&self) -> Self {
        Self { token_api: TokenApi::V1, ..self.clone() }
    }

    /// A stable name for the credentials: the first 16 hexadecimal digits of the SHA-256 over grant kind and id.
    /// The secret has no part in it, so it survives a rotation and tells nothing.
    #[must_use]
    pub fn credential(&self) -> CredentialId {
        let text = format!("{}\n{}", self.grant.kind(), self.grant.id());
        let sum = digest::digest(&digest::SHA256, text.as_bytes());
        let hex: String = sum.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        CredentialId::new(&hex)
    }

    /// Host and port, for messages.
    #[must_use]
    pub fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

fn parse_grant(data: &BTreeMap<String, Vec<u8>>) -> Result<Grant, SettingsError> {
    let has = |pair: (&str, &str)| data.contains_key(pair.0) || data.contains_key(pair.1);
    match (has(CLIENT), has(APP)) {
        (true, true) => Err(SettingsError::BothPairs),
        (false, false) => Err(SettingsError::NoCredentials { hint: slip(data, &[CLIENT.0, CLIENT.1, APP.0, APP.1]) }),
        (true, false) => {
            Ok(Grant::Client { id: required(data, CLIENT.0)?, secret: Secret::new(required(data, CLIENT.1)?) })
        }
        (false, true) => Ok(Grant::App { id: required(data, APP.0)?, secret: Secret::new(required(data, APP.1)?) }),
    }
}

/// A hint for a key that differs in case or punctuation only: `clientId`, `client_id`, `URL`.
fn slip(data: &BTreeMap<String, Vec<u8>>, keys: &[&str]) -> String {
    let flat = |key: &str| key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    data.keys().find_map(|found| keys.iter().find(|key| flat(key) == flat(found)).map(|key| (found, key))).map_or_else(
        String::new,
        |(found, key)| {
            let found: String = found.chars().take(64).collect();
            format!("; there is a key `{found}`, which must be spelled `{key}`")
        },
    )
}

fn required(data: &BTreeMap<String, Vec<u8>>, key: &'static str) -> Result<String, SettingsError> {
    let bytes = data.get(key).ok_or_else(|| SettingsError::Missing { key, hint: slip(data, &[key]) })?;
    let bad = |problem: &str| SettingsError::Value { key, problem: problem.to_owned() };
    if bytes.len() > MAX_VALUE {
        return Err(SettingsError::Value { key, problem: format!("is larger than {MAX_VALUE} bytes") });
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| bad("is not UTF-8 text; was it encoded twice, or taken from a binary file?"))?;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        return Err(bad("is empty"));
    }
    if text.trim() != text {
        return Err(bad("begins or ends with white space; remove it"));
    }
    if text.chars().any(char::is_control) {
        return Err(bad("holds a newline or another control character; it must be one line"));
    }
    Ok(text.to_owned())
}

fn parse_url(text: &str, allow_http: bool) -> Result<Url, SettingsError> {
    let bad = |problem: &str| Err(SettingsError::Url { problem: problem.to_owned() });
    if !text.contains("://") {
        return bad("has no scheme");
    }
    let Ok(url) = Url::parse(text) else {
        return bad("cannot be read as a URL");
    };
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        "http" => {
            return bad(
                "uses http, which would send the credentials in clear text (for a trial on one machine --allow-insecure-http permits that)",
            );
        }
        _ => return bad("has a scheme other than https"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return bad("holds a user name or password; credentials belong into their own keys");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return bad("has no host");
    }
    // No name server knows a longer one, and the host goes into messages, status and annotations.
    if url.host_str().is_some_and(|host| host.len() > MAX_HOST) {
        return bad("has a host of more than 253 characters");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return bad("holds a query or fragment");
    }
    if !matches!(url.path(), "" | "/") {
        return bad("holds a path; the operator adds /api/v1 itself");
    }
    Ok(url)
}

fn parse_ca(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let bad = |problem: &str| SettingsError::Ca { problem: problem.to_owned() };
    if pem.len() > MAX_CA {
        return Err(SettingsError::Ca { problem: format!("is larger than {MAX_CA} bytes") });
    }
    let certs = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| bad("is not valid PEM; was it cut off or encoded twice?"))?;
    if certs.is_empty() {
        return Err(bad(
            "holds no certificate; it needs at least one block that begins with -----BEGIN CERTIFICATE-----",
        ));
    }
    let mut roots = rustls::RootCertStore::empty();
    for (index, cert) in certs.iter().enumerate() {
        roots.add(cert.clone()).map_err(|_| SettingsError::Ca {
            problem: format!("holds something that is not an X.509 certificate (block {})", index + 1),
        })?;
    }
    Ok(certs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const CANARY: &str = "canary-7f3a";

    fn secret(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
    }

    fn good() -> BTreeMap<String, Vec<u8>> {
        secret(&[("url", "https://Tenant.run.ai/\n"), ("clientID", "operator\n"), ("clientSecret", CANARY)])
    }

    fn read(data: &BTreeMap<String, Vec<u8>>) -> Result<Settings, SettingsError> {
        Settings::from_secret(data, TokenApi::V1, None, Limits::default())
    }

    #[test]
    fn reads_a_secret_as_people_write_it() {
        let settings = read(&good()).unwrap();
        assert_eq!(settings.origin().as_str(), "https://tenant.run.ai");
        assert_eq!(settings.host(), "tenant.run.ai");
        assert_eq!(settings.grant.id(), "operator");
    }

    #[test]
    fn a_default_port_is_no_other_origin() {
        let mut data = good();
        data.insert("url".into(), b"https://tenant.run.ai:443".to_vec());
        assert_eq!(read(&data).unwrap(), read(&good()).unwrap());
        data.insert("url".into(), b"https://tenant.run.ai:8443".to_vec());
        let other = read(&data).unwrap();
        assert_eq!(other.origin().as_str(), "https://tenant.run.ai:8443");
        assert_eq!(other.host(), "tenant.run.ai:8443");
    }

    #[test]
    fn the_credential_id_follows_the_client_and_not_its_secret() {
        let first = read(&good()).unwrap();
        let mut data = good();
        data.insert("clientSecret".into(), b"rotated".to_vec());
        let rotated = read(&data).unwrap();
        assert_eq!(first.credential(), rotated.credential());
        assert_ne!(first, rotated, "a rotated secret is a change");
        assert_eq!(first.credential().as_str().len(), 16);
        data.insert("clientID".into(), b"another".to_vec());
        assert_ne!(first.credential(), read(&data).unwrap().credential());
        let app = read(&secret(&[("url", "https://a.b"), ("appID", "operator"), ("appSecret", "x")])).unwrap();
        assert_ne!(first.credential(), app.credential(), "another grant is another credential");
    }

    #[test]
    fn a_malformed_secret_says_which_key_and_what_to_do() {
        let with = |key: &str, value: &str| {
            let mut data = good();
            data.insert(key.into(), value.as_bytes().to_vec());
            data
        };
        let without = |key: &str| {
            let mut data = good();
            data.remove(key);
            data
        };
        let binary = |key: &str, value: Vec<u8>| {
            let mut data = good();
            data.insert(key.into(), value);
            data
        };
        let url = |value: &str| with("url", value);
        let table = [
            (without("url"), "key `url` is missing"),
            (without("clientID"), "key `clientID` is missing"),
            (without("clientSecret"), "key `clientSecret` is missing"),
            (secret(&[("url", "https://a.b")]), "no credentials: add `clientID` and `clientSecret`"),
            (secret(&[("url", "https://a.b"), ("clientId", CANARY)]), "`clientId`, which must be spelled `clientID`"),
            (secret(&[("URL", CANARY), ("clientID", "a")]), "`URL`, which must be spelled `url`"),
            (secret(&[("url", "https://a.b"), ("appID", "a")]), "key `appSecret` is missing"),
            (with("appID", "a"), "remove one pair"),
            (binary("clientSecret", vec![0xff, 0xfe]), "key `clientSecret` is not UTF-8"),
            (with("clientSecret", ""), "key `clientSecret` is empty"),
            (with("clientSecret", "\n"), "key `clientSecret` is empty"),
            (with("clientID", " x"), "key `clientID` begins or ends with white space"),
            (with("clientID", "\nx"), "key `clientID` begins or ends with white space"),
            (with("clientID", "a\nb"), "key `clientID` holds a newline"),
            (binary("clientSecret", vec![b'x'; MAX_VALUE + 1]), "key `clientSecret` is larger than 65536"),
            (url("tenant.run.ai"), "has no scheme"),
            (url("tenant.run.ai:443"), "has no scheme"),
            (url("http://tenant.run.ai"), "--allow-insecure-http"),
            (url("ftp://tenant.run.ai"), "a scheme other than https"),
            (url("https://"), "cannot be read as a URL"),
            (url("https://ten ant.run.ai"), "cannot be read as a URL"),
            (url("https://a.b:99999"), "cannot be read as a URL"),
            (url(&format!("https://{}.b", "a.".repeat(130))), "a host of more than 253 characters"),
            (url("https://a.b/api/v1"), "holds a path"),
            (url("https://a.b/?x=canary-7f3a"), "a query or fragment"),
            (url("https://a.b/#canary-7f3a"), "a query or fragment"),
            (url("https://me:canary-7f3a@a.b"), "a user name or password"),
        ];
        for (data, want) in table {
            let message = read(&data).expect_err(want).to_string();
            assert!(message.contains(want), "want {want:?}, got {message:?}");
            assert!(!message.contains(CANARY), "{message}");
        }
    }

    #[test]
    fn http_needs_the_flag() {
        let mut data = good();
        data.insert("url".into(), b"http://127.0.0.1:8080".to_vec());
        let limits = Limits { allow_insecure_http: true, ..Limits::default() };
        let settings = Settings::from_secret(&data, TokenApi::V1, None, limits).unwrap();
        assert_eq!(settings.origin().as_str(), "http://127.0.0.1:8080");
    }

    #[test]
    fn the_old_grant_needs_the_old_endpoint() {
        let data = secret(&[("url", "https://a.b"), ("appID", "a"), ("appSecret", "b")]);
        let error = Settings::from_secret(&data, TokenApi::V2, None, Limits::default()).unwrap_err();
        assert_eq!(error, SettingsError::AppNeedsV1);
    }

    #[test]
    fn a_malformed_ca_bundle_says_why() {
        let huge = vec![b'\n'; MAX_CA + 1];
        let table: [(&[u8], &str); 6] = [
            (b"", "holds no certificate"),
            (b"hello", "holds no certificate"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "is not valid PEM"),
            (b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", "is not valid PEM"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "not an X.509 certificate (block 1)"),
            (&huge, "is larger than 330000 bytes"),
        ];
        for (pem, want) in table {
            let error = Settings::from_secret(&good(), TokenApi::V1, Some(pem), Limits::default()).expect_err(want);
            assert!(error.to_string().contains(want), "want {want:?}, got {error}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let text = format!("{:?}", read(&good()).unwrap());
        assert!(!text.contains(CANARY) && text.contains("tenant.run.ai"), "{text}");
    }
}
