//! A run's ledger for those who only look: the preview of a rollback. It cannot be written.

use super::ledger::{chunk, totals};
use engine::{Engine, EngineError};
use ports::ledger::{Chunk, ChunkDone, NewChunk, Totals};
use ports::{ConnectorError, ErrorKind, Result};
use serde_json::Value;

/// One named ledger of a run that nobody, or somebody else, works on.
pub struct ReadLedger {
    engine: Engine,
    tenant: String,
    run: String,
    name: String,
}

impl ReadLedger {
    pub fn new(engine: &Engine, tenant: &str, run: &str, name: &str) -> Self {
        Self { engine: engine.clone(), tenant: tenant.to_owned(), run: run.to_owned(), name: name.to_owned() }
    }

    fn error(&self, error: EngineError) -> ConnectorError {
        let temporary = matches!(error, EngineError::Unavailable(_));
        let mut out = ConnectorError::new(ErrorKind::Internal, "read", format!("the ledger '{}'", self.name), error.to_string()).because(error);
        out.temporary = temporary;
        out
    }

    fn no_pen(&self) -> ConnectorError {
        ConnectorError::new(ErrorKind::Internal, "write", format!("the ledger '{}'", self.name), "it was opened for reading").permanent()
    }
}

#[async_trait::async_trait]
impl ports::Ledger for ReadLedger {
    async fn plan(&self, _chunks: Vec<NewChunk>) -> Result<()> {
        Err(self.no_pen())
    }

    async fn seal(&self) -> Result<()> {
        Err(self.no_pen())
    }

    async fn pending(&self, _after: Option<u64>, _limit: usize) -> Result<Vec<Chunk>> {
        Err(self.no_pen())
    }

    async fn done(&self, _chunks: Vec<ChunkDone>) -> Result<()> {
        Err(self.no_pen())
    }

    async fn all(&self, after: Option<u64>, limit: usize) -> Result<Vec<Chunk>> {
        let page = self.engine.ledger(&self.tenant, &self.run, &self.name, after, limit).await.map_err(|e| self.error(e))?;
        Ok(page.into_iter().map(chunk).collect())
    }

    async fn totals(&self) -> Result<Totals> {
        self.engine.ledger_totals(&self.tenant, &self.run, &self.name).await.map(totals).map_err(|e| self.error(e))
    }

    async fn remember(&self, _key: &str, _value: Option<Value>) -> Result<()> {
        Err(self.no_pen())
    }

    async fn recall(&self, key: &str) -> Result<Option<Value>> {
        self.engine.memo(&self.tenant, &self.run, &self.name, key).await.map_err(|e| self.error(e))
    }
}
