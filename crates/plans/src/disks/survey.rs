//! What a migration of a disk would do: everything that only reads.

use super::job::{Job, Way};
use super::look::{Disk, no_machines};
use crate::Settings;
use crate::survey::{DryRun, Estimate};
use domain::spec::MigrationSpec;
use domain::units;
use movers::files::FilesPlan;
use ports::files::FilePath;
use ports::{ConnectorError, Result};
use tokio_util::sync::CancellationToken;

/// What would be refused at a start is this call's error.
pub(crate) async fn survey(spec: &MigrationSpec, settings: &Settings, tenant: &str, stop: &CancellationToken) -> Result<DryRun> {
    let machines = settings.machines.clone().ok_or_else(no_machines)?;
    let job = Job::new(settings.clone(), machines, spec.clone());
    let disk = tokio::select! {
        () = stop.cancelled() => return Err(ConnectorError::stopped("survey", "both sides")),
        found = job.look(tenant, "") => found?,
    };
    let mut notes = vec![format!("{}, of which the guest sees {}", disk.image, units::size(disk.size))];
    if let Way::Out(machine) = job.way()? {
        let words = if machine.compress { "compressed" } else { "as it is" };
        notes.push(format!(
            "the machine stays off while its disk is written out {words} beside it; the image is at most about as large as what the disk takes now"
        ));
    }
    Ok(DryRun {
        files: Some(plan(&disk)),
        database: None,
        wordpress: None,
        cloud: None,
        configuration: "none".to_owned(),
        overwrites: 0,
        deletes: 0,
        bytes: disk.bytes,
        size: units::size(disk.bytes),
        estimate: Estimate { how: "how fast the disk can be read and sent is not measured in a dry run".to_owned(), ..Estimate::default() },
        left_out: Vec::new(),
        refusals: Vec::new(),
        notes,
    })
}

fn plan(disk: &Disk) -> FilesPlan {
    FilesPlan { files: 1, bytes: disk.bytes, largest: vec![(FilePath::from(disk.image.as_str()), disk.bytes)], ..FilesPlan::default() }
}
