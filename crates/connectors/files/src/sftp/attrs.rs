//! From what a server tells about a file to an [`Entry`], and back.

use super::wire::Attrs;
use ports::files::{Entry, EntryKind, FilePath};

const SECOND: i64 = 1_000_000_000;

impl Attrs {
    fn file_type(self) -> u32 {
        self.mode.unwrap_or(0o100_000) & 0o170_000
    }

    pub(super) fn is_directory(self) -> bool {
        self.file_type() == 0o040_000
    }

    pub(super) fn is_link(self) -> bool {
        self.file_type() == 0o120_000
    }

    /// `target` gives the text of a symbolic link.
    pub(super) fn entry(self, path: FilePath, target: Option<Vec<u8>>) -> Entry {
        let kind = match self.file_type() {
            0o100_000 => EntryKind::File { size: self.size.unwrap_or_default() },
            0o040_000 => EntryKind::Directory,
            0o120_000 => EntryKind::Symlink { target: target.unwrap_or_default() },
            0o010_000 => EntryKind::Other("fifo".to_owned()),
            0o140_000 => EntryKind::Other("socket".to_owned()),
            0o020_000 => EntryKind::Other("character device".to_owned()),
            0o060_000 => EntryKind::Other("block device".to_owned()),
            _ => EntryKind::Other("unknown".to_owned()),
        };
        Entry {
            path,
            kind,
            modified_ns: self.modified.map(|s| i64::from(s) * SECOND),
            mode: self.mode.map(|m| m & 0o7777),
            version: None,
            content_type: None,
            posix: None,
        }
    }

    /// Mode and time of an entry; `mode` where it has none.
    pub(super) fn of(entry: &Entry, mode: Option<u32>) -> Self {
        let seconds = entry.modified_ns.map(|ns| ns.div_euclid(SECOND).clamp(0, i64::from(u32::MAX)) as u32);
        Self { size: None, mode: entry.mode.map(|m| m & 0o7777).or(mode), modified: seconds }
    }

    pub(super) fn is_empty(self) -> bool {
        self == Self::default()
    }
}
