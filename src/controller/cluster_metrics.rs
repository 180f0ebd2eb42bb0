//! Metrics of connected clusters: read from the control plane, shown to Prometheus.
//!
//! Owns whose turn it is, which types a control plane knows, and how long a number is shown. One reading after the other,
//! spread evenly over the interval: a thousand clusters make no burst. Runs on the leader only, and for the registrations
//! that objects own. Nothing here touches an object or its status.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use tracing::{info, warn};

use crate::api::control_plane::{MetricGroup, MetricType};
use crate::api::convert::ClusterMetrics;
use crate::domain::{ClusterState, ClusterUuid, ObjectKey};
use crate::runai::{ApiError, ErrorKind, Measured, MetricsQuery};
use crate::telemetry::objects::ClusterMetric;

use super::context::Context;
use super::notes;
use super::pass::now;
use super::planes::Connection;
use super::sync::lock;

/// How often it is looked whether there is anything to do.
const IDLE: Duration = Duration::from_secs(5);
/// So many intervals a number is shown that could not be read again.
const SHOWN: u32 = 2;
/// How long it is remembered what a control plane refuses: it may be upgraded.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// Reads the metrics of the objects of the control plane `name`, until its connection is replaced or dropped.
pub(super) async fn run(ctx: Arc<Context>, name: String, connection: Arc<Connection>) {
    hide_all(&ctx, &name);
    let mut reader = Reader { ctx, name, connection, wish: None, clusters: Clusters::default(), ways: Ways::default() };
    while !reader.connection.inventory.is_stopped() {
        let wait = reader.step().await;
        tokio::time::sleep(wait).await;
    }
    if reader.ctx.planes.connection(&reader.name).is_none() {
        hide_all(&reader.ctx, &reader.name);
    }
}

fn hide_all(ctx: &Context, control_plane: &str) {
    for object in ctx.objects(Some(control_plane)) {
        ctx.metrics.measured(&object.namespace().unwrap_or_default(), &object.name_any(), Vec::new());
    }
}

struct Reader {
    ctx: Arc<Context>,
    name: String,
    connection: Arc<Connection>,
    wish: Option<ClusterMetrics>,
    clusters: Clusters,
    ways: Ways,
}

/// The connected clusters that objects own.
#[derive(Default)]
struct Clusters {
    by_uuid: HashMap<ClusterUuid, Cluster>,
    looked: Option<Instant>,
    last_turn: Option<Instant>,
    failing: bool,
}

struct Cluster {
    key: ObjectKey,
    /// When it last had its turn.
    read: Option<Instant>,
    /// The numbers of each type, and when they were read.
    numbers: BTreeMap<String, (Instant, Vec<ClusterMetric>)>,
}

/// What is next.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Read(ClusterUuid),
    Wait(Duration),
}

/// Whose turn it is: the one that had it longest ago. Turns come evenly, and to each cluster once an interval.
fn turn(
    now: Instant,
    interval: Duration,
    last_turn: Option<Instant>,
    reads: impl ExactSizeIterator<Item = (ClusterUuid, Option<Instant>)>,
) -> Turn {
    let count = u32::try_from(reads.len()).unwrap_or(u32::MAX);
    let Some((uuid, read)) = reads.min_by_key(|(uuid, read)| (*read, *uuid)) else { return Turn::Wait(IDLE) };
    let spaced = last_turn.map(|at| at + interval / count);
    let due = spaced.max(read.map(|at| at + interval)).unwrap_or(now);
    match due.saturating_duration_since(now) {
        Duration::ZERO => Turn::Read(uuid),
        wait => Turn::Wait(wait.min(IDLE)),
    }
}

/// How the control plane takes each type, as far as refusals have taught.
#[derive(Default)]
struct Ways {
    refused: BTreeMap<MetricType, Refused>,
    since: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Grouped,
    Altogether,
}

impl Ways {
    /// The requests that bring all that can be had.
    fn requests(&self, wish: &ClusterMetrics) -> Vec<(Vec<MetricType>, Option<MetricGroup>)> {
        let (mut grouped, mut plain) = (Vec::new(), Vec::new());
        for kind in &wish.types {
            match (self.refused.get(kind), wish.group_by) {
                (None, Some(_)) => grouped.push(*kind),
                (None, None) | (Some(Refused::Grouped), _) => plain.push(*kind),
                (Some(Refused::Altogether), _) => {}
            }
        }
        let requests = [(grouped, wish.group_by), (plain, None)];
        requests.into_iter().filter(|(types, _)| !types.is_empty()).collect()
    }

    fn refuse(&mut self, kind: MetricType, grouped: bool) {
        self.refused.insert(kind, if grouped { Refused::Grouped } else { Refused::Altogether });
        self.since.get_or_insert_with(Instant::now);
    }

    fn forget_old(&mut self) {
        if self.since.is_some_and(|at| at.elapsed() > REMEMBERED) {
            *self = Self::default();
        }
    }
}

/// The control plane does not know the type, or cannot group it.
fn is_refusal(error: &ApiError) -> bool {
    matches!(&error.kind, ErrorKind::Status(status) if matches!(status.code, 400 | 422))
}

impl Reader {
    /// One reading, or none. Returns how long to wait.
    async fn step(&mut self) -> Duration {
        let wish = self.ctx.planes.cluster_metrics(&self.name).filter(|_| self.ctx.leadership.is_leader());
        if wish != self.wish {
            self.ways = Ways::default();
            self.hide();
            self.wish.clone_from(&wish);
        }
        let Some(wish) = wish else { return IDLE };
        self.look(wish.interval);
        let clusters = &self.clusters;
        let reads = clusters.by_uuid.iter().map(|(uuid, cluster)| (*uuid, cluster.read));
        match turn(Instant::now(), wish.interval, clusters.last_turn, reads) {
            Turn::Wait(wait) => wait,
            Turn::Read(uuid) => {
                self.read(uuid, &wish).await;
                Duration::ZERO
            }
        }
    }

    fn hide(&mut self) {
        for cluster in std::mem::take(&mut self.clusters).by_uuid.into_values() {
            self.ctx.metrics.measured(&cluster.key.namespace, &cluster.key.name, Vec::new());
        }
    }

    /// Brings the clusters in step with objects and registrations, and forgets numbers that are too old.
    fn look(&mut self, interval: Duration) {
        if self.clusters.looked.is_some_and(|at| at.elapsed() < IDLE) {
            return;
        }
        self.clusters.looked = Some(Instant::now());
        let mut known = std::mem::take(&mut self.clusters.by_uuid);
        for (uuid, key) in self.connected() {
            let mut cluster = known.remove(&uuid).filter(|cluster| cluster.key == key).unwrap_or_else(|| Cluster {
                key,
                read: None,
                numbers: BTreeMap::new(),
            });
            let before = cluster.numbers.len();
            cluster.numbers.retain(|_, (at, _)| at.elapsed() < interval * SHOWN);
            if cluster.numbers.len() != before {
                self.show(&cluster);
            }
            self.clusters.by_uuid.insert(uuid, cluster);
        }
        for cluster in known.into_values() {
            self.ctx.metrics.measured(&cluster.key.namespace, &cluster.key.name, Vec::new());
        }
    }

    /// A cluster whose agent is away measures nothing.
    fn connected(&self) -> Vec<(ClusterUuid, ObjectKey)> {
        let Some(snapshot) = self.connection.inventory.snapshot() else { return Vec::new() };
        let origin = self.connection.client.origin();
        let objects = self.ctx.objects(Some(&self.name));
        let claims = lock(&self.ctx.claims);
        let owned = objects.iter().filter_map(|object| {
            let key = notes::key_of(object);
            let uuid = claims.get(&key)?.holds.as_ref()?.uuid;
            let state = snapshot.get(uuid)?.state.as_ref().and_then(ClusterState::is_connected);
            (state == Some(true) && claims.owner(Some(&origin), uuid) == Some(&key)).then_some((uuid, key))
        });
        owned.collect()
    }

    async fn read(&mut self, uuid: ClusterUuid, wish: &ClusterMetrics) {
        let started = Instant::now();
        self.clusters.last_turn = Some(started);
        self.ways.forget_old();
        if let Some(cluster) = self.clusters.by_uuid.get_mut(&uuid) {
            cluster.read = Some(started);
        }
        for (types, group) in self.ways.requests(wish) {
            let asked = match self.ask(uuid, wish.interval, &types, group).await {
                Err(error) if is_refusal(&error) => self.learn(uuid, wish.interval, &types, group).await,
                other => other,
            };
            self.tell(asked.as_ref().err());
            if asked.is_err() {
                break;
            }
        }
        if let Some(cluster) = self.clusters.by_uuid.get(&uuid) {
            self.show(cluster);
        }
    }

    /// One of these types was refused: each is asked for alone, once.
    async fn learn(
        &mut self,
        uuid: ClusterUuid,
        interval: Duration,
        types: &[MetricType],
        group: Option<MetricGroup>,
    ) -> Result<(), ApiError> {
        for &kind in types {
            match self.ask(uuid, interval, &[kind], group).await {
                Ok(()) => {}
                Err(error) if is_refusal(&error) => {
                    self.ways.refuse(kind, group.is_some());
                    let how = group.map_or_else(String::new, |group| format!(" by {}", group.as_str()));
                    info!(control_plane = self.name, "metric {}{how} is left out for a day: {error}", kind.as_str());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn ask(
        &mut self,
        uuid: ClusterUuid,
        window: Duration,
        types: &[MetricType],
        group: Option<MetricGroup>,
    ) -> Result<(), ApiError> {
        let end = self.connection.client.control_plane_now().unwrap_or_else(now);
        let names: Vec<_> = types.iter().map(|kind| kind.as_str()).collect();
        let query =
            MetricsQuery { types: &names, group_by: group.map(MetricGroup::as_str), start: before(end, window), end };
        let Measured { series, partial } = self.connection.client.metrics(uuid, &query).await?;
        let Some(cluster) = self.clusters.by_uuid.get_mut(&uuid) else { return Ok(()) };
        if !partial {
            // What a whole answer does not hold is not measured any more.
            cluster.numbers.retain(|kind, _| !names.contains(&kind.as_str()));
        }
        let mut found: BTreeMap<String, Vec<ClusterMetric>> = BTreeMap::new();
        for one in series.into_iter().filter(|one| names.contains(&one.kind.as_str())) {
            let labels = one.labels.into_iter().collect();
            let of_kind = found.entry(one.kind.clone()).or_default();
            let metric = ClusterMetric { kind: one.kind, labels, value: one.value };
            // Prometheus refuses a whole page for one series that comes twice.
            if of_kind.iter().all(|known| known.labels != metric.labels) {
                of_kind.push(metric);
            }
        }
        let read = Instant::now();
        cluster.numbers.extend(found.into_iter().map(|(kind, numbers)| (kind, (read, numbers))));
        Ok(())
    }

    fn show(&self, cluster: &Cluster) {
        let numbers = cluster.numbers.values().flat_map(|(_, numbers)| numbers).cloned().collect();
        self.ctx.metrics.measured(&cluster.key.namespace, &cluster.key.name, numbers);
    }

    /// Says that readings fail, and that they work again, once each.
    fn tell(&mut self, error: Option<&ApiError>) {
        match (error, std::mem::replace(&mut self.clusters.failing, error.is_some())) {
            (Some(error), false) => warn!(control_plane = self.name, "cluster metrics cannot be read: {error}"),
            (None, true) => info!(control_plane = self.name, "cluster metrics can be read again"),
            (Some(_), true) | (None, false) => {}
        }
    }
}

fn before(end: Timestamp, window: Duration) -> Timestamp {
    let window = SignedDuration::try_from(window).unwrap_or(SignedDuration::MAX);
    end.checked_sub(window).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn uuid(n: u128) -> ClusterUuid {
        ClusterUuid(uuid::Uuid::from_u128(n))
    }

    const INTERVAL: Duration = Duration::from_secs(60);

    #[test]
    fn turns_come_evenly_and_to_each_once_an_interval() {
        let start = Instant::now();
        let mut reads: BTreeMap<_, _> = (1..=4).map(|n| (uuid(n), None)).collect();
        let (mut last, mut turns) = (None, Vec::new());
        for second in 0..120 {
            let now = start + Duration::from_secs(second);
            if let Turn::Read(uuid) = turn(now, INTERVAL, last, reads.iter().map(|(uuid, read)| (*uuid, *read))) {
                reads.insert(uuid, Some(now));
                last = Some(now);
                turns.push((second, uuid.0.as_u128()));
            }
        }
        assert_eq!(turns, [(0, 1), (15, 2), (30, 3), (45, 4), (60, 1), (75, 2), (90, 3), (105, 4)]);
    }

    #[test]
    fn a_cluster_that_comes_waits_for_its_turn_and_a_lone_one_for_the_interval() {
        let now = Instant::now();
        let ago = |seconds| Some(now - Duration::from_secs(seconds));
        let table = [
            (vec![], None, Turn::Wait(IDLE)),
            (vec![(uuid(1), None)], None, Turn::Read(uuid(1))),
            (vec![(uuid(1), ago(57))], ago(57), Turn::Wait(Duration::from_secs(3))),
            (vec![(uuid(1), ago(10))], ago(10), Turn::Wait(IDLE)),
            (vec![(uuid(1), ago(10)), (uuid(2), None)], ago(10), Turn::Wait(IDLE)),
            (vec![(uuid(1), ago(31)), (uuid(2), None)], ago(31), Turn::Read(uuid(2))),
            (vec![(uuid(1), ago(90)), (uuid(2), ago(60))], ago(30), Turn::Read(uuid(1))),
        ];
        for (reads, last, want) in table {
            assert_eq!(turn(now, INTERVAL, last, reads.clone().into_iter()), want, "{reads:?}");
        }
    }

    #[test]
    fn what_was_refused_is_asked_for_in_another_way_or_not_at_all() {
        let wish = |group_by| ClusterMetrics {
            interval: INTERVAL,
            types: vec![MetricType::TotalGpu, MetricType::AllocatedGpu, MetricType::WorkloadsCount],
            group_by,
        };
        let (nodepool, mut ways) = (Some(MetricGroup::Nodepool), Ways::default());
        assert_eq!(ways.requests(&wish(nodepool)), [(wish(None).types, nodepool)]);
        assert_eq!(ways.requests(&wish(None)), [(wish(None).types, None)]);
        ways.refuse(MetricType::TotalGpu, true);
        ways.refuse(MetricType::WorkloadsCount, false);
        let want = [(vec![MetricType::AllocatedGpu], nodepool), (vec![MetricType::TotalGpu], None)];
        assert_eq!(ways.requests(&wish(nodepool)), want);
        ways.refuse(MetricType::TotalGpu, false);
        ways.refuse(MetricType::AllocatedGpu, false);
        assert!(ways.requests(&wish(nodepool)).is_empty());
    }
}
