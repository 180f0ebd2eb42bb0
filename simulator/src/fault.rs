//! Faults: rules that say which requests go wrong, how, and how often.
//!
//! Owns rules, matching and budgets. Must not know how an action is carried out.

use std::collections::BTreeMap;

use fastrand::Rng;
use http::HeaderMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::auth::OldTokens;
use crate::config::Access;
use crate::route::Operation;

/// A rule: which requests, what happens, how often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultRule {
    /// Name in the journal; made up when empty.
    #[serde(default)]
    pub id: String,
    /// Which requests.
    #[serde(default, rename = "match")]
    pub matches: FaultMatch,
    /// What happens.
    pub action: FaultAction,
    /// How often at most; absent means without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// This many matching requests pass unharmed first.
    #[serde(default)]
    pub skip: u64,
    /// Chance for each matching request, drawn from the seed; absent means always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Virtual time from which on the rule is dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl FaultRule {
    /// A rule that hits every request without end.
    #[must_use]
    pub fn new(action: FaultAction) -> Self {
        Self {
            id: String::new(),
            matches: FaultMatch::default(),
            action,
            times: None,
            skip: 0,
            probability: None,
            until: None,
        }
    }

    /// A rule for one endpoint, without end.
    #[must_use]
    pub fn on(operation: Operation, action: FaultAction) -> Self {
        let matches = FaultMatch { operation: Some(operation), ..FaultMatch::default() };
        Self { matches, ..Self::new(action) }
    }

    /// Limits how often.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Names the rule.
    #[must_use]
    pub fn named(self, id: &str) -> Self {
        Self { id: id.to_owned(), ..self }
    }
}

/// Which requests a rule hits; everything given must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct FaultMatch {
    /// The endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// HTTP method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Path with its parameter by name, such as `/api/v1/clusters/{clusterUuid}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Client id of the token, or in a token request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Name in the request body, or of the cluster in the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Id in the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Uuid>,
    /// Headers with these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Text that is part of the raw query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_contains: Option<String>,
}

/// Before or after the change is committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Nothing happened.
    #[default]
    Pre,
    /// The change is committed.
    Post,
}

/// When a connection is reset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ResetPhase {
    /// Nothing happened.
    #[default]
    Pre,
    /// Committed, and half of the reply is sent.
    Mid,
    /// Committed, and nothing is sent.
    Post,
}

/// Body of a garbage reply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Garbage {
    /// An HTML page.
    #[default]
    Html,
    /// No body.
    Empty,
    /// `[]`
    EmptyArray,
    /// `{}`
    EmptyObject,
    /// `null`
    Null,
}

/// How a reply is cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cut {
    /// Complete HTTP, half the JSON.
    #[default]
    Json,
    /// The connection closes before `Content-Length` is reached.
    Length,
}

/// How the client loses its answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Loss {
    /// The connection is reset at once.
    #[default]
    Reset,
    /// Silence until the client gives up; the commit comes all the same.
    Hang,
}

/// `Retry-After` of a throttled reply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RetryAfter {
    /// No header.
    #[default]
    None,
    /// Seconds.
    Seconds(u32),
    /// An HTTP date this many seconds ahead of the virtual clock.
    Date(u32),
}

/// A field with an unheard-of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EnumField {
    /// `status.state`, and `state` of minimal replies.
    State,
    /// `status.platform.type`.
    PlatformType,
}

/// What happens. `phase` says whether the change is committed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum FaultAction {
    /// Another status; a body that is not a JSON string is sent as JSON.
    Status {
        /// HTTP status.
        code: u16,
        /// Body; absent means an error body of the usual shape.
        #[serde(default)]
        body: Option<Value>,
        /// Further headers.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// Before or after the commit.
        #[serde(default)]
        phase: Phase,
    },
    /// TCP RST.
    Reset {
        /// When.
        #[serde(default)]
        phase: ResetPhase,
    },
    /// Silence for this real time, then a reset.
    Hang {
        /// Real seconds.
        seconds: f64,
        /// Before or after the commit.
        #[serde(default)]
        phase: Phase,
    },
    /// A real delay between `ms` and `max_ms`.
    Latency {
        /// Least delay.
        ms: u64,
        /// Most; below `ms` means exactly `ms`.
        #[serde(default)]
        max_ms: u64,
        /// Before or after the commit.
        #[serde(default)]
        phase: Phase,
    },
    /// A body that is not what was asked for.
    Garbage {
        /// HTTP status.
        status: u16,
        /// Body.
        #[serde(default)]
        variant: Garbage,
        /// Before or after the commit.
        #[serde(default)]
        phase: Phase,
    },
    /// The right reply, cut in the middle; the change is committed.
    Truncate {
        /// How.
        #[serde(default)]
        cut: Cut,
    },
    /// 429 or another status, with or without `Retry-After`.
    Throttle {
        /// `Retry-After` header.
        #[serde(default)]
        retry_after: RetryAfter,
        /// HTTP status, 429 when 0.
        #[serde(default)]
        status: u16,
        /// Before or after the commit.
        #[serde(default)]
        phase: Phase,
    },
    /// A redirect.
    Redirect {
        /// `Location` header.
        location: String,
        /// HTTP status, 307 when 0.
        #[serde(default)]
        status: u16,
        /// Before or after the commit.
        #[serde(default)]
        phase: Phase,
    },
    /// The answer is lost now, the change is committed `seconds` of virtual time later.
    LateCommit {
        /// Virtual seconds.
        seconds: f64,
        /// What the client sees.
        #[serde(default)]
        loss: Loss,
    },
    /// Tokens are revoked.
    TokenRevoke {
        /// Whose; absent means everybody's.
        #[serde(default)]
        identity: Option<String>,
        /// Before: the request itself is refused. After: the following ones.
        #[serde(default)]
        phase: Phase,
    },
    /// Tokens of matching token requests live this long.
    TokenShort {
        /// Lifetime.
        ttl_seconds: i64,
    },
    /// From now on an identity belongs to another tenant.
    SwapTenant {
        /// Which; absent means every one.
        #[serde(default)]
        identity: Option<String>,
        /// The other tenant.
        tenant_id: i32,
        /// What becomes of tokens issued before.
        #[serde(default)]
        old_tokens: OldTokens,
    },
    /// From now on rights are missing; no rights listed gives everything back.
    PermissionLoss {
        /// Whose; absent means everybody's.
        #[serde(default)]
        identity: Option<String>,
        /// Which.
        actions: Vec<Access>,
    },
    /// Matching reads show an unheard-of value.
    UnknownEnum {
        /// Where.
        field: EnumField,
        /// What.
        value: String,
    },
    /// Matching replies carry another uuid.
    WrongUuid {
        /// Which; absent means a random one.
        #[serde(default)]
        uuid: Option<Uuid>,
    },
    /// Matching reads show the state of so many virtual seconds ago.
    Stale {
        /// Virtual seconds.
        seconds: f64,
    },
    /// Matching creates make two records; needs `names.unique` off.
    Duplicate,
    /// Graceful deletions started by matching requests never complete.
    StuckDelete,
    /// Graceful deletions started by matching requests take so many times longer.
    SlowDelete {
        /// Multiplier.
        factor: f64,
    },
    /// Graceful deletions started by matching requests fail.
    DeleteFailed {
        /// After this much live time.
        after_seconds: f64,
    },
    /// The server's clock is off by this much from now on.
    ClockSkew {
        /// Virtual seconds, may be negative.
        seconds: f64,
    },
    /// Agents fall silent.
    AgentPause {
        /// Which; absent means the one in the path, or else all.
        #[serde(default)]
        uuid: Option<Uuid>,
    },
    /// Agents beat for a period and are silent for a period.
    AgentFlap {
        /// Which; absent means the one in the path, or else all.
        #[serde(default)]
        uuid: Option<Uuid>,
        /// Virtual seconds; 0 ends it.
        period_seconds: f64,
    },
    /// The public port gets a new certificate.
    TlsRotate {
        /// From a new private CA.
        #[serde(default)]
        new_ca: bool,
    },
}

impl FaultAction {
    /// Decides the answer by itself: at most one of these fires per request.
    const fn is_terminal(&self) -> bool {
        match self {
            Self::Status { .. }
            | Self::Reset { .. }
            | Self::Hang { .. }
            | Self::Garbage { .. }
            | Self::Truncate { .. }
            | Self::Throttle { .. }
            | Self::Redirect { .. }
            | Self::LateCommit { .. } => true,
            Self::Latency { .. }
            | Self::TokenRevoke { .. }
            | Self::TokenShort { .. }
            | Self::SwapTenant { .. }
            | Self::PermissionLoss { .. }
            | Self::UnknownEnum { .. }
            | Self::WrongUuid { .. }
            | Self::Stale { .. }
            | Self::Duplicate
            | Self::StuckDelete
            | Self::SlowDelete { .. }
            | Self::DeleteFailed { .. }
            | Self::ClockSkew { .. }
            | Self::AgentPause { .. }
            | Self::AgentFlap { .. }
            | Self::TlsRotate { .. } => false,
        }
    }
}

/// What of a request a rule can look at.
pub(crate) struct Subject<'r> {
    pub(crate) operation: Option<Operation>,
    pub(crate) method: &'r str,
    pub(crate) identity: Option<&'r str>,
    pub(crate) name: Option<&'r str>,
    pub(crate) uuid: Option<Uuid>,
    pub(crate) headers: &'r HeaderMap,
    pub(crate) query: &'r str,
}

impl FaultMatch {
    fn hits(&self, subject: &Subject<'_>) -> bool {
        let Self { operation, method, route, identity, name, uuid, headers, query_contains } = self;
        let template = subject.operation.map(Operation::template);
        operation.is_none_or(|wanted| Some(wanted) == subject.operation)
            && method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(subject.method))
            && route.as_ref().is_none_or(|wanted| Some(wanted.as_str()) == template)
            && identity.as_ref().is_none_or(|wanted| Some(wanted.as_str()) == subject.identity)
            && name.as_ref().is_none_or(|wanted| Some(wanted.as_str()) == subject.name)
            && uuid.is_none_or(|wanted| Some(wanted) == subject.uuid)
            && query_contains.as_ref().is_none_or(|wanted| subject.query.contains(wanted))
            && headers.iter().all(|(key, value)| subject.headers.get(key).is_some_and(|have| have == value.as_str()))
    }
}

/// Rules with what is left of their budgets.
#[derive(Debug, Default)]
pub(crate) struct FaultBook {
    rules: Vec<Live>,
    made: u64,
}

#[derive(Debug)]
struct Live {
    rule: FaultRule,
    fired: u64,
    skipped: u64,
}

/// What fired for one request.
#[derive(Debug, Default)]
pub(crate) struct Fired {
    pub(crate) ids: Vec<String>,
    pub(crate) terminal: Option<FaultAction>,
    pub(crate) modifiers: Vec<FaultAction>,
}

impl FaultBook {
    /// Adds a rule at the end and returns its id; a rule with the same id is replaced.
    pub(crate) fn add(&mut self, mut rule: FaultRule) -> String {
        if rule.id.is_empty() {
            self.made += 1;
            rule.id = format!("fault-{}", self.made);
        }
        let id = rule.id.clone();
        self.remove(&id);
        self.rules.push(Live { rule, fired: 0, skipped: 0 });
        id
    }

    pub(crate) fn remove(&mut self, id: &str) -> bool {
        let before = self.rules.len();
        self.rules.retain(|live| live.rule.id != id);
        self.rules.len() != before
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    /// Rules and how often each fired.
    pub(crate) fn list(&self) -> Vec<(FaultRule, u64)> {
        self.rules.iter().map(|live| (live.rule.clone(), live.fired)).collect()
    }

    /// Tries the rules in order and uses up the budget of those that fire.
    pub(crate) fn fire(&mut self, subject: &Subject<'_>, now: Timestamp, rng: &mut Rng) -> Fired {
        let mut fired = Fired::default();
        for live in &mut self.rules {
            let rule = &live.rule;
            let alive = rule.times.is_none_or(|times| live.fired < times) && rule.until.is_none_or(|end| now < end);
            let shadowed = rule.action.is_terminal() && fired.terminal.is_some();
            if !alive || shadowed || !rule.matches.hits(subject) {
                continue;
            }
            if live.skipped < rule.skip {
                live.skipped += 1;
                continue;
            }
            if rule.probability.is_some_and(|chance| rng.f64() >= chance) {
                continue;
            }
            live.fired += 1;
            fired.ids.push(rule.id.clone());
            if rule.action.is_terminal() {
                fired.terminal = Some(rule.action.clone());
            } else {
                fired.modifiers.push(rule.action.clone());
            }
        }
        fired
    }
}
