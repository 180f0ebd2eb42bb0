//! The second model: I10, the Secrets with install credentials. The core's `domain::install` runs unchanged in it.
//!
//! `state` is one moment; `press` mirrors `src/controller/published.rs` (`main`, `bootstrap`, `main_shelf`,
//! `bootstrap_shelf`, `has_client_secret`, `token_life`, `compare`); `pass` mirrors `publish.rs` (`publish`,
//! `publish_owned`, `publish_step`, `put`, `timing`, `install_case`, `read_install_info`, `unpublish`, `tidy`, `clear`) and
//! `secrets.rs` (`find`, `recall`, `read`, `put`, `remove`, `of_owner`, `failed`); `world` is everything else, `rules` the
//! invariant, `scenes` the bounded worlds with the mistakes, `story` the words.
//!
//! Left out: which event leads to a pass (one may begin at any time), reconcile requests (unit tests), the deletion of the
//! object, and what a Secret holds beside credentials. The life of a registration is the first model's.

pub mod pass;
mod press;
mod rules;
pub mod scenes;
pub mod state;
mod story;
pub mod world;
