//! Large files: sent part after part, and put in place when all parts have arrived.

use super::conflict::Attempt;
use super::digest::{self, raw};
use super::item::{Item, Large, Outcome, Sent, Stat, What};
use super::lane::Lane;
use super::object_facts;
use super::saved_content::ContentCheck;
use super::sides::{Fault, Side, Watch, changed};
use ports::files::{Digest, Entry, Part};
use ports::{ErrorKind, Result};
use std::sync::Arc;
use std::time::Instant;

impl Lane {
    /// A large file in one task, part after part, with an upload that is given up on any error. `read`: the file as it was opened; `check`
    /// compares it with what it must be before the last part is complete.
    /// `None` when something was put in its place meanwhile.
    pub(super) async fn in_parts(
        &self,
        (item, read): (&Item, &Stat),
        entry: &Entry,
        part_size: u64,
        attempt: &Attempt,
        check: Option<&Arc<ContentCheck>>,
    ) -> Result<Option<Digest>, Fault> {
        let parts = self.target.parts();
        let upload = parts.begin(entry, &self.staging, part_size).await.map_err(Fault::target)?;
        let count = read.size().div_ceil(part_size) as u32;
        let large = Large { item: Item { stat: read.clone(), ..item.clone() }, first: 0, count, part_size };
        let placed = self.all_parts(&large, (entry, &upload), attempt, check).await;
        if !matches!(placed, Ok(Some(_))) {
            let _ = parts.abort(entry, &upload).await;
        }
        placed
    }

    async fn all_parts(
        &self,
        large: &Large,
        (entry, upload): (&Entry, &str),
        attempt: &Attempt,
        check: Option<&Arc<ContentCheck>>,
    ) -> Result<Option<Digest>, Fault> {
        let mut sent = Vec::new();
        for number in 1..=large.count {
            sent.push(self.part_once(large, (entry, upload), number, check).await?);
        }
        if !self.may_replace(&large.item, &large.item.stat, attempt, Some((&self.over(&sent)?, large.part_size))).await? {
            return Ok(None);
        }
        self.put_in_place(entry, upload, &sent).await.map(Some)
    }

    /// `entry`: the file as it is to be stored.
    async fn part_once(&self, large: &Large, (entry, upload): (&Entry, &str), number: u32, check: Option<&Arc<ContentCheck>>) -> Result<Sent, Fault> {
        let item = &large.item;
        let range = large.range(number);
        let size = range.end - range.start;
        let opened = self.source.open(&item.path, Some(range.clone())).await.map_err(Fault::source)?;
        let enough = self.snapshot && opened.entry.size() >= range.end;
        if !enough && !Stat::of(&opened.entry).same_content(&item.stat) {
            return Err(Fault::source(changed(&item.path.to_string(), "it is no longer the file that was planned")));
        }
        let what = format!("{} (part {number} of {})", item.path, large.count);
        let body = ContentCheck::over(check, opened.body);
        let (watch, body) = Watch::over(body, size, self.own_hash(), self.flow.clone(), what.clone());
        let mut part: Part = self.target.parts().put_part(entry, upload, number, range, body).await.map_err(|e| watch.blame(e))?;
        let taken = part.hash.take().map(|hex| Digest { kind: self.kind, hex });
        Ok(Sent { part, hash: watch.digest(size, &what, taken)?.hex })
    }

    /// Sends one part of an upload that outlives us. `None`: the file changed or the upload is gone, so parts make no sense any more.
    pub(super) async fn part(&self, large: &Large, upload: &str, number: u32) -> Result<Option<Sent>> {
        let item = &large.item;
        let entry = item.stat.entry(item.target());
        match self.retry(&item.path, item.stat.size(), || self.part_once(large, (&entry, upload), number, None)).await {
            Ok(sent) => Ok(Some(sent)),
            Err(Fault { side: Side::Target, error }) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(fault) => fault.settle().map(|_| None),
        }
    }

    async fn put_in_place(&self, entry: &Entry, upload: &str, sent: &[Sent]) -> Result<Digest, Fault> {
        let parts: Vec<Part> = sent.iter().map(|s| s.part.clone()).collect();
        self.target.parts().complete(entry, upload, &parts).await.map_err(Fault::target)?;
        self.over(sent)
    }

    /// The hash of a file that was sent in parts.
    #[expect(clippy::result_large_err, reason = "a fault is a connector's error, which is as large")]
    fn over(&self, sent: &[Sent]) -> Result<Digest, Fault> {
        let hashes = sent.iter().map(|s| raw(&s.hash)).collect::<Result<Vec<_>>>().map_err(Fault::target)?;
        Ok(digest::over_parts(self.kind, &hashes))
    }

    /// Puts a large file in place from its parts. When that cannot be done any more, the file is sent anew, as it is now.
    pub(super) async fn place(&self, large: &Large, upload: Option<&str>, sent: Option<Vec<Sent>>) -> Result<Outcome> {
        let item = &large.item;
        let began = Instant::now();
        let entry = match self.retry(&item.path, 0, || self.described(item)).await {
            Ok(entry) => entry,
            Err(fault) => return fault.settle(),
        };
        let attempt = Attempt::new(self.guard_of(item));
        if let (Some(upload), Some(sent)) = (upload, &sent) {
            let placed = self.retry(&item.path, item.stat.size(), || self.placed(large, &entry, upload, sent, &attempt)).await;
            match placed {
                Ok(None) => {
                    self.give_up(large, &entry, upload).await?;
                    return Ok(Outcome::of(What::Spared));
                }
                Ok(Some(digest)) => {
                    self.tell_done(item, item.stat.size(), began, &digest);
                    let note = self.not_kept(item, &entry);
                    return Ok(Outcome { digest: Some(digest), part_size: Some(large.part_size), note, ..Outcome::of(What::Copied) });
                }
                Err(Fault { side: Side::Source, .. }) => {}
                Err(Fault { error, .. }) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Invalid | ErrorKind::Corrupt) => {}
                Err(fault) => return fault.settle().map(|outcome| attempt.annotate(outcome)),
            }
        }
        if let Some(upload) = upload {
            self.give_up(large, &entry, upload).await?;
        }
        self.carry_on(item, attempt).await
    }

    async fn give_up(&self, large: &Large, entry: &Entry, upload: &str) -> Result<()> {
        let abort = async || self.target.parts().abort(entry, upload).await.map_err(Fault::target);
        self.retry(&large.item.path, 0, abort).await.map_err(|f| f.error)
    }

    /// `None` when something stands there that is not ours.
    async fn placed(&self, large: &Large, entry: &Entry, upload: &str, sent: &[Sent], attempt: &Attempt) -> Result<Option<Digest>, Fault> {
        let proof = self.over(sent)?;
        if !self.may_replace(&large.item, &large.item.stat, attempt, Some((&proof, large.part_size))).await? {
            return Ok(None);
        }
        if self.saves_metadata {
            object_facts::save(self.target.as_ref(), large.item.target(), entry, &self.staging).await.map_err(Fault::target)?;
        }
        let digest = self.put_in_place(entry, upload, sent).await?;
        attempt.has_placed(&large.item.stat, &digest, Some(large.part_size));
        if !self.snapshot {
            self.unchanged_since(&large.item, &large.item.stat).await?;
        }
        if self.read_back {
            self.compare(&large.item, large.item.stat.size(), &digest, Some(large.part_size)).await?;
        }
        Ok(Some(digest))
    }
}
