//! What a migration of a workload would do: everything that only reads.

use super::capacity;
use super::cloud;
use super::image;
use super::job::{Job, Place};
use crate::Settings;
use crate::application::{directories_conflict, mark_of};
use crate::survey::{DryRun, Estimate, Quiet, measured};
use domain::units;
use domain::workloads::WorkloadSpec;
use movers::files::FilesPlan;
use ports::files::FilePath;
use ports::{ConnectorError, ErrorKind, Result};
use tokio_util::sync::CancellationToken;

/// Looks at both servers and measures the source briefly. Reads only.
pub(crate) async fn survey(spec: &WorkloadSpec, settings: &Settings, stop: &CancellationToken) -> Result<DryRun> {
    let asked = tokio::select! {
        () = stop.cancelled() => return Err(ConnectorError::stopped("survey", "the cloud")),
        asked = cloud::ask(&spec.target, settings.connectors.as_ref()) => asked,
    };
    let job = Job::dry(settings.clone(), spec.clone());
    let places = job.places("survey").await.map_err(told)?;
    let quiet = Quiet::default();
    let (mut whole, mut refusals, mut notes, mut estimate) = (FilesPlan::default(), Vec::new(), Vec::new(), Estimate::default());
    let mut plans = Vec::with_capacity(places.len());
    for place in places {
        plans.push(place.mover.survey(&quiet, stop).await?);
    }
    if spec.target.image().is_some() {
        refusals.extend(image::refusals(&job, &plans).await);
    } else {
        for place in places {
            refusals.extend(capacity::refuse_full(spec, place, &plans).await.err().map(|e| e.message));
        }
    }
    for place in places {
        refusals.extend(directories_conflict(place.source.as_ref(), place.target.as_ref(), &mark_of(None)).await?);
    }
    for (place, plan) in places.iter().zip(plans) {
        notes.extend(place.mover.notes().iter().map(|note| format!("{}: {note}", place.name)));
        estimate = measured(estimate, place.source.as_ref(), &plan, spec.transfer.parallel_transfers, stop).await?;
        add(&mut whole, place, plan);
    }
    if whole.overwrites + whole.deletes > 0 && !spec.safety.backup_before && !spec.safety.overwrite_without_backup {
        refusals
            .push("things at the target VM would be lost without a backup: leave safety.backup_before on, or set safety.overwrite_without_backup".to_owned());
    }
    let cloud = match asked {
        Ok(found) => {
            notes.extend(found.iter().flat_map(|c| c.warnings.clone()));
            found
        }
        Err(e) => {
            refusals.push(e.to_string());
            None
        }
    };
    Ok(DryRun {
        cloud,
        overwrites: whole.overwrites,
        deletes: whole.deletes,
        bytes: whole.bytes,
        size: units::size(whole.bytes),
        files: Some(whole),
        database: None,
        wordpress: None,
        configuration: "none".to_owned(),
        estimate: estimate.finished(),
        left_out: spec.transfer.exclude.clone(),
        refusals,
        notes,
    })
}

/// Adds one mount point's plan; its paths are told with the mount point before them.
fn add(all: &mut FilesPlan, place: &Place, plan: FilesPlan) {
    let named = |path: FilePath| FilePath::new([place.name.trim_end_matches('/').as_bytes(), b"/", path.as_bytes()].concat());
    for (sum, part) in [
        (&mut all.files, plan.files),
        (&mut all.bytes, plan.bytes),
        (&mut all.directories, plan.directories),
        (&mut all.symlinks, plan.symlinks),
        (&mut all.overwrites, plan.overwrites),
        (&mut all.overwritten_bytes, plan.overwritten_bytes),
        (&mut all.deletes, plan.deletes),
        (&mut all.deleted_bytes, plan.deleted_bytes),
        (&mut all.unchanged, plan.unchanged),
        (&mut all.unchanged_bytes, plan.unchanged_bytes),
    ] {
        *sum += part;
    }
    all.largest.extend(plan.largest.into_iter().map(|(path, size)| (named(path), size)));
    all.largest.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    all.largest.truncate(10);
    all.overwrite_examples.extend(plan.overwrite_examples.into_iter().map(named));
    all.delete_examples.extend(plan.delete_examples.into_iter().map(named));
    all.problems.append(plan.problems);
    all.excluded.extend(plan.excluded);
}

/// A step's error as a door's: nobody drives steps here.
fn told(error: engine::StepError) -> ConnectorError {
    let kind = serde_json::from_value(serde_json::Value::String(error.kind.clone())).unwrap_or(ErrorKind::Internal);
    let text = |name: &str| error.details[name].as_str().unwrap_or_default().to_owned();
    let reason = if text("reason").is_empty() { error.message.clone() } else { text("reason") };
    let mut out = ConnectorError::new(kind, text("operation"), text("subject"), reason).advice(text("advice"));
    out.temporary = error.temporary;
    out
}
