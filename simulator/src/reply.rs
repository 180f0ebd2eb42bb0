//! Replies of the public port before they become HTTP.
//!
//! Owns their shapes, error bodies included. Must not know records.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

/// A reply with a complete body.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn text(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), content_type, body: body.into() }
    }

    pub(crate) fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self::text(status, "application/json", body)
    }

    pub(crate) fn value(status: u16, body: &Value) -> Self {
        Self::json(status, body.to_string())
    }

    pub(crate) fn no_content() -> Self {
        Self::text(204, "", Bytes::new())
    }

    /// The API's common error shape; also that of a 202.
    pub(crate) fn message(status: u16, message: &str) -> Self {
        Self::value(status, &json!({"code": status, "message": message}))
    }

    /// The error shape of OAuth 2, used by `/api/v2/token` alone.
    pub(crate) fn oauth_error(status: u16, error: &str, description: &str) -> Self {
        Self::value(status, &json!({"error": error, "error_description": description}))
    }

    /// The same, compressed as quickly as a gateway would.
    pub(crate) fn gzipped(self) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        // Writing to memory does not fail; if it did, the reply would go out as it is.
        let Ok(body) = encoder.write_all(&self.body).and_then(|()| encoder.finish()) else { return self };
        Self { body: body.into(), ..self }.with_header("content-encoding", "gzip")
    }

    pub(crate) fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}
