//! The series `cluster_metric` as Prometheus would read them. Must not know what they should be.

use std::collections::BTreeMap;

use testbed::wait_until;

use crate::world::{SOON, World};

const FAMILY: &str = "runai_operator_cluster_metric{";

/// All series of one scrape: labels and value.
#[derive(Debug, Default)]
pub struct Series(Vec<(BTreeMap<String, String>, f64)>);

impl Series {
    fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let (labels, value) = line.strip_prefix(FAMILY)?.rsplit_once("} ")?;
            let label = |pair: &str| {
                let (name, value) = pair.split_once('=').unwrap();
                (name.to_owned(), value.trim_matches('"').to_owned())
            };
            Some((labels.split(',').map(label).collect(), value.parse().unwrap()))
        };
        Self(text.lines().filter_map(line).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Labels and values of one object's series.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a (BTreeMap<String, String>, f64)> {
        self.0.iter().filter(move |(labels, _)| labels["name"] == name && labels["namespace"] == crate::world::TEAM)
    }

    /// The types of one object's series, sorted.
    pub fn types(&self, name: &str) -> Vec<String> {
        let mut types: Vec<_> = self.of(name).map(|(labels, _)| labels["type"].clone()).collect();
        types.sort();
        types.dedup();
        types
    }

    /// The value of the one series with exactly these further labels.
    pub fn value(&self, name: &str, kind: &str, further: &[(&str, &str)]) -> Option<f64> {
        let fits = |labels: &BTreeMap<String, String>| {
            labels["type"] == kind
                && labels.len() == 3 + further.len()
                && further.iter().all(|(label, value)| labels.get(*label).is_some_and(|found| found == value))
        };
        let mut found = self.of(name).filter(|(labels, _)| fits(labels)).map(|(_, value)| *value);
        let value = found.next();
        assert_eq!(found.next(), None, "{kind} of {name} is there twice: {self:?}");
        value
    }
}

/// Scrapes until the series are as wanted; returns them.
pub async fn until_series(world: &World, what: &str, wanted: impl Fn(&Series) -> bool) -> Series {
    let found = wait_until(SOON, what, async || {
        let text = world.operator.metrics().await.map_err(|error| error.to_string())?;
        let series = Series::parse(&text);
        if wanted(&series) { Ok(series) } else { Err(format!("{series:?}")) }
    });
    found.await.unwrap_or_else(|error| panic!("{error}\n--- operator\n{}", world.tail()))
}
