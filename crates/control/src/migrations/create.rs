//! A new migration from a document.

use super::Spec;
use crate::{Control, Error};
use engine::{EngineError, NewRun};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
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
    pub async fn create(&self, tenant: &str, body: Value) -> Result<Created, Error> {
        self.create_saying(tenant, body, "Migration session created successfully".to_owned()).await
    }

    /// As [`Control::create`], with other words for people.
    pub(crate) async fn create_saying(&self, tenant: &str, body: Value, message: String) -> Result<Created, Error> {
        let spec = self.decode(&body)?;
        let id = uuid::Uuid::now_v7().simple().to_string();
        let created_at = self.create_as(tenant, &id, body, &Spec::Application(Box::new(spec))).await.map_err(|e| Error::of_engine(e, &id, "create"))?;
        Ok(Created { session_id: id.clone(), id, status: "created", message, created_at: crate::time::text(created_at) })
    }

    /// What was answered when this migration was made.
    pub async fn created_before(&self, tenant: &str, id: &str, message: &str) -> Result<Created, Error> {
        let view = self.view(tenant, id, "look at").await?;
        let (id, created_at) = (view.id, crate::time::text(view.created_at));
        Ok(Created { session_id: id.clone(), id, status: "created", message: message.to_owned(), created_at })
    }

    /// Stores a decoded document under an id that was chosen before; gives the moment. An id that exists is [`EngineError::Invalid`].
    pub(crate) async fn create_as(&self, tenant: &str, id: &str, body: Value, spec: &Spec) -> Result<Timestamp, EngineError> {
        let labels = spec.labels(&body);
        let run = NewRun { id: id.to_owned(), tenant: tenant.to_owned(), kind: spec.kind(&self.own_node()), input: body, labels, holds: None };
        self.engine().create(run).await
    }
}
