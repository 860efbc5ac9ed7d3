//! A local directory.

use crate::suite::{Case, entries, suite};
use connectors_files::local::LocalFiles;
use ports::files::{EntryKind, FilePath, FileSource, FileTarget};
use ports::{CheckOutcome, ErrorKind, Examine, Role};
use std::sync::Arc;

async fn case() -> Case {
    let guard = tempfile::tempdir().expect("tempdir");
    let disk = guard.path().join("root");
    let target = Arc::new(LocalFiles::new(&disk));
    target.prepare().await.expect("prepare");
    Case { target, other: Arc::new(LocalFiles::new(&disk)), disk: Some(disk), _guard: Box::new(guard) }
}

suite!(case);

#[tokio::test]
async fn odd_things_are_named_not_read() {
    let case = case().await;
    let disk = case.disk.clone().expect("disk");
    rustix::fs::mknodat(rustix::fs::CWD, disk.join("pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0).expect("mkfifo");
    let listed = entries(&*case.target).await;
    assert_eq!(listed[0].kind, EntryKind::Other("fifo".to_owned()));
    let error = case.target.open(&FilePath::from("pipe"), None).await.err().expect("a pipe does not open, nor block");
    assert_eq!((error.kind, error.temporary), (ErrorKind::Changed, false), "it is no file any more: the path's own trouble");
}

#[tokio::test]
async fn a_file_in_place_of_the_root_is_told() {
    let file = tempfile::NamedTempFile::new().expect("file");
    let files = LocalFiles::new(file.path());
    let error = futures::StreamExt::next(&mut files.list()).await.expect("an item").expect_err("not a directory");
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("not a directory"), "{error}");
    for check in files.checks(Role::Source) {
        assert!(matches!(check.run.await, CheckOutcome::Failed { finding, .. } if finding.field == "paths.web_root"), "{}", check.name);
    }
}

/// A million names fit: the walk keeps a directory's names packed. Here a tenth of that, and its order.
#[tokio::test]
async fn a_large_directory_is_listed_in_order() {
    let case = case().await;
    let disk = case.disk.clone().expect("disk");
    for i in 0..20_000 {
        std::fs::File::create(disk.join(format!("{i}"))).expect("create");
    }
    let listed = entries(&*case.target).await;
    assert_eq!(listed.len(), 20_000);
    assert!(listed.is_sorted_by(|a, b| a.path < b.path));
}
