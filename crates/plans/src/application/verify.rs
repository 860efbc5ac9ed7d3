//! Step 7: every file by hash, every table by fingerprint, every rewritten row by value. Reads only, so there is no undo.

use super::addresses::{self, Addresses, edited};
use super::config_file;
use super::files::{close, keeping};
use super::job::{Job, database_plan, ledger, ledgers, timed};
use super::later::later_rows;
use super::standstill;
use crate::adapters::{RunObserver, StepResult, step_error};
use crate::late_backup::LateBackup;
use crate::wordpress::CONFIG;
use engine::{Step, StepContext, StepError};
use movers::databases::{DatabaseMover, DatabasePlan, DatabaseVerified, Edited, Scope};
use movers::files::FilesVerified;
use ports::databases::Key;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// The stable word of a verification that found a difference.
pub const MISMATCH: &str = "verification_mismatch";
/// Differences named in the error; the counts are exact.
const NAMED: usize = 20;

/// Rows that do not hold what rewriting gives, by table and key.
type Wrong = Vec<(String, Key)>;

pub struct Verify {
    pub job: Arc<Job>,
}

#[async_trait::async_trait]
impl Step for Verify {
    fn name(&self) -> &'static str {
        "verify"
    }

    fn title(&self) -> &'static str {
        "Verifying migration"
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        let began = Instant::now();
        let observer = RunObserver::new(cx);
        if !self.job.spec.safety.verify_after {
            observer.warning("verification", "Not verified: verify_after is off");
            self.confirm_own_edits(cx, &observer).await?;
            return Ok(timed(json!({"verified": false, "reason": "verify_after is off"}), began));
        }
        let mut differences = Vec::new();
        let files = self.verify_files(cx, &observer, &mut differences).await?;
        let configuration = self.verify_configuration(cx, &mut differences).await?;
        let (database, (rewritten, wrong)) = self.verify_database(cx, &observer, &mut differences).await?;
        if !differences.is_empty() {
            return Err(mismatch(&differences, files.as_ref(), database.as_ref(), wrong));
        }
        let output = json!({"verified": true, "files": files, "configuration": configuration, "database": database, "rewritten_rows": rewritten});
        Ok(timed(output, began))
    }

    async fn undo(&self, _cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        Ok(())
    }
}

impl Verify {
    async fn verify_files(&self, cx: &StepContext, observer: &RunObserver, differences: &mut Vec<String>) -> StepResult<Option<FilesVerified>> {
        let Some(mover) = self.job.files_mover(cx).await? else { return Ok(None) };
        let (bulk, last) = (ledger(cx, ledgers::FILES), ledger(cx, ledgers::LAST_PASS));
        let mut found = mover.verify(&[&bulk, &last], observer, cx.stopping()).await.map_err(step_error)?;
        if !found.is_equal() {
            let (keeping, late) = keeping(&self.job, cx, mover.clone()).await?;
            if let Some(late) = &late {
                observer.info("verification", format!("What others changed at the destination meanwhile is saved into {} before it is replaced", late.id()));
            }
            let sent = keeping.send_again(&bulk, &last, &found, observer, cx.stopping()).await;
            close(late, cx, observer).await?;
            if sent.map_err(step_error)?.files > 0 {
                found = mover.verify(&[&bulk, &last], observer, cx.stopping()).await.map_err(step_error)?;
            }
        }
        differences.extend(found.mismatches.iter().map(|m| format!("file {}: {}", m.path, m.reason)));
        if found.is_equal() {
            observer.info("verification", format!("{} files are stored as they were read", found.files));
        }
        Ok(Some(found))
    }

    async fn verify_configuration(&self, cx: &StepContext, differences: &mut Vec<String>) -> StepResult<Option<bool>> {
        let Some(files) = &self.job.site().await?.destination.configuration else { return Ok(None) };
        let ours = config_file::still_ours(cx, files.as_ref()).await?;
        if ours == Some(false) {
            differences.push(format!("file {CONFIG}: it is not what was written"));
        }
        Ok(ours)
    }

    async fn verify_database(
        &self,
        cx: &StepContext,
        observer: &RunObserver,
        differences: &mut Vec<String>,
    ) -> StepResult<(Option<DatabaseVerified>, (u64, u64))> {
        let (Some(mut mover), Some(plan)) = (self.job.database_mover().await?, database_plan(cx).await?) else { return Ok((None, (0, 0))) };
        let changed = edited(&ledger(cx, ledgers::ADDRESSES)).await?;
        let standstill = counted(cx)?;
        let (tables, stop) = (ledger(cx, ledgers::TABLES), cx.stopping());
        let mut found = mover.verify(&plan, &tables, standstill, &changed, Scope::All, observer, stop).await.map_err(step_error)?;
        if !found.equal() {
            let late = LateBackup::open(&self.job.settings, cx, &self.job.spec.name, &self.job.spec.safety).await?;
            mover = mover.with_later_rows(later_rows(&self.job, late.as_ref())?);
            let sent = mover.send_again(&plan, &tables, standstill, &found, &changed, observer, stop).await;
            close(late, cx, observer).await?;
            if sent.map_err(step_error)? > 0 {
                found = mover.verify(&plan, &tables, standstill, &changed, Scope::All, observer, stop).await.map_err(step_error)?;
            }
        }
        for table in found.tables.iter().filter(|t| !t.equal) {
            differences.push(format!("table {}: {} rows expected, {} found", table.table, table.rows_source, table.rows_destination));
            differences.extend(table.differing.iter().map(|key| format!("table {}: row {key:?} differs", table.table)));
        }
        let (rewritten, wrong) = self.prove_edits(cx, observer, &plan, &changed).await?;
        let not_rewritten = wrong.len() as u64;
        differences.extend(wrong.into_iter().map(|(table, key)| format!("table {table}: row {key:?} is not what rewriting its address gives")));
        if found.equal() && not_rewritten == 0 {
            DatabaseMover::confirm_edits(&tables, &found).await.map_err(step_error)?;
            let rows: u64 = found.tables.iter().map(|t| t.rows_destination).sum();
            observer.info(
                "verification",
                format!("{} tables with {rows} rows equal the source's final state; {rewritten} rewritten rows are proven", found.tables.len()),
            );
        }
        Ok((Some(found), (rewritten, not_rewritten)))
    }

    /// How many rewritten rows hold what rewriting gives, and which do not.
    async fn prove_edits(&self, cx: &StepContext, observer: &RunObserver, plan: &DatabasePlan, changed: &Edited) -> StepResult<(u64, Wrong)> {
        if !changed.is_empty()
            && let Some(rewriting) = addresses::rewriting(&self.job, cx, Some(plan)).await?
            && let Some(work) = Addresses::new(&self.job, cx, observer, rewriting).await?
        {
            return work.prove(plan).await;
        }
        Ok((0, Vec::new()))
    }

    /// Without a verification: what we rewrote is proven all the same, so that a rollback does not take it for somebody else's change.
    async fn confirm_own_edits(&self, cx: &StepContext, observer: &RunObserver) -> StepResult<()> {
        let (Some(mover), Some(plan)) = (self.job.database_mover().await?, database_plan(cx).await?) else { return Ok(()) };
        let changed = edited(&ledger(cx, ledgers::ADDRESSES)).await?;
        if changed.is_empty() {
            return Ok(());
        }
        let tables = ledger(cx, ledgers::TABLES);
        let found = mover.verify(&plan, &tables, counted(cx)?, &changed, Scope::Edited, observer, cx.stopping()).await.map_err(step_error)?;
        let (rewritten, wrong) = self.prove_edits(cx, observer, &plan, &changed).await?;
        if found.equal() && wrong.is_empty() {
            DatabaseMover::confirm_edits(&tables, &found).await.map_err(step_error)?;
            observer.info("verification", format!("{rewritten} rewritten rows are proven: a rollback knows them as the migration's"));
        } else {
            observer.warning(
                "verification",
                "Tables with rewritten addresses hold other rows than the migration wrote; a rollback counts them as changed by others",
            );
        }
        Ok(())
    }
}

/// The number of the standstill in which the passes that counted were made.
pub(super) fn counted(cx: &StepContext) -> StepResult<u64> {
    let of = |step: &str| standstill::of_output(cx.output_of(step).as_ref());
    of("files").or_else(|| of("database")).ok_or_else(|| {
        StepError::permanent("internal", "No standstill of this migration is known: it was begun by an older version. Roll it back and start again")
    })
}

/// `not_rewritten`: rows that are not what rewriting their address gives.
fn mismatch(differences: &[String], files: Option<&FilesVerified>, database: Option<&DatabaseVerified>, not_rewritten: u64) -> StepError {
    let files = files.map_or(0, |f| f.mismatched);
    let rows: u64 = not_rewritten + database.map_or(0, |d| d.tables.iter().map(|t| t.differing_total).sum());
    let tables = database.map_or(0, |d| d.tables.iter().filter(|t| !t.equal).count());
    let named: Vec<&String> = differences.iter().take(NAMED).collect();
    let list = named.iter().map(|d| d.as_str()).collect::<Vec<_>>().join("; ");
    let message = format!(
        "Verification found differences: {files} files, {tables} tables with {rows} named rows. {list}. Something else writes to the destination, or its storage is damaged; find out what, then roll back and start again"
    );
    StepError::permanent(MISMATCH, message).details(json!({"files": files, "tables": tables, "rows": rows, "differences": named, "retryable": false}))
}
