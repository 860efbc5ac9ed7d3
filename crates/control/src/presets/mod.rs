//! Presets: configurations to start from, built in or a tenant's own, that overrides complete.
//!
//! ```text
//! config_template  ─ optional parts that nobody touched ─► + overrides ("source.host": …) ─► a configuration ─► a migration
//! ```
//! Whether this version can run a preset is not written down anywhere: its template is filled with samples and decoded, so that the answer changes by
//! itself on the day when a connector comes.

mod builtin;
mod exchange;
mod form;
mod overrides;
mod shown;

pub use exchange::{Exchange, ExchangedPreset, Imported, PresetsImport};
pub use form::PresetBody;
pub use overrides::PresetOverrides;
pub use shown::{Parameter, Preset, PresetDeleted, PresetDetail};

use crate::error::{Code, Kind};
use crate::migrations::Created;
use crate::templates::unchanged;
use crate::{Control, Error};
use domain::decode::Problems;
use form::Form;
use ports::records::{Record, RecordFilter, Write};
use serde_json::{Value, json};

/// The kind of the records of custom ones.
const KIND: &str = "preset";

impl Control {
    /// The built-in ones, then the tenant's own. Parameter: `custom` (only its own, or only built-in ones).
    pub async fn presets(&self, tenant: &str, mut query: crate::Filter) -> Result<Vec<Preset>, Error> {
        let custom = query.choice("custom", &[("true", true), ("false", false)]);
        query.done()?;
        let mut out = Vec::new();
        if custom != Some(true) {
            out.extend(builtin::all()?.iter().map(|form| shown::line(form, false)));
        }
        if custom != Some(false) {
            for record in self.preset_records(tenant).await? {
                out.push(shown::line(&Form::open(&record, None)?, true));
            }
        }
        Ok(out)
    }

    pub async fn preset(&self, tenant: &str, id: &str) -> Result<PresetDetail, Error> {
        if let Some(form) = builtin::find(id)? {
            return Ok(shown::detail(form, None));
        }
        let record = self.preset_record(tenant, id).await?;
        Ok(shown::detail(&Form::open(&record, None)?, Some(&record)))
    }

    /// Stores a preset of the tenant's own.
    pub async fn create_preset(&self, tenant: &str, body: &Value) -> Result<PresetDetail, Error> {
        let form = decoded(body, None)?;
        if builtin::find(&form.id)?.is_some() {
            return Err(ports::records::RecordsError::Taken { kind: KIND.to_owned(), key: form.id }.into());
        }
        self.write_preset(Write::insert(tenant, KIND, &form.id, form.fields()?)).await
    }

    /// Replaces a preset of the tenant's own. `expected`: the version that the caller has read.
    pub async fn update_preset(&self, tenant: &str, id: &str, body: &Value, expected: Option<u64>) -> Result<PresetDetail, Error> {
        refuse_builtin(id, "changed")?;
        let record = self.preset_record(tenant, id).await?;
        unchanged(&record, expected)?;
        let kept = self.preset_form(tenant, id).await?;
        let form = decoded(body, Some(&kept))?;
        self.write_preset(Write::update(&record, form.fields()?)).await
    }

    /// Migrations that were made from it stay.
    pub async fn delete_preset(&self, tenant: &str, id: &str, expected: Option<u64>) -> Result<PresetDeleted, Error> {
        refuse_builtin(id, "deleted")?;
        let record = self.preset_record(tenant, id).await?;
        unchanged(&record, expected)?;
        self.records().apply(vec![Write::delete(&record)]).await?;
        Ok(PresetDeleted { id: id.to_owned(), status: "deleted" })
    }

    /// A migration from a preset: `{"overrides": {"source.host": …}, "name"?: …}`. Everything that is missing, unknown or bad comes back at once.
    pub async fn create_from_preset(&self, tenant: &str, id: &str, body: Option<&Value>) -> Result<Created, Error> {
        let form = self.preset_form(tenant, id).await?;
        let asked = overrides::Asked::decode(body.unwrap_or(&json!({})))?;
        if let Some(problems) = shown::unfit(&form).filter(|_| !asked.changes_a_type()) {
            return Err(unsupported(&form, problems));
        }
        let mut problems = Problems::default();
        let document = overrides::configuration(&form, &asked, &mut problems);
        if let Err(bad) = self.read(&document) {
            let new = |field: &str| !problems.0.iter().any(|p| field == p.field || field.starts_with(&format!("{}.", p.field)));
            let more: Vec<_> = bad.0.into_iter().filter(|p| new(&p.field)).collect();
            problems.0.extend(more);
        }
        if !problems.is_empty() {
            return Err(Error::configuration(problems));
        }
        self.create_saying(tenant, document, format!("Migration session created from preset {id}")).await
    }

    /// Whether presets can be read now: asked by `/health`.
    pub(crate) async fn presets_readable(&self) -> bool {
        let stored = self.records().count(crate::DEFAULT_TENANT, KIND, &RecordFilter::default()).await;
        stored.is_ok() && builtin::all().is_ok_and(|all| !all.is_empty())
    }
}

impl Control {
    async fn preset_records(&self, tenant: &str) -> Result<Vec<Record>, Error> {
        Ok(self.records().list(tenant, KIND, &RecordFilter::default()).await?)
    }

    async fn preset_record(&self, tenant: &str, id: &str) -> Result<Record, Error> {
        self.records().get(tenant, KIND, id).await?.ok_or_else(|| Error::not_found("preset", id))
    }

    /// A preset with its secrets.
    async fn preset_form(&self, tenant: &str, id: &str) -> Result<Form, Error> {
        if let Some(form) = builtin::find(id)? {
            return Ok(form.clone());
        }
        let record = self.preset_record(tenant, id).await?;
        let secret = if record.has_secret { self.records().secret(tenant, KIND, id).await? } else { None };
        Form::open(&record, secret)
    }

    async fn write_preset(&self, write: Write) -> Result<PresetDetail, Error> {
        let records = self.records().apply(vec![write]).await?;
        let record = records.first().ok_or_else(|| Error::internal("a preset was written, and no record came back"))?;
        Ok(shown::detail(&Form::open(record, None)?, Some(record)))
    }
}

fn decoded(body: &Value, kept: Option<&Form>) -> Result<Form, Error> {
    let mut problems = Problems::default();
    match Form::read("", body, kept, &mut problems) {
        Some(form) if problems.is_empty() => Ok(form),
        _ => Err(Error::request(problems)),
    }
}

fn refuse_builtin(id: &str, doing: &str) -> Result<(), Error> {
    if builtin::find(id)?.is_none() {
        return Ok(());
    }
    let message = format!("The preset '{id}' is built in and cannot be {doing}; export it, and import it under an id of your own");
    Err(Error::new(Kind::Conflict, Code::PresetReadOnly, message).details(json!({"preset_id": id})))
}

fn unsupported(form: &Form, problems: Problems) -> Error {
    let reason = shown::reason(form, &problems);
    let error = Error::configuration(problems);
    let errors = error.details["validation_errors"].clone();
    Error { message: format!("This version cannot run the preset '{}': {reason}", form.id), ..error }
        .details(json!({"preset_id": form.id, "unsupported_reason": reason, "validation_errors": errors}))
}
