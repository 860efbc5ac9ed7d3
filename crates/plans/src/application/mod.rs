//! The plan for applications: files and a database of a site or a store, from one place to another.
//!
//! ```text
//!  1 validate       checks both sides, finds WordPress, plans files and tables, refuses what would lose data
//!  2 backup         saves what will be overwritten or deleted, reads it back
//!  3 prepare        destination root or bucket, database, tables
//!  4 database       rows in bulk while the site lives, then indexes
//!  5 files          files in bulk while the site lives; then, in maintenance mode, the last pass of database and files
//!  6 configuration  wp-config.php for the new database; the site's address in its database
//!  7 verify         every file and every row against the source's final state
//!  8 finish         the report
//! ```
//! Each step is a file with `run` and `undo`. A step that has nothing to do runs and says so in the log.

mod addresses;
mod backup;
mod config_file;
mod configuration;
mod database;
mod files;
mod finish;
mod job;
mod later;
mod maintenance;
mod mark_lease;
mod ownership;
mod prepare;
mod preview;
mod same_place;
mod standstill;
mod table_keeper;
mod to_be_made;
mod validate;
mod verify;
mod website;

pub(crate) use files::{LATER_FILES, told};
pub(crate) use finish::side;
pub(crate) use job::{recall, restores, timed, timed_report, value};
pub use movers::databases::TableChange;
pub use movers::files::{FilesUndone, PathProblem};
pub(crate) use prepare::{is_absent, remove_root};
pub use preview::{RollbackPreview, Wanted, rollback_preview};
pub(crate) use same_place::{CHOOSE_ANOTHER, conflict, directories_conflict, mark_of, remove_mark};
pub(crate) use to_be_made::{CHECK_THE_NAME, to_be_made};
pub(crate) use validate::judged;
pub(crate) use verify::MISMATCH;

use crate::Settings;
use domain::spec::MigrationSpec;
use engine::plan::PlanBuilder;
use engine::{EngineError, Plan, Step};
use job::Job;
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
        let spec = MigrationSpec::decode(input).map_err(crate::unreadable)?;
        Ok(Plan { steps: steps(Arc::new(Job::new(self.settings.clone(), spec))) })
    }
}

fn steps(job: Arc<Job>) -> Vec<Arc<dyn Step>> {
    let steps: Vec<Arc<dyn Step>> = vec![
        Arc::new(validate::Validate { job: job.clone() }),
        Arc::new(backup::BackUp { job: job.clone() }),
        Arc::new(prepare::Prepare { job: job.clone() }),
        Arc::new(database::MigrateDatabase { job: job.clone() }),
        Arc::new(files::TransferFiles { job: job.clone() }),
        Arc::new(configuration::UpdateConfiguration { job: job.clone() }),
        Arc::new(verify::Verify { job: job.clone() }),
        Arc::new(finish::Finish { job: job.clone() }),
    ];
    ownership::owned(&job, steps)
}
