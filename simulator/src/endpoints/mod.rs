//! The endpoints: what each of them answers, given the state and a request that may be served.
//!
//! Owns authorization and validation of cluster requests. Must not know sockets, delays or fault budgets.

mod clusters;
mod install_info;
mod metrics;
mod minimal;
mod strict_doc;
mod token;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::auth::{self, Session};
use crate::clock::{after, seconds};
use crate::config::{Access, Scope};
use crate::fault::FaultAction;
use crate::inbound::{BODY_LIMIT, Inbound};
use crate::query::Query;
use crate::record::Record;
use crate::reply::Reply;
use crate::route::Operation;
use crate::state::State;
use crate::store::Store;
use crate::validate;

pub(crate) use strict_doc::documented;

/// A request for an endpoint, by somebody known.
pub(crate) struct Call<'r> {
    pub(crate) seq: u64,
    pub(crate) operation: Operation,
    pub(crate) path_id: Option<&'r str>,
    pub(crate) session: &'r Session,
    pub(crate) inbound: &'r Inbound,
    pub(crate) query: Query,
    pub(crate) modifiers: &'r [FaultAction],
    /// The change is committed this much later.
    pub(crate) late: Option<SignedDuration>,
    pub(crate) now: Timestamp,
}

impl Call<'_> {
    /// A body within the limit.
    fn body(&self, strict_content_type: bool) -> Result<&[u8], Reply> {
        let json = self.inbound.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
        if strict_content_type && !json {
            return Err(Reply::message(415, "content type must be application/json"));
        }
        self.inbound.body.as_deref().ok_or_else(|| Reply::message(413, &format!("body exceeds {BODY_LIMIT} bytes")))
    }
}

impl State {
    /// Steps 7 to 10: path id, authorization, validation, change.
    pub(crate) fn answer(&mut self, call: &Call<'_>) -> Reply {
        self.try_answer(call).unwrap_or_else(|refusal| refusal)
    }

    fn try_answer(&mut self, call: &Call<'_>) -> Result<Reply, Reply> {
        let bad = |message: String| Reply::message(400, &message);
        let uuid = call.path_id.map(validate::path_uuid).transpose().map_err(bad)?;
        let access = match call.operation {
            Operation::Create => Access::Create,
            Operation::Update => Access::Update,
            Operation::Delete => Access::Delete,
            Operation::Token
            | Operation::TokenV2
            | Operation::List
            | Operation::Get
            | Operation::MinimalList
            | Operation::Minimal
            | Operation::InstallInfo
            | Operation::Metrics => Access::Read,
        };
        if !self.auth.may(&self.config, &call.session.client_id, access) {
            return Err(Reply::message(403, "permission on clusters is missing"));
        }
        let uuid = uuid.unwrap_or_default();
        match call.operation {
            Operation::List => self.list(call),
            Operation::Create => self.create_call(call),
            Operation::Get => self.get(call, uuid),
            Operation::Update => self.update_call(call, uuid),
            Operation::Delete => self.delete_call(call, uuid),
            Operation::MinimalList => self.minimal_list(call),
            Operation::Minimal => self.minimal(call, uuid),
            Operation::InstallInfo => self.install_info(call, uuid),
            Operation::Metrics => self.metrics(call, uuid),
            // Token requests have no session and never come here.
            Operation::Token | Operation::TokenV2 => Err(Reply::message(404, "no such path")),
        }
    }

    /// Whether the session's tenant and scope include the record.
    fn sees(&self, session: &Session, record: &Record) -> bool {
        let in_scope = match auth::identity(&self.config, &session.client_id).map(|identity| &identity.scope) {
            Some(Scope::Tenant) => true,
            Some(Scope::Clusters(ids)) => ids.contains(&record.uuid),
            None => false,
        };
        in_scope && record.tenant_id == session.tenant
    }

    /// A record that the caller may see and that a read by id finds.
    fn visible<'v>(&self, view: &'v Store, session: &Session, uuid: Uuid) -> Result<&'v Record, Reply> {
        let record = view.get(uuid).filter(|record| self.sees(session, record) && self.readable(record));
        record.ok_or_else(crate::change::not_found)
    }

    /// What a stale read sees, and the time it shows.
    fn past(&mut self, call: &Call<'_>) -> Option<(Store, Timestamp)> {
        let by = call.modifiers.iter().find_map(|fault| match fault {
            FaultAction::Stale { seconds: by } => Some(seconds(*by)),
            _ => None,
        })?;
        let then = after(call.now, -by);
        let mut past = self.store.as_of(then);
        past.settle(then, &self.config);
        Some((past, then))
    }
}
