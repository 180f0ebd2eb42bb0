//! What is fuzzed: one function per target, over any bytes.
//!
//! Owns the targets and the properties that they check. Plain functions, so that `tests/hostile/corpus.rs` replays the
//! corpus on stable Rust; `fuzz_targets/` hands them to libFuzzer. Must not know how bytes are made.

mod case;
mod connection;
mod decode;
mod draw;
mod ids;
mod notes;
mod object;
mod plan;

/// A target: panics when a property does not hold.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also the name of its corpus.
pub const TARGETS: [(&str, Target); 14] = [
    ("list", decode::list),
    ("cluster", decode::cluster),
    ("install", decode::install),
    ("minimal", decode::minimal),
    ("metrics", decode::metrics),
    ("token", decode::token),
    ("error", decode::error),
    ("headers", decode::headers),
    ("object", object::cluster),
    ("control_plane", object::control_plane),
    ("notes", notes::notes),
    ("connection", connection::connection),
    ("ids", ids::ids),
    ("plan", plan::plan),
];

/// Runs one target.
///
/// # Panics
/// When a property does not hold, and without a target of that name.
pub fn run(name: &str, data: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target of that name");
    target(data);
}
