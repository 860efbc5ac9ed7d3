//! What verification found to differ is copied once more.

use super::content::{Care, run_round};
use super::final_pass::{Doubts, ROUNDS, each_outcome, occupied, plan_round, unsettled};
use super::records::rounds;
use super::report::{FilesVerified, PathProblem, ProblemKind, Problems, SentAgain};
use super::{FilesMover, or_stop};
use ports::files::FilePath;
use ports::observe::Level;
use ports::{ConnectorError, ErrorKind, Ledger, Observer, Result};
use serde_json::json;
use std::collections::HashSet;
use tokio_util::sync::CancellationToken;

/// Note: the problems of the last sending.
const UNSENT: &str = "send_again.unsent";

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
    // A try that was interrupted has planned a round; what it left is seen again.
    for round in rounds(last).await? {
        run_round(mover, (last, &[bulk]), round, Care::Again, observer, stop).await?;
    }
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
        run_round(mover, (last, &[bulk]), round, Care::Again, observer, stop).await?;
        sent.files = sent.files.max(plan.files + plan.symlinks);
        sent.problems.append(newer(last, round).await?);
        let left = unsettled(last, round).await?;
        if left.is_empty() || round + 1 == first + ROUNDS {
            sent.problems.append(left);
            break;
        }
        // What somebody had put there is saved by the next round, as in a final pass.
        differing.extend(left.listed.into_iter().map(|p| p.path));
    }
    last.remember(UNSENT, Some(json!(sent.problems.listed))).await?;
    Ok(sent)
}

/// What could not be copied once more: verification names it until it could.
pub(super) async fn unsent(ledgers: &[&dyn Ledger]) -> Result<Vec<PathProblem>> {
    let mut found = Vec::new();
    for ledger in ledgers {
        let Some(noted) = ledger.recall(UNSENT).await? else { continue };
        let read = serde_json::from_value::<Vec<PathProblem>>(noted);
        found.extend(read.map_err(|e| ConnectorError::new(ErrorKind::Internal, "read", "a note of the files ledger", e.to_string()).permanent())?);
    }
    Ok(found)
}

/// The files of this round that the source has changed since they were read for the migration, though no time says so.
async fn newer(last: &dyn Ledger, round: u64) -> Result<Problems> {
    let mut found = Problems::default();
    each_outcome(last, round, |item, outcome| {
        let earlier = item.stands.as_ref().and_then(|copy| copy.proof.as_ref());
        let same_parts = earlier.is_some_and(|proof| proof.part_size == outcome.part_size);
        if same_parts && outcome.digest.is_some() && outcome.digest.as_ref() != earlier.map(|proof| &proof.digest) {
            found.note(&item.path, ProblemKind::Changing, "the source has changed it since it stood still, so it could not be sent again");
        }
    })
    .await?;
    Ok(found)
}
