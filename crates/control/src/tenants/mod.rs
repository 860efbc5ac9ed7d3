//! Tenants: each sees only what is its own. The administrators of the tenant `default` make and remove the others.

use crate::caller::Caller;
use crate::error::{Code, Kind};
use crate::{Control, DEFAULT_TENANT, Error, Filter, time};
use domain::decode::{Fields, Problems};
use engine::RunFilter;
use ports::records::{Record, RecordFilter, SYSTEM, Write};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

pub(crate) const TENANT: &str = "tenant";

/// Kinds of records that a tenant may own; as long as there is one, it is not empty.
const OWNED: &[&str] = &["preset", "template", "webhook", "schedule", "batch", "workload", "credentials", "mount_point", "migration_target"];

/// A tenant.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TenantView {
    #[schema(example = "tenant-123")]
    pub id: String,
    #[schema(example = "Customer 123")]
    pub name: String,
    pub created_at: Option<String>,
}

impl Control {
    /// All tenants for an administrator of `default`, the caller's own one for others; in the order of their ids.
    pub async fn tenants(&self, caller: &Caller, mut query: Filter) -> Result<Vec<TenantView>, Error> {
        let page = query.page();
        query.done()?;
        let mut all: Vec<TenantView> = self.records().list(SYSTEM, TENANT, &RecordFilter::default()).await?.iter().map(view).collect();
        if !all.iter().any(|t| t.id == DEFAULT_TENANT) {
            all.push(first());
        }
        all.retain(|t| caller.is_operator() || t.id == caller.tenant);
        all.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(page.cut(all, |t| &t.id))
    }

    pub async fn tenant(&self, caller: &Caller, id: &str) -> Result<TenantView, Error> {
        let id = self.tenant_in_reach(caller, Some(id)).await?;
        Ok(self.records().get(SYSTEM, TENANT, &id).await?.as_ref().map_or_else(first, view))
    }

    /// Body: `id` (made from the name without it), `name`.
    pub async fn create_tenant(&self, caller: &Caller, given: &Value) -> Result<TenantView, Error> {
        caller.require_operator()?;
        let (id, name) = decode(given)?;
        if id == DEFAULT_TENANT {
            return Err(Error::new(Kind::Conflict, Code::Taken, "The tenant 'default' is there from the start").details(json!({"kind": TENANT, "key": id})));
        }
        let fields = ports::records::Fields::body(json!({"name": name}));
        let made = self.records().apply(vec![Write::insert(SYSTEM, TENANT, &id, fields)]).await?;
        made.first().map(view).ok_or_else(|| Error::internal("the new tenant was not answered"))
    }

    /// Only when nobody belongs to it and nothing is in it.
    pub async fn delete_tenant(&self, caller: &Caller, id: &str) -> Result<(), Error> {
        caller.require_operator()?;
        let Some(record) = self.records().get(SYSTEM, TENANT, id).await? else {
            let missing = if id == DEFAULT_TENANT { not_empty(id, "the installation's own tenant, which stays") } else { Error::tenant_not_found(id) };
            return Err(missing);
        };
        if self.has_users(id).await? {
            return Err(not_empty(id, "a tenant with users; take them out first"));
        }
        let runs = self.engine().list(id, &RunFilter { limit: 1, ..RunFilter::default() }).await.map_err(|e| Error::of_engine(e, id, "look into"))?;
        if !runs.is_empty() {
            return Err(not_empty(id, "a tenant with migrations; delete them first"));
        }
        for kind in OWNED {
            if self.records().count(id, kind, &RecordFilter::default()).await? > 0 {
                return Err(not_empty(id, &format!("a tenant with a {kind}; delete it first")));
            }
        }
        self.records().apply(vec![Write::delete(&record)]).await?;
        Ok(())
    }

    /// The tenant that the caller names (its own without a name), if it looks after it.
    pub(crate) async fn tenant_in_reach(&self, caller: &Caller, named: Option<&str>) -> Result<String, Error> {
        let id = named.unwrap_or(&caller.tenant);
        if id == caller.tenant {
            return Ok(id.to_owned());
        }
        let exists = caller.is_operator() && (id == DEFAULT_TENANT || self.records().get(SYSTEM, TENANT, id).await?.is_some());
        if exists { Ok(id.to_owned()) } else { Err(Error::tenant_not_found(id)) }
    }
}

fn decode(given: &Value) -> Result<(String, String), Error> {
    let mut problems = Problems::default();
    let decoded = Fields::of("", given, &mut problems).map(|mut fields| {
        let name = fields.required_text("name", &mut problems);
        if name.chars().count() > 200 {
            problems.note("name", "may have up to 200 characters");
        }
        let id = match fields.text("id", &mut problems) {
            Some(id) => id,
            None => from_name(&name),
        };
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let good = (1..=63).contains(&id.len()) && id.chars().all(plain) && !id.starts_with('-') && !id.ends_with('-');
        if id == SYSTEM {
            problems.note("id", "'system' is a reserved word");
        } else if !good && !name.is_empty() {
            problems.note("id", "must have 1 to 63 small letters, digits or hyphens in between");
        }
        fields.done(&mut problems);
        (id, name)
    });
    decoded.filter(|_| problems.is_empty()).ok_or_else(|| Error::request(problems))
}

/// "Customer 123" gives "customer-123".
fn from_name(name: &str) -> String {
    let words: Vec<String> = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_ascii_lowercase).collect();
    let mut id = words.join("-");
    id.truncate(63);
    id.trim_end_matches('-').to_owned()
}

fn not_empty(id: &str, what: &str) -> Error {
    Error::new(Kind::Conflict, Code::TenantNotEmpty, format!("'{id}' is {what}")).details(json!({"tenant_id": id}))
}

fn view(record: &Record) -> TenantView {
    TenantView { id: record.id.clone(), name: record.body["name"].as_str().unwrap_or(&record.id).to_owned(), created_at: Some(time::text(record.created_at)) }
}

/// The tenant that needs no record.
fn first() -> TenantView {
    TenantView { id: DEFAULT_TENANT.to_owned(), name: "Default".to_owned(), created_at: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_plain_and_bad_ones_are_named() {
        assert_eq!(decode(&json!({"name": "Customer 123"})).unwrap().0, "customer-123");
        assert_eq!(decode(&json!({"name": "x", "id": "tenant-123"})).unwrap().0, "tenant-123");
        for bad in ["", "-a", "a-", "A", "a b", "a/b", "..", "system", "é"] {
            assert!(decode(&json!({"name": "x", "id": bad})).is_err(), "{bad}");
        }
        assert!(decode(&json!({"name": "é"})).is_err());
    }
}
