//! Programs that tests judge by and pictures are made with, each built from a pinned Go module when it is first asked for.
//!
//! Owns which they are, and their modules. Does not know what they are asked.

use std::{fmt::Write as _, fs, path::PathBuf};

use crate::{Error, gobuild::Module};

/// A program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Helm 4, beside the Helm 3 of [`crate::Binaries`].
    Helm4,
    /// Runs the suites in the chart's `tests/`.
    HelmUnittest,
    /// Compares manifests with JSON schemas.
    Kubeconform,
    /// Checks metrics, and runs the tests of alerts.
    Promtool,
    /// Scrapes and answers queries, beside promtool of the same version; see [`crate::Prometheus`].
    Prometheus,
    /// Flux's controller of Git repositories and charts; see [`crate::Flux`].
    SourceController,
    /// Flux's controller of Kustomizations.
    KustomizeController,
    /// Flux's controller of HelmReleases.
    HelmController,
    /// Argo CD, all of whose parts are one program; see [`crate::ArgoCd`].
    ArgoCd,
    /// The Redis beside Argo CD.
    Redis,
    /// Says of an object what GitOps tools would say of it; see `testbed/judges/main.go`.
    Judges,
}

impl Tool {
    /// Those that tests judge by.
    pub const ALL: [Self; 10] = [
        Self::Helm4,
        Self::HelmUnittest,
        Self::Kubeconform,
        Self::Promtool,
        Self::Judges,
        Self::KustomizeController,
        Self::HelmController,
        Self::SourceController,
        Self::ArgoCd,
        Self::Redis,
    ];

    /// Name of the program, directory of its module, and Go package.
    const fn source(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Helm4 => ("helm4", "testbed/tools/helm4", "helm.sh/helm/v4/cmd/helm"),
            Self::HelmUnittest => (
                "helm-unittest",
                "testbed/tools/helm-unittest",
                "github.com/helm-unittest/helm-unittest/cmd/helm-unittest",
            ),
            Self::Kubeconform => {
                ("kubeconform", "testbed/tools/kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform")
            }
            Self::Promtool => ("promtool", "testbed/tools/promtool", "github.com/prometheus/prometheus/cmd/promtool"),
            Self::Prometheus => {
                ("prometheus", "testbed/tools/prometheus", "github.com/prometheus/prometheus/cmd/prometheus")
            }
            Self::SourceController => {
                ("source-controller", "testbed/tools/source-controller", "github.com/fluxcd/source-controller")
            }
            Self::KustomizeController => {
                ("kustomize-controller", "testbed/tools/kustomize-controller", "github.com/fluxcd/kustomize-controller")
            }
            Self::HelmController => {
                ("helm-controller", "testbed/tools/helm-controller", "github.com/fluxcd/helm-controller")
            }
            Self::ArgoCd => ("argocd", "testbed/tools/argocd", "github.com/argoproj/argo-cd/v3/cmd"),
            Self::Redis => ("redis", "testbed/tools/argocd", "."),
            Self::Judges => ("judges", "testbed/judges", "."),
        }
    }

    /// Build tags.
    const fn tags(self) -> &'static str {
        match self {
            // Without the ways to find targets in a dozen clouds, which nothing here asks for: a minute in place of five.
            Self::Promtool | Self::Prometheus => "remove_all_sd",
            Self::Helm4
            | Self::HelmUnittest
            | Self::Kubeconform
            | Self::SourceController
            | Self::KustomizeController
            | Self::HelmController
            | Self::ArgoCd
            | Self::Redis
            | Self::Judges => "",
        }
    }

    /// Builds it if it is missing or outdated, with progress lines on stderr. Returns where it is.
    ///
    /// # Errors
    /// As [`crate::find_all`].
    pub async fn find(self) -> Result<PathBuf, Error> {
        let (name, _, package) = self.source();
        let module = self.open()?;
        module.build(&[(name, package)]).await?;
        Ok(module.bin.join(name))
    }

    /// The CustomResourceDefinitions that lie in this directory of a module that the program is built from.
    ///
    /// # Errors
    /// [`Error::Io`] without go, [`Error::Parse`] with what go says when it cannot find the module.
    pub(crate) async fn definitions(self, module: &str, directory: &str) -> Result<String, Error> {
        let directory = self.files(module).await?.join(directory);
        let io = || Error::io(directory.display().to_string());
        let mut definitions = String::new();
        for entry in fs::read_dir(&directory).map_err(io())? {
            let path = entry.map_err(io())?.path();
            let text = fs::read_to_string(&path).map_err(Error::io(path.display().to_string()))?;
            if text.contains("kind: CustomResourceDefinition") {
                let _infallible = writeln!(definitions, "---\n{text}");
            }
        }
        Ok(definitions)
    }

    /// Where the files of a module lie that the program is built from.
    ///
    /// # Errors
    /// As [`Tool::definitions`].
    pub(crate) async fn files(self, module: &str) -> Result<PathBuf, Error> {
        self.open()?.files_of(module).await
    }

    fn open(self) -> Result<Module, Error> {
        Module::open(self.source().1, "once, a few minutes on two cores", self.tags(), |_| Ok("-s -w".to_owned()))
    }
}
