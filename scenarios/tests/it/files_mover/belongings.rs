//! What belongs to a file beside its bytes: owners, links and holes between local directories, metadata between object stores; and the way
//! back.

use super::{Kind, Place, noise};
use futures::StreamExt;
use movers::files::{FileOptions, FilesBackup, FilesMover};
use ports::files::{Entry, EntryKind, FilePath, FileTarget, ObjectMetadata};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::sync::Arc;
use testkit::memory_ledger::MemoryLedger;
use testkit::memory_observer::MemoryObserver;
use tokio_util::sync::CancellationToken;

/// Plan, backup, copy, final pass and verification, without a word of trouble; gives what undo needs.
async fn moved(mover: &FilesMover, backup: Arc<dyn FileTarget>) -> [MemoryLedger; 3] {
    let (bulk, last, own) = (MemoryLedger::default(), MemoryLedger::default(), MemoryLedger::default());
    let (observer, stop) = (MemoryObserver::default(), CancellationToken::new());
    mover.plan(&bulk, &observer, &stop).await.expect("a plan");
    mover.back_up(&bulk, backup, &own, &observer, &stop).await.expect("a backup");
    let copied = mover.copy(&bulk, &observer, &stop).await.expect("the bulk copy");
    assert_eq!(copied.problems.count, 0, "{:?}", copied.problems);
    let passed = mover.final_pass(&bulk, &last, &observer, &stop).await.expect("the final pass");
    assert_eq!((passed.files, passed.problems.count), (0, 0), "{passed:?}");
    let verified = mover.verify(&[&bulk, &last], &observer, &stop).await.expect("verification");
    assert!(verified.is_equal(), "{:?}", verified.mismatches);
    [bulk, last, own]
}

async fn undone(mover: &FilesMover, [bulk, last, own]: &[MemoryLedger; 3], backup: Arc<dyn FileTarget>) {
    let (observer, stop) = (MemoryObserver::default(), CancellationToken::new());
    let saved = FilesBackup { store: backup, ledger: own };
    let undone = mover.undo(&[bulk, last], Some(saved), &observer, &stop).await.expect("undo");
    assert!(undone.is_complete(), "{undone:?}");
}

fn options() -> FileOptions {
    FileOptions { parallel: 4, chunk_size: 5 << 20, delete_extraneous: true, staging: "run-8".to_owned(), ..FileOptions::default() }
}

/// Every path with its mode, owner, group, number of names, size, and whether it has holes.
fn facts(root: &Path) -> BTreeMap<String, (u32, u32, u32, u64, u64, bool)> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let m = fs::symlink_metadata(&path).expect("facts");
            let (links, size) = if m.is_dir() { (0, 0) } else { (m.nlink(), m.size()) };
            let holes = m.is_file() && m.blocks() * 512 < m.size();
            let name = path.strip_prefix(root).expect("below the root").display().to_string();
            found.insert(name, (m.mode(), m.uid(), m.gid(), links, size, holes));
            if m.is_dir() {
                open.push(path);
            }
        }
    }
    found
}

fn owned(path: &Path, data: &[u8], mode: u32, owner: u32) {
    fs::create_dir_all(path.parent().expect("a directory")).expect("directories");
    fs::write(path, data).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    chown(path, Some(owner), Some(owner + 1)).expect("an owner");
}

/// What root moves between two directories keeps owners, groups, hard links and holes; what stood there comes back with its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_move_as_root_keeps_owners_links_and_holes() {
    let (from, to, kept) = (Place::new(Kind::Local).await, Place::new(Kind::Local).await, Place::new(Kind::Local).await);
    let (source, destination) = (from.disk(), to.disk());
    if fs::metadata(source).expect("facts").uid() != 0 {
        return; // Only root may give files away.
    }
    owned(&source.join("d/one"), b"one", 0o640, 1234);
    owned(&source.join("d/private/two"), b"two", 0o600, 1300);
    chown(source.join("d/private"), Some(1300), Some(1301)).expect("an owner");
    fs::set_permissions(source.join("d/private"), fs::Permissions::from_mode(0o2750)).expect("a mode");
    fs::hard_link(source.join("d/one"), source.join("d/other name")).expect("a hard link");
    fs::File::create(source.join("sparse")).and_then(|f| f.set_len(9 << 20)).expect("a hole");
    owned(&destination.join("d/one"), b"older", 0o604, 4321);
    owned(&destination.join("gone/extra"), b"extra", 0o444, 4400);
    fs::hard_link(destination.join("d/one"), destination.join("stays linked")).expect("a hard link");
    fs::remove_file(destination.join("stays linked")).expect("one name is enough");
    let before = facts(destination);
    let mover = FilesMover::new(from.files.clone(), to.files.clone(), options()).with_owners().await.expect("both sides");
    assert!(mover.is_whole() && mover.notes().is_empty(), "{:?}", mover.notes());
    let ledgers = moved(&mover, kept.files.clone()).await;
    assert_eq!(facts(destination), facts(source));
    undone(&mover, &ledgers, kept.files.clone()).await;
    assert_eq!(facts(destination), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_ordinary_user_cannot_keep_is_said() {
    let (from, to) = (Place::new(Kind::Local).await, Place::new(Kind::Sftp).await);
    let mover = FilesMover::new(from.files.clone(), to.files.clone(), options()).with_owners().await.expect("both sides");
    assert!(!mover.is_whole());
    assert!(mover.notes()[0].contains("owners, groups") && mover.notes()[0].contains("destination: the SSH user is not root"), "{:?}", mover.notes());
}

fn metadata(of: &str) -> ObjectMetadata {
    ObjectMetadata {
        cache_control: Some(format!("max-age={}", of.len())),
        content_disposition: Some(format!("attachment; filename=\"{of}.bin\"")),
        content_encoding: Some("gzip".to_owned()),
        content_language: Some("de".to_owned()),
        user: BTreeMap::from([("author".to_owned(), of.to_owned())]),
        tags: BTreeMap::from([("team".to_owned(), of.to_owned())]),
        ..ObjectMetadata::default()
    }
}

async fn put(place: &Place, path: &str, size: u64, of: &str) {
    let data = noise(of, size);
    let entry = Entry {
        content_type: Some(format!("text/x-{}", of.replace(' ', "-"))),
        object: Some(Box::new(metadata(of))),
        ..Entry::new(path.into(), EntryKind::File { size })
    };
    let limit = place.files.traits().single_put_limit;
    if size <= limit {
        let body = futures::stream::once(async move { Ok(data.into()) }).boxed();
        place.files.put(&entry, "preparing", body).await.expect("put");
        return;
    }
    let parts = place.files.parts();
    let upload = parts.begin(&entry, "preparing", limit).await.expect("begin");
    let mut sent = Vec::new();
    for (number, piece) in (1..).zip(data.chunks(limit as usize)) {
        let start = u64::from(number - 1) * limit;
        let body = futures::stream::iter([Ok(bytes::Bytes::copy_from_slice(piece))]).boxed();
        sent.push(parts.put_part(&entry, &upload, number, start..start + piece.len() as u64, body).await.expect("a part"));
    }
    parts.complete(&entry, &upload, &sent).await.expect("complete");
}

/// Content type and metadata by path.
async fn described(place: &Place) -> BTreeMap<String, (Option<String>, Option<ObjectMetadata>)> {
    let mut found = BTreeMap::new();
    for entry in place.entries().await.into_iter().filter(|e| matches!(e.kind, EntryKind::File { .. })) {
        let object = place.files.stat(&entry.path).await.expect("stat").expect("there");
        let metadata = object.object.map(|mut o| {
            // What we write ourselves, as other tools do: the time of the file at its source.
            o.user.remove("mtime");
            *o
        });
        found.insert(entry.path.to_string(), (object.content_type, metadata));
    }
    found
}

/// Small objects and large ones, over others and over nothing, there and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_keep_their_metadata_and_get_it_back() {
    for (from, to) in [(Kind::S3, Kind::Rgw), (Kind::Rgw, Kind::S3)] {
        let (source, destination, kept) = (Place::new(from).await, Place::new(to).await, Place::new(Kind::Local).await);
        for (path, size) in [("small", 100), ("large", (8 << 20) + 5), ("alike", 50)] {
            put(&source, path, size, path).await;
        }
        put(&destination, "small", 90, "older small").await;
        put(&destination, "large", (8 << 20) + 9, "older large").await;
        put(&destination, "extra", (8 << 20) + 7, "older extra").await;
        let (before, contents) = (described(&destination).await, destination.contents().await);
        let mover = FilesMover::new(source.files.clone(), destination.files.clone(), options());
        let ledgers = moved(&mover, kept.files.clone()).await;
        assert_eq!(described(&destination).await, described(&source).await, "{from:?} → {to:?}");
        assert_eq!(described(&source).await["large"].1.as_ref().map(|o| o.tags.len()), Some(1));
        undone(&mover, &ledgers, kept.files.clone()).await;
        assert_eq!(described(&destination).await, before, "{from:?} → {to:?}");
        assert_eq!(destination.contents().await, contents);
        destination.clean().await;
        source.clean().await;
    }
}

/// A key that looks like an escape is a name like any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_keep_their_text_on_a_disk() {
    let (source, destination) = (Place::new(Kind::Rgw).await, Place::new(Kind::Local).await);
    for key in ["caf%E9.jpg", "100%25", "a%20b"] {
        source.write(key, noise(key, 20)).await;
    }
    let mover = FilesMover::new(source.files.clone(), destination.files.clone(), options());
    let (bulk, observer, stop) = (MemoryLedger::default(), MemoryObserver::default(), CancellationToken::new());
    mover.plan(&bulk, &observer, &stop).await.expect("a plan");
    mover.copy(&bulk, &observer, &stop).await.expect("the copy");
    assert_eq!(destination.contents().await.keys().collect::<Vec<_>>(), ["100%25", "a%20b", "caf%E9.jpg"]);
    assert_eq!(destination.contents().await, source.contents().await);
    assert!(destination.files.stat(&FilePath::from("caf%E9.jpg")).await.expect("stat").is_some());
    source.clean().await;
}
