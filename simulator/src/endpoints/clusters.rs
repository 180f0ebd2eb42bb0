//! List, create, get, update and delete of clusters.
//!
//! Owns their parameters. Must not know how a change is committed or how a record looks.

use std::sync::Arc;

use uuid::Uuid;

use crate::change::{Change, not_found, unknown_delete};
use crate::config::{ListOrder, Scope};
use crate::endpoints::Call;
use crate::fault::FaultAction;
use crate::query::Query;
use crate::render::{self, Style, Verbosity};
use crate::reply::Reply;
use crate::state::State;
use crate::validate;

impl State {
    pub(super) fn list(&mut self, call: &Call<'_>) -> Result<Reply, Reply> {
        let verbosity = verbosity(&call.query)?;
        // Before 2.22 it is a parameter like any unknown one: not even looked at.
        let asked =
            self.caps.include_requested_for_delete && flag(&call.query, "includeRequestedForDelete")? == Some(true);
        let deleting = asked && !self.config.list.hide_deleting;
        let (config, caps) = (Arc::clone(&self.config), self.caps);
        let mut past = self.past(call);
        let view = past.as_ref().map_or(&self.store, |(store, _)| store);
        let shown = |uuid: &Uuid| {
            view.get(*uuid).is_some_and(|record| {
                self.sees(call.session, record) && !record.is_deleted() && (deleting || !record.is_deleting())
            })
        };
        let mut ids = view.live_ids();
        ids.retain(shown);
        if config.list.order == ListOrder::Shuffle {
            self.rng.shuffle(&mut ids);
        }
        let now = past.as_ref().map_or(call.now, |(_, then)| *then);
        let view = past.as_mut().map_or(&mut self.store, |(store, _)| store);
        let mut body = String::with_capacity(64 + ids.len() * 1024);
        body.push('[');
        for uuid in ids {
            if let Some(record) = view.observe(uuid) {
                if body.len() > 1 {
                    body.push(',');
                }
                render::cluster(&mut body, record, verbosity, Style { config: &config, caps: &caps, now });
            }
        }
        body.push(']');
        Ok(Reply::json(200, body))
    }

    pub(super) fn get(&mut self, call: &Call<'_>, uuid: Uuid) -> Result<Reply, Reply> {
        let (config, caps) = (Arc::clone(&self.config), self.caps);
        let mut past = self.past(call);
        let now = past.as_ref().map_or(call.now, |(_, then)| *then);
        self.visible(past.as_ref().map_or(&self.store, |(store, _)| store), call.session, uuid)?;
        let verbosity = verbosity(&call.query)?;
        let view = past.as_mut().map_or(&mut self.store, |(store, _)| store);
        let record = view.observe(uuid).ok_or_else(not_found)?;
        let mut body = String::new();
        render::cluster(&mut body, record, verbosity, Style { config: &config, caps: &caps, now });
        Ok(Reply::json(200, body))
    }

    pub(super) fn create_call(&mut self, call: &Call<'_>) -> Result<Reply, Reply> {
        let scope = crate::auth::identity(&self.config, &call.session.client_id).map(|identity| &identity.scope);
        if matches!(scope, Some(Scope::Clusters(_))) {
            return Err(Reply::message(403, "this identity is limited to existing clusters"));
        }
        let body = call.body(self.config.requests.strict_content_type)?;
        let cluster = validate::new_cluster(body, &self.config, &self.caps).map_err(bad_request)?;
        let twice = call.modifiers.contains(&FaultAction::Duplicate);
        let change = Change::Create { tenant: call.session.tenant, cluster, copies: if twice { 2 } else { 1 } };
        Ok(self.commit_or_postpone(call, change))
    }

    pub(super) fn update_call(&mut self, call: &Call<'_>, uuid: Uuid) -> Result<Reply, Reply> {
        let found = self.store.get(uuid).is_some_and(|record| self.sees(call.session, record));
        if !found {
            return Err(not_found());
        }
        let body = call.body(self.config.requests.strict_content_type)?;
        let name = validate::updated_name(body, &self.config, &self.caps).map_err(bad_request)?;
        Ok(self.commit_or_postpone(call, Change::Update { uuid, name }))
    }

    pub(super) fn delete_call(&mut self, call: &Call<'_>, uuid: Uuid) -> Result<Reply, Reply> {
        let found = self.store.get(uuid).is_some_and(|record| self.sees(call.session, record));
        if !found {
            return Err(unknown_delete(&self.config));
        }
        // Where every deletion is instant there is no such parameter.
        let force = self.caps.graceful_delete && flag(&call.query, "force")? == Some(true);
        let faults = call.modifiers.to_vec();
        Ok(self.commit_or_postpone(call, Change::Delete { uuid, force, faults }))
    }

    fn commit_or_postpone(&mut self, call: &Call<'_>, change: Change) -> Reply {
        match call.late {
            None => self.commit(&change, call.seq, call.now),
            Some(by) => {
                self.postpone(change, call.seq, by);
                // Nobody will see this: the answer is lost.
                Reply::no_content()
            }
        }
    }
}

fn bad_request(message: impl AsRef<str>) -> Reply {
    Reply::message(400, message.as_ref())
}

fn flag(query: &Query, key: &str) -> Result<Option<bool>, Reply> {
    query.flag(key).map_err(bad_request)
}

fn verbosity(query: &Query) -> Result<Verbosity, Reply> {
    match query.get("verbosity") {
        None | Some("" | "full") => Ok(Verbosity::Full),
        Some("metadata") => Ok(Verbosity::Metadata),
        Some(_) => Err(bad_request("parameter verbosity must be full or metadata")),
    }
}
