//! What the passes behind the bulk one move with: what they overwrite and the plan knew nothing of is saved first, into the run's own backup.

use super::job::{Job, Place};
use crate::adapters::{RunObserver, StepResult};
use crate::application::value;
use crate::late_backup::LateBackup;
use engine::StepContext;
use movers::files::FilesMover;
use serde_json::Value;

pub(super) struct Passes<'a> {
    /// Every selected mount point with its mover.
    pub(super) places: Vec<(&'a Place, FilesMover)>,
    late: Option<LateBackup>,
}

impl<'a> Passes<'a> {
    /// Opens the backup for what is found late, if the migration makes any. Repeatable.
    pub(super) async fn open(job: &'a Job, cx: &StepContext) -> StepResult<Self> {
        let mut late = match job.spec.target.image() {
            // All that lies there is ours.
            Some(_) => None,
            None => LateBackup::open(&job.settings, cx, &job.spec.name, &job.spec.safety).await?,
        };
        let mut places = Vec::new();
        for place in job.places(cx.run_id()).await? {
            let mut mover = place.mover.clone();
            if let Some(late) = &mut late {
                let store = job.store(&late.directory()?, place.index).await?;
                late.keep(&format!("files.{}", place.index), place.target.location(), &store).await?;
                mover = mover.backing_up_into(store);
            }
            places.push((place, mover));
        }
        Ok(Self { places, late })
    }

    /// What was saved is not removed by its retention while the passes go on.
    pub(super) async fn renew(&mut self) -> StepResult<()> {
        match &mut self.late {
            Some(late) => late.renew().await,
            None => Ok(()),
        }
    }

    /// Counts what was saved, however the passes ended; the backup if something was, else null.
    pub(super) async fn close(self, cx: &StepContext, observer: &RunObserver) -> StepResult {
        match self.late {
            Some(late) => Ok(late.close(cx, observer).await?.as_ref().map_or(Value::Null, value)),
            None => Ok(Value::Null),
        }
    }
}
