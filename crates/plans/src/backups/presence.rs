//! Whether the files of a backup are there: asked when a rollback is requested, and again before it touches anything. Their content is compared
//! while each is restored.

use super::{Part, file_error};
use crate::adapters::failed;
use engine::StepError;
use movers::files::FilesBackup;
use ports::{ConnectorError, ErrorKind, Ledger, Result};
use std::path::Path;

/// Refuses when none of the files that `part` holds in `dir` is there as it was saved. Where some are, those can be restored, and the others are
/// named by the preview and by the rollback. `last`: the ledger of the last pass. Reads only.
///
/// # Errors
/// `NotFound` when nothing is left of the part; another kind when that cannot be found out.
pub(crate) async fn refuse_lost_files(part: &Part, dir: &Path, files: &FilesBackup<'_>, last: &dyn Ledger, parallel: usize) -> Result<()> {
    if part.items == 0 {
        return Ok(());
    }
    tokio::fs::metadata(dir).await.map_err(|e| file_error("find", dir, e))?;
    if !files.has_lost_all(last, parallel).await? {
        return Ok(());
    }
    let reason = format!("none of the {} files that it is to hold is there with its size", part.items);
    Err(ConnectorError::new(ErrorKind::NotFound, "find the files in", dir.display().to_string(), reason).permanent())
}

/// The error of a rollback whose backup lacks what is wanted of it.
pub(crate) fn unrestorable(id: &str, why: &ConnectorError) -> StepError {
    let advice = "Nothing was touched. Bring the backup back to its place, or roll back without restoring that part";
    failed(why.kind, format!("The backup '{id}' cannot be restored from: {why}"), advice)
}
