//! `db`: looking after the database itself. These commands work on it directly; no server is asked.

use crate::args::{Args, Db, DbCommand, RotateKey};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::plane;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Which database, and where the words go.
struct Session<'a> {
    url: String,
    data_dir: PathBuf,
    output: &'a Output,
}

pub async fn run(args: &Args, db: &Db, output: &Output) -> Result<Exit, Failure> {
    if args.server.is_some() {
        return Err(Failure::usage("db works on the database itself, on the machine where it is; it takes no --server"));
    }
    let url = db.database_url.clone().unwrap_or_else(|| "sqlite:".to_owned());
    let session = Session { url, data_dir: plane::data_dir(args.data_dir.as_deref())?, output };
    match &db.command {
        DbCommand::Migrate => session.migrate().await,
        DbCommand::Check => session.check().await,
        DbCommand::Backup(backup) => session.backup(&backup.file, backup.with_keys).await,
        DbCommand::Restore(restore) => session.restore(&restore.file).await,
        DbCommand::RotateKey(rotate) => session.rotate_key(rotate).await,
    }
}

fn failed(error: engine::EngineError) -> Failure {
    let exit = if matches!(error, engine::EngineError::Unavailable(_)) { Exit::Temporary } else { Exit::Failed };
    Failure::new(exit, "DATABASE", error.to_string())
}

impl Session<'_> {
    async fn migrate(&self) -> Result<Exit, Failure> {
        store::Store::open(&self.url, &self.data_dir).await.map_err(failed)?.close().await;
        let found = store::check(&self.url, &self.data_dir).await.map_err(failed)?;
        self.output.say(&format!("The schema is version {}, as this program needs it", found.schema));
        self.output.result(Exit::Ok, json!({"schema": found.schema}));
        Ok(Exit::Ok)
    }

    async fn check(&self) -> Result<Exit, Failure> {
        let found = store::check(&self.url, &self.data_dir).await.map_err(failed)?;
        Ok(self.show(&found))
    }

    /// Says what was found; the exit code says whether all is well.
    fn show(&self, found: &store::Checked) -> Exit {
        let say = |line: &str| self.output.say(line);
        say(&format!(
            "schema    version {}{}",
            found.schema,
            if found.schema == found.needs { String::new() } else { format!(", this program needs {}", found.needs) }
        ));
        say(&format!("damage    {}", if found.damage.is_empty() { "none".to_owned() } else { found.damage.join("; ") }));
        say(&format!("dangling  {} rows refer to rows that are gone", found.dangling));
        say(&format!("secrets   {}, of which {} cannot be opened with the keys here", found.secrets, found.unreadable));
        if !found.without_walls.is_empty() {
            say(&format!("walls     missing on {}: the database does not keep tenants apart there", found.without_walls.join(", ")));
        }
        for item in &found.set_aside {
            say(&format!("set aside {item}"));
        }
        if found.passes_walls {
            self.output.note("warning: the database role is a superuser or has BYPASSRLS: PostgreSQL does not keep tenants apart for it");
        }
        let exit = if found.is_good() { Exit::Ok } else { Exit::Failed };
        self.output.result(
            exit,
            json!({"schema": found.schema, "needs": found.needs, "damage": found.damage, "dangling": found.dangling, "secrets": found.secrets,
                "unreadable": found.unreadable, "without_walls": found.without_walls, "passes_walls": found.passes_walls, "set_aside": found.set_aside}),
        );
        exit
    }

    async fn backup(&self, to: &Path, with_keys: bool) -> Result<Exit, Failure> {
        let from = self.file(
            || "PGOPTIONS='-c migration_assistant.tenant=*' pg_dump --enable-row-security --format=custom --file=COPY \"$MIGRATION_ASSISTANT_DATABASE_URL\"",
        )?;
        let bytes = store::backup(&from, to, with_keys.then_some(self.data_dir.as_path())).await.map_err(failed)?;
        self.output.say(&format!("Copied {} bytes to {}", bytes, to.display()));
        if with_keys {
            self.output.note("warning: the keys are beside the copy: whoever has both can read every stored password. Keep them apart.");
        } else {
            self.output.note(&format!(
                "note: without the key file {} no stored secret of the copy can be read; keep a copy of it elsewhere",
                self.data_dir.join("seal.keys").display()
            ));
        }
        self.output.result(Exit::Ok, json!({"file": to, "bytes": bytes, "with_keys": with_keys}));
        Ok(Exit::Ok)
    }

    async fn restore(&self, from: &Path) -> Result<Exit, Failure> {
        self.file(|| "pg_restore --no-owner --dbname=\"$MIGRATION_ASSISTANT_DATABASE_URL\" COPY")?;
        if self.url != "sqlite:" {
            return Err(Failure::usage("restore puts a copy into a data directory: choose it with --data-dir, without --database-url"));
        }
        plane::make_private(&self.data_dir)?;
        let found = store::restore(from, &self.data_dir).await.map_err(failed)?;
        self.output.say(&format!("Restored {} into {}", from.display(), self.data_dir.display()));
        if found.unreadable > 0 {
            self.output.note(&format!(
                "warning: {} of {} secrets cannot be opened: put the key file of the copy's time to {}",
                found.unreadable,
                found.secrets,
                self.data_dir.join("seal.keys").display()
            ));
        }
        self.output.result(Exit::Ok, json!({"file": from, "schema": found.schema, "secrets": found.secrets, "unreadable": found.unreadable}));
        Ok(Exit::Ok)
    }

    async fn rotate_key(&self, rotate: &RotateKey) -> Result<Exit, Failure> {
        let store = store::Store::open(&self.url, &self.data_dir).await.map_err(failed)?;
        let rotated = store.rotate_key(rotate.drop_old).await;
        store.close().await;
        let done = rotated.map_err(failed)?;
        let key = if done.added { "a new key" } else { "the newest key" };
        self.output.say(&format!("Sealed {} secrets with {key}, forgot {} old ones", done.resealed, done.dropped));
        if done.dropped > 0 {
            self.output.note("note: copies of the database from before still need the old keys; keep the old key file as long as you keep them");
        } else if done.added {
            self.output.note("note: other machines on this database need the new key file; then forget the old key with: db rotate-key --drop-old");
        }
        self.output.result(Exit::Ok, json!({"added": done.added, "resealed": done.resealed, "dropped": done.dropped}));
        Ok(Exit::Ok)
    }

    /// The embedded database's file. For PostgreSQL its own tools are the better ones.
    fn file(&self, instead: impl Fn() -> &'static str) -> Result<PathBuf, Failure> {
        store::sqlite_file(&self.url, &self.data_dir).ok_or_else(|| {
            Failure::usage("The database is a PostgreSQL; its own tools copy it, consistently and while it is used")
                .lines([instead().to_owned()])
                .advice("Keep a copy of seal.keys from the data directory, too: without it no stored secret can be read.")
        })
    }
}
