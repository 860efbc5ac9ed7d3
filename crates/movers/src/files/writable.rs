//! Directories that forbid writing to their own owner: they are opened for the one call that needs it, and closed again.

use super::lane::Lane;
use super::sides::{Fault, Side};
use ports::ErrorKind;
use ports::files::{Entry, EntryKind, FilePath};

const OWNER_WRITES: u32 = 0o300;

impl Lane {
    /// Makes a call that changes the directory of `path`. When that is forbidden because of the directory's mode, the mode is widened for
    /// a second try and put back behind it, with the time.
    pub(super) async fn in_writable_directory<T, F>(&self, path: &FilePath, call: impl Fn() -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let refused = match call().await {
            Err(fault) if fault.side == Side::Target && fault.error.kind == ErrorKind::Permission && self.target.traits().modes => fault,
            other => return other,
        };
        let Some(parent) = path.parent() else { return Err(refused) };
        let _one_at_a_time = self.widening.lock().await;
        let closed = match self.target.stat(&parent).await.map_err(Fault::target)? {
            Some(entry) if matches!(entry.kind, EntryKind::Directory) && entry.mode.is_some_and(|mode| mode & OWNER_WRITES != OWNER_WRITES) => entry,
            _ => return Err(refused),
        };
        let open = Entry { mode: closed.mode.map(|mode| mode | OWNER_WRITES), ..closed.clone() };
        if self.target.make(&open).await.is_err() {
            return Err(refused);
        }
        let answer = call().await;
        let restored = self.target.make(&closed).await.map_err(Fault::target);
        let value = answer?;
        restored?;
        Ok(value)
    }
}
