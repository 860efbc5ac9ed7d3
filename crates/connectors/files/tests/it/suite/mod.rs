//! The contract of `FileSource`, `FileTarget` and `PartTarget` as tests. A connector calls [`suite!`] with a function that gives a
//! [`Case`] with a root of its own. What a system cannot hold is asked from its traits, never from its name.

pub mod links;
pub mod listing;
pub mod parts;
pub mod reading;
pub mod whole;
pub mod writing;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use ports::files::{Body, Entry, EntryKind, FilePath, FileTarget};
use ports::{ConnectorError, Result};
use std::path::PathBuf;
use std::sync::Arc;

/// One root to play in.
pub struct Case {
    pub target: Arc<dyn FileTarget>,
    /// A second, independent instance on the same root: another process, as far as it can tell.
    pub other: Arc<dyn FileTarget>,
    /// The root on this machine's disk, where there is one.
    pub disk: Option<PathBuf>,
    /// Kept until the end of the test.
    pub _guard: Box<dyn std::any::Any + Send>,
}

/// Makes the tests of the suite for one connector.
macro_rules! suite {
    ($case:path: $($module:ident :: $name:ident),* $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let case = $case().await;
            crate::suite::$module::$name(&case).await;
            crate::suite::clear(&*case.target).await;
        })*
    };
    // What a tree alone has (a root that can go away, a disk to look at) is left out.
    (objects $case:path) => {
        suite!($case:
            listing::an_empty_root_lists_nothing,
            listing::the_order_is_that_of_the_bytes,
            listing::names_come_back_byte_for_byte,
            listing::impossible_names_are_refused,
            listing::empty_files_and_directories_are_kept,
            listing::a_deep_tree_is_walked,
            listing::thousands_of_entries_are_all_there,
            reading::ranges_are_exact,
            reading::a_missing_file_is_not_found,
            reading::an_edit_of_the_same_size_is_seen,
            writing::what_was_put_is_read_back,
            writing::put_replaces,
            writing::put_new_leaves_alone_what_stands_there,
            writing::put_replacing_replaces_what_was_seen_and_nothing_else,
            writing::a_wrong_length_leaves_the_old_file,
            writing::a_source_error_leaves_nothing,
            writing::modes_and_times_are_kept,
            writing::metadata_of_objects_is_kept_or_named,
            writing::removing_twice_is_fine,
            writing::a_full_directory_is_not_removed,
            writing::sweep_removes_what_is_unfinished,
            links::links_are_kept_and_replaced,
            parts::parts_go_on_in_another_process,
            parts::complete_twice_is_fine,
            parts::an_aborted_upload_is_gone,
            parts::a_part_of_the_wrong_length_is_refused,
            writing::all_checks_pass,
        );
    };
    ($case:path) => {
        suite!($case:
            listing::an_empty_root_lists_nothing,
            listing::a_missing_root_is_not_found_until_prepared,
            listing::the_order_is_that_of_the_bytes,
            listing::names_come_back_byte_for_byte,
            listing::impossible_names_are_refused,
            listing::empty_files_and_directories_are_kept,
            listing::a_directory_that_may_not_be_listed_is_named_and_the_rest_goes_on,
            listing::a_pruned_directory_is_listed_but_not_entered,
            listing::a_deep_tree_is_walked,
            listing::thousands_of_entries_are_all_there,
            reading::ranges_are_exact,
            reading::a_missing_file_is_not_found,
            reading::an_edit_of_the_same_size_is_seen,
            reading::a_file_that_shrinks_while_read_is_an_error,
            writing::what_was_put_is_read_back,
            writing::put_replaces,
            writing::put_new_leaves_alone_what_stands_there,
            writing::put_replacing_replaces_what_was_seen_and_nothing_else,
            writing::a_wrong_length_leaves_the_old_file,
            writing::a_source_error_leaves_nothing,
            writing::modes_and_times_are_kept,
            writing::metadata_of_objects_is_kept_or_named,
            writing::removing_twice_is_fine,
            writing::a_full_directory_is_not_removed,
            writing::sweep_removes_what_is_unfinished,
            links::links_are_kept_and_replaced,
            links::nothing_leads_out_of_the_root,
            parts::parts_go_on_in_another_process,
            parts::complete_twice_is_fine,
            parts::an_aborted_upload_is_gone,
            parts::a_part_of_the_wrong_length_is_refused,
            writing::all_checks_pass,
        );
    };
}
pub(crate) use suite;

pub const TAG: &str = "suite-run-1";

pub fn file(path: impl Into<FilePath>, size: usize) -> Entry {
    Entry::new(path.into(), EntryKind::File { size: size as u64 })
}

pub fn directory(path: impl Into<FilePath>) -> Entry {
    Entry { kind: EntryKind::Directory, ..file(path, 0) }
}

pub fn link(path: impl Into<FilePath>, to: &str) -> Entry {
    Entry { kind: EntryKind::Symlink { target: to.as_bytes().to_vec() }, ..file(path, 0) }
}

/// A body in pieces of at most 100,000 bytes.
pub fn body(data: &[u8]) -> Body {
    let pieces: Vec<Result<Bytes>> = data.chunks(100_000).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    stream::iter(pieces).boxed()
}

/// Bytes that repeat nowhere near.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

pub async fn put(target: &dyn FileTarget, path: impl Into<FilePath>, data: &[u8]) {
    target.put(&file(path, data.len()), TAG, body(data)).await.expect("put");
}

pub async fn entries(target: &dyn FileTarget) -> Vec<Entry> {
    let listed: Vec<Result<Entry>> = target.list().collect().await;
    listed.into_iter().map(|e| e.expect("list")).collect()
}

pub async fn paths(target: &dyn FileTarget) -> Vec<FilePath> {
    entries(target).await.into_iter().map(|e| e.path).collect()
}

pub async fn read_body(mut body: Body) -> Result<Vec<u8>, ConnectorError> {
    let mut all = Vec::new();
    while let Some(piece) = body.next().await {
        all.extend_from_slice(&piece?);
    }
    Ok(all)
}

pub async fn read(target: &dyn FileTarget, path: impl Into<FilePath>) -> Result<Vec<u8>, ConnectorError> {
    read_body(target.open(&path.into(), None).await?.body).await
}

/// Removes everything below the root, and the unfinished.
pub async fn clear(target: &dyn FileTarget) {
    target.sweep(TAG).await.expect("sweep");
    let all: Vec<Entry> = target.list().filter_map(|e| async { e.ok() }).collect().await;
    let (directories, files): (Vec<_>, Vec<_>) = all.into_iter().partition(|e| e.kind == EntryKind::Directory);
    stream::iter(files).for_each_concurrent(16, |entry| async move { target.remove(&entry.path).await.expect("remove") }).await;
    for entry in directories.iter().rev() {
        target.remove(&entry.path).await.expect("remove");
    }
}
