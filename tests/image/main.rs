//! The image: what is in it, and that the operator runs in it as a pod does: another root, read-only, an arbitrary user,
//! the service account's files, and no variable that points at certificates.
//!
//! The root file system is the one that `image/root` lays out; with buildah, the last stage of the Dockerfile is built
//! over it, without a base image and without a network. Where the system forbids another root, these tests say so and
//! skip; with `IMAGE_TESTS=required` they fail.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod build;
mod dockerfile;
mod engine;
mod jail;
mod pod;
mod root;
