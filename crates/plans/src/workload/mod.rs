//! The plan for workloads: the selected mount points of a server to the same mount points of a target VM.
//!
//! ```text
//!  1 validate   checks both servers at every mount point, plans what moves, refuses what does not fit or would lose data
//!  2 backup     saves what will be overwritten or deleted at the target, reads it back
//!  3 replicate  the bulk while the source lives; in warm mode pass after pass, until the cutover is asked for
//!  4 cutover    the last pass
//!  5 verify     every file of every mount point against what was read
//!  6 finish     the report
//! ```
//! A target that is an image is made before and put into its place afterwards ([`image`]); nothing in it needs a backup.
//!
//! Each mount point has a mover and ledgers of its own ([`job::Place`]). A test clone is a migration like every other one, but for what it
//! reads: see [`rehearsal`].

mod backup;
mod capacity;
mod cloud;
mod cutover;
mod finish;
mod image;
mod job;
mod passes;
mod rehearsal;
mod replicate;
mod survey;
mod validate;
mod verify;
mod warm;

pub use cloud::CloudFound;
pub(crate) use survey::survey;

use crate::Settings;
use domain::workloads::WorkloadSpec;
use engine::plan::PlanBuilder;
use engine::{EngineError, Plan, Step};
use job::Job;
use rehearsal::Rehearsed;
use serde_json::Value;
use std::sync::Arc;

/// Makes the plan of one migration from its document.
pub struct Builder {
    settings: Settings,
}

impl Builder {
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

impl PlanBuilder for Builder {
    fn build(&self, input: &Value) -> Result<Plan, EngineError> {
        let spec = WorkloadSpec::decode(input).map_err(crate::unreadable)?;
        Ok(Plan { steps: steps(Arc::new(Job::new(self.settings.clone(), spec))) })
    }
}

fn steps(job: Arc<Job>) -> Vec<Arc<dyn Step>> {
    let image = job.spec.target.image().is_some();
    let validate: Arc<dyn Step> = Arc::new(Rehearsed(Arc::new(validate::Validate { job: job.clone() })));
    let mut steps =
        if image { vec![Arc::new(image::MakeImage { job: job.clone() }), validate] } else { vec![validate, Arc::new(backup::BackUp { job: job.clone() })] };
    let replication: [Arc<dyn Step>; 3] = [
        Arc::new(Rehearsed(Arc::new(replicate::Replicate { job: job.clone() }))),
        Arc::new(Rehearsed(Arc::new(cutover::Cutover { job: job.clone() }))),
        Arc::new(verify::Verify { job: job.clone() }),
    ];
    steps.extend(replication);
    if image {
        steps.push(Arc::new(image::MakeBootable { job: job.clone() }));
        steps.push(Arc::new(image::Publish { job: job.clone() }));
    }
    steps.push(Arc::new(finish::Finish { job }));
    steps
}
