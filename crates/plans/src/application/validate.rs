//! Step 1: checks both sides, understands the source, plans what will move, and refuses what would lose data.
//!
//! Nothing is changed, so there is nothing to undo.

use super::job::{Job, ledger, ledgers, notes, recall, timed, value};
use crate::adapters::{RunObserver, StepResult, failed, step_error};
use crate::refusals::{self, Planned, Refusal};
use crate::site::{Site, left_out};
use crate::validation::{Limits, Validation, checks_within};
use domain::units;
use engine::{Step, StepContext, StepError};
use movers::databases::DatabasePlan;
use movers::files::FilesPlan;
use ports::ErrorKind;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

pub struct Validate {
    pub job: Arc<Job>,
}

#[async_trait::async_trait]
impl Step for Validate {
    fn name(&self) -> &'static str {
        "validate"
    }

    fn title(&self) -> &'static str {
        "Validating configuration"
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        let began = Instant::now();
        let observer = RunObserver::new(cx);
        refuse(&refusals::of_document(&self.job.spec))?;
        let checks = self.check(cx, &observer).await?;
        let site = self.job.site().await?;
        let spec = &self.job.spec;
        refuse(&refusals::of_site(spec, site).await.map_err(step_error)?)?;
        for note in &site.notes {
            observer.warning("validation", note.clone());
        }
        let name = site.destination_database_at.as_ref().map(|at| at.database.clone());
        cx.remember(notes::DATABASE_NAME, name.map(Value::String)).await?;
        let files = self.plan_files(cx, &observer).await?;
        let database = self.plan_database(cx, &observer).await?;
        let configuration = refusals::configuration_exists(spec, site).await.map_err(step_error)?;
        let planned = Planned { files: files.as_ref(), database: database.as_ref(), configuration };
        refuse(&refusals::of_plans(spec, site, &planned, self.job.settings.connectors.as_ref()).await.map_err(step_error)?)?;
        Ok(timed(output(&self.job, site, &checks, files.as_ref(), database.as_ref(), configuration), began))
    }

    async fn undo(&self, _cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        Ok(())
    }
}

impl Validate {
    async fn check(&self, cx: &StepContext, observer: &RunObserver) -> StepResult<Validation> {
        cx.operation(json!({"type": "validation", "source": describe(&self.job, true), "destination": describe(&self.job, false), "progress": 0.0}));
        let checks = checks_within(&self.job.spec, self.job.settings.connectors.as_ref(), Limits::QUICK).await;
        judged(checks, observer)
    }

    async fn plan_files(&self, cx: &StepContext, observer: &RunObserver) -> StepResult<Option<FilesPlan>> {
        let Some(mover) = self.job.files_mover(cx).await? else { return Ok(None) };
        if let Some(plan) = recall::<FilesPlan>(cx, notes::FILES_PLAN).await? {
            return Ok(Some(plan));
        }
        let plan = mover.plan(&ledger(cx, ledgers::FILES), observer, cx.stopping()).await.map_err(step_error)?;
        cx.remember(notes::FILES_PLAN, Some(value(&plan))).await?;
        observer.info("planning", format!("{} files ({}) to transfer", plan.files, units::size(plan.bytes)));
        for problem in plan.problems.listed.iter().take(20) {
            observer.warning("planning", format!("{}: {}", problem.path, problem.reason));
        }
        Ok(Some(plan))
    }

    async fn plan_database(&self, cx: &StepContext, observer: &RunObserver) -> StepResult<Option<DatabasePlan>> {
        let Some(mover) = self.job.database_mover().await? else { return Ok(None) };
        if let Some(plan) = recall::<DatabasePlan>(cx, notes::DATABASE_PLAN).await? {
            return Ok(Some(plan));
        }
        let plan = mover.survey().await.map_err(step_error)?;
        cx.remember(notes::DATABASE_PLAN, Some(value(&plan))).await?;
        observer.info("planning", format!("{} tables with about {} rows ({}) to migrate", plan.tables, plan.rows, units::size(plan.bytes)));
        if !plan.left_out.is_empty() {
            let named: Vec<String> = plan.left_out.iter().map(|l| format!("{} '{}'", l.kind, l.name)).collect();
            observer.info("planning", format!("{} objects of the source's database stay behind: {}", named.len(), named.join(", ")));
        }
        for left in &plan.unmovable {
            observer.warning("planning", format!("The {} '{}' cannot be moved: {}", left.kind, left.name, left.reason));
        }
        Ok(Some(plan))
    }
}

/// Tells what the checks found; those that failed are the step's error, in all their detail.
pub(crate) fn judged(checks: Validation, observer: &RunObserver) -> StepResult<Validation> {
    for warning in &checks.warnings {
        observer.warning("validation", warning.clone());
    }
    if checks.can_proceed {
        observer.info("validation", format!("{} of {} checks passed", checks.checks_passed, checks.checks_performed));
        return Ok(checks);
    }
    let kind = checks.checks.iter().find_map(|c| c.failed()).map_or(ErrorKind::Invalid, |(_, kind)| kind);
    let failed_checks: Vec<Value> = checks
        .checks
        .iter()
        .filter_map(|c| c.failed().map(|(f, _)| json!({"check": c.check, "field": f.field, "error": f.issue, "suggestion": f.suggestion})))
        .collect();
    let mut error = failed(kind, format!("Validation failed: {}", checks.errors.join("; ")), "");
    error.temporary = checks.only_temporary();
    Err(error.details(json!({"failed_checks": failed_checks})))
}

fn describe(job: &Job, source: bool) -> String {
    let system = if source { &job.spec.source } else { &job.spec.destination };
    match (&system.files, &system.database) {
        (Some(files), _) => files.describe(),
        (None, Some(database)) => database.describe(),
        (None, None) => String::new(),
    }
}

fn refuse(found: &[Refusal]) -> StepResult<()> {
    refusals::error(found).map_or(Ok(()), Err)
}

fn output(job: &Job, site: &Site, checks: &Validation, files: Option<&FilesPlan>, database: Option<&DatabasePlan>, configuration: bool) -> Value {
    json!({
        "checks_performed": checks.checks_performed,
        "checks_passed": checks.checks_passed,
        "warnings": checks.warnings,
        "notes": site.notes.iter().chain(files.into_iter().flat_map(|plan| &plan.notes)).collect::<Vec<_>>(),
        "wordpress": site.wordpress.as_ref().map(|w| json!({"version": w.version, "table_prefix": w.prefix})),
        "uploads": site.uploads.as_ref().map(|u| json!({"from": u.from, "to": u.to})),
        "left_out": left_out(&job.spec, site.wordpress.is_some()),
        "configuration_exists": configuration,
        "files": files.map(|p| json!({
            "files": p.files, "bytes": p.bytes, "directories": p.directories, "symlinks": p.symlinks, "unchanged": p.unchanged,
            "overwrites": p.overwrites, "deletes": p.deletes, "problems": p.problems.count,
        })),
        "database": database.map(|p| json!({
            "tables": p.tables, "rows_estimated": p.rows, "bytes_estimated": p.bytes, "objects": p.objects,
            "overwrites": p.overwrites.len(), "unmovable": p.unmovable, "left_out": p.left_out,
            "version_source": p.version_source, "version_destination": p.version_destination,
        })),
    })
}
