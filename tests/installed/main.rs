//! The chart as people install it, with two replicas, under the scenarios of other test programs, word for word.
//!
//! `helm install` on a real API server; every pod of the Deployment that comes of it is a process, with the arguments, the
//! environment, the files and a token of the ServiceAccount that the Deployment gives its pods (see `pods.rs`). One leads, the
//! other waits. Where a scenario kills the operator, the leader dies and the other one goes on. At the end of each scenario its
//! world says what else two replicas promise (see `world.rs`).
//!
//! Left out are scenarios about one process, or about processes that they start themselves:
//! - `e2e::unseen` freezes the one process there is: of two the other one would go on;
//! - `faults::killed` and `faults::apiserver` switch leader election off, and ask for the process id;
//! - `faults::probes` asks what one process answers;
//! - `faults::leaders` and `faults::network` stop, cut off and replace processes of their own: `chart::rollout` does the same to
//!   the pods of a release, as far as pods can be told apart;
//! - `faults::untrue` asks a control plane that lies, of which a second replica, that sends nothing, makes no other;
//! - `credentials::answers` and `credentials::refused` ask what one process makes of an answer, a Secret, a missing right.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod pods;
mod supervision;
mod world;

#[path = "../credentials/books.rs"]
mod books;
#[path = "../faults/crowd.rs"]
mod crowd;
#[path = "../ownership/support.rs"]
mod support;

#[path = "../ownership/adoption.rs"]
mod adoption;
#[path = "../credentials/life.rs"]
mod credentials;
#[path = "../ownership/elsewhere.rs"]
mod elsewhere;
#[path = "../ownership/forgery.rs"]
mod forgery;
#[path = "../ownership/hidden.rs"]
mod hidden;
#[path = "../e2e/life.rs"]
mod life;
#[path = "../faults/lost.rs"]
mod lost;
#[path = "../ownership/namespaces.rs"]
mod namespaces;
#[path = "../ownership/notes.rs"]
mod notes;
#[path = "../ownership/outside.rs"]
mod outside;
#[path = "../ownership/stuck.rs"]
mod stuck;
#[path = "../ownership/uninstall.rs"]
mod uninstall;
