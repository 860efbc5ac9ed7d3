//! How to move, how safely, and whom to tell.

use crate::decode::{Fields, Problems, type_name};
use crate::units;

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

#[derive(Debug, Clone, Default)]
pub struct Notifications {
    pub email_enabled: bool,
    pub recipients: Vec<String>,
    pub webhook_enabled: bool,
    pub webhook_url: Option<String>,
}

impl Transfer {
    pub(super) fn read(fields: Option<Fields<'_>>, p: &mut Problems) -> Self {
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
            out.delete_extraneous = o.flag("delete_extraneous", false, p);
            o.done(p);
        }
        f.done(p);
        out
    }
}

/// `"10MB"` or a number of bytes, from 5 MiB (S3's smallest part) to 5 GiB (its largest).
fn read_chunk_size(o: &mut Fields<'_>, p: &mut Problems) -> Option<u64> {
    let path = o.path("chunk_size");
    let value = o.value("chunk_size")?;
    let bytes = match value {
        serde_json::Value::String(s) => units::parse_size(s),
        other => other.as_u64(),
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
    pub(super) fn read(fields: Option<Fields<'_>>, p: &mut Problems) -> Self {
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
    pub(super) fn read(fields: Option<Fields<'_>>, p: &mut Problems) -> Self {
        let mut out = Self::default();
        let Some(mut f) = fields else { return out };
        if let Some(mut e) = f.object("email", p) {
            out.email_enabled = e.flag("enabled", true, p);
            out.recipients = e.texts("recipients", p);
            for (i, r) in out.recipients.iter().enumerate() {
                if !r.contains('@') || r.contains(char::is_whitespace) {
                    p.note(e.path(&format!("recipients[{i}]")), format!("'{}' is not an e-mail address", r.escape_default()));
                }
            }
            e.done(p);
        }
        if let Some(mut w) = f.object("webhook", p) {
            out.webhook_enabled = w.flag("enabled", true, p);
            out.webhook_url = w.text("url", p);
            if out.webhook_url.as_ref().is_some_and(|u| !(u.starts_with("http://") || u.starts_with("https://"))) {
                p.note(w.path("url"), "must start with http:// or https://");
            }
            w.done(p);
        }
        f.done(p);
        out
    }
}
