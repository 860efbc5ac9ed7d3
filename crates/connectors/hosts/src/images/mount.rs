//! The file system of an unfinished image, mounted for us alone: it hangs in no directory, only on a handle of this process.
//!
//! The kernel unmounts it when the last handle goes and then takes the loop device down, whatever becomes of this process. Only a process that is killed
//! within the instants between making the device and marking it so leaves the device, without a mount: the next open detaches it, and so does the removal
//! of the image. A lock on the disk keeps other workers out; one that was killed may leave its mount for a moment, so an open waits until no loop device
//! shows the disk any more.

use super::disk::PARTITION;
use super::place::Place;
use crate::program::run;
use ports::{ConnectorError, ErrorKind, Result};
use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2, syncfs};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags};
use rustix::mount::{fsconfig_create, fsconfig_reconfigure, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, fspick};
use std::fs::{File, TryLockError};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a killed worker's mount may take to write its last data.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(100);

/// The mounted file system. Dropped, it is let go once no directory of it is open.
pub(super) struct Mounted {
    root: OwnedFd,
    _lock: File,
}

impl Mounted {
    pub async fn open(place: &Place) -> Result<Self> {
        let lock = lock(place)?;
        let raw = place.raw().display().to_string();
        release(&raw, true).await?;
        let offset = PARTITION.to_string();
        let device = run("losetup", ["--find", "--show", "--offset", &offset, &raw]).await.map_err(no_loop)?.trim().to_owned();
        let mounted = mount(&device).map_err(|e| not_mounted(place, e));
        // A device that is in use is marked, and goes with its last user; one that is not goes at once.
        run("losetup", ["--detach", &device]).await?;
        Ok(Self { root: mounted?, _lock: lock })
    }

    /// A handle of a directory; it and those above it are made when they are missing.
    pub fn directory(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        directory(self.root.as_fd(), &parts)
    }

    /// Nothing can be written any more, through whatever handle, and everything is on the disk.
    pub fn settle(&self) -> rustix::io::Result<()> {
        let lost = self.directory("/lost+found")?;
        syncfs(&lost)?;
        drop(lost);
        let picked = fspick(&self.root, "", FsPickFlags::FSPICK_EMPTY_PATH | FsPickFlags::FSPICK_CLOEXEC)?;
        fsconfig_set_flag(&picked, "ro")?;
        fsconfig_reconfigure(&picked)
    }

    /// Everything written so far is on the disk.
    pub fn flush(&self) -> rustix::io::Result<()> {
        syncfs(self.directory("/")?)
    }
}

fn lock(place: &Place) -> Result<File> {
    let failed = |e: std::io::Error| place.failed("open", &e);
    let file = File::options().read(true).write(true).open(place.raw()).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(busy(place)),
        Err(TryLockError::Error(e)) => Err(failed(e)),
    }
}

fn busy(place: &Place) -> ConnectorError {
    let mut error = ConnectorError::new(ErrorKind::AlreadyExists, "open", format!("the image {}", place.image.display()), "another worker is still at it");
    error.temporary = true;
    error
}

/// Detaches what a killed process has left. `wait`: until nothing shows the disk any more.
pub(super) async fn release(raw: &str, wait: bool) -> Result<()> {
    let begun = Instant::now();
    loop {
        let shown = run("losetup", ["--list", "--noheadings", "--output", "NAME", "--associated", raw]).await?;
        let devices: Vec<&str> = shown.split_whitespace().collect();
        for device in &devices {
            // One that has gone by itself meanwhile is what is wanted.
            let _detached_or_gone = run("losetup", ["--detach", device]).await;
        }
        if devices.is_empty() || !wait {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            let reason = format!("{} is still in use", devices.join(" "));
            return Err(
                ConnectorError::new(ErrorKind::TimedOut, "open the disk", raw, reason).advice("Look what uses it with lsof; the migration then goes on")
            );
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn mount(device: &str) -> rustix::io::Result<OwnedFd> {
    let context = fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", device)?;
    fsconfig_set_flag(&context, "discard")?;
    fsconfig_create(&context)?;
    let quiet = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC | MountAttrFlags::MOUNT_ATTR_NOATIME;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, quiet)
}

/// Every part is looked up as if the image's root were the root of everything, so that no link leads out. Missing ones are made.
pub(super) fn directory(root: BorrowedFd<'_>, parts: &[&str]) -> rustix::io::Result<OwnedFd> {
    let path = if parts.is_empty() { ".".to_owned() } else { parts.join("/") };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat2(root, path.as_str(), flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS) {
        Err(Errno::NOENT) if !parts.is_empty() => {
            let above = directory(root, &parts[..parts.len() - 1])?;
            match mkdirat(&above, parts[parts.len() - 1], Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e),
            }
            openat2(root, path.as_str(), flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
        }
        other => other,
    }
}

fn no_loop(error: ConnectorError) -> ConnectorError {
    if error.kind == ErrorKind::Unsupported {
        return error;
    }
    error.advice("The server needs loop devices (the kernel's module loop, /dev/loop-control), which a container often does not have")
}

fn not_mounted(place: &Place, errno: Errno) -> ConnectorError {
    let (kind, advice) = match errno {
        Errno::PERM | Errno::ACCESS => (ErrorKind::Permission, "The server must run as root to make images"),
        Errno::NOSYS => (ErrorKind::Unsupported, "Linux 5.2 or newer is needed to make images"),
        Errno::NODEV => (ErrorKind::Unsupported, "This kernel has no ext4"),
        Errno::BUSY => (ErrorKind::Interrupted, ""),
        _ => (ErrorKind::Internal, "Look into the kernel's log (dmesg)"),
    };
    ConnectorError::new(kind, "mount the file system of", format!("the image {}", place.image.display()), errno.to_string()).advice(advice)
}

/// What went wrong inside the image.
pub(super) fn inside(image: &Path, operation: &str, path: &str, errno: Errno) -> ConnectorError {
    let (kind, advice) = match errno {
        Errno::NOSPC => (ErrorKind::NoSpace, "Give the image a larger size_gib"),
        Errno::BUSY => (ErrorKind::Interrupted, ""),
        Errno::NOTDIR | Errno::LOOP => (ErrorKind::AlreadyExists, "Something that is no directory lies in the way"),
        _ => (ErrorKind::Internal, ""),
    };
    ConnectorError::new(kind, operation, format!("{}:{path}", image.display()), errno.to_string()).advice(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As after a kill between making the device and mounting it.
    #[tokio::test]
    async fn a_device_that_nothing_uses_is_detached() {
        if !rustix::process::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
            eprintln!("not looked at: only root may make loop devices, and this kernel must have them");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let raw = dir.path().join("disk.raw");
        File::create(&raw).unwrap().set_len(4 << 20).unwrap();
        let raw = raw.display().to_string();
        let shown = || run("losetup", ["--list", "--noheadings", "--output", "NAME", "--associated", &raw]);
        let device = run("losetup", ["--find", "--show", "--offset", &PARTITION.to_string(), &raw]).await.unwrap();
        assert_eq!(shown().await.unwrap().trim(), device.trim());
        release(&raw, true).await.unwrap();
        assert_eq!(shown().await.unwrap(), "");
    }
}
