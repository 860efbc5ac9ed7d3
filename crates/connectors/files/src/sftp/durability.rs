//! What the server has taken gets to its disk: by `sync`, where programs can be run, else by `fsync@openssh.com` on every file that was
//! written since the last time.

use super::root::Host;
use super::session::{Fault, Session};
use super::verbs::done;
use super::whole::exec;
use super::wire;
use futures::stream::{self, StreamExt, TryStreamExt};
use ports::files::FilePath;
use ports::{ErrorKind, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Files synced side by side.
const PARALLEL: usize = 16;

#[derive(Default)]
pub(super) struct Unsettled {
    /// Files that are in place since the last time.
    files: Mutex<Vec<FilePath>>,
    no_programs: AtomicBool,
}

impl Unsettled {
    pub(super) fn placed(&self, path: &FilePath) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
    }

    fn take(&self) -> Vec<FilePath> {
        std::mem::take(&mut *self.files.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// See [`ports::files::FileTarget::settle`]. A server that can do neither is left to its own habits.
pub(super) async fn settle(host: &Host) -> Result<()> {
    let unsettled = &host.unsettled;
    if !unsettled.no_programs.load(Ordering::Relaxed) {
        match run_sync(host).await {
            Ok(true) => {
                unsettled.take();
                return Ok(());
            }
            Err(e) if e.kind == ErrorKind::Interrupted => return Err(e),
            Ok(false) | Err(_) => unsettled.no_programs.store(true, Ordering::Relaxed),
        }
    }
    let files = unsettled.take();
    if files.is_empty() || !host.session().await?.features.fsync {
        return Ok(());
    }
    stream::iter(files).map(|path| async move { sync_file(host, &path).await }).buffer_unordered(PARALLEL).try_collect().await
}

/// False where no program can be run.
async fn run_sync(host: &Host) -> Result<bool> {
    let script = "(sync -f . 2>/dev/null || sync) && echo settled";
    let (said, ended) = exec::start(host, script).await?.answer(Vec::new()).await?;
    // A server that serves nothing but SFTP takes any command for one to serve SFTP, and ends it well.
    Ok(ended.status == exec::NO_ROOT || said.starts_with(b"settled"))
}

/// A file that is gone again needs nothing.
async fn sync_file(host: &Host, path: &FilePath) -> Result<()> {
    let session = host.session().await?;
    let told = |e: Fault| e.tell("write to the disk of", &host.subject(path));
    let opening = session.send_open(&host.absolute(path), wire::OPEN_READ, None).await;
    let handle = match Session::opened(opening).await {
        Ok(handle) => handle,
        Err(e) if e.is_absent() || e.is_refusal() => return Ok(()),
        Err(e) => return Err(told(e)),
    };
    let synced = session.send_fsync(&handle).await.wait().await.and_then(done);
    session.send_close(&handle).await.wait().await.map_err(told)?;
    match synced {
        Err(e) if !e.is_refusal() => Err(told(e)),
        _ => Ok(()),
    }
}
