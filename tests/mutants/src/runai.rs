//! The pure part of the REST face: what answers and errors mean, when to come back, what may be shown.
//!
//! Owns nothing, as the crate. Leaves out whatever needs a connection; thus most of it has no user here.
#![allow(dead_code, unreachable_pub)]

#[path = "../../../src/runai/error.rs"]
pub mod error;
#[path = "../../../src/runai/headers.rs"]
pub mod headers;
#[path = "../../../src/runai/limiter.rs"]
pub mod limiter;
#[path = "../../../src/runai/observer.rs"]
pub mod observer;
#[path = "../../../src/runai/redact.rs"]
pub mod redact;
#[path = "../../../src/runai/split.rs"]
pub mod split;
#[path = "../../../src/runai/sync.rs"]
pub mod sync;
#[path = "../../../src/runai/wire.rs"]
pub mod wire;
