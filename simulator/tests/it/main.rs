//! The simulator from outside: over HTTP, through its library face, and as a process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod control;
mod crud;
mod delete;
mod faults;
mod info;
mod openapi;
mod process;
mod spec;
mod speed;
mod states;
mod token;
mod wire;
