//! A template as it is written, stored and shown.

use super::variables::{self, Variable, VariableType};
use super::{masks, placeholders, samples};
use crate::{Error, time};
use domain::decode::{Fields, Problems};
use domain::secret::MASK;
use ports::records::{Fields as RecordFields, Record};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

/// Body of `POST /templates/` and `PUT /templates/{id}`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TemplateBody {
    #[schema(example = "WordPress to AWS Template")]
    pub name: String,
    pub description: Option<String>,
    /// A migration's configuration with `{{name}}` where a variable goes. `name` may be left out: the migration is then called as the template.
    #[schema(value_type = Object)]
    pub template: Value,
    #[schema(required = false)]
    pub variables: Vec<Variable>,
}

/// One line of `GET /templates/`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TemplateSummary {
    #[schema(example = "0198e2b4c5d67f80a1b2c3d4e5f60718")]
    pub id: String,
    #[schema(example = "WordPress to AWS Template")]
    pub name: String,
    pub description: Option<String>,
    pub variables: Vec<Variable>,
    #[schema(example = "2024-08-26T14:30:22.123456")]
    pub created_at: String,
    pub updated_at: String,
    /// Raised by every change; what `ETag` and `If-Match` compare.
    #[schema(example = 1)]
    pub version: u64,
}

/// A template; fixed secrets read `********`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Template {
    #[serde(flatten)]
    pub summary: TemplateSummary,
    #[schema(value_type = Object)]
    pub template: Value,
}

/// Body of `POST /templates/{template_id}/create-migration`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TemplateValues {
    /// Name of a variable → its value.
    #[schema(value_type = Option<Object>)]
    pub variables: Option<Value>,
    /// Name of the migration; default: the template's.
    pub name: Option<String>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TemplateDeleted {
    pub id: String,
    #[schema(example = "deleted")]
    pub status: &'static str,
}

/// What a template is made of, with its secrets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Form {
    pub name: String,
    pub description: Option<String>,
    pub template: Value,
    pub variables: Vec<Variable>,
}

impl Form {
    /// Reads and checks a body. `kept`: what is stored now; a mask that comes back keeps its secret.
    pub fn decode(body: &Value, kept: Option<&Self>) -> Result<Self, Error> {
        let mut problems = Problems::default();
        let form = Self::read(body, kept, &mut problems);
        match form {
            Some(form) if problems.is_empty() => Ok(form),
            _ => Err(Error::request(problems)),
        }
    }

    fn read(body: &Value, kept: Option<&Self>, p: &mut Problems) -> Option<Self> {
        let mut f = Fields::of("", body, p)?;
        let name = f.required_text("name", p);
        if name.chars().count() > 200 {
            p.note("name", "must be at most 200 characters long");
        }
        let description = f.text("description", p);
        let template = f.value("template");
        let declared = f.value("variables").cloned().map(|v| with_kept_defaults(v, kept, p));
        f.done(p);
        let before = p.0.len();
        let variables = variables::read(declared.as_ref(), p);
        let Some(template) = template else {
            p.note("template", "is required");
            return None;
        };
        Fields::of("template", template, p)?;
        let template = masks::unmask(template, kept.map(|k| &k.template), "template", p);
        if p.0.len() == before {
            check(&template, &variables, p);
        }
        Some(Self { name, description, template, variables })
    }

    /// The record's form, with its secret where it has one.
    pub fn open(record: &Record, secret: Option<Value>) -> Result<Self, Error> {
        serde_json::from_value(secret.unwrap_or_else(|| record.body.clone()))
            .map_err(|e| Error::internal(format!("the template {} cannot be decoded: {e}", record.id)))
    }

    /// What is stored: the shown form, and the whole beside it when something is not shown.
    pub fn fields(&self) -> Result<RecordFields, Error> {
        let encode = |form: &Self| serde_json::to_value(form).map_err(|e| Error::internal(format!("a template cannot be encoded: {e}")));
        let shown = self.masked();
        let secret = if shown == *self { None } else { Some(encode(self)?) };
        Ok(RecordFields::body(encode(&shown)?).secret(secret))
    }

    fn masked(&self) -> Self {
        let hidden = |v: &Variable| Variable { default: v.default.as_ref().map(|_| json!(MASK)), ..v.clone() };
        let variables = self.variables.iter().map(|v| if v.kind == VariableType::Secret { hidden(v) } else { v.clone() }).collect();
        Self { template: masks::mask(&self.template), variables, ..self.clone() }
    }
}

/// The declarations with each masked default of a secret replaced by the one that is stored under the same name.
fn with_kept_defaults(mut declared: Value, kept: Option<&Form>, p: &mut Problems) -> Value {
    for (i, item) in declared.as_array_mut().into_iter().flatten().enumerate() {
        if item["type"] != "secret" || item["default"] != MASK {
            continue;
        }
        let stored = kept.and_then(|k| k.variables.iter().find(|v| item["name"] == v.name && v.kind == VariableType::Secret)?.default.clone());
        match stored {
            Some(value) => item["default"] = value,
            None => p.note(format!("variables[{i}].default"), "is the mask of a secret, not a value, and none is stored here; give the value itself"),
        }
    }
    declared
}

/// Everything that can be known before the variables have values.
fn check(template: &Value, variables: &[Variable], p: &mut Problems) {
    let before = p.0.len();
    let mut braces = Problems::default();
    let found = placeholders::find(template, "", &mut braces);
    p.0.extend(samples::below("template", braces.0));
    variables::check_use(variables, &found, p);
    if p.0.len() == before {
        let sample = |name: &str, path: &str| variables::sample(variables, name, path);
        p.0.extend(samples::below("template", samples::problems(template, &found, &sample)));
    }
}

pub(super) fn shown(record: &Record) -> Result<Template, Error> {
    let form = Form::open(record, None)?;
    let summary = TemplateSummary {
        id: record.id.clone(),
        name: form.name,
        description: form.description,
        variables: form.variables,
        created_at: time::text(record.created_at),
        updated_at: time::text(record.updated_at),
        version: record.version,
    };
    Ok(Template { summary, template: form.template })
}
