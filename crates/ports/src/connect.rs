//! From a description of a system to an open door. The binary implements it, because only it names connectors.

use crate::clouds::Cloud;
use crate::databases::Database;
use crate::files::FileTarget;
use crate::{ConnectorError, ErrorKind, Host, Result};
use domain::spec::{DatabaseAt, FilesAt, SshAt};
use domain::workloads::CloudAt;
use std::sync::Arc;

/// Opens doors. Opening may connect at once or lazily; either way an unreachable system ends in a clear error within
/// 15 seconds, never in minutes.
#[async_trait::async_trait]
pub trait Connectors: Send + Sync {
    /// `parallel`: how many transfers the caller will have in flight at most.
    async fn files(&self, at: &FilesAt, parallel: usize) -> Result<Arc<dyn FileTarget>>;

    /// `parallel`: how many connections the caller will use at most.
    async fn database(&self, at: &DatabaseAt, parallel: usize) -> Result<Arc<dyn Database>>;

    /// The server behind SSH.
    async fn host(&self, at: &SshAt) -> Result<Arc<dyn Host>> {
        Err(ConnectorError::new(ErrorKind::Unsupported, "ask", &at.host, "this program has no connector for servers"))
    }

    /// The cloud that a target is in. Nothing is connected to before it is asked.
    async fn cloud(&self, at: &CloudAt) -> Result<Arc<dyn Cloud>> {
        Err(ConnectorError::new(ErrorKind::Unsupported, "ask", at.describe(), "this program has no connector for clouds"))
    }

    /// The status of a page of a site, as a visitor gets it; redirects are followed.
    ///
    /// # Errors
    /// When no answer came, or the address may not be asked: the reason is for people.
    async fn page_status(&self, url: &str) -> Result<u16> {
        Err(ConnectorError::new(ErrorKind::Unsupported, "ask", url, "this program asks no web sites"))
    }
}
