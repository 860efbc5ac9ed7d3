//! The plans for disks of virtual machines: a disk into one file of a bucket, a directory or a server, and such a file into a new machine.
//!
//! ```text
//!  out: 1 validate  the machine is off and here, nothing of that name is at the destination
//!       2 prepare   the migration has the machine; the destination's root
//!       3 export    the disk and all below it become one file beside it, with a description
//!       4 files     both files to the destination
//!       5 verify    what is stored there is what was read
//!       6 finish    the files beside the disk go, the machine is free again; the report
//!  in:  1 validate  the image and its description at the source
//!       2 prepare   a new machine, which the migration has
//!       3 files     the image into a directory of that machine
//!       4 verify    its hash, and whether it is a whole image
//!       5 import    it becomes the machine's disk
//!       6 finish    the machine is free; the report
//! ```
//! The node that has the disk does the work: such runs have a kind of their own for each node, which no other node claims.

mod description;
mod finish;
mod image;
mod job;
mod look;
mod picked;
mod prepare;
mod survey;
mod transfer;
mod validate;

pub(crate) use look::checks;
pub(crate) use survey::survey;

use crate::Settings;
use domain::spec::MigrationSpec;
use engine::plan::PlanBuilder;
use engine::{EngineError, Plan, Step};
use job::Job;
use ports::disks::{VmDisks, VmHolds};
use serde_json::Value;
use std::sync::Arc;

/// What migrations of disks need of the process they run in.
#[derive(Clone)]
pub struct Machines {
    pub holds: Arc<dyn VmHolds>,
    pub disks: Arc<dyn VmDisks>,
}

/// Makes the plan of one migration from its document.
pub struct Builder {
    settings: Settings,
    machines: Machines,
}

impl Builder {
    pub fn new(settings: Settings, machines: Machines) -> Self {
        Self { settings, machines }
    }
}

impl PlanBuilder for Builder {
    fn build(&self, input: &Value) -> Result<Plan, EngineError> {
        let spec = MigrationSpec::decode(input).map_err(crate::unreadable)?;
        let leaves = spec.source.machine.is_some();
        let job = Arc::new(Job::new(self.settings.clone(), self.machines.clone(), spec));
        Ok(Plan { steps: if leaves { leaving(job) } else { arriving(job) } })
    }
}

fn leaving(job: Arc<Job>) -> Vec<Arc<dyn Step>> {
    vec![
        Arc::new(validate::Validate { job: job.clone() }),
        Arc::new(prepare::Take { job: job.clone() }),
        Arc::new(image::Export { job: job.clone() }),
        Arc::new(transfer::TransferFiles { job: job.clone() }),
        Arc::new(transfer::Verify { job: job.clone() }),
        Arc::new(finish::Finish { job }),
    ]
}

fn arriving(job: Arc<Job>) -> Vec<Arc<dyn Step>> {
    vec![
        Arc::new(validate::Validate { job: job.clone() }),
        Arc::new(prepare::Make { job: job.clone() }),
        Arc::new(transfer::TransferFiles { job: job.clone() }),
        Arc::new(transfer::Verify { job: job.clone() }),
        Arc::new(image::Import { job: job.clone() }),
        Arc::new(finish::Finish { job }),
    ]
}
