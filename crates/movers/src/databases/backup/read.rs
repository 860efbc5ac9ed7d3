//! Reading a backup: checking its files, and bringing a database back to what it was.

use super::super::copy::{CONFLICTS, restless};
use super::super::dropping::{Doomed, TableKeeper, drop_table};
use super::{ATTACHED_FILE, Contents, ROWS_FILE, SCHEMA_FILE, SavedTable, io_error};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use ports::databases::{Applied, Attached, Database, KeyRange, ObjectKind, ObjectName, Phase, RowBlock, RowTarget, Schema, SchemaObject, Table, View};
use ports::observe::Level;
use ports::{ConnectorError, ErrorKind, Observer, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseRestored {
    pub tables: u64,
    pub rows: u64,
    /// Every table's fingerprint equals the one in the backup.
    pub proven: bool,
    /// What is not as it was: objects that could not be made again, or that read differently from what was saved, with the reason.
    #[serde(default)]
    pub differing: Vec<String>,
}

/// Whether the backup in `dir` is complete and readable: every file is read, its hash compared with the recorded one. Reads only. `blake3`: of the
/// list of contents, where it was recorded.
///
/// # Errors
/// `NotFound` when a file is missing, `Corrupt` when one is damaged: nothing can be restored from it then.
pub async fn check(dir: &Path, blake3: Option<&str>) -> Result<()> {
    read_checked(dir, blake3).await.map(drop)
}

async fn read_checked(dir: &Path, blake3: Option<&str>) -> Result<(Schema, Attached, Contents)> {
    let contents: Contents = read_json(&dir.join(ROWS_FILE), blake3).await?;
    let schema: Schema = read_json(&dir.join(SCHEMA_FILE), contents.schema.as_deref()).await?;
    let attached: Attached = match read_json(&dir.join(ATTACHED_FILE), contents.attached.as_deref()).await {
        // A backup of an older version has none, which is as good as an empty one.
        Err(e) if e.kind == ErrorKind::NotFound && contents.attached.is_none() => Attached::default(),
        read => read?,
    };
    check_files(dir, &contents.tables).await?;
    Ok((schema, attached, contents))
}

/// What the backup in `dir` holds.
pub(super) async fn read_contents(dir: &Path) -> Result<(Schema, Contents)> {
    Ok((read_json(&dir.join(SCHEMA_FILE), None).await?, read_json(&dir.join(ROWS_FILE), None).await?))
}

/// Brings the backup's objects back, or those named in `only`: same-named objects are dropped first, rows loaded, indexes and the rest made, and
/// every table's fingerprint compared with the backup's before it is committed. What others put under one of these names meanwhile is saved by `keeper`
/// first; without one it goes. All of the backup is read and checked before anything is dropped. Repeatable.
pub async fn restore(
    database: &Arc<dyn Database>,
    dir: &Path,
    only: Option<&BTreeSet<ObjectName>>,
    keeper: Option<&dyn TableKeeper>,
    observer: &dyn Observer,
    stop: &CancellationToken,
) -> Result<DatabaseRestored> {
    let (mut schema, mut attached, mut contents) = read_checked(dir, None).await?;
    if let Some(names) = only {
        let objects = &schema.objects;
        contents.tables.retain(|t| super::is_among(&t.name, names, objects));
        schema.tables.retain(|t| super::is_among(&t.name, names, objects));
        schema.objects.retain(|o| names.contains(&o.name) || o.table.as_ref().is_some_and(|t| names.contains(t)));
        attached.ownership.retain(|o| o.table.as_ref().is_none_or(|t| names.contains(t)));
    }
    let there = described_tables(database).await?;
    let target = database.write().await?;
    let outcome = async {
        let mut differing = load(&schema, &attached, &contents, (dir, &there, keeper), target.as_ref(), observer, stop).await?;
        target.enable(&schema).await?;
        differing.extend(compare(database, &schema, &attached).await?);
        Ok(differing)
    };
    let outcome: Result<Vec<String>> = outcome.await;
    let closed = target.close().await;
    let differing = outcome?;
    closed?;
    for what in &differing {
        observer.log(Level::Warning, "rollback", format!("Not as it was: {what}"), json!({}));
    }
    let rows = contents.tables.iter().map(|t| t.rows).sum();
    Ok(DatabaseRestored { tables: contents.tables.len() as u64, rows, proven: true, differing })
}

/// Gives what could not be made again and does not belong to the saved rows.
async fn load(
    schema: &Schema,
    attached: &Attached,
    contents: &Contents,
    (dir, there, keeper): (&Path, &[Table], Option<&dyn TableKeeper>),
    target: &dyn RowTarget,
    observer: &dyn Observer,
    stop: &CancellationToken,
) -> Result<Vec<String>> {
    if target.format() != contents.format {
        return Err(ConnectorError::new(ErrorKind::Unsupported, "restore", dir.display().to_string(), "the backup is of another database engine").permanent());
    }
    target.prepare(schema).await?;
    for object in schema.objects.iter().rev() {
        if !matches!(
            object.kind,
            ObjectKind::Index | ObjectKind::ForeignKey | ObjectKind::Constraint | ObjectKind::Property | ObjectKind::Schema | ObjectKind::Extension
        ) {
            match there.iter().find(|t| object.kind == ObjectKind::Table && t.name == object.name) {
                // An earlier try of ours, or somebody's.
                Some(there) => {
                    let saved = contents.tables.iter().filter(|t| t.name == object.name).map(|t| t.fingerprint.clone()).collect();
                    let ours = schema.tables.iter().find(|t| t.name == object.name).map(|t| (t, vec![(KeyRange::default(), saved)]));
                    drop_table(Doomed { object, there, ours }, target, keeper).await?;
                }
                None => target.remove(object).await?,
            }
        }
    }
    let mut refused = create(schema, Phase::BeforeRows, target).await?;
    for (table, saved) in schema.tables.iter().zip(&contents.tables) {
        if stop.is_cancelled() {
            return Err(ConnectorError::stopped("restore", dir.display().to_string()));
        }
        let rows = fill(table, saved, dir, target, keeper).await?;
        observer.meter().finished(rows);
        observer.log(Level::Info, "rollback", format!("Restored table {} ({rows} rows)", table.name), json!({}));
    }
    for phase in [Phase::Keys, Phase::AfterRows, Phase::AtTheEnd] {
        refused.extend(create(schema, phase, target).await?);
    }
    target.finish(schema).await?;
    for object in attached.severed.iter().chain(&attached.ownership) {
        refused.extend(create_optional(object, target).await?);
    }
    Ok(refused)
}

/// Puts the saved rows into a table that was just made, and proves them. Rows that somebody was quicker with are saved first.
async fn fill(table: &Table, saved: &SavedTable, dir: &Path, target: &dyn RowTarget, keeper: Option<&dyn TableKeeper>) -> Result<u64> {
    let (mut ours, whole) = (vec![saved.fingerprint.clone()], KeyRange::default());
    for _ in 0..CONFLICTS {
        match (target.replace_if(table, &whole, &ours, Some(&saved.fingerprint), blocks(dir.join(&saved.file))).await, keeper) {
            (Err(e), Some(keeper)) if e.kind == ErrorKind::AlreadyExists => {
                keeper.keep(&table.name).await?;
                ours.extend(keeper.kept(&table.name).await?);
            }
            (outcome, _) => return outcome,
        }
    }
    Err(restless(table))
}

/// The tables of a database as it describes them; none where there is no such database.
async fn described_tables(database: &Arc<dyn Database>) -> Result<Vec<Table>> {
    let view = match database.read(View::Destination { connections: 1 }).await {
        Err(e) if e.kind == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let schema = view.schema().await;
    view.close().await?;
    Ok(schema?.tables)
}

/// A refused table or key is an error. What is only said about objects is told instead: the rows are back all the same.
async fn create(schema: &Schema, phase: Phase, target: &dyn RowTarget) -> Result<Vec<String>> {
    let mut refused = Vec::new();
    for object in schema.objects.iter().filter(|o| o.phase == phase) {
        if object.kind == ObjectKind::Property {
            refused.extend(create_optional(object, target).await?);
        } else if let Applied::Refused(reason) = target.create(object).await? {
            let what = super::super::prepare::describe(object);
            return Err(ConnectorError::new(ErrorKind::Unsupported, "restore", what, reason).permanent());
        }
    }
    Ok(refused)
}

async fn create_optional(object: &SchemaObject, target: &dyn RowTarget) -> Result<Option<String>> {
    Ok(match target.create(object).await? {
        Applied::AsIs => None,
        Applied::Adapted(change) | Applied::Refused(change) => Some(format!("{}: {change}", super::super::prepare::describe(object))),
    })
}

/// The objects whose description is another one than the saved.
async fn compare(database: &Arc<dyn Database>, schema: &Schema, attached: &Attached) -> Result<Vec<String>> {
    let names: Vec<ObjectName> = schema.objects.iter().map(|o| o.name.clone()).collect();
    let view = database.read(View::Destination { connections: 1 }).await?;
    let (now, attached_now) = super::described(view.as_ref(), Some(&names)).await?;
    view.close().await?;
    let wanted = schema.objects.iter().chain(&attached.severed).chain(&attached.ownership);
    let found: Vec<&SchemaObject> = now.objects.iter().chain(&attached_now.severed).chain(&attached_now.ownership).collect();
    Ok(wanted.filter(|o| !found.contains(o)).map(|o| format!("{} reads differently from what was saved", super::super::prepare::describe(o))).collect())
}

/// Reads every file and compares size and hash with the contents list.
async fn check_files(dir: &Path, tables: &[SavedTable]) -> Result<()> {
    let (dir, tables) = (dir.to_owned(), tables.to_vec());
    let checked = tokio::task::spawn_blocking(move || tables.iter().try_for_each(|t| check_file(&dir.join(&t.file), t))).await;
    checked.map_err(|e| ConnectorError::new(ErrorKind::Internal, "read back", "the backup", e.to_string()))?
}

fn check_file(path: &Path, saved: &SavedTable) -> Result<()> {
    let mut hasher = blake3::Hasher::new();
    let file = std::fs::File::open(path).map_err(|e| io_error("read back", path, e))?;
    hasher.update_reader(file).map_err(|e| io_error("read back", path, e))?;
    if hasher.finalize().to_hex().as_str() != saved.blake3 {
        let reason = format!("the saved rows of {} are damaged: their hash is not the recorded one", saved.name);
        return Err(ConnectorError::new(ErrorKind::Corrupt, "read back", path.display().to_string(), reason).permanent());
    }
    Ok(())
}

/// The blocks of one saved table, read by a thread of their own through a bounded channel.
fn blocks(path: PathBuf) -> BoxStream<'static, Result<RowBlock>> {
    let (send, receive) = tokio::sync::mpsc::channel::<Result<RowBlock>>(4);
    tokio::task::spawn_blocking(move || {
        let outcome = read_blocks(&path, |block| send.blocking_send(Ok(block)).is_ok());
        if let Err(e) = outcome {
            // The reader is gone when this fails: then nobody is left to tell.
            let _ = send.blocking_send(Err(io_error("read", &path, e)));
        }
    });
    futures::stream::unfold(receive, |mut r| async move { r.recv().await.map(|block| (block, r)) }).boxed()
}

fn read_blocks(path: &Path, mut take: impl FnMut(RowBlock) -> bool) -> std::io::Result<()> {
    let mut input = zstd::Decoder::new(std::fs::File::open(path)?)?;
    let mut head = [0u8; 12];
    loop {
        match input.read(&mut head[..1])? {
            0 => return Ok(()),
            _ => input.read_exact(&mut head[1..])?,
        }
        let rows = u64::from_le_bytes(head[..8].try_into().unwrap_or_default());
        let length = u32::from_le_bytes(head[8..].try_into().unwrap_or_default());
        let mut data = vec![0; length as usize];
        input.read_exact(&mut data)?;
        if !take(RowBlock { rows, data: Bytes::from(data) }) {
            return Ok(());
        }
    }
}

/// `blake3`: of the file, where it was recorded.
async fn read_json<T: serde::de::DeserializeOwned>(path: &Path, blake3: Option<&str>) -> Result<T> {
    let text = tokio::fs::read(path).await.map_err(|e| io_error("read", path, e))?;
    if blake3.is_some_and(|recorded| recorded != blake3::hash(&text).to_hex().as_str()) {
        let reason = "it is damaged: its hash is not the recorded one";
        return Err(ConnectorError::new(ErrorKind::Corrupt, "read", path.display().to_string(), reason).permanent());
    }
    serde_json::from_slice(&text).map_err(|e| ConnectorError::new(ErrorKind::Corrupt, "read", path.display().to_string(), e.to_string()).permanent().because(e))
}
