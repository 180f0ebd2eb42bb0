//! The other end of the probes: asks a running operator one question over HTTP.
//!
//! Owns one GET over plain http, as a kubelet would send it. Must not know what is asked.

use std::error::Error as _;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};

/// Limit for one question; the operator answers from memory.
const LIMIT: Duration = Duration::from_secs(5);
/// As much of an answer is shown.
const LONGEST: usize = 4096;

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Not an address that can be asked at.
    #[error("{url:?} is no address to ask at: {problem}; it looks like http://HOST:PORT/readyz")]
    Address {
        /// The text.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// This machine cannot ask anything.
    #[error("no HTTP client: {0}")]
    Client(#[source] reqwest::Error),
    /// No answer came.
    #[error("no answer: {0}")]
    Silent(String),
    /// An answer, but not a good one.
    #[error("{status}: {text}")]
    No {
        /// The HTTP status.
        status: u16,
        /// What the operator said.
        text: String,
    },
}

/// A way to ask.
#[derive(Debug)]
pub struct Asker {
    client: Client,
    url: Url,
}

impl Asker {
    /// Will ask at `url`.
    ///
    /// # Errors
    /// [`AskError::Address`], [`AskError::Client`].
    pub fn new(url: &str) -> Result<Self, AskError> {
        let bad = |problem: String| AskError::Address { url: url.to_owned(), problem };
        let parsed = Url::parse(url).map_err(|error| bad(error.to_string()))?;
        if parsed.scheme() != "http" {
            return Err(bad("probes are answered over plain http".to_owned()));
        }
        // No certificates: a machine without any can ask, too.
        let builder = Client::builder().no_proxy().redirect(Policy::none()).timeout(LIMIT).tls_certs_only([]);
        Ok(Self { client: builder.build().map_err(AskError::Client)?, url: parsed })
    }

    /// Asks once; the text of a good answer (2xx).
    ///
    /// # Errors
    /// [`AskError::Silent`], [`AskError::No`].
    pub async fn ask(&self) -> Result<String, AskError> {
        let answer = self.client.get(self.url.clone()).send().await.map_err(|error| silent(&error))?;
        let status = answer.status();
        let mut text = answer.text().await.map_err(|error| silent(&error))?;
        text.truncate(text.floor_char_boundary(LONGEST));
        if status.is_success() {
            return Ok(text);
        }
        Err(AskError::No { status: status.as_u16(), text: text.trim().replace('\n', "; ") })
    }
}

/// The innermost cause says most: "Connection refused", not "error sending request".
fn silent(error: &reqwest::Error) -> AskError {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    AskError::Silent(text)
}
