//! A machine's disk as one file, and a file as a machine's disk.

use super::disk::{described, whole_size};
use super::offline::run_leashed;
use super::place::Place;
use super::process::Process;
use super::{Qemu, images};
use crate::program::IMG;
use domain::vms::ImageFormat;
use ports::disks::{DiskFile, VmDisks};
use ports::{ConnectorError, ErrorKind, Result};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What ends the name of a file that is being written.
const UNFINISHED: &str = ".new";
/// What begins the name of every directory of a migration.
const MOVING: &str = "moving-";

impl Place {
    fn staging(&self, run: &str) -> Result<PathBuf> {
        // A run's id becomes part of a name.
        Self::new(&self.dir, run).map(|run| self.file(&format!("{MOVING}{}", run.id)))
    }

    fn staged(&self, run: &str, name: &str) -> Result<PathBuf> {
        let is_plain = !name.is_empty() && !name.starts_with('.') && !name.contains('/');
        let refused = || ConnectorError::new(ErrorKind::Name, "use", name.escape_default().to_string(), "that is no plain name of a file");
        if is_plain { Ok(self.staging(run)?.join(name)) } else { Err(refused()) }
    }

    fn must_be_off(&self, operation: &str) -> Result<()> {
        match Process::of(self)? {
            None => Ok(()),
            Some(_) => Err(ConnectorError::new(ErrorKind::Invalid, operation, format!("virtual machine {}", self.id), "it is running").advice("Stop it first")),
        }
    }
}

#[async_trait::async_trait]
impl VmDisks for Qemu {
    async fn staging(&self, id: &str, run: &str) -> Result<PathBuf> {
        let place = self.place(id)?;
        let staging = place.staging(run)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&staging).map_err(|e| place.failed("make a directory beside the disk of", &e))?;
        Ok(staging)
    }

    async fn disk(&self, id: &str) -> Result<(u64, u64)> {
        let place = self.place(id)?;
        let disk = place.file("disk.qcow2");
        if !disk.exists() {
            let reason = "it has no disk before its first start";
            return Err(
                ConnectorError::new(ErrorKind::NotFound, "open the disk of", format!("virtual machine {id}"), reason).advice("Start it once, and stop it")
            );
        }
        let facts = described(&disk, ImageFormat::Qcow2).await?;
        let of = |field: &str| facts[field].as_u64().unwrap_or(0);
        Ok((of("actual-size"), of("virtual-size")))
    }

    async fn export(&self, id: &str, run: &str, name: &str, compress: bool) -> Result<DiskFile> {
        let place = self.place(id)?;
        let (disk, file) = (place.file("disk.qcow2"), place.staged(run, name)?);
        if !file.exists() {
            place.must_be_off("export the disk of")?;
            self.disk(id).await?;
            sweep(&file);
            let fresh = fresh(&file);
            let mut words: Vec<String> = ["convert", "-f", "qcow2", "-O", "qcow2"].map(str::to_owned).into();
            if compress {
                words.extend(["-c", "-o", "compression_type=zstd"].map(str::to_owned));
            }
            words.extend([disk.display().to_string(), fresh.display().to_string()]);
            in_place(run_leashed(IMG, words).await, &fresh, &file).map_err(|e| about(&place, "export the disk of", e))?;
        }
        facts(&file, ImageFormat::Qcow2).await
    }

    async fn examine(&self, id: &str, run: &str, name: &str, format: ImageFormat) -> Result<DiskFile> {
        facts(&self.place(id)?.staged(run, name)?, format).await
    }

    async fn adopt(&self, id: &str, run: &str, name: &str, format: ImageFormat) -> Result<()> {
        let place = self.place(id)?;
        let (disk, file) = (place.file("disk.qcow2"), place.staged(run, name)?);
        if disk.exists() && !file.exists() {
            return Ok(());
        }
        place.must_be_off("import the disk of")?;
        // Asked at the last moment: what is adopted is a whole image.
        whole_size(&file, format).await?;
        if disk.exists() {
            // It was converted before a crash; the file that it was made of is left over.
            return fs::remove_file(&file).map_err(|e| place.failed("import the disk of", &e));
        }
        match format {
            ImageFormat::Qcow2 => settle(&file, &disk).map_err(|e| place.failed("import the disk of", &e)),
            ImageFormat::Raw => {
                sweep(&file);
                let fresh = fresh(&file);
                let words = ["convert", "-f", "raw", "-O", "qcow2"].map(str::to_owned).into_iter().chain([&file, &fresh].map(|f| f.display().to_string()));
                in_place(run_leashed(IMG, words.collect()).await, &fresh, &disk).map_err(|e| about(&place, "import the disk of", e))?;
                fs::remove_file(&file).map_err(|e| place.failed("import the disk of", &e))
            }
        }
    }

    async fn clear(&self, id: &str, run: &str) -> Result<()> {
        let place = self.place(id)?;
        match fs::remove_dir_all(place.staging(run)?) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(place.failed("remove the migration's files of", &e)),
            _ => Ok(()),
        }
    }
}

/// Each attempt writes a file of its own.
fn fresh(file: &Path) -> PathBuf {
    file.with_file_name(format!(".{}{UNFINISHED}", uuid::Uuid::now_v7().simple()))
}

/// What an attempt left that died with its process takes room and is of no use.
fn sweep(file: &Path) {
    let entries = file.parent().and_then(|dir| fs::read_dir(dir).ok()).into_iter().flatten().flatten();
    for entry in entries.filter(|e| e.file_name().to_string_lossy().starts_with('.') && e.file_name().to_string_lossy().ends_with(UNFINISHED)) {
        // It goes with the whole directory at the latest.
        let _gone_or_later = fs::remove_file(entry.path());
    }
}

/// What was made gets its name when it is whole and on the disk; what is not whole goes.
fn in_place(made: Result<()>, fresh: &Path, file: &Path) -> Result<()> {
    let shown = || file.display().to_string();
    let done = made.and_then(|()| settle(fresh, file).map_err(|e| ConnectorError::new(ErrorKind::Internal, "write", shown(), e.to_string()).because(e)));
    if done.is_err() {
        let _gone = fs::remove_file(fresh);
    }
    done
}

fn settle(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::File::open(from)?.sync_all()?;
    fs::rename(from, to)?;
    to.parent().map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all())
}

fn about(place: &Place, operation: &str, error: ConnectorError) -> ConnectorError {
    ConnectorError { operation: operation.to_owned(), subject: format!("virtual machine {}", place.id), ..error }
}

async fn facts(file: &Path, format: ImageFormat) -> Result<DiskFile> {
    let shown = file.display().to_string();
    let failed = |e: std::io::Error| {
        let kind = if e.kind() == std::io::ErrorKind::NotFound { ErrorKind::NotFound } else { ErrorKind::Internal };
        ConnectorError::new(kind, "read", &shown, e.to_string())
    };
    let bytes = fs::metadata(file).map_err(failed)?.len();
    let size = whole_size(file, format).await?;
    let path = file.to_owned();
    let hashed = tokio::task::spawn_blocking(move || images::hash(&path)).await;
    let sha256 = hashed.map_err(std::io::Error::other).and_then(|h| h).map_err(failed)?;
    Ok(DiskFile { bytes, size, sha256 })
}
