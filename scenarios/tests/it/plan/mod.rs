//! The plan for applications in the two suites that every plan passes, and what is peculiar to it, with real connectors.

mod damaged;
mod disks;
mod drive;
pub mod fingerprint;
mod hold;
mod images;
mod network;
mod owners;
mod places;
mod room;
mod same_place;
mod servers;
mod shop;
mod wordpress;

use domain::spec::{DatabaseAt, FilesAt};
use ports::databases::Database;
use ports::files::FileTarget;
use std::path::Path;
use std::sync::Arc;

/// The connectors as the binary joins them.
struct Connectors;

#[async_trait::async_trait]
impl ports::Connectors for Connectors {
    async fn files(&self, at: &FilesAt, parallel: usize) -> ports::Result<Arc<dyn FileTarget>> {
        connectors_files::open(at, parallel).await
    }

    async fn database(&self, at: &DatabaseAt, parallel: usize) -> ports::Result<Arc<dyn Database>> {
        connectors_databases::open(at, parallel).await
    }
}

fn settings(dir: &Path) -> plans::Settings {
    plans::Settings { connectors: Arc::new(Connectors), backups_dir: dir.join("backups"), work_dir: dir.join("work"), machines: None, images: None }
}

fn write(path: &Path, content: &str) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("its directory");
    std::fs::write(path, content).expect("a file");
}
