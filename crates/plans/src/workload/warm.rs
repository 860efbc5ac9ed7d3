//! Keeping the target warm: pass after pass moves what changed, until the cutover is asked for.

use super::job::{Job, Place};
use crate::CUTOVER;
use crate::adapters::{RunObserver, StepResult, step_error};
use domain::units;
use engine::{StepContext, StepError};
use movers::files::Lag;
use serde_json::json;
use std::time::{Duration, Instant};

/// How often the wish is looked for between two passes.
const LOOK: Duration = Duration::from_millis(500);

/// Passes until the cutover is asked for; what they came to. Goes on after an interruption with the next pass.
pub(super) async fn hold(job: &Job, cx: &StepContext, observer: &RunObserver, places: &[Place]) -> StepResult {
    let mut passes = 0_u64;
    let mut all = Lag::default();
    while !cx.asked(CUTOVER).await? {
        let began = Instant::now();
        let lag = pass(cx, observer, places).await?;
        passes += 1;
        (all.files, all.bytes, all.removed) = (all.files + lag.files, all.bytes + lag.bytes, all.removed + lag.removed);
        let seconds = began.elapsed().as_secs_f64();
        tell(job, cx, passes, &lag, seconds);
        let words =
            format!("Pass {passes} moved {} changed files ({}) and removed {} in {}", lag.files, units::size(lag.bytes), lag.removed, units::duration(seconds));
        observer.info("replication", words);
        wait(job, cx).await?;
    }
    observer.info("replication", "The cutover was asked for");
    Ok(json!({"passes": passes, "files": all.files, "bytes": all.bytes, "removed": all.removed}))
}

async fn pass(cx: &StepContext, observer: &RunObserver, places: &[Place]) -> StepResult<Lag> {
    let mut sum = Lag::default();
    for place in places {
        let (bulk, last) = (place.bulk(cx), place.last(cx));
        let lag = place.mover.warm_pass(&bulk, &last, observer, cx.stopping()).await.map_err(step_error)?;
        (sum.files, sum.bytes, sum.removed) = (sum.files + lag.files, sum.bytes + lag.bytes, sum.removed + lag.removed);
    }
    Ok(sum)
}

/// What changed between the last two passes is the lag that a cutover finds now, and so long will it take.
fn tell(job: &Job, cx: &StepContext, passes: u64, lag: &Lag, seconds: f64) {
    cx.operation(json!({
        "type": "warm_replication",
        "source": job.spec.source.ip.as_str(),
        "destination": job.spec.target.vm.ip.as_str(),
        "progress": 99.0,
        "replication": {"passes": passes, "lag_files": lag.files, "lag_bytes": lag.bytes, "lag_removed": lag.removed, "projected_downtime_seconds": seconds},
    }));
}

/// Until the next pass is due or the cutover is asked for.
async fn wait(job: &Job, cx: &StepContext) -> StepResult<()> {
    let until = Instant::now() + Duration::from_secs(job.spec.pass_every);
    while Instant::now() < until && !cx.asked(CUTOVER).await? {
        let rest = until.saturating_duration_since(Instant::now()).min(LOOK);
        tokio::select! {
            () = cx.stopping().cancelled() => return Err(StepError::stopped()),
            () = tokio::time::sleep(rest) => {}
        }
    }
    Ok(())
}
