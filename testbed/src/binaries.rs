//! Finds the Go binaries, or builds them from the pinned Go modules `testbed/kube` and `testbed/judges`.
//!
//! Owns the cache `target/kube/bin`, its stamps and its lock. Does not know what the binaries are started for.

use std::{
    fs::{self, File, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use tokio::{process::Command as AsyncCommand, time::sleep};

use crate::{
    Error,
    process::{self, Process},
};

/// A Go module with its binaries.
#[derive(Clone, Copy)]
struct Module {
    /// Below the workspace.
    folder: &'static str,
    /// Name and Go package of every binary.
    packages: &'static [(&'static str, &'static str)],
    /// How long a first build takes.
    takes: &'static str,
}

const KUBE: Module = Module {
    folder: "testbed/kube",
    packages: &[
        ("etcd", "go.etcd.io/etcd/server/v3"),
        ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
        ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
        ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
        ("helm", "helm.sh/helm/v3/cmd/helm"),
    ],
    takes: "about 6 minutes for all on two cores, the first time",
};
/// Compiled on top of [`KUBE`], with which it shares the versions of the Kubernetes libraries.
const JUDGES: Module = Module {
    folder: "testbed/judges",
    packages: &[("judges", ".")],
    takes: "about 3 minutes on two cores, the first time",
};
/// The module whose version go.mod pins and the binaries report.
const KUBERNETES: &str = "k8s.io/kubernetes ";
const PROGRESS_EVERY: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(100);

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

/// The root of the workspace that this crate was built in.
#[must_use]
pub fn workspace_dir() -> &'static Path {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.parent().unwrap_or(crate_dir)
}

/// Finds all binaries in `KUBEBUILDER_ASSETS` or the cache and builds what is missing or outdated (minutes, the first
/// time), with progress lines on stderr. Processes that do this at the same time wait for each other.
///
/// # Errors
/// [`Error::GoMissing`], [`Error::GoTooOld`], [`Error::Build`], or [`Error::Io`] for the cache directory.
pub async fn find_all() -> Result<Binaries, Error> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty()).map(PathBuf::from);
    locate(&Cache::new(KUBE)?, assets.as_deref()).await
}

/// As [`find_all`], but for the cache alone: `KUBEBUILDER_ASSETS` is not looked at.
///
/// # Errors
/// As [`find_all`].
pub async fn build_all() -> Result<Binaries, Error> {
    locate(&Cache::new(KUBE)?, None).await
}

/// Finds or builds the program that says of an object what GitOps tools would say of it; see `testbed/judges/main.go`.
///
/// # Errors
/// As [`find_all`].
pub async fn judges() -> Result<PathBuf, Error> {
    let cache = Cache::new(JUDGES)?;
    let missing: Vec<_> = JUDGES.packages.iter().copied().filter(|(name, _)| !cache.is_current(name)).collect();
    if !missing.is_empty() {
        cache.build(&missing).await?;
    }
    Ok(cache.bin.join("judges"))
}

async fn locate(cache: &Cache, assets: Option<&Path>) -> Result<Binaries, Error> {
    let given = |name: &str| assets.map(|dir| dir.join(name)).filter(|path| path.is_file());
    let packages = KUBE.packages.iter().copied();
    let missing: Vec<_> = packages.filter(|(name, _)| given(name).is_none() && !cache.is_current(name)).collect();
    if !missing.is_empty() {
        cache.build(&missing).await?;
    }
    let path = |name: &str| given(name).unwrap_or_else(|| cache.bin.join(name));
    Ok(Binaries {
        etcd: path("etcd"),
        apiserver: path("kube-apiserver"),
        controller_manager: path("kube-controller-manager"),
        kubectl: path("kubectl"),
        helm: path("helm"),
    })
}

struct Cache {
    /// The Go module.
    module: PathBuf,
    bin: PathBuf,
    ldflags: String,
    /// The go command.
    go: PathBuf,
    /// The least Go version, from go.mod.
    go_version: String,
    /// Changes with the module, its sources and the flags.
    stamp: String,
    takes: &'static str,
}

impl Cache {
    fn new(of: Module) -> Result<Self, Error> {
        let module = workspace_dir().join(of.folder);
        let read = |path: &Path| fs::read_to_string(path).map_err(Error::io(path.display().to_string()));
        let (go_mod, go_sum) = (read(&module.join("go.mod"))?, read(&module.join("go.sum"))?);
        let field = |prefix: &str| {
            let rest = go_mod.lines().find_map(|line| line.trim().strip_prefix(prefix));
            rest.and_then(|rest| rest.split_whitespace().next()).ok_or_else(|| Error::Parse {
                what: module.join("go.mod").display().to_string(),
                detail: format!("no line `{prefix}...`"),
            })
        };
        let ldflags = if of.folder == KUBE.folder { ldflags(field(KUBERNETES)?) } else { "-s -w".to_owned() };
        let mut parts = vec![go_mod.clone(), go_sum, ldflags.clone()];
        for source in sources(&module)? {
            parts.push(read(&source)?);
        }
        let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        for part in parts {
            hash.update(part.as_bytes());
            hash.update(&[0]);
        }
        let stamp = hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let go_version = field("go ")?.to_owned();
        Ok(Self {
            bin: workspace_dir().join("target/kube/bin"),
            module,
            ldflags,
            go: PathBuf::from("go"),
            go_version,
            stamp,
            takes: of.takes,
        })
    }

    fn stamp_file(&self, name: &str) -> PathBuf {
        self.bin.join(format!("{name}.stamp"))
    }

    fn is_current(&self, name: &str) -> bool {
        self.bin.join(name).is_file()
            && fs::read_to_string(self.stamp_file(name)).is_ok_and(|stamp| stamp == self.stamp)
    }

    async fn build(&self, missing: &[(&str, &str)]) -> Result<(), Error> {
        fs::create_dir_all(&self.bin).map_err(Error::io(self.bin.display().to_string()))?;
        let _lock = self.lock().await?;
        let names: Vec<_> = missing.iter().map(|(name, _)| *name).collect();
        let mut go_is_checked = false;
        for (name, package) in missing {
            // Somebody else may have built it while we waited for the lock.
            if self.is_current(name) {
                continue;
            }
            if !go_is_checked {
                self.check_go(&names.join(", ")).await?;
                go_is_checked = true;
            }
            self.build_one(name, package).await?;
        }
        Ok(())
    }

    /// Held by one process at a time; the system gives it back when that process dies.
    async fn lock(&self) -> Result<File, Error> {
        let path = self.bin.join(".lock");
        let what = || format!("locking {}", path.display());
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::io(what()))?;
        let mut progress = Progress::new();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => {
                    progress.tick("waiting for another process that builds Go binaries");
                    sleep(LOOK_EVERY).await;
                }
                Err(TryLockError::Error(source)) => return Err(Error::Io { what: what(), source }),
            }
        }
    }

    async fn check_go(&self, missing: &str) -> Result<(), Error> {
        let go = |args: &[&str]| {
            AsyncCommand::new(&self.go).args(args).current_dir(&self.module).kill_on_drop(true).output()
        };
        let version = match go(&["env", "GOVERSION"]).await {
            Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::GoMissing { missing: missing.to_owned(), wanted: self.go_version.clone() });
            }
            Err(source) => return Err(Error::Io { what: "running go".to_owned(), source }),
        };
        // Fails when go cannot read this go.mod, and fetches a newer toolchain where the settings allow it.
        let module = go(&["list", "-m"]).await.map_err(Error::io("running go"))?;
        if module.status.success() {
            return Ok(());
        }
        Err(Error::GoTooOld {
            found: version,
            wanted: self.go_version.clone(),
            detail: String::from_utf8_lossy(&module.stderr).trim().to_owned(),
        })
    }

    async fn build_one(&self, name: &str, package: &str) -> Result<(), Error> {
        let (fresh, log_file) = (self.bin.join(format!(".{name}.new")), self.bin.join(format!(".{name}.log")));
        let _stale = fs::remove_file(&log_file);
        let mut command = Command::new(&self.go);
        command.args(["build", "-trimpath", "-ldflags", &self.ldflags, "-o"]).arg(&fresh).arg(package);
        let mut go = Process::start("go build", command.current_dir(&self.module), &log_file)?;
        let mut progress = Progress::new();
        progress.say(&format!("building {name} ({})", self.takes));
        let status = loop {
            if let Some(status) = go.status() {
                break status;
            }
            progress.tick(&format!("building {name}"));
            sleep(LOOK_EVERY).await;
        };
        if !status.success() {
            let (name, status) = (name.to_owned(), status.to_string());
            return Err(Error::Build { name, status, tail: process::tail(&log_file) });
        }
        // A rename does not disturb a process that still runs the old file.
        fs::rename(&fresh, self.bin.join(name)).map_err(Error::io(fresh.display().to_string()))?;
        let stamp = self.stamp_file(name);
        fs::write(&stamp, &self.stamp).map_err(Error::io(stamp.display().to_string()))?;
        let _kept = fs::remove_file(&log_file);
        progress.say(&format!("built {name}"));
        Ok(())
    }
}

/// The Go files of a module, in order. The one of Kubernetes has none.
fn sources(module: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = || Error::io(module.display().to_string());
    let mut found = Vec::new();
    for entry in fs::read_dir(module).map_err(failed())? {
        let path = entry.map_err(failed())?.path();
        if path.extension().is_some_and(|extension| extension == "go") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
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

struct Progress {
    start: Instant,
    said: Instant,
}

impl Progress {
    fn new() -> Self {
        let now = Instant::now();
        Self { start: now, said: now }
    }

    fn tick(&mut self, what: &str) {
        if self.said.elapsed() >= PROGRESS_EVERY {
            self.say(what);
        }
    }

    fn say(&mut self, what: &str) {
        self.said = Instant::now();
        eprintln!("testbed: {:4} s  {what}", self.start.elapsed().as_secs());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::TemporaryDirectory;

    #[test]
    fn the_version_comes_from_go_mod() {
        let cache = Cache::new(KUBE).unwrap();
        assert!(cache.ldflags.contains("version.gitVersion=v1."), "{}", cache.ldflags);
        assert!(cache.go_version.starts_with("1."), "{}", cache.go_version);
        assert_eq!(
            ldflags("v1.36.3"),
            "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 -X k8s.io/component-base/version.gitMajor=1 \
             -X k8s.io/component-base/version.gitMinor=36 -X k8s.io/component-base/version.gitTreeState=clean"
        );
    }

    #[test]
    fn a_changed_module_makes_a_binary_outdated() {
        let dir = TemporaryDirectory::create().unwrap();
        let cache = Cache { bin: dir.path().to_owned(), ..Cache::new(KUBE).unwrap() };
        fs::write(dir.path().join("etcd"), "").unwrap();
        assert!(!cache.is_current("etcd"), "a binary without a stamp is of unknown origin");
        fs::write(cache.stamp_file("etcd"), &cache.stamp).unwrap();
        assert!(cache.is_current("etcd"));
        let changed = Cache { stamp: "other".to_owned(), ..cache };
        assert!(!changed.is_current("etcd"));
    }

    #[test]
    fn a_changed_source_makes_a_binary_outdated() {
        let dir = TemporaryDirectory::create().unwrap();
        for name in ["go.mod", "go.sum", "main.go", "health.go", "README.md"] {
            fs::write(dir.path().join(name), "go 1.26.0\n").unwrap();
        }
        let found = sources(dir.path()).unwrap();
        assert_eq!(found, [dir.path().join("health.go"), dir.path().join("main.go")]);
        assert_ne!(Cache::new(KUBE).unwrap().stamp, Cache::new(JUDGES).unwrap().stamp);
        assert_eq!(sources(&workspace_dir().join(KUBE.folder)).unwrap(), Vec::<PathBuf>::new());
    }

    /// A cache in a directory of its own, with a script in place of go that behaves by its name.
    fn with_go(dir: &TemporaryDirectory, name: &str) -> Cache {
        let go = dir.path().join(name);
        std::os::unix::fs::symlink(workspace_dir().join("testbed/tests/fake_go.sh"), &go).unwrap();
        Cache { bin: dir.path().join("bin"), go, ..Cache::new(KUBE).unwrap() }
    }

    #[tokio::test]
    async fn says_what_is_wrong_with_go() {
        let dir = TemporaryDirectory::create().unwrap();
        let old = with_go(&dir, "old");
        let error = locate(&old, None).await.unwrap_err().to_string();
        assert!(error.starts_with("go1.20 cannot build") && error.contains("too new"), "{error}");

        let none = Cache { go: dir.path().join("nowhere"), ..old };
        let error = locate(&none, None).await.unwrap_err();
        assert!(matches!(&error, Error::GoMissing { missing, .. } if missing.contains("kubectl")), "{error}");

        let broken = with_go(&dir, "broken");
        let error = locate(&broken, None).await.unwrap_err().to_string();
        assert!(error.starts_with("building etcd failed") && error.contains("does not compile"), "{error}");
    }

    #[tokio::test]
    async fn builds_once_and_prefers_the_given_assets() {
        let dir = TemporaryDirectory::create().unwrap();
        let cache = with_go(&dir, "good");
        let assets = dir.path().join("assets");
        fs::create_dir(&assets).unwrap();
        fs::write(assets.join("etcd"), "").unwrap();
        let (one, two) = tokio::join!(locate(&cache, Some(&assets)), locate(&cache, Some(&assets)));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!((one.etcd, one.helm), (assets.join("etcd"), cache.bin.join("helm")));
        assert!(two.kubectl.is_file());
        let built = fs::read_to_string(dir.path().join("built")).unwrap();
        let expected: Vec<_> = KUBE.packages[1..].iter().map(|(_, package)| *package).collect();
        assert_eq!(built.lines().collect::<Vec<_>>(), expected, "no package is built twice");
    }
}
