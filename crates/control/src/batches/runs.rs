//! The runs of a batch: making those that are missing, seeing how they are, starting and cancelling them.

use super::state::{Member, Outcome, Reason, Seen, Stored};
use super::{Batch, KIND, opened};
use crate::caller::Caller;
use crate::error::{Code, Kind};
use crate::migrations::Spec;
use crate::{Control, Error};
use engine::{EngineError, RunState, RunView, StepError};
use ports::records::{AuditEntry, Record, RecordsError, audit::attempt};
use serde_json::{Value, json};

impl Control {
    /// The runs of a batch that was just stored. What fails here is made up for by the driver.
    pub(super) async fn first_runs(&self, record: Record) -> Result<Batch, Error> {
        let mut batch = opened(&record)?;
        if let Err(error) = self.make_missing(&record, &mut batch).await {
            tracing::warn!(batch = %record.id, %error, "not all migrations of a new batch could be made; the driver makes the rest");
        }
        match self.write_batch(&record, &batch, Some(self.records().now().await?)).await {
            Ok(record) => self.shown_batch(&record, &batch).await,
            // The driver was faster, or must look: what is stored counts.
            Err(RecordsError::Changed { .. } | RecordsError::Unavailable(_)) => self.batch(&record.tenant, &record.id).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Makes every run that is missing, under the id that was chosen for it. Repeatable.
    pub(super) async fn make_missing(&self, record: &Record, batch: &mut Stored) -> Result<(), Error> {
        if batch.members.iter().all(|m| m.made) {
            return Ok(());
        }
        let author = match self.author_of_start(batch.author.as_ref(), &record.tenant).await {
            Ok(author) => author,
            Err(error) if error.kind == Kind::Denied => {
                for member in batch.members.iter_mut().filter(|m| !m.made) {
                    member.made = true;
                    member.end(Outcome::Failed, Some(Reason::new(error.code.word(), error.message.clone())));
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let secret = self.records().secret(&record.tenant, KIND, &record.id).await?.unwrap_or_default();
        for (index, member) in batch.members.iter_mut().enumerate().filter(|(_, m)| !m.made) {
            author.clone().acting(self.make_run(&record.tenant, member, &secret["documents"][index])).await?;
        }
        Ok(())
    }

    async fn make_run(&self, tenant: &str, member: &mut Member, document: &Value) -> Result<(), Error> {
        let made = match self.read(document) {
            Ok(spec) => self.create_as(tenant, &member.id, document.clone(), &Spec::Application(Box::new(spec))).await.map(drop),
            Err(problems) => Err(EngineError::Invalid(no_longer(&problems))),
        };
        match made {
            Ok(()) => {}
            // It was made before a crash, or by another server just now; or it cannot be made at all.
            Err(EngineError::Invalid(why)) => match self.engine().get(tenant, &member.id).await {
                Ok(_) => {}
                Err(EngineError::NotFound(_)) => member.end(Outcome::Failed, Some(Reason::new(Code::InvalidConfiguration.word(), why))),
                Err(error) => return Err(Error::of_engine(error, &member.id, "create")),
            },
            Err(error) => return Err(Error::of_engine(error, &member.id, "create")),
        }
        member.made = true;
        Ok(())
    }

    /// How the member's run is now.
    pub(super) async fn seen(&self, tenant: &str, id: &str) -> Result<Seen, Error> {
        match self.engine().get(tenant, id).await {
            Ok(view) => Ok(seen_in(&view)),
            Err(EngineError::NotFound(_)) => {
                let why = Reason::new(Code::MigrationNotFound.word(), "The migration was deleted");
                Ok(Seen::Ended(Outcome::Cancelled, Some(why)))
            }
            Err(error) => Err(Error::of_engine(error, id, "look at")),
        }
    }

    /// Starts a member with the same checks as anybody's start.
    pub(super) async fn start_member(&self, record: &Record, batch: &Stored, id: &str) -> Result<(), Error> {
        let (tenant, options) = (&record.tenant, &batch.options);
        let author = self.author_of_start(batch.asked_by.as_ref(), tenant).await?;
        let mut body = json!({});
        for (name, value) in [("auto_rollback", options.auto_rollback), ("send_notifications", options.send_notifications)] {
            if let Some(value) = value {
                body[name] = json!(value);
            }
        }
        let work = author.acting(self.start(tenant, id, Some(&body), options.skip_validation));
        self.as_system(entry(tenant, &record.id, "start_migration", id), work).await.map(drop)
    }

    /// Ends a member as failed whose start was refused for good, so that it is a failed migration for everybody. One that was started or deleted meanwhile
    /// is left as it is.
    pub(super) async fn refuse_member(&self, tenant: &str, id: &str, reason: &Reason) -> Result<(), Error> {
        let error = StepError::permanent(reason.code.to_lowercase(), reason.message.clone());
        match self.engine().refuse(tenant, id, error).await {
            Ok(_) | Err(EngineError::Conflict { .. } | EngineError::NotFound(_)) => Ok(()),
            Err(error) => Err(Error::of_engine(error, id, "end")),
        }
    }

    /// Cancels a member; one that has ended meanwhile is left as it is, and one that whoever cancelled the batch may not cancel goes on to its end.
    pub(super) async fn cancel_member(&self, record: &Record, batch: &Stored, id: &str) -> Result<(), Error> {
        let work = async {
            let author = self.author_of_start(batch.asked_by.as_ref(), &record.tenant).await?;
            author.acting(self.cancel(&record.tenant, id)).await
        };
        match self.as_system(entry(&record.tenant, &record.id, "cancel_migration", id), work).await {
            Err(error) if !matches!(error.code, Code::InvalidState | Code::MigrationNotFound | Code::Denied) => Err(error),
            _ => Ok(()),
        }
    }

    /// Runs `work` as the product itself, with its entry in the audit log.
    pub(crate) async fn as_system<T>(&self, entry: AuditEntry, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let (result, written) = attempt(entry.clone(), work).await;
        if !written {
            let word = result.as_ref().map_or_else(|error| error.code.word(), |_| "done");
            self.note_attempt(AuditEntry { result: word.to_owned(), ..entry }).await;
        }
        result
    }
}

/// Why a configuration that was taken once is not any more.
fn no_longer(problems: &domain::decode::Problems) -> String {
    let said: Vec<String> = problems.0.iter().map(|p| format!("{} {}", p.field, p.message)).collect();
    format!("This server no longer accepts the configuration: {}", said.join("; "))
}

fn entry(tenant: &str, batch: &str, action: &str, id: &str) -> AuditEntry {
    let system = Caller::system(tenant);
    AuditEntry {
        tenant: tenant.to_owned(),
        actor: system.name,
        proof: system.proof.word().to_owned(),
        action: action.to_owned(),
        target: format!("migrations/{id}"),
        source: "local".to_owned(),
        details: json!({"batch_id": batch}),
        ..AuditEntry::default()
    }
}

fn seen_in(view: &RunView) -> Seen {
    let why = || view.error.as_ref().map(|e| Reason::of_migration(e.kind.clone(), e.message.clone()));
    match view.state {
        RunState::Created | RunState::Scheduled => Seen::Waiting,
        RunState::Running | RunState::Paused | RunState::RollingBack => Seen::AtWork,
        RunState::Completed => Seen::Ended(Outcome::Completed, None),
        RunState::Failed | RunState::Stuck => Seen::Ended(Outcome::Failed, why()),
        RunState::RolledBack if view.rolls_back_by_itself => Seen::Ended(Outcome::Failed, why()),
        RunState::RolledBack | RunState::Cancelled => Seen::Ended(Outcome::Cancelled, why()),
    }
}
