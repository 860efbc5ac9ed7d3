//! Connectors with a database that holds still at the moment of the last pass, so that a test can look around then.

use domain::spec::{DatabaseAt, DatabaseEngine, FilesAt};
use ports::databases::{CellEditor, Database, RowSource, RowTarget, View};
use ports::files::FileTarget;
use ports::{Check, Examine, Role};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tokio::sync::Notify;

#[derive(Default)]
pub struct Hold {
    snapshots: AtomicU32,
    released: AtomicBool,
    pub reached: Notify,
}

impl Hold {
    pub fn release(&self) {
        self.released.store(true, Ordering::SeqCst);
    }
}

pub struct HoldingConnectors(pub Arc<Hold>);

#[async_trait::async_trait]
impl ports::Connectors for HoldingConnectors {
    async fn files(&self, at: &FilesAt, parallel: usize) -> ports::Result<Arc<dyn FileTarget>> {
        connectors_files::open(at, parallel).await
    }

    async fn database(&self, at: &DatabaseAt, parallel: usize) -> ports::Result<Arc<dyn Database>> {
        Ok(Arc::new(Holding { inner: connectors_databases::open(at, parallel).await?, hold: self.0.clone() }))
    }
}

struct Holding {
    inner: Arc<dyn Database>,
    hold: Arc<Hold>,
}

impl Examine for Holding {
    fn checks(&self, role: Role) -> Vec<Check<'_>> {
        self.inner.checks(role)
    }
}

#[async_trait::async_trait]
impl Database for Holding {
    fn engine(&self) -> DatabaseEngine {
        self.inner.engine()
    }

    fn location(&self) -> String {
        self.inner.location()
    }

    fn name(&self) -> String {
        self.inner.name()
    }

    async fn version(&self) -> ports::Result<String> {
        self.inner.version().await
    }

    async fn read(&self, view: View) -> ports::Result<Arc<dyn RowSource>> {
        // The bulk copy takes the first snapshot of the source, the last pass the second.
        let snapshot = matches!(view, View::Snapshot { .. }) && self.name().starts_with("plan_from");
        if snapshot && self.hold.snapshots.fetch_add(1, Ordering::SeqCst) == 1 && !self.hold.released.load(Ordering::SeqCst) {
            self.hold.reached.notify_one();
            std::future::pending::<()>().await;
        }
        self.inner.read(view).await
    }

    async fn write(&self) -> ports::Result<Arc<dyn RowTarget>> {
        self.inner.write().await
    }

    fn cells(&self) -> Option<Arc<dyn CellEditor>> {
        self.inner.cells()
    }
}
