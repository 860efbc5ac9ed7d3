//! The command line: commands, options and their help. What they mean is in `commands`.

mod db;
mod presets;

pub use db::{Db, DbCommand, RotateKey};
pub use presets::{ExportPresets, ImportPresets, PresetMigration, Presets};

use crate::auth::Auth;
use crate::telemetry::Tracing;
use crate::telling::Telling;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Moves web applications and databases from one place to another: verified, resumable, undoable.
#[derive(Debug, Parser)]
#[command(name = "migration-assistant", version, max_term_width = 110, propagate_version = true)]
#[command(after_help = "Exit codes: 0 ok, 1 failed, 2 usage, 3 partial, 4 temporary (try again), 5 verification mismatch,
            6 authentication, 7 not found, 130 interrupted")]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,

    /// Talk to a running control plane instead of doing the work in this process
    #[arg(long, global = true, value_name = "URL", env = "MIGRATION_ASSISTANT_SERVER", hide_env_values = true, help_heading = "Where")]
    pub server: Option<String>,

    /// API key for that control plane; better in the environment
    #[arg(long, global = true, value_name = "KEY", env = "MIGRATION_ASSISTANT_API_KEY", hide_env_values = true, help_heading = "Where")]
    pub api_key: Option<String>,

    /// Access token for that control plane, in place of an API key
    #[arg(long, global = true, value_name = "TOKEN", env = "MIGRATION_ASSISTANT_TOKEN", hide_env_values = true, help_heading = "Where")]
    pub token: Option<String>,

    /// Where this machine's migrations, backups and keys are kept [default: ~/.local/share/migration-assistant]
    #[arg(long, global = true, value_name = "DIR", env = "MIGRATION_ASSISTANT_DATA_DIR", hide_env_values = true, help_heading = "Where")]
    pub data_dir: Option<PathBuf>,

    /// How the log on stderr is written; RUST_LOG says how much of it
    #[arg(long, global = true, value_enum, default_value = "text", env = "MIGRATION_ASSISTANT_LOG_FORMAT", hide_env_values = true)]
    pub log_format: LogFormat,

    /// Print one final JSON result on stdout; progress stays on stderr
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the control plane: REST API, live progress, documentation, workers
    Serve(Box<Serve>),
    /// Move a site and its database
    Migrate(Migrate),
    /// Check a configuration by really connecting to both sides; nothing is changed
    Validate(Validate),
    /// Show one migration, or all of them
    Status(Status),
    /// Show what a migration did
    Logs(Logs),
    /// Show what was moved, how long it took, and what was left behind
    Report(Report),
    /// Take a migration back: files, database and configuration
    Rollback(Rollback),
    /// Stop a running migration so that it can go on later
    Pause(One),
    /// Go on with a paused, interrupted or failed migration
    Resume(Resume),
    /// Stop a migration for good; nothing is undone
    Cancel(One),
    /// Give up the node that has a migration's backup, when it is gone for good
    Release(Release),
    /// Configurations to start from
    #[command(subcommand)]
    Presets(Presets),
    /// Look after the database: check, copy, restore, new key
    Db(Db),
}

#[derive(Debug, ClapArgs)]
pub struct Serve {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 8000)]
    pub port: u16,
    /// Migrations that run side by side
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: u16,
    /// Keep the journal there instead of in the data directory: postgres://user@host/database, or sqlite:/path
    #[arg(long, value_name = "URL", env = "MIGRATION_ASSISTANT_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Keep backups there instead of in the data directory: a directory that all servers of the database reach, so that each can take back
    /// what another one did
    #[arg(long, value_name = "DIR", env = "MIGRATION_ASSISTANT_BACKUP_STORE")]
    pub backup_store: Option<PathBuf>,
    /// Forget migrations so many days after they were completed or rolled back, once they have no backup any more (kept by default)
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub keep_migrations: Option<u32>,
    /// Requests that one caller may send in a second; twice as many may come at once
    #[arg(long, default_value = "10000/s", value_name = "N/s", value_parser = rate)]
    pub rate_limit: control::limits::Rate,
    /// Connections at once; more wait until one ends
    #[arg(long, default_value_t = 4096, value_name = "N", value_parser = connections)]
    pub max_connections: usize,
    /// Proxies whose X-Forwarded-For is believed: how many stand in front of the server, or their addresses and networks (none by default)
    #[arg(long, value_name = "N|ADDRESS,…", default_value = "0")]
    pub trusted_proxies: crate::proxies::Proxies,
    /// Seconds that a client may take for the headers of a request, and that its connection may be idle
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = seconds)]
    pub header_timeout: Duration,
    /// Seconds that the body of a request may take to arrive
    #[arg(long, default_value = "60", value_name = "SECONDS", value_parser = seconds)]
    pub body_timeout: Duration,
    /// Local directory that migrations may read and write (repeatable; none by default)
    #[arg(long, value_name = "DIR")]
    pub local_root: Vec<PathBuf>,
    /// known_hosts file that vouches for SSH servers whose keys no configuration names
    #[arg(long, value_name = "FILE", env = "MIGRATION_ASSISTANT_KNOWN_HOSTS")]
    pub known_hosts: Option<PathBuf>,
    /// Let nobody register as a user of their own at /api/v1/auth/
    #[arg(long)]
    pub no_registration: bool,
    /// Listen on an address that others can reach although nobody has to log in
    #[arg(long, conflicts_with = "auth_enabled")]
    pub insecure_no_auth: bool,
    /// Offer /metrics, /livez and /readyz on this address too, to everybody who can reach it
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics: Option<std::net::SocketAddr>,
    /// Seconds for which requests are still taken after SIGTERM, while /readyz says no already
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub drain: u64,
    #[command(flatten)]
    pub auth: Auth,
    #[command(flatten)]
    pub telling: Telling,
    #[command(flatten)]
    pub machines: crate::machines::Machines,
    #[command(flatten)]
    pub tracing: Tracing,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "A first migration in one line:
  migration-assistant migrate --from /var/www/site --to /srv/site --from-db sqlite:/data/a.db --to-db sqlite:/srv/b.db

Passwords never stand on the command line. Write ${VAR} in the configuration, or set
  MIGRATION_ASSISTANT_SOURCE_PASSWORD     MIGRATION_ASSISTANT_SOURCE_DB_PASSWORD
  MIGRATION_ASSISTANT_DESTINATION_PASSWORD  MIGRATION_ASSISTANT_DESTINATION_DB_PASSWORD")]
pub struct Migrate {
    #[command(flatten)]
    pub what: What,
    /// Only read: show what would be moved, overwritten and deleted, and how long it would take
    #[arg(long)]
    pub dry_run: bool,
    /// Go on with an interrupted, paused or failed migration
    #[arg(long, value_name = "ID", conflicts_with_all = ["config", "from", "from_db", "to", "to_db", "set", "name", "dry_run"])]
    pub resume: Option<String>,
    /// Leave the files and databases of a failed migration as they are instead of taking them back
    #[arg(long)]
    pub no_auto_rollback: bool,
    /// Return as soon as it has started (with --server)
    #[arg(long)]
    pub detach: bool,
}

/// A configuration: a file, flags, or a file changed by flags.
#[derive(Debug, ClapArgs)]
pub struct What {
    /// YAML, JSON or TOML file (- reads stdin); ${VAR} and ${VAR:-default} come from the environment
    pub config: Option<PathBuf>,
    /// Files to move: /dir, user@host:/dir, sftp://user@host:port/dir or s3://bucket/prefix
    #[arg(long, value_name = "PLACE", conflicts_with = "config")]
    pub from: Option<String>,
    /// Where the files go, written in the same way
    #[arg(long, value_name = "PLACE", conflicts_with = "config")]
    pub to: Option<String>,
    /// Database to move: sqlite:/file, mysql://user@host:port/name or postgresql://user@host:port/name
    #[arg(long, value_name = "DATABASE", conflicts_with = "config")]
    pub from_db: Option<String>,
    /// Where the database goes, written in the same way
    #[arg(long, value_name = "DATABASE", conflicts_with = "config")]
    pub to_db: Option<String>,
    /// What the source is, when it cannot be seen: wordpress, static, django, …
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "config")]
    pub kind: Option<String>,
    /// Name of the migration
    #[arg(long)]
    pub name: Option<String>,
    /// Change one field of the configuration (repeatable): transfer.options.parallel_transfers=32
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// With delete_extraneous: let an empty source empty the destination
    #[arg(long)]
    pub allow_empty_source: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Validate {
    #[command(flatten)]
    pub what: What,
}

#[derive(Debug, ClapArgs)]
pub struct Status {
    /// Migration to show; all of them without it
    pub id: Option<String>,
    /// Keep showing it until it has ended
    #[arg(long, requires = "id")]
    pub watch: bool,
    /// Only migrations in this state: pending, running, paused, completed, failed, cancelled, …
    #[arg(long, value_name = "STATE", conflicts_with = "id")]
    pub state: Option<String>,
    /// How many to list at most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000), conflicts_with = "id")]
    pub limit: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

impl Level {
    pub fn word(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Self::Debug, Self::Info, Self::Warning, Self::Error].into_iter().find(|l| l.word() == word)
    }
}

#[derive(Debug, ClapArgs)]
pub struct Logs {
    /// Migration
    pub id: String,
    /// Keep printing what is added until the migration has ended
    #[arg(long, short)]
    pub follow: bool,
    /// Leave out what is less important
    #[arg(long, value_enum, default_value = "info", ignore_case = true)]
    pub level: Level,
    /// How many of the newest entries to show
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
}

#[derive(Debug, ClapArgs)]
pub struct Report {
    /// Migration
    pub id: String,
    /// Write the report as one self-contained HTML page
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub struct Rollback {
    /// Migration
    pub id: String,
    /// Backup to restore from [default: the one that the migration made]
    #[arg(long, value_name = "ID")]
    pub backup_id: Option<String>,
    /// Leave the files as they are
    #[arg(long)]
    pub keep_files: bool,
    /// Leave the database as it is
    #[arg(long)]
    pub keep_database: bool,
    /// Leave the configuration as it is
    #[arg(long)]
    pub keep_configuration: bool,
    /// Only show what would be restored, removed and kept; nothing is changed
    #[arg(long, conflicts_with_all = ["yes", "detach"])]
    pub dry_run: bool,
    /// Roll back without being asked; needed where there is no terminal to ask on
    #[arg(long, short)]
    pub yes: bool,
    /// Also take back tables whose rows were changed since the cutover; they are saved first
    #[arg(long)]
    pub discard_later_changes: bool,
    /// Return as soon as it has started (with --server)
    #[arg(long)]
    pub detach: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Resume {
    /// Migration
    pub id: String,
    /// Return as soon as it goes on (with --server)
    #[arg(long)]
    pub detach: bool,
}

#[derive(Debug, ClapArgs)]
pub struct One {
    /// Migration
    pub id: String,
}

#[derive(Debug, ClapArgs)]
pub struct Release {
    /// Migration
    pub id: String,
    /// Yes: what the migration overwrote can never be restored without that node
    #[arg(long)]
    pub force: bool,
}

fn rate(text: &str) -> Result<control::limits::Rate, String> {
    control::limits::Rate::parse(text).ok_or_else(|| "must be requests a second from 1/s to 1000000/s, such as 200/s".to_owned())
}

fn connections(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| (1..=1_000_000).contains(n)).ok_or_else(|| "must be from 1 to 1000000".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let given = text.parse::<f64>().ok().filter(|s| (0.1..=3600.0).contains(s));
    given.map(Duration::from_secs_f64).ok_or_else(|| "must be from 0.1 to 3600".to_owned())
}
