//! The name of the place where this server keeps backups.
//!
//! It lies in that place itself: servers that share one directory (`--backup-store`) have one name, and a server whose directory was replaced by an
//! empty one has another. A run with a backup is pinned to the name, so that no server takes a backup that it cannot reach for one that never was.

use super::{Settings, file_error};
use ports::Result;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

const FILE: &str = ".node";

/// The name, made at the first call: `web1-3f9a2c1d`. Repeatable, by several servers at once.
///
/// # Errors
/// What the file system says when the directory can be neither read nor made.
pub fn of(settings: &Settings) -> Result<String> {
    let path = settings.backups_dir.join(FILE);
    read_or_make(&settings.backups_dir, &path).map_err(|e| file_error("read", &path, e))
}

fn read_or_make(dir: &Path, path: &Path) -> io::Result<String> {
    if let Some(name) = read(path)? {
        return Ok(name);
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let unique = uuid::Uuid::now_v7().simple().to_string();
    let (name, staging) = (format!("{}-{}", host_name(), &unique[24..]), dir.join(format!("{FILE}.{unique}")));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staging)?;
    file.write_all(name.as_bytes())?;
    file.sync_all()?;
    // Never over a name that another server has just made.
    let linked = std::fs::hard_link(&staging, path);
    std::fs::remove_file(&staging)?;
    match linked {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => std::fs::File::open(dir)?.sync_all()?,
    }
    read(path)?.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is empty; remove it, and a new name is made"))
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|name| !name.is_empty())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain: String = name.trim().chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '-' }).take(40).collect();
    if plain.is_empty() { "server".to_owned() } else { plain }
}
