//! A process with another root directory, read-only, as an arbitrary user: what a container runtime does, with what the
//! system has.
//!
//! Owns the ways to do that. Must not know what runs there.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// As OpenShift chooses one; in no /etc/passwd.
pub const USER: u32 = 1_000_770_000;

/// For root: a mount namespace, then another root and user. `"$@"` is what runs.
const AS_ROOT: &str = r#"exec unshare --mount sh -euc '
  root=$1 user=$2; shift 2
  mount --bind "$root" "$root"
  mount -o remount,bind,ro "$root"
  exec chroot --userspec="$user:$user" "$root" "$@"' sh "$root" "$user" "$@"
"#;

/// For anybody, where user namespaces are allowed: root in one of these, in it the user.
const AS_ANYBODY: &str = r#"exec unshare --user --map-root-user --mount sh -euc '
  root=$1 user=$2; shift 2
  mount --bind "$root" "$root"
  mount -o remount,bind,ro "$root"
  exec unshare --user --map-user="$user" --map-group="$user" --root="$root" --wd=/ "$@"' sh "$root" "$user" "$@"
"#;

/// Says why a test is left out, or fails where `IMAGE_TESTS=required` says that none may be: where what they need is known
/// to be there, a test that is never run must not go by unseen.
pub fn skip(reason: &str) {
    let required = std::env::var_os("IMAGE_TESTS").is_some_and(|value| value == "required");
    assert!(!required, "IMAGE_TESTS=required, but {reason}");
    eprintln!("skipped: {reason}");
}

/// A root directory that programs can be started in.
pub struct Jail {
    root: PathBuf,
    way: &'static str,
}

impl Jail {
    /// `None` where the system does not let us and we may skip.
    pub fn find(root: &Path) -> Option<Self> {
        let mut refused = String::new();
        for way in [AS_ROOT, AS_ANYBODY] {
            let jail = Self { root: root.to_owned(), way };
            let wrapper = root.with_extension("probe");
            jail.wrapper(&wrapper, &[]);
            let output = Command::new(&wrapper).arg("--version").output().unwrap();
            if output.status.success() {
                return Some(jail);
            }
            write!(refused, " {}", String::from_utf8_lossy(&output.stderr).trim()).unwrap();
        }
        skip(&format!("no process may have another root here (root, or user namespaces are needed):{refused}"));
        None
    }

    /// Whether the processes are of [`USER`] outside, too.
    pub fn is_real_user(&self) -> bool {
        self.way == AS_ROOT
    }

    /// Writes a program that starts the operator in there with its arguments and this environment alone. Its process is
    /// the operator's.
    pub fn wrapper(&self, file: &Path, environment: &[(&str, String)]) {
        let mut script = String::from("#!/bin/sh\nset -eu\n");
        let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
        let root = quoted(self.root.to_str().unwrap());
        let mut variables = String::new();
        for (name, value) in environment {
            write!(variables, " {name}={}", quoted(value)).unwrap();
        }
        writeln!(script, "root={root} user={USER}").unwrap();
        writeln!(script, "set -- /usr/bin/runai-cluster-operator \"$@\"").unwrap();
        // A container gets a PATH and no more.
        script.push_str(&self.way.replacen(
            "exec ",
            &format!("exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin{variables} "),
            1,
        ));
        std::fs::write(file, script).unwrap();
        std::fs::set_permissions(file, PermissionsExt::from_mode(0o755)).unwrap();
    }
}
