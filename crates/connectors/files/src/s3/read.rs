//! Looking at objects and reading them.

use super::Store;
use super::error::{call, code, tell};
use super::list::{bare_etag, path_and_kind};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::ServerSideEncryption;
use futures::stream::{self, StreamExt};
use ports::files::{Body, Digest, DigestKind, Entry, EntryKind, FilePath, Opened};
use ports::{ConnectorError, ErrorKind, Result};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::Ordering;

pub(super) async fn stat(store: &Store, path: &FilePath) -> Result<Option<Entry>> {
    if path.as_bytes().is_empty() {
        return Ok(None);
    }
    let key = store.key(path);
    if let Some(found) = head(store, path, &key).await? {
        return Ok(Some(described(path.clone(), EntryKind::File { size: size_of(&found) }, &found)));
    }
    match head(store, path, &format!("{key}/")).await? {
        // SeaweedFS answers so for a directory that only objects have made.
        Some(found) if found.e_tag().is_some_and(|tag| tag.trim_matches('"').ends_with("-0")) => Ok(None),
        Some(found) if size_of(&found) == 0 => Ok(Some(described(path.clone(), EntryKind::Directory, &found))),
        _ => Ok(None),
    }
}

fn size_of(found: &HeadObjectOutput) -> u64 {
    found.content_length().unwrap_or_default().max(0) as u64
}

fn described(path: FilePath, kind: EntryKind, found: &HeadObjectOutput) -> Entry {
    let facts = Facts { etag: found.e_tag(), modified: found.last_modified(), metadata: found.metadata(), content_type: found.content_type() };
    facts.entry(path, kind)
}

/// `None`: there is no such object.
async fn head(store: &Store, path: &FilePath, key: &str) -> Result<Option<HeadObjectOutput>> {
    match store.client.head_object().bucket(&store.bucket).key(key).send().await {
        Ok(found) => Ok(Some(found)),
        Err(e) if code(&e).1 == 404 => Ok(None),
        Err(e) => Err(tell("look at", &store.subject(path), e)),
    }
}

/// What HEAD and GET tell alike.
struct Facts<'a> {
    etag: Option<&'a str>,
    modified: Option<&'a aws_sdk_s3::primitives::DateTime>,
    metadata: Option<&'a HashMap<String, String>>,
    content_type: Option<&'a str>,
}

impl Facts<'_> {
    fn entry(&self, path: FilePath, kind: EntryKind) -> Entry {
        let meta = |name: &str| self.metadata.and_then(|m| m.get(name)).map(String::as_str);
        let stored = self.modified.and_then(|t| i64::try_from(t.as_nanos()).ok());
        Entry {
            path,
            kind,
            modified_ns: meta("mtime").and_then(parse_seconds).or(stored),
            mode: meta("mode").and_then(|m| u32::from_str_radix(m, 8).ok()).map(|m| m & 0o7777),
            version: self.etag.map(bare_etag),
            content_type: self.content_type.map(str::to_owned),
            posix: None,
        }
    }
}

/// `1700000000.123456789` → nanoseconds.
fn parse_seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let nanos: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(if whole.starts_with('-') { -nanos } else { nanos })
}

/// Nanoseconds → `1700000000.123456789`.
pub(super) fn format_seconds(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let ns = ns.unsigned_abs();
    format!("{sign}{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

pub(super) async fn open(store: &Store, path: &FilePath, range: Option<Range<u64>>) -> Result<Opened> {
    let subject = store.subject(path);
    if range.as_ref().is_some_and(|r| r.start >= r.end) {
        return nothing_of(store, path).await;
    }
    let header = range.map(|r| format!("bytes={}-{}", r.start, r.end - 1));
    let request = store.client.get_object().bucket(&store.bucket).key(store.key(path)).set_range(header);
    match request.send().await {
        Ok(output) => Ok(opened(path, subject, output)),
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

fn opened(path: &FilePath, subject: String, output: GetObjectOutput) -> Opened {
    let length = output.content_length().unwrap_or_default().max(0) as u64;
    let whole = output.content_range().and_then(|r| r.rsplit_once('/')).and_then(|(_, total)| total.parse().ok()).unwrap_or(length);
    let facts = Facts { etag: output.e_tag(), modified: output.last_modified(), metadata: output.metadata(), content_type: output.content_type() };
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
    fn times_survive_the_metadata() {
        for ns in [0, 1, 1_700_000_000_123_456_789, -1, -1_500_000_000] {
            assert_eq!(parse_seconds(&format_seconds(ns)), Some(ns), "{}", format_seconds(ns));
        }
        assert_eq!(parse_seconds("1700000000"), Some(1_700_000_000_000_000_000));
        assert_eq!(parse_seconds("soon"), None);
    }

    #[test]
    fn only_an_md5_is_a_digest() {
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        assert!(has_form(md5, None) && has_form(&format!("{md5}-3"), Some(3)));
        assert!(!has_form(&format!("{md5}-3"), None) && !has_form(&format!("{md5}-3"), Some(4)) && !has_form(md5, Some(1)) && !has_form("abc", None));
    }
}
