//! COPY out: rows gathered into blocks, and on the way their fingerprint.

use super::connection::{Lease, Pool};
use super::error::{Tried, tried};
use super::hash::Tally;
use super::hash_row::RowHash;
use bytes::{Buf, Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use ports::databases::{Reading, RowBlock};
use ports::{ConnectorError, ErrorKind, Result};
use std::pin::Pin;
use std::sync::Arc;
use tokio_postgres::CopyOutStream;

/// Size of a block.
const BLOCK: usize = 1 << 20;
/// Signature, flags and length of the header's extension.
const HEADER: usize = 19;
/// Length and value of a row's hash, its last field in the binary form.
const HASH: usize = 12;

/// What to read, and how it comes.
pub struct Order {
    pub query: String,
    pub subject: String,
    pub binary: bool,
    /// Text comes as the bytes that are stored.
    pub raw: bool,
    pub hashes: Hashes,
}

/// Where the rows' hashes come from.
pub enum Hashes {
    Unwanted,
    /// Each row's last field is its hash, for us alone.
    Sent,
    /// From the row's bytes.
    Ours(RowHash),
}

/// A running COPY out. The server sends each row as one message.
struct Copy {
    /// `None` after its end, where it must not be asked again.
    wire: Option<Pin<Box<CopyOutStream>>>,
    lease: Lease,
    order: Order,
    begun: bool,
    tally: Tally,
    /// A row that did not fit into the block before.
    kept: Option<Bytes>,
}

/// Starts when it is first asked. The fingerprint comes last, and only where rows are hashed.
pub fn read(pool: Arc<Pool>, order: Order) -> BoxStream<'static, Result<Reading>> {
    stream::once(async move { Copy::start(pool, order).await }).map_ok(Copy::readings).try_flatten().boxed()
}

impl Copy {
    async fn start(pool: Arc<Pool>, order: Order) -> Result<Self> {
        let lease = pool.lease().await?;
        if order.raw {
            lease.client().batch_execute("SET client_encoding = 'SQL_ASCII'").await.map_err(|e| tried("read", &order.subject).failed(e))?;
        }
        let wire = lease.client().copy_out(&order.query).await.map_err(|e| tried("read", &order.subject).failed(e))?;
        Ok(Self { wire: Some(Box::pin(wire)), lease, order, begun: false, tally: Tally::default(), kept: None })
    }

    fn readings(self) -> impl futures::Stream<Item = Result<Reading>> {
        stream::try_unfold(Some(self), |running| async move {
            match running {
                Some(copy) => copy.next_reading().await,
                None => Ok(None),
            }
        })
    }

    async fn next_reading(mut self) -> Result<Option<(Reading, Option<Self>)>> {
        let block = self.next_block().await?;
        if block.rows > 0 {
            return Ok(Some((Reading::Rows(block), Some(self))));
        }
        if self.order.raw {
            self.lease.client().batch_execute("SET client_encoding = 'UTF8'").await.map_err(|e| tried("read", &self.order.subject).failed(e))?;
        }
        self.lease.give_back();
        let hashed = !matches!(self.order.hashes, Hashes::Unwanted);
        Ok(hashed.then(|| (Reading::Fingerprint(self.tally.fingerprint()), None)))
    }

    /// Without rows: there are no more.
    async fn next_block(&mut self) -> Result<RowBlock> {
        let mut data = BytesMut::new();
        let mut rows = 0;
        while let Some(row) = self.next_row().await? {
            if rows == 0 {
                data.reserve(BLOCK.max(row.len()));
            } else if data.len() + row.len() > BLOCK {
                self.kept = Some(row);
                break;
            }
            self.append(&mut data, &row)?;
            rows += 1;
        }
        Ok(RowBlock { rows, data: data.freeze() })
    }

    /// Appends a row, without a hash that came with it, and counts its hash.
    fn append(&mut self, data: &mut BytesMut, row: &[u8]) -> Result<()> {
        match &mut self.order.hashes {
            Hashes::Unwanted => data.extend_from_slice(row),
            Hashes::Ours(rows) => {
                let hash = rows.row(row).ok_or_else(|| unhashed(&self.order.subject, "a row came that does not fit its table"))?;
                self.tally.add(hash);
                data.extend_from_slice(row);
            }
            Hashes::Sent => {
                let split = if self.order.binary { split_binary(row) } else { split_text(row) };
                let (before, hash) = split.ok_or_else(|| unhashed(&self.order.subject, "a row came without its hash"))?;
                self.tally.add(hash);
                append_without(data, before, self.order.binary);
            }
        }
        Ok(())
    }

    async fn next_row(&mut self) -> Result<Option<Bytes>> {
        if let Some(row) = self.kept.take() {
            return Ok(Some(row));
        }
        loop {
            let Some(wire) = &mut self.wire else { return Ok(None) };
            let message = wire.try_next().await.map_err(|e| tried("read", &self.order.subject).failed(e))?;
            let Some(mut message) = message else {
                self.wire = None;
                return Ok(None);
            };
            if !self.order.binary {
                return Ok(Some(message));
            }
            if !self.begun {
                self.begun = true;
                strip_header(&mut message, tried("read", &self.order.subject))?;
            }
            // The trailer is a column count of -1; a header may come alone.
            match message.get(..2) {
                None => {}
                Some([0xff, 0xff]) => {}
                Some(_) => return Ok(Some(message)),
            }
        }
    }
}

fn unhashed(subject: &str, reason: &str) -> ConnectorError {
    tried("read", subject).error(ErrorKind::Protocol, reason)
}

/// What is left of a row without its last field: one field fewer, or the line's end.
fn append_without(data: &mut BytesMut, before: &[u8], binary: bool) {
    match (binary, before) {
        (true, [high, low, values @ ..]) => {
            let fields = u16::from_be_bytes([*high, *low]).wrapping_sub(1);
            data.extend_from_slice(&fields.to_be_bytes());
            data.extend_from_slice(values);
        }
        _ => {
            data.extend_from_slice(before);
            data.extend_from_slice(b"\n");
        }
    }
}

/// A binary row before its last field, and that field.
fn split_binary(row: &[u8]) -> Option<(&[u8], i64)> {
    let (before, last) = row.split_at_checked(row.len().checked_sub(HASH)?)?;
    let hash = last.strip_prefix(&8u32.to_be_bytes())?.try_into().ok()?;
    Some((before, i64::from_be_bytes(hash)))
}

/// A text row before its last field and the tab in front of it (or nothing), and that field.
fn split_text(row: &[u8]) -> Option<(&[u8], i64)> {
    let row = row.strip_suffix(b"\n")?;
    let start = row.iter().rposition(|b| *b == b'\t').map_or(0, |tab| tab + 1);
    let hash = std::str::from_utf8(&row[start..]).ok()?.parse().ok()?;
    Some((&row[..start.saturating_sub(1)], hash))
}

fn strip_header(message: &mut Bytes, t: Tried<'_>) -> Result<()> {
    let extension = message.get(15..HEADER).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize);
    match extension {
        Some(extension) if message.starts_with(b"PGCOPY\n\xff\r\n\0") && message.len() >= HEADER + extension => {
            message.advance(HEADER + extension);
            Ok(())
        }
        _ => Err(t.error(ErrorKind::Protocol, "the server's binary COPY does not begin with its header")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rows_last_field_is_its_hash() {
        let row = [&[0, 2, 0, 0, 0, 1, b'x', 0, 0, 0, 8][..], &(-5i64).to_be_bytes()].concat();
        assert_eq!(split_binary(&row), Some((&[0, 2, 0, 0, 0, 1, b'x'][..], -5)));
        assert_eq!(split_binary(b"short"), None);
        assert_eq!(split_text(b"a\t\\N\t-17\n"), Some((&b"a\t\\N"[..], -17)));
        assert_eq!(split_text(b"9\n"), Some((&b""[..], 9)));
        assert_eq!(split_text(b"a\tb\n"), None);
    }
}
