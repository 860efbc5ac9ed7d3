//! Whether what moves fits, asked before anything is written: against what the target says is free, and against the size that the
//! target's mount point was declared with. What goes to one declared mount point is added up.

use super::job::Place;
use crate::adapters::{StepResult, failed, step_error};
use domain::units;
use domain::workloads::{MountPoint, WorkloadSpec};
use movers::files::FilesPlan;
use ports::ErrorKind;

/// Looks at one place. `plans`: those of all places, in their order.
pub(super) async fn refuse_full(spec: &WorkloadSpec, place: &Place, plans: &[FilesPlan]) -> StepResult<()> {
    let declared = declared(spec, place.index);
    let together: Vec<&FilesPlan> = match declared {
        Some(known) => plans.iter().enumerate().filter(|(i, _)| self::declared(spec, *i) == Some(known)).map(|(_, plan)| plan).collect(),
        None => vec![&plans[place.index]],
    };
    let whole: u64 = together.iter().map(|plan| plan.bytes + plan.unchanged_bytes).sum();
    if let Some(small) = declared.filter(|d| d.total_size < whole) {
        let message = format!(
            "{} of {} holds {}, but the target VM's {} is declared with {} (total_size {})",
            names(spec, small),
            spec.source.ip,
            units::size(whole),
            small.mount_point_name,
            units::size(small.total_size),
            small.total_size
        );
        return Err(failed(ErrorKind::NoSpace, message, "Enlarge it, or correct its total_size (in bytes; a discovery of the target fills in the real one)"));
    }
    let needed: u64 = together.iter().map(|plan| plan.bytes.saturating_sub(plan.overwritten_bytes)).sum();
    let free = match place.target.free_space().await {
        Ok(free) => free,
        // A directory that does not exist yet tells nothing; writing will.
        Err(e) if e.kind == ErrorKind::NotFound => None,
        Err(e) => return Err(step_error(e)),
    };
    match free {
        Some(free) if free < needed => {
            let message = format!("{} has {} free, but {} are to be replicated", place.target.location(), units::size(free), units::size(needed));
            let advice = if spec.target.image().is_some() {
                "Give the image a larger size_gib"
            } else {
                "Free some space on the target VM or enlarge its disk, then start again"
            };
            Err(failed(ErrorKind::NoSpace, message, advice))
        }
        _ => Ok(()),
    }
}

/// The target's mount point that a place's directory lies on, if it was declared.
fn declared(spec: &WorkloadSpec, index: usize) -> Option<&MountPoint> {
    spec.target.vm()?.vm.mount_point_around(spec.selected[index].target())
}

/// The selected mount points that go to a mount point of the target.
fn names(spec: &WorkloadSpec, to: &MountPoint) -> String {
    let there = spec.selected.iter().enumerate().filter(|(i, _)| declared(spec, *i) == Some(to));
    there.map(|(_, selected)| selected.name()).collect::<Vec<_>>().join(", ")
}
