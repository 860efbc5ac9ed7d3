//! Files of the image's tree. The workload laid it out, so nothing in it need be what its name says: a FIFO without a writer must not hold us up, a huge
//! file must not fill the memory, and no link may lead a write away.

use super::super::mount;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::{Gid, Mode, OFlags, ResolveFlags, Uid, fchmod, fchown, openat2};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata};
use std::io::{Error, ErrorKind as Io, Read, Result, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

/// The largest text that is looked at, in bytes.
const LARGEST: u64 = 1 << 20;

/// Whose a file is, and who may do what with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Access {
    mode: u32,
    user: u32,
    group: u32,
}

impl Access {
    /// What everybody may read and root alone may write.
    pub const OPEN: Self = Self { mode: 0o644, user: 0, group: 0 };

    fn of(facts: &Metadata) -> Self {
        Self { mode: facts.mode() & 0o7777, user: facts.uid(), group: facts.gid() }
    }

    fn give(self, file: &impl AsFd) -> rustix::io::Result<()> {
        // In this order: a new owner takes bits away.
        fchown(file, Some(Uid::from_raw(self.user)), Some(Gid::from_raw(self.group)))?;
        fchmod(file, Mode::from_raw_mode(self.mode))
    }
}

/// Opens a regular file; links lead as if the image's root were the root of everything. `None`: nothing is there, or something else is.
pub(super) fn open(root: &Dir, path: &str) -> Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS) {
        Ok(handle) => File::from(handle),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS | Errno::NXIO | Errno::NODEV) => return Ok(None),
        Err(e) => return Err(at(path, e.into())),
    };
    Ok(file.metadata()?.is_file().then_some(file))
}

/// A regular file's content. One that is too large counts as absent, with a note.
pub(super) fn read(root: &Dir, path: &str, notes: &mut Vec<String>) -> Result<Option<(Vec<u8>, Access)>> {
    let Some(file) = open(root, path)? else { return Ok(None) };
    let access = Access::of(&file.metadata()?);
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|e| at(path, e))?;
    if bytes.len() as u64 > LARGEST {
        notes.push(format!("/{path} is larger than {} MiB: it was not looked at and is as it was", LARGEST >> 20));
        return Ok(None);
    }
    Ok(Some((bytes, access)))
}

/// Where a link leads, in its own words; `None` for everything else.
pub(super) fn link(root: &Dir, path: &str) -> Option<String> {
    let (above, name) = above(root, path).ok()?;
    above.read_link_contents(name).ok().map(|to| to.display().to_string())
}

/// Puts a file at a path, in the place of whatever file or link is there; whole or not at all. Missing directories are made. `run`: its name, which no file
/// of the workload's has; what an earlier try of that run left goes.
pub(super) fn write(root: &Dir, path: &str, content: &[u8], access: Access, run: &str) -> Result<()> {
    let put = || {
        let (above, name) = above(root, path)?;
        let fresh = format!(".migration-{run}~{name}");
        match above.remove_file(&fresh) {
            Err(e) if e.kind() != Io::NotFound => return Err(e),
            _ => {}
        }
        let mut file = above.open_with(&fresh, OpenOptions::new().write(true).create_new(true).mode(0o600))?;
        file.write_all(content)?;
        access.give(&file)?;
        file.sync_all()?;
        above.rename(&fresh, &above, name)
    };
    put().map_err(|e| at(path, e))
}

/// The directory of a path, made when it is missing, and the name in it.
fn above<'a>(root: &Dir, path: &'a str) -> Result<(Dir, &'a str)> {
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parts: Vec<&str> = above.split('/').filter(|part| !part.is_empty()).collect();
    Ok((Dir::from_std_file(File::from(mount::directory(root.as_fd(), &parts)?)), name))
}

fn at(path: &str, error: Error) -> Error {
    Error::new(error.kind(), format!("/{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cap_std::ambient_authority;
    use rustix::fs::{CWD, FileType, mknodat};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    fn tree() -> (tempfile::TempDir, Dir) {
        let dir = tempfile::tempdir().unwrap();
        let root = Dir::open_ambient_dir(dir.path(), ambient_authority()).unwrap();
        (dir, root)
    }

    fn access(root: &Dir, path: &str) -> Access {
        Access::of(&open(root, path).unwrap().unwrap().metadata().unwrap())
    }

    #[test]
    fn only_regular_files_of_a_sane_size_are_read() {
        let (dir, root) = tree();
        mknodat(CWD, dir.path().join("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let _socket = UnixListener::bind(dir.path().join("socket")).unwrap();
        root.create_dir("directory").unwrap();
        root.symlink("loop", "loop").unwrap();
        let mut notes = Vec::new();
        for path in ["fifo", "socket", "directory", "loop", "nothing", "socket/below"] {
            assert_eq!(read(&root, path, &mut notes).unwrap(), None, "{path}");
        }
        assert!(notes.is_empty(), "{notes:?}");
        root.create("huge").unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read(&root, "huge", &mut notes).unwrap(), None);
        assert_eq!(notes, ["/huge is larger than 1 MiB: it was not looked at and is as it was"]);
        root.write("just", vec![b'x'; LARGEST as usize]).unwrap();
        assert_eq!(read(&root, "just", &mut notes).unwrap().unwrap().0.len() as u64, LARGEST);
    }

    #[test]
    fn links_lead_as_in_the_workload() {
        let (dir, root) = tree();
        root.create_dir_all("usr/etc").unwrap();
        root.write("usr/etc/table", "inside").unwrap();
        std::os::unix::fs::symlink("/usr/etc", dir.path().join("etc")).unwrap();
        assert_eq!(read(&root, "etc/table", &mut Vec::new()).unwrap().unwrap().0, b"inside");
        write(&root, "etc/table", b"changed", access(&root, "etc/table"), "run").unwrap();
        assert_eq!(root.read("usr/etc/table").unwrap(), b"changed");
        root.symlink("table", "usr/etc/other").unwrap();
        assert_eq!((link(&root, "etc/other").as_deref(), link(&root, "etc/table"), link(&root, "etc/none")), (Some("table"), None, None));
    }

    #[test]
    fn a_write_goes_nowhere_else_and_keeps_whose_it_was() {
        let (dir, root) = tree();
        root.write("precious", "mine").unwrap();
        for link in ["table.new", ".migration-run~table", "table"] {
            root.symlink("precious", link).unwrap();
        }
        std::fs::set_permissions(dir.path().join("precious"), std::fs::Permissions::from_mode(0o4640)).unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(dir.path().join("precious"), Some(33), Some(34)).unwrap();
            std::fs::set_permissions(dir.path().join("precious"), std::fs::Permissions::from_mode(0o4640)).unwrap();
        }
        let before = access(&root, "precious");
        write(&root, "table", b"ours", before, "run").unwrap();
        assert_eq!((root.read("table").unwrap(), access(&root, "table")), (b"ours".to_vec(), before));
        assert_eq!((root.read("precious").unwrap(), access(&root, "precious")), (b"mine".to_vec(), before));
        assert!(root.symlink_metadata("table").unwrap().is_file(), "the link gave way");
        assert!(root.symlink_metadata("table.new").unwrap().is_symlink(), "a name of the workload's");
        assert!(!root.exists(".migration-run~table"));
    }
}
