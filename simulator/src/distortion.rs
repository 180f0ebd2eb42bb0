//! What faults make of replies: other replies, changed ones, halves, silence.
//!
//! Owns the look of every fault on the wire. Must not know budgets or the order of a request.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

use crate::clock::{http_date, seconds};
use crate::fault::{Cut, EnumField, FaultAction, Garbage, Loss, Phase, ResetPhase, RetryAfter};
use crate::reply::Reply;
use crate::state::State;

/// How a reply leaves.
pub(crate) enum Delivery {
    Whole(Reply),
    /// Half of the body, then a reset or a close.
    Half(Reply, Ending),
    /// Nothing, after a wait.
    Silence(Duration),
}

#[derive(Clone, Copy)]
pub(crate) enum Ending {
    Reset,
    Close,
}

/// The reply that a fault puts in place of the real one in the given phase.
pub(crate) fn replacement(fault: &FaultAction, when: Phase, now: Timestamp) -> Option<Reply> {
    match fault {
        FaultAction::Status { code, body, headers, phase } if *phase == when => {
            let mut reply = match body {
                None if *code == 204 => Reply::no_content(),
                None => Reply::message(*code, "this request fails on purpose"),
                Some(Value::String(text)) => Reply::text(*code, "text/plain", text.clone()),
                Some(json) => Reply::value(*code, json),
            };
            let further = headers.iter().map(|(key, value)| (key.to_lowercase(), value.clone()));
            reply.headers.extend(further);
            Some(reply)
        }
        FaultAction::Garbage { status, variant, phase } if *phase == when => Some(match variant {
            Garbage::Html => Reply::text(
                *status,
                "text/html",
                "<html><head><title>Bad gateway</title></head><body>upstream is away</body></html>",
            ),
            Garbage::Empty => Reply::text(*status, "", Bytes::new()),
            Garbage::EmptyArray => Reply::json(*status, "[]"),
            Garbage::EmptyObject => Reply::json(*status, "{}"),
            Garbage::Null => Reply::json(*status, "null"),
        }),
        FaultAction::Throttle { retry_after, status, phase } if *phase == when => {
            let status = if *status == 0 { 429 } else { *status };
            let reply = Reply::message(status, "too many requests");
            Some(match retry_after {
                RetryAfter::None => reply,
                RetryAfter::Seconds(wait) => reply.with_header("retry-after", wait.to_string()),
                RetryAfter::Date(wait) => {
                    let at = crate::clock::after(now, seconds(f64::from(*wait)));
                    reply.with_header("retry-after", http_date(at))
                }
            })
        }
        FaultAction::Redirect { location, status, phase } if *phase == when => {
            let status = if *status == 0 { 307 } else { *status };
            Some(Reply::text(status, "", Bytes::new()).with_header("location", location))
        }
        _ => None,
    }
}

/// What a terminal fault makes of a reply whose change is committed.
pub(crate) fn after_the_change(reply: Reply, terminal: Option<&FaultAction>, now: Timestamp) -> Delivery {
    let Some(fault) = terminal else { return Delivery::Whole(reply) };
    match fault {
        FaultAction::Reset { phase: ResetPhase::Mid } => Delivery::Half(reply, Ending::Reset),
        FaultAction::Reset { phase: ResetPhase::Pre | ResetPhase::Post } => Delivery::Silence(Duration::ZERO),
        FaultAction::Hang { seconds, phase: _ } => Delivery::Silence(real(*seconds)),
        FaultAction::Truncate { cut: Cut::Length } => Delivery::Half(reply, Ending::Close),
        FaultAction::Truncate { cut: Cut::Json } => {
            let half = reply.body.slice(..reply.body.len() / 2);
            Delivery::Whole(Reply { body: half, ..reply })
        }
        FaultAction::LateCommit { seconds: _, loss } => Delivery::Silence(match loss {
            Loss::Reset => Duration::ZERO,
            Loss::Hang => Duration::from_secs(3600),
        }),
        other => Delivery::Whole(replacement(other, Phase::Post, now).unwrap_or(reply)),
    }
}

impl State {
    /// Changes a good JSON reply as a modifier says.
    pub(crate) fn distort(&mut self, reply: &mut Reply, modifier: &FaultAction) {
        let concerned = matches!(modifier, FaultAction::UnknownEnum { .. } | FaultAction::WrongUuid { .. });
        if !concerned || !(200..300).contains(&reply.status) {
            return;
        }
        let Ok(mut body) = serde_json::from_slice::<Value>(&reply.body) else { return };
        let clusters = match &mut body {
            Value::Array(clusters) => clusters.iter_mut().collect(),
            other => match other.get("clusters").is_some() {
                true => other["clusters"].as_array_mut().into_iter().flatten().collect(),
                false => vec![other],
            },
        };
        for cluster in clusters {
            match modifier {
                FaultAction::WrongUuid { uuid } if cluster.get("uuid").is_some() => {
                    cluster["uuid"] = uuid.unwrap_or_else(|| self.uuid()).to_string().into();
                }
                FaultAction::UnknownEnum { field: EnumField::State, value } => {
                    for holder in ["", "/status"] {
                        if let Some(state) = cluster.pointer_mut(&format!("{holder}/state")) {
                            *state = value.clone().into();
                        }
                    }
                }
                FaultAction::UnknownEnum { field: EnumField::PlatformType, value } => {
                    if let Some(kind) = cluster.pointer_mut("/status/platform/type") {
                        *kind = value.clone().into();
                    }
                }
                _ => {}
            }
        }
        reply.body = body.to_string().into();
    }
}

/// Real time of a wait on the wire.
pub(crate) fn real(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
