//! Flux's kustomize-controller as a process.
//!
//! Owns its kinds and its command line. Does not know what it applies. Neither source-controller nor helm-controller runs
//! beside it: their kinds of sources are only stored, and whoever starts the controller fills in `status.artifact`.

use std::{fmt::Write as _, fs, process::Command, time::Duration};

use serde_json::json;

use crate::{Error, TemporaryDirectory, Testbed, Tool, ports, process::Process};

/// The module of the controller, and where its CustomResourceDefinitions lie in it.
const MODULE: &str = "github.com/fluxcd/kustomize-controller";
const DEFINITIONS: &str = "config/crd/bases";
/// What it watches for artifacts: kind and plural.
const SOURCES: [(&str, &str); 3] =
    [("GitRepository", "gitrepositories"), ("OCIRepository", "ocirepositories"), ("Bucket", "buckets")];
const ESTABLISHED: Duration = Duration::from_secs(60);

/// A running controller with an administrator's rights, as `flux install` gives them. Ended by SIGKILL on drop.
pub struct KustomizeController {
    // The order of fields is the order of ending.
    process: Process,
    _directory: TemporaryDirectory,
}

impl KustomizeController {
    /// Installs the kinds and starts the controller, which works on all namespaces.
    ///
    /// # Errors
    /// As [`Tool::find`] and [`Testbed::kubectl_apply`]; [`Error::Io`].
    pub async fn start(testbed: &Testbed) -> Result<Self, Error> {
        let binary = Tool::KustomizeController.find().await?;
        let mut definitions = SOURCES.map(|(kind, plural)| format!("---\n{}\n", source(kind, plural))).concat();
        let directory = Tool::KustomizeController.module(MODULE).await?.join(DEFINITIONS);
        for entry in fs::read_dir(&directory).map_err(Error::io(directory.display().to_string()))? {
            let path = entry.map_err(Error::io(directory.display().to_string()))?.path();
            let text = fs::read_to_string(&path).map_err(Error::io(path.display().to_string()))?;
            let _infallible = writeln!(definitions, "---\n{text}");
        }
        testbed.kubectl_apply(&definitions).await?;
        let within = format!("--timeout={}s", ESTABLISHED.as_secs());
        testbed.kubectl_ok(&["wait", "crd", "--all", "--for=condition=Established", &within]).await?;

        let directory = TemporaryDirectory::create()?;
        let [metrics, health] = ports::free_ports()?;
        let mut command = Command::new(binary);
        command
            .env("KUBECONFIG", testbed.kubeconfig())
            .env("RUNTIME_NAMESPACE", "flux-system")
            .env("TMPDIR", directory.path())
            .arg(format!("--metrics-addr=127.0.0.1:{metrics}"))
            .arg(format!("--health-addr=127.0.0.1:{health}"))
            // As on a small cluster; the default of 30 s is a long time for a test.
            .arg("--requeue-dependency=1s");
        let log = testbed.directory().join("kustomize-controller.log");
        let process = Process::start("kustomize-controller", command.current_dir(directory.path()), &log)?;
        Ok(Self { process, _directory: directory })
    }

    /// The end of its log.
    #[must_use]
    pub fn said(&self) -> String {
        crate::process::tail(self.process.log())
    }
}

/// A kind that is only stored.
fn source(kind: &str, plural: &str) -> serde_json::Value {
    let group = "source.toolkit.fluxcd.io";
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let version = json!({
        "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema }, "subresources": { "status": {} },
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group, "scope": "Namespaced", "versions": [version],
            "names": { "kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List") },
        },
    })
}
