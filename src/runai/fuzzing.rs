//! Doors for `fuzz/`: each hands bytes to one decoder of this room, in the way that a reply would.
//!
//! Owns nothing. Not part of the library's interface.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;

use super::install::{self, InstallInfo};
use super::list::{ListDecoder, ListError};
use super::measurements::{self, Measurement};
use super::minimal::{self, MinimalCluster};
use super::{auth, headers, wire};
use crate::domain::{ClusterUuid, RemoteCluster, TenantId};

/// The body of a list, in the given chunks.
///
/// # Errors
/// What is wrong, in the user's words.
pub fn list<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<(Vec<RemoteCluster>, Vec<ClusterUuid>), String> {
    let said = |error: ListError| match error {
        ListError::Split(error) => wire::describe_split(&error, "application/json"),
        ListError::TooMany => "too many".to_owned(),
    };
    let mut decoder = ListDecoder::new();
    chunks.into_iter().try_for_each(|chunk| decoder.feed(chunk)).map_err(said)?;
    decoder.finish().map_err(said)
}

/// The body of one registration.
///
/// # Errors
/// What is wrong, in the user's words.
pub fn cluster(body: &[u8]) -> Result<RemoteCluster, String> {
    wire::cluster(body).map_err(|what| wire::describe_object(body, "application/json", &what))
}

/// The body of install information.
///
/// # Errors
/// What is wrong, in the user's words.
pub fn install(body: &[u8]) -> Result<InstallInfo, String> {
    install::install_info(body).map_err(|what| wire::describe_object(body, "application/json", &what))
}

/// The body of one page of the minimal list.
///
/// # Errors
/// What is wrong, in the user's words.
pub fn minimal(body: &[u8]) -> Result<Vec<MinimalCluster>, String> {
    minimal::page(body).map_err(|what| wire::describe_object(body, "application/json", &what))
}

/// The body of a cluster's metrics.
///
/// # Errors
/// What is wrong, in the user's words.
pub fn metrics(body: &[u8]) -> Result<Vec<Measurement>, String> {
    measurements::measurements(body).map_err(|what| wire::describe_object(body, "application/json", &what))
}

/// The body of a token reply: how long the token lives, and its tenant.
///
/// # Errors
/// What is wrong, in the user's words.
pub fn token(body: &[u8], date: Option<Timestamp>) -> Result<(Duration, Option<TenantId>), String> {
    auth::life_and_tenant(body, date).map_err(|what| wire::describe_object(body, "application/json", &what))
}

/// The message of an error body, and whether the body can be the API's own.
#[must_use]
pub fn error_body(body: &[u8]) -> (Option<String>, bool) {
    (wire::error_message(body), wire::is_api_body(body))
}

/// What the headers of a reply say: date, wish for silence (clamped), media type.
#[must_use]
pub fn headers(headers: &HeaderMap) -> (Option<Timestamp>, Option<Duration>, String) {
    let pause = headers::retry_after(headers).map(super::limiter::clamp_pause);
    (headers::date(headers), pause, headers::content_type(headers))
}
