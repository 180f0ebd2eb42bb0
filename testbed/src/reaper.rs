//! Ends the children of this process when it dies, whatever it dies of.
//!
//! A small shell holds the reading end of a pipe whose writing end only this process has. It is told every child that
//! starts and ends; when the pipe closes it ends what is left by SIGKILL and removes the temporary directories. A
//! parent-death signal would do the same on Linux, but it fires when the *thread* that started the child ends.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
};

use crate::Error;

/// Directories are removed only below this prefix of their last component.
pub(crate) const DIRECTORY_PREFIX: &str = "runai-testbed-";

const SCRIPT: &str = r#"
pids= dirs=
without() { for one in $1; do [ "$one" = "$2" ] || printf '%s ' "$one"; done; }
while read -r what value; do
  case $what in
    add) pids="$pids $value" ;;
    del) pids=$(without "$pids" "$value") ;;
    adddir) dirs="$dirs$value
" ;;
  esac
done
for pid in $pids; do kill -9 "$pid" 2>/dev/null; done
printf '%s' "$dirs" | while read -r dir; do
  case ${dir##*/} in runai-testbed-?*) rm -rf "$dir" ;; esac
done
"#;

static REAPER: OnceLock<Mutex<Option<Reaper>>> = OnceLock::new();

struct Reaper {
    pipe: ChildStdin,
    // Kept so that it is clear who owns the shell; it ends by itself when the pipe closes.
    _shell: Child,
}

/// Registers a running child.
///
/// # Errors
/// [`Error::Io`] when the shell cannot be started or has gone.
pub(crate) fn add(pid: u32) -> Result<(), Error> {
    tell(&format!("add {pid}\n"))
}

/// Forgets a child that has been waited for: its pid may soon belong to somebody else.
pub(crate) fn remove(pid: u32) {
    // Without the shell there is nobody who could end the wrong process.
    let _gone = tell(&format!("del {pid}\n"));
}

/// Registers a directory that is to be removed at the end.
pub(crate) fn add_directory(path: &Path) -> Result<(), Error> {
    tell(&format!("adddir {}\n", path.display()))
}

fn tell(line: &str) -> Result<(), Error> {
    let mut slot = REAPER.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let reaper = match slot.take() {
        Some(reaper) => slot.insert(reaper),
        None => slot.insert(start()?),
    };
    reaper.pipe.write_all(line.as_bytes()).map_err(Error::io("telling the reaper about a child"))
}

fn start() -> Result<Reaper, Error> {
    let mut shell = Command::new("sh")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A Ctrl-C or a kill of our whole group must not take the one that cleans up.
        .process_group(0)
        .spawn()
        .map_err(Error::io("starting sh as reaper"))?;
    match shell.stdin.take() {
        Some(pipe) => Ok(Reaper { pipe, _shell: shell }),
        None => Err(Error::State("the reaper has no stdin".to_owned())),
    }
}
