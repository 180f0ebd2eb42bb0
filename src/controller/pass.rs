//! One pass over one object: observe, plan, act, and again until the plan is to rest; then report.
//!
//! Owns the order of things and the step limit. Decides nothing: every choice is the plan's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use tracing::{Instrument, debug, info, warn};

use crate::api::{RECONCILE_REQUESTED_AT, Watched, convert};
use crate::domain::plan::{self, name_in_question, remembered_refusal, uuid_in_question};
use crate::domain::{
    Again, Case, ClusterUuid, Deletion, Desired, Memory, Named, ObjectKey, Observed, Plan, Policy, Reason, Recorded,
    Sighting, SpecError, Stance, Step, report, schedule,
};
use crate::runai::Permit;
use crate::telemetry::metrics::ReconcileResult;
use crate::telemetry::traces;

use super::clock::Boottime;
use super::context::{Context, Start, control_plane_of};
use super::notes;
use super::planes::{Connection, trouble};
use super::publish::Reading;
use super::status;
use super::sync::lock;

/// A pass that takes more steps than this goes round in circles.
const MOST_STEPS: usize = 24;
/// Name of the controller in metrics.
pub(super) const CONTROLLER: &str = "runaicluster";

/// Everything that one pass knows.
pub(super) struct Pass<'c> {
    pub(super) ctx: &'c Context,
    pub(super) key: ObjectKey,
    pub(super) object: Arc<Watched>,
    pub(super) desired: Result<Desired, SpecError>,
    deletion: Deletion,
    pub(super) recorded: Recorded,
    pub(super) memory: Memory,
    pub(super) observed: Observed,
    pub(super) connection: Option<Arc<Connection>>,
    pub(super) turn: Option<Turn>,
    pub(super) reading: Reading,
    /// The Secret that status named when the pass began.
    pub(super) moved_from: Option<String>,
    policy: Policy,
    /// Which uuid `observed.uuid` is about.
    asked: Option<ClusterUuid>,
    /// In a rehearsal: lists that started since then are fresh enough, and no turn is taken, since nothing is written upon
    /// them.
    pub(super) fresh_since: Option<Instant>,
}

/// The right to create: a slot among the creates under way, and a permit of the rate limit.
pub(super) struct Turn {
    pub(super) permit: Option<Permit>,
    /// When the intent was begun to be written: the POST must follow soon.
    pub(super) intent_started: Option<Boottime>,
    pub(super) _slot: tokio::sync::OwnedSemaphorePermit,
}

/// What comes after a step.
pub(super) enum Flow {
    /// Plan again.
    GoOn,
    /// The pass is over.
    End(Action),
}

/// What became of a status.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It says what it should.
    Done,
    /// Somebody else wrote first: the next pass says it, of what is there by then.
    TooLate,
    /// The API refused it, or did not answer.
    Failed,
}

/// Runs one pass.
pub(crate) async fn reconcile(key: ObjectKey, ctx: &Context) -> Action {
    let started = Instant::now();
    let (object, memory) = match ctx.begin(&key) {
        Start::Held(left) => return Action::requeue(left),
        Start::Over => return Action::await_change(),
        Start::Go(object, memory) => (object, memory),
    };
    let span = traces::pass(&key.namespace, &key.name);
    let mut pass = Pass::new(ctx, key, object, memory);
    let action = pass.run().instrument(span.clone()).await;
    pass.keep();
    let result = match (pass.memory.failures, &action) {
        (0, action) if *action == Action::await_change() => ReconcileResult::Success,
        (0, _) => ReconcileResult::Waiting,
        (_, _) => ReconcileResult::Error,
    };
    traces::passed(&span, result.as_str());
    ctx.metrics.reconciled(CONTROLLER, result, started.elapsed());
    action
}

/// Looks and plans as a pass does, and stops before the first step that writes. What that step would claim is claimed,
/// so that of two objects that want the same the second is told so.
pub(super) async fn rehearse(ctx: &Context, object: Arc<Watched>, fresh_since: Instant) -> Plan {
    let mut pass = Pass::new(ctx, notes::key_of(&object), object, Memory::default());
    pass.fresh_since = Some(fresh_since);
    let mut plan = pass.plan();
    for _ in 0..MOST_STEPS {
        match &plan.step {
            Step::Look(look) => pass.look(look).await,
            Step::Mark(marks) if !pass.claim(marks) => {}
            Step::Mark(_)
            | Step::Forget(_)
            | Step::Create(_)
            | Step::Rename(..)
            | Step::Delete { .. }
            | Step::Release
            | Step::Rest => break,
        }
        pass.take_in_news();
        plan = pass.plan();
    }
    plan
}

impl<'c> Pass<'c> {
    pub(super) fn new(ctx: &'c Context, key: ObjectKey, object: Arc<Watched>, memory: Memory) -> Self {
        let desired = object.spec().and_then(|spec| convert::desired(&key.name, spec));
        let granted = ctx.planes.access(control_plane_of(&object), &key.namespace);
        let mut pass = Self {
            ctx,
            desired,
            deletion: convert::deletion(&object.spec),
            recorded: notes::read(&object, &ctx.signer, &memory),
            memory,
            observed: Observed::nothing(granted.access),
            connection: granted.connection,
            turn: None,
            reading: ctx.reading(&key),
            moved_from: object.status().and_then(|status| status.install_secret_name.clone()),
            policy: Policy {
                quarantine: ctx.settings.create_quarantine,
                default_deletion: ctx.settings.default_deletion,
                liveness_granularity: granted.liveness_granularity,
            },
            asked: None,
            fresh_since: None,
            key,
            object,
        };
        pass.observed.refused = pass.with_case(|case| remembered_refusal(case).cloned());
        let question = pass.with_case(|case| (uuid_in_question(case), name_in_question(case).map(str::to_owned)));
        ctx.listen(&pass.key, &pass.object, question);
        pass.look_at_inventory();
        pass
    }

    async fn run(&mut self) -> Action {
        for _ in 0..MOST_STEPS {
            if !self.ctx.leadership.is_leader() {
                return Action::await_change();
            }
            self.take_in_news();
            let plan = self.plan();
            debug!(object = %self.key, step = ?plan.step, why = plan.why.as_str(), "plan");
            let flow = match &plan.step {
                Step::Rest => return self.rest(&plan).await,
                Step::Look(look) => {
                    self.look(look).await;
                    Flow::GoOn
                }
                Step::Mark(marks) => self.mark(marks).await,
                Step::Forget(what) => self.forget(*what).await,
                Step::Create(new) => self.create(new).await,
                Step::Rename(uuid, name) => self.rename(*uuid, name).await,
                Step::Delete { uuid, force } => self.delete(*uuid, *force).await,
                Step::Release => self.release(&plan).await,
            };
            self.keep();
            match flow {
                Flow::GoOn => {}
                Flow::End(action) => return action,
            }
        }
        warn!(object = %self.key, "a pass took too many steps; please report this with the debug log");
        Action::requeue(schedule::LONGEST_DELAY)
    }

    /// Keeps what was learned, so that the end of this pass, whatever its cause, loses nothing.
    pub(super) fn keep(&self) {
        self.ctx.keep(&self.key, &self.object, &self.memory);
    }

    fn plan(&self) -> Plan {
        self.with_case(plan::plan)
    }

    pub(super) fn with_case<T>(&self, ask: impl FnOnce(&Case<'_>) -> T) -> T {
        let claims = lock(&self.ctx.claims);
        ask(&Case {
            key: &self.key,
            generation: self.object.metadata.generation.unwrap_or_default(),
            deleting: self.object.is_deleted(),
            desired: &self.desired,
            deletion: &self.deletion,
            recorded: &self.recorded,
            memory: &self.memory,
            observed: &self.observed,
            claims: &claims,
            policy: &self.policy,
            now: now(),
            nonce: uuid::Uuid::new_v4(),
        })
    }

    // ---- observe ----

    /// Takes over what the inventory knows. Costs nothing.
    fn look_at_inventory(&mut self) {
        let Some(connection) = self.connection.clone() else { return };
        let health = connection.inventory.health();
        self.observed.inventory =
            health.last_error.filter(|_| health.consecutive_failures > 0).map(|error| trouble(&error));
        self.observed.stale = health.stale;
        self.observed.remote_now = connection.client.control_plane_now();
        self.look_again();
    }

    /// After a step the question may be another one: which uuid, which name.
    pub(super) fn look_again(&mut self) {
        let snapshot = self.connection.as_ref().and_then(|connection| connection.inventory.snapshot());
        let (uuid, name) = self.with_case(|case| (uuid_in_question(case), name_in_question(case).map(str::to_owned)));
        let Some(snapshot) = snapshot else { return };
        if uuid != self.asked || self.observed.uuid == Sighting::NotLooked {
            self.asked = uuid;
            self.observed.uuid = match uuid {
                None => Sighting::NotLooked,
                Some(uuid) => {
                    self.memory.known_for(uuid, now());
                    snapshot.get(uuid).map_or(Sighting::NotListed, |record| Sighting::Present(record.as_ref().clone()))
                }
            };
        }
        if let Some(name) = name
            && self.observed.named.of(&name).is_none()
        {
            let records = snapshot.named(&name);
            self.observed.named = Named::Snapshot(name, records);
        }
        self.note_seen();
    }

    /// A name that was looked for takes in what became known since: another object's pass may have registered it.
    fn take_in_news(&mut self) {
        let snapshot = self.connection.as_ref().and_then(|connection| connection.inventory.snapshot());
        if let (Named::Fresh(name, records), Some(snapshot)) = (&mut self.observed.named, snapshot) {
            let known = |uuid| records.iter().any(|record| record.uuid == uuid);
            let news: Vec<_> = snapshot.named(name).into_iter().filter(|record| !known(record.uuid)).collect();
            records.extend(news);
        }
    }

    /// These credentials saw the registration: later, a 404 to them means something.
    pub(super) fn note_seen(&mut self) {
        if let (Sighting::Present(record), Ok(who)) = (&self.observed.uuid, &self.observed.access.who)
            && self.memory.seen_by.as_ref().is_none_or(|by| by.origin != who.origin || by.credential != who.credential)
        {
            let mut who = who.clone();
            who.tenant = Some(record.tenant);
            self.memory.seen_by = Some(who);
        }
    }

    // ---- rest ----

    async fn rest(&mut self, plan: &Plan) -> Action {
        self.turn = None;
        let republish = self.publish(plan).await;
        let written = self.say(plan).await;
        let retry = if written == Written::Done { self.tidy().await } else { None };
        self.ctx.keep_reading(&self.key, &self.object, &self.reading);
        // A status that is refused again and again backs off like anything else.
        let unsaid = (written == Written::Failed).then_some(Reason::ConnectionFailed);
        let trouble = report::trouble(plan).or(unsaid);
        if plan.stance != Stance::Quiet {
            self.memory.pass_ended(trouble, now());
        }
        if let Some(reason) = trouble {
            self.ctx.metrics.reconcile_error(reason.as_str());
        }
        let wait = match (written, plan.again) {
            (Written::TooLate | Written::Failed, _) | (Written::Done, Again::Backoff) => {
                let failures = self.memory.failures.max(1);
                Some(schedule::backoff(failures, fastrand::u64(..)))
            }
            (Written::Done, Again::After(wait)) => Some(wait.max(Duration::from_millis(50))),
            (Written::Done, Again::WhenChanged) => None,
        };
        let in_step = plan.stance == Stance::InSync;
        let waits_for = (!in_step).then(|| {
            let name = self.with_case(|case| name_in_question(case).map(str::to_owned));
            (self.asked, name)
        });
        self.ctx.end(&self.key, &self.object, wait, waits_for);
        // Credentials hold nothing back: whatever changes meanwhile is looked at.
        let soonest = [wait, republish, retry].into_iter().flatten().min();
        soonest.map_or_else(Action::await_change, Action::requeue)
    }

    /// Writes status and Events where they differ.
    async fn say(&mut self, plan: &Plan) -> Written {
        let before = status::before(&self.object);
        let Some(report) = self.with_case(|case| report::report(case, plan, &before)) else {
            return Written::Done;
        };
        let handled = self.object.annotations().get(RECONCILE_REQUESTED_AT).cloned();
        let after = status::after(&self.object, &report, handled, now());
        self.ctx.metrics.object(&self.key.namespace, &self.key.name, Some(&status::metrics(&after)));
        let written = self.write_status(&after).await;
        if written != Written::Done {
            return written;
        }
        for note in report.events {
            // Not `level`: that is the line's own.
            let event = if note.warning { "Warning" } else { "Normal" };
            info!(object = %self.key, reason = %note.reason, event, "{}", note.message);
            self.ctx.events.publish(self.reference(), note, "Reconcile");
        }
        Written::Done
    }
}

/// The operator's clock.
#[allow(clippy::disallowed_methods, reason = "the one place where the controller reads the wall clock")]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}
