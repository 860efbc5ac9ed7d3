//! Serving a site from the object store itself: index and error document.

use crate::adapters::{RunObserver, StepResult, step_error};
use domain::spec::{FilesAt, MigrationSpec, SystemKind};
use engine::StepContext;
use ports::files::FileTarget;
use ports::observe::Level;
use ports::{ErrorKind, Observer};
use serde_json::{Value, json};

/// Note: what the store's website configuration was before.
const BEFORE: &str = "website.before";

/// The documents to set: the ones given, or a static site's `index.html`.
fn documents(spec: &MigrationSpec) -> Option<(String, Option<String>, bool)> {
    let FilesAt::S3(at) = spec.destination.files.as_ref()? else { return None };
    match (&at.index_document, &at.error_document) {
        (None, None) if spec.source.kind == SystemKind::Static => Some(("index.html".to_owned(), None, false)),
        (None, None) => None,
        (index, error) => Some((index.clone().unwrap_or_else(|| "index.html".to_owned()), error.clone(), true)),
    }
}

/// Sets the documents where the store can serve a site. Repeatable.
pub async fn set_up(spec: &MigrationSpec, files: &dyn FileTarget, cx: &StepContext, observer: &RunObserver) -> StepResult {
    let (Some((index, error, asked)), Some(store)) = (documents(spec), files.website()) else { return Ok(Value::Null) };
    let outcome = async {
        if cx.recall(BEFORE).await?.is_none() {
            let before = store.website().await.map_err(step_error)?;
            cx.remember(BEFORE, Some(json!({"configuration": before}))).await?;
        }
        store.set_website(&index, error.as_deref()).await.map_err(step_error)
    };
    match outcome.await {
        Ok(()) => {
            observer.info("website", format!("{} serves {index} as its index document", files.location()));
            Ok(json!({"index_document": index, "error_document": error}))
        }
        Err(e) if !e.stopped && !e.temporary => {
            cx.remember(BEFORE, None).await?;
            let message = format!("The store does not take a website configuration ({e}); the files are moved without one");
            let level = if asked { Level::Warning } else { Level::Info };
            observer.log(level, "website", message.clone(), Value::Null);
            Ok(json!({"index_document": index, "error_document": error, "refused": message, "asked": asked}))
        }
        Err(e) => Err(e),
    }
}

/// Puts the earlier configuration back, or removes the configuration when there was none. Repeatable.
pub async fn take_back(files: &dyn FileTarget, cx: &StepContext) -> StepResult<()> {
    let (Some(note), Some(store)) = (cx.recall(BEFORE).await?, files.website()) else { return Ok(()) };
    match store.restore_website(note.get("configuration").filter(|c| !c.is_null())).await {
        // The bucket went with its last file.
        Err(e) if e.kind == ErrorKind::NotFound => Ok(()),
        other => other.map_err(step_error),
    }
}
