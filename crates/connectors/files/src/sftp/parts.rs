//! Large files in parts: one staging file on the server, each part written at its offset. The upload id is the staging name.

use super::SftpFiles;
use super::read::{OpenFile, stat};
use super::session::{Fault, Session};
use super::verbs::done;
use super::wire::{self, Attrs};
use super::write::{Over, Writer, beside, place};
use crate::uploads::{check_complete, checked_id, upload_is_gone};
use crate::{staging, tree};
use ports::Result;
use ports::files::{Body, Entry, EntryKind, FileTarget, Part, PartTarget};
use std::ops::Range;

pub(super) struct SftpParts(pub(super) SftpFiles);

#[async_trait::async_trait]
impl PartTarget for SftpParts {
    async fn begin(&self, entry: &Entry, staging: &str, _part_size: u64) -> Result<String> {
        self.0.accepts(&entry.path)?;
        let host = &self.0.host;
        let subject = host.subject(&entry.path);
        let session = host.session().await?;
        host.ready(&session, &entry.path).await?;
        let upload = staging::name(staging, &entry.path);
        let name = beside(host, &entry.path, &upload);
        let flags = wire::OPEN_WRITE | wire::OPEN_CREATE | wire::OPEN_EXCLUSIVE;
        let told = |e: Fault| e.tell("make the staging file of", &subject);
        let mode = if host.refusals.expects(&entry.path) { entry.mode.unwrap_or(tree::FILE_MODE) & 0o777 } else { 0o600 };
        let opening = session.send_open(&name, flags, Some(mode)).await;
        let handle = Session::opened(opening).await.map_err(told)?;
        if tree::has_holes(entry) {
            let length = Attrs { size: Some(entry.size()), ..Attrs::default() };
            session.send_fsetstat(&handle, length).await.wait().await.and_then(done).map_err(told)?;
        }
        session.send_close(&handle).await.wait().await.and_then(done).map_err(told)?;
        Ok(upload)
    }

    async fn put_part(&self, entry: &Entry, upload: &str, number: u32, range: Range<u64>, body: Body) -> Result<Part> {
        let host = &self.0.host;
        let subject = host.subject(&entry.path);
        let name = beside(host, &entry.path, &checked_id(upload, &subject)?);
        let session = host.session().await?;
        host.guard(&session, &entry.path).await?;
        let opening = session.send_open(&name, wire::OPEN_WRITE, None).await;
        let handle =
            Session::opened(opening).await.map_err(|e| if e.is_absent() { upload_is_gone(&subject) } else { e.tell("open the staging file of", &subject) })?;
        let size = range.end - range.start;
        let mut writer = Writer::new(host, OpenFile::new(session, handle), subject, range.start);
        writer.holes = tree::has_holes(entry);
        writer.write(body, size).await?;
        writer.finish(None).await?;
        Ok(Part { number, size, receipt: String::new(), hash: None })
    }

    async fn complete(&self, entry: &Entry, upload: &str, parts: &[Part]) -> Result<()> {
        let host = &self.0.host;
        let subject = host.subject(&entry.path);
        let name = beside(host, &entry.path, &checked_id(upload, &subject)?);
        check_complete(entry, parts, &subject)?;
        let session = host.session().await?;
        host.guard(&session, &entry.path).await?;
        match session.lstat(&name).await {
            Ok(found) if found.size == Some(entry.size()) => {}
            Ok(found) => return Err(crate::body::wrong_length(&subject, entry.size(), found.size.unwrap_or_default())),
            Err(e) if e.is_absent() => {
                drop(session);
                return match stat(host, &entry.path).await? {
                    Some(found) if found.kind == (EntryKind::File { size: entry.size() }) => Ok(()),
                    _ => Err(upload_is_gone(&subject)),
                };
            }
            Err(e) => return Err(e.tell("look at the staging file of", &subject)),
        }
        match session.setstat(&name, Attrs::of(entry, Some(tree::FILE_MODE))).await {
            Ok(()) => host.refusals.agreed(),
            Err(e) if e.is_refusal() => host.refusals.refused(&entry.path),
            Err(e) => return Err(e.tell("set mode and time of", &subject)),
        }
        place(host, &session, &name, &entry.path, Over::Anything).await.map_err(|e| e.tell("put in place", &subject))?;
        host.unsettled.placed(&entry.path);
        Ok(())
    }

    async fn abort(&self, entry: &Entry, upload: &str) -> Result<()> {
        let host = &self.0.host;
        let subject = host.subject(&entry.path);
        let name = beside(host, &entry.path, &checked_id(upload, &subject)?);
        let session = host.session().await?;
        match session.remove(&name).await {
            Err(e) if !e.is_absent() => Err(e.tell("abort the upload of", &subject)),
            _ => Ok(()),
        }
    }
}
