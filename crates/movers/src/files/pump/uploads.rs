//! Large files: their uploads are begun ahead of their first part and put in place behind their last one, beside everything else.

use super::{Answer, Job, Pump, memo};
use crate::files::item::{Large, Results, Sent, decode};
use crate::files::lane::Lane;
use crate::files::records::just_before;
use crate::files::sides::{Fault, Side};
use ports::{ErrorKind, Ledger, Result};
use serde_json::json;
use std::sync::Arc;

/// Uploads that are begun at the same time.
const BEGUN_TOGETHER: usize = 4;

/// A large file whose parts are in flight.
#[derive(Default)]
pub(super) struct Upload {
    id: Option<String>,
    /// The file changed or the upload is gone: no more parts, the file is sent whole in the end.
    pub(super) spoiled: bool,
    pub(super) unfinished: usize,
    /// Parts that wait until the upload has begun.
    waiting: Vec<Job>,
    pub(super) place: Option<Job>,
}

/// A large file all parts of which have arrived; it is put in place once the ledger says so too.
pub(super) struct Placing {
    write: u64,
    seq: u64,
    large: Box<Large>,
}

/// An upload and its id; no id when parts make no sense, because the destination refuses the name or what is in its way.
pub(super) type Begun = (u64, Option<String>);

impl Pump<'_> {
    /// A part of a file was read from the ledger. With the first one, the upload's turn to be begun comes.
    pub(super) fn expect_part(&mut self, large: &Large) {
        let upload = self.uploads.entry(large.first).or_insert_with(|| {
            self.to_begin.push_back(Box::new(large.clone()));
            Upload::default()
        });
        upload.unfinished += 1;
    }

    pub(super) fn begin_uploads(&mut self) {
        while self.beginning.len() < BEGUN_TOGETHER
            && let Some(large) = self.to_begin.pop_front()
        {
            self.beginning.push(Box::pin(begin(self.lane.clone(), self.clerk.ledger, large)));
        }
    }

    pub(super) fn begun(&mut self, (first, id): Begun) {
        let Some(upload) = self.uploads.get_mut(&first) else { return };
        upload.spoiled |= id.is_none();
        upload.id = id;
        let waiting = std::mem::take(&mut upload.waiting);
        self.parked -= waiting.len();
        for job in waiting.into_iter().rev() {
            self.jobs.push_front(job);
        }
    }

    pub(super) fn launch_part(&mut self, seq: u64, large: Box<Large>, number: u32) -> Result<()> {
        self.teller.at(&large.item.path);
        let range = large.range(number);
        let (first, bytes) = (large.first, range.end - range.start);
        let upload = self.uploads.entry(first).or_default();
        if upload.spoiled {
            return self.settle(Answer::Part { seq, first, sent: None, bytes });
        }
        let Some(id) = upload.id.clone() else {
            upload.waiting.push(Job::Part { seq, large, number });
            self.parked += 1;
            return Ok(());
        };
        let lane = self.lane.clone();
        self.tasks.spawn(async move { Ok(Answer::Part { seq, first, sent: lane.part(&large, &id, number).await?, bytes }) });
        Ok(())
    }

    /// A large file is put in place once no part of it is in flight any more; until then the job waits with its upload.
    pub(super) fn launch_place(&mut self, seq: u64, large: Box<Large>) {
        let upload = self.uploads.entry(large.first).or_default();
        if upload.unfinished > 0 {
            upload.place = Some(Job::Place { seq, large });
        } else {
            self.placing.push_back(Placing { write: self.clerk.covering_write(), seq, large });
        }
    }

    /// Puts in place what is recorded to have arrived.
    pub(super) async fn place(&mut self) -> Result<()> {
        while self.tasks.len() < self.parallel
            && let Some(next) = self.placing.pop_front_if(|p| self.clerk.has_written(p.write))
        {
            let Placing { seq, large, .. } = next;
            let first = large.first;
            let sent = sent_parts(self.clerk.ledger, &large).await?;
            let known = self.uploads.get(&first).and_then(|u| u.id.clone());
            let id = match known {
                Some(id) => Some(id),
                None => remembered(self.clerk.ledger, first).await?,
            };
            let lane = self.lane.clone();
            self.tasks.spawn(async move { Ok(Answer::Placed { seq, first, outcome: lane.place(&large, id.as_deref(), sent).await? }) });
        }
        Ok(())
    }
}

async fn remembered(ledger: &dyn Ledger, first: u64) -> Result<Option<String>> {
    Ok(ledger.recall(&memo(first)).await?.and_then(|v| v.as_str().map(str::to_owned)))
}

/// The upload of a large file: the one that the ledger remembers, else a new one, remembered before its first part is sent.
async fn begin(lane: Arc<Lane>, ledger: &dyn Ledger, large: Box<Large>) -> Result<Begun> {
    if let Some(id) = remembered(ledger, large.first).await? {
        return Ok((large.first, Some(id)));
    }
    let start = || async {
        let entry = lane.described(&large.item).await?;
        lane.target.parts().begin(&entry, &lane.staging, large.part_size).await.map_err(Fault::target)
    };
    match lane.retry(&large.item.path, large.item.stat.size(), start).await {
        Ok(new) => {
            ledger.remember(&memo(large.first), Some(json!(new))).await?;
            Ok((large.first, Some(new)))
        }
        // A name or a thing in its way that the destination refuses, a source that may not be looked at: putting the file in place will meet
        // it again and say so.
        Err(fault) if matches!(fault.error.kind, ErrorKind::Name | ErrorKind::AlreadyExists) => Ok((large.first, None)),
        Err(Fault { side: Side::Source, error }) if error.kind == ErrorKind::Permission => Ok((large.first, None)),
        Err(fault) => Err(fault.error),
    }
}

/// All parts of a large file from the ledger; `None` when one is missing.
async fn sent_parts(ledger: &dyn Ledger, large: &Large) -> Result<Option<Vec<Sent>>> {
    let mut sent = Vec::with_capacity(large.count as usize);
    let end = large.first + u64::from(large.count);
    let mut after = just_before(large.first);
    while sent.len() < large.count as usize {
        let page = ledger.all(after, 500).await?;
        let Some(last) = page.last().map(|c| c.seq) else { return Ok(None) };
        for chunk in page.into_iter().filter(|c| c.seq < end) {
            match chunk.result.as_deref().map(decode::<Results>).transpose()? {
                Some(Results::Part(Some(part))) => sent.push(part),
                _ => return Ok(None),
            }
        }
        after = Some(last);
    }
    Ok(Some(sent))
}
