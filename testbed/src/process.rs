//! One child process with its log file. Owns starting, signalling and ending; does not know what the child is for.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Error, reaper, wait_until};

/// How much of a log goes into an error.
const TAIL_BYTES: u64 = 4000;

/// A running child. Ended by SIGKILL on drop.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` in a process group of its own, so that a Ctrl-C in the terminal reaches only us, with stdout
    /// and stderr appended to `log`.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self, Error> {
        let out = File::options().create(true).append(true).open(log).map_err(Error::io(log.display().to_string()))?;
        let err = out.try_clone().map_err(Error::io(log.display().to_string()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .map_err(Error::io(format!("starting {name}")))?;
        let mut process = Self { name: name.to_owned(), child, log: log.to_owned(), status: None };
        if let Err(error) = reaper::add(process.pid()) {
            process.kill();
            return Err(error);
        }
        Ok(process)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, once it has ended.
    pub(crate) fn status(&mut self) -> Option<ExitStatus> {
        if self.status.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            self.ended(status);
        }
        self.status
    }

    /// `Err` with the end of the log when it does not run any more.
    pub(crate) fn check_running(&mut self) -> Result<(), Error> {
        match self.status() {
            None => Ok(()),
            Some(status) => {
                Err(Error::Ended { name: self.name.clone(), status: status.to_string(), tail: tail(&self.log) })
            }
        }
    }

    /// Sends a signal, unless it has ended already.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<(), Error> {
        if self.status().is_some() {
            return Ok(());
        }
        let what = format!("sending {signal:?} to {}", self.name);
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::State(format!("{what}: no such pid")))?;
        kill_process(pid, signal).map_err(|errno| Error::Io { what, source: errno.into() })
    }

    /// Ends it by SIGKILL and waits for it (milliseconds).
    pub(crate) fn kill(&mut self) {
        if self.status().is_none() {
            // Both fail only when it has ended meanwhile.
            let _ended = self.child.kill();
            if let Ok(status) = self.child.wait() {
                self.ended(status);
            }
        }
    }

    /// Waits until it ends by itself.
    pub(crate) async fn wait(&mut self, deadline: Duration) -> Result<ExitStatus, Error> {
        let what = format!("the end of {}", self.name);
        let log = self.log.clone();
        wait_until(deadline, &what, async || {
            self.status().ok_or_else(|| format!("still running; the end of its log:\n{}", tail(&log)))
        })
        .await
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    fn ended(&mut self, status: ExitStatus) {
        self.status = Some(status);
        reaper::remove(self.child.id());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last lines of the logs of several, for messages.
pub(crate) fn tails(processes: &[Process]) -> String {
    processes.iter().map(|process| tail(process.log())).collect::<Vec<_>>().join("\n---\n")
}

/// The last lines of a log, for messages.
pub(crate) fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_else(|error| format!("({}: {error})", path.display()))
}
