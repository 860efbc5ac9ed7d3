//! What the mover answers: plans and results, small enough to be a step's output. Long lists are cut at [`LISTED`] entries; the
//! counts beside them are exact.

use ports::files::FilePath;
use serde::{Deserialize, Serialize};

/// The longest list of names in any report.
pub const LISTED: usize = 1000;

/// Why something did not move, or not as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// The destination cannot hold the name.
    Name,
    /// `a` and `a/b` cannot both exist at the destination, or something of the destination stands in the way.
    Collision,
    /// Socket; device and FIFO where no whole tree is moved.
    Device,
    /// Another file system is mounted there.
    Mounted,
    /// A symbolic link that stays behind.
    SkippedLink,
    /// A link that should be followed, but leads nowhere, out of the root, or to a directory.
    UnfollowedLink,
    /// A link that was kept, and leads to something outside of the root, which is not moved.
    LinkOut,
    /// The destination cannot hold an empty directory.
    EmptyDirectory,
    /// It kept changing while it was copied. The final pass takes it.
    Changed,
    /// It was written to all the time, in the last pass too. The destination holds what it was at one moment.
    Changing,
    /// It vanished between plan and copy. The final pass settles it.
    Vanished,
    /// Something was put in its place at the destination between plan and copy, and was left alone. The final pass settles it.
    Spared,
    /// The source does not let us read it.
    Unreadable,
    /// It was moved, but the destination has no place for something that belongs to it: headers, tags, a time.
    NotKept,
    /// The destination refused it.
    Refused,
    /// It appeared at the source during the migration, or something else at the destination, and what the destination holds was not backed up.
    Occupied,
    /// Somebody changed it at the destination after we had written it, so it was left alone.
    Foreign,
    /// It was overwritten or removed without a backup.
    NoBackup,
    /// What the backup holds of it is missing, shorter, or has another hash than the recorded one.
    BackupDamaged,
}

impl ProblemKind {
    /// Whether it makes the result partial. What the final pass settles does not.
    pub fn is_lasting(self) -> bool {
        !matches!(self, Self::Changed | Self::Vanished | Self::Spared)
    }
}

/// One path that needs a word in the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathProblem {
    pub path: FilePath,
    pub kind: ProblemKind,
    /// A sentence for people.
    pub reason: String,
}

/// Problems found: the first [`LISTED`], and how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Problems {
    pub count: u64,
    /// Those of them that make the result partial.
    pub lasting: u64,
    pub listed: Vec<PathProblem>,
}

impl Problems {
    pub fn note(&mut self, path: &FilePath, kind: ProblemKind, reason: impl Into<String>) {
        self.count += 1;
        self.lasting += u64::from(kind.is_lasting());
        if self.listed.len() < LISTED {
            self.listed.push(PathProblem { path: path.clone(), kind, reason: reason.into() });
        }
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds what `other` found.
    pub fn append(&mut self, other: Self) {
        self.count += other.count;
        self.lasting += other.lasting;
        let room = LISTED.saturating_sub(self.listed.len());
        self.listed.extend(other.listed.into_iter().take(room));
    }
}

/// How much an exclude pattern left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excluded {
    pub pattern: String,
    pub entries: u64,
    pub bytes: u64,
}

/// What will be done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilesPlan {
    /// Files to copy, overwrites included.
    pub files: u64,
    pub bytes: u64,
    pub directories: u64,
    pub symlinks: u64,
    /// Things of the destination that will be replaced, and the bytes that they hold now.
    pub overwrites: u64,
    pub overwritten_bytes: u64,
    /// Things of the destination that will be removed, and the bytes that they hold now.
    pub deletes: u64,
    pub deleted_bytes: u64,
    /// Files that are there already, proven by hash.
    pub unchanged: u64,
    pub unchanged_bytes: u64,
    /// The ten largest files to copy, largest first.
    pub largest: Vec<(FilePath, u64)>,
    pub overwrite_examples: Vec<FilePath>,
    pub delete_examples: Vec<FilePath>,
    pub problems: Problems,
    pub excluded: Vec<Excluded>,
    /// What is not kept of any file, and why.
    pub notes: Vec<String>,
    /// The latest modification time that the source's listing showed, nanoseconds since 1970: its clock had come this far before anything
    /// was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_ns: Option<i64>,
}

impl FilesPlan {
    /// Notes a time of the source. One beyond this machine's clock tells nothing about the source's.
    pub(super) fn saw_time(&mut self, modified_ns: Option<i64>, now_ns: i64) {
        self.newest_ns = self.newest_ns.max(modified_ns.filter(|ns| *ns <= now_ns));
    }

    pub(super) fn copies(&mut self, path: &FilePath, size: u64) {
        self.files += 1;
        self.bytes += size;
        let place = self.largest.partition_point(|(_, other)| *other >= size);
        if place < 10 {
            self.largest.insert(place, (path.clone(), size));
            self.largest.truncate(10);
        }
    }

    pub(super) fn overwrites(&mut self, path: &FilePath, bytes: u64) {
        self.overwrites += 1;
        self.overwritten_bytes += bytes;
        if self.overwrite_examples.len() < LISTED {
            self.overwrite_examples.push(path.clone());
        }
    }

    pub(super) fn deletes(&mut self, path: &FilePath, bytes: u64) {
        self.deletes += 1;
        self.deleted_bytes += bytes;
        if self.delete_examples.len() < LISTED {
            self.delete_examples.push(path.clone());
        }
    }
}

/// What a copy has done, counted from the ledger: the same after any number of crashes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilesCopied {
    pub files: u64,
    pub bytes: u64,
    pub unchanged: u64,
    pub symlinks: u64,
    /// Further names of files that were copied.
    pub hard_links: u64,
    /// FIFOs and device nodes.
    pub nodes: u64,
    pub directories: u64,
    /// Removed at the destination.
    pub removed: u64,
    pub problems: Problems,
}

/// What the source has that the destination has not yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lag {
    /// New and changed files, links included.
    pub files: u64,
    pub bytes: u64,
    /// Gone at the source, still at the destination.
    pub removed: u64,
}

impl Lag {
    pub fn is_none(&self) -> bool {
        self.files == 0 && self.removed == 0
    }
}

/// One difference between what was read and what is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    pub path: FilePath,
    pub reason: String,
    pub expected: String,
    pub found: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilesVerified {
    /// Files compared by hash.
    pub files: u64,
    pub bytes: u64,
    pub symlinks: u64,
    /// Further names, found to be of one file.
    pub hard_links: u64,
    pub nodes: u64,
    pub directories: u64,
    pub mismatched: u64,
    /// The first [`LISTED`] of them.
    pub mismatches: Vec<Mismatch>,
    /// Files that have no copy to compare (they are named in the problems of the copy).
    pub not_copied: u64,
}

impl FilesVerified {
    pub fn is_equal(&self) -> bool {
        self.mismatched == 0
    }

    pub(super) fn differs(&mut self, mismatch: Mismatch) {
        self.mismatched += 1;
        if self.mismatches.len() < LISTED {
            self.mismatches.push(mismatch);
        }
    }
}

/// What was copied once more because verification found it to differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SentAgain {
    pub files: u64,
    /// What still differs.
    pub left: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilesBackedUp {
    /// Files saved, each read back and compared by hash.
    pub files: u64,
    pub bytes: u64,
    pub problems: Problems,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilesUndone {
    /// Files, links and directories of ours that were removed.
    pub removed: u64,
    /// Things put back as they were before; files read back and compared by hash.
    pub restored: u64,
    /// Left alone because somebody changed it since.
    pub kept: Problems,
    /// Could not be put back.
    pub not_restored: Problems,
    /// How many of those because the backup is damaged.
    pub backup_damaged: u64,
    /// Changed by somebody since, and taken back all the same, as asked: each was saved first, under its own path.
    pub saved_later: Problems,
}

impl FilesUndone {
    /// Whether the destination is as it was before.
    pub fn is_complete(&self) -> bool {
        self.kept.is_empty() && self.not_restored.is_empty()
    }
}
