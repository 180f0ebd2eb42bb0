//! Records as the JSON of the API.
//!
//! Owns how a record looks on the wire. Must not know requests. The text is put together by hand: lists of
//! a thousand clusters must be quick in unoptimised builds too.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::config::{Config, NeverConnected, NullStyle};
use crate::profile::Capabilities;
use crate::record::{ClusterState, Record};

/// How much of a record is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verbosity {
    Full,
    Metadata,
}

/// What rendering depends on beside the record.
#[derive(Clone, Copy)]
pub(crate) struct Style<'c> {
    pub(crate) config: &'c Config,
    pub(crate) caps: &'c Capabilities,
    pub(crate) now: Timestamp,
}

/// Appends a `DisplayedCluster`; notes the state shown.
pub(crate) fn cluster(out: &mut String, record: &mut Record, verbosity: Verbosity, style: Style<'_>) {
    let Style { config, caps, now } = style;
    let state = record.observe(now, config);
    let liveness = record.last_liveness(now, config);
    let updated = match config.requests.updated_at_on_heartbeat {
        true => record.updated_at.max(liveness),
        false => record.updated_at,
    };
    let mut object = Object::begin(out, config.null_style);
    let _ = write!(object.out, r#""uuid":"{}","tenantId":{}"#, record.uuid, record.tenant_id);
    object.started = true;
    object.text("name", Some(&record.name));
    object.time("createdAt", Some(record.created_at));
    object.text("domain", record.domain(now, config));
    object.text("version", record.version(now, config));
    if verbosity == Verbosity::Full {
        status(&mut object, record, state, style);
    }
    object.time("updatedAt", updated);
    object.time("deletedAt", record.deleted_at);
    object.time("lastLiveness", liveness);
    if caps.graceful_delete {
        object.time("deleteRequestedAt", record.delete_requested_at);
    }
    object.end();
}

/// The state as shown: a forced one wins.
pub(crate) fn shown_state(record: &Record, state: ClusterState) -> &str {
    record.forced_state.as_deref().unwrap_or(state.as_str())
}

fn status(object: &mut Object<'_>, record: &Record, state: ClusterState, style: Style<'_>) {
    let Style { config, caps, now } = style;
    let Some(agent) = record.heard_agent(now, config) else {
        let bare = record.forced_state.is_none() && state == ClusterState::WaitingToConnect;
        return match config.list.never_connected {
            NeverConnected::Null if bare => object.raw("status", None),
            NeverConnected::Empty if bare => object.raw("status", Some("{}")),
            NeverConnected::State | NeverConnected::Null | NeverConnected::Empty => {
                let mut text = String::new();
                let mut inner = Object::begin(&mut text, config.null_style);
                inner.text("state", Some(shown_state(record, state)));
                inner.end();
                object.raw("status", Some(&text));
            }
        };
    };
    object.key("status");
    object.out.push('{');
    object.out.push_str(agent.report.members());
    let reported = &agent.report.report().config;
    let _ =
        write!(object.out, r#","config":{{"workloadOwnershipProtection":{}"#, reported.workload_ownership_protection);
    if caps.subdomain_enabled {
        let _ = write!(object.out, r#","subdomainEnabled":{}"#, reported.subdomain_enabled);
    }
    if caps.ingress_class {
        object.out.push_str(r#","ingressClass":"#);
        push_text(object.out, &reported.ingress_class);
    }
    object.out.push_str(r#"},"state":"#);
    push_text(object.out, shown_state(record, state));
    object.out.push('}');
}

/// Appends the minimal form of a cluster.
pub(crate) fn minimal(out: &mut String, record: &mut Record, style: Style<'_>) {
    let Style { config, caps: _, now } = style;
    let state = record.observe(now, config);
    let mut object = Object::begin(out, config.null_style);
    let _ = write!(object.out, r#""uuid":"{}","tenantId":{}"#, record.uuid, record.tenant_id);
    object.started = true;
    object.text("name", Some(&record.name));
    object.text("version", record.version(now, config));
    object.text("domain", record.domain(now, config));
    object.text("state", Some(shown_state(record, state)));
    let ingress = record.heard_agent(now, config).map(|agent| agent.report.report().config.ingress_class.as_str());
    object.text("ingressClass", ingress);
    object.end();
}

/// Writes one JSON object member by member.
struct Object<'o> {
    out: &'o mut String,
    nulls: NullStyle,
    started: bool,
}

impl<'o> Object<'o> {
    fn begin(out: &'o mut String, nulls: NullStyle) -> Self {
        out.push('{');
        Self { out, nulls, started: false }
    }

    fn key(&mut self, key: &str) {
        if self.started {
            self.out.push(',');
        }
        self.started = true;
        self.out.push('"');
        self.out.push_str(key);
        self.out.push_str("\":");
    }

    /// A member whose value is JSON text; none is left out or null, as configured.
    fn raw(&mut self, key: &str, value: Option<&str>) {
        match (value, self.nulls) {
            (None, NullStyle::Omit) => {}
            (None, NullStyle::Null) => {
                self.key(key);
                self.out.push_str("null");
            }
            (Some(value), NullStyle::Omit | NullStyle::Null) => {
                self.key(key);
                self.out.push_str(value);
            }
        }
    }

    fn text(&mut self, key: &str, value: Option<&str>) {
        match value {
            None => self.raw(key, None),
            Some(value) => {
                self.key(key);
                push_text(self.out, value);
            }
        }
    }

    fn time(&mut self, key: &str, value: Option<Timestamp>) {
        match value {
            None => self.raw(key, None),
            Some(value) => {
                self.key(key);
                let _ = write!(self.out, "\"{value:.3}\"");
            }
        }
    }

    fn end(self) {
        self.out.push('}');
    }
}

fn push_text(out: &mut String, text: &str) {
    match serde_json::to_string(text) {
        Ok(json) => out.push_str(&json),
        Err(_) => out.push_str("null"),
    }
}
