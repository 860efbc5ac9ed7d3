//! Where an image and what it is made of lie: the working directory beside the image's path, which nobody else may enter.

use domain::vms::ImageFormat;
use domain::workloads::NewImage;
use ports::{ConnectorError, ErrorKind, Result};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::fs;
use std::io::ErrorKind as Io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The files of one image.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Where the image is to be.
    pub image: PathBuf,
    /// Where it is made.
    pub work: PathBuf,
    pub format: ImageFormat,
}

impl Place {
    /// `roots`: the directories below which images may lie. What is above the image must exist.
    pub fn new(id: &str, image: &NewImage, roots: &[PathBuf]) -> Result<Self> {
        let shown = || image.path.escape_default().to_string();
        if id.is_empty() || id.len() > 64 || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(ConnectorError::new(ErrorKind::Name, "make an image for", id.escape_default().to_string(), "that is no id of a migration"));
        }
        let path = Path::new(&image.path);
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(ConnectorError::new(ErrorKind::Name, "make the image", shown(), "it is no path of a file"));
        };
        let above = above.canonicalize().ok().filter(|real| real.is_dir() && roots.iter().filter_map(|r| r.canonicalize().ok()).any(|r| real.starts_with(r)));
        let Some(above) = above else {
            let reason = "its directory is not there, or not below one that this server allows";
            let advice = "Make the directory, and start the server with --image-root for it or for one above it";
            return Err(ConnectorError::new(ErrorKind::Permission, "make the image", shown(), reason).advice(advice));
        };
        Ok(Self { image: above.join(name), work: above.join(format!(".migration-{id}")), format: image.format })
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    /// The whole disk, as the firmware sees it.
    pub fn raw(&self) -> PathBuf {
        self.file("disk.raw")
    }

    /// What will be the image.
    pub fn ready(&self) -> PathBuf {
        match self.format {
            ImageFormat::Raw => self.raw(),
            ImageFormat::Qcow2 => self.file("disk.qcow2"),
        }
    }

    /// It holds all that a server knows, its keys included: it is its owner's alone.
    pub fn make(&self) -> Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.work).map_err(|e| self.failed("make the working directory of", &e))
    }

    /// The working directory goes with everything in it.
    pub fn clear(&self) -> Result<()> {
        match fs::remove_dir_all(&self.work) {
            Err(e) if e.kind() != Io::NotFound => Err(self.failed("remove the working directory of", &e)),
            _ => Ok(()),
        }
    }

    /// Puts the ready file at the image's path; nothing is ever replaced. Repeatable for the same file.
    pub fn publish(&self, sealed: &str) -> Result<()> {
        if identity(&self.image).as_deref() != Some(sealed) {
            let ready = self.ready();
            let put = fs::set_permissions(&ready, fs::Permissions::from_mode(0o600)).and_then(|()| fs::hard_link(&ready, &self.image));
            put.map_err(|e| match e.kind() {
                Io::AlreadyExists => taken(&self.image),
                _ => self.failed("put into its place", &e),
            })?;
        }
        let above = self.image.parent().unwrap_or(Path::new("/"));
        fs::File::open(above).and_then(|dir| dir.sync_all()).map_err(|e| self.failed("put into its place", &e))?;
        self.clear()
    }

    /// Removes the image if it is the sealed one; true when something else is left at its path.
    pub fn withdraw(&self, sealed: &str) -> Result<bool> {
        match identity(&self.image) {
            None => Ok(false),
            Some(found) if found == sealed => match fs::remove_file(&self.image) {
                Err(e) if e.kind() != Io::NotFound => Err(self.failed("remove", &e)),
                _ => Ok(false),
            },
            Some(_) => Ok(true),
        }
    }

    pub fn failed(&self, operation: &str, error: &std::io::Error) -> ConnectorError {
        let (kind, advice) = match error.kind() {
            Io::StorageFull | Io::QuotaExceeded => (ErrorKind::NoSpace, "Free some space; the migration then goes on where it stopped"),
            Io::PermissionDenied | Io::ReadOnlyFilesystem => (ErrorKind::Permission, "Give the user who runs the server access to the directory"),
            Io::NotFound => (ErrorKind::NotFound, "It is made on one machine: was this migration taken up on another one?"),
            _ => (ErrorKind::Internal, ""),
        };
        ConnectorError::new(kind, operation, format!("the image {}", self.image.display()), error.to_string()).advice(advice)
    }
}

/// Something lies where the image is to be.
pub(super) fn taken(image: &Path) -> ConnectorError {
    let advice = "Choose another path, or move away what lies there: nothing is overwritten";
    ConnectorError::new(ErrorKind::AlreadyExists, "make the image", image.display().to_string(), "something is already there").advice(advice)
}

/// A number that is given again to another file, and the moment of birth, which is not. `None` when nothing is there.
pub(super) fn identity(file: &Path) -> Option<String> {
    let stat = statx(CWD, file, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::INO | StatxFlags::BTIME).ok()?;
    Some(format!("{}-{}.{:09}", stat.stx_ino, stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec))
}
