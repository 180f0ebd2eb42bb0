//! Finds the Kubernetes binaries, or builds them from the pinned Go module `testbed/kube`.
//!
//! Owns which they are. Does not know what they are started for.

use std::path::{Path, PathBuf};

use crate::{Error, gobuild::Module};

/// Name and Go package of every binary.
const PACKAGES: [(&str, &str); 5] = [
    ("etcd", "go.etcd.io/etcd/server/v3"),
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    ("helm", "helm.sh/helm/v3/cmd/helm"),
];
/// The module whose version go.mod pins and the binaries report.
const KUBERNETES: &str = "k8s.io/kubernetes ";
/// Where the binaries are.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// etcd
    pub etcd: PathBuf,
    /// kube-apiserver
    pub apiserver: PathBuf,
    /// kube-controller-manager
    pub controller_manager: PathBuf,
    /// kubectl
    pub kubectl: PathBuf,
    /// helm
    pub helm: PathBuf,
}

/// Finds all binaries in `KUBEBUILDER_ASSETS` or the cache and builds what is missing or outdated (minutes, the first
/// time), with progress lines on stderr. Processes that do this at the same time wait for each other.
///
/// # Errors
/// [`Error::GoMissing`], [`Error::GoTooOld`], [`Error::Build`], or [`Error::Io`] for the cache directory.
pub async fn find_all() -> Result<Binaries, Error> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty()).map(PathBuf::from);
    locate(&module()?, assets.as_deref()).await
}

/// As [`find_all`], but for the cache alone: `KUBEBUILDER_ASSETS` is not looked at.
///
/// # Errors
/// As [`find_all`].
pub async fn build_all() -> Result<Binaries, Error> {
    locate(&module()?, None).await
}

fn module() -> Result<Module, Error> {
    Module::open("testbed/kube", "about 6 minutes for all on two cores, the first time", "", |module| {
        Ok(ldflags(module.field(KUBERNETES)?))
    })
}

async fn locate(module: &Module, assets: Option<&Path>) -> Result<Binaries, Error> {
    let given = |name: &str| assets.map(|dir| dir.join(name)).filter(|path| path.is_file());
    let wanted: Vec<_> = PACKAGES.into_iter().filter(|(name, _)| given(name).is_none()).collect();
    module.build(&wanted).await?;
    let path = |name: &str| given(name).unwrap_or_else(|| module.bin.join(name));
    Ok(Binaries {
        etcd: path("etcd"),
        apiserver: path("kube-apiserver"),
        controller_manager: path("kube-controller-manager"),
        kubectl: path("kubectl"),
        helm: path("helm"),
    })
}

/// The version that the binaries report; without it the API server says v0.0.0 and refuses to compare versions.
fn ldflags(version: &str) -> String {
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let variable = "-X k8s.io/component-base/version";
    format!(
        "-s -w {variable}.gitVersion={version} {variable}.gitMajor={major} {variable}.gitMinor={minor} \
         {variable}.gitTreeState=clean"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;
    use crate::{TemporaryDirectory, gobuild::workspace_dir};

    #[test]
    fn the_version_comes_from_go_mod() {
        let module = module().unwrap();
        assert!(module.ldflags.contains("version.gitVersion=v1."), "{}", module.ldflags);
        assert!(module.go_version.starts_with("1."), "{}", module.go_version);
        assert_eq!(
            ldflags("v1.36.3"),
            "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 -X k8s.io/component-base/version.gitMajor=1 \
             -X k8s.io/component-base/version.gitMinor=36 -X k8s.io/component-base/version.gitTreeState=clean"
        );
    }

    /// A module with a cache in a directory of its own, with a script in place of go that behaves by its name.
    fn with_go(dir: &TemporaryDirectory, name: &str) -> Module {
        let go = dir.path().join(name);
        std::os::unix::fs::symlink(workspace_dir().join("testbed/tests/fake_go.sh"), &go).unwrap();
        module().unwrap().elsewhere(dir.path().join("bin"), go)
    }

    #[tokio::test]
    async fn says_what_is_wrong_with_go() {
        let dir = TemporaryDirectory::create().unwrap();
        let old = with_go(&dir, "old");
        let error = locate(&old, None).await.unwrap_err().to_string();
        assert!(error.starts_with("go1.20 cannot build") && error.contains("too new"), "{error}");

        let none = old.elsewhere(dir.path().join("bin"), dir.path().join("nowhere"));
        let error = locate(&none, None).await.unwrap_err();
        assert!(matches!(&error, Error::GoMissing { missing, .. } if missing.contains("kubectl")), "{error}");

        let broken = with_go(&dir, "broken");
        let error = locate(&broken, None).await.unwrap_err().to_string();
        assert!(error.starts_with("building etcd failed") && error.contains("does not compile"), "{error}");
    }

    #[tokio::test]
    async fn builds_once_and_prefers_the_given_assets() {
        let dir = TemporaryDirectory::create().unwrap();
        let module = with_go(&dir, "good");
        let assets = dir.path().join("assets");
        fs::create_dir(&assets).unwrap();
        fs::write(assets.join("etcd"), "").unwrap();
        let (one, two) = tokio::join!(locate(&module, Some(&assets)), locate(&module, Some(&assets)));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!((one.etcd, one.helm), (assets.join("etcd"), module.bin.join("helm")));
        assert!(two.kubectl.is_file());
        let built = fs::read_to_string(dir.path().join("built")).unwrap();
        let expected: Vec<_> = PACKAGES[1..].iter().map(|(_, package)| *package).collect();
        assert_eq!(built.lines().collect::<Vec<_>>(), expected, "no package is built twice");
    }
}
