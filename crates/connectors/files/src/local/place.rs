//! Which directory it is, whatever its path says.

use super::error::from_io;
use super::root::Root;
use super::{LocalFiles, write};
use crate::physical::{self, BOOT_ID, MOUNTS};
use crate::staging;
use ports::Result;
use ports::files::FilePath;
use ports::place::{FilePlace, PhysicalPath};
use std::path::{Path, PathBuf};

#[async_trait::async_trait]
impl FilePlace for LocalFiles {
    async fn physical_path(&self) -> Result<Option<PhysicalPath>> {
        self.blocking(|root| locate(root).map_err(|e| from_io("find the file system of", root.location(), e))).await
    }

    async fn write_mark(&self, path: &FilePath, content: &[u8], replace: bool) -> Result<()> {
        let entry = staging::mark(path, content.len(), &self.root.location())?;
        let over = || if replace { write::Over::Anything } else { write::Over::Nothing };
        let write = || write::put(self, &entry, staging::MARK_TAG, staging::body_of(content), over());
        staging::again_when_swept(write).await
    }
}

fn locate(root: &Root) -> std::io::Result<Option<PhysicalPath>> {
    let (existing, missing) = root.nearest_and_missing();
    let real = existing.canonicalize()?;
    // Another system than Linux tells neither.
    let (Ok(boot_id), Ok(mounts)) = (std::fs::read_to_string(BOOT_ID), std::fs::read(MOUNTS)) else { return Ok(None) };
    let found = physical::locate(&boot_id, &String::from_utf8_lossy(&mounts), &real);
    Ok(found.map(|at| PhysicalPath { path: missing.iter().fold(at.path, |path: PathBuf, name| path.join(name)), ..at }))
}

impl Root {
    /// The root or the nearest directory above it that exists, and the names below it that do not.
    fn nearest_and_missing(&self) -> (&Path, Vec<&std::ffi::OsStr>) {
        let existing = self.nearest();
        let below = self.path().strip_prefix(existing).unwrap_or(Path::new(""));
        (existing, below.iter().collect())
    }
}
