//! File systems of others behind one door: local directories, SSH servers (SFTP), S3 and compatible object stores.
//!
//! Every module has the same files: the door (`mod.rs`), how to get there, listing, reading, writing, parts, checks, errors.
//! A connector never retries, sleeps, throttles or logs progress; the movers do.

mod body;
pub mod local;
mod physical;
pub mod s3;
pub mod sftp;
mod staging;
mod tar;
mod tree;
mod uploads;

use domain::spec::FilesAt;
use ports::files::FileTarget;
use ports::{ConnectorError, ErrorKind, Result};
use std::sync::Arc;

/// Opens the door to `at`. Nothing is contacted yet: the first call connects. `parallel` is the number of transfers that the
/// caller will have in flight at most; it sizes the pools of connections.
pub async fn open(at: &FilesAt, parallel: usize) -> Result<Arc<dyn FileTarget>> {
    Ok(match at {
        FilesAt::Local { root } => Arc::new(local::LocalFiles::new(root)),
        FilesAt::Sftp { ssh, root } => Arc::new(sftp::SftpFiles::new(ssh, root, parallel)),
        FilesAt::S3(s3) => Arc::new(s3::S3Files::new(s3, parallel)?),
        FilesAt::Objects(_) => {
            let text = "this build has no connector for that object store yet";
            return Err(ConnectorError::new(ErrorKind::Unsupported, "open", at.describe(), text)
                .advice("Local directories, SFTP and S3-compatible stores can be used; Google Cloud Storage can be reached through its S3 interface"));
        }
    })
}
