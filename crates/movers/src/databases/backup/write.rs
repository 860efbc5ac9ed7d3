//! Saving: one snapshot, one table after the other, then everything read back.

use super::{ATTACHED_FILE, Contents, ROWS_FILE, SCHEMA_FILE, io_error};
use futures::TryStreamExt;
use ports::databases::{Database, Fingerprint, KeyRange, ObjectName, RowSource, Table};
use ports::observe::{Level, Operation};
use ports::{ConnectorError, ErrorKind, Observer, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedTable {
    pub name: ObjectName,
    /// File name below the backup's directory.
    pub file: String,
    pub rows: u64,
    /// Compressed bytes on disk, and their BLAKE3.
    pub bytes: u64,
    pub blake3: String,
    pub fingerprint: Fingerprint,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseBackup {
    pub tables: Vec<SavedTable>,
    pub rows: u64,
    pub bytes: u64,
    pub objects: u64,
    /// BLAKE3 of the list of contents, which has the hashes of all other files.
    pub blake3: String,
}

/// Saves the objects named in `only` (everything when `None`) into `dir`, on one snapshot, and reads the files back. An unfinished
/// earlier try in `dir` is replaced. The database is only read.
pub async fn back_up(
    database: &Arc<dyn Database>,
    only: Option<&[ObjectName]>,
    dir: &Path,
    observer: &dyn Observer,
    stop: &CancellationToken,
) -> Result<DatabaseBackup> {
    tokio::fs::create_dir_all(dir).await.map_err(|e| io_error("make directory", dir, e))?;
    let view = database.read_locked(1).await?;
    let outcome = save(database, view.as_ref(), only, dir, observer, stop).await;
    let closed = view.close().await;
    let backup = outcome?;
    closed?;
    super::read::check(dir, Some(&backup.blake3)).await?;
    Ok(backup)
}

async fn save(
    database: &Arc<dyn Database>,
    view: &dyn RowSource,
    only: Option<&[ObjectName]>,
    dir: &Path,
    observer: &dyn Observer,
    stop: &CancellationToken,
) -> Result<DatabaseBackup> {
    let (schema, attached) = super::described(view, only).await?;
    let attached = Some(write_json(&dir.join(ATTACHED_FILE), &attached).await?);
    let described = Some(write_json(&dir.join(SCHEMA_FILE), &schema).await?);
    let mut tables = Vec::with_capacity(schema.tables.len());
    for (index, table) in schema.tables.iter().enumerate() {
        if stop.is_cancelled() {
            return Err(ConnectorError::stopped("back up", database.location()));
        }
        let progress = index as f64 * 100.0 / schema.tables.len() as f64;
        let destination = dir.display().to_string();
        observer.operation(Operation { kind: "backup".to_owned(), source: format!("{}/{}", database.location(), table.name), destination, progress });
        let file = format!("table-{index:05}.rows.zst");
        let (rows, bytes, blake3) = save_rows(view, table, &KeyRange::default(), &dir.join(&file)).await?;
        let fingerprint = view.fingerprint(table, &KeyRange::default()).await?;
        if fingerprint.rows != rows {
            let reason = format!("{rows} rows were read, but the database counts {}", fingerprint.rows);
            return Err(ConnectorError::new(ErrorKind::Corrupt, "back up", format!("table {}", table.name), reason).permanent());
        }
        observer.log(Level::Info, "backup", format!("Saved table {} ({rows} rows)", table.name), json!({"bytes": bytes}));
        tables.push(SavedTable { name: table.name.clone(), file, rows, bytes, blake3, fingerprint });
    }
    let contents = Contents { format: view.format(), tables: tables.clone(), schema: described, attached };
    let blake3 = write_json(&dir.join(ROWS_FILE), &contents).await?;
    let (rows, bytes) = tables.iter().fold((0, 0), |(r, b), t| (r + t.rows, b + t.bytes));
    Ok(DatabaseBackup { tables, rows, bytes, objects: schema.objects.len() as u64, blake3 })
}

/// A range that was saved by itself.
pub(in crate::databases) struct SavedRange {
    pub rows: u64,
}

/// Saves one range of a table as `name` below `dir`, with the table's description beside it. An earlier file of that name is replaced.
pub(in crate::databases) async fn save_range(view: &dyn RowSource, table: &Table, range: &KeyRange, dir: &Path, name: &str) -> Result<SavedRange> {
    tokio::fs::create_dir_all(dir).await.map_err(|e| io_error("make directory", dir, e))?;
    let (rows, _, blake3) = save_rows(view, table, range, &dir.join(name)).await?;
    let about = json!({"table": table, "range": range, "format": view.format(), "rows": rows, "blake3": blake3});
    write_json(&dir.join(format!("{name}.json")), &about).await.map(drop)?;
    Ok(SavedRange { rows })
}

/// Streams a range of a table into one compressed file. The blocks pass a bounded channel to the thread that compresses and writes.
async fn save_rows(view: &dyn RowSource, table: &Table, range: &KeyRange, path: &Path) -> Result<(u64, u64, String)> {
    let (send, mut receive) = tokio::sync::mpsc::channel::<ports::databases::RowBlock>(4);
    let to: PathBuf = path.to_owned();
    let writer = tokio::task::spawn_blocking(move || -> std::io::Result<(u64, String)> {
        let file = Hashing { file: std::fs::File::create(&to)?, hasher: blake3::Hasher::new(), bytes: 0 };
        let mut out = zstd::Encoder::new(file, 3)?;
        while let Some(block) = receive.blocking_recv() {
            out.write_all(&block.rows.to_le_bytes())?;
            out.write_all(&(block.data.len() as u32).to_le_bytes())?;
            out.write_all(&block.data)?;
        }
        let done = out.finish()?;
        done.file.sync_all()?;
        Ok((done.bytes, done.hasher.finalize().to_hex().to_string()))
    });
    let mut rows = 0;
    let mut blocks = view.rows(table, range);
    while let Some(block) = blocks.try_next().await? {
        rows += block.rows;
        if send.send(block).await.is_err() {
            break;
        }
    }
    drop(send);
    let written = writer.await.map_err(|e| ConnectorError::new(ErrorKind::Internal, "write", path.display().to_string(), e.to_string()))?;
    let (bytes, hash) = written.map_err(|e| io_error("write", path, e))?;
    Ok((rows, bytes, hash))
}

/// Counts and hashes what reaches the file.
struct Hashing {
    file: std::fs::File,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// Writes the file and brings it to the disk: nothing may be destroyed on the strength of a backup that a power loss would take. Gives its BLAKE3.
async fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<String> {
    let text = serde_json::to_vec_pretty(value).map_err(|e| io_error("write", path, std::io::Error::other(e)))?;
    let hash = blake3::hash(&text).to_hex().to_string();
    let to = path.to_owned();
    let written = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
        let mut file = std::fs::File::create(&to)?;
        file.write_all(&text)?;
        file.sync_all()?;
        to.parent().map_or(Ok(()), |dir| std::fs::File::open(dir)?.sync_all())
    });
    let written = written.await.map_err(|e| ConnectorError::new(ErrorKind::Internal, "write", path.display().to_string(), e.to_string()))?;
    written.map_err(|e| io_error("write", path, e))?;
    Ok(hash)
}
