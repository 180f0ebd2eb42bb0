//! Commands to the agent of a cluster.
//!
//! Owns what a person or a test can make an agent do. Must not know HTTP or how beats are worked out.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::{after, seconds};
use crate::config::Config;
use crate::outside::OutsideError;
use crate::record::Record;
use crate::report::{AgentReport, CachedReport};
use crate::state::State;

/// What an agent shall do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum AgentCommand {
    /// Runs, from now or after `after_seconds`; an agent that is there keeps what it reports.
    Start {
        /// Time until it runs.
        #[serde(default)]
        after_seconds: f64,
        /// Its secret; a wrong one means that no beat is heard. Absent means the right one.
        #[serde(default)]
        client_secret: Option<String>,
    },
    /// Is installed with a bootstrap token of this cluster, and runs from now on; nobody hears it if the token is not
    /// good (any more).
    Bootstrap {
        /// As given by the install information.
        token: String,
    },
    /// Falls silent.
    Pause,
    /// Is uninstalled; what it reported last stays.
    Stop,
    /// Reports this from now on; absent fields stay.
    Report {
        /// Agent version.
        #[serde(default)]
        version: Option<String>,
        /// Cluster URL; an empty text means it leaves the registered one alone.
        #[serde(default)]
        domain: Option<String>,
        /// Everything else.
        #[serde(default)]
        report: Option<Box<AgentReport>>,
        /// The report cannot be read: the state is Unknown.
        #[serde(default)]
        unreadable: Option<bool>,
    },
    /// One service works or does not.
    Operand {
        /// Its name.
        name: String,
        /// Works; if not, for longer than the threshold.
        ready: bool,
    },
    /// One required dependency is there or not.
    Dependency {
        /// Its name.
        name: String,
        /// Is there.
        available: bool,
    },
}

impl AgentCommand {
    /// Starts at once with the right secret.
    #[must_use]
    pub const fn start() -> Self {
        Self::Start { after_seconds: 0.0, client_secret: None }
    }
}

impl State {
    pub(crate) fn command(&mut self, uuid: Uuid, command: AgentCommand) -> Result<(), OutsideError> {
        let now = self.living(uuid)?;
        let config = Arc::clone(&self.config);
        let record = self.store.get(uuid).ok_or(OutsideError::Unknown(uuid))?;
        let starts = matches!(command, AgentCommand::Start { .. } | AgentCommand::Bootstrap { .. });
        if record.agent.is_none() && !starts {
            return Err(OutsideError::NoAgent(uuid));
        }
        let trusted = match &command {
            AgentCommand::Bootstrap { token } => {
                self.bootstrap.redeem(token, uuid, config.install_info.single_use_bootstrap, now)
            }
            AgentCommand::Start { client_secret, .. } => {
                client_secret.as_ref().is_none_or(|secret| *secret == record.client_secret)
            }
            _ => true,
        };
        let fresh = record.agent.is_none().then(|| self.new_agent(record, now).not_started());
        let obeyed = self.store.edit(uuid, now, |record| {
            record.account_live_time(now);
            record.agent = record.agent.take().or(fresh);
            record.obey(command, trusted, now, &config);
        });
        obeyed.ok_or(OutsideError::Unknown(uuid))
    }
}

impl Record {
    /// Does nothing without an agent.
    fn obey(&mut self, command: AgentCommand, trusted: bool, now: Timestamp, config: &Config) {
        let beat = seconds(config.agent.heartbeat_seconds);
        let Some(agent) = &mut self.agent else { return };
        match command {
            AgentCommand::Start { after_seconds, client_secret: _ } => {
                agent.run(after(now, seconds(after_seconds)), now, beat);
                agent.set_rejected(!trusted);
            }
            AgentCommand::Bootstrap { token: _ } => {
                agent.run(now, now, beat);
                agent.set_rejected(!trusted);
            }
            AgentCommand::Pause => agent.pause(now, beat),
            AgentCommand::Stop => self.uninstall(now, config),
            AgentCommand::Report { version, domain, report, unreadable } => {
                agent.version = version.unwrap_or_else(|| agent.version.clone());
                if let Some(domain) = domain {
                    agent.domain = Some(domain).filter(|domain| !domain.is_empty());
                }
                if let Some(report) = report {
                    agent.report = (*report).into();
                }
                agent.unreadable = unreadable.unwrap_or(agent.unreadable);
            }
            AgentCommand::Operand { name, ready } => {
                agent.report = changed(&agent.report, |report| {
                    let operand = report.operands.entry(name).or_default();
                    operand.ready = ready;
                    operand.unready_threshold_crossed = !ready;
                    operand.reasons = if ready { Vec::new() } else { vec!["pods are not ready".to_owned()] };
                });
            }
            AgentCommand::Dependency { name, available } => {
                agent.report = changed(&agent.report, |report| {
                    let dependency = report.dependencies.required.entry(name).or_default();
                    dependency.available = available;
                    dependency.reason = if available { None } else { Some("not found on the cluster".to_owned()) };
                });
            }
        }
    }

    /// The agent goes; what it reported last stays.
    fn uninstall(&mut self, now: Timestamp, config: &Config) {
        let domain = self.domain(now, config).map(str::to_owned);
        let version = self.heard_agent(now, config).map(|agent| agent.version.clone());
        self.last_liveness = self.last_liveness(now, config);
        self.reported_version = version.or(self.reported_version.take());
        self.domain = domain;
        self.agent = None;
    }
}

fn changed(report: &CachedReport, change: impl FnOnce(&mut AgentReport)) -> CachedReport {
    let mut report = report.report().clone();
    change(&mut report);
    report.into()
}
