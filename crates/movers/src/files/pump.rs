//! The loop that takes pending chunks from the ledger, keeps a bounded number of files and parts in flight, and records results
//! only after the destination confirmed them. It owns every task it spawns and ends them when it ends.

use super::item::{Item, Large, Outcome, Results, Sent, Spec, What, decode, encode};
use super::lane::Lane;
use super::records::just_before;
use super::sides::Fault;
use super::told::{Teller, Told};
use ports::ledger::{Chunk, ChunkDone};
use ports::observe::Level;
use ports::{ConnectorError, ErrorKind, Ledger, Observer, Result};
use serde_json::json;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Results are recorded together, at the first of these two.
const FLUSH_EVERY: Duration = Duration::from_millis(100);
const FLUSH_CHUNKS: usize = 64;
/// Chunks read from the ledger at a time.
const PAGE: usize = 32;

enum Job {
    File { seq: u64, place: usize, item: Box<Item> },
    Part { seq: u64, large: Box<Large>, number: u32 },
    Place { seq: u64, large: Box<Large> },
}

enum Answer {
    File { seq: u64, place: usize, outcome: Outcome },
    Part { seq: u64, first: u64, sent: Option<Sent>, bytes: u64 },
    Placed { seq: u64, first: u64, outcome: Outcome },
}

/// A batch whose files are in flight.
struct Open {
    outcomes: Vec<Option<Outcome>>,
    sizes: Vec<u64>,
    left: usize,
    bytes: u64,
}

impl Open {
    fn of(items: &[Item]) -> Self {
        Self { outcomes: items.iter().map(|_| None).collect(), sizes: items.iter().map(|i| i.stat.size()).collect(), left: items.len(), bytes: 0 }
    }
}

/// A large file whose parts are in flight.
#[derive(Default)]
struct Upload {
    id: Option<String>,
    /// The file changed or the upload is gone: no more parts, the file is sent whole in the end.
    spoiled: bool,
    unfinished: usize,
    place: Option<Job>,
}

pub(super) struct Pump<'a> {
    lane: Arc<Lane>,
    told: UnboundedReceiver<Told>,
    parallel: usize,
    ledger: &'a dyn Ledger,
    observer: &'a dyn Observer,
    stop: &'a CancellationToken,
    component: &'static str,
    teller: Teller<'a>,
    jobs: VecDeque<Job>,
    after: Option<u64>,
    exhausted: bool,
    open: HashMap<u64, Open>,
    uploads: BTreeMap<u64, Upload>,
    tasks: JoinSet<Result<Answer>>,
    ready: Vec<ChunkDone>,
    /// Memos of uploads that are in place, to be removed once that is recorded.
    finished_uploads: Vec<u64>,
    flushed: Instant,
}

impl<'a> Pump<'a> {
    pub(super) fn new(
        lane: Arc<Lane>,
        told: UnboundedReceiver<Told>,
        parallel: usize,
        ledger: &'a dyn Ledger,
        observer: &'a dyn Observer,
        stop: &'a CancellationToken,
        component: &'static str,
    ) -> Self {
        let teller = Teller::new(observer, component, lane.source.location(), lane.target.location());
        Self {
            lane,
            told,
            parallel,
            ledger,
            observer,
            stop,
            component,
            teller,
            jobs: VecDeque::new(),
            after: None,
            exhausted: false,
            open: HashMap::new(),
            uploads: BTreeMap::new(),
            tasks: JoinSet::new(),
            ready: Vec::new(),
            finished_uploads: Vec::new(),
            flushed: Instant::now(),
        }
    }

    /// Does all pending chunks of `range`. Gives the channel back.
    pub(super) async fn run(mut self, range: Range<u64>) -> Result<UnboundedReceiver<Told>> {
        let totals = self.ledger.totals().await?;
        self.teller.total = totals.bytes + totals.items;
        self.teller.done = totals.bytes_done + totals.items_done;
        self.after = just_before(range.start);
        let result = self.drive(&range).await;
        if result.is_err() {
            self.tasks.abort_all();
            let ended = async { while self.tasks.join_next().await.is_some() {} };
            let _ = tokio::time::timeout(Duration::from_millis(300), ended).await;
            // What is confirmed need not be sent again; after a lost lease this is refused, rightly.
            let _ = tokio::time::timeout(Duration::from_millis(300), self.flush()).await;
        }
        self.carry_over();
        result.map(|()| self.told)
    }

    async fn drive(&mut self, range: &Range<u64>) -> Result<()> {
        loop {
            if self.stop.is_cancelled() {
                return Err(ConnectorError::stopped("copy files to", self.lane.target.location()));
            }
            while self.tasks.len() < self.parallel {
                let Some(job) = self.next_job(range).await? else { break };
                let (stop, target) = (self.stop, self.lane.target.location());
                super::or_stop(stop, "copy files to", target, self.launch(job)).await?;
            }
            if self.tasks.is_empty() && self.jobs.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {}
                Some(ended) = self.tasks.join_next() => {
                    self.take(ended)?;
                    while let Some(ended) = self.tasks.try_join_next() {
                        self.take(ended)?;
                    }
                }
                () = tokio::time::sleep(FLUSH_EVERY) => {}
            }
            self.carry_over();
            if self.ready.len() >= FLUSH_CHUNKS || self.flushed.elapsed() >= FLUSH_EVERY {
                self.flush().await?;
            }
        }
        self.flush().await
    }

    fn carry_over(&mut self) {
        self.lane.flow.carry_over(self.observer);
        while let Ok(told) = self.told.try_recv() {
            told.tell(self.observer, self.component);
        }
    }

    async fn next_job(&mut self, range: &Range<u64>) -> Result<Option<Job>> {
        while self.jobs.is_empty() && !self.exhausted {
            let page = self.ledger.pending(self.after, PAGE).await?;
            self.exhausted = page.last().is_none_or(|c| c.seq >= range.end);
            self.after = page.last().map(|c| c.seq).or(self.after);
            for chunk in page.into_iter().filter(|c| range.contains(&c.seq)) {
                self.unpack(chunk)?;
            }
        }
        Ok(self.jobs.pop_front())
    }

    fn unpack(&mut self, chunk: Chunk) -> Result<()> {
        let seq = chunk.seq;
        match decode::<Spec>(&chunk.spec)? {
            Spec::Batch(items) => {
                self.open.insert(seq, Open::of(&items));
                self.jobs.extend(items.into_iter().enumerate().map(|(place, item)| Job::File { seq, place, item: Box::new(item) }));
            }
            Spec::Part { large, number } => {
                self.uploads.entry(large.first).or_default().unfinished += 1;
                self.jobs.push_back(Job::Part { seq, large, number });
            }
            Spec::Place(large) => self.jobs.push_back(Job::Place { seq, large }),
            Spec::Remove(_) | Spec::Folders(_) | Spec::Marker(_) => {}
        }
        Ok(())
    }

    async fn launch(&mut self, job: Job) -> Result<()> {
        let lane = self.lane.clone();
        match job {
            Job::File { seq, place, item } => {
                self.teller.at(&item.path);
                self.tasks.spawn(async move { Ok(Answer::File { seq, place, outcome: lane.carry(&item).await? }) });
            }
            Job::Part { seq, large, number } => {
                self.teller.at(&large.item.path);
                let range = large.range(number);
                let (first, bytes) = (large.first, range.end - range.start);
                match self.upload(&large, true).await? {
                    Some(upload) => {
                        self.tasks.spawn(async move { Ok(Answer::Part { seq, first, sent: lane.part(&large, &upload, number).await?, bytes }) });
                    }
                    None => self.settle(Answer::Part { seq, first, sent: None, bytes })?,
                }
            }
            Job::Place { seq, large } => self.launch_place(seq, large).await?,
        }
        Ok(())
    }

    /// Puts a large file in place once no part of it is in flight any more; until then the job waits with its upload.
    async fn launch_place(&mut self, seq: u64, large: Box<Large>) -> Result<()> {
        let first = large.first;
        let upload = self.uploads.entry(first).or_default();
        if upload.unfinished > 0 {
            upload.place = Some(Job::Place { seq, large });
            return Ok(());
        }
        self.flush().await?;
        let sent = self.sent_parts(&large).await?;
        let upload = self.upload(&large, false).await?.or_else(|| self.uploads.get(&first).and_then(|u| u.id.clone()));
        let lane = self.lane.clone();
        self.tasks.spawn(async move { Ok(Answer::Placed { seq, first, outcome: lane.place(&large, upload.as_deref(), sent).await? }) });
        Ok(())
    }

    /// The upload of a large file: the one that the ledger remembers, else a new one, remembered before its first part is sent.
    /// `None` when parts make no sense any more.
    async fn upload(&mut self, large: &Large, begin: bool) -> Result<Option<String>> {
        let memo = memo(large.first);
        let known = self.uploads.entry(large.first).or_default();
        if known.spoiled {
            return Ok(None);
        }
        if known.id.is_none() {
            let mut id = self.ledger.recall(&memo).await?.and_then(|v| v.as_str().map(str::to_owned));
            if id.is_none() && begin {
                let lane = self.lane.clone();
                let entry = large.item.stat.entry(large.item.target());
                let start = || async { lane.target.parts().begin(&entry, &lane.staging, large.part_size).await.map_err(Fault::target) };
                match lane.retry(&large.item.path, large.item.stat.size(), start).await {
                    Ok(new) => {
                        self.ledger.remember(&memo, Some(json!(new))).await?;
                        id = Some(new);
                    }
                    // A name or a thing in its way that the destination refuses: putting the file in place will meet it again and say so.
                    Err(fault) if matches!(fault.error.kind, ErrorKind::Name | ErrorKind::AlreadyExists) => {
                        self.uploads.entry(large.first).or_default().spoiled = true;
                    }
                    Err(fault) => return Err(fault.error),
                }
            }
            self.uploads.entry(large.first).or_default().id = id;
        }
        Ok(self.uploads.get(&large.first).and_then(|u| u.id.clone()))
    }

    /// All parts of a large file from the ledger; `None` when one is missing.
    async fn sent_parts(&self, large: &Large) -> Result<Option<Vec<Sent>>> {
        let mut sent = Vec::with_capacity(large.count as usize);
        let end = large.first + u64::from(large.count);
        let mut after = just_before(large.first);
        while sent.len() < large.count as usize {
            let page = self.ledger.all(after, 500).await?;
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

    fn take(&mut self, ended: Result<Result<Answer>, tokio::task::JoinError>) -> Result<()> {
        let answer = ended.map_err(|e| ConnectorError::new(ErrorKind::Internal, "copy files to", self.lane.target.location(), e.to_string()))??;
        self.settle(answer)
    }

    fn settle(&mut self, answer: Answer) -> Result<()> {
        match answer {
            Answer::File { seq, place, outcome } => self.settle_file(seq, place, outcome),
            Answer::Part { seq, first, sent, bytes } => {
                let upload = self.uploads.entry(first).or_default();
                upload.spoiled |= sent.is_none();
                upload.unfinished = upload.unfinished.saturating_sub(1);
                if upload.unfinished == 0
                    && let Some(place) = upload.place.take()
                {
                    self.jobs.push_front(place);
                }
                self.done(seq, &Results::Part(sent), 0, bytes)
            }
            Answer::Placed { seq, first, outcome } => {
                self.uploads.remove(&first);
                self.finished_uploads.push(first);
                let items = u64::from(outcome.is_there());
                self.done(seq, &Results::Items(vec![outcome]), items, 0)
            }
        }
    }

    fn settle_file(&mut self, seq: u64, place: usize, outcome: Outcome) -> Result<()> {
        let Some(open) = self.open.get_mut(&seq) else { return Ok(()) };
        if outcome.what == What::Copied {
            open.bytes += outcome.read.as_ref().map_or(open.sizes[place], |r| r.size());
        }
        open.outcomes[place] = Some(outcome);
        open.left -= 1;
        if open.left > 0 {
            return Ok(());
        }
        let Some(open) = self.open.remove(&seq) else { return Ok(()) };
        let outcomes: Vec<Outcome> = open.outcomes.into_iter().flatten().collect();
        let there = outcomes.iter().filter(|o| o.is_there()).count() as u64;
        let bytes = open.bytes;
        self.done(seq, &Results::Items(outcomes), there, bytes)
    }

    fn done(&mut self, seq: u64, results: &Results, items: u64, bytes: u64) -> Result<()> {
        self.ready.push(ChunkDone { seq, result: encode(results)?, items, bytes });
        self.teller.done += items + bytes;
        self.observer.meter().finished(items);
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.flushed = Instant::now();
        if self.ready.is_empty() {
            return Ok(());
        }
        let ready = std::mem::take(&mut self.ready);
        let (items, bytes) = ready.iter().fold((0, 0), |(i, b), c| (i + c.items, b + c.bytes));
        let chunks = ready.len();
        self.ledger.done(ready).await?;
        if items > 0 {
            let message = format!("Transferred {items} files ({})", domain::units::size(bytes));
            self.observer.log(Level::Debug, self.component, message, json!({"files": items, "bytes": bytes, "chunks": chunks}));
        }
        for first in std::mem::take(&mut self.finished_uploads) {
            self.ledger.remember(&memo(first), None).await?;
        }
        Ok(())
    }
}

/// Where the ledger remembers the upload whose first part is chunk `first`.
pub(super) fn memo(first: u64) -> String {
    format!("upload:{first}")
}
