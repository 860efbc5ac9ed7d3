//! Presets as they are answered.

use super::form::{Form, sample};
use crate::templates::placeholders::find;
use crate::templates::samples;
use domain::decode::Problems;
use ports::records::Record;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// One line of `GET /presets/`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Preset {
    #[schema(example = "wordpress-mysql")]
    pub id: String,
    #[schema(example = "WordPress with MySQL")]
    pub name: String,
    pub description: String,
    pub source_types: Vec<String>,
    pub destination_types: Vec<String>,
    /// The tenant's own; the others are built in.
    #[schema(example = false)]
    pub custom: bool,
    /// This version can run it as it stands.
    #[schema(example = true)]
    pub supported: bool,
}

/// Answer of `GET /presets/{preset_id}`; fixed secrets read `********`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PresetDetail {
    #[schema(example = "wordpress-mysql")]
    pub id: String,
    #[schema(example = "WordPress with MySQL")]
    pub name: String,
    pub description: String,
    #[schema(value_type = Object)]
    pub config_template: Value,
    #[schema(example = false)]
    pub custom: bool,
    pub source_types: Vec<String>,
    pub destination_types: Vec<String>,
    /// Those of `destination_types` that this version moves to.
    pub supported_destination_types: Vec<String>,
    /// This version can run it as it stands.
    #[schema(example = true)]
    pub supported: bool,
    /// Why it cannot.
    pub unsupported_reason: Option<String>,
    /// What overrides give.
    pub parameters: Vec<Parameter>,
    /// Of a custom one: raised by every change; what `ETag` and `If-Match` compare.
    pub version: Option<u64>,
}

/// A placeholder of the template.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Parameter {
    /// What it is called in `overrides`.
    #[schema(example = "source.host")]
    pub path: String,
    #[schema(example = "source_host")]
    pub placeholder: String,
    /// No migration can be created without it.
    pub required: bool,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PresetDeleted {
    pub id: String,
    #[schema(example = "deleted")]
    pub status: &'static str,
}

/// What this version has against the preset; `None` when it can run it.
pub(super) fn unfit(form: &Form) -> Option<Problems> {
    let found = find(&form.config_template, "", &mut Problems::default());
    let problems = samples::problems(&form.config_template, &found, &sample);
    (!problems.is_empty()).then_some(Problems(problems))
}

/// The problems as one sentence.
pub(super) fn reason(form: &Form, problems: &Problems) -> String {
    let own = || problems.0.iter().map(|p| format!("{}: {}", p.field, p.message)).collect::<Vec<_>>().join("; ");
    form.unsupported_reason.clone().unwrap_or_else(own)
}

pub(super) fn line(form: &Form, custom: bool) -> Preset {
    Preset {
        id: form.id.clone(),
        name: form.name.clone(),
        description: form.description.clone(),
        source_types: form.source_types.clone(),
        destination_types: form.destination_types.clone(),
        custom,
        supported: unfit(form).is_none(),
    }
}

pub(super) fn detail(form: &Form, record: Option<&Record>) -> PresetDetail {
    let problems = unfit(form);
    let moved = crate::system::supported_types();
    PresetDetail {
        id: form.id.clone(),
        name: form.name.clone(),
        description: form.description.clone(),
        config_template: form.config_template.clone(),
        custom: record.is_some(),
        source_types: form.source_types.clone(),
        destination_types: form.destination_types.clone(),
        supported_destination_types: form.destination_types.iter().filter(|t| moved.contains(&t.as_str())).cloned().collect(),
        supported: problems.is_none(),
        unsupported_reason: problems.map(|p| reason(form, &p)),
        parameters: parameters(form),
        version: record.map(|r| r.version),
    }
}

fn parameters(form: &Form) -> Vec<Parameter> {
    let found = find(&form.config_template, "", &mut Problems::default());
    let lies_in = |path: &str, outer: &str| path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    found.into_iter().map(|f| Parameter { required: !form.optional.iter().any(|o| lies_in(&f.path, o)), path: f.path, placeholder: f.name }).collect()
}
