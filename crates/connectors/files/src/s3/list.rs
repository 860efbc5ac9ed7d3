//! Listing, a page of a thousand keys at a time, the next page on its way while one is handed out.

use super::error::{call, tell};
use super::{Store, keys, levels, order};
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{EncodingType, Object};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use futures::stream::{self, BoxStream, StreamExt};
use ports::files::{Entry, EntryKind, FilePath};
use ports::{ConnectorError, ErrorKind, Result};
use std::sync::Arc;

enum Next {
    Start,
    Coming(tokio::task::JoinHandle<Result<(Page, bool)>>),
    Done,
}

pub(super) type Page = ListObjectsV2Output;

/// All entries, in one flat listing where the store has the order of the keys, directory by directory where it has that of a tree.
pub(super) fn stream(store: Arc<Store>) -> BoxStream<'static, Result<Entry>> {
    let chosen = async move {
        if store.manners.is_tree() {
            return levels::stream(store);
        }
        let first = fetch(&store, &store.prefix, None, 1000, false).await;
        if store.manners.is_tree() {
            return levels::stream(store);
        }
        flat(store, first)
    };
    order::by_path(stream::once(chosen).flatten().boxed())
}

fn flat(store: Arc<Store>, first: Result<(Page, bool)>) -> BoxStream<'static, Result<Entry>> {
    let state = (store, Some(first), Next::Start, String::new());
    let pages = stream::unfold(state, |(store, first, next, last)| async move {
        let page = match (first, next) {
            (Some(first), _) => first,
            (None, Next::Coming(task)) => match task.await {
                Ok(page) => page,
                Err(e) => Err(ConnectorError::new(ErrorKind::Internal, "list", store.location.clone(), "the listing task ended").because(e)),
            },
            (None, Next::Start | Next::Done) => return None,
        };
        match page.and_then(|(page, encoded)| in_order(&store, page, encoded, &last)) {
            Ok((entries, token, last)) => {
                let next = token.map_or(Next::Done, |token| {
                    let ahead = store.clone();
                    Next::Coming(tokio::spawn(async move { fetch(&ahead, &ahead.prefix, Some(token), 1000, false).await }))
                });
                Some((stream::iter(entries.into_iter().map(Ok).collect::<Vec<_>>()), (store, None, next, last)))
            }
            Err(e) => Some((stream::iter(vec![Err(e)]), (store, None, Next::Done, last))),
        }
    });
    pages.flatten().boxed()
}

/// The entries of a page, its token and its last key. A store out of order is remembered as a tree, and the listing is to be begun anew.
fn in_order(store: &Store, page: Page, encoded: bool, last: &str) -> Result<(Vec<Entry>, Option<String>, String)> {
    let mut last = last.to_owned();
    let mut entries = Vec::with_capacity(page.contents().len());
    for object in page.contents() {
        let key = plain(object.key().unwrap_or_default(), encoded);
        if key < last {
            store.manners.learn_tree();
            let mut error = ConnectorError::new(ErrorKind::Changed, "list", store.location.clone(), "the store lists its keys in an unusual order")
                .advice("The listing is begun anew, directory by directory");
            error.temporary = true;
            return Err(error);
        }
        entries.extend(entry(store, &key, object));
        last = key;
    }
    Ok((entries, token(&page), last))
}

pub(super) fn token(page: &Page) -> Option<String> {
    page.next_continuation_token().filter(|_| page.is_truncated() == Some(true)).map(str::to_owned)
}

/// The keys below `prefix`, at most `limit` (up to 1000).
pub(super) async fn keys_below(store: &Store, prefix: &str, limit: i32) -> Result<Vec<String>> {
    let (output, encoded) = fetch(store, prefix, None, limit, false).await?;
    Ok(output.contents().iter().filter_map(|o| o.key()).map(|k| plain(k, encoded)).collect())
}

/// Keys with characters that XML cannot hold make the plain answer unreadable; the page is then asked for again, URL-encoded. (Not
/// from the start, because stores disagree about `+` and blanks there.) `one_level`: what lies deeper is summed up by its directory.
pub(super) async fn fetch(store: &Store, prefix: &str, token: Option<String>, limit: i32, one_level: bool) -> Result<(ListObjectsV2Output, bool)> {
    let delimiter = one_level.then(|| "/".to_owned());
    let request = || {
        let request = store.client.list_objects_v2().bucket(&store.bucket).prefix(prefix).max_keys(limit);
        request.set_continuation_token(token.clone()).set_delimiter(delimiter.clone())
    };
    match request().send().await {
        Ok(page) => Ok((page, false)),
        Err(e) if unreadable(&e) => {
            let page = call("list", &store.location, 0, request().encoding_type(EncodingType::Url).send()).await?;
            let encoded = page.encoding_type().is_some();
            Ok((page, encoded))
        }
        Err(e) => Err(tell("list", &store.location, e)),
    }
}

/// Whether the store said yes in words that cannot be read.
pub(super) fn unreadable<E>(error: &SdkError<E, HttpResponse>) -> bool {
    error.raw_response().is_some_and(|answer| answer.status().is_success())
}

pub(super) fn plain(key: &str, encoded: bool) -> String {
    if !encoded {
        return key.to_owned();
    }
    let spaced = key.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// `None` for the prefix itself and for what is unfinished.
pub(super) fn entry(store: &Store, key: &str, object: &Object) -> Option<Entry> {
    let below = key.strip_prefix(&store.prefix)?;
    if below.is_empty() || crate::staging::is_staging(below.as_bytes()) {
        return None;
    }
    let size = object.size().unwrap_or_default().max(0) as u64;
    let (path, kind) = path_and_kind(below, size);
    if kind == EntryKind::Directory && object.e_tag().is_some_and(|tag| bare_etag(tag).is_empty()) {
        return None; // SeaweedFS shows a directory that only objects, now gone, have made.
    }
    let modified_ns = object.last_modified().and_then(|t| i64::try_from(t.as_nanos()).ok());
    Some(Entry { modified_ns, version: object.e_tag().map(bare_etag), ..Entry::new(path, kind) })
}

/// An empty object whose key ends with `/` is a directory; `/` alone, or one more `/`, has no name to be a directory with.
pub(super) fn path_and_kind(below: &str, size: u64) -> (FilePath, EntryKind) {
    match below.strip_suffix('/') {
        Some(name) if size == 0 && !name.is_empty() && !name.ends_with('/') => (keys::decode(name), EntryKind::Directory),
        _ => (keys::decode(below), EntryKind::File { size }),
    }
}

pub(super) fn bare_etag(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}
