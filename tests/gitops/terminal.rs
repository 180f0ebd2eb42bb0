//! A terminal of somebody who works on a world's cluster: kubectl, and a namespace of their own.
//!
//! Owns the surroundings of a shell. Must not know what is typed.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use testbed::TemporaryDirectory;
use tokio::process::Command;

use crate::world::World;

pub struct Terminal {
    directory: TemporaryDirectory,
    kubeconfig: PathBuf,
}

impl Terminal {
    /// The kubeconfig names the namespace, as a user's would.
    pub fn new(world: &World, namespace: &str) -> Self {
        let directory = TemporaryDirectory::create().unwrap();
        symlink(&world.bed.binaries().kubectl, directory.path().join("kubectl")).unwrap();
        world.bed.kubectl_in_namespace(namespace).unwrap();
        Self { directory, kubeconfig: world.bed.directory().join(format!("admin-{namespace}.kubeconfig")) }
    }

    /// A directory to work in.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A script, to be run in that directory. Both streams come in the order in which they are written, as on a terminal.
    pub fn bash(&self, script: &str) -> Command {
        let mut shell = Command::new("bash");
        shell.args(["-c", &format!("exec 2>&1\n{script}\n")]).current_dir(self.path()).kill_on_drop(true);
        shell.env("PATH", format!("{}:/usr/bin:/bin", self.path().display())).env_remove("COLUMNS");
        shell.env("KUBECONFIG", &self.kubeconfig).env("KUBECACHEDIR", self.path().join("cache"));
        shell
    }
}
