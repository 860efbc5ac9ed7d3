//! Whether a backup still has its files: asked before a rollback is begun, by name and size alone.

use super::item::{Phase, What, span};
use super::records::{PAGE, Word, just_before, records_of, rounds};
use super::saved_content::FilesBackup;
use futures::{StreamExt, TryStreamExt};
use ports::files::FilePath;
use ports::ledger::Chunk;
use ports::{Ledger, Result};

impl FilesBackup<'_> {
    /// Whether files were saved, and none of them is there with its size: nothing can be restored then. Ends with the first file that is
    /// there; which others are missing is told by a preview. Reads only. `last`: the ledger of the last pass, which saves files too;
    /// `parallel`: files that are looked at side by side.
    ///
    /// # Errors
    /// When the backup or a ledger cannot be read.
    pub async fn has_lost_all(&self, last: &dyn Ledger, parallel: usize) -> Result<bool> {
        let mut lost = self.lost_of(self.ledger, 0, in_own, parallel).await?;
        for round in rounds(last).await? {
            if lost == Some(false) {
                break;
            }
            lost = self.lost_of(last, round, in_last_pass, parallel).await?.or(lost);
        }
        Ok(lost == Some(true))
    }

    /// Whether all that a round says was saved is lost; `None` when it saved nothing.
    async fn lost_of(&self, ledger: &dyn Ledger, round: u64, named: Named, parallel: usize) -> Result<Option<bool>> {
        let range = span(round, Phase::Content);
        let mut after = just_before(range.start);
        let mut lost = None;
        loop {
            let page = ledger.all(after, PAGE).await?;
            let next = page.last().map(|chunk| chunk.seq).filter(|seq| *seq < range.end);
            for chunk in page.into_iter().filter(|c| range.contains(&c.seq)) {
                let files = named(chunk)?;
                if files.is_empty() {
                    continue;
                }
                if self.has_one_of(files, parallel).await? {
                    return Ok(Some(false));
                }
                lost = Some(true);
            }
            match next {
                Some(seq) => after = Some(seq),
                None => return Ok(lost),
            }
        }
    }

    async fn has_one_of(&self, files: Vec<(FilePath, u64)>, parallel: usize) -> Result<bool> {
        let looked = futures::stream::iter(files).map(|(name, size)| async move { Ok::<_, ports::ConnectorError>((self.store.stat(&name).await?, size)) });
        let mut looked = looked.buffer_unordered(parallel.max(1));
        while let Some((found, size)) = looked.try_next().await? {
            if found.is_some_and(|entry| entry.size() == size) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The names and sizes of the files that a chunk says were saved.
type Named = fn(Chunk) -> Result<Vec<(FilePath, u64)>>;

fn in_own(chunk: Chunk) -> Result<Vec<(FilePath, u64)>> {
    let saved = records_of(chunk)?.into_iter().filter_map(|record| match record.word {
        Word::Content { item, outcome: Some(outcome) } if outcome.what == What::Copied => {
            let size = outcome.read.as_ref().unwrap_or(&item.stat).size();
            Some((item.target().clone(), size))
        }
        _ => None,
    });
    Ok(saved.collect())
}

fn in_last_pass(chunk: Chunk) -> Result<Vec<(FilePath, u64)>> {
    let saved = records_of(chunk)?.into_iter().filter_map(|record| Some((record.saved?.name, record.original?.size())));
    Ok(saved.collect())
}
