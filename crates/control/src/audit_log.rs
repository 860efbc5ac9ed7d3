//! Reading the audit log: who did what, to what, from where, with which result.

use crate::analytics::field;
use crate::{Control, Error, Filter, time};
use ports::records::{AuditFilter, AuditRow};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Entries that one look at the store takes during an export.
const PAGE: u32 = 500;

/// First line of the export as a table.
pub const CSV_HEAD: &str = "id,at,actor,proof,action,target,source,request_id,result,details\r\n";

/// One entry. It was written in the transaction of the change that it tells about, and is never changed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AuditEntryView {
    /// Grows with time; `before` takes it.
    #[schema(example = 1042)]
    pub id: u64,
    #[schema(example = "2024-08-26T14:30:22.123456")]
    pub at: String,
    /// Name of the user or API key; `anonymous` where nobody has to log in; `system` for the product itself.
    #[schema(example = "admin")]
    pub actor: String,
    /// How the actor proved who it is: `none`, `token`, `api_key`, `password` or `system`.
    #[schema(example = "token")]
    pub proof: String,
    /// The operation's id in this document.
    #[schema(example = "start_migration")]
    pub action: String,
    /// The path that it was asked on.
    #[schema(example = "migrations/0198e2b4c5d67f80a1b2c3d4e5f60718/start")]
    pub target: String,
    /// Address of the caller.
    #[schema(example = "192.0.2.7")]
    pub source: String,
    #[schema(example = "req-abc123def456")]
    pub request_id: String,
    /// `done`, `answered_again` (a repeated request with its `Idempotency-Key`), or the error's code.
    #[schema(example = "done")]
    pub result: String,
    pub details: Value,
}

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    JsonLines,
    Csv,
}

/// An export in progress: page after page, newest first.
pub struct AuditExport {
    control: Control,
    tenant: String,
    filter: AuditFilter,
    pub format: ExportFormat,
    head: bool,
    done: bool,
}

impl Control {
    /// Newest first. Takes `actor`, `action`, `target` (with `*` at its end: what begins so), `result`, `since`, `until`, and for paging
    /// `before` (the id of the last entry seen) and `limit` (100).
    pub async fn audit_entries(&self, tenant: &str, mut filter: Filter) -> Result<Vec<AuditEntryView>, Error> {
        let limit = filter.number("limit", 1..=1000, 100) as u32;
        let wanted = AuditFilter { limit, ..wanted(&mut filter) };
        filter.done()?;
        Ok(self.records().entries(tenant, &wanted).await?.into_iter().map(shown).collect())
    }

    /// Begins an export: the same filters, and `format` (`jsonl` or `csv`). Nothing is read before the first page is asked for.
    pub fn audit_export(&self, tenant: &str, mut filter: Filter) -> Result<AuditExport, Error> {
        let format = filter.choice("format", &[("jsonl", ExportFormat::JsonLines), ("csv", ExportFormat::Csv)]).unwrap_or(ExportFormat::JsonLines);
        let wanted = AuditFilter { limit: PAGE, ..wanted(&mut filter) };
        filter.done()?;
        Ok(AuditExport { control: self.clone(), tenant: tenant.to_owned(), filter: wanted, format, head: format == ExportFormat::Csv, done: false })
    }
}

impl AuditExport {
    /// The next piece of text; `None` after the last one.
    pub async fn next(&mut self) -> Result<Option<String>, Error> {
        if self.done {
            return Ok(None);
        }
        let rows = self.control.records().entries(&self.tenant, &self.filter).await?;
        self.done = rows.len() < PAGE as usize;
        self.filter.before = rows.last().map(|r| r.id).or(self.filter.before);
        let mut out = if std::mem::take(&mut self.head) { CSV_HEAD.to_owned() } else { String::new() };
        for row in rows {
            out.push_str(&self.line(&shown(row))?);
        }
        Ok(Some(out))
    }

    fn line(&self, entry: &AuditEntryView) -> Result<String, Error> {
        match self.format {
            ExportFormat::Csv => Ok(csv(entry)),
            ExportFormat::JsonLines => {
                let text = serde_json::to_string(entry).map_err(|e| Error::internal(format!("an audit entry cannot be encoded: {e}")))?;
                Ok(text + "\n")
            }
        }
    }
}

fn wanted(filter: &mut Filter) -> AuditFilter {
    let given = filter.has("before");
    let before = given.then_some(filter.number("before", 1..=i64::MAX as u64, u64::MAX));
    AuditFilter {
        actor: filter.text("actor"),
        action: filter.text("action"),
        target: filter.text("target"),
        result: filter.text("result"),
        since: filter.time("since"),
        until: filter.time("until"),
        before,
        ..AuditFilter::default()
    }
}

fn shown(row: AuditRow) -> AuditEntryView {
    let e = row.entry;
    AuditEntryView {
        id: row.id,
        at: time::text(row.at),
        actor: e.actor,
        proof: e.proof,
        action: e.action,
        target: e.target,
        source: e.source,
        request_id: e.request_id,
        result: e.result,
        details: e.details,
    }
}

fn csv(e: &AuditEntryView) -> String {
    let details = if e.details.is_null() { String::new() } else { e.details.to_string() };
    let texts = [&e.at, &e.actor, &e.proof, &e.action, &e.target, &e.source, &e.request_id, &e.result, &details];
    let fields: Vec<String> = texts.into_iter().map(|t| field(t)).collect();
    format!("{},{}\r\n", e.id, fields.join(","))
}
