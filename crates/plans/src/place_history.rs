//! Who wrote into which place, in order: undo is last in, first out.
//!
//! One small file per place in the data directory, with the ids of the runs that wrote there. So it is known within one installation; a
//! migration that another installation made into the same place is not in it.

use domain::spec::{DatabaseAt, FilesAt, MigrationSpec};
use ports::databases::Database;
use ports::files::FileTarget;
use ports::{ConnectorError, ErrorKind, Result};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Beside the backups, on the same node.
fn directory(backups: &Path) -> PathBuf {
    backups.with_file_name("destinations")
}

fn failed(path: &Path, error: std::io::Error) -> ConnectorError {
    ConnectorError::new(ErrorKind::Internal, "keep the order of the migrations in", path.display().to_string(), error.to_string()).because(error)
}

/// What a destination is called by its own system; where it tells nothing, by the document.
pub(crate) async fn places(spec: &MigrationSpec, files: Option<&dyn FileTarget>, database: Option<&dyn Database>, at: Option<&DatabaseAt>) -> Vec<String> {
    let mut out = Vec::new();
    if let (Some(files), Some(at)) = (files, &spec.destination.files) {
        let physical = match files.place() {
            Some(place) => place.physical_path().await.ok().flatten(),
            None => None,
        };
        out.push(match (physical, at) {
            (Some(found), _) => format!("files {} {}", found.file_system.split_whitespace().last().unwrap_or_default(), found.path.display()),
            (None, FilesAt::S3(s3)) => format!("s3 {} {} {}", s3.endpoint.as_deref().unwrap_or("aws"), s3.bucket, s3.prefix),
            (None, other) => other.describe(),
        });
    }
    if let (Some(database), Some(at)) = (database, at) {
        let identity = match database.place() {
            Some(place) => place.identity().await.ok().filter(|found| !found.system.is_empty()),
            None => None,
        };
        out.push(match identity {
            Some(found) => format!("database {:?} {} {}", at.engine, found.system, found.database),
            None => format!("database {:?} {}:{} {}", at.engine, at.host.to_lowercase(), at.port, at.database),
        });
    }
    out
}

/// Writes down that `run` writes into these places now. Repeatable.
///
/// # Errors
/// When the data directory cannot be written.
pub(crate) async fn wrote(backups: &Path, run: &str, places: Vec<String>) -> Result<()> {
    let (directory, run) = (directory(backups), run.to_owned());
    blocking(move || {
        std::fs::create_dir_all(&directory).map_err(|e| failed(&directory, e))?;
        for place in places {
            let path = directory.join(format!("{}.runs", &blake3::hash(place.as_bytes()).to_hex()[..32]));
            edit(&path, |runs| {
                if !runs.contains(&run) {
                    runs.push(run.clone());
                }
            })
            .map_err(|e| failed(&path, e))?;
        }
        Ok(())
    })
    .await
}

/// Forgets a run that was taken back. Repeatable.
///
/// # Errors
/// When the data directory cannot be written.
pub(crate) async fn taken_back(backups: &Path, run: &str) -> Result<()> {
    let (directory, run) = (directory(backups), run.to_owned());
    blocking(move || {
        for path in files(&directory)? {
            edit(&path, |runs| runs.retain(|known| *known != run)).map_err(|e| failed(&path, e))?;
        }
        Ok(())
    })
    .await
}

/// The newest run that wrote into a place of `run` after it; it has to be taken back first.
///
/// # Errors
/// When the data directory cannot be read.
pub async fn newer_run(backups: &Path, run: &str) -> Result<Option<String>> {
    let (directory, run) = (directory(backups), run.to_owned());
    blocking(move || {
        for path in files(&directory)? {
            let runs = std::fs::read_to_string(&path).map_err(|e| failed(&path, e))?;
            let runs: Vec<&str> = runs.lines().collect();
            if runs.contains(&run.as_str()) && runs.last() != Some(&run.as_str()) {
                return Ok(runs.last().map(|newest| (*newest).to_owned()));
            }
        }
        Ok(None)
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(ConnectorError::new(ErrorKind::Internal, "look up", "earlier migrations", "the work broke off").because(e)))
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let listing = match std::fs::read_dir(directory) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| failed(directory, e))?,
    };
    let names = listing.map(|entry| entry.map(|e| e.path()).map_err(|e| failed(directory, e))).collect::<Result<Vec<_>>>()?;
    Ok(names.into_iter().filter(|path| path.extension().is_some_and(|e| e == "runs")).collect())
}

/// Changes the list in a file while no other process does.
fn edit(path: &Path, change: impl FnOnce(&mut Vec<String>)) -> std::io::Result<()> {
    let mut file: File = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
    file.lock()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let before: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut runs = before.clone();
    change(&mut runs);
    if runs == before {
        return Ok(());
    }
    runs.push(String::new());
    let text = runs.join("\n");
    file.seek(SeekFrom::Start(0))?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_older_run_is_known_to_lie_under_a_newer_one_until_that_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let backups = dir.path().join("backups");
        assert_eq!(newer_run(&backups, "a").await.unwrap(), None);
        let places = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        wrote(&backups, "a", places(&["x", "y"])).await.unwrap();
        wrote(&backups, "b", places(&["z"])).await.unwrap();
        wrote(&backups, "c", places(&["y"])).await.unwrap();
        wrote(&backups, "a", places(&["x", "y"])).await.unwrap();
        for (run, newer) in [("a", Some("c")), ("b", None), ("c", None)] {
            assert_eq!(newer_run(&backups, run).await.unwrap().as_deref(), newer, "{run}");
        }
        taken_back(&backups, "c").await.unwrap();
        assert_eq!(newer_run(&backups, "a").await.unwrap(), None);
    }
}
