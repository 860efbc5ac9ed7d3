//! Group commit: writes that wait at the same moment share one transaction and one sync of the disk.
//!
//! Each write is a job of its own to its caller: it fails alone (savepoint), and is answered only after the commit. SQLite has one writer;
//! PostgreSQL has several, and every run always meets the same one, so that the writes of a run never wait for each other's row locks.

use crate::embedded;
use crate::reach::{self, Reach};
use crate::sql::Conn;
use engine::EngineError;
use sqlx::PgPool;
use std::fs::File;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// Most jobs of one transaction.
const BATCH: usize = 128;
/// Jobs that may wait; more callers wait for a place.
const QUEUE: usize = 1024;
/// A transaction that takes longer is given up, and its connection thrown away.
const PATIENCE: Duration = Duration::from_mins(1);

/// A future of a job, bound to its connection.
pub type Doing<'c, T> = Pin<Box<dyn Future<Output = Result<T, EngineError>> + Send + 'c>>;

#[async_trait::async_trait]
trait Job: Send {
    /// Which run it writes; jobs of several runs share a transaction only on SQLite.
    fn key(&self) -> &str;
    fn reach(&self) -> &Reach;
    /// True when its changes are to stay.
    async fn apply(&mut self, conn: &mut Conn) -> bool;
    /// Tells the caller, after the end of the transaction.
    fn answer(self: Box<Self>, committed: Result<(), EngineError>);
}

struct Work<T, F> {
    key: String,
    reach: Reach,
    act: Option<F>,
    result: Option<Result<T, EngineError>>,
    reply: oneshot::Sender<Result<T, EngineError>>,
}

#[async_trait::async_trait]
impl<T: Send, F: for<'c> FnOnce(&'c mut Conn) -> Doing<'c, T> + Send> Job for Work<T, F> {
    fn key(&self) -> &str {
        &self.key
    }

    fn reach(&self) -> &Reach {
        &self.reach
    }

    async fn apply(&mut self, conn: &mut Conn) -> bool {
        let Some(act) = self.act.take() else { return false };
        let result = act(conn).await;
        let keep = result.is_ok();
        self.result = Some(result);
        keep
    }

    fn answer(self: Box<Self>, committed: Result<(), EngineError>) {
        let not_run = || Err(EngineError::Unavailable("the write was not tried".to_owned()));
        let answer = match (self.result, committed) {
            (Some(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => not_run(),
        };
        // A caller that went away does not need the answer; what is committed stays.
        let _gone = self.reply.send(answer);
    }
}

/// Where writers get their connections.
#[derive(Clone)]
pub enum Pool {
    Sqlite(embedded::Pool),
    Postgres(PgPool),
}

impl Pool {
    pub async fn take(&self) -> Result<Conn, EngineError> {
        match self {
            Self::Sqlite(pool) => pool.take().await.map(Conn::from),
            Self::Postgres(pool) => pool.acquire().await.map(Conn::from).map_err(crate::sql::failed),
        }
    }

    pub async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close(),
            Self::Postgres(pool) => pool.close().await,
        }
    }

    /// Begins a transaction that writes. PostgreSQL refuses it from a program that knows another schema; an embedded database has one program.
    fn begin(&self) -> String {
        match self {
            Self::Sqlite(_) => "BEGIN IMMEDIATE".to_owned(),
            Self::Postgres(_) => format!("BEGIN; SELECT migration_assistant_schema({})", crate::schema::CURRENT),
        }
    }

    /// Whether jobs of several runs may share a transaction. Not where row locks could meet in two orders.
    fn mixes(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }
}

/// The writers' common door.
pub struct Writers {
    queues: Vec<mpsc::Sender<Box<dyn Job>>>,
    tasks: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

impl Writers {
    /// `lock` is held until the last writer has ended.
    pub fn start(pool: &Pool, count: usize, changed: &watch::Sender<u64>, lock: Option<File>) -> Self {
        let lock = lock.map(Arc::new);
        let mut queues = Vec::new();
        let mut tasks = Vec::new();
        for _ in 0..count {
            let (queue, jobs) = mpsc::channel(QUEUE);
            queues.push(queue);
            tasks.push(tokio::spawn(work(pool.clone(), jobs, changed.clone(), lock.clone())));
        }
        Self { queues, tasks: std::sync::Mutex::new(tasks) }
    }

    /// Does `act` in a transaction that reaches `reach`, and waits for its commit. `key` is the run.
    pub async fn write<T, F>(&self, key: &str, reach: Reach, act: F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Conn) -> Doing<'c, T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Work { key: key.to_owned(), reach, act: Some(act), result: None, reply };
        let hash = blake3::hash(key.as_bytes());
        let queue = &self.queues[usize::from(hash.as_bytes()[0]) % self.queues.len()];
        let closed = || EngineError::Unavailable("the store is closed".to_owned());
        queue.send(Box::new(job)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Ends the writers after what is queued.
    pub async fn close(self) {
        drop(self.queues);
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for task in tasks {
            let _ended = task.await;
        }
    }
}

async fn work(pool: Pool, mut jobs: mpsc::Receiver<Box<dyn Job>>, changed: watch::Sender<u64>, _lock: Option<Arc<File>>) {
    let mut held: Option<Box<dyn Job>> = None;
    loop {
        let first = match held.take() {
            Some(job) => job,
            None => match jobs.recv().await {
                Some(job) => job,
                None => return,
            },
        };
        let mut batch = vec![first];
        while batch.len() < BATCH {
            match jobs.try_recv() {
                Ok(job) if pool.mixes() || job.key() == batch[0].key() => batch.push(job),
                Ok(job) => {
                    held = Some(job);
                    break;
                }
                Err(_) => break,
            }
        }
        let (batch, committed) = commit(&pool, batch, &changed).await;
        for job in batch {
            job.answer(clone(&committed));
        }
    }
}

/// Commits the jobs where that may take its time: an embedded database syncs the disk on the thread that calls it.
async fn commit(pool: &Pool, mut batch: Vec<Box<dyn Job>>, changed: &watch::Sender<u64>) -> (Vec<Box<dyn Job>>, Result<(), EngineError>) {
    if let Pool::Postgres(_) = pool {
        let committed = commit_here(pool, &mut batch, changed).await;
        return (batch, committed);
    }
    let (pool, changed) = (pool.clone(), changed.clone());
    let done = crate::blocking(async move {
        let committed = commit_here(&pool, &mut batch, &changed).await;
        (batch, committed)
    });
    // Jobs that went down with their thread tell their callers by being gone.
    done.await.unwrap_or_else(|error| (Vec::new(), Err(error)))
}

/// One transaction for all jobs. A job that fails leaves nothing; the others stay.
async fn commit_here(pool: &Pool, batch: &mut [Box<dyn Job>], changed: &watch::Sender<u64>) -> Result<(), EngineError> {
    let mut conn = pool.take().await?;
    let done = tokio::time::timeout(PATIENCE, transaction(&mut conn, &pool.begin(), batch)).await;
    match done {
        Ok(Ok(())) => {
            if conn.told {
                changed.send_modify(|n| *n += 1);
            }
            Ok(())
        }
        Ok(Err(error)) => {
            conn.discard();
            Err(error)
        }
        Err(_) => {
            conn.discard();
            Err(EngineError::Unavailable(format!("the database did not finish a write within {} s", PATIENCE.as_secs())))
        }
    }
}

async fn transaction(conn: &mut Conn, begin: &str, batch: &mut [Box<dyn Job>]) -> Result<(), EngineError> {
    let Some(first) = batch.first() else { return Ok(()) };
    conn.begin(begin, first.reach()).await?;
    let shared = batch.len() > 1;
    let mut kept = 0;
    for job in batch.iter_mut() {
        if shared {
            conn.script("SAVEPOINT job").await?;
        }
        reach::move_on(conn, job.reach()).await?;
        let keep = job.apply(conn).await;
        kept += usize::from(keep);
        match (shared, keep) {
            (true, true) => conn.script("RELEASE SAVEPOINT job").await?,
            (true, false) => {
                conn.script("ROLLBACK TO SAVEPOINT job; RELEASE SAVEPOINT job").await?;
                // The setting went back, too.
                conn.reach = None;
            }
            (false, _) => {}
        }
    }
    conn.script(if kept > 0 { "COMMIT" } else { "ROLLBACK" }).await
}

/// Errors are told to every job of a transaction.
fn clone(committed: &Result<(), EngineError>) -> Result<(), EngineError> {
    match committed {
        Ok(()) => Ok(()),
        Err(EngineError::Unavailable(reason)) => Err(EngineError::Unavailable(reason.clone())),
        Err(other) => Err(EngineError::Internal(other.to_string())),
    }
}
