//! Single attempts: one request each, and what its status means for that call.
//!
//! Owns the reading of replies, the renewal after a 401, and which failed reads are worth another attempt. Speaks in
//! [`ErrorKind`]; the client adds what was being done and where. Must not decide how often anything is sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Method, Url};

use super::auth::Token;
use super::client::{CLUSTERS, DeleteReply, Listing, Permit, RunaiClient, Verbosity};
use super::error::{ErrorKind, StatusError, TransportKind};
use super::install::{self, InstallInfo};
use super::list::{ListDecoder, ListError, MOST_MEMORY};
use super::measurements::{self, Measured};
use super::minimal::{self, MinimalCluster};
use super::observer::Operation;
use super::transport::{Call, ERROR_CAP, LIST_CAP, OBJECT_CAP, Reply};
use super::wire::{self, NewCluster};
use crate::domain::{ClusterUuid, RemoteCluster};

impl RunaiClient {
    pub(super) async fn list_attempt(&self, verbosity: Verbosity) -> Result<Listing, ErrorKind> {
        let mut url = self.url(CLUSTERS);
        url.set_query(Some(match verbosity {
            Verbosity::Full => "includeRequestedForDelete=true&verbosity=full",
            Verbosity::Metadata => "includeRequestedForDelete=true&verbosity=metadata",
        }));
        let deadline = self.inner.settings.limits.list_deadline;
        let (mut reply, started) = self.read(Operation::ListClusters, url, deadline).await?;
        if reply.code != 200 {
            return Err(self.refusal(reply).await);
        }
        let (code, content_type) = (reply.code, reply.content_type.clone());
        let unusable = |error: ListError| match error {
            ListError::Split(error) => {
                ErrorKind::Undecodable { code, what: wire::describe_split(&error, &content_type) }
            }
            ListError::TooMany => ErrorKind::TooMany { limit: MOST_MEMORY },
        };
        let mut decoder = ListDecoder::new();
        reply.stream(LIST_CAP, |chunk| decoder.feed(chunk).map_err(unusable)).await?;
        let (clusters, duplicates) = decoder.finish().map_err(unusable)?;
        Ok(Listing { clusters, duplicates, started, verbosity })
    }

    pub(super) async fn get_attempt(&self, uuid: ClusterUuid) -> Result<Option<RemoteCluster>, ErrorKind> {
        let url = self.cluster_url(uuid);
        let found = self.one_attempt(Operation::GetCluster, url, wire::cluster).await?;
        found.map(|cluster| about(uuid, cluster.uuid, cluster)).transpose()
    }

    pub(super) async fn minimal_of_attempt(&self, uuid: ClusterUuid) -> Result<Option<MinimalCluster>, ErrorKind> {
        let url = self.url(&format!("{CLUSTERS}/{uuid}/minimal"));
        let found = self.one_attempt(Operation::GetMinimal, url, minimal::one).await?;
        found.map(|cluster| about(uuid, cluster.uuid, cluster)).transpose()
    }

    /// What a read by id found; `None` when the API itself says 404.
    async fn one_attempt<T>(
        &self,
        operation: Operation,
        url: Url,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<Option<T>, ErrorKind> {
        let (mut reply, _) = self.read(operation, url, self.inner.settings.limits.read_deadline).await?;
        match reply.code {
            200 => decode(&mut reply, read).await.map(Some),
            404 => match self.refusal(reply).await {
                ErrorKind::Status(_) => Ok(None),
                other => Err(other),
            },
            _ => Err(self.refusal(reply).await),
        }
    }

    pub(super) async fn create_attempt(
        &self,
        call: Call,
        new: &NewCluster,
        permit: Permit,
    ) -> Result<RemoteCluster, ErrorKind> {
        let mut reply = self.change(call, permit).await?;
        let code = reply.code;
        if !matches!(code, 200 | 201) {
            return Err(self.refusal(reply).await);
        }
        let cluster = decode(&mut reply, wire::cluster).await?;
        if cluster.name == new.name.as_str() {
            Ok(cluster)
        } else {
            Err(undecodable(code, "the reply is about a registration of another name than the one sent"))
        }
    }

    pub(super) async fn rename_attempt(&self, call: Call, permit: Permit) -> Result<(), ErrorKind> {
        let reply = self.change(call, permit).await?;
        match reply.code {
            204 => Ok(()),
            // Not documented, and a login page or an empty cache says 200, too. Whether the name has changed the next look
            // tells; a change that is believed and then not there would look like somebody's fight.
            200 => Err(undecodable(200, &format!("expected status 204, got {}", reply.content_type))),
            _ => Err(self.refusal(reply).await),
        }
    }

    pub(super) async fn delete_attempt(&self, call: Call, permit: Permit) -> Result<DeleteReply, ErrorKind> {
        let reply = self.change(call, permit).await?;
        match reply.code {
            202 => Ok(DeleteReply::Accepted),
            204 => Ok(DeleteReply::Done),
            // Must not count as accepted, since a login page says 200, too.
            200 => Err(undecodable(200, &format!("expected status 202 or 204, got {}", reply.content_type))),
            code @ (404 | 409) => match self.refusal(reply).await {
                ErrorKind::Status(_) if code == 404 => Ok(DeleteReply::NotFound),
                ErrorKind::Status(_) => Ok(DeleteReply::Conflict),
                other => Err(other),
            },
            _ => Err(self.refusal(reply).await),
        }
    }

    pub(super) async fn install_info_attempt(&self, url: Url) -> Result<InstallInfo, ErrorKind> {
        let deadline = self.inner.settings.limits.read_deadline;
        let (mut reply, _) = self.read(Operation::InstallInfo, url, deadline).await?;
        if reply.code != 200 {
            return Err(self.refusal(reply).await);
        }
        decode(&mut reply, install::install_info).await
    }

    pub(super) async fn metrics_attempt(&self, url: Url) -> Result<Measured, ErrorKind> {
        let deadline = self.inner.settings.limits.read_deadline;
        let (mut reply, _) = self.read(Operation::Metrics, url, deadline).await?;
        // 207: some types could not be measured.
        if !matches!(reply.code, 200 | 207) {
            return Err(self.refusal(reply).await);
        }
        let series = decode(&mut reply, measurements::measurements).await?;
        Ok(Measured { series, partial: reply.code == 207 })
    }

    /// One page of the minimal list; `None` where there is no such list.
    pub(super) async fn minimal_attempt(
        &self,
        offset: usize,
        limit: usize,
    ) -> Result<Option<Vec<MinimalCluster>>, ErrorKind> {
        let mut url = self.url("/api/v1/clusters/minimal");
        url.set_query(Some(&format!("offset={offset}&limit={limit}")));
        let deadline = self.inner.settings.limits.read_deadline;
        let (mut reply, _) = self.read(Operation::ListMinimal, url, deadline).await?;
        match reply.code {
            200 => decode(&mut reply, minimal::page).await.map(Some),
            // Where the path is unknown it is read as the uuid "minimal".
            400 | 404 if offset == 0 => match self.refusal(reply).await {
                ErrorKind::Status(_) => Ok(None),
                other => Err(other),
            },
            _ => Err(self.refusal(reply).await),
        }
    }

    /// Sends a read; on a 401 once more with another token.
    async fn read(&self, operation: Operation, url: Url, deadline: Duration) -> Result<(Reply, Instant), ErrorKind> {
        self.wait_turn(operation).await?;
        let token = self.inner.tokens.token(&self.inner.transport).await?;
        let call = |url| Call::json(operation, Method::GET, url, None, deadline);
        let started = Instant::now();
        let reply = self.exchange(call(url.clone()), &token).await?;
        if reply.code != 401 {
            return Ok((reply, started));
        }
        match self.inner.tokens.replace(&token, &self.inner.transport).await {
            Ok(token) => {
                let started = Instant::now();
                Ok((self.exchange(call(url), &token).await?, started))
            }
            // Too early for another token: the refusal itself says more.
            Err(ErrorKind::Paused(_)) => Ok((reply, started)),
            Err(error) => Err(error),
        }
    }

    /// Sends a change once.
    async fn change(&self, call: Call, permit: Permit) -> Result<Reply, ErrorKind> {
        let token = self.inner.tokens.token(&self.inner.transport).await?;
        if !permit.holds() {
            return Err(ErrorKind::HeldBack);
        }
        let reply = self.exchange(call, &token).await?;
        if reply.code != 401 {
            return Ok(reply);
        }
        let refreshed = self.inner.tokens.replace(&token, &self.inner.transport).await.is_ok();
        Err(match self.refusal(reply).await {
            ErrorKind::Status(status) => ErrorKind::Status(StatusError { refreshed, ..status }),
            other => other,
        })
    }

    async fn exchange(&self, mut call: Call, token: &Arc<Token>) -> Result<Reply, ErrorKind> {
        call.bearer = Some(token.bearer.clone());
        let reply = self.inner.transport.send(call).await?;
        match reply.code {
            429 | 503 => self.inner.limiter.complained(reply.retry_after),
            500.. => {}
            _ => self.inner.limiter.answered(),
        }
        if reply.code != 401 {
            self.inner.tokens.accepted(token);
        }
        Ok(reply)
    }

    /// Turns an answer that is none of the expected ones into an error.
    async fn refusal(&self, mut reply: Reply) -> ErrorKind {
        let code = reply.code;
        if code < 400 {
            return ErrorKind::UnexpectedStatus { code };
        }
        let body = match reply.body(ERROR_CAP).await {
            Ok(body) => body,
            // "Not found" counts as an answer of the API only when it was heard to the end.
            Err(error) if code == 404 => return error,
            Err(_) => Vec::new(),
        };
        if code == 404 && !wire::is_api_body(&body) {
            return undecodable(404, &format!("expected a JSON error, got {}", reply.content_type));
        }
        let message = wire::error_message(&body).map(|message| self.inner.clean(&message));
        let message = message.filter(|message| !message.is_empty());
        ErrorKind::Status(StatusError { code, message, retry_after: reply.retry_after, refreshed: false })
    }

    pub(super) async fn wait_turn(&self, operation: Operation) -> Result<(), ErrorKind> {
        let started = Instant::now();
        let limiter = &self.inner.limiter;
        let turn = match operation {
            Operation::ListClusters | Operation::ListMinimal => limiter.acquire_ahead().await,
            operation => limiter.acquire(operation).await,
        };
        self.inner.observer.rate_limit_wait(started.elapsed());
        turn.map_err(ErrorKind::Paused)
    }
}

/// Whether a moment later the same read has better prospects. A deadline that passed was patience enough, and a
/// refused certificate stays refused.
pub(super) fn worth_repeating(kind: &ErrorKind) -> bool {
    match kind {
        ErrorKind::Transport(kind) => match kind {
            TransportKind::Dns | TransportKind::Refused | TransportKind::Unreachable | TransportKind::Broken => true,
            TransportKind::ConnectTimeout | TransportKind::Tls(_) | TransportKind::Timeout => false,
        },
        ErrorKind::Status(status) => matches!(status.code, 502..=504) && status.retry_after.is_none(),
        ErrorKind::Construction(_)
        | ErrorKind::Token(_)
        | ErrorKind::Undecodable { .. }
        | ErrorKind::UnexpectedStatus { .. }
        | ErrorKind::TooLarge { .. }
        | ErrorKind::TooMany { .. }
        | ErrorKind::Paused(_)
        | ErrorKind::HeldBack
        | ErrorKind::Closed => false,
    }
}

async fn decode<T>(reply: &mut Reply, read: impl Fn(&[u8]) -> Result<T, String>) -> Result<T, ErrorKind> {
    let body = reply.body(OBJECT_CAP).await?;
    read(&body).map_err(|what| undecodable(reply.code, &wire::describe_object(&body, &reply.content_type, &what)))
}

fn about<T>(asked: ClusterUuid, answered: ClusterUuid, found: T) -> Result<T, ErrorKind> {
    if asked == answered {
        Ok(found)
    } else {
        Err(undecodable(200, "the reply is about another registration than the one asked for"))
    }
}

fn undecodable(code: u16, what: &str) -> ErrorKind {
    ErrorKind::Undecodable { code, what: what.to_owned() }
}
