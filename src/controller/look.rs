//! The steps that find something out.
//!
//! Owns how each look is made and where its outcome is put. A look that fails leaves what is known, and a trouble.

use std::sync::Arc;
use std::time::Instant;

use crate::domain::plan;
use crate::domain::{ClusterUuid, Look, Named, Reason, Sighting, Trouble};
use crate::runai::Operation;

use super::context::control_plane_of;
use super::pass::{Pass, Turn, now};
use super::planes::{Connection, trouble};

impl Pass<'_> {
    pub(super) async fn look(&mut self, look: &Look) {
        let Some(connection) = self.connection.clone() else { return };
        match look {
            Look::Names(name) => self.look_for_name(&connection, name).await,
            Look::ById(uuid) => {
                // How long ago the registration was made is told by the clocks as they were before the look.
                self.observed.remote_now = connection.client.control_plane_now();
                self.observed.known_for = self.memory.known_for(*uuid, now());
                match connection.inventory.confirm_absent(*uuid).await {
                    Ok(sighting) => {
                        self.observed.unlisted = matches!(sighting, Sighting::Present(_));
                        self.observed.uuid = sighting;
                        self.note_seen();
                    }
                    Err(error) => self.observed.trouble = Some(trouble(&error)),
                }
            }
            Look::Read(uuid) => match connection.client.get(*uuid).await {
                Ok(found) => self.observed.reads.push((*uuid, found)),
                Err(error) => self.observed.trouble = Some(trouble(&error)),
            },
            Look::Crd => match self.ctx.crd.is_deleting().await {
                Ok(deleting) => self.observed.crd_deleting = Some(deleting),
                Err(error) => {
                    self.observed.trouble = Some(Trouble {
                        reason: Reason::ConnectionFailed,
                        message: format!("whether the CRD is being deleted cannot be read: {error}"),
                        stalled: false,
                        retry_after: None,
                    });
                }
            },
        }
        if let Some(attempt) = self.with_case(plan::looked_in_vain) {
            self.memory.looked_in_vain(attempt, now());
        }
    }

    /// A create takes its turn first and looks then, so that nothing but the intent lies between look and POST.
    async fn look_for_name(&mut self, connection: &Arc<Connection>, name: &str) {
        if self.fresh_since.is_none() && self.with_case(plan::may_create) && self.turn.is_none() {
            match self.take_turn(connection).await {
                Ok(turn) => self.turn = Some(turn),
                Err(trouble) => {
                    self.observed.trouble = Some(trouble);
                    return;
                }
            }
        }
        let looked_at = now();
        match connection.inventory.fresh(self.fresh_since.unwrap_or_else(Instant::now)).await {
            Ok(snapshot) => {
                self.observed.looked_at = Some(looked_at);
                self.observed.named = Named::Fresh(name.to_owned(), snapshot.named(name));
                self.observed.access.who = Ok(connection.who());
                self.observed.remote_now = connection.client.control_plane_now();
                self.observed.witness = snapshot.listed_nothing().then(|| self.witness()).flatten();
                self.observed.reads.clear();
            }
            Err(error) => self.observed.trouble = Some(trouble(&error)),
        }
    }

    /// Another live object of this control plane that owns a registration: an empty list should have held it.
    fn witness(&self) -> Option<ClusterUuid> {
        let objects = self.ctx.objects(Some(control_plane_of(&self.object)));
        let mut live = objects.iter().filter(|object| !object.is_deleted());
        live.find_map(|object| object.status().and_then(|status| status.uuid))
    }

    async fn take_turn(&self, connection: &Connection) -> Result<Turn, Trouble> {
        let slot = Arc::clone(&connection.slots).acquire_owned().await;
        let slot = slot.map_err(|_| Trouble {
            reason: Reason::ConnectionFailed,
            message: "the connection was replaced".to_owned(),
            stalled: false,
            retry_after: None,
        })?;
        let permit = connection.client.permit(Operation::CreateCluster).await;
        let permit = permit.map_err(|error| trouble(&error))?;
        Ok(Turn { permit: Some(permit), intent_started: None, _slot: slot })
    }
}
