//! Whether this service can do its work, by asking its parts.

use crate::{Control, DEFAULT_TENANT};
use domain::spec::MigrationSpec;
use serde::Serialize;
use serde_json::json;
use std::time::Duration;
use utoipa::ToSchema;

/// A part that does not answer within this time counts as down.
const PATIENCE: Duration = Duration::from_secs(3);

/// Answer of `GET /health`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Health {
    /// `healthy`, `degraded` (it works, and has set something aside that it cannot read) or `unhealthy`.
    #[schema(example = "healthy")]
    pub status: &'static str,
    #[schema(example = "1.0.0")]
    pub version: String,
    #[schema(example = "Migration Assistant API")]
    pub service: &'static str,
    #[schema(example = "2024-08-26T14:30:22.123456")]
    pub timestamp: String,
    pub components: Components,
}

/// What was found when each part was asked.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Components {
    /// The journal of migrations answers and a worker is alive.
    pub orchestrator: bool,
    /// Presets can be read, the built-in ones and those in the database.
    pub preset_manager: bool,
    /// A configuration can be decoded, and the directory for staging can be written.
    pub validation_engine: bool,
    /// Nothing had to be set aside because it cannot be read; `db check` names what was.
    pub work_queue: bool,
}

impl Control {
    /// Asks every part now. `status` is `healthy` when all that this version offers works.
    pub async fn health(&self) -> Health {
        let all = engine::RunFilter::default();
        let journal = tokio::time::timeout(PATIENCE, self.engine().count(DEFAULT_TENANT, &all));
        let staging = tokio::time::timeout(PATIENCE, writable(self.settings().work_dir.clone()));
        let presets = tokio::time::timeout(PATIENCE, self.presets_readable());
        let aside = tokio::time::timeout(PATIENCE, self.records().everything_set_aside());
        let (journal, staging, presets, aside) = tokio::join!(journal, staging, presets, aside);
        let components = Components {
            orchestrator: matches!(journal, Ok(Ok(_))) && (self.options().worker_alive)(),
            preset_manager: matches!(presets, Ok(true)),
            validation_engine: matches!(staging, Ok(true)) && decodes(),
            work_queue: matches!(aside, Ok(Ok(items)) if items.is_empty()),
        };
        let works = components.orchestrator && components.preset_manager && components.validation_engine;
        Health {
            status: match (works, components.work_queue) {
                (true, true) => "healthy",
                (true, false) => "degraded",
                (false, _) => "unhealthy",
            },
            version: self.version().to_owned(),
            service: "Migration Assistant API",
            timestamp: crate::time::text(jiff::Timestamp::now()),
            components,
        }
    }
}

impl Health {
    pub fn is_healthy(&self) -> bool {
        self.status != "unhealthy"
    }
}

fn decodes() -> bool {
    let body = json!({"name": "health", "source": {"type": "static"}, "destination": {"type": "static"}});
    MigrationSpec::decode(&body).is_ok() && MigrationSpec::decode(&json!({})).is_err()
}

/// Makes the directory if need be and writes an empty file in it.
async fn writable(directory: std::path::PathBuf) -> bool {
    let trial = directory.join(format!(".health-{}", uuid::Uuid::now_v7().simple()));
    let made = async {
        tokio::fs::create_dir_all(&directory).await?;
        tokio::fs::write(&trial, b"").await?;
        tokio::fs::remove_file(&trial).await
    };
    made.await.is_ok()
}
