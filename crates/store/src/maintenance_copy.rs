//! Copies of the embedded database: one consistent file, while a server may be at work, and back into an empty place.

use crate::keys;
use crate::maintenance_check::{Checked, check};
use crate::sql::params;
use crate::{schema, sqlite};
use engine::EngineError;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Writes a copy of the database `from` to the new file `to`, readable for its owner only; with `keys_of`, the key file of that data
/// directory to `to` with `.keys` at its end. The copy is looked over before it gets its name. Answers its size.
pub async fn backup(from: &Path, to: &Path, keys_of: Option<&Path>) -> Result<u64, EngineError> {
    refuse_existing(to)?;
    refuse_existing(&keys_beside(to))?;
    let draft = beside(to, ".part");
    let written = copy_out(from, &draft).await;
    if written.is_err() {
        // Best effort: the failure that is told is the first one.
        let _ = std::fs::remove_file(&draft);
    }
    written?;
    if let Some(data_dir) = keys_of {
        let made = copy_private(&data_dir.join(keys::FILE), &keys_beside(to));
        made.map_err(|e| EngineError::Unavailable(format!("could not copy the key file to {}: {e}", keys_beside(to).display())))?;
    }
    let named = std::fs::rename(&draft, to).and_then(|()| sync_directory(to)).and_then(|()| std::fs::metadata(to));
    named.map(|m| m.len()).map_err(|e| EngineError::Unavailable(format!("could not write {}: {e}", to.display())))
}

async fn copy_out(from: &Path, draft: &Path) -> Result<(), EngineError> {
    let cannot = |e: io::Error| EngineError::Unavailable(format!("could not write {}: {e}", draft.display()));
    // SQLite fills an empty file, which keeps its mode.
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(draft).map_err(cannot)?;
    let mut conn = sqlite::look(from).await?;
    // The copy is another database, but the connection's promise to change nothing would hold for it, too.
    conn.script("PRAGMA query_only = OFF;").await?;
    conn.run("VACUUM INTO $1", params![draft.display().to_string()]).await?;
    conn.discard();
    std::fs::File::open(draft).and_then(|f| f.sync_all()).map_err(cannot)?;
    let found = look_over(draft).await?;
    if found.damage.is_empty() { Ok(()) } else { Err(damaged(draft, &found)) }
}

/// Puts the copy `from` into `data_dir`, where no database may be. Keys that stand beside the copy come along unless `data_dir` has
/// some. Answers what was found in the new place.
pub async fn restore(from: &Path, data_dir: &Path) -> Result<Checked, EngineError> {
    let to = sqlite::path_of("", data_dir);
    let found = look_over(from).await?;
    if !found.damage.is_empty() {
        return Err(damaged(from, &found));
    }
    if found.schema > schema::CURRENT {
        return Err(EngineError::Invalid(format!(
            "the copy {} has schema version {}, this program knows versions up to {}: restore it with the newer program that wrote it",
            from.display(),
            found.schema,
            schema::CURRENT
        )));
    }
    let _lock = sqlite::lock(&to)?;
    refuse_existing(&to)?;
    let cannot = |e: io::Error| EngineError::Unavailable(format!("could not write {}: {e}", to.display()));
    let (keys, own) = (keys_beside(from), data_dir.join(keys::FILE));
    if keys.exists() && !own.exists() {
        copy_private(&keys, &own).map_err(cannot)?;
    }
    let draft = beside(&to, ".part");
    let _earlier = std::fs::remove_file(&draft);
    copy_private(from, &draft).and_then(|()| std::fs::rename(&draft, &to)).and_then(|()| sync_directory(&to)).map_err(cannot)?;
    check("sqlite:", data_dir).await
}

/// A copy by itself: its keys do not matter.
async fn look_over(file: &Path) -> Result<Checked, EngineError> {
    let nowhere = file.parent().unwrap_or(Path::new("."));
    check(&format!("sqlite:{}", file.display()), nowhere).await
}

fn damaged(file: &Path, found: &Checked) -> EngineError {
    EngineError::Invalid(format!("the copy {} is damaged: {}", file.display(), found.damage.join("; ")))
}

fn refuse_existing(path: &Path) -> Result<(), EngineError> {
    if path.exists() {
        return Err(EngineError::Invalid(format!("{} exists already, and nothing is overwritten here: choose another place, or move it away", path.display())));
    }
    Ok(())
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn keys_beside(copy: &Path) -> PathBuf {
    beside(copy, ".keys")
}

fn copy_private(from: &Path, to: &Path) -> io::Result<()> {
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut std::fs::File::open(from)?, &mut target)?;
    target.sync_all()
}

/// The new name is on the disk, too.
fn sync_directory(file: &Path) -> io::Result<()> {
    let directory = file.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(directory)?.sync_all()
}
