//! How each fault of the schedule is carried out, and taken back.
//!
//! Owns the effects on the world. Must not judge what comes of them; where a fault gives an object the right to be
//! stalled, that is written into the books.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use runai_simulator::{AgentCommand, FaultAction, FaultRule, RecordPatch, SeedCluster, Simulator};
use serde_json::{Value, json};
use testbed::OperatorProcess;
use uuid::Uuid;

use crate::arena::{Arena, LONG};
use crate::books::Books;
use crate::deeds::Users;
use crate::oracle;
use crate::remote::{ELSEWHERE, Family};
use crate::schedule::Fault;

const CREATE_PENDING: &str = "runai-operator.io/create-pending";

/// What ends a fault that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undo {
    Continue,
    Proxy,
    Permissions,
    Clock,
    Authority,
}

/// The faults of one round that are still to end.
#[derive(Debug, Default)]
pub struct Strikes {
    pub open: Vec<(Instant, Undo)>,
    /// How often each fault took effect.
    pub hits: BTreeMap<&'static str, u64>,
    /// What went wrong with the world itself: a process that did not end as it should.
    pub complaints: Vec<String>,
}

impl Strikes {
    fn count(&mut self, fault: &'static str, hits: u64) {
        *self.hits.entry(fault).or_default() += hits;
    }

    fn later(&mut self, ms: u64, undo: Undo) {
        self.open.push((Instant::now() + Duration::from_millis(ms), undo));
    }

    pub async fn strike(&mut self, fault: &Fault, arena: &mut Arena, books: &mut Books, users: &Users) {
        let mut hit = true;
        match fault {
            Fault::Kill => {
                let killed = arena.first.take();
                self.retire(killed);
                arena.first = Some(arena.operator());
            }
            Fault::Terminate => self.terminate(arena).await,
            Fault::Pause(ms) => {
                arena.first.as_mut().unwrap().sigstop().unwrap();
                self.later(*ms, Undo::Continue);
            }
            Fault::Second => arena.second = Some(arena.operator()),
            Fault::ApiServer => arena.bed.restart_apiserver().await.unwrap(),
            Fault::Etcd(ms) => {
                arena.bed.kill_etcd();
                tokio::time::sleep(Duration::from_millis(*ms)).await;
                arena.bed.start_etcd().unwrap();
            }
            Fault::SlowApi(ms) => arena.proxy.delay(Duration::from_millis(*ms)),
            Fault::Cut => arena.proxy.cut(),
            Fault::Refuse(ms) => {
                arena.proxy.refuse();
                arena.proxy.cut();
                self.later(*ms, Undo::Proxy);
            }
            Fault::Silence(ms) => {
                arena.proxy.silence();
                self.later(*ms, Undo::Proxy);
            }
            Fault::BlackHole(ms) => {
                arena.proxy.black_hole();
                self.later(*ms, Undo::Proxy);
            }
            Fault::CrdUpgrade => arena.upgrade_crds(&format!("since {}", arena.now_ms())).await,
            Fault::Remote(family, rule) => {
                // Counted by the simulator.
                hit = false;
                arena.simulator.add_fault(aimed(rule, &arena.elsewhere.0).named(family.name()));
            }
            Fault::Credentials => {
                arena.credentials = 1 - arena.credentials;
                arena.write_credentials().await;
            }
            Fault::Revoke
            | Fault::Forbid(..)
            | Fault::ClockForward(_)
            | Fault::ClockBack(..)
            | Fault::AgentsPause
            | Fault::AgentsFlap
            | Fault::Upgrade(_)
            | Fault::Authority(_) => self.strike_control_plane(fault, &arena.simulator),
            Fault::RenameOutside(_)
            | Fault::DeleteOutside(_)
            | Fault::CreateOutside(_)
            | Fault::WipeNotes(_)
            | Fault::WipeAll(_)
            | Fault::Touch(_) => hit = meddle(fault, arena, books, users).await.is_some(),
        }
        self.count(fault.name(), u64::from(hit));
    }

    /// What befalls the control plane as a whole.
    fn strike_control_plane(&mut self, fault: &Fault, simulator: &Simulator) {
        match fault {
            Fault::Revoke => {
                simulator.apply(&FaultAction::TokenRevoke { identity: None, phase: Default::default() });
            }
            Fault::Forbid(actions, ms) => {
                simulator.apply(&FaultAction::PermissionLoss { identity: None, actions: actions.clone() });
                self.later(*ms, Undo::Permissions);
            }
            Fault::ClockForward(seconds) => simulator.advance(Duration::from_secs(*seconds)),
            Fault::ClockBack(seconds, ms) => {
                simulator.set_clock_skew(jiff::SignedDuration::from_secs(-seconds));
                self.later(*ms, Undo::Clock);
            }
            Fault::AgentsPause => simulator.apply(&FaultAction::AgentPause { uuid: None }),
            Fault::AgentsFlap => simulator.apply(&FaultAction::AgentFlap { uuid: None, period_seconds: 1.5 }),
            Fault::Upgrade(profile) => simulator.configure(|config| config.profile = *profile),
            Fault::Authority(ms) => {
                simulator.apply(&FaultAction::TlsRotate { new_ca: true });
                self.later(*ms, Undo::Authority);
            }
            _ => unreachable!("only the control plane's own"),
        }
    }

    /// Ends a process by SIGKILL. None ends by itself.
    fn retire(&mut self, process: Option<OperatorProcess>) {
        if let Some(status) = process.and_then(|mut process| process.exit_status()) {
            self.complaints.push(format!("an operator ended by itself: {status}"));
        }
    }

    async fn terminate(&mut self, arena: &mut Arena) {
        let mut leaving = arena.first.take().unwrap();
        leaving.sigcont().unwrap();
        match leaving.sigterm_and_wait(Duration::from_secs(40)).await {
            Ok(status) if status.success() => {}
            Ok(status) => self.complaints.push(format!("after SIGTERM the operator ended with {status}")),
            Err(error) => self.complaints.push(error.to_string()),
        }
        arena.first = Some(arena.operator());
    }

    /// Ends what is due, or everything.
    pub async fn undo(&mut self, arena: &mut Arena, everything: bool) {
        let now = Instant::now();
        let (due, open) = self.open.drain(..).partition(|(at, _)| everything || *at <= now);
        self.open = open;
        for (_, undo) in due {
            match undo {
                Undo::Continue => arena.first.as_mut().unwrap().sigcont().unwrap(),
                Undo::Proxy => arena.proxy.heal(),
                Undo::Permissions => {
                    arena.simulator.apply(&FaultAction::PermissionLoss { identity: None, actions: Vec::new() });
                }
                Undo::Clock => arena.simulator.set_clock_skew(jiff::SignedDuration::ZERO),
                Undo::Authority => arena.write_authority().await,
            }
        }
    }

    /// Ends all faults and repairs the world. One of two processes leaves, whichever the seed says.
    pub async fn heal(&mut self, arena: &mut Arena, rng: &mut Rng) {
        self.undo(arena, true).await;
        arena.proxy.heal();
        for (rule, fired) in arena.simulator.faults() {
            let family = Family::ALL.into_iter().map(Family::name).find(|name| *name == rule.id);
            self.count(family.unwrap_or_default(), fired);
        }
        arena.simulator.clear_faults();
        arena.simulator.apply(&FaultAction::AgentFlap { uuid: None, period_seconds: 0.0 });
        for record in arena.simulator.live_clusters() {
            let free = RecordPatch { stuck_delete: Some(false), slow_delete: Some(1.0), ..RecordPatch::default() };
            // It may have gone meanwhile.
            let _ = arena.simulator.patch(record.uuid, free);
            if record.agent.is_some() {
                let _ = arena.simulator.agent(record.uuid, AgentCommand::start());
            }
        }
        if let Some(second) = arena.second.take() {
            let other = if rng.bool() { Some(second) } else { arena.first.replace(second) };
            self.retire(other);
        }
        let first = arena.first.as_mut().unwrap();
        if let Err(error) = first.wait_ready(LONG).await {
            self.complaints.push(error.to_string());
            drop(arena.first.take());
            arena.first = Some(arena.operator());
        }
    }
}

/// What others do to registrations and objects. `None` when there was nothing to do it to.
async fn meddle(fault: &Fault, arena: &Arena, books: &mut Books, users: &Users) -> Option<()> {
    match fault {
        Fault::RenameOutside(which) => {
            let (_, uuid) = known(arena, *which).await?;
            arena.simulator.rename(uuid, &format!("outside-{which}")).ok()
        }
        Fault::DeleteOutside(which) => {
            let (object, uuid) = known(arena, *which).await?;
            let slot = books.by_uid(object["metadata"]["uid"].as_str()?)?.slot;
            arena.simulator.remove(uuid).ok()?;
            books.deleted_outside.insert(uuid);
            books.taint(slot, &["ExternallyDeleted", "AdoptionTargetMissing"]);
            Some(())
        }
        Fault::CreateOutside(slot) => {
            let name = slot.map(|slot| {
                books.taint(slot, &["NameConflict", "CreateAmbiguous"]);
                books.present(slot).map_or_else(|| users.name(slot).1, |life| life.desired().to_owned())
            });
            let name = name.unwrap_or_else(|| format!("outside-{}", arena.now_ms()));
            let domain = Some("https://outside.example.com".to_owned());
            let uuid = arena.simulator.seed(SeedCluster { domain, ..SeedCluster::named(&name) }).unwrap();
            books.foreign.insert(uuid, name);
            Some(())
        }
        Fault::WipeNotes(which) => {
            let (object, _) = known(arena, *which).await.filter(|(object, _)| is_settled(object))?;
            // Only if it still is as it was when it was looked at.
            let version = &object["metadata"]["resourceVersion"];
            let patch = json!({ "metadata": { "resourceVersion": version, "annotations": null } });
            arena.patch(name(&object), &patch).await.map(drop)
        }
        Fault::WipeAll(which) => {
            let object = any(arena, *which).await?;
            arena.patch(name(&object), &json!({ "metadata": { "annotations": null } })).await.map(drop)
        }
        Fault::Touch(which) => {
            let object = any(arena, *which).await?;
            let mark = which.to_string();
            let patch = json!({ "metadata": { "labels": { "rival": mark },
                "annotations": { "runai-operator.io/reconcile-requested-at": mark } } });
            arena.patch(name(&object), &patch).await.map(drop)
        }
        _ => unreachable!("only what others do"),
    }
}

fn aimed(rule: &FaultRule, elsewhere: &str) -> FaultRule {
    let mut rule = rule.clone();
    if let FaultAction::Redirect { location, .. } = &mut rule.action {
        *location = location.replace(ELSEWHERE, elsewhere);
    }
    rule
}

/// An object that says which registration it has.
async fn known(arena: &Arena, which: u32) -> Option<(Value, Uuid)> {
    let known: Vec<_> =
        arena.objects().await.into_iter().filter_map(|object| Some((oracle::uuid(&object)?, object))).collect();
    nth(&known, which).map(|(uuid, object)| (object, uuid))
}

/// No create is in doubt.
fn is_settled(object: &Value) -> bool {
    object["metadata"]["annotations"][CREATE_PENDING].is_null()
}

async fn any(arena: &Arena, which: u32) -> Option<Value> {
    nth(&arena.objects().await, which)
}

fn nth<T: Clone>(from: &[T], which: u32) -> Option<T> {
    (!from.is_empty()).then(|| from[which as usize % from.len()].clone())
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}
