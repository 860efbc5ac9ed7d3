//! Step 6: `wp-config.php` at the destination, written for the new database; the site's address in its database.
//!
//! Undo restores the configuration file that was there before, or removes ours. The database's rows go with their tables.

use super::addresses::{self, Addresses};
use super::config_file::{self, WRITING, Writing, prove};
use super::job::{Job, database_plan, recall, restores, timed, value};
use super::later::secure;
use crate::adapters::{RunObserver, StepResult, failed, step_error};
use crate::site::{Configuration, Site, WordPress};
use crate::wordpress::rewriting::Rewriting;
use crate::wordpress::{CONFIG, config, network};
use domain::spec::{DatabaseAt, DatabaseEngine};
use engine::{Step, StepContext, StepError};
use ports::ErrorKind;
use ports::files::{Entry, EntryKind, FilePath};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

pub struct UpdateConfiguration {
    pub job: Arc<Job>,
}

#[async_trait::async_trait]
impl Step for UpdateConfiguration {
    fn name(&self) -> &'static str {
        "configuration"
    }

    fn title(&self) -> &'static str {
        "Updating configuration"
    }

    async fn run(&self, cx: &StepContext) -> StepResult {
        let began = Instant::now();
        let observer = RunObserver::new(cx);
        let site = self.job.site().await?;
        let plan = database_plan(cx).await?;
        let rewriting = addresses::rewriting(&self.job, cx, plan.as_ref()).await?;
        let mut output = json!({"file": "none", "changed": [], "addresses": null});
        match site.configuration(&self.job.spec) {
            Configuration::Rewritten => {
                let (changed, hash) = self.write(cx, &observer, site, rewriting.as_ref()).await?;
                output["file"] = json!("rewritten");
                output["changed"] = json!(changed);
                output["blake3"] = json!(hash);
                output["directory"] = json!(site.destination.configuration.as_ref().map(|f| f.location()));
            }
            Configuration::Withheld => {
                output["file"] = json!("withheld");
                observer.info("configuration", format!("{CONFIG} is not uploaded: it holds passwords, and an object store may be public and runs no PHP"));
            }
            Configuration::None => observer.info("configuration", "There is no configuration to update"),
        }
        if let (Some(rewriting), Some(mover), Some(plan)) = (rewriting, self.job.database_mover().await?, &plan)
            && let Some(work) = Addresses::new(&self.job, cx, &observer, rewriting).await?
        {
            let done = work.rewrite(&mover, plan).await?;
            if !done.from.is_empty() {
                observer
                    .info("configuration", format!("Rewrote {} to {} in {} rows of {} tables", done.from.join(", "), done.to, done.rows, done.tables.len()));
            }
            for domain in &done.own_domains {
                observer.info("configuration", format!("The network's site at {domain} keeps its own domain"));
            }
            for left in &done.left {
                observer.warning("configuration", format!("An old address stays in {}.{}: {}", left.table, left.column, left.reason));
            }
            output["addresses"] = value(&done);
        }
        Ok(timed(output, began))
    }

    async fn undo(&self, cx: &StepContext, _output: Option<&Value>) -> Result<(), StepError> {
        let Some(writing) = recall::<Writing>(cx, WRITING).await? else { return Ok(()) };
        let observer = RunObserver::new(cx);
        if !restores(cx, "restore_configuration") {
            observer.info("rollback", format!("{CONFIG} at the destination stays as it is, as asked"));
            return Ok(());
        }
        secure(&self.job, cx, &observer).await?;
        let Some(files) = self.job.destination(cx).await?.configuration.clone() else { return Ok(()) };
        config_file::take_back(&self.job, cx, &observer, files.as_ref(), &writing).await?;
        files.sweep(cx.run_id()).await.map_err(step_error)?;
        files.settle().await.map_err(step_error)
    }
}

impl UpdateConfiguration {
    /// Writes the file and reads it back; gives the names that changed and the file's hash.
    async fn write(&self, cx: &StepContext, observer: &RunObserver, site: &Site, rewriting: Option<&Rewriting>) -> StepResult<(Vec<String>, String)> {
        let (Some(wordpress), Some(files)) = (&site.wordpress, &site.destination.configuration) else { return Ok((Vec::new(), String::new())) };
        let mut values = site.destination_database_at.as_ref().map(new_values).unwrap_or_default();
        values.extend(network_values(wordpress, rewriting));
        if let Some(uploads) = site.uploads.as_ref().filter(|_| wordpress.config.text("UPLOADS").is_ok()) {
            values.insert("UPLOADS", uploads.to.clone());
        }
        let new = config::rewrite(&wordpress.config_text, &values, &|text| rewriting.and_then(|r| r.text(text)))
            .map_err(|e| failed(ErrorKind::Invalid, format!("{CONFIG} could not be written for the new database: {e}"), ""))?;
        let hash = blake3::hash(&new.text).to_hex().to_string();
        let path = FilePath::from(CONFIG);
        let there = files.stat(&path).await.map_err(step_error)?;
        let earlier = recall::<Writing>(cx, WRITING).await?;
        let existed = earlier.as_ref().map_or(there.is_some(), |earlier| earlier.existed);
        let writing = Writing { existed, blake3: hash.clone() };
        cx.remember(WRITING, Some(value(&writing))).await?;
        let entry = Entry {
            mode: Some(mode(wordpress.config_entry.mode, there.filter(|_| existed).and_then(|e| e.mode))),
            ..Entry::new(path, EntryKind::File { size: new.text.len() as u64 })
        };
        config_file::replace(&self.job, cx, observer, files.as_ref(), &entry, &new.text, earlier.as_ref()).await?;
        prove(files.as_ref(), &new.text).await?;
        files.settle().await.map_err(step_error)?;
        let what = if new.changed.is_empty() { "unchanged".to_owned() } else { format!("with new values for {}", new.changed.join(", ")) };
        observer.info("configuration", format!("Wrote {CONFIG} {what}"));
        Ok((new.changed, hash))
    }
}

/// The constants that name the new database.
fn new_values(at: &DatabaseAt) -> BTreeMap<&'static str, String> {
    if at.engine != DatabaseEngine::MySql {
        return BTreeMap::new();
    }
    let host = if at.host.contains(':') { format!("[{}]", at.host) } else { at.host.clone() };
    let host = if at.port == 3306 { host } else { format!("{host}:{}", at.port) };
    let password = at.password.as_ref().map(|p| p.expose().to_owned()).unwrap_or_default();
    BTreeMap::from([("DB_NAME", at.database.clone()), ("DB_USER", at.username.clone()), ("DB_PASSWORD", password), ("DB_HOST", host)])
}

/// The constants that say where a network of sites is.
fn network_values(wordpress: &WordPress, rewriting: Option<&Rewriting>) -> BTreeMap<&'static str, String> {
    let Some(network) = rewriting.and_then(|r| r.network.as_ref()) else { return BTreeMap::new() };
    let new = |name: &'static str| Some((name, network.constant(name, &wordpress.config.text(name).ok()?)?));
    network::CONSTANTS.into_iter().filter_map(new).collect()
}

/// The source's mode, never wider than that of a file it replaces; unknown: for owner and group alone.
fn mode(source: Option<u32>, replaced: Option<u32>) -> u32 {
    let mode = source.unwrap_or(0o640) & 0o777;
    replaced.map_or(mode, |r| mode & r | 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_never_made_readable_for_more_people() {
        for (source, replaced, expected) in [
            (Some(0o644), None, 0o644),
            (Some(0o644), Some(0o640), 0o640),
            (Some(0o600), Some(0o644), 0o600),
            (None, None, 0o640),
            (Some(0o100_440), None, 0o440),
        ] {
            assert_eq!(mode(source, replaced), expected, "{source:?} {replaced:?}");
        }
    }
}
