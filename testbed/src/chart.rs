//! The project's chart, installed without its Deployment: the operator under test runs outside the cluster, with the
//! rights that the chart gives it. Knows the chart's place and names.

use std::path::PathBuf;

use serde_json::Value;

use crate::{Error, Testbed, gobuild::workspace_dir};

/// The Helm release.
pub const RELEASE_NAME: &str = "runai-operator";
/// The operator's namespace.
pub const OPERATOR_NAMESPACE: &str = "runai-operator";

/// Kinds that would make pods. There is no kubelet, and the operator must not run twice.
const WORKLOADS: [&str; 6] = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Pod"];

impl Testbed {
    /// Renders a chart with `helm template` as release [`RELEASE_NAME`] in [`OPERATOR_NAMESPACE`], CRDs included, hooks
    /// left out. `settings` are `--set` arguments.
    ///
    /// # Errors
    /// [`Error::Command`] with helm's message; [`Error::Parse`] when the result is not YAML.
    pub async fn helm_template(&self, chart: &str, settings: &[&str]) -> Result<Vec<Value>, Error> {
        let mut args = vec![
            "template",
            RELEASE_NAME,
            chart,
            "--namespace",
            OPERATOR_NAMESPACE,
            "--include-crds",
            "--no-hooks",
            "--kube-version",
            "1.36.0",
        ];
        for setting in settings {
            args.extend(["--set", setting]);
        }
        let text = self.helm(&args).await?.success("helm", &args)?;
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
            .map_err(|error| Error::Parse { what: format!("the rendered chart {chart}"), detail: error.to_string() })?;
        Ok(documents.into_iter().filter(Value::is_object).collect())
    }

    /// Applies everything of the project's chart but its workloads, and waits until its CRDs are served. Returns all
    /// documents, those that were left out too.
    ///
    /// # Errors
    /// [`Error::Missing`] without a chart; as [`Testbed::helm_template`] and [`Testbed::kubectl_apply`].
    pub async fn install_chart(&self, settings: &[&str]) -> Result<Vec<Value>, Error> {
        let path = chart_dir();
        if !path.join("Chart.yaml").is_file() {
            return Err(Error::Missing { what: "the operator's chart".to_owned(), path });
        }
        let documents = self.helm_template(&path.display().to_string(), settings).await?;
        self.apply_release(&documents).await?;
        Ok(documents)
    }

    /// Applies rendered documents as a release: namespace, CRDs, the rest; workloads are left out.
    ///
    /// # Errors
    /// As [`Testbed::kubectl_apply`].
    pub async fn apply_release(&self, documents: &[Value]) -> Result<(), Error> {
        let namespace = serde_json::json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": OPERATOR_NAMESPACE },
        });
        let (crds, others): (Vec<_>, Vec<_>) =
            documents.iter().partition(|document| kind(document) == "CustomResourceDefinition");
        let first: Vec<_> = std::iter::once(&namespace).chain(crds.iter().copied()).collect();
        self.kubectl_apply(&list(&first)).await?;
        if !crds.is_empty() {
            let names: Vec<_> = crds.iter().filter_map(|crd| crd["metadata"]["name"].as_str()).collect();
            self.kubectl_handle().established(&names).await?;
        }
        let applied: Vec<_> = others.into_iter().filter(|document| !WORKLOADS.contains(&kind(document))).collect();
        if !applied.is_empty() {
            // A context default, not --namespace: the latter refuses objects of any other namespace.
            let kubectl = self.kubectl_in_namespace(OPERATOR_NAMESPACE)?;
            kubectl.apply(&list(&applied)).await?;
        }
        Ok(())
    }
}

fn chart_dir() -> PathBuf {
    workspace_dir().join("charts/runai-cluster-operator")
}

fn kind(document: &Value) -> &str {
    document["kind"].as_str().unwrap_or_default()
}

/// Documents as one JSON list, which kubectl takes like YAML.
fn list(documents: &[&Value]) -> String {
    serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": documents }).to_string()
}
