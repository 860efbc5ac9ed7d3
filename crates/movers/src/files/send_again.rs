//! What verification found to differ is copied once more.

use super::content::{Care, run_round};
use super::final_pass::{Doubts, ROUNDS, occupied, plan_round, unsettled};
use super::records::rounds;
use super::report::{FilesVerified, SentAgain};
use super::{FilesMover, or_stop};
use ports::files::FilePath;
use ports::observe::Level;
use ports::{Ledger, Observer, Result};
use serde_json::json;
use std::collections::HashSet;
use tokio_util::sync::CancellationToken;

/// Copies files once more that verification found to differ, where the source still has what was read. What could not be copied is named.
pub(super) async fn run(
    mover: &FilesMover,
    bulk: &dyn Ledger,
    last: &dyn Ledger,
    found: &FilesVerified,
    observer: &dyn Observer,
    stop: &CancellationToken,
) -> Result<SentAgain> {
    let first = rounds(last).await?.last().map_or(1, |round| round + 1);
    let mut sent = SentAgain::default();
    let mut differing: HashSet<FilePath> = found.mismatches.iter().map(|m| m.path.clone()).collect();
    for round in first..first + ROUNDS {
        let doubts = Doubts { edited: std::mem::take(&mut differing), trusted_from: round, only: true };
        let planned = or_stop(stop, "list again", mover.source.location(), plan_round(mover, &[bulk, last], Some((last, round)), &doubts)).await?;
        let (plan, empty) = planned;
        sent.problems.append(occupied(plan.problems));
        if empty {
            break;
        }
        let details = json!({"files": plan.files, "bytes": plan.bytes});
        observer.log(Level::Warning, "verification", format!("{} files are not stored as they were sent; they are sent again", plan.files), details);
        run_round(mover, (last, &[bulk]), round, Care::Final, observer, stop).await?;
        sent.files = sent.files.max(plan.files + plan.symlinks);
        let left = unsettled(last, round).await?;
        if left.is_empty() || round + 1 == first + ROUNDS {
            sent.problems.append(left);
            break;
        }
        // What somebody had put there is saved by the next round, as in a final pass.
        differing.extend(left.listed.into_iter().map(|p| p.path));
    }
    Ok(sent)
}
