//! One side of a migration: its type, its files, its database, its address.

use super::database::{self, DatabaseAt, DatabaseEngine, Side};
use super::files::{self, FilesAt};
use super::machine::{self, MachineAt};
use super::tables::TableSelection;
use crate::decode::{Fields, Problems};

/// What a system is. The words are document 3's `system_types`, and the ones its presets use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SystemKind {
    Wordpress,
    Drupal,
    Django,
    Laravel,
    Rails,
    Static,
    /// A machine reached over SSH, or a local directory, with no product assumed.
    Server,
    Mysql,
    Postgresql,
    Mongodb,
    Sqlite,
    AwsS3,
    GcpGcs,
    AzureBlob,
    AwsEc2,
    GcpCompute,
    AzureVm,
    /// A virtual machine of this installation: its disk.
    Vm,
}

impl SystemKind {
    pub const ALL: [(&'static str, Self); 18] = [
        ("wordpress", Self::Wordpress),
        ("drupal", Self::Drupal),
        ("django", Self::Django),
        ("laravel", Self::Laravel),
        ("rails", Self::Rails),
        ("static", Self::Static),
        ("server", Self::Server),
        ("mysql", Self::Mysql),
        ("postgresql", Self::Postgresql),
        ("mongodb", Self::Mongodb),
        ("sqlite", Self::Sqlite),
        ("aws-s3", Self::AwsS3),
        ("gcp-gcs", Self::GcpGcs),
        ("azure-blob", Self::AzureBlob),
        ("aws-ec2", Self::AwsEc2),
        ("gcp-compute", Self::GcpCompute),
        ("azure-vm", Self::AzureVm),
        ("vm", Self::Vm),
    ];

    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, k)| *k == self).map_or("", |(w, _)| w)
    }

    /// The database type of a database-only system.
    fn database_only(self) -> Option<&'static str> {
        match self {
            Self::Mysql => Some("mysql"),
            Self::Postgresql => Some("postgresql"),
            Self::Mongodb => Some("mongodb"),
            Self::Sqlite => Some("sqlite"),
            _ => None,
        }
    }
}

#[derive(Debug, Clone)]
pub struct System {
    pub kind: SystemKind,
    /// `None` for a database-only system.
    pub files: Option<FilesAt>,
    pub database: Option<DatabaseAt>,
    /// Only of a virtual machine, which has neither files nor a database.
    pub machine: Option<MachineAt>,
    /// The site's own address (`https://example.com`), when it changes with the move.
    pub url: Option<String>,
    /// Directory of uploads, when it lies outside the web root's usual place.
    pub uploads: Option<String>,
    /// Directory of the configuration file: the web root (as without it) or the directory above it.
    pub config: Option<String>,
    /// `database.tables`: the same on either side.
    pub tables: Option<TableSelection>,
    /// Of a destination: whether a database or a bucket that does not exist is made.
    pub create: bool,
}

pub(super) fn read(parent: &mut Fields<'_>, field: &'static str, p: &mut Problems) -> Option<System> {
    if !parent.has(field) {
        parent.value(field);
        p.note(parent.path(field), "is required");
        return None;
    }
    let side = if field == "source" { Side::Source } else { Side::Destination };
    let mut f = parent.object(field, p)?;
    let word = f.required_text("type", p);
    let Some((_, kind)) = SystemKind::ALL.into_iter().find(|(name, _)| *name == word) else {
        if !word.is_empty() {
            p.note(f.path("type"), format!("Invalid system type: '{word}' (one of: {})", SystemKind::ALL.map(|(w, _)| w).join(", ")));
        }
        return None;
    };
    let url = f.text("url", p);
    if let Some(u) = &url
        && !(u.starts_with("http://") || u.starts_with("https://"))
    {
        p.note(f.path("url"), "must start with http:// or https://");
    }
    let machine = (kind == SystemKind::Vm).then(|| machine::read(&mut f, side, p));
    let mut tables = None;
    let (files, database, [uploads, config]) = match kind.database_only() {
        _ if machine.is_some() => (None, None, [None, None]),
        Some(type_name) => (None, read_database_only(&mut f, type_name, side, &mut tables, p), [None, None]),
        None => read_parts(&mut f, kind, side, &mut tables, p),
    };
    let create = machine.is_some() || f.flag("create", true, p);
    f.done(p);
    Some(System { kind, files, database, machine, url, uploads, config, tables, create })
}

/// `{"type": "mysql", "host": …, "database": "name"}` or `{"type": "mysql", "database": {…}}`.
fn read_database_only(f: &mut Fields<'_>, type_name: &'static str, side: Side, tables: &mut Option<TableSelection>, p: &mut Problems) -> Option<DatabaseAt> {
    if f.value("database").is_some_and(serde_json::Value::is_object) {
        return read_database(f, side, tables, p);
    }
    *tables = TableSelection::read(f.object("tables", p), p);
    Some(database::read_as(f, database::TYPES.into_iter().find(|(n, ..)| *n == type_name), side, p))
}

fn read_database(f: &mut Fields<'_>, side: Side, tables: &mut Option<TableSelection>, p: &mut Problems) -> Option<DatabaseAt> {
    let mut d = f.object("database", p)?;
    let at = database::read(&mut d, side, p);
    *tables = TableSelection::read(d.object("tables", p), p);
    d.done(p);
    at
}

/// The last are the directories of uploads and of the configuration.
type Parts = (Option<FilesAt>, Option<DatabaseAt>, [Option<String>; 2]);

fn read_parts(f: &mut Fields<'_>, kind: SystemKind, side: Side, tables: &mut Option<TableSelection>, p: &mut Problems) -> Parts {
    let database = read_database(f, side, tables, p);
    let (files, directories) = match kind {
        SystemKind::AwsS3 => (Some(FilesAt::S3(files::read_s3(f, p))), [None, None]),
        SystemKind::GcpGcs => {
            f.value("service_account_key");
            f.value("endpoint");
            (Some(FilesAt::Objects(files::read_objects(f, "bucket", p))), [None, None])
        }
        SystemKind::AzureBlob => {
            for field in ["account", "endpoint", "account_key", "sas_token"] {
                f.value(field);
            }
            (Some(FilesAt::Objects(files::read_objects(f, "container", p))), [None, None])
        }
        _ => {
            let mut paths = f.object("paths", p);
            let root = paths.as_mut().and_then(|d| d.text("web_root", p));
            let uploads = paths.as_mut().and_then(|d| d.text("uploads", p));
            let config = paths.as_mut().and_then(|d| d.text("config", p));
            if let Some(d) = paths {
                d.done(p);
            }
            let root = root.unwrap_or_else(|| "/var/www/html".to_owned());
            let root = if root.len() > 1 { root.trim_end_matches('/').to_owned() } else { root };
            check_config(config.as_deref(), &root, f, p);
            (Some(files::read_tree(f, root, p)), [uploads, config])
        }
    };
    (files, database, directories)
}

/// WordPress looks for its configuration in two places only.
fn check_config(config: Option<&str>, root: &str, f: &Fields<'_>, p: &mut Problems) {
    let Some(config) = config.map(|c| c.trim_end_matches('/')) else { return };
    let above = root.rsplit_once('/').map_or("", |(above, _)| above);
    if config != root && config != above {
        p.note(f.path("paths.config"), format!("must be the web root '{root}' or the directory above it"));
    }
}

/// A destination database without a name is called as the source's.
pub(super) fn inherit_database_name(source: &System, destination: &mut System, p: &mut Problems) {
    let Some(to) = destination.database.as_mut().filter(|d| d.database.is_empty()) else { return };
    match &source.database {
        Some(from) => to.database.clone_from(&from.database),
        None if source.kind == SystemKind::Wordpress => {}
        None => p.note("destination.database.database", "is required"),
    }
}

/// A part that is missing because it is bad was named already.
fn is_noted(field: &str, p: &Problems) -> bool {
    p.0.iter().any(|problem| problem.field.starts_with(field))
}

/// Rules between the two sides.
pub(super) fn check_pair(source: &System, destination: &System, p: &mut Problems) {
    if source.machine.is_some() || destination.machine.is_some() {
        return refuse_not_yet(source, destination, p);
    }
    if source.files.is_some() && destination.files.is_none() {
        p.note("destination.type", format!("'{}' holds no files, but the source '{}' has some", destination.kind.word(), source.kind.word()));
    }
    match (&source.database, &destination.database) {
        (Some(from), Some(to)) if from.engine != to.engine => {
            p.note("destination.database.type", format!("moving {} to {} is not supported: both sides must be of one engine", from.type_name, to.type_name));
        }
        (Some(_), None) if source.files.is_none() && !is_noted("destination", p) => {
            p.note("destination.database", "is required: the source is a database");
        }
        (None, Some(_)) if source.kind != SystemKind::Wordpress && !is_noted("source.database", p) => {
            p.note("source.database", "is required: the destination has a database to fill");
        }
        _ => {}
    }
    refuse_not_yet(source, destination, p);
}

fn refuse_not_yet(source: &System, destination: &System, p: &mut Problems) {
    for (side, at) in [("source", source), ("destination", destination)] {
        if matches!(at.files, Some(FilesAt::Objects(_))) {
            p.note(format!("{side}.type"), format!("'{}' is not supported by this version; aws-s3, SSH hosts and local directories are", at.kind.word()));
        }
        if let Some(d) = &at.database
            && matches!(d.engine, DatabaseEngine::MongoDb | DatabaseEngine::Redis)
        {
            p.note(format!("{side}.database.type"), format!("'{}' is not supported by this version; mysql, mariadb, postgresql and sqlite are", d.type_name));
        }
    }
}
