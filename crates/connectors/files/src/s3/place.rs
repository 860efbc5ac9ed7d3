//! Marks in a bucket. What bucket it is shows by them alone: endpoints have many names.

use super::error::{code, tell};
use super::{S3Files, write};
use crate::staging;
use futures::StreamExt;
use ports::files::FilePath;
use ports::place::{FilePlace, PhysicalPath};
use ports::{ConnectorError, ErrorKind, Result};

#[async_trait::async_trait]
impl FilePlace for S3Files {
    async fn physical_path(&self) -> Result<Option<PhysicalPath>> {
        Ok(None)
    }

    async fn write_mark(&self, path: &FilePath, content: &[u8], replace: bool) -> Result<()> {
        let store = &self.store;
        let entry = staging::mark(path, content.len(), &store.location)?;
        // Asked first, because some stores make a missing bucket by the first write.
        match store.client.head_bucket().bucket(&store.bucket).send().await {
            Ok(_) => {}
            Err(e) if code(&e).1 == 404 => {
                return Err(ConnectorError::new(ErrorKind::NotFound, "write a mark into", store.location.clone(), "there is no such bucket"));
            }
            // Who may not ask for the bucket may still write into it.
            Err(e) if code(&e).1 == 403 => {}
            Err(e) => return Err(tell("look at the bucket of", &store.location, e)),
        }
        let body = futures::stream::iter([Ok(bytes::Bytes::copy_from_slice(content))]).boxed();
        let over = if replace { write::Over::Anything } else { write::Over::Nothing };
        write::put(store, &entry, body, over).await.map(|_| ())
    }
}
