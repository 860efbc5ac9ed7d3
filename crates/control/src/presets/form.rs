//! A preset as it is written and stored.

use crate::Error;
use crate::templates::placeholders::{at, find};
use crate::templates::{masks, samples};
use domain::decode::{Fields, Problems};
use domain::spec::SystemKind;
use ports::records::{Fields as RecordFields, Record};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

/// Words that are paths of their own.
const RESERVED: [&str; 2] = ["export", "import"];

/// Body of `POST /presets/` and `PUT /presets/{preset_id}`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PresetBody {
    /// Small letters, digits and hyphens; made from the name when left out. A change cannot change it.
    #[schema(example = "our-shop")]
    pub id: Option<String>,
    #[schema(example = "Our shop")]
    pub name: String,
    pub description: Option<String>,
    /// Default: the type in the template.
    #[schema(required = false)]
    pub source_types: Vec<String>,
    #[schema(required = false)]
    pub destination_types: Vec<String>,
    /// Paths of the template that may be left out when nobody gives a value for anything in them.
    #[schema(required = false, example = json!(["source.password"]))]
    pub optional: Vec<String>,
    /// A migration's configuration with `{{name}}` for whatever overrides must give.
    #[schema(value_type = Object)]
    pub config_template: Value,
}

/// What a preset is made of, with its secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Form {
    pub id: String,
    pub name: String,
    pub description: String,
    pub source_types: Vec<String>,
    pub destination_types: Vec<String>,
    #[serde(default)]
    pub optional: Vec<String>,
    /// Why a version that cannot run it cannot, in better words than the decoder's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsupported_reason: Option<String>,
    pub config_template: Value,
}

impl Form {
    /// Reads and checks an object at `path`. `kept`: what is stored now under that id; a mask that comes back keeps its secret.
    pub fn read(path: &str, body: &Value, kept: Option<&Self>, p: &mut Problems) -> Option<Self> {
        let mut f = Fields::of(path, body, p)?;
        let name = f.required_text("name", p);
        if name.chars().count() > 200 {
            p.note(f.path("name"), "must be at most 200 characters long");
        }
        let id = read_id(&mut f, &name, kept, p);
        let description = f.text("description", p).unwrap_or_default();
        let (from, to) = (f.texts("source_types", p), f.texts("destination_types", p));
        let optional = f.texts("optional", p);
        let (at_template, at_optional) = (f.path("config_template"), f.path("optional"));
        let types = [(f.path("source_types"), &from), (f.path("destination_types"), &to)];
        for (path, words) in types {
            check_types(&path, words, p);
        }
        let template = f.value("config_template");
        f.done(p);
        let Some(template) = template else {
            p.note(at_template, "is required");
            return None;
        };
        Fields::of(&at_template, template, p)?;
        let template = masks::unmask(template, kept.map(|k| &k.config_template), &at_template, p);
        check_template(&at_template, &template, p);
        for (i, path) in optional.iter().enumerate().filter(|(_, path)| at(&template, path).is_none()) {
            p.note(format!("{at_optional}[{i}]"), format!("'{}' is not in config_template", path.escape_default()));
        }
        let own =
            |side: &str, given: Vec<String>| if given.is_empty() { template[side]["type"].as_str().map(str::to_owned).into_iter().collect() } else { given };
        let (source_types, destination_types) = (own("source", from), own("destination", to));
        Some(Self { id, name, description, source_types, destination_types, optional, unsupported_reason: None, config_template: template })
    }

    /// The record's form, with its secret where it has one.
    pub fn open(record: &Record, secret: Option<Value>) -> Result<Self, Error> {
        serde_json::from_value(secret.unwrap_or_else(|| record.body.clone()))
            .map_err(|e| Error::internal(format!("the preset {} cannot be decoded: {e}", record.id)))
    }

    /// What is stored: the shown form, and the whole beside it when something is not shown.
    pub fn fields(&self) -> Result<RecordFields, Error> {
        let encode = |form: &Self| serde_json::to_value(form).map_err(|e| Error::internal(format!("a preset cannot be encoded: {e}")));
        let shown = Self { config_template: masks::mask(&self.config_template), ..self.clone() };
        let secret = if shown == *self { None } else { Some(encode(self)?) };
        Ok(RecordFields::body(encode(&shown)?).secret(secret))
    }
}

fn read_id(f: &mut Fields<'_>, name: &str, kept: Option<&Form>, p: &mut Problems) -> String {
    let before = p.0.len();
    let given = f.text("id", p);
    if p.0.len() > before {
        return String::new();
    }
    if let Some(kept) = kept {
        if given.is_some_and(|id| id != kept.id) {
            p.note(f.path("id"), "cannot be changed; create a new preset instead");
        }
        return kept.id.clone();
    }
    if given.is_none() && name.is_empty() {
        return String::new();
    }
    let id = given.unwrap_or_else(|| slug(name));
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if RESERVED.contains(&id.as_str()) {
        p.note(f.path("id"), format!("'{id}' is a path of its own; choose another"));
    } else if !(1..=64).contains(&id.len()) || !id.chars().all(plain) || id.starts_with('-') || id.ends_with('-') {
        p.note(f.path("id"), "must be 1 to 64 small letters, digits and hyphens, with no hyphen at its ends");
    }
    id
}

/// `Our Shop!` → `our-shop`.
fn slug(name: &str) -> String {
    let words: Vec<String> = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_ascii_lowercase).collect();
    let text: String = words.join("-").chars().take(64).collect();
    text.trim_end_matches('-').to_owned()
}

fn check_types(path: &str, words: &[String], p: &mut Problems) {
    for (i, word) in words.iter().enumerate().filter(|(_, word)| !SystemKind::ALL.iter().any(|(known, _)| known == word)) {
        let known = SystemKind::ALL.map(|(w, _)| w).join(", ");
        p.note(format!("{path}[{i}]"), format!("Invalid system type: '{}' (one of: {known})", word.escape_default()));
    }
}

fn check_template(path: &str, template: &Value, p: &mut Problems) {
    let mut braces = Problems::default();
    let found = find(template, "", &mut braces);
    let fine = braces.is_empty();
    p.0.extend(samples::below(path, braces.0));
    if fine {
        p.0.extend(samples::below(path, samples::problems(template, &found, &sample)));
    }
}

/// What a placeholder at `path` may stand for.
pub(super) fn sample(_name: &str, path: &str) -> Option<Value> {
    samples::of_field(path).or_else(|| Some(json!("sample")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_made_from_names() {
        for (name, id) in [("Our Shop!", "our-shop"), ("  A  b ", "a-b"), ("Änderung 2", "nderung-2"), ("!", "")] {
            assert_eq!(slug(name), id);
        }
    }

    #[test]
    fn every_bad_field_is_named() {
        let body = json!({"id": "Our Shop", "name": "", "source_types": ["word"], "optional": ["source.gone"], "desription": "x",
            "config_template": {"source": {"type": "static", "hots": "{{h}}"}, "destination": {"type": "aws-s3", "bucket": "{{b|x}}"}}});
        let mut p = Problems::default();
        Form::read("", &body, None, &mut p);
        let named: Vec<&str> = p.0.iter().map(|p| p.field.as_str()).collect();
        assert_eq!(named, ["name", "id", "source_types[0]", "desription", "config_template.destination.bucket", "optional[0]"]);
        let bad =
            json!({"name": "x", "config_template": {"source": {"type": "static", "hots": "{{h}}"}, "destination": {"type": "aws-s3", "bucket": "{{b}}"}}});
        let mut p = Problems::default();
        Form::read("presets[1]", &bad, None, &mut p);
        assert_eq!(p.0[0].field, "presets[1].config_template.source.hots");
    }
}
