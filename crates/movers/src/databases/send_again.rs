//! A range that verification found to differ is sent once more, where the source still has what was to arrive.

use super::chunk::{self, RangeSpec};
use super::copy::replace_range;
use super::final_pass::remove_acting;
use super::{DatabaseMover, DatabasePlan, DatabaseVerified, Edited};
use ports::databases::{Fingerprint, Phase, RowSource, RowTarget, Table, View};
use ports::ledger::Chunk;
use ports::observe::Level;
use ports::{ConnectorError, ErrorKind, Ledger, Observer, Result};
use serde_json::json;
use tokio_util::sync::CancellationToken;

impl DatabaseMover {
    /// Sends the ranges that `found` names once more, after saving what others wrote there, and gives their number. Left out are ranges that the
    /// source has changed since the standstill of that number, and tables with `edited` rows. Verify again afterwards. Repeatable.
    ///
    /// # Errors
    /// Those of both sides, and the stop signal. What was sent stays.
    #[allow(clippy::too_many_arguments)]
    pub async fn send_again(
        &self,
        plan: &DatabasePlan,
        ledger: &dyn Ledger,
        standstill: u64,
        found: &DatabaseVerified,
        edited: &Edited,
        observer: &dyn Observer,
        stop: &CancellationToken,
    ) -> Result<u64> {
        let untouched = found.tables.iter().filter(|t| t.edited == 0 && !edited.keys().any(|name| name.to_string() == t.table));
        let ranges: Vec<u64> = untouched.flat_map(|t| t.differing_ranges.iter().copied()).collect();
        if ranges.is_empty() {
            return Ok(0);
        }
        let source = self.source.read(View::Latest { connections: 1 }).await?;
        let target = self.destination.write().await?;
        let ends = Ends { plan, ledger, source: source.as_ref(), target: target.as_ref(), observer };
        let outcome = self.send_ranges(&ends, standstill, &ranges, stop).await;
        let closed = source.close().await.and(target.close().await);
        let sent = outcome?;
        closed?;
        Ok(sent)
    }

    async fn send_ranges(&self, ends: &Ends<'_>, standstill: u64, ranges: &[u64], stop: &CancellationToken) -> Result<u64> {
        let mut sent = 0;
        for seq in ranges {
            if stop.is_cancelled() {
                return Err(ConnectorError::stopped("send again", self.destination.location()));
            }
            let Some(chunk) = ends.ledger.all(seq.checked_sub(1), 1).await?.into_iter().find(|c| c.seq == *seq) else { continue };
            let spec = chunk::decode(&chunk)?;
            let table = chunk::table(ends.plan, &spec, chunk.seq)?;
            let wanted = chunk::final_state(ends.ledger, chunk.seq, standstill).await?;
            let Some(wanted) = wanted else { continue };
            if ends.source.fingerprint(table, &spec.range).await? != wanted {
                continue;
            }
            if sent == 0 {
                remove_acting(ends.plan, ends.ledger, ends.target).await?;
            }
            let stored = self.destination.read(View::Destination { connections: 1 }).await?;
            let outcome = self.send_range(ends, stored.as_ref(), &chunk, table, &spec, &wanted).await;
            stored.close().await?;
            outcome?;
            sent += 1;
        }
        if sent > 0 {
            self.create_phase(ends.plan, Phase::AtTheEnd, ends.ledger, ends.target, ends.observer, stop).await?;
        }
        Ok(sent)
    }

    async fn send_range(&self, ends: &Ends<'_>, stored: &dyn RowSource, chunk: &Chunk, table: &Table, spec: &RangeSpec, wanted: &Fingerprint) -> Result<()> {
        let now = stored.fingerprint(table, &spec.range).await?;
        self.save_later_rows(ends.ledger, chunk, table, spec, stored, &now, ends.observer).await?;
        chunk::record_written(ends.ledger, chunk.seq, &now).await?;
        chunk::record_writing(ends.ledger, chunk.seq, wanted).await?;
        let result = match replace_range(ends.source, ends.target, table, spec, (&[now, wanted.clone()], Some(wanted)), ends.observer).await {
            // Somebody writes there at this very moment, or the server changes it: the difference stays, and is told.
            Err(e) if matches!(e.kind, ErrorKind::AlreadyExists | ErrorKind::Corrupt) => return Ok(()),
            other => other?,
        };
        chunk::record_written(ends.ledger, chunk.seq, &stored.fingerprint(table, &spec.range).await?).await?;
        let message = format!("A range of table {} was not stored as it was sent; it was sent again ({} rows)", table.name, result.rows);
        ends.observer.log(Level::Warning, "verification", message, json!({"table": table.name.to_string(), "rows": result.rows}));
        Ok(())
    }
}

/// The two ends of the sending.
struct Ends<'a> {
    plan: &'a DatabasePlan,
    ledger: &'a dyn Ledger,
    source: &'a dyn RowSource,
    target: &'a dyn RowTarget,
    observer: &'a dyn Observer,
}
