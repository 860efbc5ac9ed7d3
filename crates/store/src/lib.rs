//! Where runs and records are stored: SQLite (embedded) and PostgreSQL (several machines), behind the engine's [`engine::Journal`] and
//! [`ports::records::Records`].
//!
//! ```text
//! open ─► sqlite | postgres ─► schema up to date ─► Store: writers (group commit) + readers (pool)
//! ```
//! The statements are written once, in `journal`; what differs between the databases is in `sql`.

mod analytics;
mod audit;
mod embedded;
mod journal;
mod keys;
mod limits;
mod maintenance;
mod maintenance_check;
mod maintenance_copy;
mod maintenance_keys;
mod once;
mod postgres;
mod reach;
mod records;
mod schema;
mod set_aside;
mod sql;
mod sqlite;
mod writer;

pub use maintenance_check::{Checked, check, sqlite_file};
pub use maintenance_copy::{backup, restore};
pub use maintenance_keys::Rotated;

use engine::EngineError;
use keys::Keyring;
use ports::records::audit::Owed;
use reach::Reach;
use sql::Conn;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use writer::{Doing, Pool, Writers};

/// Writers of one process on PostgreSQL.
const POSTGRES_WRITERS: usize = 4;

/// An open store. Made by [`open`] or [`Store::open`].
pub struct Store {
    writers: Writers,
    write: Pool,
    read: Pool,
    keys: Arc<Keyring>,
    changed: watch::Sender<u64>,
    listener: Option<JoinHandle<()>>,
    /// Leases renewed by this process.
    renewals: AtomicU64,
    /// The name of this process's node, once it is known.
    node: OnceLock<String>,
}

/// Opens a store and brings its schema up to date. `url` is `sqlite:PATH`, `sqlite:` (the file `migration-assistant.db` in `data_dir`) or
/// `postgres://…`. `data_dir` holds the key file; it is made when missing.
///
/// A newer schema, a key file that others may read, and a SQLite database that another process holds are refused, each with what to do.
/// Leases of a SQLite database are cleared: whoever held them is gone, so that work goes on at once.
pub async fn open(url: &str, data_dir: &Path) -> Result<Arc<Store>, EngineError> {
    Ok(Arc::new(Store::open(url, data_dir).await?))
}

impl Store {
    /// As [`open`], with the store's own type.
    pub async fn open(url: &str, data_dir: &Path) -> Result<Self, EngineError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
        made.map_err(|e| EngineError::Unavailable(format!("could not make the data directory {}: {e}", data_dir.display())))?;
        let changed = watch::Sender::new(0);
        if let Some(rest) = url.strip_prefix("sqlite:") {
            let opened = sqlite::open(&sqlite::path_of(rest, data_dir)).await?;
            let keys = Arc::new(Keyring::open(data_dir)?);
            let writers = Writers::start(&opened.write, 1, &changed, Some(opened.lock));
            return Ok(Self {
                writers,
                write: opened.write,
                read: opened.read,
                keys,
                changed,
                listener: None,
                renewals: AtomicU64::new(0),
                node: OnceLock::new(),
            });
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let pool = postgres::open(url).await?;
            let keys = Arc::new(Keyring::open(data_dir)?);
            let writers = Writers::start(&pool, POSTGRES_WRITERS, &changed, None);
            let listener = postgres::listen(&pool, changed.clone());
            return Ok(Self { writers, write: pool.clone(), read: pool, keys, changed, listener, renewals: AtomicU64::new(0), node: OnceLock::new() });
        }
        let scheme = url.split(':').next().unwrap_or_default();
        Err(EngineError::Invalid(format!("the database address begins with '{scheme}:'; it must begin with sqlite: or postgres://")))
    }

    /// Finishes what is queued, and closes the database.
    pub async fn close(self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
        self.writers.close().await;
        self.read.close().await;
        self.write.close().await;
    }

    /// Writes in a transaction of its own, or of a group; the audit entry of the attempt and the mark of the request that it is part of come
    /// along. `run` is what is written: a run's id, or a record's.
    async fn commit<T, F>(&self, run: &str, reach: Reach, act: F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Conn) -> Doing<'c, T> + Send + 'static,
    {
        let owed = ports::records::audit::owed();
        let entry = owed.as_ref().map(|o| o.entry().clone());
        let marking = ports::records::once::owed();
        let mark = marking.as_ref().map(|m| (m.mark().clone(), run.to_owned()));
        let answer = self.writers.write(run, reach, move |conn| {
            Box::pin(async move {
                let done = act(&mut *conn).await?;
                if let Some(entry) = entry {
                    audit::append(conn, &entry).await?;
                }
                if let Some((mark, made)) = mark {
                    once::append(conn, &mark, &made).await?;
                }
                Ok(done)
            })
        });
        let answer = answer.await;
        if answer.is_ok() {
            owed.into_iter().for_each(Owed::kept);
            marking.into_iter().for_each(ports::records::once::Owed::kept);
        }
        answer
    }

    /// As [`Store::read`], for what may take long: an embedded database reads on a thread that may block.
    async fn read_much<T, F>(&self, reach: Reach, act: F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Conn) -> Doing<'c, T> + Send + 'static,
    {
        let pool = self.read.clone();
        match pool {
            Pool::Sqlite(_) => blocking(async move { read(&pool, &reach, act).await }).await?,
            Pool::Postgres(_) => read(&pool, &reach, act).await,
        }
    }

    /// Reads a few rows in one consistent view of the database.
    async fn read<T, F>(&self, reach: Reach, act: F) -> Result<T, EngineError>
    where
        F: for<'c> FnOnce(&'c mut Conn) -> Doing<'c, T> + Send,
    {
        read(&self.read, &reach, act).await
    }
}

async fn read<T, F>(pool: &Pool, reach: &Reach, act: F) -> Result<T, EngineError>
where
    F: for<'c> FnOnce(&'c mut Conn) -> Doing<'c, T> + Send,
{
    let mut reading = Reading(Some(pool.take().await?));
    let Some(conn) = reading.0.as_mut() else { return Err(EngineError::Internal("a connection got lost".to_owned())) };
    let begin = if conn.is_postgres() { "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" } else { "BEGIN" };
    conn.begin(begin, reach).await?;
    let result = act(conn).await;
    conn.script("ROLLBACK").await?;
    drop(reading.0.take());
    result
}

/// Drives `work`, which blocks instead of waiting, on a thread for that.
async fn blocking<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, EngineError> {
    let runtime = tokio::runtime::Handle::current();
    let done = tokio::task::spawn_blocking(move || runtime.block_on(work));
    done.await.map_err(|e| EngineError::Internal(format!("a thread of the database ended: {e}")))
}

/// A connection inside a transaction: given back only after its end, thrown away when the reader went away before.
struct Reading(Option<Conn>);

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(conn) = self.0.take() {
            conn.discard();
        }
    }
}
