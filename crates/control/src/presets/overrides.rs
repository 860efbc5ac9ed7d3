//! From a preset and overrides to a configuration.

use super::form::Form;
use crate::Error;
use crate::templates::placeholders::{Found, find, render};
use domain::decode::{Fields, Problems, type_name};
use domain::dotted::{self, NoPath};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// Body of `POST /presets/{preset_id}/create-migration`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PresetOverrides {
    /// Dotted path → value: for the template's placeholders and for any other field. `null` takes a field away.
    #[schema(value_type = Option<Object>)]
    pub overrides: Option<Value>,
    /// Name of the migration; default: the preset's.
    pub name: Option<String>,
}

/// The body, read.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Dotted path → value, parents before what lies in them. `null` takes the field away.
    overrides: Vec<(String, Value)>,
    name: Option<String>,
}

impl Asked {
    pub fn decode(body: &Value) -> Result<Self, Error> {
        let mut problems = Problems::default();
        let mut out = Self::default();
        if let Some(mut fields) = Fields::of("", body, &mut problems) {
            out.name = fields.text("name", &mut problems);
            match fields.value("overrides") {
                None => {}
                Some(Value::Object(map)) => out.overrides = map.iter().map(|(path, value)| (path.clone(), value.clone())).collect(),
                Some(other) => problems.note("overrides", format!("must be an object of dotted paths and values, not {}", type_name(other))),
            }
            fields.done(&mut problems);
        }
        out.overrides.sort_by(|(a, _), (b, _)| a.cmp(b));
        if problems.is_empty() { Ok(out) } else { Err(Error::request(problems)) }
    }

    /// Another type may make a preset possible that is not as it stands.
    pub fn changes_a_type(&self) -> bool {
        self.overrides.iter().any(|(path, _)| ["source", "source.type", "destination", "destination.type"].contains(&path.as_str()))
    }

    /// Whether an override gives the value at `path`, itself or with something around it.
    fn covers(&self, path: &str) -> bool {
        self.overrides.iter().any(|(own, _)| lies_in(path, own))
    }

    /// Whether an override speaks of `path` or of anything in it.
    fn touches(&self, path: &str) -> bool {
        self.overrides.iter().any(|(own, _)| lies_in(own, path) || lies_in(path, own))
    }
}

/// `source.database.host` lies in `source.database` and in itself.
fn lies_in(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The configuration. What is missing and what cannot be set is noted; the decoder finds the rest.
pub(super) fn configuration(form: &Form, asked: &Asked, problems: &mut Problems) -> Value {
    let mut template = form.config_template.clone();
    for path in form.optional.iter().filter(|path| !asked.touches(path)) {
        if !find(crate::templates::placeholders::at(&template, path).unwrap_or(&Value::Null), "", problems).is_empty() {
            remove(&mut template, path);
        }
    }
    let found = find(&template, "", problems);
    note_missing(form, asked, &found, problems);
    // What an override gives is put in below; what is missing was noted, or may be.
    let fill = |_: &str, path: &str| if asked.covers(path) { Some(json!("")) } else { None };
    let mut document = render(&template, "", &fill, &mut Problems::default()).unwrap_or_default();
    for (path, value) in &asked.overrides {
        if let Err(why) = set(&mut document, path, value.clone()) {
            problems.note(path.escape_default().to_string(), why);
        }
    }
    if let Value::Object(map) = &mut document {
        match &asked.name {
            Some(name) => drop(map.insert("name".to_owned(), json!(name))),
            None => drop(map.entry("name").or_insert_with(|| json!(form.name))),
        }
    }
    document
}

fn note_missing(form: &Form, asked: &Asked, found: &[Found], problems: &mut Problems) {
    let other_type = |path: &str| {
        ["source", "destination"].into_iter().any(|side| {
            let own = format!("{side}.type");
            lies_in(path, side) && asked.overrides.iter().any(|(p, v)| *p == own && *v != form.config_template[side]["type"])
        })
    };
    for place in found.iter().filter(|f| !asked.covers(&f.path)) {
        let may_lack = form.optional.iter().any(|o| lies_in(&place.path, o)) || other_type(&place.path);
        if !may_lack && !problems.0.iter().any(|p| p.field == place.path) {
            problems
                .note(&place.path, format!("is required: the preset has {{{{{}}}}} here; give the value in overrides under \"{}\"", place.name, place.path));
        }
    }
}

/// Puts a value at a dotted path, making the objects on the way to it.
fn set(document: &mut Value, path: &str, value: Value) -> Result<(), String> {
    dotted::set(document, path, value).map_err(|wrong| match wrong {
        NoPath::EmptyPart => "is no path of a configuration: a part of it is empty".to_owned(),
        NoPath::NotAnObject { part, found } => format!("is no path of a configuration: there is {found} above '{part}', not an object"),
    })
}

fn remove(document: &mut Value, path: &str) {
    let (parent, field) = path.rsplit_once('.').map_or((None, path), |(parent, field)| (Some(parent), field));
    let pointer = parent.map(|p| format!("/{}", p.replace('.', "/"))).unwrap_or_default();
    if let Some(Value::Object(map)) = document.pointer_mut(&pointer) {
        map.remove(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> Form {
        let form = json!({"id": "x", "name": "X", "description": "", "source_types": [], "destination_types": [],
            "optional": ["source.password", "source.database"],
            "config_template": {
                "source": {"type": "wordpress", "host": "{{h}}", "password": "{{p}}", "database": {"type": "mysql", "host": "{{dh}}", "password": "{{dp}}"}},
                "destination": {"type": "aws-s3", "bucket": "{{b}}", "region": "{{r}}"}}});
        serde_json::from_value(form).expect("a form")
    }

    fn made(overrides: Value) -> (Value, Vec<String>) {
        let mut problems = Problems::default();
        let document = configuration(&form(), &Asked::decode(&json!({"overrides": overrides})).expect("a body"), &mut problems);
        (document, problems.0.into_iter().map(|p| p.field).collect())
    }

    #[test]
    fn optional_parts_go_when_nobody_touches_them() {
        let (document, missing) = made(json!({"source.host": "a{{b}}", "destination.bucket": "b", "destination.region": "r"}));
        let wanted = json!({"name": "X", "source": {"type": "wordpress", "host": "a{{b}}"}, "destination": {"type": "aws-s3", "bucket": "b", "region": "r"}});
        assert_eq!((document, missing), (wanted, vec![]));
        let (document, missing) = made(json!({"source.host": "a", "source.database.host": "d", "destination": {"type": "static"}}));
        assert_eq!((&document["source"]["database"], missing), (&json!({"type": "mysql", "host": "d"}), vec![]));
    }

    #[test]
    fn what_is_missing_or_cannot_be_set_is_named() {
        assert_eq!(made(json!({})).1, ["destination.bucket", "destination.region", "source.host"]);
        let bad = json!({"source.host": "a", "destination.bucket": "b", "destination.region": "r", "source.host.x": 1, "a..b": 1, "transfer.options.parallel_transfers": 8});
        let (document, named) = made(bad);
        assert_eq!((&document["transfer"]["options"]["parallel_transfers"], named), (&json!(8), vec!["a..b".to_owned(), "source.host.x".to_owned()]));
        assert_eq!(
            made(json!({"source.host": "a", "destination.type": "gcp-gcs", "destination.bucket": "b"})).1,
            Vec::<String>::new(),
            "another type has other fields"
        );
        let (document, _) = made(json!({"source.host": null, "source.password": "p"}));
        assert_eq!(document["source"], json!({"type": "wordpress", "password": "p"}));
    }
}
