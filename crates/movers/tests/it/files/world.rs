//! A source, a destination, a backup, ledgers, and the whole journey over them.

use movers::files::{FileOptions, FilesBackup, FilesCopied, FilesMover, FilesPlan, FilesUndone, FilesVerified, SentAgain};
use ports::Result;
use std::sync::Arc;
use std::time::Duration;
use testkit::memory_files::MemoryFiles;
use testkit::memory_ledger::MemoryLedger;
use testkit::memory_observer::MemoryObserver;
use tokio_util::sync::CancellationToken;

pub struct World {
    pub source: MemoryFiles,
    pub destination: MemoryFiles,
    pub backup: MemoryFiles,
    pub bulk: MemoryLedger,
    pub last: MemoryLedger,
    pub own: MemoryLedger,
    pub observer: MemoryObserver,
    pub stop: CancellationToken,
    pub options: FileOptions,
    pub keeping: bool,
}

impl World {
    pub fn new(source: MemoryFiles, destination: MemoryFiles) -> Self {
        let options = FileOptions { parallel: 4, chunk_size: 10_000, staging: "run-1".to_owned(), retries: 3, ..FileOptions::default() };
        Self {
            source,
            destination,
            backup: MemoryFiles::tree("backup"),
            bulk: MemoryLedger::default(),
            last: MemoryLedger::default(),
            own: MemoryLedger::default(),
            observer: MemoryObserver::default(),
            stop: CancellationToken::new(),
            options,
            keeping: false,
        }
    }

    pub fn trees() -> Self {
        Self::new(MemoryFiles::tree("source"), MemoryFiles::tree("destination"))
    }

    pub fn to_objects() -> Self {
        Self::new(MemoryFiles::tree("source"), MemoryFiles::objects("destination"))
    }

    pub fn mover(&self) -> FilesMover {
        let mover = FilesMover::new(Arc::new(self.source.clone()), Arc::new(self.destination.clone()), self.options.clone());
        let mover = mover.retry_delay(Duration::from_micros(10));
        if self.keeping { mover.backing_up_into(Arc::new(self.backup.clone())) } else { mover }
    }

    pub async fn plan(&self) -> Result<FilesPlan> {
        self.mover().plan(&self.bulk, &self.observer, &self.stop).await
    }

    pub async fn back_up(&self) -> Result<()> {
        self.mover().back_up(&self.bulk, Arc::new(self.backup.clone()), &self.own, &self.observer, &self.stop).await.map(drop)
    }

    pub async fn copy(&self) -> Result<FilesCopied> {
        self.mover().copy(&self.bulk, &self.observer, &self.stop).await
    }

    pub async fn final_pass(&self) -> Result<FilesCopied> {
        self.mover().final_pass(&self.bulk, &self.last, &self.observer, &self.stop).await
    }

    pub async fn verify(&self) -> Result<FilesVerified> {
        self.mover().verify(&[&self.bulk, &self.last], &self.observer, &self.stop).await
    }

    /// Copies once more what verification names, and verifies again.
    pub async fn send_again(&self) -> Result<(SentAgain, FilesVerified)> {
        let found = self.verify().await?;
        let sent = self.mover().send_again(&self.bulk, &self.last, &found, &self.observer, &self.stop).await?;
        Ok((sent, self.verify().await?))
    }

    pub async fn undo(&self) -> Result<FilesUndone> {
        self.mover().undo(&[&self.bulk, &self.last], Some(self.saved()), &self.observer, &self.stop).await
    }

    pub async fn preview_undo(&self) -> Result<FilesUndone> {
        self.mover().preview_undo(&[&self.bulk, &self.last], Some(self.saved()), &self.observer, &self.stop).await
    }

    /// The backup as an undo restores from it.
    pub fn saved(&self) -> FilesBackup<'_> {
        FilesBackup { store: Arc::new(self.backup.clone()), ledger: &self.own }
    }

    /// Plan, backup, copy, final pass.
    pub async fn move_all(&self) -> Result<FilesCopied> {
        self.plan().await?;
        self.back_up().await?;
        let bulk = self.copy().await?;
        let last = self.final_pass().await?;
        let mut sum = bulk;
        sum.files += last.files;
        sum.removed += last.removed;
        sum.problems.append(last.problems);
        Ok(sum)
    }

    /// Moves, verifies, and demands that the destination is the source.
    pub async fn move_and_compare(&self) -> FilesCopied {
        let copied = self.move_all().await.expect("the move succeeds");
        let verified = self.verify().await.expect("verification runs");
        assert!(verified.is_equal(), "{:?}", verified.mismatches);
        assert_eq!(self.source.contents(), self.destination.contents());
        copied
    }
}

/// A small site with something of everything a tree can hold.
pub fn furnish(files: &MemoryFiles) {
    files.write("index.php", "<?php echo 'hello';").write("empty.txt", "").write("a b/ünï.txt", "names");
    files.write("wp-content/uploads/2024/08/image.jpg", vec![7; 5000]).write("wp-content/uploads/2024/08/second.jpg", vec![8; 9000]);
    files.write("wp-content/large.bin", pattern(95_000, 1)).write("z", "last");
    files.directory("hollow", 0o700).directory("hollow/deeper", 0o750).directory("wp-content/cache", 0o711);
    files.link("current", "index.php").link("wp-content/up", "../index.php");
    files.write_bytes(b"not\xffutf8/\xfe", "bytes");
    files.set_mode("index.php", 0o640).set_mode("wp-content", 0o2755);
}

/// Content that differs everywhere.
pub fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|n| (n.wrapping_mul(31) >> 3) as u8 ^ seed).collect()
}
