//! The install credentials of an object: read, published, moved, removed.
//!
//! Owns how the steps of `domain::install` are carried out, and what is remembered between passes. Runs at the end of a
//! pass, after the registration has come to rest: nothing here delays or decides what happens to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use tracing::{info, warn};

use crate::api::RECONCILE_REQUESTED_AT;
use crate::domain::install::{self, Answered, FIGHT_WINDOW, FIGHT_WRITES, Failed, Timing};
use crate::domain::{
    AgentVersion, InstallCase, InstallSpec, InstallStep, Management, Plan, Publication, RemoteCluster, Stance, Trouble,
    plan, schedule,
};
use crate::runai::InstallInfo;

use super::pass::{Pass, now};
use super::planes::{Connection, trouble};
use super::published::{Facts, Owner, Press};
use super::secrets::Put;

/// More steps than this go round in circles: somebody writes as fast as we do.
const MOST_STEPS: usize = 12;

/// What is remembered between passes. Losing it costs nothing: a Secret that is as it should be is not read again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// When the information was read, or first found published, by the control plane's clock.
    read_at: Option<Timestamp>,
    /// Why the last attempt failed, until when none is made, and for which generation of the spec.
    failure: Option<(Trouble, Instant, i64)>,
    /// Reads in a row that failed.
    unread: u32,
    /// Passes in a row that did not publish.
    failures: u32,
    /// The last writes, and for which generation of the spec: who changes the spec fights with nobody.
    writes: Vec<(Instant, i64)>,
    /// The reconcile request that led to a read.
    handled: Option<String>,
}

/// How a pass over the credentials ends.
enum End {
    /// Published, or not; come back after this long.
    Said(Result<(), Trouble>, Option<Duration>),
    /// Nothing to say: the namespace goes away, or the lease is lost.
    Silent,
}

/// What a pass over the credentials works with.
struct Desk<'a> {
    press: Press<'a>,
    record: &'a RemoteCluster,
    connection: &'a Connection,
    now: Timestamp,
    requested: Option<String>,
    info: Option<InstallInfo>,
}

impl Pass<'_> {
    /// Publishes what is asked for. Returns when to look again at the latest.
    pub(super) async fn publish(&mut self, plan: &Plan) -> Option<Duration> {
        if plan.stance == Stance::Quiet || self.object.is_deleted() {
            return None;
        }
        let Ok(desired) = &self.desired else { return None };
        let (asked, manages) = (desired.install.clone(), desired.management == Management::Manage);
        let told = self.object.status().and_then(|status| status.install_secret_name.clone());
        let Some(asked) = asked else {
            return self.unpublish(told).await;
        };
        let end =
            if manages { self.publish_owned(plan, &asked).await } else { End::Said(Err(install::observes()), None) };
        let (outcome, again) = match end {
            End::Said(outcome, again) => (outcome, again),
            End::Silent => return None,
        };
        let again = match &outcome {
            Ok(()) => {
                self.reading.failures = 0;
                again
            }
            Err(trouble) => {
                self.reading.failures = self.reading.failures.saturating_add(1);
                self.ctx.metrics.reconcile_error(trouble.reason.as_str());
                let backoff = schedule::backoff(self.reading.failures, fastrand::u64(..));
                again.or(trouble.retry_after).or(Some(backoff))
            }
        };
        // One Secret may be written where the other is not: it has to be found again.
        let secret = match (&outcome, told) {
            (Ok(()), _) => Some(asked.secret_name),
            (Err(_), None) => {
                let owner = self.owner();
                let known = self.ctx.secrets.of_owner(&owner.namespace, &owner.uid);
                known.contains(&asked.secret_name).then_some(asked.secret_name)
            }
            (Err(_), told) => told,
        };
        self.observed.publication = Some(Publication { secret, outcome: Some(outcome) });
        again
    }

    /// Removes what an earlier name or an earlier wish has left, once status says where the credentials are now.
    pub(super) async fn tidy(&mut self) -> Option<Duration> {
        let published = self.observed.publication.as_ref()?.outcome.as_ref()?.is_ok();
        let asked = self.desired.as_ref().ok()?.install.clone()?;
        if !published {
            return None;
        }
        self.clear(Some(&asked), None).await.err().map(|_| self.retry())
    }

    async fn unpublish(&mut self, told: Option<String>) -> Option<Duration> {
        // Who never asked has nothing published. What was written a moment ago status may not say yet.
        let owner = self.owner();
        if told.is_none() && self.ctx.secrets.of_owner(&owner.namespace, &owner.uid).is_empty() {
            return None;
        }
        let cleared = self.clear(None, told.as_deref()).await;
        let secret = told.filter(|_| cleared.is_err());
        self.observed.publication = Some(Publication { secret, outcome: None });
        cleared.err().map(|_| self.retry())
    }

    fn retry(&mut self) -> Duration {
        self.reading.failures = self.reading.failures.saturating_add(1);
        schedule::backoff(self.reading.failures, fastrand::u64(..))
    }

    /// Removes the object's Secrets but those that are asked for.
    async fn clear(&mut self, asked: Option<&InstallSpec>, told: Option<&str>) -> Result<(), ()> {
        let owner = self.owner();
        let told = told.or(self.moved_from.as_deref());
        // After a restart only the first list tells of a Secret that status does not name.
        self.ctx.secrets.in_step().await;
        for name in install::left_over(asked, told, self.ctx.secrets.of_owner(&owner.namespace, &owner.uid)) {
            if !self.ctx.leadership.is_leader() {
                return Err(());
            }
            if let Err(trouble) = self.ctx.secrets.remove(&owner.namespace, &name, &owner.uid).await {
                warn!(object = %self.key, "{}", trouble.message);
                return Err(());
            }
        }
        self.moved_from = None;
        Ok(())
    }

    fn generation(&self) -> i64 {
        self.object.metadata.generation.unwrap_or_default()
    }

    fn owner(&self) -> Owner {
        Owner {
            namespace: self.key.namespace.clone(),
            name: self.key.name.clone(),
            uid: self.object.uid().unwrap_or_default(),
        }
    }

    async fn publish_owned(&mut self, plan: &Plan, asked: &InstallSpec) -> End {
        let record = self.with_case(|case| plan::owned(case).cloned());
        let (Some(record), Some(connection)) = (record, self.connection.clone()) else { return End::Silent };
        if plan.stance != Stance::InSync {
            return End::Silent;
        }
        let spec_version = self.desired.as_ref().ok().and_then(|desired| desired.version.clone());
        let version = match install::version(spec_version.as_ref().map(AgentVersion::as_str), &record) {
            Ok(version) => version.to_owned(),
            Err(trouble) => return End::Said(Err(trouble), None),
        };
        let control_plane = connection.client.origin().to_string();
        let domain = record.domain.as_ref().map(|domain| domain.as_str().to_owned());
        let facts = Facts {
            uuid: record.uuid.to_string(),
            cluster_name: record.name.clone(),
            cluster_url: asked.remote_url.clone().or(domain).unwrap_or_else(|| control_plane.clone()),
            control_plane_url: control_plane,
            version,
        };
        let handled = self.object.status().and_then(|status| status.last_handled_reconcile_at.as_ref());
        let requested = self.object.annotations().get(RECONCILE_REQUESTED_AT).filter(|asked| Some(*asked) != handled);
        let (owner, ctx) = (self.owner(), self.ctx);
        let mut desk = Desk {
            press: Press { owner: &owner, asked, facts: &facts, signer: &ctx.signer },
            record: &record,
            connection: &connection,
            now: self.observed.remote_now.unwrap_or_else(now),
            requested: requested.filter(|asked| Some(*asked) != self.reading.handled.as_ref()).cloned(),
            info: None,
        };
        for _ in 0..MOST_STEPS {
            if let Some(end) = self.publish_step(&mut desk).await {
                return end;
            }
        }
        End::Said(Err(install::fight(&asked.secret_name)), None)
    }

    /// One step; `None` to go on.
    async fn publish_step(&mut self, desk: &mut Desk<'_>) -> Option<End> {
        let Desk { press, .. } = &*desk;
        let (namespace, asked) = (&press.owner.namespace, press.asked);
        let found = async {
            let main = self.ctx.secrets.find(namespace, &asked.secret_name).await?;
            Ok((main, self.ctx.secrets.recall(namespace, &asked.bootstrap_name()).await?))
        };
        let (main, bootstrap) = match found.await {
            Ok(found) => found,
            Err(trouble) => return Some(End::Said(Err(trouble), None)),
        };
        let life = bootstrap.as_deref().and_then(|found| press.token_life(found));
        let timing = self.timing(desk, main.as_deref(), life);
        let case = self.install_case(desk, &timing, main.as_deref(), bootstrap.as_deref());
        let step = install::decide(&case);
        let (written, target) = match step {
            InstallStep::Read => {
                self.read_install_info(desk).await;
                return None;
            }
            InstallStep::Rest(outcome) => {
                let again = timing.next_look(outcome.is_ok());
                return Some(End::Said(outcome, again));
            }
            InstallStep::WriteMain => (main.clone(), press.main(main.as_deref(), desk.info.as_ref())),
            InstallStep::WriteBootstrap => {
                (bootstrap.clone(), press.bootstrap(bootstrap.as_deref(), desk.info.as_ref()))
            }
        };
        self.put(namespace, written, target).await
    }

    async fn put(&mut self, namespace: &str, over: Option<Arc<Secret>>, target: Option<Secret>) -> Option<End> {
        let target = target?;
        if !self.ctx.leadership.is_leader() {
            return Some(End::Silent);
        }
        let locked = over.is_some_and(|secret| secret.immutable == Some(true));
        match self.ctx.secrets.put(namespace, &target, locked).await {
            Put::Done => {
                info!(object = %self.key, secret = target.name_any(), "install credentials written");
                self.reading.writes.push((Instant::now(), self.generation()));
                None
            }
            Put::Again => None,
            Put::Going => Some(End::Silent),
            Put::Failed(trouble) => Some(End::Said(Err(trouble), None)),
        }
    }

    fn timing(&mut self, desk: &Desk<'_>, main: Option<&Secret>, life: Option<(Timestamp, Timestamp)>) -> Timing {
        let Desk { press, record, now, requested, .. } = desk;
        let generation = self.generation();
        // After a restart nothing says when a Secret that is in order was read: it is taken to be new.
        let read_at = *self.reading.read_at.get_or_insert(*now);
        Timing {
            has_secret: press.has_client_secret(main),
            waiting: install::is_waiting(record),
            requested: requested.is_some(),
            fresh: install::fresh_for(record.uuid, read_at, *now),
            token: life.map(|(issued, expires)| install::token_age(issued, expires, *now)),
            failed: self.reading.failure.as_ref().map(|(_, until, of)| Failed {
                left: until.saturating_duration_since(Instant::now()),
                same_spec: *of == generation,
            }),
        }
    }

    fn install_case<'a>(
        &mut self,
        desk: &Desk<'a>,
        timing: &Timing,
        main: Option<&Secret>,
        bootstrap: Option<&Secret>,
    ) -> InstallCase<'a> {
        let Desk { press, now, info, .. } = desk;
        let info = info.as_ref();
        let generation = self.generation();
        self.reading.writes.retain(|(at, of)| at.elapsed() < FIGHT_WINDOW && *of == generation);
        let failure = self.reading.failure.as_ref().filter(|_| timing.holds_back());
        InstallCase {
            asked: press.asked,
            main: press.main_shelf(main, info),
            has_secret: timing.has_secret,
            bootstrap: press.bootstrap_shelf(bootstrap, info, *now),
            token_due: timing.is_token_due(),
            waiting: timing.waiting,
            due: timing.is_due(),
            answer: info.map(|info| Answered { token: info.bootstrap_token.is_some() }),
            unread: failure.map(|(trouble, ..)| trouble.clone()),
            fought: self.reading.writes.len() >= FIGHT_WRITES,
        }
    }

    async fn read_install_info(&mut self, desk: &mut Desk<'_>) {
        let Desk { press, record, connection, .. } = &*desk;
        let (version, url) = (&press.facts.version, press.asked.remote_url.as_deref());
        let answer = connection.client.install_info(record.uuid, version, url).await;
        self.reading.handled = desk.requested.take().or(self.reading.handled.take());
        match answer {
            Ok(info) => {
                self.reading.read_at = Some(desk.now);
                self.reading.failure = None;
                self.reading.unread = 0;
                desk.info = Some(info);
            }
            Err(error) => {
                let said = Trouble { stalled: false, ..trouble(&error) };
                warn!(object = %self.key, "{}", said.message);
                self.reading.unread = self.reading.unread.saturating_add(1);
                let pause = schedule::backoff(self.reading.unread, fastrand::u64(..));
                let until = Instant::now() + said.retry_after.unwrap_or(pause);
                self.reading.failure = Some((said, until, self.generation()));
            }
        }
    }
}
