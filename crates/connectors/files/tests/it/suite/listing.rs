//! Listing and names.

use super::{Case, body, clear, directory, entries, file, paths, put, read};
use futures::StreamExt;
use ports::ErrorKind;
use ports::files::{EntryKind, FilePath};

pub async fn an_empty_root_lists_nothing(case: &Case) {
    assert_eq!(paths(&*case.target).await, []);
    assert_eq!(case.target.stat(&FilePath::from("nothing")).await.expect("stat"), None);
}

pub async fn a_missing_root_is_not_found_until_prepared(case: &Case) {
    case.target.remove(&FilePath::default()).await.expect("remove the root");
    let found = case.target.list().next().await;
    assert!(matches!(&found, Some(Err(e)) if e.kind == ErrorKind::NotFound), "{found:?}");
    assert!(case.target.prepare().await.expect("prepare"), "it was missing");
    assert!(!case.target.prepare().await.expect("prepare again"), "it is there");
    assert_eq!(paths(&*case.target).await, []);
}

/// A directory sorts as `name/`.
pub async fn the_order_is_that_of_the_bytes(case: &Case) {
    for path in ["a/x", "a-b", "a0", "B", "b/c/d", "b/c-d", "é", "a b", "~", "a/x-/1", "a.txt"] {
        put(&*case.target, path, path.as_bytes()).await;
    }
    let listed = entries(&*case.target).await;
    let files: Vec<String> = listed.iter().filter(|e| matches!(e.kind, EntryKind::File { .. })).map(|e| e.path.to_string()).collect();
    assert_eq!(files, ["B", "a b", "a-b", "a.txt", "a/x", "a/x-/1", "a0", "b/c-d", "b/c/d", "~", "é"]);
    let keys: Vec<Vec<u8>> = listed
        .iter()
        .map(|e| match e.kind {
            EntryKind::Directory => [e.path.as_bytes(), b"/"].concat(),
            _ => e.path.as_bytes().to_vec(),
        })
        .collect();
    assert!(keys.is_sorted(), "{listed:?}");
}

pub async fn names_come_back_byte_for_byte(case: &Case) {
    let names: [&[u8]; 13] = [
        b"a b",
        "é".as_bytes(),
        "e\u{301}".as_bytes(),
        b"caf\xe9",
        b"caf%E9",
        b"%%caf%E9",
        b"100%25",
        b"a+b",
        b"what?&x=1#y",
        b"quote'\"<>&amp;",
        "日本/漢字.txt".as_bytes(),
        b" leading and trailing ",
        b"tab\there",
    ];
    for name in names {
        let path = FilePath::new(name);
        case.target.accepts(&path).expect("accepted");
        let entry = file(path, name.len());
        case.target.put(&entry, super::TAG, body(name)).await.unwrap_or_else(|e| panic!("{e}"));
    }
    let listed = paths(&*case.target).await;
    assert!(listed.is_sorted_by_key(|path| path.as_bytes().to_vec()), "{listed:?}");
    for name in names {
        let path = FilePath::new(name);
        assert!(listed.contains(&path), "{path:?} is not in {listed:?}");
        assert_eq!(read(&*case.target, path.clone()).await.expect("read"), name, "{path:?}");
        assert_eq!(case.target.stat(&path).await.expect("stat").map(|e| e.size()), Some(name.len() as u64), "{path:?}");
    }
}

pub async fn impossible_names_are_refused(case: &Case) {
    let segment = "x".repeat(256);
    let long = format!("{}y", "directory/".repeat(500));
    let mut bad = vec!["", "..", "../up", "a/../b", ".", "nul\0byte", ".migration-assistant~x~1", long.as_str()];
    if case.disk.is_some() {
        bad.extend(["a//b", "/a", "a/", segment.as_str()]);
    }
    for name in bad {
        let path = FilePath::from(name);
        let refused = case.target.accepts(&path).expect_err("refused");
        assert_eq!(refused.kind, ErrorKind::Name, "{name}");
        assert!(!refused.reason.is_empty() && !refused.temporary);
        let error = case.target.put(&file(path, 1), super::TAG, body(b"x")).await.expect_err("put refuses it too");
        assert_eq!(error.kind, ErrorKind::Name, "{name}: {error}");
    }
    assert_eq!(paths(&*case.target).await, []);
}

pub async fn empty_files_and_directories_are_kept(case: &Case) {
    put(&*case.target, "empty.txt", b"").await;
    for _ in 0..2 {
        case.target.make(&directory("hollow/inner")).await.expect("make");
    }
    let listed = entries(&*case.target).await;
    assert!(listed.iter().any(|e| e.path == FilePath::from("empty.txt") && e.kind == EntryKind::File { size: 0 }));
    assert!(listed.iter().any(|e| e.path == FilePath::from("hollow/inner") && e.kind == EntryKind::Directory), "{listed:?}");
    assert_eq!(read(&*case.target, "empty.txt").await.expect("read"), b"");
    let found = case.target.stat(&FilePath::from("hollow/inner")).await.expect("stat").expect("there");
    assert_eq!(found.kind, EntryKind::Directory);
}

pub async fn a_deep_tree_is_walked(case: &Case) {
    let deep = (0..60).map(|i| format!("level{i}")).collect::<Vec<_>>().join("/");
    let path = format!("{deep}/file");
    put(&*case.target, path.as_str(), b"deep").await;
    assert!(paths(&*case.target).await.contains(&FilePath::from(path.as_str())));
    assert_eq!(read(&*case.other, path.as_str()).await.expect("read"), b"deep");
}

/// What root may not do either cannot be tried on this machine's own disk.
fn may_do_everything(case: &Case) -> bool {
    rustix::process::geteuid().is_root() && case.target.location().starts_with('/')
}

fn set_mode(case: &Case, path: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    let disk = case.disk.as_ref().expect("on a disk of this machine");
    std::fs::set_permissions(disk.join(path), std::fs::Permissions::from_mode(mode)).expect("chmod");
}

pub async fn a_directory_that_may_not_be_listed_is_named_and_the_rest_goes_on(case: &Case) {
    for path in ["a/x", "locked/y", "locked/z/deep", "locked-beside", "z"] {
        put(&*case.target, path, b"x").await;
    }
    for mode in [0o000, 0o444, 0o111] {
        set_mode(case, "locked", mode);
        let listed = entries(&*case.target).await;
        set_mode(case, "locked", 0o755);
        if may_do_everything(case) {
            assert!(listed.iter().all(|e| e.unlisted.is_none()));
            continue;
        }
        let found: Vec<(String, bool)> = listed.iter().map(|e| (e.path.to_string(), e.unlisted.is_some())).collect();
        let expected = [("a", false), ("a/x", false), ("locked-beside", false), ("locked", true), ("z", false)];
        assert_eq!(found, expected.map(|(path, unlisted)| (path.to_owned(), unlisted)), "{mode:o}");
    }
}

pub async fn a_pruned_directory_is_listed_but_not_entered(case: &Case) {
    for path in ["cache/deep/page", "cache-beside", "src/cache/kept", "z"] {
        put(&*case.target, path, b"x").await;
    }
    set_mode(case, "cache", 0o000);
    let prune: ports::files::Prune = std::sync::Arc::new(|path| path.as_bytes() == b"cache");
    let listed: Vec<_> = case.target.list_pruned(prune).map(|e| e.expect("list")).collect().await;
    set_mode(case, "cache", 0o755);
    let found: Vec<String> = listed.iter().map(|e| e.path.to_string()).collect();
    assert_eq!(found, ["cache-beside", "cache", "src", "src/cache", "src/cache/kept", "z"]);
    assert!(listed.iter().all(|e| e.unlisted.is_none()));
}

/// Several pages everywhere: a page of SFTP has 100 names, one of S3 a thousand keys.
pub async fn thousands_of_entries_are_all_there(case: &Case) {
    let count = if case.disk.is_some() { 5000 } else { 2500 };
    let names: Vec<String> = (0..count).map(|i| format!("d{}/file-{i:05}", i % 3)).collect();
    futures::stream::iter(&names).for_each_concurrent(32, |name| async move { put(&*case.target, name.as_str(), b"").await }).await;
    let listed: Vec<String> = entries(&*case.target).await.iter().filter(|e| e.kind != EntryKind::Directory).map(|e| e.path.to_string()).collect();
    let mut expected = names.clone();
    expected.sort();
    assert_eq!(listed.len(), expected.len());
    assert!(listed == expected, "the names differ");
    clear(&*case.target).await;
    assert_eq!(paths(&*case.target).await, []);
}
