//! Writing whole objects, directories, and the bucket itself.

use super::error::{call, code, tell};
use super::list::{bare_etag, keys_below};
use super::metadata::{Headers, forget_refusals, gives_way};
use super::read::{has_form, stat};
use super::{SINGLE_PUT_LIMIT, Store};
use crate::body::{collect, join};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration, ServerSideEncryption};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use md5::{Digest, Md5};
use ports::files::{Body, Entry, EntryKind, FilePath, not_as_expected};
use ports::{ConnectorError, ErrorKind, Result};
use std::sync::atomic::Ordering;

/// What the source says, else what the name says.
pub(super) fn content_type(entry: &Entry) -> String {
    let named = || mime_guess::from_path(String::from_utf8_lossy(crate::tree::leaf(&entry.path)).as_ref()).first_raw().map(str::to_owned);
    entry.content_type.clone().or_else(named).unwrap_or_else(|| "application/octet-stream".to_owned())
}

/// What may stand where an object is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over<'a> {
    Anything,
    /// Asked of the store itself. One that does not know the question overwrites, or says so and is asked no more.
    Nothing,
    /// This, as it was seen; or nothing any more.
    Only(&'a Entry),
}

/// The condition under which an object is written (RFC 9110, section 13.1).
#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    None,
    Absent,
    Unchanged(String),
}

/// Gives the MD5 of what was sent, in hex.
pub(super) async fn put(store: &Store, entry: &Entry, body: Body, over: Over<'_>) -> Result<String> {
    let subject = store.subject(&entry.path);
    if entry.size() > SINGLE_PUT_LIMIT {
        return Err(ConnectorError::new(ErrorKind::Invalid, "write", subject, format!("files above {SINGLE_PUT_LIMIT} bytes go in parts")));
    }
    let data = join(collect(body, entry.size(), &subject).await?);
    let key = store.key(&entry.path);
    let condition = condition(store, &entry.path, over).await?;
    if condition == Condition::None || !store.conditions.load(Ordering::Relaxed) {
        return put_object(store, &key, &subject, entry, data, Condition::None).await;
    }
    let unchanged = matches!(condition, Condition::Unchanged(_));
    match put_object(store, &key, &subject, entry, data.clone(), condition).await {
        Err(error) if error.kind == ErrorKind::Unsupported => {
            store.conditions.store(false, Ordering::Relaxed);
            put_object(store, &key, &subject, entry, data, Condition::None).await
        }
        // It was removed at this moment.
        Err(error) if error.kind == ErrorKind::NotFound && unchanged => put_object(store, &key, &subject, entry, data, Condition::Absent).await,
        Err(error) if error.kind == ErrorKind::AlreadyExists && unchanged => {
            let Over::Only(expected) = over else { return Err(error) };
            if !misjudges(store, &entry.path, expected).await? {
                return Err(not_as_expected("write", &entry.path, &store.location));
            }
            put_object(store, &key, &subject, entry, data, Condition::None).await
        }
        other => other,
    }
}

/// Whether the store said that an object has changed which has not: some compare the tag with its quotation marks. It is not asked again.
async fn misjudges(store: &Store, path: &FilePath, expected: &Entry) -> Result<bool> {
    let unchanged = stat(store, path).await?.is_some_and(|now| now.is_still(expected));
    if unchanged {
        store.matches.store(false, Ordering::Relaxed);
    }
    Ok(unchanged)
}

/// Looks first also where the store can compare by itself: not every store that takes a condition heeds it.
async fn condition(store: &Store, path: &FilePath, over: Over<'_>) -> Result<Condition> {
    let Over::Only(expected) = over else {
        return Ok(if over == Over::Nothing { Condition::Absent } else { Condition::None });
    };
    match stat(store, path).await? {
        None => Ok(Condition::Absent),
        Some(now) if !now.is_still(expected) => Err(not_as_expected("write", path, &store.location)),
        Some(_) if !store.matches.load(Ordering::Relaxed) => Ok(Condition::None),
        Some(now) => Ok(now.version.map_or(Condition::None, |etag| Condition::Unchanged(format!("\"{etag}\"")))),
    }
}

/// Removes an object that is still as it was seen.
pub(super) async fn remove_if(store: &Store, path: &FilePath, expected: &Entry) -> Result<()> {
    let changed = || not_as_expected("remove", path, &store.location);
    let now = match stat(store, path).await? {
        None => return Ok(()),
        Some(now) if !now.is_still(expected) => return Err(changed()),
        Some(now) => now,
    };
    let (Some(etag), EntryKind::File { .. }) = (now.version, now.kind) else { return remove(store, path).await };
    if !store.conditions.load(Ordering::Relaxed) || !store.matches.load(Ordering::Relaxed) {
        return remove(store, path).await;
    }
    let (key, subject) = (store.key(path), store.subject(path));
    let request = store.client.delete_object().bucket(&store.bucket).key(&key).if_match(format!("\"{etag}\""));
    match call("remove", &subject, 0, request.send()).await {
        Ok(_) => Ok(()),
        Err(e) if e.kind == ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind == ErrorKind::AlreadyExists && !misjudges(store, path, expected).await? => Err(changed()),
        // A store that cannot compare when it removes.
        Err(e) if matches!(e.kind, ErrorKind::Unsupported | ErrorKind::Invalid | ErrorKind::AlreadyExists) => remove_object(store, &key, &subject).await,
        Err(e) => Err(e),
    }
}

/// Writes with all metadata; where the store refuses tags or the storage class, without them.
async fn put_object(store: &Store, key: &str, subject: &str, entry: &Entry, data: Bytes, condition: Condition) -> Result<String> {
    let mut gave_way = false;
    loop {
        let headers = Headers::of(store, entry);
        let optional = headers.optional;
        match send_object(store, key, subject, headers, data.clone(), &condition).await {
            Err(error) if gives_way(store, optional, &error) => gave_way = true,
            Err(error) if gave_way => {
                forget_refusals(store);
                return Err(error);
            }
            other => return other,
        }
    }
}

async fn send_object(store: &Store, key: &str, subject: &str, headers: Headers, data: Bytes, condition: &Condition) -> Result<String> {
    let (absent, unchanged) = match condition {
        Condition::None => (None, None),
        Condition::Absent => (Some("*".to_owned()), None),
        Condition::Unchanged(etag) => (None, Some(etag.clone())),
    };
    let (size, md5) = (data.len() as u64, Md5::digest(&data));
    let request = store
        .client
        .put_object()
        .bucket(&store.bucket)
        .key(key)
        .content_md5(STANDARD.encode(md5))
        .content_length(size as i64)
        .set_if_none_match(absent)
        .set_if_match(unchanged)
        .body(ByteStream::from(data))
        .customize()
        .mutate_request(move |request| headers.add_to(request))
        .disable_payload_signing();
    let stored = call("write", subject, size, request.send()).await?;
    let encrypted = matches!(stored.server_side_encryption(), Some(ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse));
    check_receipt(store, subject, stored.e_tag(), encrypted, &md5.into())?;
    Ok(hex::encode(md5))
}

/// The ETag of what was just stored must be its MD5, unless the store encrypts with keys that make it something else.
pub(super) fn check_receipt(store: &Store, subject: &str, etag: Option<&str>, encrypted: bool, md5: &[u8; 16]) -> Result<()> {
    let etag = etag.map(bare_etag).unwrap_or_default();
    if encrypted || !has_form(&etag, None) {
        store.plain_etags.store(false, Ordering::Relaxed);
        return Ok(());
    }
    if etag.eq_ignore_ascii_case(&hex::encode(md5)) {
        return Ok(());
    }
    let mut error =
        ConnectorError::new(ErrorKind::Corrupt, "write", subject, "the store reports another MD5 than that of what was sent").advice("It is sent again");
    error.temporary = true;
    Err(error)
}

pub(super) async fn make(store: &Store, entry: &Entry) -> Result<()> {
    let subject = store.subject(&entry.path);
    match &entry.kind {
        EntryKind::Directory => {
            let mut marker = entry.clone();
            marker.content_type = Some("application/x-directory".to_owned());
            put_object(store, &format!("{}/", store.key(&entry.path)), &subject, &marker, Bytes::new(), Condition::None).await.map(|_| ())
        }
        EntryKind::File { .. } => match stat(store, &entry.path).await? {
            Some(_) => Ok(()),
            None => Err(ConnectorError::new(ErrorKind::NotFound, "set mode and time of", subject, "it does not exist")),
        },
        EntryKind::Symlink { .. } => {
            Err(ConnectorError::new(ErrorKind::Unsupported, "make the link", subject, "an object store has no symbolic links")
                .advice("Skip links, or follow them"))
        }
        EntryKind::Other(kind) => Err(ConnectorError::new(ErrorKind::Unsupported, "make", subject, format!("a {kind} is never made"))),
    }
}

pub(super) async fn remove(store: &Store, path: &FilePath) -> Result<()> {
    if path.as_bytes().is_empty() {
        return remove_bucket(store).await;
    }
    let (key, subject) = (store.key(path), store.subject(path));
    match stat(store, path).await?.map(|e| e.kind) {
        None => Ok(()),
        Some(EntryKind::Directory) => {
            let marker = format!("{key}/");
            if keys_below(store, &marker, 2).await?.iter().any(|k| *k != marker) {
                return Err(ConnectorError::new(ErrorKind::AlreadyExists, "remove", subject, "the directory is not empty").advice("Remove its content first"));
            }
            remove_object(store, &marker, &subject).await
        }
        Some(_) => remove_object(store, &key, &subject).await,
    }
}

pub(super) async fn remove_object(store: &Store, key: &str, subject: &str) -> Result<()> {
    call("remove", subject, 0, store.client.delete_object().bucket(&store.bucket).key(key).send()).await.map(|_| ())
}

async fn remove_bucket(store: &Store) -> Result<()> {
    if !keys_below(store, "", 1).await.or_else(|e| if e.kind == ErrorKind::NotFound { Ok(Vec::new()) } else { Err(e) })?.is_empty() {
        return Err(ConnectorError::new(ErrorKind::AlreadyExists, "remove the bucket", store.location.clone(), "it is not empty"));
    }
    match store.client.delete_bucket().bucket(&store.bucket).send().await {
        Ok(_) => Ok(()),
        Err(e) if code(&e).0 == "NoSuchBucket" || code(&e).1 == 404 => Ok(()),
        Err(e) => Err(tell("remove the bucket", &store.location, e)),
    }
}

/// Makes the bucket when it is missing.
pub(super) async fn prepare(store: &Store) -> Result<bool> {
    match store.client.head_bucket().bucket(&store.bucket).send().await {
        Ok(_) => return Ok(false),
        Err(e) if code(&e).1 == 404 => {}
        Err(e) => return Err(tell("look at the bucket", &store.location, e)),
    }
    let elsewhere = (store.region != "us-east-1" && store.endpoint.is_none())
        .then(|| CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::from(store.region.as_str())).build());
    match store.client.create_bucket().bucket(&store.bucket).set_create_bucket_configuration(elsewhere).send().await {
        Ok(_) => Ok(true),
        Err(e) if code(&e).0 == "BucketAlreadyOwnedByYou" => Ok(false),
        Err(e) => Err(tell("make the bucket", &store.location, e)),
    }
}
