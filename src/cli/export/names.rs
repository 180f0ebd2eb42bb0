//! Object names for registrations, which may be called anything.
//!
//! Owns that each is valid, unique, and the same at every export as long as its registration has the same name and
//! namesakes. Pure.

use std::collections::{HashMap, HashSet};

use crate::domain::RemoteCluster;

/// Longest name that is given, with room for a uuid behind it and a file extension behind that.
const LONGEST: usize = 200;

/// One name for each record, in their order. `taken` are names that others have.
pub(super) fn object_names(records: &[&RemoteCluster], taken: &HashSet<String>) -> Vec<String> {
    let wishes: Vec<String> = records.iter().map(|record| wish(&record.name)).collect();
    let mut asked: HashMap<&str, usize> = HashMap::new();
    let mut exact: HashMap<&str, usize> = HashMap::new();
    for (wish, record) in wishes.iter().zip(records) {
        *asked.entry(wish).or_default() += 1;
        *exact.entry(&record.name).or_default() += usize::from(*wish == record.name);
    }
    // Who is called so, or is alone with the wish, has it; everybody else gets part of the uuid.
    let keeps = |wish: &str, record: &RemoteCluster| {
        let alone = asked.get(wish).is_some_and(|count| *count == 1);
        let called_so = wish == record.name && exact.get(wish).is_some_and(|count| *count == 1);
        (alone || called_so) && !taken.contains(wish)
    };
    let kept: Vec<bool> = wishes.iter().zip(records).map(|(wish, record)| keeps(wish, record)).collect();
    let mut given: HashSet<String> = taken.clone();
    given.extend(wishes.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(wish, _)| wish.clone()));
    let mut names = Vec::with_capacity(records.len());
    for ((wish, record), kept) in wishes.iter().zip(records).zip(kept) {
        names.push(if kept { wish.clone() } else { apart(wish, record, &mut given) });
    }
    names
}

/// The name with as much of the uuid as tells it from all others.
fn apart(wish: &str, record: &RemoteCluster, given: &mut HashSet<String>) -> String {
    let uuid = record.uuid.to_string();
    let (short, _) = uuid.split_once('-').unwrap_or((&uuid, ""));
    let numbered = (2..).map(|number: u64| format!("{wish}-{uuid}-{number}"));
    let mut candidates = [format!("{wish}-{short}"), format!("{wish}-{uuid}")].into_iter().chain(numbered);
    let free = candidates.find(|candidate| given.insert(candidate.clone()));
    free.unwrap_or(uuid)
}

/// The name itself where it can be an object's, else what is left of it.
fn wish(name: &str) -> String {
    if is_object_name(name) {
        return name.to_owned();
    }
    let mut wish = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            wish.push(c);
        } else if !wish.is_empty() && !wish.ends_with('-') {
            wish.push('-');
        }
        if wish.len() == LONGEST {
            break;
        }
    }
    let wish = wish.trim_end_matches('-');
    if wish.is_empty() { "cluster".to_owned() } else { wish.to_owned() }
}

fn is_object_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        let inner = bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
        inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= LONGEST && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::{ClusterUuid, scene_tests};

    fn record(number: u128, name: &str) -> RemoteCluster {
        scene_tests::record(ClusterUuid(uuid::Uuid::from_u128(number << 96)), name)
    }

    fn names(of: &[&str], taken: &[&str]) -> Vec<String> {
        let records: Vec<_> = (1..).zip(of).map(|(number, name)| record(number, name)).collect();
        let taken = taken.iter().map(|name| (*name).to_owned()).collect();
        let names = object_names(&records.iter().collect::<Vec<_>>(), &taken);
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{names:?}");
        assert!(names.iter().all(|name| name.len() <= 253 && !taken.contains(name)), "{names:?}");
        names
    }

    #[test]
    fn a_name_that_can_stay_stays() {
        assert_eq!(names(&["gpu-east", "gpu.east", "7"], &[]), ["gpu-east", "gpu.east", "7"]);
    }

    #[test]
    fn any_other_becomes_one_that_can() {
        let table = [
            ("GPU East", "gpu-east"),
            ("  --Größe 7--", "gr-e-7"),
            ("a..b", "a-b"),
            ("-", "cluster"),
            ("\u{4e2d}\u{6587}", "cluster"),
            ("under_score", "under-score"),
        ];
        for (name, want) in table {
            assert_eq!(names(&[name], &[]), [want], "{name}");
        }
        assert_eq!(names(&[&"x".repeat(253)], &[]), ["x".repeat(200)]);
        assert_eq!(names(&[&format!("{} b", "x".repeat(199))], &[]), ["x".repeat(199)]);
    }

    #[test]
    fn namesakes_are_told_apart_by_uuid() {
        assert_eq!(names(&["East", "east", "EAST"], &[]), ["east-00000001", "east", "east-00000003"]);
        assert_eq!(names(&["east", "east"], &[]), ["east-00000001", "east-00000002"]);
        assert_eq!(names(&["east"], &["east"]), ["east-00000001"]);
        let all = names(&["East", "EAST", "east-00000001"], &["east-00000002"]);
        assert_eq!(all[2], "east-00000001");
        assert!(all[0].starts_with("east-00000001-0000") && all[1].starts_with("east-00000002-0000"), "{all:?}");
    }

    #[test]
    fn a_name_depends_on_nothing_but_its_namesakes() {
        let before = names(&["a b", "East", "east"], &[]);
        let after = names(&["a b", "East", "east", "c d"], &[]);
        assert_eq!(after[..3], before[..]);
    }
}
