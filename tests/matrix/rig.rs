//! A world whose operator sees both APIs through a gate, and is started again whenever it was made to end.
//!
//! Owns the operator behind the gate. Must not know where the gate strikes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use runai_simulator::{DisconnectedPolicy, UniqueNames};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testbed::{OperatorOptions, OperatorProcess, wait_until};

use crate::gate::{Gate, When};
use crate::kube_objects::{Objects, brief};
use crate::world::{SOON, Setup, World};

pub struct Rig {
    pub world: World,
    pub gate: Gate,
    pub objects: Objects,
    /// How long each process took to end after it was told to.
    pub ended: Vec<Duration>,
    args: Vec<String>,
    kubeconfig: PathBuf,
    /// When a process was struck that has not been replaced yet.
    struck: Arc<Mutex<Option<Instant>>>,
}

impl Rig {
    pub async fn start(args: &[&str]) -> Self {
        let setup = Setup::default().args(args).simulator(|config| {
            config.names.unique = UniqueNames::Off;
            config.delete.disconnected_policy = DisconnectedPolicy::Complete;
            config.delete.graceful_seconds = 0.5;
        });
        let mut world = World::start(setup).await;
        let gate = Gate::open(&world.bed.url(), world.simulator.url()).await;
        let direct = std::fs::read_to_string(world.login.kubeconfig()).unwrap();
        let kubeconfig = world.bed.directory().join("gate.kubeconfig");
        std::fs::write(&kubeconfig, direct.replace(&world.bed.url(), &gate.kubernetes)).unwrap();
        world.operator.sigkill();
        world.connect_secret("connection", &[("url", &gate.control_plane)]).await;
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        world.operator = launch(&world, &kubeconfig, &args);
        world.operator.wait_ready(SOON).await.unwrap();
        let objects = Objects::of(&world).await;
        Self { world, gate, objects, ended: Vec::new(), args, kubeconfig, struck: Arc::default() }
    }

    /// Sets a trap that sends `signal` to the present process.
    pub fn arm(&self, effect: &str, nth: usize, when: When, answers: bool, signal: Signal) {
        let pid = self.pid();
        let struck = Arc::clone(&self.struck);
        let strike = move || {
            *struck.lock().unwrap() = Some(Instant::now());
            kill_process(pid, signal).unwrap();
            if signal == Signal::STOP {
                until_asleep(pid);
            }
        };
        self.gate.set(effect, nth, when, answers, strike);
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.world.operator.pid()).unwrap()).unwrap()
    }

    /// When the present process was struck.
    pub fn struck(&self) -> Option<Instant> {
        *self.struck.lock().unwrap()
    }

    /// A supervisor: what has ended is started again.
    pub fn supervise(&mut self) {
        if self.world.operator.exit_status().is_some() {
            let struck = self.struck.lock().unwrap().take().expect("the operator ended by itself");
            self.ended.push(struck.elapsed());
            self.world.operator = self.launch();
        }
    }

    /// Another process behind the gate.
    pub fn launch(&self) -> OperatorProcess {
        launch(&self.world, &self.kubeconfig, &self.args)
    }

    pub async fn until(&mut self, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let what = format!("{name}: {what}");
        let seen = wait_until(SOON, &what, async || {
            self.supervise();
            let object = self.objects.get(name).await.unwrap_or_default();
            if wanted(&object) { Ok(object) } else { Err(brief(&object)) }
        });
        match seen.await {
            Ok(object) => object,
            Err(error) => panic!("{error}\n--- operator\n{}", self.world.tail()),
        }
    }

    /// Waits until a process that was struck has been replaced, and the new one is ready.
    pub async fn settle(&mut self) {
        let ended = wait_until(SOON, "the struck process to end", async || {
            self.supervise();
            if self.struck().is_none() { Ok(()) } else { Err("it still runs") }
        });
        ended.await.unwrap();
        self.world.operator.wait_ready(SOON).await.unwrap();
    }
}

/// The signal is on its way when `kill` returns: waits until every thread has stopped.
fn until_asleep(pid: Pid) {
    let stopped = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // The state follows the name, which is in brackets.
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    };
    let tasks = format!("/proc/{}/task", pid.as_raw_nonzero());
    let end = Instant::now() + SOON;
    while !std::fs::read_dir(&tasks).unwrap().all(|task| stopped(task.unwrap())) {
        assert!(Instant::now() < end, "{tasks}: still running");
        std::thread::yield_now();
    }
}

fn launch(world: &World, kubeconfig: &Path, args: &[String]) -> OperatorProcess {
    let binary = env!("CARGO_BIN_EXE_runai-cluster-operator");
    let mut options = OperatorOptions::new(binary, kubeconfig, world.bed.directory());
    for arg in args {
        options = options.arg(arg);
    }
    OperatorProcess::start(&options.env("RUST_LOG", "info,runai_cluster_operator=debug")).unwrap()
}
