//! Commands of one user meet in the data directory: the process that holds it listens on a socket there, and others speak through it instead of
//! being refused. The directory is its owner's alone, and so is the socket.

use super::{Door, Embedded, Needs, Remote, Reply};
use crate::failure::Failure;
use serde_json::Value;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const NAME: &str = "control.sock";
/// How long open requests of other commands may go on after this one has ended its work.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);

/// A socket's path may have 108 bytes only, a data directory's more: the way through the open directory is short.
fn short(dir: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{NAME}", dir.as_raw_fd()))
}

/// Answers other commands until [`Listening::end`].
pub struct Listening {
    stop: CancellationToken,
    server: JoinHandle<()>,
    path: PathBuf,
}

impl Listening {
    /// Whoever calls holds the data directory, so a socket that is there already belongs to a process that is gone. Without one, only this
    /// process can tell of its work.
    pub fn begin(data_dir: &Path, router: axum::Router) -> Option<Self> {
        let path = data_dir.join(NAME);
        let _stale = std::fs::remove_file(&path);
        let bound = File::open(data_dir).and_then(|dir| UnixListener::bind(short(&dir)));
        let listener = bound.inspect_err(|error| tracing::warn!(%error, "other commands cannot reach this one")).ok()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
                tracing::warn!(%error, "other commands cannot reach this one any more");
            }
        });
        Some(Self { stop, server, path })
    }

    pub async fn end(mut self) {
        let _gone = std::fs::remove_file(&self.path);
        self.stop.cancel();
        if tokio::time::timeout(SHUTDOWN_GRACE, &mut self.server).await.is_err() {
            self.server.abort();
        }
    }
}

/// The control plane of another command; when that one ends, the data directory is opened by this process.
pub struct Attached {
    data_dir: PathBuf,
    needs: Needs,
    other: Remote,
    /// Kept open: the socket is reached through it.
    _dir: File,
    own: OnceCell<Embedded>,
}

impl Attached {
    /// `None`: nobody listens there.
    pub async fn find(data_dir: &Path, needs: Needs) -> Option<Self> {
        let dir = File::open(data_dir).ok()?;
        UnixStream::connect(short(&dir)).await.ok()?;
        let other = Remote::through_socket(&short(&dir)).ok()?;
        Some(Self { data_dir: data_dir.to_owned(), needs, other, _dir: dir, own: OnceCell::new() })
    }

    async fn own(&self) -> Result<&Embedded, Failure> {
        self.own.get_or_try_init(|| super::open_when_free(self.data_dir.clone(), self.needs)).await
    }
}

#[async_trait::async_trait]
impl Door for Attached {
    async fn call(&self, method: http::Method, path: &str, body: Option<&Value>) -> Result<Reply, Failure> {
        if !self.own.initialized() {
            match self.other.call(method.clone(), path, body).await {
                Err(failure) if &*failure.code == super::UNREACHABLE => {}
                answered => return answered,
            }
        }
        self.own().await?.call(method, path, body).await
    }

    fn address(&self) -> Option<&str> {
        None
    }

    fn drives(&self) -> bool {
        self.own.get().is_none_or(Embedded::drives)
    }

    async fn close(self: Box<Self>) {
        if let Some(own) = self.own.into_inner() {
            Box::new(own).close().await;
        }
    }
}
