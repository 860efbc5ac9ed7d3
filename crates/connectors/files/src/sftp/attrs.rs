//! From what a server tells about a file to an [`Entry`], and back.

use super::wire::Attrs;
use ports::files::{Entry, EntryKind, FilePath};

const SECOND: i64 = 1_000_000_000;

/// A time that version 3 of the protocol cannot say: it counts seconds from 1970 to 2106 in 32 bits.
pub(super) fn lost_time(entry: &Entry) -> Option<String> {
    let second = entry.modified_ns?.div_euclid(SECOND);
    let lost = || match jiff::Timestamp::from_second(second) {
        Ok(time) => format!("the modification time {time}, which SFTP cannot say"),
        Err(_) => format!("the modification time {second} s, which SFTP cannot say"),
    };
    u32::try_from(second).is_err().then(lost)
}

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
        let modified_ns = self.modified.map(|s| i64::from(s) * SECOND);
        Entry { modified_ns, mode: self.mode.map(|m| m & 0o7777), ..Entry::new(path, kind) }
    }

    /// Mode and time of an entry; `mode` where it has none.
    pub(super) fn of(entry: &Entry, mode: Option<u32>) -> Self {
        // A time out of range is left as the server sets it, and named: see [`lost_time`].
        let seconds = entry.modified_ns.and_then(|ns| u32::try_from(ns.div_euclid(SECOND)).ok());
        Self { size: None, mode: entry.mode.map(|m| m & 0o7777).or(mode), modified: seconds }
    }

    pub(super) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_out_of_range_is_named_and_not_bent() {
        let at = |seconds: i64| Entry { modified_ns: Some(seconds * SECOND), ..Entry::new("a".into(), EntryKind::File { size: 1 }) };
        for seconds in [0, 1_700_000_000, i64::from(u32::MAX)] {
            assert_eq!(Attrs::of(&at(seconds), None).modified, Some(seconds as u32));
            assert_eq!(lost_time(&at(seconds)), None);
        }
        for seconds in [-1, i64::from(u32::MAX) + 1] {
            assert_eq!(Attrs::of(&at(seconds), None).modified, None);
            assert!(lost_time(&at(seconds)).is_some_and(|lost| lost.contains("SFTP")));
        }
        assert!(lost_time(&at(-1)).is_some_and(|lost| lost.contains("1969-12-31T23:59:59Z")));
    }
}
