//! A new migration from a document.

use super::KIND;
use crate::{Control, Error};
use domain::spec::MigrationSpec;
use engine::NewRun;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// Answer of `POST /migrations/`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Created {
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub session_id: String,
    /// The same as `session_id`.
    pub id: String,
    #[schema(example = "created")]
    pub status: &'static str,
    #[schema(example = "Migration session created successfully")]
    pub message: String,
    #[schema(example = "2024-08-26T14:30:22.123456")]
    pub created_at: String,
}

impl Control {
    /// Stores a migration; nothing moves before it is started. Each call makes a new one.
    pub async fn create(&self, tenant: &str, body: &Value) -> Result<Created, Error> {
        let spec = self.decode(body)?;
        let id = uuid::Uuid::now_v7().simple().to_string();
        let run = NewRun { id: id.clone(), tenant: tenant.to_owned(), kind: KIND.to_owned(), input: body.clone(), labels: labels(&spec) };
        let view = self.engine().create(run).await.map_err(|e| Error::of_engine(e, &id, "create"))?;
        Ok(Created {
            session_id: id.clone(),
            id,
            status: "created",
            message: "Migration session created successfully".to_owned(),
            created_at: crate::time::text(view.created_at),
        })
    }
}

/// What lists and status show without unsealing the document. No secrets.
fn labels(spec: &MigrationSpec) -> Value {
    let place = |system: &domain::spec::System| {
        let files = system.files.as_ref().map(domain::spec::FilesAt::describe);
        let database = system.database.as_ref().map(domain::spec::DatabaseAt::describe);
        [files, database].into_iter().flatten().collect::<Vec<_>>().join(" + ")
    };
    json!({
        "name": spec.name,
        "description": spec.description,
        "source_type": spec.source.kind.word(),
        "destination_type": spec.destination.kind.word(),
        "source": place(&spec.source),
        "destination": place(&spec.destination),
    })
}
