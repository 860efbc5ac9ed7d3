//! Large files in parts: one staging file, each part written at its offset. The upload id is the staging name.

use super::LocalFiles;
use super::error::from_io;
use super::write::{Over, Staged};
use crate::body::wrong_length;
use crate::staging;
use crate::uploads::{check_complete, checked_id, upload_is_gone};
use bytes::Bytes;
use futures::StreamExt;
use ports::files::{Body, Entry, EntryKind, FileTarget, Part, PartTarget};
use ports::{ErrorKind, Result};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use tokio::sync::mpsc;

pub(super) struct LocalParts(pub(super) LocalFiles);

#[async_trait::async_trait]
impl PartTarget for LocalParts {
    async fn begin(&self, entry: &Entry, staging: &str, _part_size: u64) -> Result<String> {
        self.0.accepts(&entry.path)?;
        let name = staging::name(staging, &entry.path);
        let path = entry.path.clone();
        self.0
            .blocking(move |root| {
                let staged = Staged::create(root, &path, name.clone())?;
                drop(staged.keep());
                Ok(name)
            })
            .await
    }

    async fn put_part(&self, entry: &Entry, upload: &str, number: u32, range: Range<u64>, mut body: Body) -> Result<Part> {
        let subject = self.0.root.subject(&entry.path);
        let name = checked_id(upload, &subject)?;
        let path = entry.path.clone();
        let size = range.end - range.start;
        let (send, mut receive) = mpsc::channel::<Bytes>(4);
        let writer = self.0.blocking(move |root| {
            let subject = root.subject(&path);
            let staged = Staged::reopen(root, &path, name)?;
            let mut seen = 0;
            while let Some(piece) = receive.blocking_recv() {
                if seen + piece.len() as u64 > size {
                    return Err(wrong_length(&subject, size, seen + piece.len() as u64));
                }
                staged.file.write_all_at(&piece, range.start + seen).map_err(|e| from_io("write", &subject, e))?;
                seen += piece.len() as u64;
            }
            if seen == size { Ok(()) } else { Err(wrong_length(&subject, size, seen)) }
        });
        let feeder = async move {
            while let Some(piece) = body.next().await {
                if send.send(piece?).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        let (written, fed): (Result<()>, Result<()>) = tokio::join!(writer, feeder);
        fed.and(written)?;
        Ok(Part { number, size, receipt: String::new(), hash: None })
    }

    async fn complete(&self, entry: &Entry, upload: &str, parts: &[Part]) -> Result<()> {
        let subject = self.0.root.subject(&entry.path);
        let name = checked_id(upload, &subject)?;
        check_complete(entry, parts, &subject)?;
        let entry = entry.clone();
        self.0
            .blocking(move |root| match Staged::reopen(root, &entry.path, name) {
                Ok(staged) => {
                    let length = staged.file.metadata().map_err(|e| from_io("look at", &subject, e))?.len();
                    if length != entry.size() {
                        return Err(wrong_length(&subject, entry.size(), length));
                    }
                    staged.place(&entry, &subject, Over::Anything)
                }
                Err(e) if e.kind == ErrorKind::NotFound => match root.stat(&entry.path)? {
                    Some(found) if found.kind == (EntryKind::File { size: entry.size() }) => Ok(()),
                    _ => Err(upload_is_gone(&subject)),
                },
                Err(e) => Err(e),
            })
            .await
    }

    async fn abort(&self, entry: &Entry, upload: &str) -> Result<()> {
        let name = checked_id(upload, &self.0.root.subject(&entry.path))?;
        let path = entry.path.clone();
        self.0
            .blocking(move |root| match Staged::reopen(root, &path, name) {
                Ok(staged) => {
                    staged.discard();
                    Ok(())
                }
                Err(e) if e.kind == ErrorKind::NotFound => Ok(()),
                Err(e) => Err(e),
            })
            .await
    }
}
