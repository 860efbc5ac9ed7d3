//! Where a directory really is, from what a Linux system says of its mounts.

use ports::place::PhysicalPath;
use std::path::{Path, PathBuf};

/// Where the running kernel says which one it is.
pub(crate) const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
pub(crate) const MOUNTS: &str = "/proc/self/mountinfo";

/// `real`: a path without links; `mounts`: the content of [`MOUNTS`] (proc(5)). `None` when no mount holds it.
pub(crate) fn locate(boot_id: &str, mounts: &str, real: &Path) -> Option<PhysicalPath> {
    // A later mount hides an earlier one at the same point.
    let mount = mounts.lines().filter_map(Mount::parse).filter(|m| real.starts_with(&m.point)).max_by_key(|m| m.point.as_os_str().len())?;
    let inside = real.strip_prefix(&mount.point).ok()?;
    let path = if inside.as_os_str().is_empty() { mount.root } else { mount.root.join(inside) };
    Some(PhysicalPath { file_system: format!("{} {}", boot_id.trim(), mount.device), path })
}

struct Mount {
    device: String,
    /// The directory of the file system that is mounted.
    root: PathBuf,
    point: PathBuf,
}

impl Mount {
    /// `36 35 98:0 /mnt1 /mnt2 rw,noatime …`
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ').skip(2);
        let mut next = || fields.next();
        Some(Self { device: next()?.to_owned(), root: unescaped(next()?), point: unescaped(next()?) })
    }
}

/// Spaces, tabs, line ends and backslashes stand as `\040` and so on.
fn unescaped(field: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let bytes = field.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'\\').then(|| field.get(at + 1..at + 4)).flatten().and_then(|digits| u8::from_str_radix(digits, 8).ok());
        out.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 4 } else { 1 };
    }
    std::ffi::OsString::from_vec(out).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: &str = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
        30 22 8:2 / /srv rw shared:1 - ext4 /dev/sda2 rw\n\
        31 22 8:2 /site/in\\040side /mnt/bind rw - ext4 /dev/sda2 rw\n\
        32 30 0:50 / /srv/over rw - tmpfs tmpfs rw\n\
        33 32 8:3 /b /srv/over rw - ext4 /dev/sda3 rw\n";

    #[test]
    fn a_bind_mount_is_what_it_shows_and_the_last_mount_counts() {
        for (path, device, inside) in [
            ("/etc", "8:1", "/etc"),
            ("/srv", "8:2", "/"),
            ("/srv/site", "8:2", "/site"),
            ("/mnt/bind", "8:2", "/site/in side"),
            ("/mnt/bind/x", "8:2", "/site/in side/x"),
            ("/srv/over/y", "8:3", "/b/y"),
            ("/srvx", "8:1", "/srvx"),
        ] {
            let found = locate("id\n", SEEN, Path::new(path)).unwrap();
            assert_eq!((found.file_system, found.path), (format!("id {device}"), PathBuf::from(inside)), "{path}");
        }
    }
}
