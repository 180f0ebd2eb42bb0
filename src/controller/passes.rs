//! The queue of one watched namespace, or of all: from a name in it to the pass over that object.
//!
//! Owns how many passes run at once, and that a panic ends one pass, not the operator. Must not know what a pass does.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use kube::runtime::applier;
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch as signal;
use tracing::error;

use crate::api::Watched;
use crate::domain::schedule;
use crate::telemetry::metrics::{Metrics, ReconcileResult};

use super::context::{Context, control_plane_of};
use super::notes::key_of;
use super::pass::{CONTROLLER, reconcile};
use super::start::raised;

/// So many control planes may keep all their passes waiting before objects of others wait, too.
const FULL_ROOMS: u16 = 8;
/// The reason under which a pass that panicked is counted. No condition has it: nothing could be said any more.
const PANIC: &str = "Panic";

/// Runs passes until the end is asked for and those under way have ended.
pub(super) async fn run_passes(
    ctx: Arc<Context>,
    store: Store<Watched>,
    queue: UnboundedReceiver<ObjectRef<Watched>>,
    concurrency: u16,
    stopping: signal::Receiver<bool>,
) {
    let queue = futures::stream::unfold(queue, |mut queue| async move {
        let next = queue.recv().await?;
        Some((Ok::<_, Infallible>(next), queue))
    });
    let queue = queue.take_until(Box::pin(raised(stopping)));
    let config = Config::default().concurrency(concurrency.saturating_mul(FULL_ROOMS));
    let passes = applier(pass, |_, never: &Infallible, _| match *never {}, ctx, store, queue, config);
    // What a pass has to say it says itself; an object that vanished while it was queued is no news.
    passes.for_each(|_| std::future::ready(())).await;
}

fn pass(object: Arc<Watched>, ctx: Arc<Context>) -> Pin<Box<dyn Future<Output = Result<Action, Infallible>> + Send>> {
    Box::pin(async move {
        let key = key_of(&object);
        let room = control_plane_of(&object);
        if !ctx.rooms.enter(room, &key) {
            return Ok(Action::await_change());
        }
        let (name, shared) = (key.to_string(), Arc::clone(&ctx));
        let action = contained(&name, &ctx.metrics, async move { reconcile(key, &shared).await }).await;
        if let Some(next) = ctx.rooms.leave(room) {
            ctx.enqueue(&next);
        }
        Ok(action)
    })
}

/// A task of its own for each pass: they run on all threads, and what one of them breaks is told, counted, and tried again
/// much later.
async fn contained(object: &str, metrics: &Metrics, pass: impl Future<Output = Action> + Send + 'static) -> Action {
    let started = Instant::now();
    tokio::spawn(pass).await.unwrap_or_else(|_| {
        error!(object, "a pass panicked; please report this with the log");
        metrics.reconciled(CONTROLLER, ReconcileResult::Error, started.elapsed());
        metrics.reconcile_error(PANIC);
        Action::requeue(schedule::LONGEST_DELAY)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[tokio::test]
    async fn a_pass_that_panics_is_counted_and_tried_again_later() {
        let metrics = Metrics::new(&[], Vec::new());
        let well = contained("team-a/east", &metrics, async { Action::await_change() }).await;
        let broken = contained("team-a/west", &metrics, async { panic!("on purpose") }).await;
        assert_eq!((well, broken), (Action::await_change(), Action::requeue(schedule::LONGEST_DELAY)));
        let mut text = String::new();
        metrics.encode(&mut text).unwrap();
        let count = |series: &str| text.lines().filter(|line| *line == format!("runai_operator_{series} 1")).count();
        assert_eq!(count(r#"reconcile_errors_total{reason="Panic"}"#), 1, "{text}");
        assert_eq!(count(r#"reconcile_total{controller="runaicluster",result="error"}"#), 1, "{text}");
    }
}
