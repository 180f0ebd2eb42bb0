//! A list of registrations, decoded while it arrives.
//!
//! Owns what is kept of a list body: one record per uuid, and not more records than memory is meant for. Must not know
//! how the bytes travel.

use std::collections::HashSet;

use super::split::{SplitError, Splitter};
use super::wire;
use crate::domain::{ClusterDomain, ClusterState, ClusterUuid, RemoteCluster};

/// Most memory that the records of one list may take, in bytes: some 90,000 of usual size. Without an end, a body of
/// 64 MiB could make 300 MiB of the smallest records.
pub(crate) const MOST_MEMORY: usize = 32 * 1024 * 1024;

/// Why a body is not a list that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListError {
    /// It is not an array of registrations.
    Split(SplitError<String>),
    /// Its records take more than [`MOST_MEMORY`].
    TooMany,
}

/// The decoder. Feed it every chunk, then finish.
#[derive(Debug)]
pub(crate) struct ListDecoder {
    splitter: Splitter,
    clusters: Vec<RemoteCluster>,
    memory: usize,
}

impl ListDecoder {
    pub(crate) const fn new() -> Self {
        Self { splitter: Splitter::new(), clusters: Vec::new(), memory: 0 }
    }

    pub(crate) fn feed(&mut self, chunk: &[u8]) -> Result<(), ListError> {
        let (clusters, memory) = (&mut self.clusters, &mut self.memory);
        let receive = |element: &[u8]| {
            let cluster = wire::cluster(element)?;
            *memory = memory.saturating_add(size(&cluster));
            clusters.push(cluster);
            Ok(())
        };
        self.splitter.feed(chunk, receive).map_err(ListError::Split)?;
        if self.memory > MOST_MEMORY { Err(ListError::TooMany) } else { Ok(()) }
    }

    /// The first record of each uuid, and the uuids that came again.
    pub(crate) fn finish(self) -> Result<(Vec<RemoteCluster>, Vec<ClusterUuid>), ListError> {
        self.splitter.finish().map_err(ListError::Split)?;
        let mut clusters = self.clusters;
        let duplicates = drop_duplicates(&mut clusters);
        Ok((clusters, duplicates))
    }
}

/// What a record takes in memory, about.
fn size(cluster: &RemoteCluster) -> usize {
    let RemoteCluster { name, domain, version, state, platform, kubernetes_version, .. } = cluster;
    let texts = [
        domain.as_ref().map(ClusterDomain::as_str),
        version.as_deref(),
        state.as_ref().map(ClusterState::as_str),
        platform.as_deref(),
        kubernetes_version.as_deref(),
    ];
    size_of::<RemoteCluster>() + name.len() + texts.into_iter().flatten().map(str::len).sum::<usize>()
}

fn drop_duplicates(clusters: &mut Vec<RemoteCluster>) -> Vec<ClusterUuid> {
    let mut seen = HashSet::with_capacity(clusters.len());
    let mut duplicates = Vec::new();
    clusters.retain(|cluster| {
        let first = seen.insert(cluster.uuid);
        if !first {
            duplicates.push(cluster.uuid);
        }
        first
    });
    duplicates
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn record(n: usize, name: &str) -> String {
        let uuid = format!("00000000-0000-4000-8000-{n:012}");
        format!(r#"{{"uuid":"{uuid}","tenantId":1,"name":"{name}","createdAt":"2026-01-02T03:04:05Z"}}"#)
    }

    fn decode(records: usize, name: &str) -> Result<usize, ListError> {
        let mut decoder = ListDecoder::new();
        decoder.feed(b"[")?;
        for n in 0..records {
            let comma = if n == 0 { "" } else { "," };
            decoder.feed(format!("{comma}{}", record(n, name)).as_bytes())?;
        }
        decoder.feed(b"]")?;
        decoder.finish().map(|(clusters, _)| clusters.len())
    }

    #[test]
    fn records_that_take_too_much_memory_are_refused_as_a_whole() {
        assert_eq!(decode(60_000, "cluster"), Ok(60_000));
        assert_eq!(decode(120_000, "cluster"), Err(ListError::TooMany));
        let long = "n".repeat(250);
        assert_eq!(decode(30_000, &long), Ok(30_000));
        assert_eq!(decode(70_000, &long), Err(ListError::TooMany), "texts count");
    }
}
