//! What verification found to differ is copied once more.

use super::content::{Care, run_round};
use super::final_pass::{Doubts, ROUNDS, each_outcome, occupied, plan_round, unsettled};
use super::records::rounds;
use super::report::{FilesVerified, Mismatch, Problems, SentAgain};
use super::{FilesMover, or_stop};
use ports::files::FilePath;
use ports::observe::Level;
use ports::{ConnectorError, ErrorKind, Ledger, Observer, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, HashMap, HashSet};
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
    // Noted before anything is tried: what is not known to have been put right differs.
    let mut unsent = Unsent::of(found);
    unsent.note(last).await?;
    // A try that was interrupted has planned a round; what it left is seen again.
    for round in rounds(last).await? {
        run_round(mover, (last, &[bulk]), round, Care::Again, observer, stop).await?;
    }
    let mut sent = 0;
    let mut differing: HashSet<FilePath> = found.mismatches.iter().map(|m| m.path.clone()).collect();
    for round in first..first + ROUNDS {
        let doubts = Doubts { edited: std::mem::take(&mut differing), trusted_from: round, only: true };
        let planned = or_stop(stop, "list again", mover.source.location(), plan_round(mover, &[bulk, last], Some((last, round)), &doubts)).await?;
        let (plan, empty) = planned;
        unsent.add(occupied(plan.problems));
        if empty {
            break;
        }
        let details = json!({"files": plan.files, "bytes": plan.bytes});
        observer.log(Level::Warning, "verification", format!("{} files are not stored as they were sent; they are sent again", plan.files), details);
        run_round(mover, (last, &[bulk]), round, Care::Again, observer, stop).await?;
        sent = sent.max(plan.files + plan.symlinks);
        unsent.see(last, round).await?;
        unsent.note(last).await?;
        // What somebody had put there is saved by the next round, as in a final pass.
        differing.extend(unsettled(last, round).await?.listed.into_iter().map(|p| p.path));
        if differing.is_empty() {
            break;
        }
    }
    unsent.note(last).await?;
    Ok(SentAgain { files: sent, left: unsent.0.len() as u64 })
}

/// A file that differs and is not known to have been put right.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Left {
    path: FilePath,
    pub(super) reason: String,
    /// Something that the source has by now was copied in its place: what is stored is what was read, and still differs.
    pub(super) newer: bool,
}

struct Unsent(BTreeMap<FilePath, Left>);

impl Unsent {
    fn of(found: &FilesVerified) -> Self {
        let left = |m: &Mismatch| Left { path: m.path.clone(), reason: m.reason.clone(), newer: false };
        Self(found.mismatches.iter().map(|m| (m.path.clone(), left(m))).collect())
    }

    fn add(&mut self, problems: Problems) {
        self.0.extend(problems.listed.into_iter().map(|p| (p.path.clone(), Left { path: p.path, reason: p.reason, newer: false })));
    }

    /// Looks at what a round has come to.
    async fn see(&mut self, last: &dyn Ledger, round: u64) -> Result<()> {
        each_outcome(last, round, |item, outcome| {
            let earlier = item.stands.as_ref().and_then(|copy| copy.proof.as_ref()).filter(|proof| proof.part_size == outcome.part_size);
            if earlier.is_some_and(|proof| outcome.digest.as_ref().is_some_and(|digest| *digest != proof.digest)) {
                let reason = "the source has changed it since it stood still, so it could not be sent again".to_owned();
                self.0.insert(item.path.clone(), Left { path: item.path.clone(), reason, newer: true });
            } else if outcome.is_there() {
                self.0.remove(&item.path);
            }
        })
        .await
    }

    async fn note(&self, last: &dyn Ledger) -> Result<()> {
        last.remember(UNSENT, Some(json!(self.0.values().collect::<Vec<_>>()))).await
    }
}

/// What could not be copied once more: verification names it until it could.
pub(super) async fn unsent(ledgers: &[&dyn Ledger]) -> Result<HashMap<FilePath, Left>> {
    let mut found = HashMap::new();
    for ledger in ledgers {
        let Some(noted) = ledger.recall(UNSENT).await? else { continue };
        let read: Vec<Left> = serde_json::from_value(noted)
            .map_err(|e| ConnectorError::new(ErrorKind::Internal, "read", "a note of the files ledger", e.to_string()).permanent())?;
        found.extend(read.into_iter().map(|left| (left.path.clone(), left)));
    }
    Ok(found)
}
