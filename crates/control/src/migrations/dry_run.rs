//! Everything that only reads: what a migration would do.

use crate::validation::failed_checks;
use crate::{Control, Error};
use domain::spec::MigrationSpec;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

impl Control {
    /// The plan of a document that is not stored. Dropping the call stops the survey.
    pub async fn dry_run(&self, _tenant: &str, body: &Value) -> Result<Value, Error> {
        let spec = self.decode(body)?;
        self.survey(&spec).await
    }

    /// The plan of a stored migration.
    pub async fn dry_run_of(&self, tenant: &str, id: &str) -> Result<Value, Error> {
        let document = self.document(tenant, id).await?;
        let spec = self.decode(&document)?;
        self.survey(&spec).await
    }

    async fn survey(&self, spec: &MigrationSpec) -> Result<Value, Error> {
        let stop = CancellationToken::new();
        let _stops_when_dropped = stop.clone().drop_guard();
        let plan = plans::survey(spec, self.settings(), &stop).await.map_err(|e| failed_checks("survey", &e))?;
        serde_json::to_value(plan).map_err(|e| Error::internal(format!("a dry run cannot be encoded: {e}")))
    }
}
