//! A migration's specification: what moves from where to where, how, and how safely. Document 3's `POST /migrations/` body.
//!
//! ```text
//! MigrationSpec ── source: System ──┬── files: FilesAt (local | sftp | s3 | other cloud)
//!               └─ destination ─────┼── database: DatabaseAt
//!                                   └── machine: MachineAt
//! ```
//! [`MigrationSpec::decode`] is the only way in. The JSON document stays the stored form (sealed); [`redact`] gives the one
//! that may be shown.

mod database;
mod files;
mod machine;
mod options;
mod system;
mod tables;

pub use database::{DatabaseAt, DatabaseEngine, TlsMode};
pub use files::{FilesAt, HostKeyPin, ObjectsAt, S3At, SshAt, SshLogin};
pub use machine::{MachineAt, NewMachine, SourceMachine, description_of};
pub use options::{Notifications, OwnWebhook, Safety, Symlinks, Transfer, TransferMethod};
pub use system::{System, SystemKind};
pub use tables::{TableSelection, matches as table_matches};

use crate::decode::{Fields, Problems};
use serde_json::Value;

/// One migration, as asked for. Every default is filled in.
#[derive(Debug, Clone)]
pub struct MigrationSpec {
    pub name: String,
    pub description: Option<String>,
    pub source: System,
    pub destination: System,
    pub transfer: Transfer,
    pub safety: Safety,
    pub notifications: Notifications,
    /// Which tables of the database move.
    pub tables: TableSelection,
}

impl MigrationSpec {
    /// Reads a document-3 body. All bad, missing and unknown fields come back together.
    pub fn decode(body: &Value) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let spec = Self::read(body, &mut problems);
        match spec {
            Some(spec) if problems.is_empty() => Ok(spec),
            _ => Err(problems),
        }
    }

    fn read(body: &Value, p: &mut Problems) -> Option<Self> {
        let mut f = Fields::of("", body, p)?;
        let name = f.required_text("name", p);
        if name.chars().count() > 200 {
            p.note("name", "must be at most 200 characters long");
        }
        let description = f.text("description", p);
        let source = system::read(&mut f, "source", p);
        let destination = system::read(&mut f, "destination", p);
        let transfer = Transfer::read(f.object("transfer", p), p);
        let safety = Safety::read(f.object("safety", p), p);
        let notifications = Notifications::read(f.object("notifications", p), p);
        f.done(p);
        let (source, mut destination) = (source?, destination?);
        system::inherit_database_name(&source, &mut destination, p);
        system::check_pair(&source, &destination, p);
        if source.tables.is_some() && destination.tables.is_some() {
            p.note("destination.database.tables", "stands in source.database too: give it once");
        }
        let tables = source.tables.clone().or_else(|| destination.tables.clone()).unwrap_or_default();
        let spec = Self { name, description, source, destination, transfer, safety, notifications, tables };
        machine::check(&spec, p);
        Some(spec)
    }

    /// The virtual machine whose disk it moves, if that is what it does.
    pub fn machine(&self) -> Option<&MachineAt> {
        self.source.machine.as_ref().or(self.destination.machine.as_ref())
    }
}

/// Field names whose values are secrets, wherever they stand in a document.
pub const SECRET_FIELDS: [&str; 11] = [
    "password",
    "passphrase",
    "private_key",
    "secret_access_key",
    "session_token",
    "service_account_key",
    "account_key",
    "sas_token",
    "secret",
    "token",
    "webhook_url",
];

/// A copy of the document in which every secret (and every webhook header value) reads `********`.
pub fn redact(document: &Value) -> Value {
    match document {
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(name, value)| {
                    let hidden = SECRET_FIELDS.contains(&name.as_str()) && !value.is_null();
                    let shown = if hidden {
                        Value::String(crate::secret::MASK.to_owned())
                    } else if name == "headers" {
                        mask_all(value)
                    } else {
                        redact(value)
                    };
                    (name.clone(), shown)
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(redact).collect()),
        other => other.clone(),
    }
}

fn mask_all(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(map.keys().map(|k| (k.clone(), Value::String(crate::secret::MASK.to_owned()))).collect()),
        other => redact(other),
    }
}

#[cfg(test)]
mod tests;
