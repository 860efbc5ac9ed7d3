//! Reading what a plain `stat` does not tell.

use super::super::facts::Facts;
use super::super::root::Root;
use crate::local::error::from_io;
use ports::Result;
use ports::files::posix::MOUNT_POINT;
use ports::files::{Entry, EntryKind, FilePath, Posix};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, Stat, getxattr, listxattr, openat};
use rustix::io::Errno;
use rustix::path::Arg;
use std::collections::BTreeMap;
use std::path::PathBuf;

pub(crate) fn of_root(root: &Root) -> Result<Option<Entry>> {
    let handle = match root.open() {
        Err(e) if e.kind == ports::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let metadata = handle.dir_metadata().map_err(|e| from_io("look at", root.location(), e))?;
    Ok(Some(Facts::from(&metadata).entry(FilePath::default(), None)))
}

/// A handle of the thing itself, good for naming it only.
pub(super) fn handle(directory: impl AsFd, name: impl Arg) -> rustix::io::Result<OwnedFd> {
    openat(directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// The name under which calls that want a path find what a handle is of.
pub(super) fn name_of(handle: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()))
}

/// All attributes; none where the file system knows no such thing.
pub(super) fn attributes(handle: &OwnedFd) -> rustix::io::Result<BTreeMap<String, Vec<u8>>> {
    let name = name_of(handle);
    let mut found = BTreeMap::new();
    let mut list = Vec::with_capacity(64 << 10);
    match listxattr(&name, rustix::buffer::spare_capacity(&mut list)) {
        Ok(_) => {}
        Err(Errno::OPNOTSUPP | Errno::NOENT | Errno::PERM) => return Ok(found),
        Err(e) => return Err(e),
    }
    for attribute in list.split(|b| *b == 0).filter_map(|n| std::str::from_utf8(n).ok()).filter(|n| crate::tree::is_attribute(n)) {
        let mut value = Vec::with_capacity(64 << 10);
        match getxattr(&name, attribute, rustix::buffer::spare_capacity(&mut value)) {
            Ok(_) => drop(found.insert(attribute.to_owned(), value.as_slice().to_vec())),
            Err(Errno::NODATA | Errno::NOENT | Errno::PERM | Errno::ACCESS) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

/// The facts of `name` in a directory, of which `stat` is known.
pub(crate) fn posix(directory: impl AsFd, name: impl Arg, stat: &Stat) -> rustix::io::Result<Posix> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let node = matches!(kind, FileType::BlockDevice | FileType::CharacterDevice).then(|| (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)));
    let attributes = match handle(directory, name) {
        Ok(handle) => attributes(&handle)?,
        Err(Errno::NOENT | Errno::NOTDIR) => BTreeMap::new(),
        Err(e) => return Err(e),
    };
    Ok(Posix {
        owner: stat.st_uid,
        group: stat.st_gid,
        device: stat.st_dev,
        inode: stat.st_ino,
        links: stat.st_nlink,
        stored: (stat.st_blocks as u64).saturating_mul(512),
        node,
        attributes,
    })
}

/// Says of a directory on another device than the root's that something is mounted there.
pub(crate) fn mounted(entry: &mut Entry, root_device: u64) {
    if entry.kind == EntryKind::Directory && entry.posix.as_ref().is_some_and(|p| p.device != root_device) {
        entry.kind = EntryKind::Other(MOUNT_POINT.to_owned());
    }
}
