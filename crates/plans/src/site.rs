//! Both sides of a migration with their doors open, and what a WordPress configuration adds to them.
//!
//! Credentials read from `wp-config.php` live here, in memory; they are read again whenever a worker takes a migration up.

use crate::config_place::{self, ConfigPlace};
use crate::uploads_place::{self, Uploads};
use crate::wordpress::config::{Config, ConfigError, DbHost};
use crate::wordpress::{CONFIG, detect};
use domain::Secret;
use domain::spec::{DatabaseAt, DatabaseEngine, FilesAt, MigrationSpec, SystemKind, TlsMode};
use movers::databases::{DatabaseMover, DatabaseOptions, SiteTables, TableFilter};
use movers::files::{FileOptions, FilesMover};
use ports::databases::Database;
use ports::files::{Entry, FileTarget};
use ports::{ConnectorError, Connectors, ErrorKind, Result};
use std::path::Path;
use std::sync::Arc;

/// How often one file or one range is tried again after a temporary error.
const RETRIES: u32 = 4;

/// A WordPress source.
pub struct WordPress {
    pub prefix: String,
    /// WordPress's own directory relative to the web root (`ABSPATH`); `None`: it is not below it.
    pub core: Option<String>,
    pub version: Option<String>,
    pub config: Config,
    /// The file as it is. Holds secrets: never log it.
    pub config_text: Vec<u8>,
    pub config_entry: Entry,
}

/// One side's open doors.
#[derive(Clone, Default)]
pub struct Doors {
    pub files: Option<Arc<dyn FileTarget>>,
    pub database: Option<Arc<dyn Database>>,
    /// The directory for `wp-config.php`, of a destination for files.
    pub configuration: Option<Arc<dyn FileTarget>>,
}

/// What becomes of `wp-config.php`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Configuration {
    /// There is none.
    None,
    /// Written for the new database.
    Rewritten,
    /// Stays behind: an object store may be public and runs no PHP.
    Withheld,
}

pub struct Site {
    pub source: Doors,
    pub destination: Doors,
    pub source_database_at: Option<DatabaseAt>,
    pub destination_database_at: Option<DatabaseAt>,
    pub wordpress: Option<WordPress>,
    /// Uploads from outside the web root, which move with it.
    pub uploads: Option<Uploads>,
    /// What a person should know about how the source was understood.
    pub notes: Vec<String>,
}

impl Site {
    /// Opens all doors of both sides; reads `wp-config.php` of a WordPress. Reads only.
    pub async fn open(spec: &MigrationSpec, connectors: &dyn Connectors) -> Result<Self> {
        let parallel = spec.transfer.parallel_transfers;
        let source_files = open_files(spec.source.files.as_ref(), connectors, parallel).await?;
        let mut notes = Vec::new();
        let wordpress = match &source_files {
            Some(files) if spec.source.kind == SystemKind::Wordpress => Some(read_wordpress(spec, files, connectors, &mut notes).await?),
            _ => None,
        };
        let (from, to) = databases(spec, wordpress.as_ref(), &mut notes)?;
        let (source_database, destination_files, destination_database) = tokio::try_join!(
            open_database(from.as_ref(), connectors, parallel),
            open_files(spec.destination.files.as_ref().filter(|_| source_files.is_some()), connectors, parallel),
            open_database(to.as_ref(), connectors, parallel),
        )?;
        let configuration = open_configuration(spec, destination_files.as_ref(), connectors).await?;
        let known = wordpress.as_ref().map(|w| (&w.config, w.prefix.as_str()));
        let (source_files, uploads) = match source_files {
            Some(files) => {
                let (files, uploads) = uploads_place::join(spec, known, source_database.as_ref(), files, connectors, &mut notes).await?;
                (Some(files), uploads)
            }
            None => (None, None),
        };
        Ok(Self {
            source: Doors { files: source_files, database: source_database, configuration: None },
            destination: Doors { files: destination_files, database: destination_database, configuration },
            source_database_at: from,
            destination_database_at: to,
            wordpress,
            uploads,
            notes,
        })
    }

    /// Opens the destination alone, for taking things back while the source may be gone. `database` is the name that was resolved when the
    /// migration was validated.
    pub async fn open_destination(spec: &MigrationSpec, database: Option<&str>, connectors: &dyn Connectors) -> Result<Doors> {
        let parallel = spec.transfer.parallel_transfers;
        let at = database.zip(spec.destination.database.clone()).map(|(name, at)| DatabaseAt { database: name.to_owned(), ..at });
        let files = spec.destination.files.as_ref().filter(|_| spec.source.files.is_some());
        let (files, database) = tokio::try_join!(open_files(files, connectors, parallel), open_database(at.as_ref(), connectors, parallel))?;
        let configuration = open_configuration(spec, files.as_ref(), connectors).await?;
        Ok(Doors { files, database, configuration })
    }

    pub fn configuration(&self, spec: &MigrationSpec) -> Configuration {
        match (&self.wordpress, &spec.destination.files) {
            (None, _) | (_, None) => Configuration::None,
            (Some(_), Some(FilesAt::S3(_) | FilesAt::Objects(_))) => Configuration::Withheld,
            (Some(_), Some(FilesAt::Local { .. } | FilesAt::Sftp { .. })) => Configuration::Rewritten,
        }
    }

    /// The files' mover; `run` tags what it leaves unfinished.
    pub fn files_mover(&self, spec: &MigrationSpec, run: &str) -> Option<FilesMover> {
        let source = self.source.files.clone()?;
        let destination = self.destination.files.clone()?;
        Some(FilesMover::new(source, destination, file_options(spec, self.wordpress.is_some(), run)))
    }

    /// The database's mover, when both sides have one.
    pub fn database_mover(&self, spec: &MigrationSpec) -> Option<DatabaseMover> {
        let source = self.source.database.clone()?;
        let destination = self.destination.database.clone()?;
        let mut options = database_options(spec);
        options.tables.site = self.wordpress.as_ref().map(own_tables);
        Some(DatabaseMover::new(source, destination, options))
    }
}

/// What stays behind of the source's files, as globs relative to its root.
pub fn left_out(spec: &MigrationSpec, wordpress: bool) -> Vec<String> {
    let mut globs = spec.transfer.exclude.clone();
    if wordpress {
        globs.push(format!("/{CONFIG}"));
        // Wherever WordPress itself lies: a file of this name means maintenance only there.
        globs.extend(["/.maintenance", "/*/.maintenance", "/*/*/.maintenance"].map(str::to_owned));
        globs.extend(detect::LEFT_OUT.iter().map(|g| (*g).to_owned()));
    }
    for system in [&spec.source, &spec.destination] {
        globs.extend(sqlite_below(system.files.as_ref(), system.database.as_ref()));
    }
    globs.sort();
    globs.dedup();
    globs
}

/// A SQLite database inside the web root is moved as a database, never as a file that changes underneath.
fn sqlite_below(files: Option<&FilesAt>, database: Option<&DatabaseAt>) -> Vec<String> {
    let (Some(FilesAt::Local { root }), Some(at)) = (files, database) else { return Vec::new() };
    if at.engine != DatabaseEngine::Sqlite {
        return Vec::new();
    }
    let Ok(relative) = Path::new(&at.database).strip_prefix(root) else { return Vec::new() };
    let name = escape_glob(&relative.to_string_lossy());
    ["", "-wal", "-shm", "-journal"].iter().map(|suffix| format!("{name}{suffix}")).collect()
}

fn escape_glob(name: &str) -> String {
    name.chars().fold(String::from("/"), |mut out, c| {
        if "*?[]{}!\\".contains(c) {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

pub fn file_options(spec: &MigrationSpec, wordpress: bool, run: &str) -> FileOptions {
    FileOptions {
        parallel: spec.transfer.parallel_transfers,
        chunk_size: spec.transfer.chunk_size,
        symlinks: spec.transfer.symlinks,
        name_links_out: true,
        exclude: left_out(spec, wordpress),
        delete_extraneous: spec.transfer.delete_extraneous,
        allow_empty_source: spec.transfer.allow_empty_source,
        max_delete: spec.transfer.max_delete,
        staging: run.to_owned(),
        retries: RETRIES,
    }
}

/// A database that moves alone has one consistent snapshot and needs no second pass. One that moves beside files is compared again in the standstill
/// of the files' last pass, so that both show one moment.
pub fn database_options(spec: &MigrationSpec) -> DatabaseOptions {
    DatabaseOptions {
        parallel: spec.transfer.parallel_transfers.clamp(1, 4),
        retries: RETRIES,
        single_pass: spec.source.files.is_none(),
        tables: TableFilter { asked: spec.tables.clone(), site: None },
        ..DatabaseOptions::default()
    }
}

/// Several sites may share one database.
fn own_tables(wordpress: &WordPress) -> SiteTables {
    let named = ["CUSTOM_USER_TABLE", "CUSTOM_USER_META_TABLE"].iter().filter_map(|constant| wordpress.config.text(constant).ok());
    SiteTables { prefix: wordpress.prefix.clone(), network: wordpress.config.is_on("MULTISITE"), also: named.collect() }
}

async fn open_files(at: Option<&FilesAt>, connectors: &dyn Connectors, parallel: usize) -> Result<Option<Arc<dyn FileTarget>>> {
    match at {
        Some(at) => connectors.files(at, parallel).await.map(Some),
        None => Ok(None),
    }
}

async fn open_database(at: Option<&DatabaseAt>, connectors: &dyn Connectors, parallel: usize) -> Result<Option<Arc<dyn Database>>> {
    match at {
        Some(at) => connectors.database(at, parallel.clamp(1, 8)).await.map(Some),
        None => Ok(None),
    }
}

async fn open_configuration(spec: &MigrationSpec, web_root: Option<&Arc<dyn FileTarget>>, connectors: &dyn Connectors) -> Result<Option<Arc<dyn FileTarget>>> {
    let Some(web_root) = web_root.filter(|_| spec.source.kind == SystemKind::Wordpress) else { return Ok(None) };
    let place = config_place::of_destination(&spec.destination, web_root, connectors).await?;
    Ok(Some(place.files))
}

async fn read_wordpress(spec: &MigrationSpec, web_root: &Arc<dyn FileTarget>, connectors: &dyn Connectors, notes: &mut Vec<String>) -> Result<WordPress> {
    let place = config_place::of_source(&spec.source, web_root, connectors).await?;
    let ConfigPlace { files, above } = place.ok_or_else(|| config_place::missing(&web_root.location()))?;
    let found = detect::find(files.as_ref()).await?;
    let prefix = found.config.table_prefix().map_err(|e| unreadable(files.as_ref(), &e))?;
    if above {
        notes.push(format!("{CONFIG} was found one directory above the web root, in {}", files.location()));
    }
    let core = detect::core(web_root.as_ref()).await?;
    let version = detect::version(web_root.as_ref(), core.as_deref()).await?;
    Ok(WordPress { prefix, core, version, config: found.config, config_text: found.text, config_entry: found.entry })
}

fn unreadable(files: &dyn FileTarget, error: &ConfigError) -> ConnectorError {
    ConnectorError::new(ErrorKind::Invalid, "understand", format!("{}/{CONFIG}", files.location().trim_end_matches('/')), error.to_string())
}

/// Where both databases are when the source's is named by its `wp-config.php` alone. Reads only; for validation.
pub(crate) async fn databases_by_config(
    spec: &MigrationSpec,
    web_root: &Arc<dyn FileTarget>,
    connectors: &dyn Connectors,
) -> Result<(Option<DatabaseAt>, Option<DatabaseAt>)> {
    let mut notes = Vec::new();
    let wordpress = read_wordpress(spec, web_root, connectors, &mut notes).await?;
    databases(spec, Some(&wordpress), &mut notes)
}

/// Where the two databases are. The source's may come from `wp-config.php`, the destination's name from the source's.
fn databases(spec: &MigrationSpec, wordpress: Option<&WordPress>, notes: &mut Vec<String>) -> Result<(Option<DatabaseAt>, Option<DatabaseAt>)> {
    let from = match (&spec.source.database, &spec.destination.database, wordpress) {
        (Some(at), ..) => Some(at.clone()),
        (None, Some(_), Some(wordpress)) => Some(from_config(&wordpress.config, spec, notes)?),
        (None, ..) => None,
    };
    let to = spec.destination.database.clone().map(|mut to| {
        if let Some(from) = from.as_ref().filter(|_| to.database.is_empty()) {
            to.database.clone_from(&from.database);
        }
        to
    });
    match (&from, &to) {
        (Some(from), Some(to)) if from.engine != to.engine => {
            let reason = format!("WordPress keeps its data in MySQL or MariaDB, but the destination's database is of type '{}'", to.type_name);
            Err(ConnectorError::new(ErrorKind::Invalid, "move", from.describe(), reason).advice("Give a destination.database of type mysql or mariadb"))
        }
        (Some(_), Some(_)) => Ok((from, to)),
        (Some(from), None) => {
            notes.push(format!("the database {} is not moved: the migration names no destination.database", from.describe()));
            Ok((None, None))
        }
        (None, _) => Ok((None, None)),
    }
}

fn from_config(config: &Config, spec: &MigrationSpec, notes: &mut Vec<String>) -> Result<DatabaseAt> {
    let text =
        |name: &str| config.text(name).map_err(|e| ConnectorError::new(ErrorKind::Invalid, "read the database's credentials from", CONFIG, e.to_string()));
    let host = config.host().map_err(|e| ConnectorError::new(ErrorKind::Invalid, "read the database's host from", CONFIG, e.to_string()))?;
    Ok(DatabaseAt {
        engine: DatabaseEngine::MySql,
        type_name: "mysql".to_owned(),
        port: host.port.unwrap_or(3306),
        host: reachable(host, spec, notes),
        username: text("DB_USER")?,
        password: Some(Secret::new(text("DB_PASSWORD")?)),
        database: text("DB_NAME")?,
        tls: TlsMode::Prefer,
        ca: None,
    })
}

/// `localhost` in the file means the site's own machine.
fn reachable(host: DbHost, spec: &MigrationSpec, notes: &mut Vec<String>) -> String {
    if let Some(socket) = &host.socket {
        notes.push(format!("{CONFIG} names the database's socket {socket}; the migration connects over TCP instead"));
    }
    let own = matches!(host.host.as_str(), "localhost" | "127.0.0.1" | "::1");
    match &spec.source.files {
        Some(FilesAt::Sftp { ssh, .. }) if own => {
            if !matches!(ssh.host.as_str(), "localhost" | "127.0.0.1" | "::1") {
                notes.push(format!("{CONFIG} says that the database is on the site's own machine; the migration connects to {}", ssh.host));
            }
            ssh.host.clone()
        }
        _ if host.host == "localhost" => "127.0.0.1".to_owned(),
        _ => host.host,
    }
}
