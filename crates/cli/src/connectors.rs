//! The one place that names connectors: from a description to an open door, within a time limit.

use couriers::{Exchanger, Fetcher, Policy};
use domain::spec::{DatabaseAt, FilesAt, HostKeyPin, SshAt};
use domain::workloads::CloudAt;
use ports::clouds::Cloud;
use ports::databases::Database;
use ports::files::FileTarget;
use ports::{ConnectorError, ErrorKind, Host, Result};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Longest that opening a door may take.
const OPENING: Duration = Duration::from_secs(15);

/// Every connector that this binary has. Local directories that no document names but a step comes upon (above a web root, of uploads)
/// stand behind the same wall as those that a document names.
pub struct Connectors {
    /// `None`: all of the disk.
    allowed: Option<Vec<PathBuf>>,
    /// Vouches for servers whose keys no document names.
    known_hosts: Option<PathBuf>,
    /// Where clouds may be asked.
    policy: Policy,
}

impl Connectors {
    /// `own` is the program's own directory, where backups lie; it is always allowed.
    pub fn new(local_roots: Option<&[PathBuf]>, own: &Path) -> Self {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let allowed = local_roots.map(|roots| roots.iter().map(|r| real(r)).chain([real(own)]).collect());
        Self { allowed, known_hosts: None, policy: Policy::default() }
    }

    /// A `known_hosts` file that vouches for servers whose keys no document names.
    #[must_use]
    pub fn knowing(self, known_hosts: Option<PathBuf>) -> Self {
        Self { known_hosts, ..self }
    }

    /// Which addresses a cloud may have: those that webhooks may lead to.
    #[must_use]
    pub fn speaking(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    fn vouched(&self, at: &SshAt) -> SshAt {
        let mut at = at.clone();
        if let (HostKeyPin::Unknown, Some(file)) = (&at.host_key, &self.known_hosts) {
            at.host_key = HostKeyPin::KnownHosts(file.to_string_lossy().into_owned());
        }
        at
    }

    fn check(&self, at: &FilesAt) -> Result<()> {
        let (Some(allowed), FilesAt::Local { root }) = (&self.allowed, at) else { return Ok(()) };
        let existing = Path::new(root).ancestors().find_map(|a| a.canonicalize().ok()).unwrap_or_default();
        if allowed.iter().any(|a| existing.starts_with(a)) {
            return Ok(());
        }
        let reason = "this server allows only directories below its --local-root";
        Err(ConnectorError::new(ErrorKind::Permission, "open", root, reason).advice("Start the server with --local-root for it, or choose another directory"))
    }
}

#[async_trait::async_trait]
impl ports::Connectors for Connectors {
    async fn files(&self, at: &FilesAt, parallel: usize) -> Result<Arc<dyn FileTarget>> {
        self.check(at)?;
        let at = match at {
            FilesAt::Sftp { ssh, root } => &FilesAt::Sftp { ssh: self.vouched(ssh), root: root.clone() },
            other => other,
        };
        within(at.describe(), connectors_files::open(at, parallel)).await
    }

    async fn database(&self, at: &DatabaseAt, parallel: usize) -> Result<Arc<dyn Database>> {
        within(at.describe(), connectors_databases::open(at, parallel)).await
    }

    async fn host(&self, at: &SshAt) -> Result<Arc<dyn Host>> {
        Ok(Arc::new(connectors_files::sftp::SshServer::new(&self.vouched(at))))
    }

    async fn cloud(&self, at: &CloudAt) -> Result<Arc<dyn Cloud>> {
        let exchange = Exchanger::new(self.policy, at.ca()).map_err(|why| {
            ConnectorError::new(ErrorKind::Invalid, "ask", at.describe(), why).advice("Check migration_target.cloud.ca: a certificate in PEM form")
        })?;
        Ok(connectors_clouds::open(at, Arc::new(exchange)))
    }

    async fn page_status(&self, url: &str) -> Result<u16> {
        // Who runs the program for himself may ask what he can reach; a server's callers only what webhooks may lead to.
        let policy = Policy { allow_private: self.policy.allow_private || self.allowed.is_none() };
        let fetcher = Fetcher::new(policy).map_err(|why| ConnectorError::new(ErrorKind::Internal, "ask", url, why))?;
        fetcher.status(url).await
    }
}

async fn within<T>(subject: String, opening: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(OPENING, opening).await.unwrap_or_else(|_| {
        let reason = format!("there was no answer within {} seconds", OPENING.as_secs());
        Err(ConnectorError::new(ErrorKind::TimedOut, "connect to", subject, reason).advice("Check the host name, the port and the firewalls on the way."))
    })
}
