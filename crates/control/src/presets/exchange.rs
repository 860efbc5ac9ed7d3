//! Presets on their way to another installation, and in.

use super::form::{Form, PresetBody};
use super::{KIND, builtin};
use crate::templates::masks;
use crate::{Control, Error};
use domain::decode::{Fields, Problems, type_name};
use ports::records::{Record, RecordsError, Write};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

const FORMAT: &str = "migration-assistant-presets";

/// Answer of an export. It can be imported as it is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Exchange {
    #[schema(example = "migration-assistant-presets")]
    pub format: &'static str,
    pub presets: Vec<ExchangedPreset>,
}

/// Body of `POST /presets/import`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PresetsImport {
    #[schema(example = "migration-assistant-presets")]
    pub format: Option<String>,
    pub presets: Vec<PresetBody>,
    /// What becomes of a preset whose id is in use: `fail` (the default), `replace` or `skip`.
    #[schema(example = "fail")]
    pub on_conflict: Option<String>,
}

/// A preset without the secrets in it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ExchangedPreset {
    pub id: String,
    pub name: String,
    pub description: String,
    pub source_types: Vec<String>,
    pub destination_types: Vec<String>,
    #[schema(required = false)]
    pub optional: Vec<String>,
    /// A placeholder stands in the place of every fixed secret.
    #[schema(value_type = Object)]
    pub config_template: Value,
}

/// Answer of `POST /presets/import`: ids.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Imported {
    pub created: Vec<String>,
    pub replaced: Vec<String>,
    pub skipped: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnConflict {
    Fail,
    Replace,
    Skip,
}

impl Control {
    /// All presets of the tenant's own.
    pub async fn export_presets(&self, tenant: &str) -> Result<Exchange, Error> {
        let forms: Result<Vec<Form>, Error> = self.preset_records(tenant).await?.iter().map(|r| Form::open(r, None)).collect();
        Ok(exchange(forms?))
    }

    /// One preset, own or built in.
    pub async fn export_preset(&self, tenant: &str, id: &str) -> Result<Exchange, Error> {
        match builtin::find(id)? {
            Some(form) => Ok(exchange(vec![form.clone()])),
            None => Ok(exchange(vec![Form::open(&self.preset_record(tenant, id).await?, None)?])),
        }
    }

    /// Stores all presets of an export, or none. The same import again is refused, skipped or repeated, as `on_conflict` says.
    pub async fn import_presets(&self, tenant: &str, body: &Value) -> Result<Imported, Error> {
        let (forms, rule) = read(body)?;
        let mut done = Imported::default();
        let mut writes = Vec::new();
        for form in forms {
            let there = self.records().get(tenant, KIND, &form.id).await?;
            writes.extend(write(tenant, &form, there.as_ref(), rule, &mut done)?);
        }
        self.records().apply(writes).await?;
        Ok(done)
    }
}

fn write(tenant: &str, form: &Form, there: Option<&Record>, rule: OnConflict, done: &mut Imported) -> Result<Option<Write>, Error> {
    let id = form.id.clone();
    Ok(match (there, rule) {
        (None, _) => {
            done.created.push(id);
            Some(Write::insert(tenant, KIND, &form.id, form.fields()?))
        }
        (Some(record), OnConflict::Replace) => {
            done.replaced.push(id);
            Some(Write::update(record, form.fields()?))
        }
        (Some(_), OnConflict::Skip) => {
            done.skipped.push(id);
            None
        }
        (Some(_), OnConflict::Fail) => return Err(RecordsError::Taken { kind: KIND.to_owned(), key: id }.into()),
    })
}

fn read(body: &Value) -> Result<(Vec<Form>, OnConflict), Error> {
    let mut p = Problems::default();
    let (mut forms, mut rule) = (Vec::new(), OnConflict::Fail);
    if let Some(mut f) = Fields::of("", body, &mut p) {
        f.choice("format", &[(FORMAT, ())], &mut p);
        let rules = [("fail", OnConflict::Fail), ("replace", OnConflict::Replace), ("skip", OnConflict::Skip)];
        rule = f.choice("on_conflict", &rules, &mut p).unwrap_or(rule);
        match f.value("presets") {
            Some(Value::Array(items)) => forms = read_all(items, &mut p)?,
            Some(other) => p.note("presets", format!("must be an array of presets, not {}", type_name(other))),
            None => p.note("presets", "is required"),
        }
        f.done(&mut p);
    }
    if p.is_empty() { Ok((forms, rule)) } else { Err(Error::request(p)) }
}

fn read_all(items: &[Value], p: &mut Problems) -> Result<Vec<Form>, Error> {
    let mut forms: Vec<Form> = Vec::new();
    for (i, item) in items.iter().enumerate() {
        let path = format!("presets[{i}]");
        let Some(form) = Form::read(&path, item, None, p) else { continue };
        if builtin::find(&form.id)?.is_some() {
            p.note(format!("{path}.id"), format!("'{}' is a built-in preset; give it an id of your own", form.id));
        } else if forms.iter().any(|f| f.id == form.id) {
            p.note(format!("{path}.id"), format!("'{}' stands twice in this import", form.id));
        }
        forms.push(form);
    }
    Ok(forms)
}

fn exchange(forms: Vec<Form>) -> Exchange {
    let presets = forms.into_iter().map(|form| ExchangedPreset {
        config_template: masks::without_secrets(&form.config_template),
        id: form.id,
        name: form.name,
        description: form.description,
        source_types: form.source_types,
        destination_types: form.destination_types,
        optional: form.optional,
    });
    Exchange { format: FORMAT, presets: presets.collect() }
}
