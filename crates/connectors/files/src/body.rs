//! Bodies of exactly the promised length.

use bytes::Bytes;
use futures::StreamExt;
use ports::files::Body;
use ports::{ConnectorError, ErrorKind, Result};

/// Reads a body that must have exactly `size` bytes into memory. Only for sizes that the caller has bounded.
pub(crate) async fn collect(mut body: Body, size: u64, subject: &str) -> Result<Vec<Bytes>> {
    let mut pieces = Vec::with_capacity(1);
    let mut seen = 0_u64;
    while let Some(piece) = body.next().await {
        let piece = piece?;
        seen += piece.len() as u64;
        if seen > size {
            return Err(wrong_length(subject, size, seen));
        }
        if !piece.is_empty() {
            pieces.push(piece);
        }
    }
    if seen == size { Ok(pieces) } else { Err(wrong_length(subject, size, seen)) }
}

/// One buffer from several; no copy when there is only one.
pub(crate) fn join(mut pieces: Vec<Bytes>) -> Bytes {
    if pieces.len() == 1 { pieces.remove(0) } else { Bytes::from(pieces.concat()) }
}

/// The source gave more or fewer bytes than its entry said.
pub(crate) fn wrong_length(subject: &str, expected: u64, seen: u64) -> ConnectorError {
    let reason = if seen > expected {
        format!("the source gave more than the {expected} bytes it had announced")
    } else {
        format!("the source gave {seen} of the {expected} bytes it had announced")
    };
    ConnectorError::new(ErrorKind::Changed, "write", subject, reason).advice("The file changed while it was read; it is tried again, and nothing was replaced")
}

/// The file got shorter between opening and the end of reading.
pub(crate) fn shrunk(subject: &str, missing_from: u64) -> ConnectorError {
    ConnectorError::new(ErrorKind::Changed, "read", subject, format!("it ended at byte {missing_from}, before the size it had when it was opened"))
        .advice("The file changed while it was read; it is tried again")
}
