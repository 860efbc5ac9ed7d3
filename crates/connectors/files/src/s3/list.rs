//! Listing, a page of a thousand keys at a time, the next page on its way while one is handed out.

use super::error::{call, tell};
use super::{Store, keys};
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{EncodingType, Object};
use futures::stream::{self, BoxStream, StreamExt};
use ports::files::{Entry, EntryKind, FilePath};
use ports::{ConnectorError, ErrorKind, Result};
use std::sync::Arc;

type Page = (Vec<Entry>, Option<String>);

enum Next {
    Start,
    Coming(tokio::task::JoinHandle<Result<Page>>),
    Done,
}

pub(super) fn stream(store: Arc<Store>) -> BoxStream<'static, Result<Entry>> {
    let pages = stream::unfold((store, Next::Start), |(store, next)| async move {
        let page = match next {
            Next::Done => return None,
            Next::Start => page(&store, &store.prefix, None).await,
            Next::Coming(task) => match task.await {
                Ok(page) => page,
                Err(e) => Err(ConnectorError::new(ErrorKind::Internal, "list", store.location.clone(), "the listing task ended").because(e)),
            },
        };
        match page {
            Ok((entries, token)) => {
                let next = token.map_or(Next::Done, |token| {
                    let ahead = store.clone();
                    Next::Coming(tokio::spawn(async move { page_below_prefix(&ahead, token).await }))
                });
                Some((stream::iter(entries.into_iter().map(Ok).collect::<Vec<_>>()), (store, next)))
            }
            Err(e) => Some((stream::iter(vec![Err(e)]), (store, Next::Done))),
        }
    });
    pages.flatten().boxed()
}

async fn page_below_prefix(store: &Store, token: String) -> Result<Page> {
    page(store, &store.prefix, Some(token)).await
}

/// One page of entries, unfinished files left out.
async fn page(store: &Store, prefix: &str, token: Option<String>) -> Result<Page> {
    let (output, encoded) = fetch(store, prefix, token, 1000).await?;
    let entries = output.contents().iter().filter_map(|o| entry(store, o, encoded)).collect();
    Ok((entries, output.next_continuation_token().filter(|_| output.is_truncated() == Some(true)).map(str::to_owned)))
}

/// The keys below `prefix`, at most `limit` (up to 1000).
pub(super) async fn keys_below(store: &Store, prefix: &str, limit: i32) -> Result<Vec<String>> {
    let (output, encoded) = fetch(store, prefix, None, limit).await?;
    Ok(output.contents().iter().filter_map(|o| o.key()).map(|k| plain(k, encoded)).collect())
}

/// Keys with characters that XML cannot hold make the plain answer unreadable; the page is then asked for again, URL-encoded. (Not
/// from the start, because stores disagree about `+` and blanks there.)
async fn fetch(store: &Store, prefix: &str, token: Option<String>, limit: i32) -> Result<(ListObjectsV2Output, bool)> {
    let request = || store.client.list_objects_v2().bucket(&store.bucket).prefix(prefix).max_keys(limit).set_continuation_token(token.clone());
    match request().send().await {
        Ok(page) => Ok((page, false)),
        Err(SdkError::ResponseError(e)) if e.raw().status().is_success() => {
            let page = call("list", &store.location, 0, request().encoding_type(EncodingType::Url).send()).await?;
            let encoded = page.encoding_type().is_some();
            Ok((page, encoded))
        }
        Err(e) => Err(tell("list", &store.location, e)),
    }
}

fn plain(key: &str, encoded: bool) -> String {
    if !encoded {
        return key.to_owned();
    }
    let spaced = key.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

fn entry(store: &Store, object: &Object, encoded: bool) -> Option<Entry> {
    let key = plain(object.key()?, encoded);
    let below = key.strip_prefix(&store.prefix)?;
    if below.is_empty() || crate::staging::is_staging(below.as_bytes()) {
        return None;
    }
    let size = object.size().unwrap_or_default().max(0) as u64;
    let (path, kind) = path_and_kind(below, size);
    let modified_ns = object.last_modified().and_then(|t| i64::try_from(t.as_nanos()).ok());
    Some(Entry { path, kind, modified_ns, mode: None, version: object.e_tag().map(bare_etag), content_type: None })
}

/// An empty object whose key ends with `/` is a directory; the key `/` alone has no name to be a directory with.
pub(super) fn path_and_kind(below: &str, size: u64) -> (FilePath, EntryKind) {
    match below.strip_suffix('/') {
        Some(name) if size == 0 && !name.is_empty() => (keys::decode(name), EntryKind::Directory),
        _ => (keys::decode(below), EntryKind::File { size }),
    }
}

pub(super) fn bare_etag(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}
