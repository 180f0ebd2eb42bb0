//! The codes that the published API lists for each endpoint, and where other codes go.
//!
//! Owns the mapping of profile `strict-doc`, which catches clients that rely on undocumented codes.

use serde_json::Value;

use crate::reply::Reply;
use crate::route::Operation;

/// The reply with a documented status code.
pub(crate) fn documented(operation: Operation, reply: Reply) -> Reply {
    let (listed, instead): (&[u16], u16) = match operation {
        Operation::List => (&[200, 401, 403, 404, 500, 503], 500),
        Operation::Create => (&[201, 401, 403, 404, 500, 503], 500),
        Operation::Get | Operation::InstallInfo => (&[200, 401, 403, 404, 500, 503], 404),
        Operation::Update => (&[204, 400, 401, 403, 500, 503], 400),
        Operation::Delete => (&[202, 204, 401, 403, 500, 503], 500),
        Operation::Metrics => (&[200, 207, 400, 401, 403, 404, 422, 500, 503], 400),
        Operation::Token => (&[200, 400, 500, 503], 400),
        Operation::TokenV2 | Operation::MinimalList | Operation::Minimal => return reply,
    };
    if listed.contains(&reply.status) {
        return reply;
    }
    // "Not now" is said with the listed code that means it.
    let instead = if reply.status == 429 { 503 } else { instead };
    let message = serde_json::from_slice::<Value>(&reply.body).ok();
    let message = message.as_ref().and_then(|body| body["message"].as_str()).unwrap_or("request failed");
    Reply { headers: reply.headers, ..Reply::message(instead, message) }
}
