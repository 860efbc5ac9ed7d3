//! Requests of users, and the event stream.

use super::{MemoryJournal, Run, holder, matches, pinned};
use crate::journal::{EventFilter, Events, Runs, StepPin, words};
use crate::line::RunLine;
use crate::state::{self, Next, Request};
use crate::view::{Event, Finalized, NewRun, RunFilter, RunView, StepState};
use crate::{EngineError, RunState, admission};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use tokio::sync::watch;

#[async_trait::async_trait]
impl Runs for MemoryJournal {
    async fn create(&self, new: &NewRun, steps: &[StepPin]) -> Result<Timestamp, EngineError> {
        let mut runs = self.lock();
        if runs.contains_key(&new.id) {
            return Err(EngineError::Invalid(format!("a run with id {} exists already", new.id)));
        }
        let created_at = Timestamp::now();
        let mut run = Run {
            new: new.clone(),
            options: Value::Null,
            state: RunState::Created,
            wanted: None,
            owner: None,
            epoch: 0,
            until: None,
            start_at: None,
            created_at,
            started_at: None,
            ended_at: None,
            error: None,
            by_itself: false,
            stance: None,
            finalized: None,
            pinned_to: None,
            steps: steps.iter().cloned().enumerate().map(|(i, pin)| pinned(i, pin)).collect(),
            sample: None,
            events: Vec::new(),
            memos: BTreeMap::new(),
            ledgers: BTreeMap::new(),
        };
        run.append(words::created(&new.kind));
        runs.insert(new.id.clone(), run);
        self.tell();
        Ok(created_at)
    }

    async fn view(&self, tenant: &str, id: &str) -> Result<RunView, EngineError> {
        self.with(tenant, id, |run| Ok(run.view()))
    }

    async fn input(&self, tenant: &str, id: &str) -> Result<Value, EngineError> {
        self.with(tenant, id, |run| Ok(run.new.input.clone()))
    }

    async fn forget_secrets(&self, tenant: &str, id: &str, input: &Value) -> Result<(), EngineError> {
        self.with(tenant, id, |run| {
            if run.finalized.is_some() {
                run.new.input = input.clone();
            }
            Ok(())
        })
    }

    async fn list(&self, tenant: &str, filter: &RunFilter) -> Result<Vec<RunView>, EngineError> {
        let runs = self.lock();
        let mut found: Vec<_> = runs.values().filter(|r| wanted(r, tenant, filter)).map(Run::view).collect();
        found.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        if let Some((created, id)) = &filter.after {
            found.retain(|v| (v.created_at, &v.id) < (*created, id));
        }
        found.iter_mut().flat_map(|view| &mut view.steps).for_each(|step| step.output = None);
        let limit = if filter.limit == 0 { usize::MAX } else { filter.limit as usize };
        Ok(found.into_iter().skip(filter.offset as usize).take(limit).collect())
    }

    async fn lines(&self, tenant: &str, filter: &RunFilter) -> Result<Vec<RunLine>, EngineError> {
        Ok(self.list(tenant, filter).await?.iter().map(RunLine::from).collect())
    }

    async fn count(&self, tenant: &str, filter: &RunFilter) -> Result<u64, EngineError> {
        Ok(self.lock().values().filter(|r| wanted(r, tenant, filter)).count() as u64)
    }

    async fn request(&self, tenant: &str, id: &str, request: &Request) -> Result<RunView, EngineError> {
        let reader = holder(&self.lock(), id, |_| true);
        let view = self.with(tenant, id, |run| {
            let begun = run.owner.is_some() || run.steps.iter().any(|s| s.state != StepState::Pending);
            let next = state::request(run.state, request, begun).map_err(|refusal| words::refused(id, run.state, refusal))?;
            match (request, &run.finalized, reader) {
                (Request::Rollback { .. }, Some(finalized), _) => return Err(words::no_way_back(id, run.state, finalized)),
                (Request::Rollback { .. }, None, Some(reader)) => return Err(words::read_by(id, run.state, &reader)),
                (Request::Finalize { .. }, Some(_), _) => return Ok(run.view()),
                _ => {}
            }
            run.by_itself &= !matches!(request, Request::Rollback { .. });
            match request {
                Request::Start { options } => run.options = options.clone(),
                Request::Schedule { at, options } => (run.options, run.start_at) = (options.clone(), Some(*at)),
                Request::Rollback { options } if !options.is_null() => run.options = options.clone(),
                Request::Unschedule => run.start_at = None,
                Request::Resume => {
                    run.error = None;
                    run.options = admission::asked_for_now(run.options.take());
                }
                Request::Ask { name } => drop(run.memos.insert((String::new(), words::asked(name)), Value::Bool(true))),
                Request::Finalize { by } => {
                    run.finalized = Some(Finalized { at: Timestamp::now(), by: by.clone() });
                    run.memos.clear();
                    run.ledgers.values_mut().for_each(|book| book.chunks.clear());
                }
                Request::Refuse { error } => run.error = Some(error.clone()),
                Request::Rollback { .. } | Request::Resolve | Request::Pause | Request::Cancel => {}
            }
            match next {
                Next::Enter(state) => run.enter(state),
                Next::Want(wanted) => run.wanted = run.wanted.max(Some(wanted)),
                Next::Note => {}
            }
            run.append(words::requested(request, next));
            Ok(run.view())
        })?;
        self.tell();
        Ok(view)
    }

    async fn delete(&self, tenant: &str, id: &str) -> Result<(), EngineError> {
        let reader = holder(&self.lock(), id, |_| true);
        self.with(tenant, id, |run| match reader {
            _ if run.state.is_active() => Err(words::undeletable(id, run.state)),
            Some(reader) => Err(words::read_by(id, run.state, &reader)),
            None => Ok(()),
        })?;
        self.lock().remove(id);
        Ok(())
    }
}

fn wanted(run: &Run, tenant: &str, filter: &RunFilter) -> bool {
    run.new.tenant == tenant
        && (filter.states.is_empty() || filter.states.contains(&run.state))
        && filter.rolled_back_by_itself.is_none_or(|by_itself| run.state != RunState::RolledBack || run.by_itself == by_itself)
        && filter.holds.as_ref().is_none_or(|held| run.new.holds.as_ref() == Some(held))
        && filter.kind.as_ref().is_none_or(|kind| run.new.kind.strip_prefix(kind.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('@')))
}

#[async_trait::async_trait]
impl Events for MemoryJournal {
    async fn events(&self, tenant: &str, id: &str, filter: &EventFilter) -> Result<Vec<Event>, EngineError> {
        self.with(tenant, id, |run| {
            let mut found: Vec<_> = run.events.iter().filter(|e| matches(filter, e)).cloned().collect();
            if filter.newest_first {
                found.reverse();
            }
            let limit = if filter.limit == 0 { usize::MAX } else { filter.limit as usize };
            Ok(found.into_iter().skip(filter.offset as usize).take(limit).collect())
        })
    }

    async fn count_events(&self, tenant: &str, id: &str, filter: &EventFilter) -> Result<u64, EngineError> {
        self.with(tenant, id, |run| Ok(run.events.iter().filter(|e| matches(filter, e)).count() as u64))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
