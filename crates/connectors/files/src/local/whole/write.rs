//! Setting owners and attributes, making nodes and further names.

use super::super::error::from_io;
use super::super::root::{Root, native, parent};
use super::facts::{attributes, handle, name_of};
use crate::{staging, tree};
use ports::Result;
use ports::files::posix::{CHARACTER_DEVICE, FIFO};
use ports::files::{Entry, EntryKind, FilePath};
use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, RenameFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chownat, linkat, makedev, mknodat, removexattr, renameat,
    renameat_with, setxattr, unlinkat, utimensat,
};
use rustix::io::Errno;

/// Labels of the security system belong to the machine.
fn is_ours(attribute: &str) -> bool {
    attribute != "security.selinux"
}

/// Gives what is there owner, mode, attributes and time, never through a link.
pub(super) fn dress(root: &Root, entry: &Entry) -> Result<()> {
    let told = |e: Errno| from_io("set owner, mode and attributes of", root.subject(&entry.path), e.into());
    let handle = handle(root.open()?, native(&entry.path)).map_err(told)?;
    dress_handle(&handle, entry).map_err(told)
}

/// In an order in which nothing undoes what was set before: a new owner takes away set-user-id bits and capabilities.
pub(super) fn dress_handle(handle: &OwnedFd, entry: &Entry) -> rustix::io::Result<()> {
    let name = name_of(handle);
    let root = rustix::process::geteuid().is_root();
    if let Some(posix) = entry.posix.as_ref().filter(|_| root) {
        let (owner, group) = (Uid::from_raw(posix.owner), Gid::from_raw(posix.group));
        chownat(handle, c"", Some(owner), Some(group), AtFlags::EMPTY_PATH)?;
    }
    let link = matches!(entry.kind, EntryKind::Symlink { .. });
    if let Some(mode) = entry.mode.filter(|_| !link) {
        rustix::fs::chmod(&name, Mode::from_raw_mode(mode & 0o7777))?;
    }
    if let Some(posix) = &entry.posix {
        let settable = |attribute: &&String| is_ours(attribute) && (root || attribute.starts_with("user.") || attribute.starts_with("system.posix_acl_"));
        for extra in attributes(handle)?.keys().filter(settable).filter(|a| !posix.attributes.contains_key(*a)) {
            match removexattr(&name, extra.as_str()) {
                Err(Errno::NODATA) | Ok(()) => {}
                Err(e) => return Err(e),
            }
        }
        for attribute in posix.attributes.keys().filter(settable) {
            setxattr(&name, attribute.as_str(), &posix.attributes[attribute], XattrFlags::empty())?;
        }
    }
    let Some(ns) = entry.modified_ns else { return Ok(()) };
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: ns.div_euclid(1_000_000_000), tv_nsec: ns.rem_euclid(1_000_000_000) },
    };
    utimensat(rustix::fs::CWD, &name, &times, AtFlags::empty())
}

/// Makes a FIFO or device node under a staging name and puts it in place.
pub(super) fn node(root: &Root, entry: &Entry, tag: &str, fresh: bool) -> Result<()> {
    let told = |e: Errno| from_io("make", root.subject(&entry.path), e.into());
    let directory = parent(root.open()?, &entry.path).map_err(|e| from_io("make the directory of", root.subject(&entry.path), e))?;
    let name = staging::name(tag, &entry.path);
    let (major, minor) = entry.posix.as_ref().and_then(|p| p.node).unwrap_or_default();
    let kind = match &entry.kind {
        EntryKind::Other(kind) if kind == FIFO => FileType::Fifo,
        EntryKind::Other(kind) if kind == CHARACTER_DEVICE => FileType::CharacterDevice,
        _ => FileType::BlockDevice,
    };
    mknodat(&directory, &name, kind, Mode::from_raw_mode(0o600), makedev(major, minor)).map_err(told)?;
    let dressed = handle(&directory, &name).and_then(|handle| dress_handle(&handle, entry));
    let placed = dressed.and_then(|()| rename(&directory, &name, tree::leaf(&entry.path), fresh));
    if placed.is_err() {
        // The first error is the one to tell.
        let _ = unlinkat(&directory, &name, AtFlags::empty());
    }
    placed.map_err(told)
}

fn rename(directory: &cap_std::fs::Dir, from: &str, to: &[u8], fresh: bool) -> rustix::io::Result<()> {
    let flags = if fresh { RenameFlags::NOREPLACE } else { RenameFlags::empty() };
    match renameat_with(directory, from, directory, to, flags) {
        Err(Errno::ISDIR) => {
            unlinkat(directory, to, AtFlags::REMOVEDIR)?;
            renameat(directory, from, directory, to)
        }
        other => other,
    }
}

/// A further name of the file at `existing`.
pub(super) fn link(root: &Root, existing: &FilePath, new: &FilePath, staged: &str) -> Result<()> {
    let told = |e: Errno| from_io("make the link", root.subject(new), e.into());
    let io = |e: std::io::Error| from_io("make the link", root.subject(new), e);
    let from = match existing.parent() {
        Some(parent) => root.open()?.open_dir(native(&parent)).map_err(io)?,
        None => root.open()?,
    };
    let to = parent(root.open()?, new).map_err(io)?;
    linkat(&from, tree::leaf(existing), &to, staged, AtFlags::empty()).map_err(told)?;
    let placed = rename(&to, staged, tree::leaf(new), false);
    // Where both are one file already, a rename does nothing and leaves both names.
    let _ = unlinkat(&to, staged, AtFlags::empty());
    placed.map_err(told)
}
