//! Looking after an open store: is it ready, what is in it, and what may go.

use crate::Store;
use crate::reach::Reach;
use crate::records::failed;
use crate::sql::{Conn, Row, params};
use crate::writer::Pool;
use engine::EngineError;
use jiff::Timestamp;
use ports::records::upkeep::{Census, STEP_BOUNDS, StepTimes};
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
    let runs = conn.rows("SELECT state, count(*) FROM run GROUP BY state ORDER BY state", params![]).await?;
    let waiting = "SELECT kind, count(*), CAST(SUM(CASE WHEN due_at <= {now} THEN 1 ELSE 0 END) AS BIGINT) FROM record WHERE due_at IS NOT NULL GROUP BY kind ORDER BY kind";
    let waiting = conn.rows(waiting, params![]).await?;
    let untold = conn.row("SELECT count(*) FROM outbox", params![]).await?;
    let bytes = conn.row("SELECT CAST(COALESCE(SUM(bytes_done), 0) AS BIGINT) FROM ledger", params![]).await?;
    Ok(Census {
        runs: runs.iter().map(pair).collect::<Result<_, EngineError>>()?,
        waiting: waiting.iter().map(|r| Ok((r.text(0)?, r.count(1)?, r.count(2)?))).collect::<Result<_, EngineError>>()?,
        untold: untold.map_or(Ok(0), |r| r.count(0))?,
        steps: steps(conn).await?,
        bytes_moved: bytes.map_or(Ok(0), |r| r.count(0))?,
        set_aside: crate::set_aside::count(conn).await?,
        renewals: 0,
    })
}

async fn steps(conn: &mut Conn) -> Result<Vec<StepTimes>, EngineError> {
    let within = |bound: &u32| format!(", CAST(SUM(CASE WHEN ended_at - started_at <= {} THEN 1 ELSE 0 END) AS BIGINT)", u64::from(*bound) * 1_000_000);
    let classes: String = STEP_BOUNDS.iter().map(within).collect();
    let sql = format!(
        "SELECT name, count(*), CAST(SUM(ended_at - started_at) AS BIGINT){classes} FROM step WHERE state = 'done' AND ended_at IS NOT NULL AND started_at IS NOT NULL GROUP BY name ORDER BY name"
    );
    let times = |row: &Row| {
        let mut within = [0; STEP_BOUNDS.len()];
        for (i, class) in within.iter_mut().enumerate() {
            *class = row.count(3 + i)?;
        }
        Ok(StepTimes { name: row.text(0)?, count: row.count(1)?, microseconds: row.count(2)?, within })
    };
    conn.rows(&sql, params![]).await?.iter().map(times).collect()
}
