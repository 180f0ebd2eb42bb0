//! Turns at starting an API server, for all processes of the machine.
//!
//! Each start takes a core for some seconds. Test programs run side by side, and each begins with as many starts as it has
//! threads: all at once they would leave nothing to those that measure time. Owns the locks; the kernel gives them back,
//! whatever becomes of a process. Must not know what is started.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;

/// Starts at a time.
const SLOTS: u64 = 2;

/// Held while an API server starts.
#[derive(Debug)]
pub(crate) struct Turn {
    _lock: Option<File>,
}

/// Waits for a turn. Where there can be no lock (another user's file, for example) nobody waits.
pub(crate) async fn take() -> Turn {
    let lock = tokio::task::spawn_blocking(|| {
        let files: Vec<_> = (0..SLOTS).filter_map(|slot| open(slot).ok()).collect();
        let free = files.iter().position(|file| file.try_lock().is_ok());
        // Which one is given back first nobody knows.
        let slot = free.unwrap_or_else(|| fastrand::usize(..files.len().max(1)));
        let file = files.into_iter().nth(slot)?;
        // Done already where it was free.
        if free.is_none() {
            file.lock().ok()?;
        }
        Some(file)
    });
    Turn { _lock: lock.await.ok().flatten() }
}

fn open(slot: u64) -> std::io::Result<File> {
    let path: PathBuf = std::env::temp_dir().join(format!("runai-testbed-start-{slot}.lock"));
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}
