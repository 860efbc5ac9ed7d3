//! Step 6: the files beside the disk go, the machine is free, and the report.

use super::job::{Job, Way, disk};
use crate::adapters::{RunObserver, StepResult, step_error};
use crate::application::{side, timed};
use domain::units;
use engine::{Step, StepContext, StepError};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// The machine was given back before; what was made is undone by the steps that made it.
pub struct Finish {
    pub job: Arc<Job>,
}

#[async_trait::async_trait]
impl Step for Finish {
    fn name(&self) -> &'static str {
        "finish"
    }

    fn title(&self) -> &'static str {
        "Finishing"
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        let began = Instant::now();
        let (id, machines) = (self.job.known_machine(cx).await?, &self.job.machines);
        machines.disks.clear(&id, cx.run_id()).await.map_err(step_error)?;
        machines.holds.release(cx.tenant(), &id, cx.run_id()).await.map_err(step_error)?;
        RunObserver::new(cx).info("report", format!("Completed; the virtual machine {id} is free again"));
        Ok(timed(self.report(cx, &id)?, began))
    }

    async fn undo(&self, _cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        Ok(())
    }
}

impl Finish {
    fn report(&self, cx: &StepContext, id: &str) -> StepResult {
        let (spec, disk) = (&self.job.spec, disk(cx)?);
        let of = |step: &str| cx.output_of(step).unwrap_or_default();
        let (bulk, verification) = (of("files")["bulk"].clone(), of("verify"));
        let (file, steps): (Value, [(&str, &str); 5]) = match self.job.way().map_err(step_error)? {
            Way::Out(_) => (of("export")["file"].clone(), [VALIDATE, PREPARE, ("export", "Exporting disk"), FILES, VERIFY]),
            Way::In(_) => (verification["image"].clone(), [VALIDATE, PREPARE, FILES, VERIFY, ("import", "Importing disk")]),
        };
        let bytes = bulk["bytes"].as_u64().unwrap_or(0);
        Ok(json!({
            "report_version": 1,
            "migration_id": cx.run_id(),
            "name": spec.name,
            "result": "completed",
            "partial": false,
            "finished_at": Timestamp::now().to_string(),
            "source": side(&spec.source),
            "destination": side(&spec.destination),
            "vm": {"id": id, "name": disk.machine.name, "vcpus": disk.machine.vcpus, "memory_mib": disk.machine.memory_mib, "disk_bytes": disk.size},
            "image": {"name": disk.image, "format": disk.format, "file": file},
            "summary": {"files": bulk["files"], "bytes": bytes, "size": units::size(bytes)},
            "steps": steps.iter().map(|(name, title)| json!({"name": name, "title": title, "duration_seconds": of(name)["duration_seconds"]})).collect::<Vec<_>>(),
            "verification": verification,
            "leftovers": [],
            "leftovers_count": 0,
            "warnings": of("validate")["warnings"],
            "backup": null,
            "rollback": format!("To take everything back: migration-assistant rollback {0}, or POST /migrations/{0}/rollback.", cx.run_id()),
        }))
    }
}

const VALIDATE: (&str, &str) = ("validate", "Validating configuration");
const PREPARE: (&str, &str) = ("prepare", "Preparing destination");
const FILES: (&str, &str) = ("files", "Transferring files");
const VERIFY: (&str, &str) = ("verify", "Verifying migration");
