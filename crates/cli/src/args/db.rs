//! Options of `db`.

use clap::{Args as ClapArgs, Subcommand};
use std::path::PathBuf;

#[derive(Debug, ClapArgs)]
pub struct Db {
    #[command(subcommand)]
    pub command: DbCommand,

    /// The journal, when it is not in the data directory: postgres://user@host/database, or sqlite:/path
    #[arg(long, global = true, value_name = "URL", env = "MIGRATION_ASSISTANT_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Bring the schema up to date, as every start does
    Migrate,
    /// Look the database over: damage, dangling rows, schema, secrets that cannot be opened
    Check,
    /// Copy the embedded database to a new file, also while a server is at work
    Backup(Backup),
    /// Put such a copy into a data directory that has no database
    Restore(Restore),
    /// Seal all stored secrets with a new key
    RotateKey(RotateKey),
}

#[derive(Debug, ClapArgs)]
pub struct Backup {
    /// File to write; must not exist
    pub file: PathBuf,
    /// Copy the key file beside it: whoever has both can read every stored password
    #[arg(long)]
    pub with_keys: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Restore {
    /// File that `db backup` wrote
    pub file: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub struct RotateKey {
    /// Make no new key: seal everything with the newest one, open all of it for a trial, and forget the other keys
    #[arg(long)]
    pub drop_old: bool,
}
