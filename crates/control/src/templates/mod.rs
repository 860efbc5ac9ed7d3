//! Templates: a configuration with placeholders, and the variables that fill them. Also what presets share with them.
//!
//! ```text
//! template {"host": "{{source_host}}"}  +  variables {"source_host": "old.example"}  ─► a configuration ─► a migration
//! ```
//! What can be wrong is told when the template is written, not when somebody uses it at night: undeclared and unused variables, defaults of the
//! wrong type, secrets in places where they would be shown, fields that no configuration has. Fixed secrets are sealed ([`masks`]).

pub(crate) mod masks;
pub(crate) mod placeholders;
pub(crate) mod samples;
mod stored;
mod variables;

pub use stored::{Template, TemplateBody, TemplateDeleted, TemplateSummary, TemplateValues};
pub use variables::{Variable, VariableType};

use crate::migrations::Created;
use crate::{Control, Error};
use domain::decode::{Fields, Problems};
use ports::records::{Record, Write};
use serde_json::{Map, Value, json};
use stored::Form;

/// The kind of its records.
const KIND: &str = "template";

impl Control {
    /// Stores a new template.
    pub async fn create_template(&self, tenant: &str, body: &Value) -> Result<Template, Error> {
        let form = Form::decode(body, None)?;
        let id = uuid::Uuid::now_v7().simple().to_string();
        self.written(vec![Write::insert(tenant, KIND, &id, form.fields()?)]).await
    }

    /// Newest first. Parameters: `limit` (1 to 1000, default 100), `offset`.
    pub async fn templates(&self, tenant: &str, mut query: crate::Filter) -> Result<Vec<TemplateSummary>, Error> {
        let page = query.page();
        query.done()?;
        let filter = page.filter();
        let found = self.records().list(tenant, KIND, &filter).await?;
        found.iter().map(|r| Ok(stored::shown(r)?.summary)).collect()
    }

    pub async fn template(&self, tenant: &str, id: &str) -> Result<Template, Error> {
        stored::shown(&self.template_record(tenant, id).await?)
    }

    /// Replaces a template. `expected`: the version that the caller has read ([`crate::error::Code::Changed`] when it is another one).
    pub async fn update_template(&self, tenant: &str, id: &str, body: &Value, expected: Option<u64>) -> Result<Template, Error> {
        let record = self.template_record(tenant, id).await?;
        unchanged(&record, expected)?;
        let kept = self.form(&record).await?;
        let form = Form::decode(body, Some(&kept))?;
        self.written(vec![Write::update(&record, form.fields()?)]).await
    }

    /// Migrations that were made from it stay.
    pub async fn delete_template(&self, tenant: &str, id: &str, expected: Option<u64>) -> Result<TemplateDeleted, Error> {
        let record = self.template_record(tenant, id).await?;
        unchanged(&record, expected)?;
        self.records().apply(vec![Write::delete(&record)]).await?;
        Ok(TemplateDeleted { id: id.to_owned(), status: "deleted" })
    }

    /// A migration from a template: `{"variables": {…}, "name"?: …}`.
    pub async fn create_from_template(&self, tenant: &str, id: &str, body: Option<&Value>) -> Result<Created, Error> {
        let record = self.template_record(tenant, id).await?;
        let form = self.form(&record).await?;
        let document = filled(&form, body.unwrap_or(&json!({})))?;
        self.create_saying(tenant, document, format!("Migration session created from template {}", form.name)).await
    }

    async fn template_record(&self, tenant: &str, id: &str) -> Result<Record, Error> {
        self.records().get(tenant, KIND, id).await?.ok_or_else(|| Error::not_found("template", id))
    }

    /// The template with its secrets.
    async fn form(&self, record: &Record) -> Result<Form, Error> {
        let secret = if record.has_secret { self.records().secret(&record.tenant, KIND, &record.id).await? } else { None };
        Form::open(record, secret)
    }

    async fn written(&self, writes: Vec<Write>) -> Result<Template, Error> {
        let records = self.records().apply(writes).await?;
        records.first().map_or_else(|| Err(Error::internal("a template was written, and no record came back")), stored::shown)
    }
}

/// Refuses a change of what is not as the caller has read it.
pub(crate) fn unchanged(record: &Record, expected: Option<u64>) -> Result<(), Error> {
    match expected {
        Some(version) if version != record.version => Err(ports::records::RecordsError::Changed { kind: record.kind.clone(), id: record.id.clone() }.into()),
        _ => Ok(()),
    }
}

/// The configuration that the template and the given values make.
fn filled(form: &Form, body: &Value) -> Result<Value, Error> {
    let mut problems = Problems::default();
    let (mut values, mut name) = (Map::new(), None);
    if let Some(mut fields) = Fields::of("", body, &mut problems) {
        values = variables::settle(&form.variables, fields.value("variables"), &mut problems);
        name = fields.text("name", &mut problems);
        fields.done(&mut problems);
    }
    if !problems.is_empty() {
        return Err(Error::request(problems));
    }
    let fill = |name: &str, _: &str| values.get(name).cloned();
    let document = placeholders::render(&form.template, "", &fill, &mut problems);
    if !problems.is_empty() {
        return Err(Error::configuration(problems));
    }
    let mut document = document.unwrap_or(Value::Null);
    if let Value::Object(map) = &mut document {
        match name {
            Some(name) => drop(map.insert("name".to_owned(), json!(name))),
            None => drop(map.entry("name").or_insert_with(|| json!(form.name))),
        }
    }
    Ok(document)
}
