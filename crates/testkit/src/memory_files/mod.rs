//! A file system in memory behind the doors of `ports`: a tree (like a local directory) or flat objects (like S3), with faults on
//! demand. It keeps the promises that real systems keep, directory times that move when children do included.

mod doors;
mod faults;
mod parts;
mod power;

pub use faults::{Op, Rule};
pub use power::Loss;

use crate::hook::{Call, Hook};
use bytes::Bytes;
use md5::Digest as _;
use ports::files::{DigestKind, Entry, EntryKind, FilePath, FileTraits, ObjectMetadata};
use ports::{ConnectorError, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One thing in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    File { data: Bytes, content_type: Option<String>, etag: String },
    Directory,
    Link { target: Vec<u8> },
    Device,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub node: Node,
    pub mode: u32,
    pub modified_ns: i64,
    version: u64,
    /// Objects alone.
    object: Option<Box<ObjectMetadata>>,
}

#[derive(Default)]
struct State {
    /// By path, a directory as `name/`.
    items: BTreeMap<Vec<u8>, Item>,
    /// What stood at paths that callers changed and did not settle yet. Trees alone.
    unsettled: BTreeMap<Vec<u8>, Option<Item>>,
    exists: bool,
    now: i64,
    /// Raised with every change; what a ctime or an inode's generation tells.
    changes: u64,
    clock: Option<Clock>,
    /// Of times, in nanoseconds.
    resolution: i64,
    uploads: BTreeMap<String, parts::Upload>,
    faults: faults::Faults,
    calls: BTreeMap<Op, u64>,
    /// How often bytes were taken in under a path, by `put` or as a part (`path#number`).
    writes: BTreeMap<String, u64>,
    refused: BTreeSet<Vec<u8>>,
    /// Directories that may not be listed.
    locked: BTreeSet<Vec<u8>>,
}

/// Nanoseconds since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Cheap to clone; all clones are one file system.
#[derive(Clone)]
pub struct MemoryFiles {
    name: String,
    tree: bool,
    traits: FileTraits,
    piece: usize,
    versions: bool,
    hook: Option<Arc<dyn Hook>>,
    state: Arc<Mutex<State>>,
}

impl MemoryFiles {
    /// Directories, modes, times, links.
    pub fn tree(name: &str) -> Self {
        let traits =
            FileTraits { modes: true, mtime_resolution_ns: 1, symlinks: true, empty_directories: true, stored_digest: None, single_put_limit: u64::MAX };
        Self::new(name, true, traits)
    }

    /// The same with times in whole seconds and nothing else that tells an edit, like an SFTP server.
    pub fn coarse_tree(name: &str) -> Self {
        Self::tree(name).with_traits(|t| t.mtime_resolution_ns = 1_000_000_000)
    }

    /// Keys and objects, with the MD5 of what is stored.
    pub fn objects(name: &str) -> Self {
        let traits = FileTraits {
            modes: false,
            mtime_resolution_ns: 0,
            symlinks: false,
            empty_directories: true,
            stored_digest: Some(DigestKind::Md5),
            single_put_limit: 1 << 30,
        };
        Self::new(name, false, traits)
    }

    fn new(name: &str, tree: bool, traits: FileTraits) -> Self {
        let state = State { exists: true, now: 1_700_000_000_000_000_000, ..State::default() };
        Self { name: name.to_owned(), tree, traits, piece: 1000, versions: true, hook: None, state: Arc::new(Mutex::new(state)) }
    }

    /// Times come from `clock`, cut to [`FileTraits::mtime_resolution_ns`], instead of a counter that never shows one moment twice.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        let resolution = self.traits.mtime_resolution_ns.max(1) as i64;
        let mut state = self.lock();
        (state.clock, state.resolution) = (Some(clock), resolution);
        drop(state);
        self
    }

    /// A tree whose entries have no version, as SFTP servers tell none.
    #[must_use]
    pub fn without_versions(mut self) -> Self {
        self.versions = false;
        self
    }

    /// The same file system, as seen by a caller whose calls pass `hook`.
    #[must_use]
    pub fn with_hook(mut self, hook: Arc<dyn Hook>) -> Self {
        self.hook = Some(hook);
        self
    }

    async fn pass(&self, operation: &str, path: &FilePath) -> Result<()> {
        match &self.hook {
            Some(hook) => hook.before(&Call { system: &self.name, operation, subject: &path.to_string() }).await,
            None => Ok(()),
        }
    }

    #[must_use]
    pub fn with_traits(mut self, change: impl FnOnce(&mut FileTraits)) -> Self {
        change(&mut self.traits);
        self
    }

    /// Bytes of one piece of a body.
    #[must_use]
    pub fn with_pieces(mut self, bytes: usize) -> Self {
        self.piece = bytes;
        self
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the root away.
    pub fn remove_root(&self) {
        self.lock().exists = false;
    }

    pub fn write(&self, path: &str, data: impl Into<Bytes>) -> &Self {
        self.write_bytes(path.as_bytes(), data);
        self
    }

    pub fn write_bytes(&self, path: &[u8], data: impl Into<Bytes>) {
        self.lock().store_settled(self.tree, path, file(data.into(), None), 0o644);
    }

    /// Changes the content and nothing that can be seen from outside: same size, same time, same version.
    pub fn edit_secretly(&self, path: &str, data: impl Into<Bytes>) {
        let mut state = self.lock();
        let item = state.items.get_mut(path.as_bytes()).unwrap_or_else(|| panic!("{path} does not exist"));
        item.node = file(data.into(), None);
    }

    pub fn link(&self, path: &str, target: &str) -> &Self {
        self.link_bytes(path.as_bytes(), target.as_bytes());
        self
    }

    pub fn link_bytes(&self, path: &[u8], target: &[u8]) {
        self.lock().store_settled(self.tree, path, Node::Link { target: target.to_vec() }, 0o777);
    }

    pub fn device(&self, path: &str) -> &Self {
        self.lock().store_settled(self.tree, path.as_bytes(), Node::Device, 0o600);
        self
    }

    pub fn directory(&self, path: &str, mode: u32) -> &Self {
        self.directory_bytes(path.as_bytes(), mode);
        self
    }

    pub fn directory_bytes(&self, path: &[u8], mode: u32) {
        self.lock().store_settled(self.tree, path, Node::Directory, mode);
    }

    /// Gives an object headers, user metadata and tags.
    pub fn set_metadata(&self, path: &str, metadata: ObjectMetadata) -> &Self {
        self.lock().keep_metadata(path.as_bytes(), Some(Box::new(metadata)));
        self
    }

    pub fn metadata(&self, path: &str) -> Option<ObjectMetadata> {
        self.lock().items.get(path.as_bytes())?.object.as_deref().cloned()
    }

    pub fn set_mode(&self, path: &str, mode: u32) -> &Self {
        let mut state = self.lock();
        let version = state.change();
        let item = state.find_mut(path.as_bytes()).unwrap_or_else(|| panic!("{path} does not exist"));
        item.mode = mode;
        item.version = version;
        drop(state);
        self
    }

    /// Removes a path and everything below it.
    pub fn delete(&self, path: &str) -> &Self {
        self.delete_bytes(path.as_bytes());
        self
    }

    pub fn delete_bytes(&self, path: &[u8]) {
        let mut state = self.lock();
        let below = [path, b"/"].concat();
        state.items.retain(|key, _| key != path && !key.starts_with(&below));
        state.unsettled.retain(|key, _| key != path && !key.starts_with(&below));
        let now = state.tick();
        state.touch_parent(path, now);
    }

    pub fn read(&self, path: &str) -> Option<Bytes> {
        match &self.lock().items.get(path.as_bytes())?.node {
            Node::File { data, .. } => Some(data.clone()),
            _ => None,
        }
    }

    /// A name that [`ports::files::FileTarget::accepts`] refuses.
    pub fn refuse(&self, path: &str) -> &Self {
        self.lock().refused.insert(path.as_bytes().to_vec());
        self
    }

    /// Nothing below this directory can be listed any more.
    pub fn lock_directory(&self, path: &str) -> &Self {
        self.lock().locked.insert(format!("{path}/").into_bytes());
        self
    }

    /// The entries of a listing. Those of object stores tell no metadata.
    fn listed(&self, state: &State, prune: &dyn Fn(&FilePath) -> bool) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut closed: Option<Vec<u8>> = None;
        for (key, item) in &state.items {
            if closed.as_ref().is_some_and(|above| key.starts_with(above)) {
                continue;
            }
            let mut entry = Entry { object: None, ..self.entry(key, item) };
            let locked = state.locked.contains(key);
            let pruned = entry.kind == EntryKind::Directory && prune(&entry.path);
            if locked || pruned {
                closed = Some(key.clone());
                entry.unlisted = locked.then(|| "permission denied".into());
            }
            entries.push(entry);
        }
        entries
    }

    /// Adds a fault.
    pub fn fault(&self, rule: Rule) -> &Self {
        self.lock().faults.add(rule);
        self
    }

    pub fn heal(&self) {
        self.lock().faults = faults::Faults::default();
    }

    pub fn calls(&self, op: Op) -> u64 {
        self.lock().calls.get(&op).copied().unwrap_or_default()
    }

    /// How often each path (or `path#part`) was written.
    pub fn writes(&self) -> BTreeMap<String, u64> {
        self.lock().writes.clone()
    }

    pub fn unfinished_uploads(&self) -> usize {
        self.lock().uploads.len()
    }

    /// Everything that can be seen from outside but versions, one line each: for comparing states.
    pub fn state(&self) -> Vec<String> {
        let state = self.lock();
        let describe = |(key, item): (&Vec<u8>, &Item)| {
            let node = match &item.node {
                Node::File { data, .. } => format!("file {} {}", data.len(), hex::encode(md5::Md5::digest(data))),
                Node::Directory => "directory".to_owned(),
                Node::Link { target } => format!("link {}", target.escape_ascii()),
                Node::Device => "device".to_owned(),
            };
            let meta = if self.tree { format!(" {:o} {}", item.mode, item.modified_ns) } else { String::new() };
            let object = item.object.as_ref().map(|o| format!(" {o:?}")).unwrap_or_default();
            format!("{} {node}{meta}{object}", key.escape_ascii())
        };
        state.items.iter().map(describe).collect()
    }

    /// Paths and contents alone.
    pub fn contents(&self) -> BTreeMap<String, String> {
        let state = self.lock();
        let content = |item: &Item| match &item.node {
            Node::File { data, .. } => format!("{} bytes {}", data.len(), hex::encode(md5::Md5::digest(data))),
            Node::Link { target } => format!("-> {}", target.escape_ascii()),
            Node::Directory | Node::Device => String::new(),
        };
        state.items.iter().map(|(key, item)| (key.escape_ascii().to_string(), content(item))).collect()
    }

    fn entry(&self, key: &[u8], item: &Item) -> Entry {
        let path = FilePath::new(key.strip_suffix(b"/").unwrap_or(key));
        let (kind, content_type, etag) = match &item.node {
            Node::File { data, content_type, etag } => (EntryKind::File { size: data.len() as u64 }, content_type.clone(), Some(etag)),
            Node::Directory => (EntryKind::Directory, None, None),
            Node::Link { target } => (EntryKind::Symlink { target: target.clone() }, None, None),
            Node::Device => (EntryKind::Other("device".to_owned()), None, None),
        };
        let resolution = self.traits.mtime_resolution_ns.max(1) as i64;
        let version = if self.tree { (self.versions && resolution == 1).then(|| item.version.to_string()) } else { etag.cloned() };
        let modified_ns = self.tree.then(|| item.modified_ns.div_euclid(resolution) * resolution);
        let mode = self.tree.then_some(item.mode);
        Entry { modified_ns, mode, version, content_type, object: item.object.clone(), ..Entry::new(path, kind) }
    }

    fn error(&self, kind: ErrorKind, operation: &str, path: &FilePath, reason: &str) -> ConnectorError {
        ConnectorError::new(kind, operation, format!("memory://{}/{path}", self.name), reason)
    }
}

/// A file with the MD5 of its content as its tag.
fn file(data: Bytes, content_type: Option<String>) -> Node {
    let etag = hex::encode(md5::Md5::digest(&data));
    Node::File { data, content_type, etag }
}

impl State {
    /// The moment of a change.
    fn tick(&mut self) -> i64 {
        match &self.clock {
            Some(clock) => self.cut(clock()),
            None => {
                self.now += 1_000_000_007;
                self.now
            }
        }
    }

    /// A time as this system can keep it.
    fn cut(&self, time: i64) -> i64 {
        time - time.rem_euclid(self.resolution.max(1))
    }

    fn change(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    fn keep_metadata(&mut self, path: &[u8], metadata: Option<Box<ObjectMetadata>>) {
        if let Some(item) = self.items.get_mut(path) {
            item.object = metadata;
        }
    }

    fn find_mut(&mut self, path: &[u8]) -> Option<&mut Item> {
        let folder = [path, b"/"].concat();
        if self.items.contains_key(path) { self.items.get_mut(path) } else { self.items.get_mut(&folder) }
    }

    fn find(&self, path: &[u8]) -> Option<(Vec<u8>, &Item)> {
        let folder = [path, b"/"].concat();
        let found = self.items.get_key_value(path).or_else(|| self.items.get_key_value(&folder));
        found.map(|(key, item)| (key.clone(), item))
    }

    /// Whether the directory of a path lets its owner change it.
    fn writable(&self, path: &[u8]) -> bool {
        let parent = path.iter().rposition(|b| *b == b'/').and_then(|cut| self.items.get(&path[..=cut]));
        parent.is_none_or(|item| item.mode & 0o200 != 0)
    }

    fn touch_parent(&mut self, path: &[u8], now: i64) {
        if let Some(cut) = path.iter().rposition(|b| *b == b'/')
            && let Some(parent) = self.items.get_mut(&path[..=cut])
        {
            parent.modified_ns = now;
        }
    }

    /// Puts something in place; parents are made in a tree, and their times move as real ones do.
    fn store(&mut self, tree: bool, path: &[u8], node: Node, mode: u32, modified_ns: Option<i64>) {
        let (now, version) = (self.tick(), self.change());
        if tree {
            for cut in path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at) {
                let folder = path[..=cut].to_vec();
                if let btree_map::Entry::Vacant(place) = self.items.entry(folder.clone()) {
                    self.unsettled.entry(folder).or_insert(None);
                    place.insert(Item { node: Node::Directory, mode: 0o755, modified_ns: now, version, object: None });
                    self.touch_parent(&path[..cut], now);
                }
            }
        }
        let key = if node == Node::Directory { [path, b"/"].concat() } else { path.to_vec() };
        let modified_ns = modified_ns.map_or(now, |time| self.cut(time));
        let replaced_directory = node == Node::Directory && self.items.contains_key(&key);
        self.unsettle(&key);
        self.items.insert(key, Item { node, mode, modified_ns, version, object: None });
        if !replaced_directory {
            self.touch_parent(path, now);
        }
    }
}
