//! How to move, how safely, and whom to tell.

use crate::decode::{Fields, Problems, type_name, whole};
use crate::{Secret, units};

/// Document 3's `transfer_methods`. The connectors follow from the two systems; the word is checked and kept for the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferMethod {
    Ssh,
    Ftp,
    Rsync,
    S3Sync,
    GcsSync,
    AzureSync,
    HybridSync,
    DockerCp,
}

impl TransferMethod {
    pub const ALL: [(&'static str, Self); 8] = [
        ("ssh", Self::Ssh),
        ("ftp", Self::Ftp),
        ("rsync", Self::Rsync),
        ("s3_sync", Self::S3Sync),
        ("gcs_sync", Self::GcsSync),
        ("azure_sync", Self::AzureSync),
        ("hybrid_sync", Self::HybridSync),
        ("docker_cp", Self::DockerCp),
    ];
}

/// What to do with a symbolic link of the source. A link is never followed out of the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Symlinks {
    Keep,
    Follow,
    Skip,
}

#[derive(Debug, Clone)]
pub struct Transfer {
    pub method: TransferMethod,
    pub compression: bool,
    /// Files or parts in flight at once.
    pub parallel_transfers: usize,
    /// Bytes of one part of a large file.
    pub chunk_size: u64,
    pub resume_on_failure: bool,
    pub verify_checksums: bool,
    /// `None`: keep where the destination can hold links, otherwise skip and say so.
    pub symlinks: Option<Symlinks>,
    /// Glob patterns relative to the root; matching entries stay behind.
    pub exclude: Vec<String>,
    /// Remove at the destination what the source does not have. Every removal is listed in the plan.
    pub delete_extraneous: bool,
    /// Lets an empty source (more often a disk that is not mounted) empty the destination.
    pub allow_empty_source: bool,
    /// Refuse a plan that deletes more than this at the destination.
    pub max_delete: Option<u64>,
}

#[derive(Debug, Clone)]
pub struct Safety {
    /// Back up what would be overwritten at the destination.
    pub backup_before: bool,
    /// Also dump the source's database into the backup.
    pub backup_source_database: bool,
    pub backup_retention_days: u32,
    pub rollback_on_failure: bool,
    pub verify_after: bool,
    /// Stop the source site's writers during the last pass, where its platform has such a mode.
    pub maintenance_mode: bool,
    /// Allow overwriting without a backup.
    pub overwrite_without_backup: bool,
}

/// Who is told how the migration went.
#[derive(Debug, Clone)]
pub struct Notifications {
    pub on_completion: bool,
    pub on_failure: bool,
    /// Empty when e-mail is off.
    pub recipients: Vec<String>,
    /// The migration's own webhook; `None` when it is off.
    pub webhook: Option<OwnWebhook>,
    /// A chat's incoming webhook: its address is the permission to write there.
    pub slack: Option<Secret>,
}

/// A webhook that hears of one migration only.
#[derive(Debug, Clone)]
pub struct OwnWebhook {
    pub url: String,
    /// `whsec_…`; signs what is sent.
    pub secret: Option<Secret>,
}

impl Transfer {
    pub(crate) fn read(fields: Option<Fields<'_>>, p: &mut Problems) -> Self {
        let mut out = Self {
            method: TransferMethod::HybridSync,
            compression: false,
            parallel_transfers: 16,
            chunk_size: 16 << 20,
            resume_on_failure: true,
            verify_checksums: true,
            symlinks: None,
            exclude: Vec::new(),
            delete_extraneous: false,
            allow_empty_source: false,
            max_delete: None,
        };
        let Some(mut f) = fields else { return out };
        out.method = f.choice("method", &TransferMethod::ALL, p).unwrap_or(out.method);
        if let Some(mut o) = f.object("options", p) {
            out.compression = o.flag("compression", false, p);
            out.parallel_transfers = o.integer("parallel_transfers", 1..=256, p).unwrap_or(16) as usize;
            out.chunk_size = read_chunk_size(&mut o, p).unwrap_or(out.chunk_size);
            out.resume_on_failure = o.flag("resume_on_failure", true, p);
            out.verify_checksums = o.flag("verify_checksums", true, p);
            out.symlinks = o.choice("symlinks", &[("keep", Symlinks::Keep), ("follow", Symlinks::Follow), ("skip", Symlinks::Skip)], p);
            out.exclude = o.texts("exclude", p);
            note_empty_patterns(&o.path("exclude"), &out.exclude, p);
            out.delete_extraneous = o.flag("delete_extraneous", false, p);
            out.allow_empty_source = o.flag("allow_empty_source", false, p);
            out.max_delete = o.integer("max_delete", 0..=i64::MAX as u64, p);
            o.done(p);
        }
        f.done(p);
        out
    }
}

/// A pattern that names nothing below the root would leave out everything, or nothing: neither was meant.
fn note_empty_patterns(field: &str, patterns: &[String], p: &mut Problems) {
    for (i, pattern) in patterns.iter().enumerate().filter(|(_, pattern)| pattern.trim_matches('/').trim().is_empty()) {
        p.note(format!("{field}[{i}]"), format!("'{pattern}' names nothing below the root; remove it, or write for example \"wp-content/cache/**\""));
    }
}

/// `"10MB"` or a number of bytes, from 5 MiB (S3's smallest part) to 5 GiB (its largest).
fn read_chunk_size(o: &mut Fields<'_>, p: &mut Problems) -> Option<u64> {
    let path = o.path("chunk_size");
    let value = o.value("chunk_size")?;
    let bytes = match value {
        serde_json::Value::String(s) => units::parse_size(s),
        other => whole(other),
    };
    match bytes {
        Some(b) if (5 << 20..=5 << 30).contains(&b) => Some(b),
        Some(b) => {
            p.note(path, format!("must be from 5MB to 5GB, not {}", units::size(b)));
            None
        }
        None => {
            p.note(path, format!("must be a size such as \"10MB\", not {}", if value.is_string() { value.to_string() } else { type_name(value).to_owned() }));
            None
        }
    }
}

impl Safety {
    pub(crate) fn read(fields: Option<Fields<'_>>, p: &mut Problems) -> Self {
        let mut out = Self {
            backup_before: true,
            backup_source_database: false,
            backup_retention_days: 30,
            rollback_on_failure: true,
            verify_after: true,
            maintenance_mode: true,
            overwrite_without_backup: false,
        };
        let Some(mut f) = fields else { return out };
        out.backup_before = f.flag("backup_before", true, p);
        out.backup_source_database = f.flag("backup_source_database", false, p);
        out.backup_retention_days = f.integer("backup_retention_days", 1..=3650, p).unwrap_or(30) as u32;
        out.rollback_on_failure = f.flag("rollback_on_failure", true, p);
        out.verify_after = f.flag("verify_after", true, p);
        out.maintenance_mode = f.flag("maintenance_mode", true, p);
        out.overwrite_without_backup = f.flag("overwrite_without_backup", false, p);
        f.done(p);
        out
    }
}

impl Notifications {
    pub(crate) fn read(fields: Option<Fields<'_>>, p: &mut Problems) -> Self {
        let mut out = Self { on_completion: true, on_failure: true, recipients: Vec::new(), webhook: None, slack: None };
        let Some(mut f) = fields else { return out };
        out.on_completion = f.flag("on_completion", true, p);
        out.on_failure = f.flag("on_failure", true, p);
        out.recipients = f.object("email", p).map(|e| read_email(e, p)).unwrap_or_default();
        out.webhook = f.object("webhook", p).and_then(|w| read_webhook(w, p));
        out.slack = f.object("slack", p).and_then(|s| read_slack(s, p));
        f.done(p);
        out
    }
}

fn read_email(mut e: Fields<'_>, p: &mut Problems) -> Vec<String> {
    let (asked, enabled) = (e.has("enabled"), e.flag("enabled", true, p));
    let recipients = e.texts("recipients", p);
    for (i, r) in recipients.iter().enumerate() {
        if !r.contains('@') || r.contains(|c: char| c.is_whitespace() || c.is_control()) {
            p.note(e.path(&format!("recipients[{i}]")), format!("'{}' is not an e-mail address", r.escape_default()));
        }
    }
    // An empty object asks for nothing.
    if asked && enabled && recipients.is_empty() {
        p.note(e.path("recipients"), "must name at least one e-mail address");
    }
    e.done(p);
    if enabled { recipients } else { Vec::new() }
}

fn read_webhook(mut w: Fields<'_>, p: &mut Problems) -> Option<OwnWebhook> {
    let (asked, enabled) = (w.has("enabled"), w.flag("enabled", true, p));
    let url = read_url(&mut w, "url", asked && enabled, p);
    let secret = w.text("secret", p).map(Secret::new);
    w.done(p);
    url.filter(|_| enabled).map(|url| OwnWebhook { url, secret })
}

fn read_slack(mut s: Fields<'_>, p: &mut Problems) -> Option<Secret> {
    let (asked, enabled) = (s.has("enabled"), s.flag("enabled", true, p));
    let url = read_url(&mut s, "webhook_url", asked && enabled, p);
    s.done(p);
    url.filter(|_| enabled).map(Secret::new)
}

fn read_url(f: &mut Fields<'_>, field: &'static str, required: bool, p: &mut Problems) -> Option<String> {
    if required && !f.has(field) {
        f.value(field);
        p.note(f.path(field), "is required");
        return None;
    }
    let url = f.text(field, p)?;
    if !(url.starts_with("http://") || url.starts_with("https://")) {
        p.note(f.path(field), "must start with http:// or https://");
    }
    Some(url)
}
