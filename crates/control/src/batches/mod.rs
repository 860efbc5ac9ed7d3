//! Batches: several migrations as one thing, so many side by side, in waves and after one another.
//!
//! ```text
//! POST ─► one record: ids chosen, documents sealed ─► runs made ─► driver: start, watch, skip, end
//! ```
//! The record alone decides. Whatever server takes it when it is due ([`driver`]) makes runs that are missing (their ids are known), so that a server that
//! dies at any moment leaves nothing doubled and nothing forgotten, and several servers on one database share the work. Every decision is written,
//! fenced by the record's version, before anything is started.

mod driver;
mod order;
mod request;
mod runs;
mod shown;
mod state;

pub use request::{BatchBody, BatchOptionsBody, EntryReference};
pub use shown::{Batch, BatchDeleted, BatchMember, BatchSummary, Counts};
pub use state::{BatchOptions, Reason};

use crate::author::Author;
use crate::error::{Code, Kind};
use crate::{Control, Error, Filter};
use jiff::Timestamp;
use ports::records::{Fields, Record, RecordFilter, RecordsError, Write};
use request::Asked;
use serde_json::{Value, json};
use state::{Status, Stored, Wanted};
use std::time::Duration;

/// The kind of its records.
const KIND: &str = "batch";

/// How long a new batch is its creator's to make runs for, before any server may.
const MAKING: Duration = Duration::from_secs(5);

/// How often a wish is written again after the driver was faster.
const TRIES: usize = 20;

impl Control {
    /// Stores a batch and its migrations. All bad fields of all entries come back at once, and then nothing was stored.
    pub async fn create_batch(&self, tenant: &str, body: &Value) -> Result<Batch, Error> {
        let asked = Asked::decode(body, &|document| self.read(document))?;
        let id = uuid::Uuid::now_v7().simple().to_string();
        let fields = Fields::body(encoded(&asked.stored)?)
            .state(Status::Created.word())
            .due(Some(self.records().now().await? + MAKING))
            .secret(Some(json!({"documents": asked.documents})));
        let written = self.records().apply(vec![Write::insert(tenant, KIND, &id, fields)]).await?;
        let record = written.into_iter().next().ok_or_else(|| Error::internal("a batch was written, and no record came back"))?;
        let batch = self.first_runs(record).await?;
        let message = format!("Batch of {} migrations created", batch.migrations.len());
        Ok(Batch { message: Some(message), ..batch })
    }

    /// Newest first. Parameters: `status`, `limit` (1 to 1000, default 100), `offset`.
    pub async fn batches(&self, tenant: &str, mut query: Filter) -> Result<Vec<BatchSummary>, Error> {
        let words = Status::ALL.map(|s| (s.word(), s.word()));
        let states = query.choice("status", &words).map(str::to_owned).into_iter().collect();
        let page = query.page();
        query.done()?;
        let filter = RecordFilter { states, ..page.filter() };
        let found = self.records().list(tenant, KIND, &filter).await?;
        found.iter().map(|record| Ok(shown::summary(record, &opened(record)?))).collect()
    }

    /// With each migration's status of this moment.
    pub async fn batch(&self, tenant: &str, id: &str) -> Result<Batch, Error> {
        let record = self.batch_record(tenant, id).await?;
        self.shown_batch(&record, &opened(&record)?).await
    }

    /// Begins a batch that was created without `auto_start`, or goes on with a paused one.
    pub async fn start_batch(&self, tenant: &str, id: &str) -> Result<Batch, Error> {
        self.wish(tenant, id, "start", |wanted| match wanted {
            Wanted::Hold | Wanted::Pause => Ok(Wanted::Go),
            Wanted::Go => Err("It has been started already."),
            Wanted::Cancel => Err("It is being cancelled."),
        })
        .await
    }

    /// Starts nothing more; what runs goes on to its end.
    pub async fn pause_batch(&self, tenant: &str, id: &str) -> Result<Batch, Error> {
        self.wish(tenant, id, "pause", |wanted| match wanted {
            Wanted::Go => Ok(Wanted::Pause),
            Wanted::Hold => Err("It has not been started."),
            Wanted::Pause => Err("It is paused already."),
            Wanted::Cancel => Err("It is being cancelled."),
        })
        .await
    }

    /// Cancels every migration that has not ended. Nothing is undone by this.
    pub async fn cancel_batch(&self, tenant: &str, id: &str) -> Result<Batch, Error> {
        self.wish(tenant, id, "cancel", |wanted| match wanted {
            Wanted::Cancel => Err("It is being cancelled already."),
            Wanted::Hold | Wanted::Go | Wanted::Pause => Ok(Wanted::Cancel),
        })
        .await
    }

    /// Forgets a batch that is not at work. Its migrations stay.
    pub async fn delete_batch(&self, tenant: &str, id: &str) -> Result<BatchDeleted, Error> {
        let record = self.batch_record(tenant, id).await?;
        let batch = opened(&record)?;
        if !batch.status().is_end() {
            return Err(refused(&record, &batch, "delete", "Cancel it first."));
        }
        self.records().apply(vec![Write::delete(&record)]).await?;
        Ok(BatchDeleted { id: id.to_owned(), status: "deleted" })
    }
}

impl Control {
    async fn batch_record(&self, tenant: &str, id: &str) -> Result<Record, Error> {
        self.records().get(tenant, KIND, id).await?.ok_or_else(|| Error::not_found("batch", id))
    }

    /// Writes a wish down, and has the driver look at once. A tick that came between is no conflict: the wish is made again on what it left.
    async fn wish(&self, tenant: &str, id: &str, doing: &str, change: impl Fn(Wanted) -> Result<Wanted, &'static str>) -> Result<Batch, Error> {
        for _ in 0..TRIES {
            let record = self.batch_record(tenant, id).await?;
            let mut batch = opened(&record)?;
            if batch.status().is_end() {
                return Err(refused(&record, &batch, doing, "It has ended."));
            }
            batch.wanted = change(batch.wanted).map_err(|why| refused(&record, &batch, doing, why))?;
            batch.asked_by = Some(Author::current());
            match self.write_batch(&record, &batch, Some(self.records().now().await?)).await {
                Ok(record) => return self.shown_batch(&record, &batch).await,
                Err(RecordsError::Changed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(RecordsError::Changed { kind: KIND.to_owned(), id: id.to_owned() }.into())
    }

    /// Writes what was decided on `record`; refused when somebody was faster. `due`: when to look again, `None` at the end.
    async fn write_batch(&self, record: &Record, batch: &Stored, due: Option<Timestamp>) -> Result<Record, RecordsError> {
        let body = serde_json::to_value(batch).map_err(|e| RecordsError::Internal(format!("a batch cannot be encoded: {e}")))?;
        let mut fields = Fields::body(body).state(batch.status().word()).due(due);
        if record.has_secret && batch.members.iter().all(|m| m.made) {
            fields = fields.secret(None);
        }
        let mut written = self.records().apply(vec![Write::update(record, fields)]).await?;
        written.pop().ok_or_else(|| RecordsError::Internal("a batch was written, and no record came back".to_owned()))
    }
}

fn opened(record: &Record) -> Result<Stored, Error> {
    serde_json::from_value(record.body.clone()).map_err(|e| Error::internal(format!("the batch {} cannot be decoded: {e}", record.id)))
}

fn encoded(batch: &Stored) -> Result<Value, Error> {
    serde_json::to_value(batch).map_err(|e| Error::internal(format!("a batch cannot be encoded: {e}")))
}

fn refused(record: &Record, batch: &Stored, doing: &str, why: &str) -> Error {
    let status = batch.status().word();
    Error::new(Kind::Conflict, Code::InvalidState, format!("Cannot {doing} this batch: it is {status}. {why}"))
        .details(json!({"batch_id": record.id, "current_status": status}))
}
