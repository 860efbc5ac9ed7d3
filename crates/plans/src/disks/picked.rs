//! Some files of a place, each under a name that may be another one. For reading only.

use futures::stream::{self, BoxStream, StreamExt};
use ports::check::{Check, Examine, Role};
use ports::files::{Body, Digest, Entry, FilePath, FileSource, FileTarget, FileTraits, Opened, PartTarget, WebsiteTarget};
use ports::{ConnectorError, ErrorKind, Result};
use std::ops::Range;
use std::sync::Arc;

struct Picked {
    inner: Arc<dyn FileTarget>,
    names: Vec<(FilePath, FilePath)>,
}

/// Those of `inner` that are named: where each is, and what it is called here.
pub fn picked(inner: Arc<dyn FileTarget>, names: impl IntoIterator<Item = (FilePath, FilePath)>) -> Arc<dyn FileTarget> {
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_by(|(_, a), (_, b)| a.as_bytes().cmp(b.as_bytes()));
    Arc::new(Picked { inner, names })
}

impl Picked {
    fn real(&self, path: &FilePath) -> Option<&FilePath> {
        self.names.iter().find(|(_, shown)| shown == path).map(|(real, _)| real)
    }

    fn missing(&self, path: &FilePath) -> ConnectorError {
        ConnectorError::new(ErrorKind::NotFound, "read", format!("{path} in {}", self.location()), "it is not one of the files that move")
    }

    fn read_only(&self) -> ConnectorError {
        ConnectorError::new(ErrorKind::Unsupported, "write to", self.location(), "it is only read")
    }
}

impl Examine for Picked {
    fn checks(&self, role: Role) -> Vec<Check<'_>> {
        self.inner.checks(role)
    }
}

#[async_trait::async_trait]
impl FileSource for Picked {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn traits(&self) -> FileTraits {
        self.inner.traits()
    }

    fn list(&self) -> BoxStream<'_, Result<Entry>> {
        let found = stream::iter(&self.names).then(async |(real, shown)| match self.inner.stat(real).await {
            Ok(Some(entry)) => Ok(Entry { path: shown.clone(), ..entry }),
            Ok(None) => Err(self.missing(real)),
            Err(error) => Err(error),
        });
        found.boxed()
    }

    async fn stat(&self, path: &FilePath) -> Result<Option<Entry>> {
        let Some(real) = self.real(path) else { return Ok(None) };
        Ok(self.inner.stat(real).await?.map(|entry| Entry { path: path.clone(), ..entry }))
    }

    async fn open(&self, path: &FilePath, range: Option<Range<u64>>) -> Result<Opened> {
        let real = self.real(path).ok_or_else(|| self.missing(path))?;
        let opened = self.inner.open(real, range).await?;
        Ok(Opened { entry: Entry { path: path.clone(), ..opened.entry }, body: opened.body })
    }

    async fn resolve(&self, _path: &FilePath) -> Result<Option<Entry>> {
        Ok(None)
    }
}

#[async_trait::async_trait]
impl FileTarget for Picked {
    fn accepts(&self, path: &FilePath) -> Result<(), ConnectorError> {
        self.inner.accepts(path)
    }

    async fn prepare(&self) -> Result<bool> {
        Err(self.read_only())
    }

    async fn put(&self, _entry: &Entry, _staging: &str, _body: Body) -> Result<Option<Digest>> {
        Err(self.read_only())
    }

    async fn make(&self, _entry: &Entry) -> Result<()> {
        Err(self.read_only())
    }

    async fn remove(&self, _path: &FilePath) -> Result<()> {
        Err(self.read_only())
    }

    async fn sweep(&self, _staging: &str) -> Result<()> {
        Err(self.read_only())
    }

    async fn stored_digest(&self, path: &FilePath, part_size: Option<u64>) -> Result<Option<Digest>> {
        let real = self.real(path).ok_or_else(|| self.missing(path))?;
        self.inner.stored_digest(real, part_size).await
    }

    async fn free_space(&self) -> Result<Option<u64>> {
        self.inner.free_space().await
    }

    fn parts(&self) -> Arc<dyn PartTarget> {
        self.inner.parts()
    }

    fn website(&self) -> Option<Arc<dyn WebsiteTarget>> {
        None
    }
}
