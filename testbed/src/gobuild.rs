//! Builds one Go program of a pinned module, once.
//!
//! Owns the cache `target/kube/bin`, its stamps and its lock. Does not know what the programs are for.

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

const PROGRESS_EVERY: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The root of the workspace that this crate was built in.
#[must_use]
pub fn workspace_dir() -> &'static Path {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.parent().unwrap_or(crate_dir)
}

/// A Go module with a go.mod and go.sum of this repository, and the way to build from it.
pub(crate) struct Module {
    dir: PathBuf,
    go_mod: String,
    /// Where the programs go.
    pub(crate) bin: PathBuf,
    /// What the linker is told.
    pub(crate) ldflags: String,
    /// Build tags; empty for none.
    tags: &'static str,
    /// The go command.
    go: PathBuf,
    /// The least Go version, from go.mod.
    pub(crate) go_version: String,
    /// Changes with the module, its sources and the flags.
    stamp: String,
    /// Said once per program: how long it takes.
    hint: &'static str,
}

impl Module {
    /// Reads the module in this directory of the workspace. What the linker is told may depend on it.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Parse`] for its files.
    pub(crate) fn open(
        dir: &str,
        hint: &'static str,
        tags: &'static str,
        ldflags: impl FnOnce(&Self) -> Result<String, Error>,
    ) -> Result<Self, Error> {
        let dir = workspace_dir().join(dir);
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read_to_string(&path).map_err(Error::io(path.display().to_string()))
        };
        let (go_mod, go_sum) = (read("go.mod")?, read("go.sum")?);
        let mut module = Self {
            bin: workspace_dir().join("target/kube/bin"),
            dir,
            go_mod,
            ldflags: String::new(),
            tags,
            go: PathBuf::from("go"),
            go_version: String::new(),
            stamp: String::new(),
            hint,
        };
        module.ldflags = ldflags(&module)?;
        module.go_version = module.field("go ")?.to_owned();
        let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        let parts = [module.go_mod.as_str(), &go_sum, &module.ldflags];
        for part in parts.into_iter().chain(Some(tags).filter(|tags| !tags.is_empty())) {
            hash.update(part.as_bytes());
            hash.update(&[0]);
        }
        for source in sources(&module.dir)? {
            hash.update(fs::read_to_string(&source).map_err(Error::io(source.display().to_string()))?.as_bytes());
            hash.update(&[0]);
        }
        module.stamp = hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(module)
    }

    /// The same with another cache and another go command.
    #[cfg(test)]
    pub(crate) fn elsewhere(self, bin: PathBuf, go: PathBuf) -> Self {
        Self { bin, go, ..self }
    }

    /// The word behind `prefix` at the head of a line of go.mod.
    pub(crate) fn field(&self, prefix: &str) -> Result<&str, Error> {
        let rest = self.go_mod.lines().find_map(|line| line.trim().strip_prefix(prefix));
        rest.and_then(|rest| rest.split_whitespace().next()).ok_or_else(|| Error::Parse {
            what: self.dir.join("go.mod").display().to_string(),
            detail: format!("no line `{prefix}...`"),
        })
    }

    pub(crate) fn stamp_file(&self, name: &str) -> PathBuf {
        self.bin.join(format!("{name}.stamp"))
    }

    /// Whether this program is there, and was built from this very module.
    pub(crate) fn is_current(&self, name: &str) -> bool {
        self.bin.join(name).is_file()
            && fs::read_to_string(self.stamp_file(name)).is_ok_and(|stamp| stamp == self.stamp)
    }

    /// Builds those of `packages` (names and Go packages) that are missing or outdated.
    ///
    /// # Errors
    /// [`Error::GoMissing`], [`Error::GoTooOld`], [`Error::Build`], [`Error::Io`].
    pub(crate) async fn build(&self, packages: &[(&str, &str)]) -> Result<(), Error> {
        let missing: Vec<_> = packages.iter().filter(|(name, _)| !self.is_current(name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
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

    /// Where the files of another module lie that this one requires; fetched if need be.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Parse`].
    pub(crate) async fn files_of(&self, module: &str) -> Result<PathBuf, Error> {
        let mut go = AsyncCommand::new(&self.go);
        go.args(["mod", "download", "-json", module]).current_dir(&self.dir).kill_on_drop(true);
        let output = go.output().await.map_err(Error::io("running go"))?;
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        said["Dir"].as_str().map(PathBuf::from).ok_or_else(|| Error::Parse {
            what: format!("the answer of `go mod download -json {module}`"),
            detail: String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned(),
        })
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
                    progress.tick("waiting for another process that builds programs");
                    sleep(LOOK_EVERY).await;
                }
                Err(TryLockError::Error(source)) => return Err(Error::Io { what: what(), source }),
            }
        }
    }

    async fn check_go(&self, missing: &str) -> Result<(), Error> {
        let go =
            |args: &[&str]| AsyncCommand::new(&self.go).args(args).current_dir(&self.dir).kill_on_drop(true).output();
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
        command
            .args(["build", "-trimpath", "-ldflags", &self.ldflags, "-tags", self.tags, "-o"])
            .arg(&fresh)
            .arg(package);
        let mut go = Process::start("go build", command.current_dir(&self.dir), &log_file)?;
        let mut progress = Progress::new();
        progress.say(&format!("building {name} ({})", self.hint));
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

/// The Go files of a module, in order. Most have none: what they build is in the modules that they name.
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
    fn a_changed_module_makes_a_program_outdated() {
        let dir = TemporaryDirectory::create().unwrap();
        let open = |tags: &'static str| {
            let module = Module::open("testbed/kube", "", tags, |_| Ok("-s".to_owned())).unwrap();
            Module { bin: dir.path().to_owned(), ..module }
        };
        let module = open("");
        fs::write(dir.path().join("etcd"), "").unwrap();
        assert!(!module.is_current("etcd"), "a program without a stamp is of unknown origin");
        fs::write(module.stamp_file("etcd"), &module.stamp).unwrap();
        assert!(module.is_current("etcd"));
        assert!(!open("small").is_current("etcd"));
    }

    #[test]
    fn sources_are_what_go_compiles() {
        let dir = TemporaryDirectory::create().unwrap();
        for name in ["go.mod", "main.go", "health.go", "README.md"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(sources(dir.path()).unwrap(), [dir.path().join("health.go"), dir.path().join("main.go")]);
        assert!(!sources(&workspace_dir().join("testbed/judges")).unwrap().is_empty());
    }
}
