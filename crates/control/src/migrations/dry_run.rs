//! Everything that only reads: what a migration would do.

use super::Spec;
use crate::validation::failed_checks;
use crate::{Control, Error};
use domain::workloads::is_workload_migration;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

impl Control {
    /// The plan of a document that is not stored. Dropping the call stops the survey.
    pub async fn dry_run(&self, tenant: &str, body: &Value) -> Result<Value, Error> {
        if is_workload_migration(body) {
            let (_, spec) = self.resolved(tenant, body).await?;
            return self.survey(tenant, &Spec::Workload(Box::new(spec))).await;
        }
        self.survey(tenant, &self.decode_any(body)?).await
    }

    /// The plan of a stored migration.
    pub async fn dry_run_of(&self, tenant: &str, id: &str) -> Result<Value, Error> {
        let document = self.document(tenant, id).await?;
        self.survey(tenant, &self.decode_any(&document)?).await
    }

    async fn survey(&self, tenant: &str, spec: &Spec) -> Result<Value, Error> {
        let stop = CancellationToken::new();
        let _stops_when_dropped = stop.clone().drop_guard();
        let plan = match spec {
            Spec::Application(spec) if spec.machine().is_some() => plans::survey_disk(spec, self.settings(), tenant, &stop).await,
            Spec::Application(spec) => plans::survey(spec, self.settings(), &stop).await,
            Spec::Workload(spec) => plans::survey_workload(spec, self.settings(), &stop).await,
        };
        let plan = plan.map_err(|e| failed_checks("survey", &e))?;
        serde_json::to_value(plan).map_err(|e| Error::internal(format!("a dry run cannot be encoded: {e}")))
    }
}
