//! The calls of the Clusters API that the operator makes.
//!
//! Owns one method per call and how often it is sent: reads may be repeated briefly, changes never. What one attempt
//! does is in `attempts`. Must not decide what to do next: it returns what was seen, or an [`ApiError`].

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, Url};

use super::attempts::worth_repeating;
use super::auth::TokenKeeper;
use super::error::{ApiError, ErrorKind};
use super::install::InstallInfo;
use super::limiter::Limiter;
use super::measurements::{Measured, MetricsQuery};
use super::minimal::{MOST_PAGES, MinimalCluster, PAGE};
use super::observer::{ClientObserver, Operation};
use super::redact::Secret;
use super::settings::Settings;
use super::sync::lock;
use super::transport::{Call, Transport};
use super::wire::{self, NewCluster};
use crate::domain::{ClusterName, ClusterUuid, CredentialId, Origin, RemoteCluster, TenantId};

pub(super) const CLUSTERS: &str = "/api/v1/clusters";

/// Extra attempts of a read.
const RETRIES: u32 = 2;
/// Longest pause before the first and the second extra attempt, in milliseconds; at least half of it passes.
const RETRY_PAUSE: [u64; RETRIES as usize] = [200, 800];

/// How much a list tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Everything.
    Full,
    /// Enough to know which registrations exist; what is left out differs between control planes.
    Metadata,
}

/// A complete list of registrations, deleting ones included where the control plane shows them.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The registrations; the first of each uuid.
    pub clusters: Vec<RemoteCluster>,
    /// Uuids that came more than once.
    pub duplicates: Vec<ClusterUuid>,
    /// When the request was handed to the network: what happened before is in the list.
    pub started: Instant,
    /// How much was asked for.
    pub verbosity: Verbosity,
}

/// What a DELETE led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteReply {
    /// 202: the deletion goes on by itself.
    Accepted,
    /// 204: done.
    Done,
    /// 404: not there for us.
    NotFound,
    /// 409: refused for now, for example because a deletion is under way.
    Conflict,
}

/// What this control plane can do; `None` where nothing showed it yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// `GET /clusters/minimal` exists (2.25). Known once it was asked for.
    pub minimal_list: Option<bool>,
    /// Lists show registrations that are being deleted (2.22). Known to be true once one was listed.
    pub include_requested_for_delete: Option<bool>,
    /// Install information holds a bootstrap token (3.0).
    pub bootstrap_token: Option<bool>,
}

/// The right to send one change. Taken before the look that the change rests on, so that no waiting comes between.
#[must_use]
pub struct Permit {
    condition: Option<Box<dyn FnOnce() -> bool + Send + Sync>>,
}

impl Permit {
    /// Adds a condition that is asked right before the request goes out (after a token was had): a lease that still
    /// holds, a time that has not passed. When it does not hold, the call fails with [`ErrorKind::HeldBack`] and
    /// nothing is sent.
    pub fn only_if(self, condition: impl FnOnce() -> bool + Send + Sync + 'static) -> Self {
        let earlier = self.condition;
        Self { condition: Some(Box::new(move || earlier.is_none_or(|holds| holds()) && condition())) }
    }

    pub(super) fn holds(self) -> bool {
        self.condition.is_none_or(|condition| condition())
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("conditional", &self.condition.is_some()).finish()
    }
}

pub(super) struct Inner {
    pub(super) settings: Settings,
    pub(super) host: Arc<str>,
    pub(super) transport: Transport,
    pub(super) tokens: TokenKeeper,
    pub(super) limiter: Limiter,
    pub(super) capabilities: Mutex<Capabilities>,
    pub(super) observer: Arc<dyn ClientObserver>,
    /// Install credentials that were given out lately: an error message may quote one.
    pub(super) issued: Mutex<VecDeque<Secret>>,
}

/// So many install credentials are remembered, to take them out of error messages.
const ISSUED: usize = 32;

impl Inner {
    /// Makes remote text fit to show.
    pub(super) fn clean(&self, text: &str) -> String {
        let issued: Vec<_> = lock(&self.issued).iter().cloned().collect();
        self.tokens.clean(text, &issued)
    }

    /// Remembers a credential.
    pub(super) fn issue(&self, secret: &Secret) {
        let mut issued = lock(&self.issued);
        if !issued.contains(secret) {
            issued.truncate(ISSUED - 1);
            issued.push_front(secret.clone());
        }
    }
}

/// A client of one control plane. Clones share connections, token and rate limit.
#[derive(Clone)]
pub struct RunaiClient {
    pub(super) inner: Arc<Inner>,
}

impl fmt::Debug for RunaiClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunaiClient").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}

impl RunaiClient {
    /// Builds a client; nothing is sent yet.
    ///
    /// # Errors
    /// Only of kind [`ErrorKind::Construction`]: TLS cannot be set up, for example because neither the system nor the
    /// CA bundle has a certificate.
    pub fn new(settings: Settings, observer: Arc<dyn ClientObserver>) -> Result<Self, ApiError> {
        let host: Arc<str> = settings.host().into();
        let transport = Transport::new(&settings, observer.clone()).map_err(|kind| ApiError {
            operation: Operation::Token,
            host: host.clone(),
            kind,
        })?;
        let tokens = TokenKeeper::new(settings.clone(), observer.clone());
        Ok(Self {
            inner: Arc::new(Inner {
                settings,
                host,
                transport,
                tokens,
                limiter: Limiter::new(),
                capabilities: Mutex::default(),
                observer,
                issued: Mutex::default(),
            }),
        })
    }

    /// The settings in use, to see whether a changed Secret changes anything.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Where requests go.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.inner.settings.origin()
    }

    /// With which credentials.
    #[must_use]
    pub fn credential(&self) -> CredentialId {
        self.inner.settings.credential()
    }

    /// What is known of the control plane's abilities.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        *lock(&self.inner.capabilities)
    }

    /// The control plane's clock: its last `Date` plus the time since. `None` when it never sent one. Late by up to a
    /// second and the way of the reply, never ahead.
    #[must_use]
    pub fn control_plane_now(&self) -> Option<Timestamp> {
        self.inner.transport.now()
    }

    /// How far the control plane's clock was ahead of ours at its last reply, to the second.
    #[must_use]
    pub fn clock_skew(&self) -> Option<SignedDuration> {
        self.inner.transport.skew()
    }

    /// The tenant that the present token names. A hint: the claims are not verified.
    #[must_use]
    pub fn token_tenant(&self) -> Option<TenantId> {
        self.inner.tokens.tenant()
    }

    /// Gets a new token, whatever the present one is good for.
    ///
    /// # Errors
    /// Token failures. After a failed attempt the next ones share its error for a while instead of being sent.
    pub async fn refresh_token_now(&self) -> Result<(), ApiError> {
        self.inner
            .tokens
            .renew(&self.inner.transport)
            .await
            .map(drop)
            .map_err(|kind| self.error(Operation::Token, kind))
    }

    /// The present rate limit in requests per second, and how many requests wait for it.
    #[must_use]
    pub fn rate_limit(&self) -> (f64, usize) {
        (self.inner.limiter.rate(), self.inner.limiter.waiting())
    }

    /// Waits for the right to send one change, first come, first served among those of its kind.
    ///
    /// # Errors
    /// [`ErrorKind::Paused`] when the control plane asked for a longer silence than is worth waiting out.
    pub async fn permit(&self, operation: Operation) -> Result<Permit, ApiError> {
        self.wait_turn(operation).await.map_err(|kind| self.error(operation, kind))?;
        Ok(Permit { condition: None })
    }

    /// Lists all registrations. Passes the queue of the rate limit.
    ///
    /// # Errors
    /// Any kind. A list with one bad element, or cut off anywhere, is an error as a whole.
    pub async fn list(&self, verbosity: Verbosity) -> Result<Listing, ApiError> {
        self.list_with(verbosity, RETRIES).await
    }

    /// As [`Self::list`], with one attempt only: for callers that repeat it anyway.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn list_once(&self, verbosity: Verbosity) -> Result<Listing, ApiError> {
        self.list_with(verbosity, 0).await
    }

    async fn list_with(&self, verbosity: Verbosity, retries: u32) -> Result<Listing, ApiError> {
        let operation = Operation::ListClusters;
        let listing = self.with_retries(operation, retries, || self.list_attempt(verbosity)).await?;
        if listing.clusters.iter().any(|cluster| cluster.delete_requested_at.is_some()) {
            lock(&self.inner.capabilities).include_requested_for_delete = Some(true);
        }
        Ok(listing)
    }

    /// Reads one registration; `None` when the API itself says 404. That is no proof that it does not exist.
    ///
    /// # Errors
    /// Any kind; also when the reply is about another uuid.
    pub async fn get(&self, uuid: ClusterUuid) -> Result<Option<RemoteCluster>, ApiError> {
        self.with_retries(Operation::GetCluster, RETRIES, || self.get_attempt(uuid)).await
    }

    /// Reads what the installation of a registration's agent needs. `version` is the agent's, `remote_url` the URL under
    /// which the cluster is reached.
    ///
    /// # Errors
    /// Any kind; an answer that is not whole is [`ErrorKind::Undecodable`].
    pub async fn install_info(
        &self,
        uuid: ClusterUuid,
        version: &str,
        remote_url: Option<&str>,
    ) -> Result<InstallInfo, ApiError> {
        let mut url = self.url(&format!("{CLUSTERS}/{uuid}/cluster-install-info"));
        url.query_pairs_mut().append_pair("version", version);
        if let Some(remote_url) = remote_url {
            url.query_pairs_mut().append_pair("remoteClusterUrl", remote_url);
        }
        let info =
            self.with_retries(Operation::InstallInfo, RETRIES, || self.install_info_attempt(url.clone())).await?;
        for secret in [&info.client_secret, &info.bootstrap_token].into_iter().flatten() {
            self.inner.issue(secret);
        }
        lock(&self.inner.capabilities).bootstrap_token = Some(info.bootstrap_token.is_some());
        Ok(info)
    }

    /// Reads metrics of a registration's cluster. An answer may lack types that were asked for.
    ///
    /// # Errors
    /// Any kind; a type that the control plane does not know, or cannot group, is refused with status 400 or 422.
    pub async fn metrics(&self, uuid: ClusterUuid, query: &MetricsQuery<'_>) -> Result<Measured, ApiError> {
        let mut url = self.url(&format!("{CLUSTERS}/{uuid}/metrics"));
        url.query_pairs_mut().extend_pairs(query.pairs());
        self.metrics_attempt(url).await.map_err(|kind| self.error(Operation::Metrics, kind))
    }

    /// Creates a registration. Sent at most once.
    ///
    /// # Errors
    /// Any kind. [`ApiError::certainly_not_sent`] tells whether the registration may exist all the same.
    pub async fn create(&self, new: &NewCluster, permit: Permit) -> Result<RemoteCluster, ApiError> {
        let operation = Operation::CreateCluster;
        let deadline = self.inner.settings.limits.create_deadline;
        let body = serde_json::to_vec(new).map_err(|_| self.unbuildable(operation))?;
        let call = Call::json(operation, Method::POST, self.url(CLUSTERS), Some(body), deadline);
        self.create_attempt(call, new, permit).await.map_err(|kind| self.error(operation, kind))
    }

    /// Renames a registration. Sent at most once.
    ///
    /// # Errors
    /// Any kind; a 404 has class [`super::Class::Gone`].
    pub async fn rename(&self, uuid: ClusterUuid, name: &ClusterName, permit: Permit) -> Result<(), ApiError> {
        let operation = Operation::RenameCluster;
        let deadline = self.inner.settings.limits.read_deadline;
        let body = serde_json::to_vec(&wire::Rename { name }).map_err(|_| self.unbuildable(operation))?;
        let call = Call::json(operation, Method::PUT, self.cluster_url(uuid), Some(body), deadline);
        self.rename_attempt(call, permit).await.map_err(|kind| self.error(operation, kind))
    }

    /// Asks for a deletion: a graceful one, or at once with `force`. Sent at most once.
    ///
    /// # Errors
    /// Any kind but 404 and 409, which are replies.
    pub async fn delete(&self, uuid: ClusterUuid, force: bool, permit: Permit) -> Result<DeleteReply, ApiError> {
        let operation = Operation::DeleteCluster;
        let mut url = self.cluster_url(uuid);
        if force {
            url.set_query(Some("force=true"));
        }
        let call = Call::json(operation, Method::DELETE, url, None, self.inner.settings.limits.read_deadline);
        self.delete_attempt(call, permit).await.map_err(|kind| self.error(operation, kind))
    }

    /// Reads the minimal list to its end, one request for every 500 registrations, each sent once. `None` where the
    /// control plane has none, or more registrations than it is worth reading. Whether it has one is remembered in
    /// [`Self::capabilities`].
    ///
    /// # Errors
    /// Any kind but the answers that mean "there is none".
    pub async fn minimal(&self) -> Result<Option<Vec<MinimalCluster>>, ApiError> {
        let mut clusters = Vec::new();
        for page in 0..MOST_PAGES {
            let attempt = self.minimal_attempt(page * PAGE, PAGE).await;
            let found = attempt.map_err(|kind| self.error(Operation::ListMinimal, kind))?;
            lock(&self.inner.capabilities).minimal_list = Some(found.is_some());
            let Some(found) = found else { return Ok(None) };
            let last = found.len() < PAGE;
            clusters.extend(found);
            if last {
                return Ok(Some(clusters));
            }
        }
        Ok(None)
    }

    /// Reads the minimal data of one registration, once; `None` when the API says 404. That proves nothing.
    ///
    /// # Errors
    /// Any kind; also when the reply is about another uuid.
    pub async fn minimal_of(&self, uuid: ClusterUuid) -> Result<Option<MinimalCluster>, ApiError> {
        self.minimal_of_attempt(uuid).await.map_err(|kind| self.error(Operation::GetMinimal, kind))
    }

    /// Asks once whether the minimal list exists and remembers the answer in [`Self::capabilities`].
    ///
    /// # Errors
    /// Any kind but the answers that mean "no".
    pub async fn probe_minimal(&self) -> Result<bool, ApiError> {
        let found = self.minimal_attempt(0, 1).await.map_err(|kind| self.error(Operation::ListMinimal, kind))?;
        lock(&self.inner.capabilities).minimal_list = Some(found.is_some());
        Ok(found.is_some())
    }

    /// How many permits were given so far, and how many requests wait for one.
    pub(crate) fn pressure(&self) -> (u64, usize) {
        (self.inner.limiter.granted(), self.inner.limiter.waiting())
    }

    /// An error of this client's host.
    pub(crate) fn error(&self, operation: Operation, kind: ErrorKind) -> ApiError {
        ApiError { operation, host: self.inner.host.clone(), kind }
    }

    async fn with_retries<T, F>(
        &self,
        operation: Operation,
        retries: u32,
        attempt: impl Fn() -> F,
    ) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, ErrorKind>>,
    {
        let mut pauses = RETRY_PAUSE.iter().take(retries as usize);
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(kind) => match pauses.next().filter(|_| worth_repeating(&kind)) {
                    Some(&longest) => {
                        tokio::time::sleep(Duration::from_millis(fastrand::u64(longest / 2..=longest))).await;
                    }
                    None => return Err(self.error(operation, kind)),
                },
            }
        }
    }

    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.inner.settings.url.clone();
        url.set_path(path);
        url
    }

    pub(super) fn cluster_url(&self, uuid: ClusterUuid) -> Url {
        self.url(&format!("{CLUSTERS}/{uuid}"))
    }

    fn unbuildable(&self, operation: Operation) -> ApiError {
        self.error(operation, ErrorKind::Construction("the body cannot be written as JSON".to_owned()))
    }
}
