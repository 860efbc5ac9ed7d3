//! Step 1: checks both sides, understands the source, plans what will move, and refuses what would lose data.
//!
//! Nothing is changed, so there is nothing to undo.

use super::job::{Job, ledger, ledgers, notes, recall, timed, value};
use crate::adapters::{RunObserver, StepResult, failed, step_error};
use crate::room;
use crate::site::{Configuration, Site, left_out};
use crate::validation::{Limits, Validation, validate_within};
use crate::wordpress::CONFIG;
use crate::wordpress::address::Address;
use crate::wordpress::network;
use domain::units;
use engine::{Step, StepContext, StepError};
use movers::databases::DatabasePlan;
use movers::files::FilesPlan;
use ports::ErrorKind;
use ports::files::FilePath;
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
        refuse_bad_addresses(&self.job)?;
        let checks = self.check(cx, &observer).await?;
        let site = self.job.site().await?;
        refuse_network(&self.job, site)?;
        refuse_hidden_configuration(&self.job, site).await?;
        for note in &site.notes {
            observer.warning("validation", note.clone());
        }
        let name = site.destination_database_at.as_ref().map(|at| at.database.clone());
        cx.remember(notes::DATABASE_NAME, name.map(Value::String)).await?;
        let files = self.plan_files(cx, &observer).await?;
        let database = self.plan_database(cx, &observer).await?;
        let configuration = configuration_exists(&self.job, site).await?;
        refuse_loss(&self.job, files.as_ref(), database.as_ref(), configuration)?;
        refuse_full(site, files.as_ref()).await?;
        refuse_full_database(&self.job, site, database.as_ref()).await?;
        Ok(timed(output(&self.job, site, &checks, files.as_ref(), database.as_ref(), configuration), began))
    }

    async fn undo(&self, _cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        Ok(())
    }
}

impl Validate {
    async fn check(&self, cx: &StepContext, observer: &RunObserver) -> StepResult<Validation> {
        cx.operation(json!({"type": "validation", "source": describe(&self.job, true), "destination": describe(&self.job, false), "progress": 0.0}));
        let checks = validate_within(&self.job.spec, self.job.settings.connectors.as_ref(), Limits::QUICK).await;
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

fn refuse_bad_addresses(job: &Job) -> StepResult<()> {
    for (field, url) in [("source.url", &job.spec.source.url), ("destination.url", &job.spec.destination.url)] {
        if let Some(url) = url.as_ref().filter(|u| Address::parse(u).is_none()) {
            let advice = "Give it as https://host, https://host:port or https://host/path, without user, query or fragment";
            return Err(failed(ErrorKind::Invalid, format!("{field} '{url}' is not a site's address"), advice));
        }
    }
    Ok(())
}

/// A network of sites on sub-domains cannot live everywhere.
fn refuse_network(job: &Job, site: &Site) -> StepResult<()> {
    let to = job.spec.destination.url.as_deref().and_then(Address::parse);
    let (Some(to), Some(wordpress)) = (to, site.wordpress.as_ref().filter(|w| w.config.is_on("MULTISITE"))) else { return Ok(()) };
    match network::refusal(&to, wordpress.config.is_on("SUBDOMAIN_INSTALL")) {
        None => Ok(()),
        Some(why) => {
            let message = format!("The network of sites cannot move to {to}: {why}");
            Err(failed(ErrorKind::Invalid, message, "Give a destination.url with a host name of its own and without a path"))
        }
    }
}

/// WordPress reads the file above its web root only when the web root has none.
async fn refuse_hidden_configuration(job: &Job, site: &Site) -> StepResult<()> {
    let (Some(root), Some(place)) = (&site.destination.files, &site.destination.configuration) else { return Ok(()) };
    if site.configuration(&job.spec) != Configuration::Rewritten || root.location() == place.location() {
        return Ok(());
    }
    match root.stat(&FilePath::from(CONFIG)).await {
        Err(e) if e.kind == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(step_error(e)),
        Ok(None) => Ok(()),
        Ok(Some(_)) => {
            let message = format!("{} has a {CONFIG} of its own, so WordPress would never read the one in {}", root.location(), place.location());
            Err(failed(ErrorKind::AlreadyExists, message, "Move it away, or leave destination.paths.config out so that it is replaced"))
        }
    }
}

/// Whether the destination already has the configuration file that this migration will write.
async fn configuration_exists(job: &Job, site: &Site) -> StepResult<bool> {
    match (&site.destination.configuration, site.configuration(&job.spec)) {
        (Some(files), Configuration::Rewritten) => match files.stat(&FilePath::from(CONFIG)).await {
            Ok(found) => Ok(found.is_some()),
            Err(e) if e.kind == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(step_error(e)),
        },
        _ => Ok(false),
    }
}

fn refuse_loss(job: &Job, files: Option<&FilesPlan>, database: Option<&DatabasePlan>, configuration: bool) -> StepResult<()> {
    if job.spec.safety.backup_before || job.spec.safety.overwrite_without_backup {
        return Ok(());
    }
    let (overwrites, deletes) = files.map_or((0, 0), |p| (p.overwrites + u64::from(configuration), p.deletes));
    let objects = database.map_or(0, |p| p.overwrites.len());
    if overwrites + deletes == 0 && objects == 0 {
        return Ok(());
    }
    let message =
        format!("{overwrites} files would be overwritten, {deletes} deleted and {objects} database objects replaced at the destination, without a backup");
    let advice = "Leave safety.backup_before on, or set safety.overwrite_without_backup to true if nothing there is worth keeping";
    Err(failed(ErrorKind::AlreadyExists, message, advice))
}

async fn refuse_full(site: &Site, files: Option<&FilesPlan>) -> StepResult<()> {
    let (Some(target), Some(plan)) = (&site.destination.files, files) else { return Ok(()) };
    let free = match target.free_space().await {
        Ok(free) => free,
        // A root that does not exist yet tells nothing; writing will.
        Err(e) if e.kind == ErrorKind::NotFound => None,
        Err(e) => return Err(step_error(e)),
    };
    match free {
        Some(free) if free < plan.bytes => {
            let message = format!("{} has {} free, but {} are to be transferred", target.location(), units::size(free), units::size(plan.bytes));
            Err(failed(ErrorKind::NoSpace, message, "Free some space at the destination, or choose another one"))
        }
        _ => Ok(()),
    }
}

async fn refuse_full_database(job: &Job, site: &Site, database: Option<&DatabasePlan>) -> StepResult<()> {
    let (Some(at), Some(plan)) = (&site.destination_database_at, database) else { return Ok(()) };
    match room::for_database(Some(at), job.settings.connectors.as_ref()).await.map_err(step_error)? {
        Some(free) if free < plan.bytes => {
            let message = format!("The directory of {} has {} free, but the database needs {}", at.database, units::size(free), units::size(plan.bytes));
            Err(failed(ErrorKind::NoSpace, message, "Free some space there, or choose another directory"))
        }
        _ => Ok(()),
    }
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
