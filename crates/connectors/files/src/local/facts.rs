//! From what the kernel knows about a file to an [`Entry`].

use cap_std::fs::{Metadata, MetadataExt};
use ports::files::{Entry, EntryKind, FilePath};
use rustix::fs::{FileType, Stat};

/// The part of a `stat` that matters here.
#[derive(Clone, Copy)]
pub(super) struct Facts {
    raw_mode: u32,
    pub(super) size: u64,
    inode: u64,
    modified_ns: i64,
    changed_ns: i128,
}

impl From<&Stat> for Facts {
    fn from(s: &Stat) -> Self {
        Self {
            raw_mode: s.st_mode,
            size: s.st_size as u64,
            inode: s.st_ino,
            modified_ns: nanoseconds(s.st_mtime, s.st_mtime_nsec as i64),
            changed_ns: i128::from(s.st_ctime) * 1_000_000_000 + i128::from(s.st_ctime_nsec),
        }
    }
}

impl From<&Metadata> for Facts {
    fn from(m: &Metadata) -> Self {
        Self {
            raw_mode: m.mode(),
            size: m.size(),
            inode: m.ino(),
            modified_ns: nanoseconds(m.mtime(), m.mtime_nsec()),
            changed_ns: i128::from(m.ctime()) * 1_000_000_000 + i128::from(m.ctime_nsec()),
        }
    }
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

impl Facts {
    pub(super) fn file_type(self) -> FileType {
        FileType::from_raw_mode(self.raw_mode)
    }

    pub(super) fn is_directory(self) -> bool {
        self.file_type() == FileType::Directory
    }

    /// Whether this is the same thing with the same content. (A rename may change the time of the last change.)
    pub(super) fn is_same_content(self, other: Self) -> bool {
        (self.inode, self.size, self.modified_ns) == (other.inode, other.size, other.modified_ns)
    }

    /// `target` gives the text of a symbolic link.
    pub(super) fn entry(self, path: FilePath, target: Option<Vec<u8>>) -> Entry {
        let kind = match self.file_type() {
            FileType::RegularFile => EntryKind::File { size: self.size },
            FileType::Directory => EntryKind::Directory,
            FileType::Symlink => EntryKind::Symlink { target: target.unwrap_or_default() },
            FileType::Fifo => EntryKind::Other("fifo".to_owned()),
            FileType::Socket => EntryKind::Other("socket".to_owned()),
            FileType::CharacterDevice => EntryKind::Other("character device".to_owned()),
            FileType::BlockDevice => EntryKind::Other("block device".to_owned()),
            FileType::Unknown => EntryKind::Other("unknown".to_owned()),
        };
        let version = matches!(kind, EntryKind::File { .. }).then(|| format!("{:x}-{:x}", self.inode, self.changed_ns));
        Entry { modified_ns: Some(self.modified_ns), mode: Some(self.raw_mode & 0o7777), version, ..Entry::new(path, kind) }
    }
}
