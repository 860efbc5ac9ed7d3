//! Looking after a store: checks, copies, and a new key, on both databases.

use crate::postgres::database;
use engine::journal::StepPin;
use engine::{Journal, NewRun};
use ports::records::{Fields, Records, Write};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use store::Store;

const SECRET: &str = "correct-horse-battery";

/// A store with a run and a record, each with a secret.
async fn filled(url: &str, dir: &Path) -> Store {
    let store = Store::open(url, dir).await.expect("the store opens");
    let run = NewRun { id: "r".to_owned(), tenant: "t".to_owned(), kind: "k".to_owned(), input: json!({"password": SECRET}), labels: json!({}), holds: None };
    let journal: &dyn Journal = &store;
    journal.create(&run, &[StepPin { name: "one".to_owned(), title: "One".to_owned(), version: 1 }]).await.expect("created");
    for n in 0..450 {
        let fields = Fields::body(json!({})).secret(Some(json!(SECRET)));
        store.apply(vec![Write::insert("t", "webhook", &format!("w{n}"), fields)]).await.expect("inserted");
    }
    store
}

async fn opens(store: &Store) {
    let journal: &dyn Journal = store;
    assert_eq!(journal.input("t", "r").await.expect("opened")["password"], SECRET);
    assert_eq!(store.secret("t", "webhook", "w449").await.expect("opened"), Some(json!(SECRET)));
}

fn keys(dir: &Path) -> Vec<String> {
    std::fs::read_to_string(dir.join("seal.keys")).expect("the key file").lines().map(str::to_owned).collect()
}

async fn rotated(url: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = filled(url, dir.path()).await;
    // A second process of the same installation, with the keys as they were.
    let other = if url.starts_with("postgres") { Some(Store::open(url, dir.path()).await.expect("opens")) } else { None };
    let done = store.rotate_key(false).await.expect("rotated");
    assert!(done.added && done.resealed == 451 && done.dropped == 0, "{done:?}");
    opens(&store).await;
    assert_eq!(keys(dir.path()).len(), 2);
    let done = store.rotate_key(true).await.expect("dropped");
    assert!(!done.added && done.resealed == 0 && done.dropped == 1, "{done:?}");
    assert_eq!(keys(dir.path()).len(), 1);
    opens(&store).await;
    if let Some(other) = other {
        // It looks at the file when it meets an unknown key, but not more often than once a second.
        let found = async {
            while other.secret("t", "webhook", "w0").await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), found).await.expect("the new key is found");
        opens(&other).await;
        other.close().await;
    }
    store.close().await;
    let found = store::check(url, dir.path()).await.expect("checked");
    assert!(found.is_good() && found.secrets == 451, "{found:?}");
    std::fs::remove_file(dir.path().join("seal.keys")).expect("gone");
    let found = store::check(url, dir.path()).await.expect("checked");
    assert!(!found.is_good() && found.unreadable == 451, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_seals_everything_and_the_old_one_goes() {
    rotated("sqlite:").await;
    let database = database();
    rotated(&database.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_made_beside_a_server_and_restored_elsewhere() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let store = filled("sqlite:", &data).await;
    let (from, copy) = (data.join("migration-assistant.db"), dir.path().join("copy.db"));
    // The store is open: this is what a running server looks like.
    store::backup(&from, &copy, None).await.expect("copied");
    assert_eq!(std::fs::metadata(&copy).expect("the copy").permissions().mode() & 0o777, 0o600);
    assert!(!dir.path().join("copy.db.keys").exists(), "keys only when asked");
    assert!(store::backup(&from, &copy, None).await.unwrap_err().to_string().contains("exists already"));
    let running = store::restore(&copy, &data).await.unwrap_err().to_string();
    assert!(running.contains("in use by"), "{running}");
    let whole = dir.path().join("whole.db");
    store::backup(&from, &whole, Some(&data)).await.expect("copied with keys");
    store.close().await;
    assert!(store::restore(&copy, &data).await.unwrap_err().to_string().contains("exists already"));
    for (file, unreadable) in [(&copy, 451), (&whole, 0)] {
        let new = tempfile::tempdir().expect("a directory");
        let found = store::restore(file, new.path()).await.expect("restored");
        assert_eq!((found.secrets, found.unreadable), (451, unreadable), "{found:?}");
        if unreadable == 0 {
            let restored = Store::open("sqlite:", new.path()).await.expect("opens");
            opens(&restored).await;
            restored.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_newer_or_no_database_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let copy = dir.path().join("copy.db");
    std::fs::write(&copy, b"no database at all, but long enough to be looked at as one").expect("written");
    let new = tempfile::tempdir().expect("a directory");
    assert!(store::restore(&copy, new.path()).await.is_err());
    assert!(!new.path().join("migration-assistant.db").exists(), "nothing is left in the new place");
    assert!(store::check("sqlite:", new.path()).await.unwrap_err().to_string().contains("there is no database"));
}
