//! Uploads in parts: what every kind of target checks alike.

use crate::staging;
use ports::files::{Entry, Part};
use ports::{ConnectorError, ErrorKind, Result};

/// An upload id comes from the ledger; for a tree it must be a staging name and nothing else.
pub(crate) fn checked_id(upload: &str, subject: &str) -> Result<String> {
    if staging::is_staging(upload.as_bytes()) && !upload.contains('/') && !upload.contains('\0') {
        return Ok(upload.to_owned());
    }
    Err(foreign_id(subject))
}

pub(crate) fn foreign_id(subject: &str) -> ConnectorError {
    ConnectorError::new(ErrorKind::Invalid, "go on with the upload of", subject, "the upload id is not one of ours")
}

/// The parts must be 1, 2, 3, … and together as long as the file.
pub(crate) fn check_complete(entry: &Entry, parts: &[Part], subject: &str) -> Result<()> {
    let numbers_fit = parts.iter().enumerate().all(|(i, p)| p.number as usize == i + 1);
    let total: u64 = parts.iter().map(|p| p.size).sum();
    if numbers_fit && total == entry.size() {
        return Ok(());
    }
    let reason = format!("{} parts with {total} bytes do not make up its {} bytes", parts.len(), entry.size());
    Err(ConnectorError::new(ErrorKind::Invalid, "complete the upload of", subject, reason))
}

/// Neither the upload nor its outcome is there.
pub(crate) fn upload_is_gone(subject: &str) -> ConnectorError {
    ConnectorError::new(ErrorKind::NotFound, "go on with the upload of", subject, "the upload is gone: neither its parts nor the finished file are there")
        .advice("The file is sent again from its beginning")
}
