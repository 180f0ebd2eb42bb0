//! A control plane in memory: registrations, tenants, scopes, and POSTs that commit late.
//!
//! Owns the ground truth about registrations, and who made them. Must not know the operator.

use jiff::{SignedDuration, Timestamp};
use runai_cluster_operator::domain::{
    ClusterDomain, ClusterState, ClusterUuid, CredentialId, NewCluster, Origin, RemoteCluster, TenantId, Who,
};

/// How this control plane behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// Names are unique, deleting registrations included.
    pub(crate) unique: bool,
    /// Lists leave deleting registrations out.
    pub(crate) hides_deleting: bool,
    /// Gone registrations are still shown, with `deletedAt`.
    pub(crate) tombstones: bool,
    /// A token tells its tenant.
    pub(crate) token_tells: bool,
    /// A registration of somebody else is there, so that lists are never empty.
    pub(crate) neighbour: bool,
    /// A DELETE takes effect at once.
    pub(crate) instant: bool,
    /// Replies carry no `Date`.
    pub(crate) dateless: bool,
    /// Its clock minus the operator's, in seconds.
    pub(crate) skew: i64,
}

/// Whose credentials the connection holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// The right tenant, all of it.
    Full,
    /// The right tenant, but a scope that holds none of the objects' registrations.
    Narrow,
    /// Another tenant.
    Foreign,
}

impl Credentials {
    const fn tenant(self) -> TenantId {
        match self {
            Self::Full | Self::Narrow => TenantId(1),
            Self::Foreign => TenantId(2),
        }
    }
}

/// A registration and its history.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) record: RemoteCluster,
    /// The object whose POST made it; `None` for somebody else's.
    pub(crate) maker: Option<usize>,
    /// Not there any more.
    pub(crate) gone: bool,
    /// A DELETE of ours was accepted.
    pub(crate) accepted: bool,
    /// Seen by every scope of its tenant.
    shared: bool,
}

/// A POST under way that nobody waits for any more.
#[derive(Clone, Debug)]
pub(crate) struct Late {
    pub(crate) maker: usize,
    due: Timestamp,
    new: NewCluster,
    with: Credentials,
}

/// Answers that are not a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotFound,
    Conflict,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) habits: Habits,
    pub(crate) rows: Vec<Row>,
    pub(crate) late: Vec<Late>,
    pub(crate) with: Credentials,
    next: u128,
}

impl Api {
    pub(crate) fn new(habits: Habits, now: Timestamp) -> Self {
        let mut api = Self { habits, rows: Vec::new(), late: Vec::new(), with: Credentials::Full, next: 0x100 };
        if habits.neighbour {
            for tenant in [Credentials::Full, Credentials::Foreign] {
                let row = api.row("neighbour", Some("neighbour.example.com"), None, tenant, now);
                api.rows.push(Row { shared: true, ..row });
            }
        }
        api
    }

    /// Its clock.
    pub(crate) fn clock(&self, now: Timestamp) -> Timestamp {
        now + SignedDuration::from_secs(self.habits.skew)
    }

    fn row(
        &mut self,
        name: &str,
        domain: Option<&str>,
        maker: Option<usize>,
        with: Credentials,
        now: Timestamp,
    ) -> Row {
        self.next += 1;
        let record = RemoteCluster {
            uuid: ClusterUuid(uuid::Uuid::from_u128(self.next)),
            tenant: with.tenant(),
            name: name.to_owned(),
            domain: domain.map(ClusterDomain::observed),
            version: None,
            created_at: self.clock(now),
            updated_at: None,
            last_liveness: None,
            delete_requested_at: None,
            deleted_at: None,
            state: Some(ClusterState::WaitingToConnect),
            platform: None,
            kubernetes_version: None,
        };
        Row { record, maker, gone: false, accepted: false, shared: with == Credentials::Narrow }
    }

    fn visible(&self, row: &Row) -> bool {
        row.record.tenant == self.with.tenant()
            && (self.with != Credentials::Narrow || row.shared)
            && (!row.gone || self.habits.tombstones)
    }

    /// A complete list.
    pub(crate) fn list(&self) -> Vec<RemoteCluster> {
        let listed = |row: &&Row| self.visible(row) && !(self.habits.hides_deleting && row.record.is_deleting());
        self.rows.iter().filter(listed).map(|row| row.record.clone()).collect()
    }

    pub(crate) fn get(&self, uuid: ClusterUuid) -> Option<RemoteCluster> {
        let found = self.rows.iter().find(|row| row.record.uuid == uuid && self.visible(row));
        found.map(|row| row.record.clone())
    }

    /// What is known of the tenant behind the connection.
    pub(crate) fn tenant(&self) -> Option<TenantId> {
        let told = self.habits.token_tells.then(|| self.with.tenant());
        told.or_else(|| self.list().first().map(|record| record.tenant))
    }

    pub(crate) fn who(&self) -> Who {
        Who {
            origin: Origin::new("https://cp.example.com"),
            credential: CredentialId::new(&format!("client:{:?}", self.with)),
            tenant: self.tenant(),
        }
    }

    fn taken(&self, name: &str, tenant: TenantId, but: Option<ClusterUuid>) -> bool {
        let blocks = |row: &Row| {
            !row.gone && row.record.name == name && row.record.tenant == tenant && Some(row.record.uuid) != but
        };
        self.habits.unique && self.rows.iter().any(blocks)
    }

    pub(crate) fn post(&mut self, new: &NewCluster, maker: usize, now: Timestamp) -> Result<RemoteCluster, Refusal> {
        self.commit(new, maker, self.with, now)
    }

    fn commit(
        &mut self,
        new: &NewCluster,
        maker: usize,
        with: Credentials,
        now: Timestamp,
    ) -> Result<RemoteCluster, Refusal> {
        if self.taken(new.name.as_str(), with.tenant(), None) {
            return Err(Refusal::Conflict);
        }
        let domain = new.domain.as_ref().map(ClusterDomain::as_str);
        let row = self.row(new.name.as_str(), domain, Some(maker), with, now);
        self.rows.push(row.clone());
        Ok(row.record)
    }

    /// The POST commits at `due`, whatever the client thinks.
    pub(crate) fn post_late(&mut self, new: NewCluster, maker: usize, due: Timestamp) {
        self.late.push(Late { maker, due, new, with: self.with });
    }

    /// Commits what is due.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        let (due, open): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.late).into_iter().partition(|late| late.due <= now);
        self.late = open;
        for late in due {
            // A name that was taken meanwhile drops it: nobody hears of that.
            let _dropped = self.commit(&late.new, late.maker, late.with, late.due);
        }
    }

    fn seen(&mut self, uuid: ClusterUuid) -> Result<usize, Refusal> {
        let found = self.rows.iter().position(|row| row.record.uuid == uuid && self.visible(row) && !row.gone);
        found.ok_or(Refusal::NotFound)
    }

    pub(crate) fn put(&mut self, uuid: ClusterUuid, name: &str) -> Result<RemoteCluster, Refusal> {
        let index = self.seen(uuid)?;
        if self.taken(name, self.with.tenant(), Some(uuid)) {
            return Err(Refusal::Conflict);
        }
        name.clone_into(&mut self.rows[index].record.name);
        Ok(self.rows[index].record.clone())
    }

    /// `true` if the registration is gone at once.
    pub(crate) fn delete(&mut self, uuid: ClusterUuid, force: bool, now: Timestamp) -> Result<bool, Refusal> {
        let index = self.seen(uuid)?;
        self.rows[index].accepted = true;
        let at_once = force || self.habits.instant;
        self.remove(index, at_once, now);
        Ok(at_once)
    }

    fn remove(&mut self, index: usize, at_once: bool, now: Timestamp) {
        let clock = self.clock(now);
        let row = &mut self.rows[index];
        row.record.delete_requested_at.get_or_insert(clock);
        if at_once {
            row.gone = true;
            row.record.deleted_at = Some(clock);
        }
    }

    // ---- other people ----

    /// Somebody else registers a name.
    pub(crate) fn others_create(&mut self, name: &str, now: Timestamp) {
        if !self.taken(name, Credentials::Full.tenant(), None) {
            let row = self.row(name, Some("other.example.com"), None, Credentials::Full, now);
            self.rows.push(row);
        }
    }

    /// Somebody else deletes a registration.
    pub(crate) fn others_delete(&mut self, index: usize, now: Timestamp) {
        if !self.rows[index].gone {
            self.remove(index, self.habits.instant, now);
        }
    }

    /// The agents finish their clean-up.
    pub(crate) fn finish_deletes(&mut self, now: Timestamp) {
        for index in 0..self.rows.len() {
            if self.rows[index].record.is_deleting() {
                self.remove(index, true, now);
            }
        }
    }
}
