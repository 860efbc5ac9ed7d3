//! The report of a migration: JSON as the last step stores it, HTML on demand.

use movers::databases::AppliedObject;
use ports::databases::Applied;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Names listed in a report at most; counts beside them are exact.
const LISTED: usize = 1000;

/// Something that stays behind, or is not as it was, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    pub kind: String,
    pub name: String,
    pub reason: String,
}

impl Leftover {
    pub(crate) fn new(kind: &str, name: String, reason: String) -> Self {
        Self { kind: kind.to_owned(), name, reason }
    }
}

/// Adds what is not there yet, up to the limit of a report.
pub(crate) fn push_all(list: &mut Vec<Leftover>, more: impl IntoIterator<Item = Leftover>) {
    for leftover in more {
        if list.len() < LISTED && !list.iter().any(|l| l.kind == leftover.kind && l.name == leftover.name) {
            list.push(leftover);
        }
    }
}

/// The schema objects that were refused, or else those that were adapted, out of a stored list.
pub(crate) fn leftovers_of_applied(list: &Value, refused: bool) -> Vec<Leftover> {
    let applied: Vec<AppliedObject> = serde_json::from_value(list.clone()).unwrap_or_default();
    applied
        .into_iter()
        .filter_map(|object| {
            let kind = format!("{:?}", object.kind).to_lowercase();
            match object.applied {
                Applied::Refused(reason) if refused => Some(Leftover::new(&kind, object.name.to_string(), reason)),
                Applied::Adapted(change) if !refused => Some(Leftover::new(&kind, object.name.to_string(), change)),
                _ => None,
            }
        })
        .collect()
}

/// A page of its own, with no outside asset. Every text of the report is escaped.
pub fn html(report: &Value) -> String {
    let mut environment = minijinja::Environment::new();
    // A report of an older version may lack a part; the page leaves that part out.
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Chainable);
    environment.add_filter("seconds", |s: f64| domain::units::duration(s));
    environment.add_filter("size", |bytes: u64| domain::units::size(bytes));
    let rendered = environment.add_template("report.html", include_str!("report.html")).and_then(|()| environment.get_template("report.html")?.render(report));
    rendered.unwrap_or_else(|e| {
        let text = serde_json::to_string_pretty(report).unwrap_or_default().replace('&', "&amp;").replace('<', "&lt;");
        format!("<!doctype html><title>Migration report</title><p>The page could not be made ({}); here is the report itself.<pre>{text}</pre>", e.kind())
    })
}

#[cfg(test)]
mod tests;
