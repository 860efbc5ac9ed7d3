//! Step 1: checks both servers at every selected mount point, plans what moves, and refuses what does not fit or would lose data.
//!
//! Nothing is changed, so there is nothing to undo.

use super::capacity;
use super::cloud::{self, CloudFound};
use super::image;
use super::job::{Job, Place, notes};
use crate::adapters::{RunObserver, StepResult, failed, step_error};
use crate::application::{judged, recall, timed, value};
use crate::validation::{Limits, Pair, Validation, validate_doors};
use domain::units;
use engine::{Step, StepContext, StepError};
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
        "Validating servers"
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        let began = Instant::now();
        let observer = RunObserver::new(cx);
        let cloud = self.ask_cloud(cx, &observer).await?;
        let places = self.job.places(cx.run_id()).await?;
        let checks = check(places, &observer).await?;
        let mut plans = Vec::with_capacity(places.len());
        for place in places {
            plans.push(self.plan(cx, &observer, place).await?);
        }
        refuse_loss(&self.job, &plans)?;
        for place in places {
            capacity::refuse_full(&self.job.spec, place, &plans).await?;
        }
        if self.job.spec.target.image().is_some() {
            image::refuse_small(&self.job, &plans).await?;
        }
        let output = json!({
            "checks_performed": checks.checks_performed,
            "checks_passed": checks.checks_passed,
            "warnings": checks.warnings.iter().chain(cloud.iter().flat_map(|c| &c.warnings)).chain(places.iter().flat_map(|p| p.mover.notes())).collect::<Vec<_>>(),
            "cloud": cloud,
            "mount_points": places.iter().zip(&plans).map(|(place, plan)| planned(place, plan)).collect::<Vec<_>>(),
        });
        Ok(timed(output, began))
    }

    async fn undo(&self, _cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        Ok(())
    }
}

impl Validate {
    /// Asks the target's cloud about it, before anybody else is asked anything.
    async fn ask_cloud(&self, cx: &StepContext, observer: &RunObserver) -> StepResult<Option<CloudFound>> {
        let found = tokio::select! {
            () = cx.stopping().cancelled() => return Err(StepError::stopped()),
            found = cloud::ask(&self.job.spec.target, self.job.settings.connectors.as_ref()) => found.map_err(step_error)?,
        };
        if let Some(found) = &found {
            observer.info("validation", found.words());
            for warning in &found.warnings {
                observer.warning("validation", warning.clone());
            }
        }
        Ok(found)
    }

    async fn plan(&self, cx: &StepContext, observer: &RunObserver, place: &Place) -> StepResult<FilesPlan> {
        let key = notes::plan(place.index);
        if let Some(plan) = recall::<FilesPlan>(cx, &key).await? {
            return Ok(plan);
        }
        let plan = place.mover.plan(&place.bulk(cx), observer, cx.stopping()).await.map_err(step_error)?;
        cx.remember(&key, Some(value(&plan))).await?;
        observer.info("planning", format!("{}: {} files ({}) to replicate", place.name, plan.files, units::size(plan.bytes)));
        for problem in plan.problems.listed.iter().take(20) {
            observer.warning("planning", format!("{}: {}", problem.path, problem.reason));
        }
        Ok(plan)
    }
}

/// Every check of both servers at every mount point, side by side.
async fn check(places: &[Place], observer: &RunObserver) -> StepResult<Validation> {
    let field = |p: &Place| format!("selected_mount_points[{}].mount_point_name", p.index);
    let doors: Vec<_> = places.iter().map(|p| Pair { source: p.source.clone(), destination: p.target.clone(), field: field(p) }).collect();
    let checks = validate_doors(&doors, Limits::QUICK.check).await;
    for (place, note) in places.iter().flat_map(|p| p.mover.notes().iter().map(move |note| (p, note))) {
        observer.warning("validation", format!("{}: {note}", place.name));
    }
    judged(checks, observer)
}

fn planned(place: &Place, plan: &FilesPlan) -> Value {
    json!({
        "mount_point_name": place.name, "files": plan.files, "bytes": plan.bytes, "directories": plan.directories, "symlinks": plan.symlinks,
        "unchanged": plan.unchanged, "overwrites": plan.overwrites, "deletes": plan.deletes, "problems": plan.problems.count,
    })
}

fn refuse_loss(job: &Job, plans: &[FilesPlan]) -> StepResult<()> {
    let (overwrites, deletes) = plans.iter().fold((0, 0), |(o, d), p| (o + p.overwrites, d + p.deletes));
    if job.spec.safety.backup_before || job.spec.safety.overwrite_without_backup || overwrites + deletes == 0 {
        return Ok(());
    }
    let message = format!("{overwrites} files would be overwritten and {deletes} deleted at the target VM, without a backup");
    let advice = "Leave safety.backup_before on, or set safety.overwrite_without_backup to true if nothing there is worth keeping";
    Err(failed(ErrorKind::AlreadyExists, message, advice))
}
