//! The simulator is what the operator is proven with, so it is measured with somebody else's ruler: the vendor's own
//! Python client. This is the short form of `tests/conformance/run`; `make conformance` runs all of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write as _;
use std::process::Command;

use runai_simulator::{Config, Simulator};

/// What the script ends with when this machine has no Python with venv.
const SKIPPED: i32 = 77;

#[test]
fn the_vendors_client_is_content() {
    let simulator = Simulator::start(Config::default()).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/run");
    let output = Command::new(script).args(["--short", simulator.url(), simulator.control_url()]).output().unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match output.status.code() {
        Some(0) => assert!(text.contains("runapy: 9 points, 9 passed, 0 failed"), "{text}\n{errors}"),
        Some(SKIPPED) => {
            assert!(text.contains("SKIPPED: python3 with venv is not available"), "{text}\n{errors}");
            // Not `eprintln!`, which is shown for failed tests only.
            writeln!(std::io::stderr(), "tests/conformance: {}", text.trim()).unwrap();
        }
        other => panic!("{script} --short ended with {other:?}\n{text}\n{errors}"),
    }
}
