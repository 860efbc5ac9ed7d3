//! Writing whole files.

use super::{Case, TAG, body, directory, entries, file, noise, paths, put, read};
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use ports::files::{Body, Entry, EntryKind, FilePath};
use ports::{CheckOutcome, ConnectorError, ErrorKind, Role};

/// Below and above what connectors write in one go.
const SIZES: [usize; 2] = [1000, 3_000_000];

pub async fn what_was_put_is_read_back(case: &Case) {
    for (i, size) in [0, 1, 65_536, 262_145, 5_000_000].into_iter().enumerate() {
        let data = noise(size, i as u64);
        let path = format!("dir/of {size}");
        put(&*case.target, path.as_str(), &data).await;
        assert!(read(&*case.other, path.as_str()).await.expect("read") == data, "{size} bytes");
        let entry = case.target.stat(&FilePath::from(path.as_str())).await.expect("stat").expect("there");
        assert_eq!(entry.kind, EntryKind::File { size: size as u64 });
    }
}

pub async fn put_replaces(case: &Case) {
    put(&*case.target, "page", &noise(3_000_000, 1)).await;
    put(&*case.target, "page", b"short").await;
    put(&*case.target, "page", b"short").await;
    assert_eq!(read(&*case.target, "page").await.expect("read"), b"short");
    assert_eq!(paths(&*case.target).await, [FilePath::from("page")]);
}

pub async fn put_new_leaves_alone_what_stands_there(case: &Case) {
    for size in SIZES {
        put(&*case.target, "page", b"precious").await;
        let error = case.target.put_new(&file("page", size), TAG, body(&noise(size, 1))).await.expect_err("something stands there");
        assert_eq!(error.kind, ErrorKind::AlreadyExists, "{error}");
        assert_eq!(read(&*case.target, "page").await.expect("read"), b"precious");
        let fresh = format!("dir/of {size}");
        case.target.put_new(&file(fresh.as_str(), size), TAG, body(&noise(size, 1))).await.expect("nothing stands there");
        assert!(read(&*case.target, fresh.as_str()).await.expect("read") == noise(size, 1));
    }
    no_leftovers(case);
}

pub async fn a_wrong_length_leaves_the_old_file(case: &Case) {
    for size in SIZES {
        put(&*case.target, "page", b"old").await;
        for given in [size - 1, size + 1, 0] {
            let error = case.target.put(&file("page", size), TAG, body(&noise(given, 1))).await.expect_err("the length is wrong");
            assert_eq!(error.kind, ErrorKind::Changed, "{error}");
            assert_eq!(read(&*case.target, "page").await.expect("read"), b"old");
        }
        assert!(case.target.put(&file("new", size), TAG, body(b"short")).await.is_err());
        assert_eq!(paths(&*case.target).await, [FilePath::from("page")]);
    }
    no_leftovers(case);
}

fn failing(size: usize) -> Body {
    let cut = ConnectorError::new(ErrorKind::Interrupted, "read", "the source", "cut in the test");
    stream::iter(vec![Ok(Bytes::from(noise(size / 2, 1))), Err(cut)]).boxed()
}

pub async fn a_source_error_leaves_nothing(case: &Case) {
    for size in SIZES {
        let error = case.target.put(&file("dir/new", size), TAG, failing(size)).await.expect_err("the source fails");
        assert_eq!((error.kind, error.subject.as_str()), (ErrorKind::Interrupted, "the source"), "the source's own words");
        let listed = entries(&*case.target).await;
        assert!(listed.iter().all(|e| e.kind == EntryKind::Directory), "{listed:?}");
    }
    no_leftovers(case);
}

/// No staging name is on the disk. (What a dropped connection removes late is asked for again.)
fn no_leftovers(case: &Case) {
    let Some(disk) = &case.disk else { return };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    loop {
        let left = staging_files(disk);
        if left.is_empty() {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{left:?}");
        std::thread::yield_now();
    }
}

fn staging_files(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("read_dir") {
        let entry = entry.expect("entry");
        if entry.file_name().to_string_lossy().starts_with(".migration-assistant~") {
            found.push(entry.path());
        } else if entry.file_type().expect("type").is_dir() {
            found.extend(staging_files(&entry.path()));
        }
    }
    found
}

pub async fn modes_and_times_are_kept(case: &Case) {
    let traits = case.target.traits();
    let time = 1_600_000_000_123_456_789_i64;
    let entry = Entry { mode: Some(0o640), modified_ns: Some(time), ..file("a/f", 1) };
    case.target.put(&entry, TAG, body(b"x")).await.expect("put");
    let upload = Entry { path: FilePath::from("a/dir"), kind: EntryKind::Directory, mode: Some(0o2750), ..entry.clone() };
    case.target.make(&upload).await.expect("make");
    let kept = |ns: Option<i64>, resolution: u64| ns.map(|ns| ns / resolution as i64) == Some(time / resolution as i64);
    let stat = case.target.stat(&FilePath::from("a/f")).await.expect("stat").expect("there");
    let opened = case.target.open(&FilePath::from("a/f"), None).await.expect("open").entry;
    // Where listings tell neither, looking at the file itself still does.
    assert!(kept(stat.modified_ns, traits.mtime_resolution_ns.max(1)) && stat.mode == Some(0o640), "{stat:?}");
    assert!(kept(opened.modified_ns, traits.mtime_resolution_ns.max(1)) && opened.mode == Some(0o640), "{opened:?}");
    for listed in entries(&*case.target).await {
        if traits.modes && listed.path == FilePath::from("a/dir") {
            assert_eq!(listed.mode, Some(0o2750));
        }
        if traits.mtime_resolution_ns > 0 && listed.path != FilePath::from("a") {
            assert!(kept(listed.modified_ns, traits.mtime_resolution_ns), "{listed:?}");
        }
    }
    if traits.modes {
        let changed = Entry { mode: Some(0o600), modified_ns: Some(time + 5_000_000_000), ..entry };
        case.target.make(&changed).await.expect("set mode and time");
        let stat = case.target.stat(&FilePath::from("a/f")).await.expect("stat").expect("there");
        assert_eq!((stat.mode, stat.modified_ns.map(|ns| ns / 1_000_000_000)), (Some(0o600), Some(1_600_000_005)));
    }
}

pub async fn removing_twice_is_fine(case: &Case) {
    put(&*case.target, "a/f", b"x").await;
    case.target.make(&directory("a/d")).await.expect("make");
    for path in ["a/f", "a/f", "a/d", "a/d", "a", "a", "never/was", "a//b"] {
        case.target.remove(&FilePath::from(path)).await.unwrap_or_else(|e| panic!("{path}: {e}"));
    }
    assert_eq!(paths(&*case.target).await, []);
}

pub async fn a_full_directory_is_not_removed(case: &Case) {
    case.target.make(&directory("a")).await.expect("make");
    put(&*case.target, "a/f", b"x").await;
    let error = case.target.remove(&FilePath::from("a")).await.expect_err("it is not empty");
    assert_eq!(error.kind, ErrorKind::AlreadyExists, "{error}");
    assert_eq!(read(&*case.target, "a/f").await.expect("read"), b"x");
    if case.disk.is_some() {
        let error = case.target.put(&file("a", 1), TAG, body(b"x")).await.expect_err("a directory is in the way");
        assert!(!error.temporary, "{error}");
    }
    case.target.remove(&FilePath::from("a/f")).await.expect("remove");
    case.target.remove(&FilePath::from("a")).await.expect("remove");
    assert_eq!(paths(&*case.target).await, []);
}

pub async fn sweep_removes_what_is_unfinished(case: &Case) {
    const PART: u64 = 5 << 20;
    put(&*case.target, "kept", b"kept").await;
    let big = file("deep/big", (PART + 1) as usize);
    let parts = case.target.parts();
    let mine = parts.begin(&big, TAG, PART).await.expect("begin");
    let foreign = parts.begin(&file("deep/other", (PART + 1) as usize), "another-run", PART).await.expect("begin");
    let first = parts.put_part(&big, &mine, 1, 0..PART, body(&noise(PART as usize, 1))).await.expect("part");
    let files: Vec<FilePath> = entries(&*case.target).await.into_iter().filter(|e| e.kind != EntryKind::Directory).map(|e| e.path).collect();
    assert_eq!(files, [FilePath::from("kept")], "the unfinished is not listed");
    case.other.sweep(TAG).await.expect("sweep");
    case.other.sweep(TAG).await.expect("sweep again");
    let second = parts.put_part(&big, &mine, 2, PART..PART + 1, body(b"x")).await;
    let ended = match second {
        Err(e) => Err(e),
        Ok(second) => parts.complete(&big, &mine, &[first, second]).await,
    };
    assert_eq!(ended.expect_err("the upload was swept").kind, ErrorKind::NotFound);
    let other = file("deep/other", (PART + 1) as usize);
    parts.put_part(&other, &foreign, 1, 0..PART, body(&noise(PART as usize, 1))).await.expect("another run goes on");
    parts.abort(&other, &foreign).await.expect("abort");
    no_leftovers(case);
}

pub async fn all_checks_pass(case: &Case) {
    put(&*case.target, "a/f", b"x").await;
    for role in [Role::Source, Role::Destination] {
        for check in case.target.checks(role) {
            match check.run.await {
                CheckOutcome::Passed(said) => assert!(!said.is_empty()),
                other => panic!("{}: {other:?}", check.name),
            }
        }
    }
    let files: Vec<FilePath> = entries(&*case.target).await.into_iter().filter(|e| e.kind != EntryKind::Directory).map(|e| e.path).collect();
    assert_eq!(files, [FilePath::from("a/f")], "the checks left nothing behind");
    no_leftovers(case);
}
