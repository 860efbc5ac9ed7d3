//! Keeping the target warm: pass after pass moves what changed, until the cutover is asked for.

use super::job::Job;
use super::passes::Passes;
use super::rehearsal::{LOOK, pause};
use crate::CUTOVER;
use crate::adapters::{RunObserver, StepResult, step_error};
use domain::units;
use engine::StepContext;
use movers::files::Lag;
use ports::Ledger;
use serde_json::json;
use std::time::{Duration, Instant};

/// Note: a pass has brought the target up to date, so that there is something to clone.
const CLONEABLE: &str = "warm.cloneable";

/// Passes until the cutover is asked for; what they came to. Goes on after an interruption with the next pass, and stands still while a test
/// clone reads.
pub(super) async fn hold(job: &Job, cx: &StepContext, observer: &RunObserver) -> StepResult {
    let mut passes = Passes::open(job, cx).await?;
    let held = hold_with(job, cx, observer, &mut passes).await;
    let saved = passes.close(cx, observer).await;
    let mut output = held?;
    output["backup"] = saved?;
    Ok(output)
}

async fn hold_with(job: &Job, cx: &StepContext, observer: &RunObserver, movers: &mut Passes<'_>) -> StepResult {
    let mut passes = 0_u64;
    let mut all = Lag::default();
    loop {
        let cutover = cx.asked(CUTOVER).await?;
        if cutover || is_cloneable(cx, movers).await? {
            let_clones_read(cx, observer, cutover).await?;
        }
        if cutover {
            break;
        }
        let began = Instant::now();
        let lag = pass(cx, observer, movers).await?;
        movers.renew().await?;
        cx.remember(CLONEABLE, Some(json!(true))).await?;
        passes += 1;
        (all.files, all.bytes, all.removed) = (all.files + lag.files, all.bytes + lag.bytes, all.removed + lag.removed);
        let seconds = began.elapsed().as_secs_f64();
        tell(job, cx, passes, &lag, seconds);
        let words =
            format!("Pass {passes} moved {} changed files ({}) and removed {} in {}", lag.files, units::size(lag.bytes), lag.removed, units::duration(seconds));
        observer.info("replication", words);
        wait(job, cx, observer).await?;
    }
    observer.info("replication", "The cutover was asked for");
    Ok(json!({"passes": passes, "files": all.files, "bytes": all.bytes, "removed": all.removed}))
}

/// Whether the target is as a whole pass left it: one that was interrupted is finished first.
async fn is_cloneable(cx: &StepContext, passes: &Passes<'_>) -> StepResult<bool> {
    for (place, _) in &passes.places {
        let totals = place.last(cx).totals().await.map_err(step_error)?;
        if totals.chunks_done < totals.chunks {
            return Ok(false);
        }
    }
    Ok(cx.recall(CLONEABLE).await?.is_some())
}

/// Writes nothing while a test clone reads. `for_good`: none can begin to from now on.
async fn let_clones_read(cx: &StepContext, observer: &RunObserver, for_good: bool) -> StepResult<()> {
    let mut stood = false;
    while cx.stand_still(for_good).await? {
        if !std::mem::replace(&mut stood, true) {
            observer.info("replication", "A test clone reads the target; the passes go on when it has ended");
        }
        pause(cx, LOOK).await?;
    }
    if stood {
        observer.info("replication", "No test clone reads the target any more; the passes go on");
    }
    Ok(())
}

async fn pass(cx: &StepContext, observer: &RunObserver, passes: &Passes<'_>) -> StepResult<Lag> {
    let mut sum = Lag::default();
    for (place, mover) in &passes.places {
        let (bulk, last) = (place.bulk(cx), place.last(cx));
        let lag = mover.warm_pass(&bulk, &last, observer, cx.stopping()).await.map_err(step_error)?;
        (sum.files, sum.bytes, sum.removed) = (sum.files + lag.files, sum.bytes + lag.bytes, sum.removed + lag.removed);
    }
    Ok(sum)
}

/// What changed between the last two passes is the lag that a cutover finds now, and so long will it take.
fn tell(job: &Job, cx: &StepContext, passes: u64, lag: &Lag, seconds: f64) {
    cx.operation(json!({
        "type": "warm_replication",
        "source": job.spec.source.ip.as_str(),
        "destination": job.spec.target.place(),
        "progress": 99.0,
        "replication": {"passes": passes, "lag_files": lag.files, "lag_bytes": lag.bytes, "lag_removed": lag.removed, "projected_downtime_seconds": seconds},
    }));
}

/// Until the next pass is due or the cutover is asked for.
async fn wait(job: &Job, cx: &StepContext, observer: &RunObserver) -> StepResult<()> {
    let until = Instant::now() + Duration::from_secs(job.spec.pass_every);
    while Instant::now() < until && !cx.asked(CUTOVER).await? {
        let_clones_read(cx, observer, false).await?;
        pause(cx, until.saturating_duration_since(Instant::now()).min(LOOK)).await?;
    }
    Ok(())
}
