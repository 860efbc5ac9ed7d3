//! Reading.

use super::{Case, directory, noise, put, read, read_body};
use ports::ErrorKind;
use ports::files::FilePath;

pub async fn ranges_are_exact(case: &Case) {
    let data = noise(3_000_000, 1);
    put(&*case.target, "big", &data).await;
    let size = data.len() as u64;
    for (start, end) in
        [(0, 0), (0, 1), (1, 2), (5, 5), (0, size), (size - 1, size), (1_000_000, 2_500_000), (size - 10, size + 10), (size, size + 1), (size + 5, size + 9)]
    {
        let opened = case.target.open(&FilePath::from("big"), Some(start..end)).await.unwrap_or_else(|e| panic!("{start}..{end}: {e}"));
        assert_eq!(opened.entry.size(), size, "the entry tells the whole size for {start}..{end}");
        let got = read_body(opened.body).await.unwrap_or_else(|e| panic!("{start}..{end}: {e}"));
        let expected = &data[start.min(size) as usize..end.min(size) as usize];
        assert!(got == expected, "{start}..{end}: {} bytes", got.len());
    }
    put(&*case.target, "empty", b"").await;
    let opened = case.target.open(&FilePath::from("empty"), Some(0..10)).await.expect("an empty file has an empty range");
    assert_eq!(read_body(opened.body).await.expect("read"), b"");
}

pub async fn a_missing_file_is_not_found(case: &Case) {
    put(&*case.target, "a/file", b"x").await;
    for path in ["nothing", "a/nothing", "b/nothing", "a/file/below"] {
        let path = FilePath::from(path);
        assert!(case.target.stat(&path).await.unwrap_or_else(|e| panic!("{path}: {e}")).is_none(), "{path}");
        let error = case.target.open(&path, None).await.err().unwrap_or_else(|| panic!("{path} opened"));
        assert!(matches!(error.kind, ErrorKind::NotFound | ErrorKind::Invalid), "{path}: {error}");
        assert!(!error.temporary);
        assert!(case.target.resolve(&path).await.expect("resolve").is_none(), "{path}");
    }
    case.target.make(&directory("d")).await.expect("make");
    assert!(case.target.open(&FilePath::from("d"), None).await.is_err(), "a directory is no file");
}

/// By version or by digest where the system has them; by size everywhere.
pub async fn an_edit_of_the_same_size_is_seen(case: &Case) {
    let path = FilePath::from("page.html");
    put(&*case.target, path.clone(), b"one").await;
    let before = (case.target.stat(&path).await.expect("stat").expect("there"), case.target.stored_digest(&path, None).await.expect("digest"));
    put(&*case.other, path.clone(), b"two").await;
    let after = (case.target.stat(&path).await.expect("stat").expect("there"), case.target.stored_digest(&path, None).await.expect("digest"));
    if before.0.version.is_some() {
        assert_ne!(before.0.version, after.0.version);
    }
    if let Some(kind) = case.target.traits().stored_digest {
        let digest = after.1.clone().expect("the traits promise one");
        assert_eq!(digest.kind, kind);
        assert_ne!(before.1, after.1);
    }
    put(&*case.other, path.clone(), b"three").await;
    assert_eq!(case.target.stat(&path).await.expect("stat").expect("there").size(), 5);
    assert_eq!(case.target.open(&path, None).await.expect("open").entry.size(), 5);
}

/// Where we can reach behind the connector's back.
pub async fn a_file_that_shrinks_while_read_is_an_error(case: &Case) {
    let data = noise(32 << 20, 2);
    let Some(disk) = &case.disk else { return };
    std::fs::write(disk.join("log"), &data).expect("write");
    let opened = case.target.open(&FilePath::from("log"), None).await.expect("open");
    assert_eq!(opened.entry.size(), data.len() as u64);
    std::fs::OpenOptions::new().write(true).open(disk.join("log")).expect("open").set_len(1000).expect("truncate");
    let error = read_body(opened.body).await.expect_err("it shrank");
    assert_eq!(error.kind, ErrorKind::Changed, "{error}");
    assert!(error.temporary);
    let grown = case.target.open(&FilePath::from("log"), None).await.expect("open");
    std::fs::write(disk.join("log"), &data[..5000]).expect("grow");
    assert_eq!(read_body(grown.body).await.expect("what was there at opening").len(), 1000);
    std::fs::remove_file(disk.join("log")).expect("remove");
    assert_eq!(read(&*case.target, "log").await.expect_err("gone").kind, ErrorKind::NotFound);
}
