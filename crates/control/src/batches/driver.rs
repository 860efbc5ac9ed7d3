//! Carries batches on, whichever server does it: looks at the runs, decides, writes the decision down, and only then starts anything.

use super::state::{Outcome, Reason, Seen, Stored, Wanted};
use super::{KIND, TRIES, opened};
use crate::error::Kind;
use crate::{Control, Error};
use jiff::Timestamp;
use ports::records::{Record, RecordsError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a batch that was looked at is left alone. With [`LOOK`], the longest that the end of a migration goes unnoticed.
const HOLD: Duration = Duration::from_millis(600);
/// How often a server looks for batches that are due.
const LOOK: Duration = Duration::from_millis(300);
/// How many batches one look takes.
const PAGE: u32 = 32;
/// When a start that a quota or a journal refused for now is tried again.
const LATER: Duration = Duration::from_secs(5);

impl Control {
    /// Carries the batches of all tenants on until `stop`. Any number of servers may do so on one database.
    pub async fn drive_batches(&self, stop: CancellationToken) {
        let mut changes = self.engine().journal().changes();
        while !stop.is_cancelled() {
            changes.mark_unchanged();
            if self.may_work()
                && let Err(error) = self.turn_batches(None).await
            {
                tracing::warn!(%error, "batches could not be looked at; tried again soon");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
                Ok(()) = changes.changed() => tokio::time::sleep(LOOK / 4).await,
            }
        }
    }

    /// Looks once at every batch that is due; gives how many there were. `now` stands in for the store's clock in tests.
    pub async fn turn_batches(&self, now: Option<Timestamp>) -> Result<usize, Error> {
        let due = self.records().take_due(KIND, PAGE, HOLD, now).await?;
        let count = due.len();
        for record in due {
            let (tenant, id) = (record.tenant.clone(), record.id.clone());
            if let Err(error) = self.turn_batch(record).await {
                self.pass_over(KIND, &tenant, &id, error).await;
            }
        }
        Ok(count)
    }

    async fn turn_batch(&self, record: Record) -> Result<(), Error> {
        // When it was taken, by the store's clock.
        let now = record.due_at.map_or_else(Timestamp::now, |due| due - HOLD);
        let before = opened(&record)?;
        let mut batch = before.clone();
        self.make_missing(&record, &mut batch).await?;
        self.look(&record, &mut batch, now).await?;
        let starts = self.decide(&record, &mut batch, now).await?;
        let at_rest =
            batch.status().is_end() || (batch.wanted != Wanted::Go && !batch.members.iter().any(|m| m.is_at_work(now)) && batch.wanted != Wanted::Cancel);
        if batch == before && !at_rest {
            return Ok(());
        }
        let due = if at_rest { None } else { record.due_at };
        match self.write_batch(&record, &batch, due).await {
            Ok(_) => {}
            // Somebody wished something, or took longer than the hold: the next look sees it.
            Err(RecordsError::Changed { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        for index in starts {
            let (control, record, batch) = (self.clone(), record.clone(), batch.clone());
            tokio::spawn(async move { control.start_and_settle(&record, &batch, index).await });
        }
        Ok(())
    }

    /// How the runs are that may have changed: those at work, and in a batch that is being cancelled all.
    async fn look(&self, record: &Record, batch: &mut Stored, now: Timestamp) -> Result<(), Error> {
        let all = batch.wanted == Wanted::Cancel;
        for member in batch.members.iter_mut().filter(|m| m.outcome.is_none() && (all || m.is_at_work(now) || m.starting_until.is_some())) {
            member.see(self.seen(&record.tenant, &member.id).await?);
        }
        Ok(())
    }

    /// What to start now; marked as under way. Cancels what a cancelled batch has left.
    async fn decide(&self, record: &Record, batch: &mut Stored, now: Timestamp) -> Result<Vec<usize>, Error> {
        if batch.wanted == Wanted::Cancel {
            let asked = batch.clone();
            for member in batch.members.iter_mut().filter(|m| m.outcome.is_none()) {
                self.cancel_member(record, &asked, &member.id).await?;
                member.see(self.seen(&record.tenant, &member.id).await?);
            }
        }
        batch.skip();
        let mut starts = Vec::new();
        while let Some(index) = batch.ready(now).first().copied() {
            // Somebody may have started, cancelled or deleted it by hand.
            let seen = self.seen(&record.tenant, &batch.members[index].id).await?;
            if seen == Seen::Waiting {
                batch.starting(index, now);
                starts.push(index);
            } else {
                batch.members[index].see(seen);
                batch.skip();
            }
        }
        if batch.wanted == Wanted::Go && batch.started_at.is_none() {
            batch.started_at = Some(now);
        }
        if batch.status().is_end() {
            batch.ended_at = Some(now);
        }
        Ok(starts)
    }

    async fn start_and_settle(&self, record: &Record, batch: &Stored, index: usize) {
        let id = &batch.members[index].id;
        let Err(error) = self.start_member(record, batch, id).await else { return };
        if let Err(lost) = self.settle_refusal(record, index, id, &error).await {
            tracing::warn!(batch = %record.id, migration = %id, %lost, "a refused start could not be written down; it is tried again");
        }
    }

    /// Writes down that a start was refused: as a failure, or to be tried again where the refusal is one for now.
    async fn settle_refusal(&self, record: &Record, index: usize, id: &str, error: &Error) -> Result<(), Error> {
        for _ in 0..TRIES {
            let Some(record) = self.records().get(&record.tenant, KIND, &record.id).await? else { return Ok(()) };
            let mut batch = opened(&record)?;
            if batch.members[index].outcome.is_some() || self.seen(&record.tenant, id).await? != Seen::Waiting {
                return Ok(());
            }
            // A conflict of a run that waits is a quota's.
            if matches!(error.kind, Kind::Unavailable | Kind::TooMany | Kind::Conflict) {
                batch.members[index].waits_for(self.records().now().await? + LATER, reason(error));
            } else {
                let reason = reason(error);
                self.refuse_member(&record.tenant, id, &reason).await?;
                batch.members[index].end(Outcome::Failed, Some(reason));
            }
            match self.write_batch(&record, &batch, Some(self.records().now().await?)).await {
                Err(RecordsError::Changed { .. }) => {}
                written => return written.map(drop).map_err(Error::from),
            }
        }
        Ok(())
    }
}

/// The words of a refused start, with the checks that failed.
fn reason(error: &Error) -> Reason {
    let checks = error.details["failed_checks"].as_array().into_iter().flatten();
    let said: Vec<&str> = checks.filter_map(|c| c["error"].as_str()).collect();
    let more = if said.is_empty() { String::new() } else { format!(": {}", said.join("; ")) };
    Reason::new(error.code.word(), format!("{}{more}", error.message))
}
