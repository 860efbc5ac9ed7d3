//! Whether what moves fits, asked before anything is written: against what the target says is free, and against the size that the
//! target's mount point was declared with.

use super::job::Place;
use crate::adapters::{StepResult, failed, step_error};
use domain::units;
use domain::workloads::WorkloadSpec;
use movers::files::FilesPlan;
use ports::ErrorKind;

pub(super) async fn refuse_full(spec: &WorkloadSpec, place: &Place, plan: &FilesPlan) -> StepResult<()> {
    let needed = plan.bytes.saturating_sub(plan.overwritten_bytes);
    let declared = spec.target.vm.mount_point(&place.name).map(|m| m.total_size);
    if let Some(declared) = declared.filter(|d| *d < plan.bytes + plan.unchanged_bytes) {
        let whole = plan.bytes + plan.unchanged_bytes;
        let message = format!(
            "{} of {} holds {}, but the target VM's {} is declared with {} (total_size {declared})",
            place.name,
            spec.source.ip,
            units::size(whole),
            place.name,
            units::size(declared)
        );
        return Err(failed(ErrorKind::NoSpace, message, "Enlarge it, or correct its total_size (in bytes; a discovery of the target fills in the real one)"));
    }
    let free = match place.target.free_space().await {
        Ok(free) => free,
        // A directory that does not exist yet tells nothing; writing will.
        Err(e) if e.kind == ErrorKind::NotFound => None,
        Err(e) => return Err(step_error(e)),
    };
    match free {
        Some(free) if free < needed => {
            let message = format!("{} has {} free, but {} are to be replicated", place.target.location(), units::size(free), units::size(needed));
            Err(failed(ErrorKind::NoSpace, message, "Free some space on the target VM or enlarge its disk, then start again"))
        }
        _ => Ok(()),
    }
}
