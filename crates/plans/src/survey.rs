//! The dry run: everything that only reads, and an estimate that rests on a short measurement.

use crate::Settings;
use crate::refusals::{self, Planned, Refusal};
use crate::site::{Site, left_out};
use crate::validation::{Limits, checks_within};
use crate::workload::CloudFound;
use domain::spec::MigrationSpec;
use domain::units;
use domain::workloads::WorkloadSpec;
use futures::{StreamExt, TryStreamExt};
use movers::databases::DatabasePlan;
use movers::files::FilesPlan;
use ports::databases::{Database, KeyRange, View};
use ports::files::FileSource;
use ports::observe::{Level, Meter, Operation};
use ports::{ConnectorError, ErrorKind, Result};
use serde::Serialize;
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long the source is read to measure it, files and database each.
const SAMPLE: Duration = Duration::from_millis(1500);

/// What a migration would do. Nothing was changed to find it out.
#[derive(Debug, Clone, Serialize)]
pub struct DryRun {
    pub files: Option<FilesPlan>,
    pub database: Option<DatabaseDryRun>,
    pub wordpress: Option<WordPressFound>,
    /// What a workload's cloud says of its target VM; `None` when it refused to, see `refusals`.
    pub cloud: Option<CloudFound>,
    /// What becomes of `wp-config.php`: `none`, `rewritten`, `withheld`.
    pub configuration: String,
    pub overwrites: u64,
    pub deletes: u64,
    /// Bytes of files and (by the engine's estimate) of tables.
    pub bytes: u64,
    pub size: String,
    pub estimate: Estimate,
    pub left_out: Vec<String>,
    /// Whether a start would be refused, and why.
    pub refusals: Vec<String>,
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct DatabaseDryRun {
    pub tables: u64,
    /// Estimates of the source's engine.
    pub rows: u64,
    pub bytes: u64,
    pub objects: u64,
    pub unmovable: Vec<ports::databases::Unmovable>,
    /// What stays behind because nobody asked for it.
    pub left_out: Vec<ports::databases::Unmovable>,
    /// Objects at the destination that would be replaced.
    pub overwrites: Vec<String>,
    pub destination_exists: bool,
    pub version_source: String,
    pub version_destination: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct WordPressFound {
    pub version: Option<String>,
    pub table_prefix: String,
}

/// How long it will take, and what that rests on.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Estimate {
    pub seconds: f64,
    /// `"28m 45s"`.
    pub duration: String,
    /// Bytes per second and seconds per file that were measured; `None` where there was nothing to measure.
    pub files_rate: Option<f64>,
    pub seconds_per_file: Option<f64>,
    pub database_rate: Option<f64>,
    pub how: String,
}

/// The same for a workload: its mount points added up.
pub async fn survey_workload(spec: &WorkloadSpec, settings: &Settings, stop: &CancellationToken) -> Result<DryRun> {
    crate::workload::survey(spec, settings, stop).await
}

/// The same for the disk of a virtual machine of `tenant`.
pub async fn survey_disk(spec: &MigrationSpec, settings: &Settings, tenant: &str, stop: &CancellationToken) -> Result<DryRun> {
    crate::disks::survey(spec, settings, tenant, stop).await
}

/// Looks at both sides and measures the source briefly. Reads only, but for the trials of [`crate::validation`], which leave nothing behind: what
/// `validate` and the first step refuse, this refuses too.
pub async fn survey(spec: &MigrationSpec, settings: &Settings, stop: &CancellationToken) -> Result<DryRun> {
    let checked = checks_within(spec, settings.connectors.as_ref(), Limits::QUICK).await;
    let site = tokio::select! {
        () = stop.cancelled() => return Err(ConnectorError::stopped("survey", "both systems")),
        opened = Site::open(spec, settings.connectors.as_ref()) => opened?,
    };
    let (files, database) = surveyed(spec, &site, stop).await?;
    let configuration = site.configuration(spec);
    let overwritten = refusals::configuration_exists(spec, &site).await?;
    let planned = Planned { files: files.as_ref(), database: database.as_ref(), configuration: overwritten };
    let mut refused = refusals::of_document(spec);
    refused.extend(refusals::of_site(spec, &site).await?);
    refused.extend(refusals::of_plans(spec, &site, &planned, settings.connectors.as_ref()).await?);
    let estimate = estimate(spec, &site, files.as_ref(), database.as_ref(), stop).await?;
    let bytes = files.as_ref().map_or(0, |p| p.bytes) + database.as_ref().map_or(0, |p| p.bytes);
    let overwrites = files.as_ref().map_or(0, |p| p.overwrites) + u64::from(overwritten) + database.as_ref().map_or(0, |p| p.overwrites.len() as u64);
    let deletes = files.as_ref().map_or(0, |p| p.deletes);
    Ok(DryRun {
        refusals: checked.errors.into_iter().chain(refused.iter().map(Refusal::words)).collect(),
        database: database.map(of_plan),
        wordpress: site.wordpress.as_ref().map(|w| WordPressFound { version: w.version.clone(), table_prefix: w.prefix.clone() }),
        cloud: None,
        configuration: format!("{configuration:?}").to_lowercase(),
        overwrites,
        deletes,
        bytes,
        size: units::size(bytes),
        estimate,
        left_out: left_out(spec, site.wordpress.is_some()),
        notes: site.notes.iter().chain(files.iter().flat_map(|plan| &plan.notes)).cloned().collect(),
        files,
    })
}

/// The plans of files and database, without a run.
pub(crate) async fn surveyed(spec: &MigrationSpec, site: &Site, stop: &CancellationToken) -> Result<(Option<FilesPlan>, Option<DatabasePlan>)> {
    let quiet = Quiet::default();
    let files = async {
        match site.files_mover(spec, "survey") {
            Some(mover) => mover.with_owners().await?.survey(&quiet, stop).await.map(Some),
            None => Ok(None),
        }
    };
    let database = async {
        match site.database_mover(spec) {
            Some(mover) => mover.survey().await.map(Some),
            None => Ok(None),
        }
    };
    tokio::try_join!(files, database)
}

fn of_plan(plan: DatabasePlan) -> DatabaseDryRun {
    DatabaseDryRun {
        tables: plan.tables,
        rows: plan.rows,
        bytes: plan.bytes,
        objects: plan.objects,
        unmovable: plan.unmovable,
        left_out: plan.left_out,
        overwrites: plan.overwrites.iter().map(|o| o.name.to_string()).collect(),
        destination_exists: plan.destination_exists,
        version_source: plan.version_source,
        version_destination: plan.version_destination,
    }
}

async fn estimate(spec: &MigrationSpec, site: &Site, files: Option<&FilesPlan>, database: Option<&DatabasePlan>, stop: &CancellationToken) -> Result<Estimate> {
    let mut out = Estimate::default();
    if let (Some(plan), Some(source)) = (files, &site.source.files) {
        out = measured(out, source.as_ref(), plan, spec.transfer.parallel_transfers, stop).await?;
    }
    let mut words: Vec<String> = (!out.how.is_empty()).then(|| std::mem::take(&mut out.how)).into_iter().collect();
    if let (Some(plan), Some(source)) = (database.filter(|p| p.rows > 0), &site.source.database) {
        let (bytes, seconds) = read_rows(source.as_ref(), plan, stop).await?;
        if bytes > 0 {
            let rate = bytes as f64 / seconds.max(1e-6);
            out.seconds += plan.bytes as f64 / rate;
            out.database_rate = Some(rate);
            words.push(format!("{} of the largest table were read at {}", units::size(bytes), units::rate(rate)));
        }
    }
    out.how = words.join("; ");
    Ok(out.finished())
}

/// Adds what the files of a plan will take, by reading the largest for a short while.
pub(crate) async fn measured(mut so_far: Estimate, source: &dyn FileSource, plan: &FilesPlan, parallel: usize, stop: &CancellationToken) -> Result<Estimate> {
    let sample = if plan.files > 0 { read_files(source, plan, stop).await? } else { Sample::default() };
    if sample.bytes == 0 {
        return Ok(so_far);
    }
    let rate = sample.bytes as f64 / sample.reading.max(1e-6);
    let per_file = sample.opening / sample.files as f64;
    so_far.seconds += plan.bytes as f64 / rate + plan.files as f64 * per_file / parallel.max(1) as f64;
    (so_far.files_rate, so_far.seconds_per_file) = (Some(rate), Some(per_file));
    let (size, rate) = (units::size(sample.bytes), units::rate(rate));
    let words = format!("{size} of the source's largest files were read at {rate} and opened in {:.1} ms each", per_file * 1000.0);
    so_far.how = if so_far.how.is_empty() { words } else { format!("{}; {words}", so_far.how) };
    Ok(so_far)
}

impl Estimate {
    /// With the words for people.
    pub(crate) fn finished(mut self) -> Self {
        self.duration = units::duration(self.seconds);
        self.how =
            if self.how.is_empty() { "there is nothing to transfer".to_owned() } else { format!("{}; writing, verification and backup come on top", self.how) };
        self
    }
}

#[derive(Default)]
struct Sample {
    files: u64,
    bytes: u64,
    /// Seconds until the first byte, of all files together; and seconds from there.
    opening: f64,
    reading: f64,
}

/// Reads the largest files for a short while.
async fn read_files(source: &dyn FileSource, plan: &FilesPlan, stop: &CancellationToken) -> Result<Sample> {
    let mut sample = Sample::default();
    let began = Instant::now();
    for (path, _) in &plan.largest {
        if began.elapsed() >= SAMPLE || stop.is_cancelled() {
            break;
        }
        let opened_at = Instant::now();
        let mut body = match source.open(path, None).await {
            Ok(opened) => opened.body,
            Err(e) if matches!(e.kind, ErrorKind::NotFound | ErrorKind::Permission | ErrorKind::Changed) => continue,
            Err(e) => return Err(e),
        };
        let mut first = None;
        while let Some(piece) = body.next().await {
            first.get_or_insert_with(|| opened_at.elapsed());
            sample.bytes += piece?.len() as u64;
            if began.elapsed() >= SAMPLE {
                break;
            }
        }
        let first = first.unwrap_or_else(|| opened_at.elapsed());
        sample.files += 1;
        sample.opening += first.as_secs_f64();
        sample.reading += opened_at.elapsed().saturating_sub(first).as_secs_f64();
    }
    Ok(sample)
}

/// Reads the largest table for a short while; gives bytes and seconds.
async fn read_rows(source: &dyn Database, plan: &DatabasePlan, stop: &CancellationToken) -> Result<(u64, f64)> {
    let Some(table) = plan.schema.tables.iter().max_by_key(|t| t.bytes) else { return Ok((0, 0.0)) };
    let view = source.read(View::Latest { connections: 1 }).await?;
    let began = Instant::now();
    let mut bytes = 0;
    let mut rows = view.rows(table, &KeyRange::default());
    let outcome = async {
        while let Some(block) = rows.try_next().await? {
            bytes += block.data.len() as u64;
            if began.elapsed() >= SAMPLE || stop.is_cancelled() {
                break;
            }
        }
        Ok(())
    }
    .await;
    let seconds = began.elapsed().as_secs_f64();
    drop(rows);
    view.close().await?;
    outcome.map(|()| (bytes, seconds))
}

/// Nobody listens to a dry run.
#[derive(Default)]
pub(crate) struct Quiet(Meter);

impl ports::Observer for Quiet {
    fn log(&self, _level: Level, _component: &str, _message: String, _details: Value) {}

    fn operation(&self, _operation: Operation) {}

    fn meter(&self) -> &Meter {
        &self.0
    }
}
