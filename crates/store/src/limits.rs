//! Permits of buckets that servers share. Only PostgreSQL has several servers.

use crate::Store;
use crate::records::failed;
use crate::sql::params;
use crate::writer::Pool;
use engine::EngineError;
use ports::records::{Permits, RecordsError};

/// The bucket's moment moves on by what is granted, as far as there is room. `statement_timestamp` is the same everywhere in a statement.
const TAKE: &str = "WITH clock (now) AS (SELECT (extract(epoch from statement_timestamp()) * 1000000)::bigint) \
    INSERT INTO bucket (key, arrival, granted) SELECT $1, now + LEAST($2::bigint, $4::bigint) * $3::bigint, LEAST($2::bigint, $4::bigint) FROM clock \
    ON CONFLICT (key) DO UPDATE SET \
      granted = LEAST($2::bigint, GREATEST(0, ($4::bigint * $3::bigint - GREATEST(bucket.arrival - (SELECT now FROM clock), 0)) / $3::bigint)), \
      arrival = GREATEST(bucket.arrival, (SELECT now FROM clock)) \
        + $3::bigint * LEAST($2::bigint, GREATEST(0, ($4::bigint * $3::bigint - GREATEST(bucket.arrival - (SELECT now FROM clock), 0)) / $3::bigint)) \
    RETURNING granted, GREATEST(arrival - (SELECT now FROM clock), 0)";

impl Store {
    pub(crate) async fn take_from_bucket(&self, key: &str, count: u32, interval: i64, burst: u32) -> Result<Option<Permits>, RecordsError> {
        let Pool::Postgres(_) = self.write else { return Ok(None) };
        let mut conn = self.write.take().await.map_err(failed)?;
        let row = conn.row(TAKE, params![key, count, interval, burst]).await.map_err(failed)?;
        let row = row.ok_or_else(|| failed(EngineError::Internal("a bucket gave no answer".to_owned())))?;
        let granted = u32::try_from(row.count(0).map_err(failed)?).unwrap_or(0);
        Ok(Some(Permits { granted, ahead: row.int(1).map_err(failed)? }))
    }
}
