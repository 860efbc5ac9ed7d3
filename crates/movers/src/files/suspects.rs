//! Files that may have been edited although size and time say that they were not: a source that keeps times in whole seconds shows an
//! edit in the second of the recorded time as nothing. What was modified at or after the moment it was read, by the source's own clock,
//! is read again.

use super::FilesMover;
use super::digest;
use super::item::{Proof, Stat, What};
use super::lane::Lane;
use super::records::{Records, Word, last_marker, rounds};
use super::sides::Fault;
use futures::{StreamExt, TryStreamExt};
use ports::files::FilePath;
use ports::{ConnectorError, ErrorKind, Ledger, Result};
use std::collections::{HashMap, HashSet};

/// Times that are kept more exactly than this cannot hide an edit.
pub(super) const COARSE_NS: u64 = 1_000_000;
/// Files read again in one go.
const STRETCH: usize = 1024;

/// Whether an edit behind the reading might show this time too: the source's clock had not passed it, as far as its listing told.
/// `newest_ns`: the latest time in that listing.
fn may_hide(modified_ns: i64, newest_ns: Option<i64>, resolution_ns: i64) -> bool {
    newest_ns.is_none_or(|newest| modified_ns.div_euclid(resolution_ns) >= newest.div_euclid(resolution_ns))
}

/// A file as it was read.
struct Suspect {
    path: FilePath,
    read: Stat,
    proof: Proof,
    follow: bool,
}

/// The paths whose content is not what was recorded, though nothing in a listing says so.
pub(super) async fn edited(mover: &FilesMover, known: &[&dyn Ledger]) -> Result<HashSet<FilePath>> {
    let resolution = mover.source.traits().mtime_resolution_ns;
    let mut found = HashSet::new();
    if resolution < COARSE_NS {
        return Ok(found);
    }
    let newest = newest_times(known).await?;
    let (lane, _told) = mover.lane();
    let mut suspects = Vec::new();
    let mut records = Records::of(known).await?;
    while let Some(record) = records.next().await? {
        let Word::Content { item, outcome: Some(outcome) } = record.word else { continue };
        let (What::Copied | What::Same, Some(digest)) = (outcome.what, outcome.digest) else { continue };
        let read = outcome.read.unwrap_or(item.stat);
        let doubtful = read.version.is_none() && read.modified_ns.is_some_and(|ns| may_hide(ns, newest.get(&record.by).copied().flatten(), resolution as i64));
        if doubtful {
            let proof = Proof { digest, part_size: outcome.part_size };
            suspects.push(Suspect { path: item.path, read, proof, follow: item.follow });
        }
        if suspects.len() >= STRETCH {
            found.extend(differing(mover, &lane, std::mem::take(&mut suspects)).await?);
        }
    }
    found.extend(differing(mover, &lane, suspects).await?);
    Ok(found)
}

/// The latest time that the source's listing showed when a round was planned, by ledger and round.
async fn newest_times(known: &[&dyn Ledger]) -> Result<HashMap<(usize, u64), Option<i64>>> {
    let mut newest = HashMap::new();
    for (place, ledger) in known.iter().enumerate() {
        for round in rounds(*ledger).await? {
            newest.insert((place, round), last_marker(*ledger, round).await?.and_then(|marker| marker.plan.newest_ns));
        }
    }
    Ok(newest)
}

async fn differing(mover: &FilesMover, lane: &Lane, suspects: Vec<Suspect>) -> Result<Vec<FilePath>> {
    let judged: Vec<(FilePath, bool)> = futures::stream::iter(suspects)
        .map(|suspect| async move {
            let differs = is_edited(lane, &suspect).await?;
            Ok::<_, ConnectorError>((suspect.path, differs))
        })
        .buffer_unordered(mover.parallel())
        .try_collect()
        .await?;
    Ok(judged.into_iter().filter_map(|(path, differs)| differs.then_some(path)).collect())
}

async fn is_edited(lane: &Lane, suspect: &Suspect) -> Result<bool> {
    let once = || async {
        let opened = lane.source.open(&suspect.path, None).await.map_err(Fault::source)?;
        if !suspect.follow && !Stat::of(&opened.entry).same_content(&suspect.read) {
            // The listing finds it.
            return Ok(false);
        }
        let Proof { digest, part_size } = &suspect.proof;
        let (now, _) = digest::of_body(opened.body, digest.kind, *part_size).await.map_err(Fault::source)?;
        Ok(now != *digest)
    };
    match lane.retry(&suspect.path, suspect.read.size(), once).await {
        Ok(differs) => Ok(differs),
        Err(fault) if matches!(fault.error.kind, ErrorKind::NotFound | ErrorKind::Permission | ErrorKind::Changed) => Ok(false),
        Err(fault) => Err(fault.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passed_by_the_listing_hides_nothing() {
        const SECOND: i64 = 1_000_000_000;
        let newest = Some(50 * SECOND + 7);
        assert!(may_hide(51 * SECOND, newest, SECOND) && may_hide(50 * SECOND, newest, SECOND));
        assert!(!may_hide(49 * SECOND, newest, SECOND), "the clock had passed it");
        assert!(may_hide(1, None, SECOND), "nothing is known");
    }
}
