//! Looking after an open store: is it ready, what is in it, and what may go.

use crate::Store;
use crate::reach::Reach;
use crate::records::failed;
use crate::sql::{Conn, Row, params};
use crate::writer::Pool;
use engine::EngineError;
use jiff::Timestamp;
use ports::records::upkeep::{Census, FinishedRun, STEP_BOUNDS, StepTimes};
use ports::records::{RecordsError, SetAside, Upkeep};

#[async_trait::async_trait]
impl Upkeep for Store {
    async fn ready(&self) -> Result<(), RecordsError> {
        let version = self.read(Reach::All, |conn| crate::schema::version(conn)).await.map_err(failed)?;
        if version == crate::schema::CURRENT {
            return Ok(());
        }
        Err(RecordsError::Unavailable(format!("the database has schema version {version}, this program needs {}", crate::schema::CURRENT)))
    }

    async fn census(&self) -> Result<Census, RecordsError> {
        let renewals = self.renewals.load(std::sync::atomic::Ordering::Relaxed);
        let read = self.read_much(Reach::All, |conn| Box::pin(census(conn)));
        Ok(Census { renewals, ..read.await.map_err(failed)? })
    }

    async fn now(&self) -> Result<Timestamp, RecordsError> {
        // An embedded database has the clock of its process.
        let Pool::Postgres(_) = self.read else { return Ok(Timestamp::now()) };
        let read = self.read(Reach::All, |conn| {
            Box::pin(async move {
                let row = conn.row("SELECT {now}", params![]).await?;
                crate::records::time(row.map_or(Ok(0), |row| row.int(0))?)
            })
        });
        read.await.map_err(failed)
    }

    async fn finished_before(&self, at: Timestamp, after: Option<(Timestamp, String)>, limit: u32) -> Result<Vec<FinishedRun>, RecordsError> {
        let sql = "SELECT tenant, id, ended_at FROM run WHERE state IN ('completed', 'rolled_back') AND ended_at < $1 AND (ended_at, id) > ($2, $3) \
                   ORDER BY ended_at, id LIMIT $4";
        let (from, id) = after.map_or((i64::MIN, String::new()), |(at, id)| (at.as_microsecond(), id));
        let values = params![at.as_microsecond(), from, id, limit];
        let finished = |row: &Row| Ok(FinishedRun { tenant: row.text(0)?, id: row.text(1)?, ended_at: crate::records::time(row.int(2)?)? });
        let read = self.read_much(Reach::All, move |conn| Box::pin(async move { conn.rows(sql, values).await?.iter().map(finished).collect() }));
        read.await.map_err(failed)
    }

    async fn opens_secrets(&self) -> Result<bool, RecordsError> {
        let sql = "SELECT tenant, id, input FROM run ORDER BY created_at DESC LIMIT 20";
        let read = self.read(Reach::All, move |conn| {
            Box::pin(async move {
                let rows = conn.rows(sql, params![]).await?;
                rows.iter().map(|row| Ok((row.text(0)?, row.text(1)?, row.blob(2)?))).collect::<Result<Vec<_>, EngineError>>()
            })
        });
        let sealed = read.await.map_err(failed)?;
        Ok(sealed.is_empty() || sealed.iter().any(|(tenant, id, input)| self.keys.unseal(tenant, id, input).is_ok()))
    }

    async fn set_aside(&self, kind: &str, tenant: &str, id: &str, reason: &str) -> Result<(), RecordsError> {
        self.put_aside(kind, tenant, id, reason).await
    }

    async fn everything_set_aside(&self) -> Result<Vec<SetAside>, RecordsError> {
        self.read(Reach::All, |conn| Box::pin(crate::set_aside::all(conn))).await.map_err(failed)
    }

    async fn oldest_progress(&self, since: Timestamp) -> Result<Option<Timestamp>, RecordsError> {
        let sql = "SELECT min(at) FROM event WHERE kind = 'progress' AND at >= $1";
        let read = self.read(Reach::All, move |conn| {
            Box::pin(async move {
                let row = conn.row(sql, params![since.as_microsecond()]).await?;
                row.map(|r| r.maybe_int(0)).transpose()?.flatten().map(crate::records::time).transpose()
            })
        });
        read.await.map_err(failed)
    }

    async fn thin(&self, from: Timestamp, until: Timestamp, limit: u32) -> Result<u64, RecordsError> {
        // The run and its number order the deletes, so that two servers never wait for each other's rows in two orders.
        let sql = "DELETE FROM event WHERE (run, seq) IN (SELECT run, seq FROM (\
                   SELECT run, seq, row_number() OVER (PARTITION BY run, at / 60000000 ORDER BY seq DESC) AS place \
                   FROM event WHERE kind = 'progress' AND at >= $1 AND at < $2) AS placed \
                   WHERE place > 1 AND (run, seq) NOT IN (SELECT run, seq FROM outbox) ORDER BY run, seq LIMIT $3)";
        let values = params![from.as_microsecond(), until.as_microsecond(), limit];
        let written = self.writers.write("upkeep", Reach::All, move |conn| Box::pin(async move { conn.run(sql, values).await }));
        written.await.map_err(failed)
    }
}

async fn census(conn: &mut Conn) -> Result<Census, EngineError> {
    let pair = |row: &Row| Ok((row.text(0)?, row.count(1)?));
    let counted = "SELECT state, count(*), CAST(SUM(bytes_moved) AS BIGINT) FROM run GROUP BY state ORDER BY state";
    let runs = conn.rows(counted, params![]).await?;
    // Deliveries that are over wait for nothing but being forgotten; those that are not wait in their lanes.
    let waiting = "SELECT kind, count(*), CAST(SUM(CASE WHEN due_at <= {now} THEN 1 ELSE 0 END) AS BIGINT) FROM record \
                   WHERE due_at IS NOT NULL AND kind <> 'delivery' GROUP BY kind ORDER BY kind";
    let waiting = conn.rows(waiting, params![]).await?;
    let untold = conn.row("SELECT count(*) FROM outbox", params![]).await?;
    let moving =
        "SELECT CAST(COALESCE(SUM(l.bytes_done), 0) AS BIGINT) FROM run r JOIN ledger l ON l.run = r.id WHERE r.state IN ('running', 'rolling_back', 'paused')";
    let moving = conn.row(moving, params![]).await?.map_or(Ok(0), |r| r.count(0))?;
    let moved = runs.iter().map(|r| r.count(2)).sum::<Result<u64, EngineError>>()?;
    Ok(Census {
        runs: runs.iter().map(pair).collect::<Result<_, EngineError>>()?,
        waiting: waiting.iter().map(|r| Ok((r.text(0)?, r.count(1)?, r.count(2)?))).collect::<Result<_, EngineError>>()?,
        untold: untold.map_or(Ok(0), |r| r.count(0))?,
        steps: steps(conn).await?,
        bytes_moved: moved + moving,
        set_aside: crate::set_aside::count(conn).await?,
        renewals: 0,
    })
}

/// The columns of [`STEP_BOUNDS`].
fn classes() -> impl Iterator<Item = String> {
    STEP_BOUNDS.iter().map(|bound| format!("within_{bound}"))
}

async fn steps(conn: &mut Conn) -> Result<Vec<StepTimes>, EngineError> {
    let columns = ["count", "microseconds"].into_iter().map(str::to_owned).chain(classes());
    let sums: Vec<String> = columns.map(|column| format!("CAST(SUM({column}) AS BIGINT)")).collect();
    let sql = format!("SELECT name, {} FROM step_time GROUP BY name ORDER BY name", sums.join(", "));
    let times = |row: &Row| {
        let mut within = [0; STEP_BOUNDS.len()];
        for (i, class) in within.iter_mut().enumerate() {
            *class = row.count(3 + i)?;
        }
        Ok(StepTimes { name: row.text(0)?, count: row.count(1)?, microseconds: row.count(2)?, within })
    };
    conn.rows(&sql, params![]).await?.iter().map(times).collect()
}

/// Adds up how long a step took that is done now.
pub(crate) async fn add_step_time(conn: &mut Conn, run: &str, index: u32) -> Result<(), EngineError> {
    /// So many rows of one name: writers of several runs seldom meet in one.
    const PARTS: u8 = 16;
    let part = u64::from(blake3::hash(run.as_bytes()).as_bytes()[1] % PARTS);
    let columns: Vec<String> = classes().collect();
    let within: Vec<String> =
        STEP_BOUNDS.iter().map(|b| format!("CASE WHEN ended_at - started_at <= {} THEN 1 ELSE 0 END", u64::from(*b) * 1_000_000)).collect();
    let added: Vec<String> = columns.iter().map(|c| format!("{c} = step_time.{c} + excluded.{c}")).collect();
    let sql = format!(
        "INSERT INTO step_time (name, part, count, microseconds, {}) SELECT name, CAST($3 AS BIGINT), 1, ended_at - started_at, {} \
         FROM step WHERE run = $1 AND idx = $2 AND started_at IS NOT NULL AND ended_at IS NOT NULL \
         ON CONFLICT (name, part) DO UPDATE SET count = step_time.count + 1, microseconds = step_time.microseconds + excluded.microseconds, {}",
        columns.join(", "),
        within.join(", "),
        added.join(", ")
    );
    conn.run(&sql, params![run, index, part]).await.map(drop)
}
