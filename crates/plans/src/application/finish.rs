//! Step 8: puts the report together from what the steps before have stored, and lets expired backups go.
//!
//! The report is this step's output. `partial: true` in it means completed with warnings: something named stays behind.

use super::job::{Job, database_plan, files_plan, ledger, ledgers, timed_report, value};
use super::later::secure;
use crate::adapters::{RunObserver, StepResult, step_error};
use crate::report::{Leftover, leftovers_of_applied, push_all};
use domain::spec::System;
use domain::units;
use engine::{Step, StepContext, StepError};
use jiff::Timestamp;
use movers::databases::DatabasePlan;
use movers::files::{FilesPlan, Lag, Problems};
use ports::ErrorKind;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

const STEPS: [(&str, &str); 7] = [
    ("validate", "Validating configuration"),
    ("backup", "Creating backup"),
    ("prepare", "Preparing destination"),
    ("database", "Migrating database"),
    ("files", "Transferring files"),
    ("configuration", "Updating configuration"),
    ("verify", "Verifying migration"),
];

pub struct Finish {
    pub job: Arc<Job>,
}

#[async_trait::async_trait]
impl Step for Finish {
    fn name(&self) -> &'static str {
        "finish"
    }

    fn title(&self) -> &'static str {
        "Finishing"
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        let began = Instant::now();
        let observer = RunObserver::new(cx);
        let parts = Parts::of(cx).await?;
        let (mut leftovers, mut count) = parts.leftovers(&self.job);
        if let Some(held_back) = self.enable(cx, &parts).await? {
            leftovers.push(held_back);
            count += 1;
        }
        let since = self.source_since(cx).await?;
        let report = self.report(cx, &parts, (&leftovers, count), since);
        let words = if count == 0 { "Completed".to_owned() } else { format!("Completed with warnings: {count} things stay behind, see the report") };
        observer.info("report", words);
        Ok(timed_report(report, began))
    }

    /// The first undo of a completed migration: before anything is taken back, the way back is proven and later rows are saved.
    async fn undo(&self, cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        secure(&self.job, cx, &RunObserver::new(cx)).await.map(drop)
    }
}

impl Finish {
    /// What the source's files have become since the last pass; `None` where there are none, or where the source cannot be asked any more.
    async fn source_since(&self, cx: &StepContext) -> StepResult<Option<Lag>> {
        let Some(mover) = self.job.files_mover(cx).await? else { return Ok(None) };
        let (bulk, last) = (ledger(cx, ledgers::FILES), ledger(cx, ledgers::LAST_PASS));
        match mover.lag(&[&bulk, &last], cx.stopping()).await {
            Ok(lag) => Ok(Some(lag)),
            Err(e) if e.kind == ErrorKind::Stopped => Err(step_error(e)),
            Err(_) => Ok(None),
        }
    }

    /// Lets act what was made inactive until everything was verified; what stays inactive is named.
    async fn enable(&self, cx: &StepContext, parts: &Parts) -> StepResult<Option<Leftover>> {
        let (Some(mover), Some(plan)) = (self.job.database_mover().await?, &parts.database) else { return Ok(None) };
        match mover.enable(plan, &ledger(cx, ledgers::TABLES)).await {
            Ok(()) => Ok(None),
            Err(e) if e.temporary => Err(step_error(e)),
            Err(e) => Ok(Some(Leftover::new("inactive object", e.subject.clone(), e.to_string()))),
        }
    }
}

/// What the steps have stored.
struct Parts {
    outputs: Vec<Value>,
    files: Option<FilesPlan>,
    database: Option<DatabasePlan>,
}

impl Parts {
    async fn of(cx: &StepContext) -> StepResult<Self> {
        let outputs = STEPS.iter().map(|(name, _)| cx.output_of(name).unwrap_or_default()).collect();
        Ok(Self { outputs, files: files_plan(cx).await?, database: database_plan(cx).await? })
    }

    fn of_step(&self, name: &str) -> &Value {
        STEPS.iter().position(|(n, _)| *n == name).map_or(&Value::Null, |i| &self.outputs[i])
    }

    /// The moment in which the passes that counted ended.
    fn copied_at(&self) -> Value {
        let ended = |step: &str| self.of_step(step)["standstill"]["ended"].clone();
        Some(ended("files")).filter(|at| !at.is_null()).unwrap_or_else(|| ended("database"))
    }

    fn problems(&self, pointer: &str) -> Problems {
        self.of_step("files").pointer(pointer).and_then(|v| serde_json::from_value(v.clone()).ok()).unwrap_or_default()
    }

    /// What stays behind or is not as it was, by name; and how many such things there are.
    fn leftovers(&self, job: &Job) -> (Vec<Leftover>, u64) {
        let mut all = Vec::new();
        let plan = self.files.as_ref().map(|p| p.problems.clone()).unwrap_or_default();
        let mut unlisted = 0;
        for problems in [plan, self.problems("/bulk/problems"), self.problems("/last_pass/problems")] {
            unlisted += problems.lasting.saturating_sub(problems.listed.iter().filter(|p| p.kind.is_lasting()).count() as u64);
            push_all(&mut all, problems.listed.iter().filter(|p| p.kind.is_lasting()).map(|p| Leftover::new("file", p.path.to_string(), p.reason.clone())));
        }
        if let Some(plan) = &self.database {
            push_all(&mut all, plan.unmovable.iter().map(|u| Leftover::new(&u.kind, u.name.clone(), u.reason.clone())));
        }
        for applied in self.applied() {
            push_all(&mut all, leftovers_of_applied(applied, true));
        }
        let addresses = &self.of_step("configuration")["addresses"];
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        for left in addresses["left"].as_array().into_iter().flatten() {
            let name = format!("{}.{} {}", text(&left["table"]), text(&left["column"]), left["key"]);
            push_all(&mut all, [Leftover::new("old address", name, text(&left["reason"]))]);
        }
        let website = &self.of_step("prepare")["website"];
        if website["asked"] == true {
            push_all(&mut all, [Leftover::new("website configuration", text(&website["index_document"]), text(&website["refused"]))]);
        }
        if self.of_step("validate")["uploads"].is_null() {
            push_all(&mut all, uploads_outside(&job.spec.source));
        }
        let named = addresses["left"].as_array().map_or(0, |l| l.len() as u64);
        let count = all.len() as u64 + unlisted + addresses["left_count"].as_u64().unwrap_or(0).saturating_sub(named);
        (all, count)
    }

    /// The lists of what became of the schema's objects.
    fn applied(&self) -> [&Value; 4] {
        [
            &self.of_step("prepare")["database"]["applied"],
            &self.of_step("database")["copied"]["applied"],
            &self.of_step("database")["last_pass"]["applied"],
            &self.of_step("files")["database_last_pass"]["applied"],
        ]
    }

    fn warnings(&self, job: &Job) -> Vec<String> {
        let texts = |v: &Value| v.as_array().into_iter().flatten().filter_map(|t| t.as_str().map(str::to_owned)).collect::<Vec<_>>();
        let validate = self.of_step("validate");
        let mut out = texts(&validate["warnings"]);
        out.extend(texts(&validate["notes"]));
        if !job.spec.safety.verify_after {
            out.push("not verified: verify_after is off".to_owned());
        }
        let files = self.of_step("files");
        if let Some(why) = files["maintenance"]["unavailable"].as_str() {
            out.push(format!("the last pass ran while the site lived: {why}"));
        }
        let changed = self.problems("/bulk/problems");
        if changed.count > changed.lasting {
            out.push(format!("{} files changed or vanished while they were copied; the last pass settled them", changed.count - changed.lasting));
        }
        if self.of_step("configuration")["file"] == "withheld" {
            out.push("wp-config.php was not uploaded: it holds passwords, and an object store may be public and runs no PHP".to_owned());
        }
        if job.spec.destination.url.is_some() && validate["wordpress"].is_null() {
            out.push("destination.url is noted, but addresses are rewritten only for WordPress".to_owned());
        }
        out
    }
}

fn went_on(lag: Lag) -> Option<String> {
    (!lag.is_none()).then(|| {
        format!(
            "the source went on changing after the copy: {} files are new or changed and {} are gone there, which the destination does not show",
            lag.files, lag.removed
        )
    })
}

/// A directory of uploads that the web root does not contain is not moved with it.
fn uploads_outside(source: &System) -> Option<Leftover> {
    let uploads = source.uploads.as_deref()?;
    let root = source.files.as_ref().map(domain::spec::FilesAt::describe)?;
    let root_path = root.split_once("://").map_or(root.as_str(), |(_, rest)| rest.find('/').map_or("", |cut| &rest[cut..]));
    let inside = std::path::Path::new(uploads).starts_with(root_path) || !uploads.starts_with('/');
    (!inside).then(|| {
        Leftover::new("directory", uploads.to_owned(), "it lies outside the web root, and destination.paths.uploads does not say where it belongs".to_owned())
    })
}

impl Finish {
    fn report(&self, cx: &StepContext, parts: &Parts, (leftovers, count): (&[Leftover], u64), since: Option<Lag>) -> Value {
        let spec = &self.job.spec;
        let (files, database) = (parts.of_step("files"), parts.of_step("database"));
        let bulk = &files["bulk"];
        let last = &files["last_pass"];
        let sum = |field: &str| bulk[field].as_u64().unwrap_or(0) + last[field].as_u64().unwrap_or(0);
        let adapted: Vec<Leftover> = parts.applied().into_iter().flat_map(|a| leftovers_of_applied(a, false)).collect();
        let backup =
            [&files["backup"], &database["backup"], &parts.of_step("backup")["backup"]].into_iter().find(|b| !b.is_null()).cloned().unwrap_or_default();
        json!({
            "report_version": 1,
            "migration_id": cx.run_id(),
            "name": spec.name,
            "result": if count == 0 { "completed" } else { "completed with warnings" },
            "partial": count > 0,
            "finished_at": Timestamp::now().to_string(),
            "copied_at": parts.copied_at(),
            "source_since": since.map(|lag| value(&lag)),
            "source": side(&spec.source),
            "destination": side(&spec.destination),
            "summary": {
                "files": sum("files"), "bytes": sum("bytes"), "size": units::size(sum("bytes")),
                "files_unchanged": bulk["unchanged"].as_u64().unwrap_or(0), "symlinks": sum("symlinks"), "directories": bulk["directories"].as_u64().unwrap_or(0),
                "removed": sum("removed"),
                "tables": database["copied"]["tables"].as_u64().unwrap_or(0), "rows": database["copied"]["rows"].as_u64().unwrap_or(0),
                "database_bytes": database["copied"]["bytes"].as_u64().unwrap_or(0),
                "standstill_seconds": files["standstill_seconds"].as_f64().unwrap_or(0.0),
            },
            "steps": STEPS.iter().map(|(name, title)| json!({"name": name, "title": title, "duration_seconds": parts.of_step(name)["duration_seconds"]})).collect::<Vec<_>>(),
            "last_pass": {"files": last, "database": if files["database_last_pass"].is_null() { &database["last_pass"] } else { &files["database_last_pass"] }, "maintenance": files["maintenance"]},
            "wordpress": parts.of_step("validate")["wordpress"],
            "uploads": parts.of_step("validate")["uploads"],
            "tables_left_out": parts.database.as_ref().map(|p| value(&p.left_out)).unwrap_or_default(),
            "left_out": excluded(parts.files.as_ref()),
            "configuration": {"file": parts.of_step("configuration")["file"], "directory": parts.of_step("configuration")["directory"], "changed": parts.of_step("configuration")["changed"]},
            "addresses": parts.of_step("configuration")["addresses"],
            "verification": parts.of_step("verify"),
            "adapted": adapted,
            "leftovers": leftovers,
            "leftovers_count": count,
            "warnings": parts.warnings(&self.job).into_iter().chain(since.and_then(went_on)).collect::<Vec<_>>(),
            "backup": backup,
            "rollback": rollback_words(cx.run_id(), &backup),
        })
    }
}

pub(crate) fn side(system: &System) -> Value {
    json!({
        "type": system.kind.word(),
        "files": system.files.as_ref().map(domain::spec::FilesAt::describe).or_else(|| system.machine.as_ref().map(domain::spec::MachineAt::describe)),
        "database": system.database.as_ref().map(domain::spec::DatabaseAt::describe),
        "url": system.url,
    })
}

/// Only the patterns that left something behind.
fn excluded(plan: Option<&FilesPlan>) -> Value {
    let used: Vec<_> = plan.into_iter().flat_map(|p| &p.excluded).filter(|e| e.entries > 0).collect();
    value(&used)
}

fn rollback_words(run: &str, backup: &Value) -> String {
    let kept = match (backup["id"].as_str(), backup["expires"].as_str()) {
        (Some(id), Some(expires)) => format!(" What was overwritten is in {id}, kept until {expires}."),
        _ => " Nothing was overwritten, so there is no backup to restore.".to_owned(),
    };
    format!("To take everything back: migration-assistant rollback {run}, or POST /migrations/{run}/rollback.{kept}")
}
