//! Everything a user may set, with its defaults, and how a partial document changes it.
//!
//! Owns the names and defaults of settings. Must not know how any setting is carried out.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::profile::Profile;

/// Settings of a simulator. Every key can be changed while it runs, except `tls` and `serverCertificate`.
///
/// Unknown keys are refused, so that a typing error in a test does not pass as a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Config {
    /// The control plane version that is imitated.
    pub profile: Profile,
    /// Overrides of single capabilities of the profile.
    pub capabilities: CapabilityOverrides,
    /// Whether time passes by itself.
    pub clock: ClockMode,
    /// Start of the virtual clock; absent means the wall clock.
    pub clock_start: Option<Timestamp>,
    /// Source of uuids, secrets, fault draws and jitter.
    pub seed: u64,
    /// Transport security of the public port.
    pub tls: TlsConfig,
    /// Server certificate in place of one made at start; needs `tls.enabled`.
    pub server_certificate: Option<ServerCertificate>,
    /// Tenants and who may log in to them.
    pub tenants: Vec<Tenant>,
    /// Access tokens.
    pub token: TokenConfig,
    /// Cluster agents.
    pub agent: AgentConfig,
    /// Delete semantics.
    pub delete: DeleteConfig,
    /// Uniqueness of names.
    pub names: NamesConfig,
    /// How a field without a value is shown.
    pub null_style: NullStyle,
    /// Lists of clusters.
    pub list: ListConfig,
    /// Create and update requests.
    pub requests: RequestConfig,
    /// Install information.
    pub install_info: InstallInfoConfig,
    /// Metrics endpoint.
    pub metrics: MetricsConfig,
    /// Request rate per identity.
    pub limits: LimitsConfig,
    /// Real milliseconds added to every reply.
    pub latency_ms: u64,
    /// Upper bound of random milliseconds added on top of `latency_ms`.
    pub latency_jitter_ms: u64,
    /// Compress replies for clients that say they take gzip.
    pub gzip: bool,
    /// Say the time in each reply, as `Date`.
    pub date: bool,
    /// Entries kept in the journal.
    pub journal_capacity: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            capabilities: CapabilityOverrides::default(),
            clock: ClockMode::Real,
            clock_start: None,
            seed: 1,
            tls: TlsConfig::default(),
            server_certificate: None,
            tenants: vec![Tenant::default()],
            token: TokenConfig::default(),
            agent: AgentConfig::default(),
            delete: DeleteConfig::default(),
            names: NamesConfig::default(),
            null_style: NullStyle::Omit,
            list: ListConfig::default(),
            requests: RequestConfig::default(),
            install_info: InstallInfoConfig::default(),
            metrics: MetricsConfig::default(),
            limits: LimitsConfig::default(),
            latency_ms: 0,
            latency_jitter_ms: 0,
            gzip: false,
            date: true,
            journal_capacity: 100_000,
        }
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value does not fit its key, or the key is unknown.
    #[error("configuration: {0}")]
    Invalid(#[from] serde_json::Error),
    /// A `key=value` setting that cannot be read.
    #[error("setting {0:?}: expected dotted.key=value")]
    Setting(String),
}

impl Config {
    /// A configuration for the given profile, everything else at its default.
    #[must_use]
    pub fn for_profile(profile: Profile) -> Self {
        Self { profile, ..Self::default() }
    }

    /// The same without the minimal lists, so that a client that could look there looks at full lists alone: for scenarios
    /// whose faults lie in those.
    #[must_use]
    pub fn full_lists_only(mut self) -> Self {
        self.capabilities.minimal = Some(false);
        self
    }

    /// Returns this configuration with `patch` laid over it (JSON merge patch, RFC 7396: null means the default).
    ///
    /// # Errors
    /// When the outcome is not a valid configuration; nothing is changed then.
    pub fn patched(&self, patch: &Value) -> Result<Self, ConfigError> {
        let mut document = serde_json::to_value(self)?;
        merge(&mut document, patch);
        Ok(serde_json::from_value(document)?)
    }

    /// Applies one `dotted.key=value` setting; the value is JSON, or else a plain string.
    ///
    /// # Errors
    /// When the key is unknown or the value does not fit.
    pub fn with_setting(&self, setting: &str) -> Result<Self, ConfigError> {
        let (path, text) = setting.split_once('=').ok_or_else(|| ConfigError::Setting(setting.to_owned()))?;
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
        let nest = |inner: Value, key: &str| Value::Object(std::iter::once((key.to_owned(), inner)).collect());
        let with = |value: Value| self.patched(&path.rsplit('.').fold(value, nest));
        // A text such as `404` may be meant as a string: try what JSON says first, then the string.
        with(value).or_else(|first| with(Value::String(text.to_owned())).map_err(|_| first))
    }
}

fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    target.remove(key);
                } else {
                    merge(target.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

/// Overrides of what a profile can do; absent means as the profile says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CapabilityOverrides {
    /// `/clusters/minimal` and `/clusters/{id}/minimal` exist.
    pub minimal: Option<bool>,
    /// The list honours `includeRequestedForDelete`.
    pub include_requested_for_delete: Option<bool>,
    /// `/api/v2/token` exists.
    pub token_v2: Option<bool>,
    /// Install information gives a bootstrap token in place of a client secret.
    pub bootstrap_token: Option<bool>,
}

/// Whether time passes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClockMode {
    /// With the machine's clock; can be advanced on top.
    Real,
    /// Only when advanced.
    Manual,
}

/// Transport security of the public port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Serve https with a certificate of a private CA made at start.
    pub enabled: bool,
}

/// PEM files of a server certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerCertificate {
    /// The certificate, followed by its chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A customer of the control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tenant {
    /// The tenant id, unique.
    pub id: i32,
    /// Who may log in.
    pub identities: Vec<Identity>,
}

impl Default for Tenant {
    fn default() -> Self {
        Self { id: 1001, identities: vec![Identity::default()] }
    }
}

/// A service account or access key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Identity {
    /// Also accepted as `appID`.
    pub client_id: String,
    /// Also accepted as `appSecret`.
    pub client_secret: String,
    /// What it may do; all four by default.
    #[serde(default = "Access::all")]
    pub actions: Vec<Access>,
    /// Which clusters it sees.
    #[serde(default)]
    pub scope: Scope,
}

impl Default for Identity {
    fn default() -> Self {
        Self::new("operator", "operator-secret")
    }
}

impl Identity {
    /// An identity with all rights in its tenant.
    #[must_use]
    pub fn new(client_id: &str, client_secret: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            client_secret: client_secret.to_owned(),
            actions: Access::all(),
            scope: Scope::Tenant,
        }
    }
}

/// A right on the resource type `cluster`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Access {
    /// GET of any kind.
    Read,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// DELETE.
    Delete,
}

impl Access {
    /// Every right.
    #[must_use]
    pub fn all() -> Vec<Self> {
        vec![Self::Read, Self::Create, Self::Update, Self::Delete]
    }
}

/// The part of a tenant that an identity sees.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// The whole tenant.
    #[default]
    Tenant,
    /// Only these clusters; such an identity cannot create.
    Clusters(Vec<uuid::Uuid>),
}

/// Access tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TokenConfig {
    /// Lifetime.
    pub ttl_seconds: i64,
    /// Shape of the token text.
    pub format: TokenFormat,
    /// Shifts `iat` and `exp` against the server clock.
    pub skew_seconds: i64,
    /// Status for a wrong id or secret on V1: 400, 401 or 403.
    pub bad_credential_status: u16,
    /// Grants of V1 beside `client_credentials` and `app_token`; none by default.
    pub grants: Vec<OtherGrant>,
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self {
            ttl_seconds: 3600,
            format: TokenFormat::Jwt,
            skew_seconds: 0,
            bad_credential_status: 400,
            grants: Vec::new(),
        }
    }
}

/// A grant that is off unless asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OtherGrant {
    /// `username` and `password`, which are a client id and its secret.
    Password,
    /// `refreshToken`, which every V1 reply then carries beside the access token.
    RefreshToken,
}

/// Shape of the token text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenFormat {
    /// A JWT whose payload segment is free of `-` and `_` (standard and URL-safe base64 agree).
    Jwt,
    /// No dots, no claims.
    Opaque,
    /// A JWT without `exp`.
    JwtNoExp,
    /// A JWT whose payload segment has `-` or `_` in it.
    JwtUrlsafeChars,
}

/// Cluster agents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AgentConfig {
    /// Time between two beats.
    pub heartbeat_seconds: f64,
    /// Silence after which a cluster counts as disconnected.
    pub stale_seconds: f64,
    /// A new registration gets a running agent after this time; absent means never.
    pub auto_start_seconds: Option<f64>,
    /// Version an agent reports when nothing else is said; absent means the requested one, else the profile's.
    pub version: Option<String>,
    /// Domain every agent reports; absent means it leaves the registered one alone.
    pub reports_domain: Option<String>,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            heartbeat_seconds: 30.0,
            stale_seconds: 120.0,
            auto_start_seconds: None,
            version: None,
            reports_domain: None,
        }
    }
}

/// Delete semantics: the questions that the published API leaves open, each a setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct DeleteConfig {
    /// Live agent time that a graceful deletion takes.
    pub graceful_seconds: f64,
    /// What a graceful deletion does while the agent is away.
    pub disconnected_policy: DisconnectedPolicy,
    /// Status of a GET by id while it is being deleted: 200 or 404.
    pub get_during: u16,
    /// A GET by id afterwards.
    pub get_after: GetAfter,
    /// Status of a second graceful DELETE: 202 or 409.
    pub repeat: u16,
    /// Status of a DELETE of an unknown id: 404, 204 or 500.
    pub unknown_id: u16,
    /// Status when the version is not known: 204 (instant) or 202 (graceful).
    pub null_version: u16,
    /// Status of a PUT while it is being deleted: 409 or 204.
    pub put_during: u16,
    /// Status of install information while it is being deleted: 200 or 409.
    pub install_info_during: u16,
    /// Every graceful deletion takes this many times longer.
    pub slow_factor: f64,
    /// No graceful deletion ever completes.
    pub stuck: bool,
}

impl Default for DeleteConfig {
    fn default() -> Self {
        Self {
            graceful_seconds: 20.0,
            disconnected_policy: DisconnectedPolicy::Wait,
            get_during: 200,
            get_after: GetAfter::NotFound,
            repeat: 202,
            unknown_id: 404,
            null_version: 204,
            put_during: 409,
            install_info_during: 200,
            slow_factor: 1.0,
            stuck: false,
        }
    }
}

/// What a graceful deletion does while the agent is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DisconnectedPolicy {
    /// Waits for it.
    Wait,
    /// Goes on by the clock alone.
    Complete,
    /// Fails: the cluster shows a service issue and stays.
    Fail,
}

/// A GET by id after the deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GetAfter {
    /// 404.
    NotFound,
    /// 200 with `deletedAt`.
    Tombstone,
}

/// Uniqueness of names in a tenant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NamesConfig {
    /// Whether two clusters may have one name.
    pub unique: UniqueNames,
    /// Status of a refused duplicate.
    pub conflict_status: u16,
    /// A name stays taken while its cluster is being deleted.
    pub reserved_while_deleting: bool,
    /// A name stays taken this long after the deletion.
    pub reuse_delay_seconds: f64,
}

impl Default for NamesConfig {
    fn default() -> Self {
        Self { unique: UniqueNames::On, conflict_status: 409, reserved_while_deleting: true, reuse_delay_seconds: 0.0 }
    }
}

/// Whether two clusters may have one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UniqueNames {
    /// Unique, by exact spelling.
    On,
    /// Not unique.
    Off,
    /// Unique without regard to case.
    Ci,
}

/// How a field without a value is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NullStyle {
    /// Left out.
    Omit,
    /// As `null`.
    Null,
}

/// Lists of clusters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ListConfig {
    /// Clusters being deleted are never listed, whatever the parameter says.
    pub hide_deleting: bool,
    /// Order of the list.
    pub order: ListOrder,
    /// `status` of a cluster that never connected.
    pub never_connected: NeverConnected,
}

impl Default for ListConfig {
    fn default() -> Self {
        Self { hide_deleting: false, order: ListOrder::Created, never_connected: NeverConnected::State }
    }
}

/// Order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ListOrder {
    /// By `createdAt`, then uuid.
    Created,
    /// Another one each time.
    Shuffle,
}

/// `status` of a cluster that never connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NeverConnected {
    /// `{"state":"WaitingToConnect"}`.
    State,
    /// `null`, or left out.
    Null,
    /// `{}`.
    Empty,
}

/// Create and update requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RequestConfig {
    /// `domain` is stored without any check.
    pub any_domain: bool,
    /// A version newer than the control plane is refused.
    pub refuse_newer_version: bool,
    /// Fields of a PUT that cannot be changed are refused, not ignored.
    pub refuse_unknown_update_fields: bool,
    /// A body without `application/json` is refused with 415.
    pub strict_content_type: bool,
    /// Most clusters per tenant; above it a create answers 403.
    pub max_clusters: Option<usize>,
    /// `updatedAt` moves with every beat.
    pub updated_at_on_heartbeat: bool,
}

/// Install information.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct InstallInfoConfig {
    /// Answers 503 for this long after the registration.
    pub warmup_seconds: f64,
    /// Every read makes a new client secret.
    pub rotate_on_read: bool,
    /// A bootstrap token is good for one agent only.
    pub single_use_bootstrap: bool,
    /// URL shown as the control plane in the command; absent means the public URL.
    pub control_plane_url: Option<String>,
}

/// Metrics endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// Times without an offset are refused.
    pub strict_time: bool,
    /// Metric types that fail: the reply is 207 without them.
    pub failing: Vec<String>,
}

/// Request rate per identity; 0 means no limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Permits per second.
    pub rps: f64,
    /// Permits that can be saved up; at least one.
    pub burst: f64,
}
