//! [`PartTarget`] over memory: uploads outlive the caller.

use super::{MemoryFiles, Node, Op};
use bytes::{Bytes, BytesMut};
use md5::Digest as _;
use ports::files::{Body, DigestKind, Entry, ObjectMetadata, Part, PartTarget};
use ports::{ErrorKind, Result};
use std::collections::BTreeMap;
use std::ops::Range;

pub(super) struct Upload {
    pub(super) staging: String,
    parts: BTreeMap<u32, Bytes>,
    object: Option<Box<ObjectMetadata>>,
}

impl MemoryFiles {
    /// Loses all unfinished uploads, as a store's clean-up rule would.
    pub fn lose_uploads(&self) {
        self.lock().uploads.clear();
    }
}

#[async_trait::async_trait]
impl PartTarget for MemoryFiles {
    async fn begin(&self, entry: &Entry, staging: &str, _part_size: u64) -> Result<String> {
        self.free(&entry.path)?;
        self.call(Op::Begin, &entry.path).await?;
        let mut state = self.lock();
        let id = format!("upload-{}", state.change());
        state.uploads.insert(id.clone(), Upload { staging: staging.to_owned(), parts: BTreeMap::new(), object: entry.object.clone() });
        Ok(id)
    }

    async fn put_part(&self, entry: &Entry, upload: &str, number: u32, range: Range<u64>, body: Body) -> Result<Part> {
        self.call(Op::PutPart, &entry.path).await?;
        let data = self.take(&entry.path, range.end - range.start, body).await?;
        let mut state = self.lock();
        *state.writes.entry(format!("{}#{number}", entry.path)).or_default() += 1;
        let gone = || self.error(ErrorKind::NotFound, "write a part of", &entry.path, "there is no such upload");
        let receipt = hex::encode(md5::Md5::digest(&data));
        let hash = (self.traits.stored_digest == Some(DigestKind::Md5)).then(|| receipt.clone());
        let size = data.len() as u64;
        state.uploads.get_mut(upload).ok_or_else(gone)?.parts.insert(number, data);
        Ok(Part { number, size, receipt, hash })
    }

    async fn complete(&self, entry: &Entry, upload: &str, parts: &[Part]) -> Result<()> {
        self.call(Op::Complete, &entry.path).await?;
        let mut state = self.lock();
        let Some(open) = state.uploads.get(upload) else {
            let final_size = state.find(entry.path.as_bytes()).map(|(key, item)| self.entry(&key, item).size());
            let gone = self.error(ErrorKind::NotFound, "complete", &entry.path, "there is no such upload");
            return if final_size == Some(entry.size()) { Ok(()) } else { Err(gone) };
        };
        let mut data = BytesMut::new();
        let mut hashes = md5::Md5::new();
        for part in parts {
            let missing = || self.error(ErrorKind::Invalid, "complete", &entry.path, "a part is missing");
            let bytes = open.parts.get(&part.number).ok_or_else(missing)?;
            data.extend_from_slice(bytes);
            hashes.update(md5::Md5::digest(bytes));
        }
        let etag = format!("{}-{}", hex::encode(hashes.finalize()), parts.len());
        let node = Node::File { data: data.freeze(), content_type: entry.content_type.clone(), etag };
        let object = state.uploads.remove(upload).and_then(|upload| upload.object);
        state.store(self.tree, entry.path.as_bytes(), node, entry.mode.unwrap_or(0o600), entry.modified_ns);
        state.keep_metadata(entry.path.as_bytes(), object.filter(|_| !self.tree));
        Ok(())
    }

    async fn abort(&self, entry: &Entry, upload: &str) -> Result<()> {
        self.call(Op::Abort, &entry.path).await?;
        self.lock().uploads.remove(upload);
        Ok(())
    }
}
