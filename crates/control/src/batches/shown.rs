//! Batches as they are answered.

use super::state::{BatchOptions, Member, Outcome, Reason, Stored};
use crate::error::Code;
use crate::{Control, Error, time};
use ports::records::Record;
use serde::Serialize;
use utoipa::ToSchema;

/// How many migrations of a batch are where.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Counts {
    #[schema(example = 2)]
    pub total: usize,
    pub waiting: usize,
    pub running: usize,
    pub completed: usize,
    pub failed: usize,
    pub cancelled: usize,
    /// Never started by the batch: a failure before it, or one that it depends on.
    pub skipped: usize,
}

/// One line of `GET /batches/`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BatchSummary {
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub batch_id: String,
    /// The same as `batch_id`.
    pub id: String,
    pub name: Option<String>,
    /// `created`, `running`, `paused`, `cancelling`, `completed`, `partial` (some completed, some did not), `failed` or `cancelled`.
    #[schema(example = "created")]
    pub status: &'static str,
    #[schema(example = "2024-08-26T14:30:22.123456")]
    pub created_at: String,
    pub started_at: Option<String>,
    pub ended_at: Option<String>,
    pub counts: Counts,
    pub batch_options: BatchOptions,
}

/// A batch with its migrations.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Batch {
    #[serde(flatten)]
    pub summary: BatchSummary,
    /// In the answer of its creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Batch of 2 migrations created")]
    pub message: Option<String>,
    /// In the order of the request.
    pub migrations: Vec<BatchMember>,
}

/// A migration of a batch.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BatchMember {
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub session_id: String,
    /// The same as `session_id`.
    pub id: String,
    #[schema(example = "Site 1 Migration")]
    pub name: String,
    /// The migration's own status; `skipped` when the batch will not start it, `failed` when it could not, `deleted` when it is gone.
    #[schema(example = "created")]
    pub status: String,
    #[schema(example = 0.0)]
    pub progress: f64,
    #[schema(example = 1)]
    pub wave: u64,
    /// Indexes of the entries that must complete before.
    pub depends_on: Vec<usize>,
    /// Why it failed or was skipped.
    pub error: Option<Reason>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BatchDeleted {
    pub id: String,
    #[schema(example = "deleted")]
    pub status: &'static str,
}

pub(super) fn summary(record: &Record, batch: &Stored) -> BatchSummary {
    let at_work = batch.members.iter().filter(|m| m.outcome.is_none() && m.started).count();
    let ended = batch.members.iter().filter(|m| m.outcome.is_some()).count();
    BatchSummary {
        batch_id: record.id.clone(),
        id: record.id.clone(),
        name: batch.name.clone(),
        status: batch.status().word(),
        created_at: time::text(record.created_at),
        started_at: time::maybe(batch.started_at),
        ended_at: time::maybe(batch.ended_at),
        counts: Counts {
            total: batch.members.len(),
            waiting: batch.members.len() - ended - at_work,
            running: at_work,
            completed: batch.count(Outcome::Completed),
            failed: batch.count(Outcome::Failed),
            cancelled: batch.count(Outcome::Cancelled),
            skipped: batch.count(Outcome::Skipped),
        },
        batch_options: batch.options.clone(),
    }
}

impl Control {
    pub(super) async fn shown_batch(&self, record: &Record, batch: &Stored) -> Result<Batch, Error> {
        let mut migrations = Vec::with_capacity(batch.members.len());
        for member in &batch.members {
            migrations.push(self.shown_member(&record.tenant, member).await?);
        }
        Ok(Batch { summary: summary(record, batch), message: None, migrations })
    }

    async fn shown_member(&self, tenant: &str, member: &Member) -> Result<BatchMember, Error> {
        let (mut status, mut progress, mut error) = ("created".to_owned(), 0.0, member.reason.clone());
        match self.status(tenant, &member.id).await {
            Ok(live) => {
                error = error.or_else(|| live.error.map(|e| Reason::of_migration(e.code, e.message)));
                (status, progress) = (live.status.to_owned(), live.progress);
            }
            Err(gone) if gone.code == Code::MigrationNotFound => {
                if member.made {
                    "deleted".clone_into(&mut status);
                }
            }
            Err(other) => return Err(other),
        }
        if status == "created" {
            match member.outcome {
                Some(Outcome::Skipped) => "skipped".clone_into(&mut status),
                Some(Outcome::Failed) => "failed".clone_into(&mut status),
                Some(Outcome::Completed | Outcome::Cancelled) | None => {}
            }
        }
        Ok(BatchMember {
            session_id: member.id.clone(),
            id: member.id.clone(),
            name: member.name.clone(),
            status,
            progress,
            wave: member.wave,
            depends_on: member.depends_on.clone(),
            error,
        })
    }
}
