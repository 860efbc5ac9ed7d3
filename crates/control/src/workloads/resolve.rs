//! From what a caller sends to a migration's own document: `********` and bare addresses are filled in from the stored workloads.

use super::body::{fill, masked};
use crate::{Control, Error};
use domain::decode::Problems;
use domain::workloads::WorkloadSpec;
use serde_json::{Value, json};

/// Where a body of `POST /migrations` holds a workload.
const PLACES: [(&str, &str); 2] = [("/source", "source"), ("/migration_target/target_vm", "migration_target.target_vm")];

impl Control {
    /// A complete document and what it says. Whoever sends back what an answer showed (passwords read `********`), or a workload's address
    /// alone (as an object with `ip`, or as a string), gets the rest from the stored workload with that address.
    pub(crate) async fn resolved(&self, tenant: &str, body: &Value) -> Result<(Value, WorkloadSpec), Error> {
        let mut document = body.clone();
        for (pointer, _) in PLACES {
            let Some(workload) = document.pointer_mut(pointer) else { continue };
            if let Value::String(ip) = workload {
                *workload = json!({"ip": ip});
            }
            let Some(ip) = workload.get("ip").and_then(Value::as_str).map(str::to_owned) else { continue };
            let Some(stored) = self.stored_workload(tenant, &ip).await? else { continue };
            let known = self.workload_document(&stored).await?;
            fill(workload, &known);
            for part in ["credentials", "storage", "ssh"] {
                if workload.get(part).is_none_or(Value::is_null) {
                    workload[part] = known[part].clone();
                }
            }
        }
        let mut p = Problems::default();
        masked(&document, "", &mut p);
        match WorkloadSpec::decode(&document) {
            Ok(spec) if p.is_empty() => Ok((document, spec)),
            Ok(_) => Err(Error::configuration(p)),
            Err(mut problems) => {
                problems.0.extend(p.0);
                Err(Error::configuration(problems))
            }
        }
    }
}
