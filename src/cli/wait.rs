//! `wait`: follows one object until it is as wanted.
//!
//! Owns what counts as reached, how progress is shown, and the exit codes. The watch is the controller's own.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::api::ListParams;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::unbounded_channel;

use crate::api::{Watched, duration};
use crate::controller::calls::call;
use crate::controller::watch::{Change, Watch};

use super::CliError;
use super::kube::{Kube, KubeArgs, KubeError};
use super::output::note;
use super::run::period;

/// Exit code: time is up, as timeout(1) has it.
const TIMED_OUT: u8 = 124;
/// Exit codes of a shell for the two signals that end a command.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

/// Flags of `wait`.
#[derive(Debug, Args)]
pub(super) struct WaitArgs {
    /// Name of the RunaiCluster.
    name: String,

    /// What to wait for. An object that does not exist yet is waited for, too.
    #[arg(long = "for", value_enum, value_name = "WHAT")]
    goal: Goal,

    /// The namespace of the object. Default: that of the kubeconfig's context.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// Longest time to wait; 0s means for ever.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = period)]
    timeout: Duration,

    #[command(flatten)]
    kube: KubeArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Goal {
    /// The condition Ready is True for the present spec.
    Ready,
    /// The condition Connected is True for the present spec.
    Connected,
    /// The object does not exist (any more).
    Gone,
}

impl Goal {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Connected => "connected",
            Self::Gone => "gone",
        }
    }
}

/// What is known of the object.
enum Known {
    /// Nothing yet.
    Unseen,
    /// It does not exist, and has not since the wait began.
    Missing,
    /// It is there.
    There(Arc<Watched>),
    /// It was there.
    Vanished,
}

pub(super) async fn execute(args: WaitArgs) -> Result<ExitCode, CliError> {
    let kube = Kube::find(&args.kube, "").await?;
    let namespace = args.namespace.clone().unwrap_or(kube.namespace);
    let what = format!("{namespace}/{}", args.name);
    let api: Api<Watched> = Api::namespaced(kube.client, &namespace);
    let field = format!("metadata.name={}", args.name);
    // The watch tries for ever; what a person has to put right is said at once.
    let look = call(api.list(&ListParams::default().fields(&field).limit(1))).await;
    look.map_err(|error| KubeError::list(format!("RunaiCluster {what}"), &error))?;
    let (sender, mut changes) = unbounded_channel();
    let config = watcher::Config::default().fields(&field);
    let watch = Watch::new("RunaiCluster", api, config, Writer::default(), move |change| {
        let _ = sender.send(change);
    });
    let watch = tokio::spawn(watch.run());
    let mut progress = Progress::new(what, args.goal);
    let ended = tokio::select! {
        ended = follow(&mut progress, &mut changes) => ended,
        () = elapsed(args.timeout) => Ended::TimedOut,
        ended = stopped() => ended,
    };
    watch.abort();
    Ok(progress.end(ended))
}

/// How a wait ended.
#[derive(Clone, Copy)]
enum Ended {
    Reached,
    Vanished,
    TimedOut,
    Interrupted,
    Terminated,
}

async fn follow(progress: &mut Progress, changes: &mut tokio::sync::mpsc::UnboundedReceiver<Change<Watched>>) -> Ended {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            change = changes.recv() => match change {
                Some(Change::Applied(object)) => progress.known = Known::There(object),
                Some(Change::Deleted(_) | Change::Vanished(_)) => progress.known = Known::Vanished,
                Some(Change::Resynced) if matches!(progress.known, Known::Unseen) => progress.known = Known::Missing,
                Some(Change::Resynced) => {}
                // The watch only ends with the wait.
                None => return Ended::Vanished,
            },
            _ = tick.tick(), if progress.terminal => {}
        }
        progress.show();
        match (&progress.known, progress.goal) {
            (Known::Missing | Known::Vanished, Goal::Gone) => return Ended::Reached,
            (Known::Vanished, Goal::Ready | Goal::Connected) => return Ended::Vanished,
            (Known::There(object), Goal::Ready) if is_true(object, "Ready") => return Ended::Reached,
            (Known::There(object), Goal::Connected) if is_true(object, "Connected") => return Ended::Reached,
            (Known::Unseen | Known::Missing | Known::There(_), _) => {}
        }
    }
}

async fn elapsed(limit: Duration) {
    if limit.is_zero() {
        return std::future::pending().await;
    }
    tokio::time::sleep(limit).await;
}

async fn stopped() -> Ended {
    let (Ok(mut interrupt), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        // Then the signals do what they do by default.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => Ended::Interrupted,
        _ = term.recv() => Ended::Terminated,
    }
}

fn condition<'a>(object: &'a Watched, kind: &str) -> Option<&'a Condition> {
    object.status()?.conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether a condition is True and speaks of the present spec.
fn is_true(object: &Watched, kind: &str) -> bool {
    let current = |condition: &&Condition| condition.observed_generation >= object.metadata.generation;
    condition(object, kind).filter(current).is_some_and(|condition| condition.status == "True")
}

/// Shows how it goes: one line that changes on a terminal, elsewhere a line for each change.
struct Progress {
    what: String,
    goal: Goal,
    known: Known,
    began: Instant,
    terminal: bool,
    said: String,
}

impl Progress {
    fn new(what: String, goal: Goal) -> Self {
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let terminal = io::stderr().is_terminal() && !dumb;
        Self { what, goal, known: Known::Unseen, began: Instant::now(), terminal, said: String::new() }
    }

    fn elapsed(&self) -> String {
        duration::format(Duration::from_secs(self.began.elapsed().as_secs()))
    }

    fn state(&self) -> String {
        match &self.known {
            Known::Unseen => "looking".to_owned(),
            Known::Missing => "does not exist".to_owned(),
            Known::Vanished => "is gone".to_owned(),
            Known::There(object) => standing(object),
        }
    }

    fn show(&mut self) {
        let state = self.state();
        if self.terminal {
            let line = format!("{} {}: {state}", self.elapsed(), self.what);
            let shown: String = line.chars().take(width() - 1).collect();
            Self::rewrite(&shown);
        } else if self.said != state {
            note(&format!("{} {}: {state}", self.elapsed(), self.what));
        }
        self.said = state;
    }

    /// Replaces the line that the cursor is in. What cannot be shown is only progress.
    fn rewrite(line: &str) {
        let mut err = io::stderr().lock();
        let _ = write!(err, "\r\x1b[K{line}").and_then(|()| err.flush());
    }

    fn end(&self, ended: Ended) -> ExitCode {
        if self.terminal {
            Self::rewrite("");
        }
        let (what, goal, elapsed, state) = (&self.what, self.goal.as_str(), self.elapsed(), self.state());
        let (said, code) = match ended {
            Ended::Reached => (format!("{what} is {goal} after {elapsed}"), ExitCode::SUCCESS),
            Ended::Vanished => {
                (format!("error: {what} was deleted before it was {goal}, after {elapsed}"), ExitCode::FAILURE)
            }
            Ended::TimedOut => (
                format!("error: {what} is not {goal} after {elapsed} (--timeout); at last: {state}"),
                ExitCode::from(TIMED_OUT),
            ),
            Ended::Interrupted => {
                (format!("interrupted after {elapsed}; at last: {what}: {state}"), ExitCode::from(INTERRUPTED))
            }
            Ended::Terminated => {
                (format!("terminated after {elapsed}; at last: {what}: {state}"), ExitCode::from(TERMINATED))
            }
        };
        note(&said);
        code
    }
}

/// Columns of the terminal; some say nothing, or nothing sensible.
fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 1).unwrap_or(80)
}

/// How an object stands, in one line.
fn standing(object: &Watched) -> String {
    let mut parts = Vec::new();
    if object.is_deleted() {
        parts.push("being deleted".to_owned());
    }
    // While it is deleted or stuck, that says more than Ready, which is False then.
    let telling = ["Stalled", "Reconciling", "Ready"].iter().find_map(|kind| condition(object, kind));
    match telling {
        Some(condition) if condition.message.is_empty() => {
            parts.push(format!("{}={} {}", condition.type_, condition.status, condition.reason));
        }
        Some(condition) => {
            parts.push(format!("{}={} {}: {}", condition.type_, condition.status, condition.reason, condition.message));
        }
        None => parts.push("not seen by the operator yet".to_owned()),
    }
    if let Some(state) = object.status().and_then(|status| status.state.as_deref()) {
        parts.push(format!("state {state}"));
    }
    parts.join("; ")
}
