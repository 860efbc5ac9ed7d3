//! The loop that takes pending chunks from the ledger, keeps a bounded number of files and parts in flight, and records results
//! only after the destination confirmed them. It owns every task it spawns and ends them when it ends.

mod clerk;
mod uploads;

use super::item::{Item, Large, Outcome, Results, Sent, Spec, What, decode, encode};
use super::lane::Lane;
use super::told::{Teller, Told};
use clerk::{Clerk, FLUSH_EVERY, Turn, Written};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
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
use tokio_util::sync::CancellationToken;
use uploads::{Begun, Placing, Upload};

/// Parts that may wait for their uploads to begin.
const PARKED: usize = 64;

/// Batches that travel as one stream, side by side.
const PACKS: usize = 3;

enum Job {
    Batch { seq: u64, items: Vec<Item> },
    File { seq: u64, place: usize, item: Box<Item> },
    Part { seq: u64, large: Box<Large>, number: u32 },
    Place { seq: u64, large: Box<Large> },
}

enum Answer {
    Batch { seq: u64, outcomes: Vec<Outcome>, bytes: u64 },
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

pub(super) struct Pump<'a> {
    lane: Arc<Lane>,
    told: UnboundedReceiver<Told>,
    parallel: usize,
    observer: &'a dyn Observer,
    stop: &'a CancellationToken,
    component: &'static str,
    teller: Teller<'a>,
    clerk: Clerk<'a>,
    jobs: VecDeque<Job>,
    open: HashMap<u64, Open>,
    uploads: BTreeMap<u64, Upload>,
    to_begin: VecDeque<Box<Large>>,
    beginning: FuturesUnordered<BoxFuture<'a, Result<Begun>>>,
    /// Streams under way.
    packs: usize,
    /// Parts that wait for an upload to begin.
    parked: usize,
    placing: VecDeque<Placing>,
    tasks: JoinSet<Result<Answer>>,
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
        let clerk = Clerk::new(ledger, lane.target.clone());
        let teller = Teller::new(observer, component, lane.source.location(), lane.target.location());
        Self {
            lane,
            told,
            parallel,
            observer,
            stop,
            component,
            teller,
            clerk,
            jobs: VecDeque::new(),
            open: HashMap::new(),
            uploads: BTreeMap::new(),
            to_begin: VecDeque::new(),
            beginning: FuturesUnordered::new(),
            packs: 0,
            parked: 0,
            placing: VecDeque::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Does all pending chunks of `range`. Gives the channel back.
    pub(super) async fn run(mut self, range: Range<u64>) -> Result<UnboundedReceiver<Told>> {
        let totals = self.clerk.ledger.totals().await?;
        self.teller.total = totals.bytes + totals.items;
        self.teller.done = totals.bytes_done + totals.items_done;
        self.clerk.cover(range);
        let result = self.drive().await;
        if result.is_err() {
            self.tasks.abort_all();
            let ended = async { while self.tasks.join_next().await.is_some() {} };
            let _ = tokio::time::timeout(Duration::from_millis(300), ended).await;
            // What is confirmed need not be sent again; after a lost lease this is refused, rightly.
            let _ = tokio::time::timeout(Duration::from_millis(300), self.clerk.flush()).await;
        }
        self.carry_over();
        result.map(|()| self.told)
    }

    async fn drive(&mut self) -> Result<()> {
        loop {
            if self.stop.is_cancelled() {
                return Err(ConnectorError::stopped("copy files to", self.lane.target.location()));
            }
            self.launch().await?;
            if self.jobs.len() < self.parallel {
                self.clerk.read_ahead();
            }
            self.clerk.write_when_due(!self.placing.is_empty());
            if self.is_through() {
                break;
            }
            self.wait().await?;
            self.carry_over();
        }
        for written in self.clerk.flush().await? {
            self.tell_written(&written);
        }
        Ok(())
    }

    fn is_through(&self) -> bool {
        self.clerk.has_read_all() && self.jobs.is_empty() && self.parked == 0 && self.placing.is_empty() && self.tasks.is_empty()
    }

    /// Until something ended: a file or a part, a beginning, a page or a write.
    async fn wait(&mut self) -> Result<()> {
        tokio::select! {
            () = self.stop.cancelled() => {}
            Some(ended) = self.tasks.join_next() => {
                self.take(ended)?;
                while let Some(ended) = self.tasks.try_join_next() {
                    self.take(ended)?;
                }
            }
            Some(begun) = self.beginning.next() => self.begun(begun?),
            turn = self.clerk.turn() => match turn? {
                Turn::Page(page) => page.into_iter().try_for_each(|chunk| self.unpack(chunk))?,
                Turn::Written(written) => self.tell_written(&written),
            },
            () = tokio::time::sleep(FLUSH_EVERY) => {}
        }
        Ok(())
    }

    fn carry_over(&mut self) {
        self.lane.flow.carry_over(self.observer);
        while let Ok(told) = self.told.try_recv() {
            told.tell(self.observer, self.component);
        }
    }

    fn unpack(&mut self, chunk: Chunk) -> Result<()> {
        let seq = chunk.seq;
        match decode::<Spec>(&chunk.spec)? {
            Spec::Batch(items) if self.lane.whole.is_some() => self.jobs.push_back(Job::Batch { seq, items }),
            Spec::Batch(items) => {
                self.open.insert(seq, Open::of(&items));
                self.jobs.extend(items.into_iter().enumerate().map(|(place, item)| Job::File { seq, place, item: Box::new(item) }));
            }
            Spec::Part { large, number } => {
                self.expect_part(&large);
                self.jobs.push_back(Job::Part { seq, large, number });
            }
            Spec::Place(large) => self.jobs.push_back(Job::Place { seq, large }),
            Spec::Remove(_) | Spec::Folders(_) | Spec::Marker(_) => {}
        }
        Ok(())
    }

    /// Sends as much on its way as may be in flight.
    async fn launch(&mut self) -> Result<()> {
        self.begin_uploads();
        self.place().await?;
        while self.tasks.len() < self.parallel && self.parked < PARKED {
            if self.packs >= PACKS && matches!(self.jobs.front(), Some(Job::Batch { .. })) {
                break;
            }
            match self.jobs.pop_front() {
                Some(Job::Batch { seq, items }) => self.launch_batch(seq, items),
                Some(Job::File { seq, place, item }) => {
                    let lane = self.lane.clone();
                    self.teller.at(&item.path);
                    self.tasks.spawn(async move { Ok(Answer::File { seq, place, outcome: lane.carry(&item).await? }) });
                }
                Some(Job::Part { seq, large, number }) => self.launch_part(seq, large, number)?,
                Some(Job::Place { seq, large }) => self.launch_place(seq, large),
                None => break,
            }
        }
        self.place().await
    }

    fn launch_batch(&mut self, seq: u64, items: Vec<Item>) {
        let (lane, Some(whole)) = (self.lane.clone(), self.lane.whole.clone()) else { return };
        if let Some(first) = items.first() {
            self.teller.at(&first.path);
        }
        self.packs += 1;
        self.tasks.spawn(async move {
            let outcomes = lane.carry_batch(&whole, &items).await?;
            let copied = |(item, o): (&Item, &Outcome)| if o.what == What::Copied { o.read.as_ref().unwrap_or(&item.stat).size() } else { 0 };
            let bytes = items.iter().zip(&outcomes).map(copied).sum();
            Ok(Answer::Batch { seq, outcomes, bytes })
        });
    }

    fn take(&mut self, ended: Result<Result<Answer>, tokio::task::JoinError>) -> Result<()> {
        let answer = ended.map_err(|e| ConnectorError::new(ErrorKind::Internal, "copy files to", self.lane.target.location(), e.to_string()))??;
        self.settle(answer)
    }

    fn settle(&mut self, answer: Answer) -> Result<()> {
        match answer {
            Answer::Batch { seq, outcomes, bytes } => {
                self.packs -= 1;
                let there = outcomes.iter().filter(|o| o.is_there()).count() as u64;
                self.done(seq, &Results::Items(outcomes), there, bytes)
            }
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
                self.clerk.forget_upload(first);
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
        self.clerk.add(ChunkDone { seq, result: encode(results)?, items, bytes });
        self.teller.done += items + bytes;
        self.observer.meter().finished(items);
        Ok(())
    }

    fn tell_written(&self, Written { chunks, items, bytes }: &Written) {
        if *items > 0 {
            let message = format!("Transferred {items} files ({})", domain::units::size(*bytes));
            self.observer.log(Level::Debug, self.component, message, json!({"files": items, "bytes": bytes, "chunks": chunks}));
        }
    }
}

/// Where the ledger remembers the upload whose first part is chunk `first`.
pub(super) fn memo(first: u64) -> String {
    format!("upload:{first}")
}
