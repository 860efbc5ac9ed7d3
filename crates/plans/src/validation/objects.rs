//! Whether the destination can take the source's database objects: the same look that the first step takes, with the same words.

use super::report::{CheckReport, Outcome};
use super::sides::{Sides, finding};
use domain::spec::{MigrationSpec, SystemKind};
use movers::databases::{TableFilter, preflight_selected};
use ports::Finding;
use ports::databases::Schema;
use std::time::{Duration, Instant};

/// Objects that are named in a warning.
const NAMED: usize = 10;

/// Nothing where there is no destination, or where only the site's configuration says which tables move: the first step looks then.
pub(super) async fn check(spec: &MigrationSpec, sides: &Sides, schema: Option<&Schema>, limit: Duration) -> Option<CheckReport> {
    let destination = sides.destination.database.as_ref()?;
    let schema = schema.filter(|_| spec.source.kind != SystemKind::Wordpress)?;
    let began = Instant::now();
    let filter = TableFilter { asked: spec.tables.clone(), site: None };
    let asked = tokio::time::timeout(limit, preflight_selected(schema.clone(), &filter, destination)).await;
    let field = if sides.destination.database_only { "destination" } else { "destination.database" };
    let outcome = match asked {
        // A large schema: the first step has more time for the same look.
        Err(_) => Outcome::Passed(format!("not tried within {} seconds; the first step tries it", limit.as_secs_f64())),
        Ok(Err(error)) => Outcome::Failed(finding(&error, field), error.kind),
        Ok(Ok(found)) if found.refused.is_empty() => {
            let replaced = found.overwrites.len();
            Outcome::Passed(if replaced == 0 { "nothing stands in the way".to_owned() } else { format!("{replaced} objects will be replaced") })
        }
        Ok(Ok(found)) => {
            let named = found.refused.iter().take(NAMED).map(|u| format!("{} {} ({})", u.kind, u.name, u.reason)).collect::<Vec<_>>().join("; ");
            let issue = format!("{} objects cannot be made at the destination: {named}", found.refused.len());
            let suggestion = "Install or grant there what they need, or make them by hand; the rest moves without them".to_owned();
            Outcome::Warning(Finding { field: field.to_owned(), issue, suggestion })
        }
    };
    Some(CheckReport { check: "database_objects".to_owned(), system: "destination".to_owned(), outcome, duration_ms: began.elapsed().as_millis() as u64 })
}
