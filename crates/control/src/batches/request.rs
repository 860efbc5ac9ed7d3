//! The body of `POST /migrations/batch`, read strictly: every bad field of every entry in one answer.

use super::order;
use super::state::{BatchOptions, Member, Stored, Wanted};
use crate::Error;
use crate::author::Author;
use domain::decode::{Fields, Problem, Problems, type_name};
use domain::spec::MigrationSpec;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// The most migrations of one batch.
const MOST: usize = 500;

/// Body of `POST /migrations/batch`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BatchBody {
    /// What people call the batch.
    pub name: Option<String>,
    /// Configurations as in `POST /migrations/`. Each may have a `wave` beside its own fields (a number, 1 by default: the waves follow one another) and
    /// `depends_on` (names or indexes of entries that must complete before it starts).
    #[schema(value_type = Vec<Object>, min_items = 1, max_items = 500)]
    pub migrations: Vec<Value>,
    #[schema(required = false)]
    pub batch_options: BatchOptionsBody,
    /// The waves as groups of names or indexes, in their order, instead of a `wave` in each entry.
    #[schema(required = false)]
    pub waves: Vec<Vec<EntryReference>>,
}

/// An entry of the batch, by its name or by its index from 0.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
pub enum EntryReference {
    Name(String),
    Index(u64),
}

/// How the batch works; every field may be left out.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BatchOptionsBody {
    /// How many of its migrations are at work side by side; default 4.
    #[schema(minimum = 1, maximum = 256, example = 2)]
    pub parallel_limit: Option<u64>,
    /// After a failure nothing more is started; default false.
    pub stop_on_failure: Option<bool>,
    /// Begin at once; default true.
    pub auto_start: Option<bool>,
    /// Start each migration without the checks before it; default false.
    pub skip_validation: Option<bool>,
    /// As in the start of a migration.
    pub auto_rollback: Option<bool>,
    pub send_notifications: Option<bool>,
}

/// A batch that may be stored, and its migrations' documents.
pub(super) struct Asked {
    pub stored: Stored,
    pub documents: Vec<Value>,
}

/// An entry of the batch, read.
#[derive(Default)]
struct Entry {
    document: Value,
    name: String,
    wave: Option<u64>,
    depends_on: Vec<Value>,
}

impl Asked {
    /// `check` decodes one migration's document.
    pub fn decode(body: &Value, check: &dyn Fn(&Value) -> Result<MigrationSpec, Problems>) -> Result<Self, Error> {
        let mut problems = Problems::default();
        let asked = Self::read(body, check, &mut problems);
        match asked {
            Some(asked) if problems.is_empty() => Ok(asked),
            _ => Err(Error::configuration(problems)),
        }
    }

    fn read(body: &Value, check: &dyn Fn(&Value) -> Result<MigrationSpec, Problems>, p: &mut Problems) -> Option<Self> {
        let mut f = Fields::of("", body, p)?;
        let name = f.text("name", p);
        let options = read_options(f.object("batch_options", p), p);
        let entries = read_entries(f.value("migrations"), check, p);
        let waves = f.value("waves").cloned();
        f.done(p);
        let names: Vec<String> = entries.iter().map(|e| e.name.clone()).collect();
        let numbers = match waves {
            Some(waves) => grouped(&waves, &entries, &names, p),
            None => entries.iter().map(|e| e.wave.unwrap_or(1)).collect(),
        };
        let depends_on: Vec<Vec<usize>> = entries.iter().enumerate().map(|(i, e)| dependencies(i, e, &names, p)).collect();
        if !p.is_empty() {
            return None;
        }
        order::check(&numbers, &depends_on, &names, p);
        let wanted = if options.auto_start { Wanted::Go } else { Wanted::Hold };
        let members = names.into_iter().zip(numbers).zip(depends_on).map(|((name, wave), on)| member(name, wave, on)).collect();
        let (author, asked_by) = (Some(Author::current()), Some(Author::current()));
        let stored = Stored { name, options, wanted, members, started_at: None, ended_at: None, author, asked_by };
        Some(Self { stored, documents: entries.into_iter().map(|e| e.document).collect() })
    }
}

fn member(name: String, wave: u64, depends_on: Vec<usize>) -> Member {
    let id = uuid::Uuid::now_v7().simple().to_string();
    Member { id, name, wave, depends_on, made: false, started: false, starting_until: None, outcome: None, reason: None }
}

fn read_options(fields: Option<Fields<'_>>, p: &mut Problems) -> BatchOptions {
    let mut out = BatchOptions::default();
    let Some(mut f) = fields else { return out };
    out.parallel_limit = f.integer("parallel_limit", 1..=256, p).map_or(out.parallel_limit, |n| n as usize);
    out.stop_on_failure = f.flag("stop_on_failure", false, p);
    out.auto_start = f.flag("auto_start", true, p);
    out.skip_validation = f.flag("skip_validation", false, p);
    let mut maybe = |name: &'static str| {
        let given = f.has(name);
        let value = f.flag(name, false, p);
        given.then_some(value)
    };
    (out.auto_rollback, out.send_notifications) = (maybe("auto_rollback"), maybe("send_notifications"));
    f.done(p);
    out
}

fn read_entries(value: Option<&Value>, check: &dyn Fn(&Value) -> Result<MigrationSpec, Problems>, p: &mut Problems) -> Vec<Entry> {
    match value {
        Some(Value::Array(items)) if (1..=MOST).contains(&items.len()) => items.iter().enumerate().map(|(i, item)| read_entry(i, item, check, p)).collect(),
        Some(Value::Array(items)) => {
            p.note("migrations", format!("must have from 1 to {MOST} entries, not {}", items.len()));
            Vec::new()
        }
        Some(other) => {
            p.note("migrations", format!("must be an array of configurations, not {}", type_name(other)));
            Vec::new()
        }
        None => {
            p.note("migrations", "is required");
            Vec::new()
        }
    }
}

fn read_entry(index: usize, item: &Value, check: &dyn Fn(&Value) -> Result<MigrationSpec, Problems>, p: &mut Problems) -> Entry {
    let path = format!("migrations[{index}]");
    let Some(mut f) = Fields::of(&path, item, p) else { return Entry::default() };
    let wave = f.integer("wave", 0..=1_000_000, p);
    let depends_on = match f.value("depends_on") {
        None => Vec::new(),
        Some(Value::Array(items)) => items.clone(),
        Some(one) => vec![one.clone()],
    };
    let own: Map<String, Value> =
        item.as_object().into_iter().flatten().filter(|(n, _)| *n != "wave" && *n != "depends_on").map(|(n, v)| (n.clone(), v.clone())).collect();
    let document = Value::Object(own);
    let name = match check(&document) {
        Ok(spec) => spec.name,
        Err(bad) => {
            p.0.extend(bad.0.into_iter().map(|b| Problem { field: format!("{path}.{}", b.field), ..b }));
            document["name"].as_str().unwrap_or_default().to_owned()
        }
    };
    Entry { document, name, wave, depends_on }
}

fn dependencies(index: usize, entry: &Entry, names: &[String], p: &mut Problems) -> Vec<usize> {
    let mut out = Vec::new();
    for (i, reference) in entry.depends_on.iter().enumerate() {
        match order::resolve(reference, names) {
            Ok(on) if !out.contains(&on) => out.push(on),
            Ok(_) => {}
            Err(why) => p.note(format!("migrations[{index}].depends_on[{i}]"), why),
        }
    }
    out
}

/// The number of each entry's wave, from groups.
fn grouped(waves: &Value, entries: &[Entry], names: &[String], p: &mut Problems) -> Vec<u64> {
    let mut numbers: Vec<Option<u64>> = vec![None; entries.len()];
    let Value::Array(groups) = waves else {
        p.note("waves", format!("must be an array of arrays, not {}", type_name(waves)));
        return vec![1; entries.len()];
    };
    for (g, group) in groups.iter().enumerate() {
        let Value::Array(items) = group else {
            p.note(format!("waves[{g}]"), format!("must be an array of names or indexes, not {}", type_name(group)));
            continue;
        };
        for (i, reference) in items.iter().enumerate() {
            let field = format!("waves[{g}][{i}]");
            match order::resolve(reference, names) {
                Ok(index) if numbers[index].is_some() => p.note(field, format!("'{}' stands in two waves", names[index])),
                Ok(index) => numbers[index] = Some(g as u64 + 1),
                Err(why) => p.note(field, why),
            }
        }
    }
    for (i, entry) in entries.iter().enumerate() {
        if entry.wave.is_some() {
            p.note(format!("migrations[{i}].wave"), "give either waves or a wave in each entry, not both");
        } else if numbers[i].is_none() {
            p.note("waves", format!("entry {i} ('{}') is in no wave", entry.name));
        }
    }
    numbers.into_iter().map(|n| n.unwrap_or(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(name: &str, more: Value) -> Value {
        let mut entry = json!({"name": name, "source": {"type": "static", "host": "h"}, "destination": {"type": "aws-s3", "bucket": "bucket"}});
        more.as_object().expect("fields").iter().for_each(|(n, v)| entry[n] = v.clone());
        entry
    }

    fn fields(body: &Value) -> Vec<String> {
        match Asked::decode(body, &MigrationSpec::decode) {
            Ok(_) => Vec::new(),
            Err(error) => {
                let errors = error.details["validation_errors"].as_array().expect("a list");
                errors.iter().map(|e| e["field"].as_str().expect("a field").to_owned()).collect()
            }
        }
    }

    #[test]
    fn all_bad_fields_of_all_entries_are_named_at_once() {
        let none = json!({});
        for (body, wanted) in [
            (json!({}), vec!["migrations"]),
            (json!({"migrations": []}), vec!["migrations"]),
            (json!({"migrations": {}}), vec!["migrations"]),
            (json!({"migrations": [5]}), vec!["migrations[0]"]),
            (
                json!({"migrations": [entry("a", none.clone()), {"name": "b", "source": {"type": "static", "host": 5}}], "x": 1}),
                vec!["migrations[1].source.host", "migrations[1].destination", "x"],
            ),
            (
                json!({"migrations": [entry("a", none.clone())], "batch_options": {"parallel_limit": 0, "stop_on_failure": "no", "paralel": 1}}),
                vec!["batch_options.parallel_limit", "batch_options.stop_on_failure", "batch_options.paralel"],
            ),
            (json!({"migrations": [entry("a", json!({"depends_on": ["z", 7, "a"]}))]}), vec!["migrations[0].depends_on[0]", "migrations[0].depends_on[1]"]),
            (json!({"migrations": [entry("a", json!({"depends_on": 0}))]}), vec!["migrations[0].depends_on"]),
            (json!({"migrations": [entry("a", json!({"wave": -1}))]}), vec!["migrations[0].wave"]),
            (
                json!({"migrations": [entry("a", json!({"wave": 1})), entry("b", none.clone())], "waves": [["a", "a"], 5, ["z"]]}),
                vec!["waves[0][1]", "waves[1]", "waves[2][0]", "migrations[0].wave", "waves"],
            ),
        ] {
            assert_eq!(fields(&body), wanted, "{body}");
        }
    }

    #[test]
    fn waves_may_be_written_in_two_ways() {
        let waves = |body: Value| Asked::decode(&body, &MigrationSpec::decode).expect("a good body").stored.members.iter().map(|m| m.wave).collect::<Vec<_>>();
        let (a, b) = (entry("a", json!({"wave": 2})), entry("b", json!({})));
        assert_eq!(waves(json!({"migrations": [a, b]})), [2, 1]);
        let (a, b) = (entry("a", json!({})), entry("b", json!({})));
        assert_eq!(waves(json!({"migrations": [a, b], "waves": [["b"], [0]]})), [2, 1]);
    }
}
