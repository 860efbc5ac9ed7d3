//! `migrate`: create, start, follow to the end. Also the dry run, and going on with an interrupted migration.

use super::{Session, path};
use crate::args::Migrate;
use crate::failure::{Exit, Failure};
use serde_json::{Value, json};

impl Session<'_> {
    pub async fn migrate(&self, migrate: &Migrate, document: Option<Value>) -> Result<Exit, Failure> {
        let document = match (&migrate.resume, document) {
            (Some(id), _) => return self.resume(id, migrate.detach).await,
            (None, Some(document)) => document,
            (None, None) => return Err(Failure::usage("Say what to move: a configuration file, or --from and --to")),
        };
        if migrate.dry_run {
            return self.dry_run(&document).await;
        }
        let made = self.door.post("/migrations/", &document).await?;
        let id = made["session_id"].as_str().unwrap_or_default().to_owned();
        self.output.note(&format!("Migration {id}: {}", document["name"].as_str().unwrap_or_default()));
        let rollback = !migrate.no_auto_rollback && document["safety"]["rollback_on_failure"].as_bool().unwrap_or(true);
        let start = json!({"auto_rollback": rollback, "send_notifications": true});
        if let Err(refused) = self.post(&path(&id, "/start"), &start).await {
            if refused.exit == Exit::Interrupted {
                return Ok(self.left_early(&id));
            }
            return Err(self.not_started(&id, refused).await);
        }
        if migrate.detach {
            self.output.say(&id);
            self.output.note(&format!("Started. Follow it: {}", self.command(&format!("status {id} --watch"))));
            self.output.result(Exit::Ok, json!({"session_id": id, "status": "started"}));
            return Ok(Exit::Ok);
        }
        self.follow(&id, 0).await
    }

    /// A migration that may not start is of no use: it goes, so that the list shows only what was done.
    async fn not_started(&self, id: &str, refused: Failure) -> Failure {
        if matches!(&*refused.code, "VALIDATION_FAILED" | "INVALID_CONFIGURATION")
            && let Err(left) = self.door.call(http::Method::DELETE, &path(id, ""), None).await
        {
            self.output.note(&format!("The migration {id} was not started and could not be removed: {}", left.message));
        }
        refused
    }

    /// Shows progress to the end, and what came out.
    pub async fn follow(&self, id: &str, after: u64) -> Result<Exit, Failure> {
        let ended = self.follower(id, self.on_signal(), &[], Some(after)).run().await?;
        self.migrated(ended).await
    }

    async fn dry_run(&self, document: &Value) -> Result<Exit, Failure> {
        self.output.note("Reading both sides; nothing is changed …");
        let plan = self.door.post("/migrations/dry-run", document).await?;
        self.output.say("Dry run: nothing was changed.");
        for line in super::show::facts(&plan, 1) {
            self.output.say(&line);
        }
        self.output.result(Exit::Ok, json!({"dry_run": plan}));
        Ok(Exit::Ok)
    }
}
