//! Writing whole files.

use super::{Case, TAG, body, directory, entries, file, noise, paths, put, read};
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use ports::files::{Body, Entry, EntryKind, FilePath, ObjectMetadata};
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

pub async fn put_replacing_replaces_what_was_seen_and_nothing_else(case: &Case) {
    let path = FilePath::from("dir/page");
    for size in SIZES {
        put(&*case.target, path.clone(), b"seen").await;
        let seen = case.target.stat(&path).await.expect("stat").expect("there");
        put(&*case.other, path.clone(), b"changed").await;
        let new = noise(size, 1);
        let refused = case.target.put_replacing(&file(path.clone(), size), TAG, body(&new), &seen).await.expect_err("it was changed");
        assert_eq!(refused.kind, ErrorKind::AlreadyExists, "{refused}");
        assert_eq!(case.target.remove_if(&path, &seen).await.expect_err("it was changed").kind, ErrorKind::AlreadyExists);
        assert_eq!(read(&*case.target, path.clone()).await.expect("read"), b"changed");
        let now = case.target.stat(&path).await.expect("stat").expect("there");
        case.target.put_replacing(&file(path.clone(), size), TAG, body(&new), &now).await.expect("it is as it was seen");
        assert!(read(&*case.target, path.clone()).await.expect("read") == new);
        let now = case.target.stat(&path).await.expect("stat").expect("there");
        for _ in 0..2 {
            case.target.remove_if(&path, &now).await.expect("it is as it was seen, or gone");
        }
        assert_eq!(case.target.stat(&path).await.expect("stat"), None);
        case.target.put_replacing(&file(path.clone(), size), TAG, body(&new), &now).await.expect("nothing stands there any more");
        case.target.remove(&path).await.expect("remove");
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

/// Headers, user metadata and tags as objects have them.
pub fn rich_metadata() -> ObjectMetadata {
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    ObjectMetadata {
        content_encoding: Some("gzip".to_owned()),
        cache_control: Some("public, max-age=31536000".to_owned()),
        content_disposition: Some("attachment; filename=\"a b.txt\"".to_owned()),
        content_language: Some("de, en".to_owned()),
        expires: Some("Wed, 21 Oct 2037 07:28:00 GMT".to_owned()),
        user: pairs(&[("author", "a person"), ("empty-looking", "-")]),
        tags: pairs(&[("kind of", "a/b+c=d"), ("team", "x")]),
        ..ObjectMetadata::default()
    }
}

async fn put_in_parts(case: &Case, entry: &Entry, data: &[u8]) {
    const PART: usize = 5 << 20;
    let parts = case.target.parts();
    let upload = parts.begin(entry, TAG, PART as u64).await.expect("begin");
    let mut done = Vec::new();
    for (i, piece) in data.chunks(PART).enumerate() {
        let start = (i * PART) as u64;
        done.push(parts.put_part(entry, &upload, i as u32 + 1, start..start + piece.len() as u64, body(piece)).await.expect("part"));
    }
    parts.complete(entry, &upload, &done).await.expect("complete");
}

pub async fn metadata_of_objects_is_kept_or_named(case: &Case) {
    let data = noise((5 << 20) + 17, 3);
    let rich = |path: &str, size: usize| Entry { content_type: Some("text/x-odd".to_owned()), object: Some(Box::new(rich_metadata())), ..file(path, size) };
    case.target.put(&rich("deep/small", 3), TAG, body(b"abc")).await.expect("put");
    put_in_parts(case, &rich("deep/large", data.len()), &data).await;
    for (path, size) in [("deep/small", 3), ("deep/large", data.len())] {
        let unkept = case.target.unkept(&rich(path, size));
        if !case.target.keeps_object_metadata() {
            assert!(["Content-Encoding 'gzip'", "user metadata (author, empty-looking)", "tags (kind of, team)"].iter().all(|w| unkept.iter().any(|u| u == w)));
            continue;
        }
        let path = FilePath::from(path);
        for found in [case.target.stat(&path).await.expect("stat").expect("there"), case.other.open(&path, None).await.expect("open").entry] {
            assert_eq!(found.content_type.as_deref(), Some("text/x-odd"), "{path}");
            let mut wanted = rich_metadata();
            if unkept.iter().any(|u| u.starts_with("tags")) {
                wanted.tags.clear();
            }
            assert_eq!(found.object.as_deref(), Some(&wanted), "{path}");
        }
        assert!(unkept.iter().all(|u| u.starts_with("tags")), "{unkept:?}");
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
