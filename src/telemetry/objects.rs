//! Series that live and die with an object: what `/metrics` says about each cluster and each control plane.
//!
//! Owns one small record per object and renders it when Prometheus asks. A counter family would keep the series of
//! a deleted object for ever; here a series is there exactly as long as its record. Built for 10,000 objects: equal
//! strings are stored once, and rendering works on a snapshot of pointers, so that a slow reader never holds a lock.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Unit,
};

/// What the metrics say about one `RunaiCluster`. All values are as in its status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObjectFacts {
    /// The registration's uuid, once known.
    pub uuid: Option<String>,
    /// The agent version the control plane reports.
    pub version: Option<String>,
    /// The state the control plane reports, spelled as it came.
    pub state: Option<String>,
    /// Type and status (`True`, `False` or `Unknown`) of each condition.
    pub conditions: Vec<(String, String)>,
    /// When the cluster was last seen alive, in Unix seconds.
    pub last_liveness: Option<f64>,
    /// Whether its deletion is overdue; summed up in `deletions_stalled`.
    pub deletion_stalled: bool,
}

/// What the metrics say about one control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlPlaneFacts {
    /// When the registrations were last read, or last seen to be unchanged; `None` before the first list.
    pub inventory_at: Option<Instant>,
    /// How many registrations the inventory holds; `None` before the first list.
    pub registrations: Option<Registrations>,
}

/// One number that the control plane measured on a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterMetric {
    /// What was measured, in the control plane's spelling.
    pub kind: String,
    /// Further labels. Their names are such as Prometheus takes, and none of `namespace`, `name` and `type`.
    pub labels: Vec<(String, String)>,
    /// The number, of whatever unit.
    pub value: f64,
}

/// Counts of registrations on one control plane. `deleting` overlaps with the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registrations {
    /// All.
    pub total: u64,
    /// Those that belong to an object.
    pub managed: u64,
    /// Those that belong to none.
    pub unmanaged: u64,
    /// Those with a delete request.
    pub deleting: u64,
}

/// The records, shared between the operator that writes and the registry that renders.
pub(super) struct Objects {
    known_states: &'static [&'static str],
    tables: Mutex<Tables>,
    leader: OnceLock<Box<dyn Fn() -> bool + Send + Sync>>,
}

#[derive(Default)]
struct Tables {
    clusters: BTreeMap<Arc<Key>, Arc<Stored>>,
    control_planes: BTreeMap<String, ControlPlaneFacts>,
    /// Of clusters that have an entry above, and no others.
    measured: BTreeMap<Arc<Key>, Arc<[ClusterMetric]>>,
    words: Words,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    namespace: Box<str>,
    name: Box<str>,
}

/// [`ObjectFacts`] in the form in which ten thousand of them are kept.
#[derive(PartialEq)]
struct Stored {
    uuid: Box<str>,
    version: Arc<str>,
    state: Option<Arc<str>>,
    conditions: Box<[(Arc<str>, Arc<str>)]>,
    last_liveness: Option<f64>,
    deletion_stalled: bool,
}

/// Strings that many objects share: versions, states, condition types and statuses.
#[derive(Default)]
struct Words(HashSet<Arc<str>>);

impl Words {
    /// Above this many, words that no object uses any more are thrown away.
    const PRUNE_ABOVE: usize = 1024;

    fn intern(&mut self, word: &str) -> Arc<str> {
        if let Some(known) = self.0.get(word) {
            return Arc::clone(known);
        }
        if self.0.len() >= Self::PRUNE_ABOVE {
            self.0.retain(|word| Arc::strong_count(word) > 1);
        }
        let word: Arc<str> = Arc::from(word);
        self.0.insert(Arc::clone(&word));
        word
    }
}

impl Objects {
    pub(super) fn new(known_states: &'static [&'static str]) -> Self {
        Self { known_states, tables: Mutex::default(), leader: OnceLock::new() }
    }

    pub(super) fn set_leader_probe(&self, probe: Box<dyn Fn() -> bool + Send + Sync>) {
        // A second probe is ignored: there is one election per process.
        let _ = self.leader.set(probe);
    }

    pub(super) fn object(&self, namespace: &str, name: &str, facts: Option<&ObjectFacts>) {
        let key = Key { namespace: namespace.into(), name: name.into() };
        let mut tables = self.tables();
        let Some(facts) = facts else {
            tables.clusters.remove(&key);
            tables.measured.remove(&key);
            return;
        };
        let stored = Arc::new(tables.words.store(facts));
        if let Some(known) = tables.clusters.get_mut(&key) {
            *known = stored;
        } else {
            tables.clusters.insert(Arc::new(key), stored);
        }
    }

    /// Numbers of an object that is gone by now are dropped.
    pub(super) fn measured(&self, namespace: &str, name: &str, numbers: Vec<ClusterMetric>) {
        let key = Key { namespace: namespace.into(), name: name.into() };
        let mut tables = self.tables();
        let known = tables.clusters.get_key_value(&key).map(|(key, _)| Arc::clone(key));
        match known {
            Some(key) if !numbers.is_empty() => {
                tables.measured.insert(key, numbers.into());
            }
            Some(_) | None => {
                tables.measured.remove(&key);
            }
        }
    }

    pub(super) fn control_plane(&self, name: &str, facts: Option<ControlPlaneFacts>) {
        let mut tables = self.tables();
        match facts {
            Some(facts) => tables.control_planes.insert(name.to_owned(), facts),
            None => tables.control_planes.remove(name),
        };
    }

    /// A writer that panicked left whole entries behind, so that its poison means nothing here.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leads(&self) -> bool {
        self.leader.get().is_some_and(|probe| probe())
    }
}

impl Words {
    fn store(&mut self, facts: &ObjectFacts) -> Stored {
        let ObjectFacts { uuid, version, state, conditions, last_liveness, deletion_stalled } = facts;
        Stored {
            uuid: uuid.as_deref().unwrap_or_default().into(),
            version: self.intern(version.as_deref().unwrap_or_default()),
            state: state.as_deref().map(|state| self.intern(state)),
            conditions: conditions.iter().map(|(kind, status)| (self.intern(kind), self.intern(status))).collect(),
            last_liveness: *last_liveness,
            deletion_stalled: *deletion_stalled,
        }
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables = self.tables();
        f.debug_struct("Objects")
            .field("clusters", &tables.clusters.len())
            .field("control_planes", &tables.control_planes.len())
            .finish_non_exhaustive()
    }
}

/// Hooks [`Objects`] into a registry.
#[derive(Debug)]
pub(super) struct ObjectCollector(pub(super) Arc<Objects>);

impl Collector for ObjectCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (clusters, control_planes, measured) = {
            let tables = self.0.tables();
            let clusters: Snapshot =
                tables.clusters.iter().map(|(key, facts)| (Arc::clone(key), Arc::clone(facts))).collect();
            let measured: Vec<_> =
                tables.measured.iter().map(|(key, numbers)| (Arc::clone(key), Arc::clone(numbers))).collect();
            (clusters, tables.control_planes.clone(), measured)
        };
        encode_process(&mut encoder, self.0.leads(), &clusters)?;
        encode_control_planes(&mut encoder, &control_planes)?;
        encode_info(&mut encoder, &clusters)?;
        encode_states(&mut encoder, &clusters, self.0.known_states)?;
        encode_conditions(&mut encoder, &clusters)?;
        encode_liveness(&mut encoder, &clusters)?;
        encode_measured(&mut encoder, &measured)
    }
}

type Snapshot = Vec<(Arc<Key>, Arc<Stored>)>;

/// Writes the header of one gauge family and gives the function that writes one of its series.
fn gauge_family(
    encoder: &mut DescriptorEncoder<'_>,
    (name, unit, help): (&str, Option<&Unit>, &str),
    series: impl FnOnce(&mut dyn FnMut(&Labels<'_>, f64) -> fmt::Result) -> fmt::Result,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    series(&mut |labels, value| ConstGauge::new(value).encode(family.encode_family(labels)?))
}

/// The labels of one series, in order.
struct Labels<'a>(&'a [(&'a str, &'a str)]);

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut prometheus_client::encoding::LabelSetEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }
}

fn flag(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

/// Writes a gauge that has one series and no labels.
fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

fn encode_process(encoder: &mut DescriptorEncoder<'_>, leads: bool, clusters: &Snapshot) -> fmt::Result {
    gauge(encoder, "leader", "Whether this process leads, and thus may write.", flag(leads))?;
    let stalled = clusters.iter().filter(|(_, facts)| facts.deletion_stalled).count();
    gauge(encoder, "deletions_stalled", "Objects whose deletion is overdue.", stalled as f64)
}

fn encode_control_planes(
    encoder: &mut DescriptorEncoder<'_>,
    control_planes: &BTreeMap<String, ControlPlaneFacts>,
) -> fmt::Result {
    let help = "Time since the registrations were last read, or last seen to be unchanged.";
    gauge_family(encoder, ("inventory_age", Some(&Unit::Seconds), help), |put| {
        for (name, facts) in control_planes {
            if let Some(at) = facts.inventory_at {
                put(&Labels(&[("control_plane", name)]), at.elapsed().as_secs_f64())?;
            }
        }
        Ok(())
    })?;
    let help = "Registrations on the control plane; kind deleting overlaps with managed and unmanaged, total is all.";
    gauge_family(encoder, ("inventory_registrations", None, help), |put| {
        for (name, facts) in control_planes {
            let Some(Registrations { total, managed, unmanaged, deleting }) = facts.registrations else {
                continue;
            };
            let kinds = [("total", total), ("managed", managed), ("unmanaged", unmanaged), ("deleting", deleting)];
            for (kind, count) in kinds {
                put(&Labels(&[("control_plane", name), ("kind", kind)]), count as f64)?;
            }
        }
        Ok(())
    })
}

fn encode_info(encoder: &mut DescriptorEncoder<'_>, clusters: &Snapshot) -> fmt::Result {
    let help = "The registration behind an object.";
    // The suffix `_info` is added by the encoder.
    let mut family = encoder.encode_descriptor("cluster", help, None, MetricType::Info)?;
    for (key, facts) in clusters {
        family.encode_info(&Labels(&[
            ("namespace", &key.namespace),
            ("name", &key.name),
            ("uuid", &facts.uuid),
            ("version", &facts.version),
        ]))?;
    }
    Ok(())
}

fn encode_states(
    encoder: &mut DescriptorEncoder<'_>,
    clusters: &Snapshot,
    known_states: &'static [&'static str],
) -> fmt::Result {
    let help = "The state the control plane reports: 1 for the current one, 0 for the others.";
    gauge_family(encoder, ("cluster_state", None, help), |put| {
        for (key, facts) in clusters {
            let Some(state) = facts.state.as_deref() else {
                continue;
            };
            let mut one = |label: &str, value| {
                put(&Labels(&[("namespace", &key.namespace), ("name", &key.name), ("state", label)]), flag(value))
            };
            for known in known_states {
                one(known, *known == state)?;
            }
            if !known_states.contains(&state) {
                one(state, true)?;
            }
        }
        Ok(())
    })
}

fn encode_conditions(encoder: &mut DescriptorEncoder<'_>, clusters: &Snapshot) -> fmt::Result {
    let help = "The conditions of an object: 1 for the current status, 0 for the others.";
    gauge_family(encoder, ("cluster_condition", None, help), |put| {
        for (key, facts) in clusters {
            for (kind, current) in &facts.conditions {
                for status in ["True", "False", "Unknown"] {
                    let labels =
                        [("namespace", &*key.namespace), ("name", &*key.name), ("type", kind), ("status", status)];
                    put(&Labels(&labels), flag(status == &**current))?;
                }
            }
        }
        Ok(())
    })
}

fn encode_liveness(encoder: &mut DescriptorEncoder<'_>, clusters: &Snapshot) -> fmt::Result {
    let help = "When the cluster was last seen alive by the control plane, in Unix time.";
    gauge_family(encoder, ("cluster_last_liveness_timestamp", Some(&Unit::Seconds), help), |put| {
        for (key, facts) in clusters {
            if let Some(seconds) = facts.last_liveness {
                put(&Labels(&[("namespace", &key.namespace), ("name", &key.name)]), seconds)?;
            }
        }
        Ok(())
    })
}

fn encode_measured(encoder: &mut DescriptorEncoder<'_>, measured: &[(Arc<Key>, Arc<[ClusterMetric]>)]) -> fmt::Result {
    let help = "What the control plane measured on the cluster, as it came: it publishes no units.";
    let mut family = encoder.encode_descriptor("cluster_metric", help, None, MetricType::Gauge)?;
    for (key, numbers) in measured {
        for ClusterMetric { kind, labels, value } in numbers.iter() {
            let ours = [("namespace", &*key.namespace), ("name", &*key.name), ("type", kind)];
            let further = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let all: Vec<_> = ours.into_iter().chain(further).collect();
            ConstGauge::new(*value).encode(family.encode_family(&Labels(&all))?)?;
        }
    }
    Ok(())
}
