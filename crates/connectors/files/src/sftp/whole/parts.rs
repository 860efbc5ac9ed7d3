//! Large files in parts by SFTP, and then what only programs can set.

use super::{SshTree, dress};
use ports::Result;
use ports::files::{Body, Entry, Part, PartTarget};
use std::ops::Range;
use std::sync::Arc;

pub(super) struct SshParts {
    pub(super) plain: Arc<dyn PartTarget>,
    pub(super) tree: SshTree,
}

#[async_trait::async_trait]
impl PartTarget for SshParts {
    async fn begin(&self, entry: &Entry, staging: &str, part_size: u64) -> Result<String> {
        self.plain.begin(entry, staging, part_size).await
    }

    async fn put_part(&self, entry: &Entry, upload: &str, number: u32, range: Range<u64>, body: Body) -> Result<Part> {
        self.plain.put_part(entry, upload, number, range, body).await
    }

    async fn complete(&self, entry: &Entry, upload: &str, parts: &[Part]) -> Result<()> {
        self.plain.complete(entry, upload, parts).await?;
        if entry.posix.is_some() { dress::file(&self.tree, entry).await } else { Ok(()) }
    }

    async fn abort(&self, entry: &Entry, upload: &str) -> Result<()> {
        self.plain.abort(entry, upload).await
    }
}
