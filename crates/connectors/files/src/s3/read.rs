//! Looking at objects and reading them.

use super::Store;
use super::error::{call, code, tell};
use super::list::{bare_etag, path_and_kind};
use super::metadata::Facts;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::ServerSideEncryption;
use futures::stream::{self, StreamExt};
use ports::files::{Body, Digest, DigestKind, Entry, EntryKind, FilePath, Opened};
use ports::{ConnectorError, ErrorKind, Result};
use std::ops::Range;
use std::sync::atomic::Ordering;

pub(super) async fn stat(store: &Store, path: &FilePath) -> Result<Option<Entry>> {
    if path.as_bytes().is_empty() {
        return Ok(None);
    }
    let key = store.key(path);
    if let Some(found) = head(store, path, &key).await? {
        let kind = EntryKind::File { size: size_of(&found) };
        return described(store, &key, path.clone(), kind, &found).await.map(Some);
    }
    let marker = format!("{key}/");
    match head(store, path, &marker).await? {
        // SeaweedFS answers so for a directory that only objects have made.
        Some(found) if found.e_tag().is_some_and(|tag| tag.trim_matches('"').ends_with("-0")) => Ok(None),
        Some(found) if size_of(&found) == 0 => described(store, &marker, path.clone(), EntryKind::Directory, &found).await.map(Some),
        _ => Ok(None),
    }
}

fn size_of(found: &HeadObjectOutput) -> u64 {
    found.content_length().unwrap_or_default().max(0) as u64
}

async fn described(store: &Store, key: &str, path: FilePath, kind: EntryKind, found: &HeadObjectOutput) -> Result<Entry> {
    let subject = store.subject(&path);
    Ok(Facts::from(found).with_tags(store, key, &subject).await?.entry(path, kind))
}

/// `None`: there is no such object.
async fn head(store: &Store, path: &FilePath, key: &str) -> Result<Option<HeadObjectOutput>> {
    match store.client.head_object().bucket(&store.bucket).key(key).send().await {
        Ok(found) => Ok(Some(found)),
        Err(e) if code(&e).1 == 404 => Ok(None),
        Err(e) => Err(tell("look at", &store.subject(path), e)),
    }
}

pub(super) async fn open(store: &Store, path: &FilePath, range: Option<Range<u64>>) -> Result<Opened> {
    let subject = store.subject(path);
    if range.as_ref().is_some_and(|r| r.start >= r.end) {
        return nothing_of(store, path).await;
    }
    let (key, whole) = (store.key(path), range.is_none());
    let header = range.map(|r| format!("bytes={}-{}", r.start, r.end - 1));
    match store.client.get_object().bucket(&store.bucket).key(&key).set_range(header).send().await {
        Ok(output) => {
            let facts = Facts::from(&output);
            // Whoever reads a part has read the metadata before.
            let facts = if whole { facts.with_tags(store, &key, &subject).await? } else { facts };
            Ok(opened(path, subject, facts, output))
        }
        Err(e) if code(&e).1 == 416 => nothing_of(store, path).await,
        Err(e) => Err(tell("read", &subject, e)),
    }
}

/// A range with no bytes in it.
async fn nothing_of(store: &Store, path: &FilePath) -> Result<Opened> {
    match stat(store, path).await? {
        Some(entry) if matches!(entry.kind, EntryKind::File { .. }) => Ok(Opened { entry, body: stream::empty().boxed() }),
        _ => Err(ConnectorError::new(ErrorKind::NotFound, "read", store.subject(path), "it does not exist")),
    }
}

fn opened(path: &FilePath, subject: String, facts: Facts, output: GetObjectOutput) -> Opened {
    let length = output.content_length().unwrap_or_default().max(0) as u64;
    let whole = output.content_range().and_then(|r| r.rsplit_once('/')).and_then(|(_, total)| total.parse().ok()).unwrap_or(length);
    let (_, kind) = path_and_kind("file", whole);
    let entry = facts.entry(path.clone(), kind);
    Opened { entry, body: body(output.body, subject, length) }
}

fn body(body: aws_sdk_s3::primitives::ByteStream, subject: String, length: u64) -> Body {
    let state = Some((body, subject, length));
    stream::unfold(state, |state| async move {
        let (mut body, subject, missing) = state?;
        match body.next().await {
            Some(Ok(piece)) => {
                let missing = missing.saturating_sub(piece.len() as u64);
                Some((Ok(piece), Some((body, subject, missing))))
            }
            None if missing == 0 => None,
            None => Some((Err(broken(&subject)), None)),
            Some(Err(e)) => Some((Err(broken(&subject).because(e)), None)),
        }
    })
    .boxed()
}

fn broken(subject: &str) -> ConnectorError {
    ConnectorError::new(ErrorKind::Interrupted, "read", subject, "the connection broke in the middle").advice("It is tried again")
}

pub(super) async fn stored_digest(store: &Store, path: &FilePath, part_size: Option<u64>) -> Result<Option<Digest>> {
    let subject = store.subject(path);
    let request = store.client.head_object().bucket(&store.bucket).key(store.key(path));
    let found = call("look at", &subject, 0, request.send()).await?;
    let encrypted = matches!(found.server_side_encryption(), Some(ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse))
        || found.sse_customer_algorithm().is_some();
    if encrypted || !store.plain_etags.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let parts = part_size.map(|size| size_of(&found).div_ceil(size.max(1)).max(1));
    Ok(found.e_tag().map(bare_etag).filter(|etag| has_form(etag, parts)).map(|hex| Digest { kind: DigestKind::Md5, hex }))
}

/// Whether an ETag is an MD5, or one over that many parts.
pub(super) fn has_form(etag: &str, parts: Option<u64>) -> bool {
    let (hex, count) = match etag.split_once('-') {
        Some((hex, count)) => (hex, count.parse::<u64>().ok().or(Some(0))),
        None => (etag, None),
    };
    hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()) && count == parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_md5_is_a_digest() {
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        assert!(has_form(md5, None) && has_form(&format!("{md5}-3"), Some(3)));
        assert!(!has_form(&format!("{md5}-3"), None) && !has_form(&format!("{md5}-3"), Some(4)) && !has_form(md5, Some(1)) && !has_form("abc", None));
    }
}
