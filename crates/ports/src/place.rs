//! Places: whether two descriptions name one, and who writes to it.
//!
//! A host name, a path or an endpoint does not say which place it leads to (aliases, mounts, links, another port). So the place is asked:
//! a lock or a mark is put there through one description and looked for through the other.

use crate::Result;
use crate::files::FilePath;

/// Names of our own objects in a place begin with it. Connectors hide such names from listings and accept them as no file's name.
pub const MARK_PREFIX: &str = ".migration-assistant~";
/// What follows in the names of marks that no run has made, before another `~`: whoever sweeps the destination removes what is left of them.
pub const PROBE_TAG: &str = "probe";

/// The file system behind a directory, and the path inside it, whatever the mount point is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhysicalPath {
    /// One running kernel and one of its devices.
    pub file_system: String,
    pub path: std::path::PathBuf,
}

impl PhysicalPath {
    /// Whether one is the other or lies inside it.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.file_system == other.file_system && (self.path.starts_with(&other.path) || other.path.starts_with(&self.path))
    }
}

/// Files, as a place. All calls are repeatable.
#[async_trait::async_trait]
pub trait FilePlace: Send + Sync {
    /// Where the root really is; for a root that does not exist yet, where it will be. `None` where the system does not tell.
    ///
    /// # Errors
    /// What contacting the system gives.
    async fn physical_path(&self) -> Result<Option<PhysicalPath>>;

    /// Writes a small object of ours; `path` ends with a name that begins with [`MARK_PREFIX`]. It appears whole or not at all.
    /// It is read by [`crate::files::FileSource::open`] and removed by [`crate::files::FileTarget::remove`].
    ///
    /// # Errors
    /// `NotFound` when the root (directory or bucket) does not exist; it is never made. `AlreadyExists` when `replace` is false and there
    /// is one; decided by the system itself where it can. `Permission` where the user may not write.
    async fn write_mark(&self, path: &FilePath, content: &[u8], replace: bool) -> Result<()>;
}

/// Which database it is, as the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseIdentity {
    /// The set of data: a PostgreSQL cluster's system identifier, a Galera cluster's or a replication group's UUID, a file's device and
    /// inode. Empty where the server tells none.
    pub system: String,
    /// The database inside it, in the one form that the server compares: an object id, a name.
    pub database: String,
    /// Servers with the same `system` show the same data now (a standby, a cluster's node). Otherwise an equal `system` proves nothing: a
    /// copied data directory keeps it.
    pub shared: bool,
}

/// A database, as a place.
#[async_trait::async_trait]
pub trait DatabasePlace: Send + Sync {
    /// # Errors
    /// `NotFound` when the database does not exist.
    async fn identity(&self) -> Result<DatabaseIdentity>;

    /// Takes the server's lock of that name with a connection of its own; `None`: somebody has it. Works also while the database does not
    /// exist. The lock ends with the connection, so it ends with this process. `holder`: at most 48 printable ASCII characters, for
    /// [`Self::holder`].
    ///
    /// # Errors
    /// What contacting the server gives.
    async fn lock(&self, name: &str, holder: &str) -> Result<Option<Box<dyn PlaceLock>>>;

    /// Whether somebody has the lock of that name, and what they gave as `holder`; an empty text where this user may not know.
    ///
    /// # Errors
    /// What contacting the server gives.
    async fn holder(&self, name: &str) -> Result<Option<String>>;
}

/// A lock that is held. Dropped: it ends soon.
#[async_trait::async_trait]
pub trait PlaceLock: Send + Sync {
    /// Whether the server still knows of it. `false` after the connection was lost.
    async fn is_held(&self) -> bool;

    /// Gives it back; when this returns, the next one can have it. Repeatable.
    async fn release(&self);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn physical_paths_overlap_when_one_lies_inside_the_other_on_one_file_system() {
        let at = |file_system: &str, path: &str| PhysicalPath { file_system: file_system.to_owned(), path: path.into() };
        for (a, b, overlaps) in [
            (at("k 8:1", "/srv/site"), at("k 8:1", "/srv/site"), true),
            (at("k 8:1", "/srv/site/in"), at("k 8:1", "/srv/site"), true),
            (at("k 8:1", "/srv"), at("k 8:1", "/srv/site"), true),
            (at("k 8:1", "/srv/site2"), at("k 8:1", "/srv/site"), false),
            (at("k 8:2", "/srv/site"), at("k 8:1", "/srv/site"), false),
        ] {
            assert_eq!(a.overlaps(&b), overlaps, "{a:?} {b:?}");
        }
    }
}
