//! A stateful imitation of the NVIDIA Run:ai control plane's Clusters API, with faults.
//!
//! [`Simulator::start`] gives a running server on free loopback ports: the public API that a client under test
//! talks to, and a control API (`/__sim/...`) on another port that does what the methods of [`Simulator`] do.
//!
//! ```no_run
//! use runai_simulator::{Config, FaultAction, FaultRule, Operation, ResetPhase, Simulator};
//!
//! let simulator = Simulator::start(Config::default())?;
//! // The next create is committed, but its answer is lost.
//! let lost = FaultAction::Reset { phase: ResetPhase::Post };
//! simulator.add_fault(FaultRule::on(Operation::Create, lost).times(1));
//! println!("{}", simulator.url());
//! # Ok::<(), runai_simulator::SimulatorError>(())
//! ```
//!
//! Map of the modules, from the inside out: `config`, `profile`, `version`, `clock` (settings and time);
//! `report`, `agent`, `record`, `store` (registrations); `auth`, `bootstrap` (tokens); `fault`, `journal` (what goes wrong and what
//! happened); `state`, `change`, `outside`, `agent_command` (what can happen to the whole); `route`, `query`, `inbound`, `validate`,
//! `endpoints`, `render`, `reply` (the public API); `pipeline`, `distortion` (order of one request, faults on the wire); `connection`, `tls`, `server`,
//! `control` (sockets); `simulator` (the face).

mod agent;
mod agent_command;
mod auth;
mod bootstrap;
mod change;
mod clock;
mod config;
mod connection;
mod control;
mod distortion;
mod endpoints;
mod fault;
mod inbound;
mod journal;
mod outside;
mod pipeline;
mod profile;
mod query;
mod record;
mod render;
mod reply;
mod report;
mod route;
mod server;
mod simulator;
mod state;
mod store;
mod tls;
mod validate;
mod version;

pub use agent::AgentPhase;
pub use agent_command::AgentCommand;
pub use auth::OldTokens;
pub use config::{
    Access, AgentConfig, CapabilityOverrides, ClockMode, Config, ConfigError, DeleteConfig, DisconnectedPolicy,
    GetAfter, Identity, InstallInfoConfig, LimitsConfig, ListConfig, ListOrder, MetricsConfig, NamesConfig,
    NeverConnected, NullStyle, OtherGrant, RequestConfig, Scope, ServerCertificate, Tenant, TlsConfig, TokenConfig,
    TokenFormat, UniqueNames,
};
pub use fault::{Cut, EnumField, FaultAction, FaultMatch, FaultRule, Garbage, Loss, Phase, ResetPhase, RetryAfter};
pub use journal::{Counters, JournalEntry};
pub use outside::{ClusterView, OutsideError, RecordPatch, SeedCluster};
pub use profile::Profile;
pub use record::ClusterState;
pub use report::{AgentReport, Dependencies, Dependency, Operand, Platform, ReportedCondition, ReportedConfig};
pub use route::Operation;
pub use simulator::{Listen, Simulator, SimulatorError};
pub use tls::TlsError;
