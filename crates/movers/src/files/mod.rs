//! Moving files over the doors in `ports`: plan, copy, final pass, verification, backup, undo.
//!
//! ```text
//! plan ──► back_up ──► copy (bulk, the source lives) ──► final_pass (the source stands still) ──► verify
//!                        └────────────── any time: undo ──────────────────────────────────────────┘
//! ```
//! Both sides list in one order ([`order`]), so planning merges two streams in constant memory and writes chunks ([`item`])
//! to the ledger. Copying takes what the ledger has pending; every result holds the hash of what was read, and the final
//! pass, verification and undo walk the ledger in the same order ([`records`]). Nothing here knows a connector or the engine.

mod backup;
mod backup_presence;
mod builder;
mod chain;
mod conflict;
mod content;
mod digest;
mod exclude;
mod final_pass;
mod intents;
mod item;
mod lane;
mod large;
mod object_facts;
mod order;
mod packs;
mod plan;
mod pump;
mod records;
mod report;
mod saved_content;
mod send_again;
mod sides;
mod suspects;
mod told;
mod undo;
mod verify;
mod whole;
mod window;
mod writable;

pub use report::{
    Excluded, FilesBackedUp, FilesCopied, FilesPlan, FilesUndone, FilesVerified, LISTED, Lag, Mismatch, PathProblem, ProblemKind, Problems, SentAgain,
};

pub use saved_content::FilesBackup;

use domain::spec::Symlinks;
use ports::files::{DigestKind, FilePath, FileTarget};
use ports::{ConnectorError, ErrorKind, Ledger, Observer, Result};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone)]
pub struct FileOptions {
    /// Files or parts in flight at once.
    pub parallel: usize,
    /// Bytes of one part of a large file.
    pub chunk_size: u64,
    /// `None`: keep where the destination can hold links, otherwise skip and say so.
    pub symlinks: Option<Symlinks>,
    /// Name kept links whose targets lie outside of the root.
    pub name_links_out: bool,
    /// Glob patterns. With a `/` relative to the root, without one for a name at any depth. What they match stays behind and is
    /// protected from `delete_extraneous`.
    pub exclude: Vec<String>,
    /// Remove at the destination what the source does not have.
    pub delete_extraneous: bool,
    /// Lets an empty source empty the destination.
    pub allow_empty_source: bool,
    /// Refuse a plan that deletes more than this.
    pub max_delete: Option<u64>,
    /// Tag of the run, part of all staging names.
    pub staging: String,
    /// How many times a call is tried in all before a temporary error is final. At least 1.
    pub retries: u32,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            parallel: 16,
            chunk_size: 16 << 20,
            symlinks: None,
            name_links_out: false,
            exclude: Vec::new(),
            delete_extraneous: false,
            allow_empty_source: false,
            max_delete: None,
            staging: "migration".to_owned(),
            retries: 5,
        }
    }
}

/// Moves the files of one source to one destination.
#[derive(Clone)]
pub struct FilesMover {
    source: Arc<dyn FileTarget>,
    destination: Arc<dyn FileTarget>,
    options: FileOptions,
    retry_delay: Duration,
    backup: Option<Arc<dyn FileTarget>>,
    later: Option<Arc<dyn FileTarget>>,
    overwriting: bool,
    whole: Option<whole::Whole>,
    notes: Vec<String>,
}

impl FilesMover {
    pub fn new(source: Arc<dyn FileTarget>, destination: Arc<dyn FileTarget>, options: FileOptions) -> Self {
        Self {
            source,
            destination,
            options,
            retry_delay: Duration::from_millis(250),
            backup: None,
            later: None,
            overwriting: false,
            whole: None,
            notes: Vec::new(),
        }
    }

    /// The pause before the second try; it doubles with each further one, up to 15 seconds, and is jittered.
    #[must_use]
    pub fn retry_delay(mut self, delay: Duration) -> Self {
        self.retry_delay = delay;
        self
    }

    /// Lets the final pass overwrite what the plan did not know of, after saving it into `backup`. Without it, such things are left
    /// alone and named as [`ProblemKind::Occupied`].
    #[must_use]
    pub fn backing_up_into(mut self, backup: Arc<dyn FileTarget>) -> Self {
        self.backup = Some(backup);
        self
    }

    /// Lets [`Self::undo`] take back also what somebody changed since, after saving it into `later`. Without it, such things stay and are
    /// named in [`FilesUndone::kept`].
    #[must_use]
    pub fn discarding_later_changes(mut self, later: Arc<dyn FileTarget>) -> Self {
        self.later = Some(later);
        self
    }

    /// Lets the final pass overwrite what the plan did not know of without saving it.
    #[must_use]
    pub fn overwriting(mut self) -> Self {
        self.overwriting = true;
        self
    }

    /// Lists source and destination and writes the chunks of the bulk pass into `ledger`. After a crash it goes on behind what is
    /// already planned; on a sealed ledger it gives the plan that was made.
    pub async fn plan(&self, ledger: &dyn Ledger, observer: &dyn Observer, stop: &CancellationToken) -> Result<FilesPlan> {
        or_stop(stop, "plan the files of", self.source.location(), plan::run(self, Some(ledger), observer)).await
    }

    /// The same without a ledger, for dry runs. Reads only.
    pub async fn survey(&self, observer: &dyn Observer, stop: &CancellationToken) -> Result<FilesPlan> {
        or_stop(stop, "survey the files of", self.source.location(), plan::run(self, None, observer)).await
    }

    /// Copies what the ledger has pending. Resumable: what is done is not sent again. What changes or vanishes meanwhile is a
    /// problem in the answer, not an error.
    pub async fn copy(&self, ledger: &dyn Ledger, observer: &dyn Observer, stop: &CancellationToken) -> Result<FilesCopied> {
        if !ledger.totals().await?.sealed {
            return Err(ConnectorError::new(ErrorKind::Internal, "copy files from", self.source.location(), "the plan is not complete"));
        }
        content::run_round(self, (ledger, &[]), 0, content::Care::Bulk, observer, stop).await?;
        records::summary(ledger).await
    }

    /// The second pass, while nobody writes to the source: lists the source again, copies what is new or differs from what
    /// `bulk` recorded, and removes at the destination what vanished at the source and had been copied by us. Each call lists
    /// anew, so a pass that was interrupted catches what changed since. What is written to all the time is copied as it is at one moment and
    /// named as [`ProblemKind::Changing`].
    pub async fn final_pass(&self, bulk: &dyn Ledger, last: &dyn Ledger, observer: &dyn Observer, stop: &CancellationToken) -> Result<FilesCopied> {
        final_pass::run(self, bulk, last, observer, stop).await
    }

    /// What the source has by now that is not at the destination, by the records of the passes so far. Lists the source; changes nothing.
    pub async fn lag(&self, ledgers: &[&dyn Ledger], stop: &CancellationToken) -> Result<Lag> {
        or_stop(stop, "list again", self.source.location(), final_pass::lag(self, ledgers)).await
    }

    /// A pass between bulk and final while the source lives: moves what changed since the pass before, once. What changes again meanwhile is for the
    /// next pass. `last` is the final pass's ledger; may be called as often as wanted, and goes on where it was interrupted. Gives what it found.
    pub async fn warm_pass(&self, bulk: &dyn Ledger, last: &dyn Ledger, observer: &dyn Observer, stop: &CancellationToken) -> Result<Lag> {
        final_pass::warm(self, bulk, last, observer, stop).await
    }

    /// Compares every file: the hash of what was read (of the ledger that comes last) with what is stored now.
    pub async fn verify(&self, ledgers: &[&dyn Ledger], observer: &dyn Observer, stop: &CancellationToken) -> Result<FilesVerified> {
        or_stop(stop, "verify the files of", self.destination.location(), verify::run(self, ledgers, observer)).await
    }

    /// Copies what `found` names once more, where the source still has what was read; the rest of the source is left as it is. What others have
    /// written there meanwhile is saved first or left alone, as in a final pass. Verify again afterwards. Resumable.
    pub async fn send_again(
        &self,
        bulk: &dyn Ledger,
        last: &dyn Ledger,
        found: &FilesVerified,
        observer: &dyn Observer,
        stop: &CancellationToken,
    ) -> Result<SentAgain> {
        send_again::run(self, bulk, last, found, observer, stop).await
    }

    /// Before copying: saves every file that the plan in `ledger` would overwrite or delete into `backup`, and reads each back to
    /// compare it. `own` is the backup's own ledger; resumable.
    pub async fn back_up(
        &self,
        ledger: &dyn Ledger,
        backup: Arc<dyn FileTarget>,
        own: &dyn Ledger,
        observer: &dyn Observer,
        stop: &CancellationToken,
    ) -> Result<FilesBackedUp> {
        backup::run(self, ledger, backup, own, observer, stop).await
    }

    /// Takes the copy back: removes what we made and puts back from `backup` what we replaced or deleted, each unless somebody changed it
    /// since, and sweeps unfinished writes. Acts on what was done, not on what was planned. A file whose backup is not what was saved is not put
    /// back: what stands there stays. What one path suffers is named in [`FilesUndone::not_restored`], and the rest goes on. Repeatable; what is already as before is left alone. The source is asked only
    /// about files that were in flight when we were interrupted; the destination may stand in for it.
    ///
    /// # Errors
    /// A system that cannot be reached, refuses us altogether or has no space left; the stop signal. Calling it again goes on.
    pub async fn undo(
        &self,
        ledgers: &[&dyn Ledger],
        backup: Option<FilesBackup<'_>>,
        observer: &dyn Observer,
        stop: &CancellationToken,
    ) -> Result<FilesUndone> {
        or_stop(stop, "undo the copy at", self.destination.location(), undo::run(self, ledgers, backup, observer)).await
    }

    /// What [`Self::undo`] would do now to files and links; directories are left out. Content is compared only where the destination keeps no times.
    /// Reads only.
    pub async fn preview_undo(
        &self,
        ledgers: &[&dyn Ledger],
        backup: Option<FilesBackup<'_>>,
        observer: &dyn Observer,
        stop: &CancellationToken,
    ) -> Result<FilesUndone> {
        or_stop(stop, "look at", self.destination.location(), undo::preview(self, ledgers, backup, observer)).await
    }

    /// Removes what interrupted writes of this run have left at the destination. Repeatable.
    pub(super) async fn sweep(&self) -> Result<()> {
        self.destination.sweep(&self.options.staging).await
    }

    fn parallel(&self) -> usize {
        self.options.parallel.max(1)
    }

    /// Whether the destination is a tree.
    fn tree(&self) -> bool {
        is_tree(self.destination.as_ref())
    }

    /// What names a directory at the destination and nothing else: among flat keys, `a` may be a file beside `a/`.
    fn folder_path(&self, path: &FilePath) -> FilePath {
        if self.tree() { path.clone() } else { FilePath::new(order::key(path, true)) }
    }

    /// The hash that the destination reports itself, so that verifying needs no reading back.
    fn digest_kind(&self) -> DigestKind {
        if let Some(whole) = &self.whole {
            return whole.target.keeps().digest;
        }
        self.destination.traits().stored_digest.unwrap_or(DigestKind::Blake3)
    }
}

/// Whether a system holds a tree (where `a` and `a/b` exclude each other) rather than flat keys.
fn is_tree(target: &dyn FileTarget) -> bool {
    target.accepts(&FilePath::from("a//b")).is_err()
}

/// Runs `work` until the stop signal; whatever it has in flight is dropped then.
async fn or_stop<T>(stop: &CancellationToken, operation: &str, subject: String, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(ConnectorError::stopped(operation, subject)),
        result = work => result,
    }
}
