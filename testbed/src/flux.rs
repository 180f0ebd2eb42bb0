//! Flux: its source-controller, kustomize-controller and helm-controller as processes.
//!
//! Owns their kinds and command lines. Does not know what they fetch and apply.

use std::process::Command;

use crate::{
    Error, TemporaryDirectory, Testbed, Tool, ports,
    process::{Process, tails},
};

/// The controllers, and the modules that hold their CustomResourceDefinitions.
const CONTROLLERS: [(Tool, &str, &str); 3] = [
    (Tool::SourceController, "source-controller", "github.com/fluxcd/source-controller"),
    (Tool::KustomizeController, "kustomize-controller", "github.com/fluxcd/kustomize-controller"),
    (Tool::HelmController, "helm-controller", "github.com/fluxcd/helm-controller"),
];
const DEFINITIONS: &str = "config/crd/bases";

/// The running controllers, with an administrator's rights, as `flux install` gives them. Ended by SIGKILL on drop.
pub struct Flux {
    // The order of fields is the order of ending.
    controllers: Vec<Process>,
    _directory: TemporaryDirectory,
}

impl Flux {
    /// Installs the kinds and starts the controllers, which work on all namespaces.
    ///
    /// # Errors
    /// As [`Tool::find`] and [`Testbed::kubectl_apply`]; [`Error::Io`].
    pub async fn start(testbed: &Testbed) -> Result<Self, Error> {
        let mut definitions = String::new();
        for (tool, _, module) in CONTROLLERS {
            definitions += &tool.definitions(module, DEFINITIONS).await?;
        }
        testbed.kubectl_apply(&definitions).await?;
        testbed.kubectl_handle().established(&[]).await?;

        let directory = TemporaryDirectory::create()?;
        let [files] = ports::free_ports()?;
        let mut controllers = Vec::new();
        for (tool, name, _) in CONTROLLERS {
            let [metrics, health] = ports::free_ports()?;
            let mut command = Command::new(tool.find().await?);
            command
                .env("KUBECONFIG", testbed.kubeconfig())
                .env("RUNTIME_NAMESPACE", "flux-system")
                .env("TMPDIR", directory.path())
                .env("HOME", directory.path())
                .arg(format!("--metrics-addr=127.0.0.1:{metrics}"))
                .arg(format!("--health-addr=127.0.0.1:{health}"))
                // As on a small cluster; the default of 30 s is a long time for a test.
                .arg("--requeue-dependency=1s");
            if tool == Tool::SourceController {
                command
                    .arg(format!("--storage-path={}", directory.path().display()))
                    .arg(format!("--storage-addr=127.0.0.1:{files}"))
                    .arg(format!("--storage-adv-addr=127.0.0.1:{files}"));
            }
            let log = testbed.directory().join(format!("{name}.log"));
            controllers.push(Process::start(name, command.current_dir(directory.path()), &log)?);
        }
        Ok(Self { controllers, _directory: directory })
    }

    /// The ends of their logs.
    #[must_use]
    pub fn said(&self) -> String {
        tails(&self.controllers)
    }
}
