//! A journal that forgets: everything in one locked map. For tests of steps and suites, never for real work.

mod chunks;
mod runs;

use super::{Change, Claim, ClaimRequest, EventFilter, Leases, NewEvent, Record, Runs, StepPin, Token, Wanted, words};
use crate::hold::{self, Hold, Stance};
use crate::state::Request;
use crate::view::{Event, Finalized, LedgerTotals, NewRun, RunView, Sample, StepState, StepView};
use crate::{EngineError, RunState, StepError, Trace};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// See the module's comment.
pub struct MemoryJournal {
    runs: Mutex<BTreeMap<String, Run>>,
    changed: watch::Sender<u64>,
}

struct Run {
    new: NewRun,
    options: Value,
    state: RunState,
    wanted: Option<Wanted>,
    owner: Option<String>,
    epoch: u64,
    until: Option<Instant>,
    start_at: Option<Timestamp>,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    error: Option<StepError>,
    by_itself: bool,
    stance: Option<Stance>,
    finalized: Option<Finalized>,
    pinned_to: Option<String>,
    steps: Vec<StepView>,
    sample: Option<Sample>,
    events: Vec<Event>,
    memos: BTreeMap<(String, String), Value>,
    ledgers: BTreeMap<String, Book>,
}

/// One ledger.
#[derive(Default)]
struct Book {
    chunks: BTreeMap<u64, super::Chunk>,
    totals: LedgerTotals,
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryJournal {
    pub fn new() -> Self {
        Self { runs: Mutex::default(), changed: watch::channel(0).0 }
    }

    /// A run of one step, claimed by `test`.
    pub(crate) async fn running(&self, tenant: &str, input: Value, step: &str) -> Token {
        let run = NewRun { id: uuid::Uuid::now_v7().to_string(), tenant: tenant.to_owned(), kind: "test".to_owned(), input, labels: Value::Null, holds: None };
        let pin = StepPin { name: step.to_owned(), title: step.to_owned(), version: 1 };
        let mut token = Token { run: run.id.clone(), tenant: tenant.to_owned(), owner: "test".to_owned(), epoch: 0 };
        let claim = ClaimRequest { owner: "test".to_owned(), kinds: vec!["test".to_owned()], except: Vec::new(), lease: Duration::from_hours(24), node: None };
        // A fresh map refuses none of these.
        let _new = self.create(&run, &[pin]).await;
        let _started = self.request(tenant, &run.id, &Request::Start { options: Value::Null }).await;
        if let Ok(Some(claimed)) = self.claim(&claim).await {
            token = claimed.token;
        }
        token
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, tenant: &str, id: &str, act: impl FnOnce(&mut Run) -> Result<T, EngineError>) -> Result<T, EngineError> {
        let mut runs = self.lock();
        let run = runs.get_mut(id).filter(|r| r.new.tenant == tenant).ok_or_else(|| EngineError::NotFound(id.to_owned()))?;
        act(run)
    }

    fn held<T>(&self, token: &Token, act: impl FnOnce(&mut Run) -> Result<T, EngineError>) -> Result<T, EngineError> {
        let mut runs = self.lock();
        match runs.get_mut(&token.run) {
            Some(run) if run.owner.as_deref() == Some(&token.owner) && run.epoch == token.epoch => act(run),
            _ => Err(EngineError::Fenced(token.run.clone())),
        }
    }

    /// Claims the oldest free run that fits and passes `wanted`.
    fn take(&self, request: &ClaimRequest, wanted: impl Fn(&Run) -> bool) -> Option<Claim> {
        let now = Instant::now();
        let mut runs = self.lock();
        let free = |r: &Run| r.owner.is_none() || r.until.is_some_and(|until| until <= now);
        let here = |r: &Run| r.pinned_to.is_none() || r.pinned_to == request.node;
        let fits = |r: &Run| request.kinds.contains(&r.new.kind) && !request.except.contains(&r.new.id) && here(r);
        let due = |r: &Run| r.state == RunState::Scheduled && r.start_at.is_some_and(|at| at <= Timestamp::now());
        let found = runs.values_mut().filter(|r| (r.state.is_active() || due(r)) && free(r) && fits(r) && wanted(r)).min_by_key(|r| r.created_at);
        let run = found?;
        if run.state == RunState::Scheduled {
            run.enter(RunState::Running);
            run.append(words::due());
        }
        run.owner = Some(request.owner.clone());
        run.epoch += 1;
        run.until = Some(now + request.lease);
        let token = Token { run: run.new.id.clone(), tenant: run.new.tenant.clone(), owner: request.owner.clone(), epoch: run.epoch };
        Some(Claim { token, view: run.view(), input: run.new.input.clone(), options: run.options.clone(), wanted: run.wanted })
    }

    fn tell(&self) {
        self.changed.send_modify(|n| *n += 1);
    }
}

impl Run {
    fn append(&mut self, event: NewEvent) {
        let seq = self.events.len() as u64 + 1;
        let NewEvent { kind, level, component, message, details } = event;
        let run = self.new.id.clone();
        self.events.push(Event { run, seq, at: Timestamp::now(), kind, level: level.word().to_owned(), component, message, details });
    }

    fn enter(&mut self, state: RunState) {
        self.state = state;
        self.wanted = None;
        if state.is_active() {
            self.started_at.get_or_insert_with(Timestamp::now);
            if self.owner.is_none() {
                self.until = Some(Instant::now());
            }
            self.ended_at = None;
        } else {
            self.owner = None;
            self.until = None;
            self.ended_at = state.is_end().then(Timestamp::now);
        }
    }

    fn step(&mut self, index: u32) -> Result<&mut StepView, EngineError> {
        self.steps.get_mut(index as usize).ok_or_else(|| EngineError::Internal(format!("the run has no step {index}")))
    }

    fn apply(&mut self, change: Change) -> Result<(), EngineError> {
        let now = Some(Timestamp::now());
        match change {
            Change::Pin(pins) => self.steps = pins.into_iter().enumerate().map(|(i, pin)| pinned(i, pin)).collect(),
            Change::Begun { index } => {
                let step = self.step(index)?;
                (step.state, step.ended_at) = (StepState::Begun, None);
                step.attempts += 1;
                step.started_at = step.started_at.or(now);
            }
            Change::Done { index, output } => {
                let step = self.step(index)?;
                (step.state, step.output, step.error, step.ended_at) = (StepState::Done, Some(output), None, now);
            }
            Change::Failed { index, error } => {
                let step = self.step(index)?;
                (step.state, step.error, step.ended_at) = (StepState::Failed, Some(error), now);
            }
            Change::Faltered { index, error } => self.step(index)?.error = Some(error),
            Change::Undone { index } => {
                let step = self.step(index)?;
                (step.state, step.ended_at) = (StepState::Undone, now);
            }
            Change::State { to, error } => {
                self.error = error.or_else(|| self.error.take());
                self.by_itself |= to == RunState::RollingBack;
                self.enter(to);
            }
            Change::Sample(sample) => self.sample = Some(sample),
            Change::PinTo { node } => self.pinned_to = Some(node),
            Change::Memo { scope, key, value: Some(value) } => {
                self.memos.insert((scope, key), value);
            }
            Change::Memo { scope, key, value: None } => {
                self.memos.remove(&(scope, key));
            }
        }
        Ok(())
    }

    fn is_held(&self) -> bool {
        self.owner.is_some() && self.until.is_none_or(|until| until > Instant::now())
    }

    fn is_interrupted(&self) -> bool {
        let left = self.until.is_none_or(|until| until.elapsed() > super::INTERRUPTED_AFTER);
        self.state.is_active() && self.epoch > 0 && left
    }

    fn view(&self) -> RunView {
        RunView {
            id: self.new.id.clone(),
            tenant: self.new.tenant.clone(),
            kind: self.new.kind.clone(),
            state: self.state,
            labels: self.new.labels.clone(),
            steps: self.steps.clone(),
            error: self.error.clone(),
            trace: Trace::of_options(&self.options),
            rolls_back_by_itself: self.by_itself,
            created_at: self.created_at,
            started_at: self.started_at,
            ended_at: self.ended_at,
            now: Timestamp::now(),
            owner: self.owner.clone(),
            epoch: self.epoch,
            ledgers: self.ledgers.iter().map(|(name, book)| (name.clone(), book.totals)).collect(),
            sample: self.sample.clone(),
            last_event: self.events.len() as u64,
            holds: self.new.holds.clone(),
            stance: self.stance,
            finalized: self.finalized.clone(),
            pinned_to: self.pinned_to.clone(),
            held: self.is_held(),
            is_interrupted: self.is_interrupted(),
        }
    }
}

fn pinned(index: usize, pin: StepPin) -> StepView {
    StepView {
        index: index as u32,
        name: pin.name,
        title: pin.title,
        version: pin.version,
        state: StepState::Pending,
        attempts: 0,
        output: None,
        error: None,
        started_at: None,
        ended_at: None,
    }
}

#[async_trait::async_trait]
impl Leases for MemoryJournal {
    async fn claim(&self, request: &ClaimRequest) -> Result<Option<Claim>, EngineError> {
        Ok(self.take(request, |_| true))
    }

    async fn claim_abandoned(&self, request: &ClaimRequest) -> Result<Option<Claim>, EngineError> {
        Ok(self.take(request, |run| run.state.is_active() && run.epoch > 0))
    }

    async fn renew(&self, token: &Token, lease: Duration) -> Result<(), EngineError> {
        self.held(token, |run| {
            run.until = Some(Instant::now() + lease);
            Ok(())
        })
    }

    async fn wanted(&self, token: &Token) -> Result<Option<Wanted>, EngineError> {
        self.held(token, |run| Ok(run.wanted))
    }

    async fn release(&self, token: &Token) -> Result<(), EngineError> {
        self.held(token, |run| {
            (run.owner, run.until) = (None, Some(Instant::now()));
            Ok(())
        })?;
        self.tell();
        Ok(())
    }

    async fn unpin(&self, tenant: &str, id: &str) -> Result<RunView, EngineError> {
        let view = self.with(tenant, id, |run| {
            let node = run.pinned_to.as_ref().filter(|_| !run.is_held()).ok_or_else(|| words::not_unpinned(id, run.state, run.pinned_to.is_some()))?;
            let event = words::unpinned(node);
            run.pinned_to = None;
            run.append(event);
            Ok(run.view())
        })?;
        self.tell();
        Ok(view)
    }
}

#[async_trait::async_trait]
impl Record for MemoryJournal {
    async fn write(&self, token: &Token, changes: Vec<Change>, events: Vec<NewEvent>) -> Result<(), EngineError> {
        self.held(token, |run| {
            // Only a step that is not there is refused: all of them are looked for before anything changes.
            let mut steps = run.steps.len();
            for change in &changes {
                match change {
                    Change::Pin(pins) => steps = pins.len(),
                    Change::Begun { index }
                    | Change::Done { index, .. }
                    | Change::Failed { index, .. }
                    | Change::Faltered { index, .. }
                    | Change::Undone { index }
                        if *index as usize >= steps =>
                    {
                        return Err(EngineError::Internal(format!("the run has no step {index}")));
                    }
                    _ => {}
                }
            }
            changes.into_iter().try_for_each(|change| run.apply(change))?;
            for event in events {
                run.append(event);
            }
            Ok(())
        })?;
        self.tell();
        Ok(())
    }

    async fn recall(&self, token: &Token, scope: &str, key: &str) -> Result<Option<Value>, EngineError> {
        self.with(&token.tenant, &token.run, |run| Ok(run.memos.get(&(scope.to_owned(), key.to_owned())).cloned()))
    }

    async fn stand_still(&self, token: &Token, for_good: bool) -> Result<bool, EngineError> {
        let held = holder(&self.lock(), &token.run, |r| r.owner.is_some()).is_some();
        self.held(token, |run| {
            run.stance = if held { Some(Stance::Still) } else { Some(Stance::Going).filter(|_| !for_good) };
            Ok(held)
        })
    }

    async fn hold(&self, token: &Token) -> Result<Hold, EngineError> {
        let Some(held) = self.held(token, |run| Ok(run.new.holds.clone()))? else { return Ok(Hold::Free) };
        Ok(hold::judge(self.with(&token.tenant, &held, |run| Ok((run.state, run.stance))).ok()))
    }

    async fn own_view(&self, token: &Token) -> Result<RunView, EngineError> {
        self.with(&token.tenant, &token.run, |run| Ok(run.view()))
    }
}

/// A running run that holds `id`, among those that `counts`.
fn holder(runs: &BTreeMap<String, Run>, id: &str, counts: impl Fn(&Run) -> bool) -> Option<String> {
    let holds = |r: &&Run| r.state == RunState::Running && r.new.holds.as_deref() == Some(id) && counts(r);
    runs.values().find(holds).map(|r| r.new.id.clone())
}

fn matches(filter: &EventFilter, event: &Event) -> bool {
    let level = super::Level::parse(&event.level);
    event.seq > filter.after
        && (filter.kinds.is_empty() || filter.kinds.iter().any(|k| words::kind_matches(k, &event.kind)))
        && filter.min_level.is_none_or(|least| level >= Some(least))
        && filter.level.is_none_or(|exact| level == Some(exact))
        && filter.since.is_none_or(|since| event.at >= since)
}
