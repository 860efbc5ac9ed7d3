//! Both systems in memory, with one clock.

use super::places::Place;
use super::scenario::{Documents, FOREIGN_TABLE, Scenario, Side, TABLES};
use super::stage::Calls;
use super::world::Systems;
use domain::spec::{DatabaseAt, FilesAt};
use ports::databases::Database;
use ports::files::FileTarget;
use ports::{ConnectorError, ErrorKind};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use testkit::memory_database::MemoryDatabase;
use testkit::memory_files::{Clock, MemoryFiles};

/// Bytes of a file that is still written in one piece, where a scenario wants parts.
const SMALL: u64 = 16;

pub struct MemorySystems {
    source_files: MemoryFiles,
    destination_files: MemoryFiles,
    source_rows: MemoryDatabase,
    destination_rows: MemoryDatabase,
}

impl MemorySystems {
    pub fn new(scenario: &Scenario, clock: &Arc<AtomicI64>) -> Self {
        let clock: Clock = {
            let clock = clock.clone();
            Arc::new(move || clock.load(Ordering::Relaxed))
        };
        let resolution = if scenario.coarse { 1_000_000_000 } else { 1 };
        let source = MemoryFiles::tree("from").with_traits(|traits| traits.mtime_resolution_ns = resolution).with_clock(clock.clone()).with_pieces(8);
        let source = if scenario.coarse { source.without_versions() } else { source };
        let destination = if scenario.objects { MemoryFiles::objects("to") } else { MemoryFiles::tree("to") };
        let limit = |traits: &mut ports::files::FileTraits| {
            if scenario.parts {
                traits.single_put_limit = SMALL;
            }
        };
        let destination = destination.with_traits(limit).with_clock(clock).with_pieces(8);
        let (source_rows, destination_rows) = (MemoryDatabase::new("from"), MemoryDatabase::absent("to"));
        source_rows.table(TABLES[0]).table(TABLES[1]).view("recent", TABLES[1]);
        if scenario.occupied {
            destination_rows.make().table(TABLES[1]).table(FOREIGN_TABLE).view("of_theirs", FOREIGN_TABLE);
        }
        Self { source_files: source, destination_files: destination, source_rows, destination_rows }
    }
}

#[async_trait::async_trait]
impl Systems for MemorySystems {
    async fn place(&self, side: Side) -> Place {
        match side {
            Side::Source => Place { files: Arc::new(self.source_files.clone()), rows: Arc::new(self.source_rows.clone()) },
            Side::Destination => Place { files: Arc::new(self.destination_files.clone()), rows: Arc::new(self.destination_rows.clone()) },
        }
    }

    fn documents(&self, scenario: &Scenario) -> Documents {
        let files = |side: &str| json!({"type": "static", "paths": {"web_root": format!("/memory/{side}")}});
        let database = |side: &str| json!({"type": "mysql", "host": format!("{side}.memory"), "username": "u", "password": "p", "database": side});
        let bucket = json!({"type": "aws-s3", "bucket": "destination", "access_key_id": "key", "secret_access_key": "secret"});
        Documents {
            source_files: files("from"),
            source_database: database("from"),
            destination_files: if scenario.objects { bucket } else { files("to") },
            destination_database: database("to"),
        }
    }

    async fn files(&self, at: &FilesAt, calls: &Arc<Calls>) -> ports::Result<Option<Arc<dyn FileTarget>>> {
        let files = match at {
            FilesAt::Local { root } if root == "/memory/from" => &self.source_files,
            FilesAt::Local { root } if root == "/memory/to" => &self.destination_files,
            FilesAt::S3(_) => &self.destination_files,
            FilesAt::Local { root } if root.starts_with("/memory") => {
                return Err(ConnectorError::new(ErrorKind::NotFound, "open", root, "there is no such place"));
            }
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(files.clone().with_hook(calls.clone()))))
    }

    async fn database(&self, at: &DatabaseAt, calls: &Arc<Calls>) -> ports::Result<Arc<dyn Database>> {
        let rows = if at.host == "from.memory" { &self.source_rows } else { &self.destination_rows };
        Ok(Arc::new(rows.clone().with_hook(calls.clone())))
    }
}
