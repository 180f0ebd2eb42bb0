//! Command line of the simulator: starts it, prints its URLs, waits for a signal.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use runai_simulator::{Config, ConfigError, Listen, Profile, Simulator, SimulatorError};

/// A stateful NVIDIA Run:ai control plane with faults, for tests and demonstrations.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Address of the public API; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Address of the control API, which has no authentication.
    #[arg(long, default_value = "127.0.0.1:0")]
    control: SocketAddr,
    /// JSON file with settings.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Control plane version: cp-2.18, cp-2.20, cp-2.22, cp-2.24, cp-2.25, cp-3.0 or strict-doc.
    #[arg(long)]
    profile: Option<Profile>,
    /// A single setting, such as names.unique=off or agent.autoStartSeconds=5; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Snapshot to start from, as given by POST /__sim/snapshot.
    #[arg(long, value_name = "FILE")]
    restore: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("{path}: {source}")]
    Json { path: PathBuf, source: serde_json::Error },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Simulator(#[from] SimulatorError),
    #[error("signals: {0}")]
    Signal(std::io::Error),
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("runai-simulator: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    // Signals first: one that comes while starting must not be lost.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Signal)?;
    let mut signals = {
        let _inside = runtime.enter();
        Signals::new().map_err(Failure::Signal)?
    };
    let listen = Listen { public: arguments.listen, control: arguments.control };
    let simulator = Simulator::start_on(configuration(arguments)?, listen)?;
    if let Some(path) = &arguments.restore {
        simulator.restore(json(path)?).map_err(SimulatorError::from)?;
    }
    println!("public {}", simulator.url());
    println!("control {}", simulator.control_url());
    runtime.block_on(signals.any());
    simulator.shutdown();
    Ok(())
}

fn configuration(arguments: &Arguments) -> Result<Config, Failure> {
    let mut config = Config::default();
    if let Some(path) = &arguments.config {
        config = config.patched(&json(path)?)?;
    }
    if let Some(profile) = arguments.profile {
        config.profile = profile;
    }
    for setting in &arguments.settings {
        config = config.with_setting(setting)?;
    }
    Ok(config)
}

fn json(path: &PathBuf) -> Result<serde_json::Value, Failure> {
    let text = std::fs::read(path).map_err(|source| Failure::File { path: path.clone(), source })?;
    serde_json::from_slice(&text).map_err(|source| Failure::Json { path: path.clone(), source })
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
