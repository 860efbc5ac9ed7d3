//! Step 6: puts the report together from what the steps before have stored.
//!
//! The report is this step's output. `partial: true` in it means completed with warnings: something named stays behind.

use super::job::{Job, plan_of};
use crate::adapters::{RunObserver, StepResult};
use crate::application::timed_report;
use crate::report::{Leftover, push_all};
use domain::units;
use domain::workloads::mount_point_key;
use engine::{Step, StepContext, StepError};
use jiff::Timestamp;
use movers::files::{PathProblem, ProblemKind, Problems};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

type Told = &'static [(&'static str, &'static str)];

const STEPS: Told = &[
    ("validate", "Validating servers"),
    ("backup", "Creating backup"),
    ("replicate", "Replicating mount points"),
    ("cutover", "Cutting over"),
    ("verify", "Verifying mount points"),
];

/// Those of a target that is an image.
const IMAGE_STEPS: Told = &[
    ("image", "Making the disk image"),
    ("validate", "Validating servers"),
    ("replicate", "Replicating mount points"),
    ("cutover", "Cutting over"),
    ("verify", "Verifying mount points"),
    ("boot", "Making the image bootable"),
    ("publish", "Finishing the disk image"),
];

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
        let observer = RunObserver::new(cx);
        let parts = Parts::of(cx, if self.job.spec.target.image().is_some() { IMAGE_STEPS } else { STEPS });
        let (leftovers, count) = self.leftovers(cx, &parts).await?;
        let report = self.report(cx, &parts, &leftovers, count);
        let words = if count == 0 { "Completed".to_owned() } else { format!("Completed with warnings: {count} things stay behind, see the report") };
        observer.info("report", words);
        Ok(timed_report(report, began))
    }

    async fn undo(&self, _cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        Ok(())
    }
}

/// What the steps have stored.
struct Parts {
    steps: Told,
    outputs: Vec<Value>,
}

impl Parts {
    fn of(cx: &StepContext, steps: Told) -> Self {
        Self { steps, outputs: steps.iter().map(|(name, _)| cx.output_of(name).unwrap_or_default()).collect() }
    }

    fn of_step(&self, name: &str) -> &Value {
        self.steps.iter().position(|(n, _)| *n == name).map_or(&Value::Null, |i| &self.outputs[i])
    }

    /// As the last step that saved something left it.
    fn backup(&self) -> Value {
        let all = [&self.of_step("cutover")["backup"], &self.of_step("replicate")["warm"]["backup"], &self.of_step("backup")["backup"]];
        all.into_iter().find(|b| !b.is_null()).cloned().unwrap_or_default()
    }

    /// What was seen at the beginning; and an image that no machine starts from.
    fn warnings(&self) -> Value {
        let (mut all, boot) = (self.of_step("validate")["warnings"].clone(), &self.of_step("boot")["boot"]);
        if let (Some(list), Some(false), Some(reason)) = (all.as_array_mut(), boot["bootable"].as_bool(), boot["reason"].as_str()) {
            list.push(json!(format!("No machine starts from the image by itself: {reason}")));
        }
        all
    }

    /// The image, and how a machine starts from it.
    fn image(&self) -> Value {
        let mut image = self.of_step("image").clone();
        if let Value::Object(fields) = &mut image {
            fields.remove("duration_seconds");
            fields.insert("bytes".to_owned(), self.of_step("publish")["bytes"].clone());
            fields.insert("boot".to_owned(), self.of_step("boot")["boot"].clone());
        }
        image
    }

    /// A number of what was copied to one mount point, in bulk and in the last pass.
    fn sum(&self, index: usize, field: &str) -> u64 {
        let of = |step: &str, what: &str| self.of_step(step)["mount_points"][index][what][field].as_u64().unwrap_or(0);
        of("replicate", "copied") + of("cutover", "last_pass")
    }

    fn problems(&self, index: usize) -> [Problems; 2] {
        let of = |step: &str, what: &str| serde_json::from_value(self.of_step(step)["mount_points"][index][what]["problems"].clone()).unwrap_or_default();
        [of("replicate", "copied"), of("cutover", "last_pass")]
    }
}

impl Finish {
    async fn leftovers(&self, cx: &StepContext, parts: &Parts) -> StepResult<(Vec<Leftover>, u64)> {
        let (mut all, mut unlisted) = (Vec::new(), 0);
        for (index, selected) in self.job.spec.selected.iter().enumerate() {
            let plan = plan_of(cx, index).await?.map(|p| p.problems).unwrap_or_default();
            for problems in parts.problems(index).into_iter().chain([plan]) {
                let lasting = || problems.listed.iter().filter(|p| p.kind.is_lasting());
                unlisted += problems.lasting.saturating_sub(lasting().count() as u64);
                push_all(&mut all, lasting().filter_map(|p| self.leftover(selected.name(), p)));
            }
        }
        let count = all.len() as u64 + unlisted;
        Ok((all, count))
    }

    /// What stays behind; `None` for a mount point below this one that was selected too.
    fn leftover(&self, mount_point: &str, problem: &PathProblem) -> Option<Leftover> {
        let mounted = problem.kind == ProblemKind::Mounted;
        let key = mount_point_key(&format!("{mount_point}/{}", problem.path));
        if mounted && self.job.spec.selected.iter().any(|s| s.mount_point.key() == key) {
            return None;
        }
        let advice = if mounted { "; select it too if it shall move" } else { "" };
        Some(Leftover::new("file", format!("{} in {mount_point}", problem.path), format!("{}{advice}", problem.reason)))
    }

    fn report(&self, cx: &StepContext, parts: &Parts, leftovers: &[Leftover], count: u64) -> Value {
        let spec = &self.job.spec;
        let all = 0..spec.selected.len();
        let total = |field: &str| all.clone().map(|i| parts.sum(i, field)).sum::<u64>();
        let backup = parts.backup();
        let mount_points: Vec<Value> = spec
            .selected
            .iter()
            .enumerate()
            .map(|(i, m)| json!({"mount_point_name": m.name(), "total_size": m.mount_point.total_size, "target_directory": m.target(), "files": parts.sum(i, "files"), "bytes": parts.sum(i, "bytes"), "removed": parts.sum(i, "removed")}))
            .collect();
        let verification = parts.of_step("verify");
        json!({
            "report_version": 1,
            "migration_id": cx.run_id(),
            "name": spec.name,
            "result": if count == 0 { "completed" } else { "completed with warnings" },
            "partial": count > 0,
            "finished_at": Timestamp::now().to_string(),
            "source": {"type": "workload", "files": spec.source.ip.as_str()},
            "destination": {"type": spec.target.word(), "files": spec.target.place()},
            "mount_points": mount_points,
            "summary": {
                "files": total("files"), "bytes": total("bytes"), "size": units::size(total("bytes")), "symlinks": total("symlinks"),
                "directories": total("directories"), "removed": total("removed"),
                "standstill_seconds": parts.of_step("cutover")["standstill_seconds"].as_f64().unwrap_or(0.0),
            },
            "steps": parts.steps.iter().map(|(name, title)| json!({"name": name, "title": title, "duration_seconds": parts.of_step(name)["duration_seconds"]})).collect::<Vec<_>>(),
            "verification": {"verified": verification["verified"], "reason": verification["reason"], "mount_points": verification["mount_points"]},
            "leftovers": leftovers,
            "leftovers_count": count,
            "warnings": parts.warnings(),
            "cloud": parts.of_step("validate")["cloud"],
            "image": parts.image(),
            "warm": parts.of_step("replicate")["warm"],
            "backup": backup,
            "rollback": format!("To take everything back: migration-assistant rollback {0}, or POST /migrations/{0}/rollback.", cx.run_id()),
        })
    }
}
