//! A bucket (below a prefix) of Amazon S3 or a compatible store.
//!
//! Objects appear whole or not at all by themselves, so `put` needs no staging name. Modification time and mode travel as
//! user metadata (`mtime` in seconds with decimals, as rclone writes it, `mode` in octal); listings do not show metadata, so the
//! traits claim neither. From object to object all headers, user metadata and tags travel as well ([`metadata`]). Symbolic links cannot be kept: the mover skips or follows them.
//!
//! Every uploaded byte is checked: MD5 sent along (`Content-MD5`) for whole objects, compared with the receipt for parts.
//! The payload is not hashed a second time for the signature.

mod checks;
mod client;
mod credentials;
mod error;
mod keys;
mod levels;
mod list;
mod manners;
mod metadata;
mod order;
mod parts;
mod place;
mod read;
mod website;
mod write;

use aws_sdk_s3::Client;
use domain::spec::S3At;
use futures::stream::BoxStream;
use ports::files::{Body, Digest, DigestKind, Entry, FilePath, FileSource, FileTarget, FileTraits, Opened, PartTarget, WebsiteTarget};
use ports::{Check, ConnectorError, ErrorKind, Examine, Result, Role};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Larger files go in parts. A whole object is held in memory while it is sent.
const SINGLE_PUT_LIMIT: u64 = 8 << 20;

/// A bucket. Cheap to clone.
#[derive(Clone)]
pub struct S3Files {
    store: Arc<Store>,
}

struct Store {
    client: Client,
    bucket: String,
    /// Ends with `/` unless empty.
    prefix: String,
    region: String,
    endpoint: Option<String>,
    location: String,
    manners: manners::Manners,
    /// False once an ETag was seen that is no MD5 (encrypted with a KMS key).
    plain_etags: AtomicBool,
    /// False once the store has said that it knows no conditional writes.
    conditions: AtomicBool,
    /// False once the store has called an object changed that was not.
    matches: AtomicBool,
    learned: metadata::Learned,
}

impl S3Files {
    /// Reads credentials; contacts nobody. `_parallel`: connections are made as calls need them.
    pub fn new(at: &S3At, _parallel: usize) -> Result<Self> {
        let location = format!("s3://{}/{}", at.bucket, at.prefix);
        let manners = manners::Manners::default();
        let store = Store {
            client: client::build(at, &location, &manners)?,
            manners,
            bucket: at.bucket.clone(),
            prefix: at.prefix.clone(),
            region: at.region.clone(),
            endpoint: at.endpoint.clone(),
            location,
            plain_etags: AtomicBool::new(true),
            conditions: AtomicBool::new(true),
            matches: AtomicBool::new(true),
            learned: metadata::Learned::default(),
        };
        Ok(Self { store: Arc::new(store) })
    }
}

impl Store {
    fn key(&self, path: &FilePath) -> String {
        format!("{}{}", self.prefix, keys::encode(path))
    }

    fn subject(&self, path: &FilePath) -> String {
        format!("{}{path}", self.location)
    }
}

impl Examine for S3Files {
    fn checks(&self, role: Role) -> Vec<Check<'_>> {
        checks::all(&self.store, role)
    }
}

#[async_trait::async_trait]
impl FileSource for S3Files {
    fn location(&self) -> String {
        self.store.location.clone()
    }

    fn traits(&self) -> FileTraits {
        FileTraits {
            modes: false,
            mtime_resolution_ns: 0,
            symlinks: false,
            empty_directories: true,
            stored_digest: Some(DigestKind::Md5),
            single_put_limit: SINGLE_PUT_LIMIT,
        }
    }

    fn list(&self) -> BoxStream<'_, Result<Entry>> {
        list::stream(self.store.clone())
    }

    async fn stat(&self, path: &FilePath) -> Result<Option<Entry>> {
        read::stat(&self.store, path).await
    }

    async fn open(&self, path: &FilePath, range: Option<Range<u64>>) -> Result<Opened> {
        read::open(&self.store, path, range).await
    }

    async fn resolve(&self, path: &FilePath) -> Result<Option<Entry>> {
        read::stat(&self.store, path).await
    }
}

#[async_trait::async_trait]
impl FileTarget for S3Files {
    fn accepts(&self, path: &FilePath) -> Result<(), ConnectorError> {
        let key = self.store.key(path);
        let refuse = |reason: &str| {
            Err(ConnectorError::new(ErrorKind::Name, "use the name", self.store.subject(path), reason).advice("Rename it at the source, or leave it out"))
        };
        if path.as_bytes().is_empty() {
            return refuse("the name is empty");
        }
        if key.trim().is_empty() {
            return refuse("no request can name a key of blanks alone");
        }
        if key.len() > 1024 {
            return refuse(&format!("the key of {} bytes is longer than the 1024 that S3 allows", key.len()));
        }
        if path.as_bytes().contains(&0) {
            return refuse("it contains a NUL byte");
        }
        let tree_refuses = |s: &[u8]| s.is_empty() || s.contains(&b'\\') || s.len() > 255;
        if self.store.manners.is_tree() && path.segments().any(tree_refuses) {
            return refuse("this store keeps objects in a directory tree: no '//', no '\\', no '/' at the start or the end, no name above 255 bytes");
        }
        // Its listings show the replacement character for them.
        let unlisted = |c: char| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
        if self.store.manners.is_tree() && key.contains(unlisted) {
            return refuse("this store cannot list names with control characters");
        }
        if path.segments().any(|s| s == b"." || s == b"..") {
            return refuse("stores and clients do not agree on what '.' and '..' mean in a key");
        }
        if path.segments().any(crate::staging::is_staging) {
            return refuse("names like this are kept for unfinished files of Migration Assistant");
        }
        Ok(())
    }

    async fn prepare(&self) -> Result<bool> {
        write::prepare(&self.store).await
    }

    async fn put(&self, entry: &Entry, _staging: &str, body: Body) -> Result<Option<Digest>> {
        self.accepts(&entry.path)?;
        let hex = write::put(&self.store, entry, body, write::Over::Anything).await?;
        Ok(Some(Digest { kind: DigestKind::Md5, hex }))
    }

    async fn put_new(&self, entry: &Entry, _staging: &str, body: Body) -> Result<Option<Digest>> {
        self.accepts(&entry.path)?;
        let hex = write::put(&self.store, entry, body, write::Over::Nothing).await?;
        Ok(Some(Digest { kind: DigestKind::Md5, hex }))
    }

    async fn put_replacing(&self, entry: &Entry, _staging: &str, body: Body, expected: &Entry) -> Result<Option<Digest>> {
        self.accepts(&entry.path)?;
        let hex = write::put(&self.store, entry, body, write::Over::Only(expected)).await?;
        Ok(Some(Digest { kind: DigestKind::Md5, hex }))
    }

    async fn remove_if(&self, path: &FilePath, expected: &Entry) -> Result<()> {
        write::remove_if(&self.store, path, expected).await
    }

    /// A directory becomes an empty object `name/`. An object has neither mode nor time that listings show, so for a file there
    /// is nothing to set.
    async fn make(&self, entry: &Entry) -> Result<()> {
        self.accepts(&entry.path)?;
        write::make(&self.store, entry).await
    }

    /// The empty path is the bucket itself.
    async fn remove(&self, path: &FilePath) -> Result<()> {
        write::remove(&self.store, path).await
    }

    async fn sweep(&self, staging: &str) -> Result<()> {
        parts::sweep(&self.store, staging).await
    }

    async fn stored_digest(&self, path: &FilePath, part_size: Option<u64>) -> Result<Option<Digest>> {
        read::stored_digest(&self.store, path, part_size).await
    }

    fn listed_digest(&self, entry: &Entry) -> Option<Digest> {
        entry.version.clone().map(|hex| Digest { kind: DigestKind::Md5, hex })
    }

    fn keeps_object_metadata(&self) -> bool {
        true
    }

    fn unkept(&self, entry: &Entry) -> Vec<String> {
        metadata::unkept(&self.store, entry)
    }

    async fn free_space(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    fn parts(&self) -> Arc<dyn PartTarget> {
        Arc::new(parts::S3Parts(self.store.clone()))
    }

    fn is_durable_at_once(&self) -> bool {
        true
    }

    fn place(&self) -> Option<Arc<dyn ports::place::FilePlace>> {
        Some(Arc::new(self.clone()))
    }

    fn website(&self) -> Option<Arc<dyn WebsiteTarget>> {
        Some(Arc::new(website::S3Website(self.store.clone())))
    }
}
