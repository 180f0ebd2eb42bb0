//! Temporary directories that go with their owner, or with the process. Knows nothing of what is kept in them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Error, reaper};

/// Set to anything, it keeps the directories for a look at the logs.
const KEEP: &str = "TESTBED_KEEP";

/// A directory of its own in the system's temporary directory; removed on drop unless `TESTBED_KEEP` is set.
#[derive(Debug)]
pub struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    /// Makes one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create() -> Result<Self, Error> {
        let name = format!("{}{}-{:08x}", reaper::DIRECTORY_PREFIX, std::process::id(), fastrand::u32(..));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).map_err(Error::io(path.display().to_string()))?;
        let directory = Self(path);
        if !keep() {
            reaper::add_directory(directory.path())?;
        }
        Ok(directory)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        if keep() {
            eprintln!("testbed: kept {}", self.0.display());
        } else {
            // What is left over lies in the temporary directory of the system.
            let _left_over = fs::remove_dir_all(&self.0);
        }
    }
}

fn keep() -> bool {
    std::env::var_os(KEEP).is_some()
}
