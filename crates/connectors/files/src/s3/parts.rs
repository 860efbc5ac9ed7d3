//! Multipart uploads. Before an upload begins, a small object under a staging name remembers its key: an upload itself carries no tag
//! that could be listed, and the sweep must not touch the uploads of others. Our upload id is `MARKER:ID`.

use super::Store;
use super::error::{call, code, tell};
use super::list::{bare_etag, keys_below, plain, unreadable};
use super::metadata::{Headers, forget_refusals, gives_way, set_tags};
use super::read::stat;
use super::write::{check_receipt, remove_object};
use crate::body::wrong_length;
use crate::staging;
use crate::uploads::{check_complete, foreign_id, upload_is_gone};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, EncodingType, ServerSideEncryption};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use bytes::Bytes;
use futures::StreamExt;
use http_body::{Frame, SizeHint};
use md5::{Digest, Md5};
use ports::files::{Body, Entry, EntryKind, Part, PartTarget};
use ports::{ConnectorError, ErrorKind, Result};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

pub(super) struct S3Parts(pub(super) Arc<Store>);

/// Marker and upload id of ours.
fn split<'a>(upload: &'a str, subject: &str) -> Result<(&'a str, &'a str)> {
    match upload.split_once(':') {
        Some((marker, id)) if staging::is_staging(marker.as_bytes()) && !marker.contains('/') => Ok((marker, id)),
        _ => Err(foreign_id(subject)),
    }
}

#[async_trait::async_trait]
impl PartTarget for S3Parts {
    async fn begin(&self, entry: &Entry, staging: &str, part_size: u64) -> Result<String> {
        let store = &*self.0;
        let (key, subject) = (store.key(&entry.path), store.subject(&entry.path));
        if entry.size().div_ceil(part_size.max(1)) > 10_000 {
            return Err(ConnectorError::new(ErrorKind::Invalid, "begin the upload of", subject, "S3 takes 10,000 parts at most; the parts must be larger"));
        }
        if key.contains(['\u{fffe}', '\u{ffff}']) {
            let reason = "the store's answers about an upload are XML, and XML cannot hold its name";
            return Err(ConnectorError::new(ErrorKind::Name, "begin the upload of", subject, reason).advice("Rename it at the source, or leave it out"));
        }
        let marker = staging::fixed_name(staging, &entry.path);
        let marker_key = format!("{}{marker}", store.prefix);
        // A process of this run that was killed before it could write down its upload has left it behind, with the marker that it shares with ours.
        sweep_one(store, &marker_key).await?;
        let remember = store.client.put_object().bucket(&store.bucket).key(marker_key).body(ByteStream::from(key.clone().into_bytes()));
        call("begin the upload of", &subject, 0, remember.send()).await?;
        let id = create_upload(store, entry, &key, &subject).await?;
        Ok(format!("{marker}:{id}"))
    }

    async fn put_part(&self, entry: &Entry, upload: &str, number: u32, range: Range<u64>, body: Body) -> Result<Part> {
        let store = &*self.0;
        let subject = store.subject(&entry.path);
        let (_, id) = split(upload, &subject)?;
        let size = range.end - range.start;
        let feed = Arc::new(Mutex::new(Feed { missing: size, md5: Md5::new(), failure: None }));
        let payload = SdkBody::from_body_1_x(Payload { body: Mutex::new(body), feed: feed.clone(), size, subject: subject.clone() });
        let request = store
            .client
            .upload_part()
            .bucket(&store.bucket)
            .key(store.key(&entry.path))
            .upload_id(id)
            .part_number(number as i32)
            .content_length(size as i64)
            .body(ByteStream::new(payload))
            .customize()
            .disable_payload_signing();
        let sent = call("write part of", &subject, size, request.send()).await;
        let mut feed = feed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = feed.failure.take() {
            return Err(failure);
        }
        let stored = sent?;
        let encrypted = matches!(stored.server_side_encryption(), Some(ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse));
        let md5 = feed.md5.clone().finalize();
        check_receipt(store, &subject, stored.e_tag(), encrypted, &md5.into())?;
        Ok(Part { number, size, receipt: stored.e_tag().map(bare_etag).unwrap_or_default(), hash: Some(hex::encode(md5)) })
    }

    async fn complete(&self, entry: &Entry, upload: &str, parts: &[Part]) -> Result<()> {
        let store = &*self.0;
        let subject = store.subject(&entry.path);
        let (marker, id) = split(upload, &subject)?;
        check_complete(entry, parts, &subject)?;
        let list = parts.iter().map(|p| CompletedPart::builder().part_number(p.number as i32).e_tag(&p.receipt).build()).collect();
        let list = CompletedMultipartUpload::builder().set_parts(Some(list)).build();
        let request = store.client.complete_multipart_upload().bucket(&store.bucket).key(store.key(&entry.path)).upload_id(id).multipart_upload(list);
        match request.send().await {
            Ok(_) => {}
            // Ceph calls an upload that is gone one that is being completed right now.
            Err(e) if is_gone(&e) || (code(&e).1 == 500 && !exists(store, &store.key(&entry.path), id, &subject).await?) => {
                match stat(store, &entry.path).await? {
                    Some(found) if found.kind == (EntryKind::File { size: entry.size() }) => {}
                    _ => return Err(upload_is_gone(&subject)),
                }
            }
            Err(e) => return Err(tell("complete the upload of", &subject, e)),
        }
        set_tags(store, entry, &store.key(&entry.path), &subject).await?;
        remove_object(store, &format!("{}{marker}", store.prefix), &subject).await
    }

    async fn abort(&self, entry: &Entry, upload: &str) -> Result<()> {
        let store = &*self.0;
        let subject = store.subject(&entry.path);
        let (marker, id) = split(upload, &subject)?;
        abort_upload(store, &store.key(&entry.path), id, &subject).await?;
        remove_object(store, &format!("{}{marker}", store.prefix), &subject).await
    }
}

/// Begins an upload with all metadata; where the store refuses tags or the storage class, without them. Gives its id.
async fn create_upload(store: &Store, entry: &Entry, key: &str, subject: &str) -> Result<String> {
    let mut gave_way = false;
    loop {
        let headers = Headers::of(store, entry);
        let optional = headers.optional;
        let request = store.client.create_multipart_upload().bucket(&store.bucket).key(key);
        let request = request.customize().mutate_request(move |request| headers.add_to(request));
        match call("begin the upload of", subject, 0, request.send()).await {
            Ok(begun) => {
                let missing = || ConnectorError::new(ErrorKind::Protocol, "begin the upload of", subject, "the store gave no upload id");
                return begun.upload_id().map(str::to_owned).ok_or_else(missing);
            }
            Err(error) if gives_way(store, optional, &error) => gave_way = true,
            Err(error) => {
                if gave_way {
                    forget_refusals(store);
                }
                return Err(error);
            }
        }
    }
}

fn is_gone<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let (code, status) = code(error);
    code == "NoSuchUpload" || status == 404
}

async fn exists(store: &Store, key: &str, id: &str, subject: &str) -> Result<bool> {
    match store.client.list_parts().bucket(&store.bucket).key(key).upload_id(id).max_parts(1).send().await {
        Ok(_) => Ok(true),
        Err(e) if is_gone(&e) => Ok(false),
        Err(e) => Err(tell("look at the upload of", subject, e)),
    }
}

async fn abort_upload(store: &Store, key: &str, id: &str, subject: &str) -> Result<()> {
    match store.client.abort_multipart_upload().bucket(&store.bucket).key(key).upload_id(id).send().await {
        Ok(_) => Ok(()),
        Err(e) if is_gone(&e) => Ok(()),
        Err(e) => Err(tell("abort the upload of", subject, e)),
    }
}

/// Aborts every upload that a marker of this run remembers.
pub(super) async fn sweep(store: &Store, staging: &str) -> Result<()> {
    for tag in staging::TRIAL_TAGS {
        while let Some(trials) = named(store, tag).await? {
            for trial in trials {
                remove_object(store, &trial, &format!("s3://{}/{trial}", store.bucket)).await?;
            }
        }
    }
    while let Some(markers) = named(store, staging).await? {
        for marker in markers {
            sweep_one(store, &marker).await?;
        }
    }
    Ok(())
}

/// The next keys with this tag.
async fn named(store: &Store, tag: &str) -> Result<Option<Vec<String>>> {
    match keys_below(store, &format!("{}{}", store.prefix, staging::prefix(tag)), 1000).await {
        Err(e) if e.kind == ErrorKind::NotFound => Ok(None),
        found => Ok(found.map(|keys| Some(keys).filter(|keys| !keys.is_empty()))?),
    }
}

/// The ids of all uploads of a key. Asked for URL-encoded only where the plain answer cannot be read, as for listings.
async fn uploads_of(store: &Store, key: &str, subject: &str) -> Result<Vec<String>> {
    let request = || store.client.list_multipart_uploads().bucket(&store.bucket).prefix(key);
    let open = match request().send().await {
        Err(e) if unreadable(&e) => call("list the uploads of", subject, 0, request().encoding_type(EncodingType::Url).send()).await?,
        Err(e) => return Err(tell("list the uploads of", subject, e)),
        Ok(open) => open,
    };
    let encoded = open.encoding_type().is_some();
    let ours = open.uploads().iter().filter(|u| u.key().is_some_and(|k| plain(k, encoded) == key));
    Ok(ours.filter_map(|u| u.upload_id()).map(str::to_owned).collect())
}

async fn sweep_one(store: &Store, marker: &str) -> Result<()> {
    let subject = format!("s3://{}/{marker}", store.bucket);
    let remembered = match call("read", &subject, 0, store.client.get_object().bucket(&store.bucket).key(marker).send()).await {
        Ok(output) => output.body.collect().await.map(|b| b.to_vec()).unwrap_or_default(),
        Err(e) if e.kind == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    let key = String::from_utf8_lossy(&remembered).into_owned();
    if !key.is_empty() {
        for id in uploads_of(store, &key, &subject).await? {
            abort_upload(store, &key, &id, &subject).await?;
        }
    }
    remove_object(store, marker, &subject).await
}

/// What was sent so far, seen from outside the request.
struct Feed {
    missing: u64,
    md5: Md5,
    /// Why the body ended early: the source's own words, which the SDK would bury.
    failure: Option<ConnectorError>,
}

/// The part's bytes as an HTTP body of known length.
struct Payload {
    body: Mutex<Body>,
    feed: Arc<Mutex<Feed>>,
    size: u64,
    subject: String,
}

impl Payload {
    fn take(&self, piece: Result<Bytes>) -> std::io::Result<Bytes> {
        let mut feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = match piece {
            Ok(piece) if piece.len() as u64 <= feed.missing => {
                feed.missing -= piece.len() as u64;
                feed.md5.update(&piece);
                return Ok(piece);
            }
            Ok(piece) => wrong_length(&self.subject, self.size, self.size - feed.missing + piece.len() as u64),
            Err(e) => e,
        };
        feed.failure = Some(failure);
        Err(std::io::Error::other("the source failed"))
    }

    fn end(&self) -> Option<std::io::Error> {
        let mut feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner);
        if feed.missing == 0 {
            return None;
        }
        feed.failure = Some(wrong_length(&self.subject, self.size, self.size - feed.missing));
        Some(std::io::Error::other("the source ended early"))
    }
}

impl http_body::Body for Payload {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        let next = self.body.get_mut().unwrap_or_else(PoisonError::into_inner).poll_next_unpin(cx);
        next.map(|piece| match piece {
            Some(piece) => Some(self.take(piece).map(Frame::data)),
            None => self.end().map(Err),
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.feed.lock().unwrap_or_else(PoisonError::into_inner).missing)
    }
}
