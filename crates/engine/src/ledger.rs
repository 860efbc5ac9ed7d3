//! A named chunk ledger of one run, as a step sees it. See [`crate::journal::Chunks`] for what each call promises.

use crate::StepError;
use crate::journal::{Chunk, ChunkDone, NewChunk};
use crate::recorder::Recorder;
use crate::view::LedgerTotals;
use serde_json::Value;
use std::sync::Arc;

/// Cheap to clone; all writes are fenced and answer [`StepError::stopped`] once the lease is lost.
#[derive(Clone)]
pub struct Ledger {
    recorder: Arc<Recorder>,
    name: Arc<str>,
}

impl Ledger {
    pub(crate) fn new(recorder: Arc<Recorder>, name: &str) -> Self {
        Self { recorder, name: name.into() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds chunks in one transaction. A `seq` that is already there is left as it is.
    pub async fn plan(&self, chunks: Vec<NewChunk>) -> Result<(), StepError> {
        let r = &self.recorder;
        r.answer(r.journal().plan(r.token(), &self.name, chunks).await)
    }

    /// Says that planning is complete. Repeatable.
    pub async fn seal(&self) -> Result<(), StepError> {
        let r = &self.recorder;
        r.answer(r.journal().seal(r.token(), &self.name).await)
    }

    /// Chunks that are not done, by ascending `seq`, after `after`, at most `limit`; each handing-out raises `attempts`.
    pub async fn pending(&self, after: Option<u64>, limit: usize) -> Result<Vec<Chunk>, StepError> {
        let r = &self.recorder;
        r.answer(r.journal().pending(r.token(), &self.name, after, limit).await)
    }

    /// Records results in one transaction. Repeatable: the first result stays.
    pub async fn done(&self, chunks: Vec<ChunkDone>) -> Result<(), StepError> {
        let r = &self.recorder;
        r.answer(r.journal().done(r.token(), &self.name, chunks).await)
    }

    /// All chunks, done or not, by ascending `seq`, after `after`, at most `limit`.
    pub async fn all(&self, after: Option<u64>, limit: usize) -> Result<Vec<Chunk>, StepError> {
        let r = &self.recorder;
        r.answer(r.journal().all(&r.token().tenant, &r.token().run, &self.name, after, limit).await)
    }

    pub async fn totals(&self) -> Result<LedgerTotals, StepError> {
        let r = &self.recorder;
        r.answer(r.journal().totals(&r.token().tenant, &r.token().run, &self.name).await)
    }

    /// A small durable note beside the chunks, apart from the run's own notes. `None` removes it.
    pub async fn remember(&self, key: &str, value: Option<Value>) -> Result<(), StepError> {
        self.recorder.remember(&self.name, key, value).await
    }

    pub async fn recall(&self, key: &str) -> Result<Option<Value>, StepError> {
        self.recorder.recall(&self.name, key).await
    }
}
