//! Refusing to move something onto itself, or into itself.
//!
//! ```text
//! documents ──► the same words? ──► the same file system and path? ──► a mark or lock put at the destination, seen at the source?
//! ```
//! One list for the checks, the dry run, the first step and the step that destroys: all say the same.

use domain::spec::{DatabaseAt, DatabaseEngine, FilesAt, MigrationSpec};
use ports::databases::Database;
use ports::files::{FilePath, FileTarget};
use ports::place::{FilePlace, MARK_PREFIX, PROBE_TAG};
use ports::{Connectors, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Directories of a path that are looked through at most.
const MAX_DEPTH: usize = 32;

/// What to do about a conflict.
pub const CHOOSE_ANOTHER: &str = "Choose another destination";

/// What is wrong, when source and destination are one place or one lies inside the other. Asks both systems: writes a mark at the
/// destination, and removes it. `mark`: its name, see [`mark_of`].
///
/// # Errors
/// Those of the systems. What does not exist yet, or may not be written, is no error: it is another place, or nothing will be written there.
pub async fn conflict(
    spec: &MigrationSpec,
    from: Option<&DatabaseAt>,
    to: Option<&DatabaseAt>,
    connectors: &dyn Connectors,
    mark: &str,
) -> Result<Option<String>> {
    if let (Some(from), Some(to)) = (&spec.source.files, &spec.destination.files)
        && (same_files(from, to) || files_meet(from, to, connectors, mark).await?)
    {
        return Ok(Some(overlapping(&from.describe(), &to.describe())));
    }
    if let (Some(from), Some(to)) = (from, to)
        && (same_database(from, to) || databases_meet(from, to, connectors).await?)
    {
        return Ok(Some(format!("source and destination are the same database: {} and {}", from.describe(), to.describe())));
    }
    Ok(None)
}

/// The same for two directories of servers.
///
/// # Errors
/// As [`conflict`].
pub async fn directories_conflict(source: &dyn FileTarget, destination: &dyn FileTarget, mark: &str) -> Result<Option<String>> {
    let same = one_file_system(source, destination).await? || marked(source, destination, &FilePath::default(), &[FilePath::default()], mark).await?;
    Ok(same.then(|| overlapping(&source.location(), &destination.location())))
}

fn overlapping(from: &str, to: &str) -> String {
    format!("source and destination overlap: {from} and {to} are one place, or one lies inside the other")
}

/// By the documents' own words; needs no system, so it also holds while one does not answer.
fn same_files(from: &FilesAt, to: &FilesAt) -> bool {
    match (from, to) {
        (FilesAt::S3(a), FilesAt::S3(b)) => {
            let endpoint = |e: &Option<String>| e.as_deref().unwrap_or("aws").trim_end_matches('/').to_ascii_lowercase();
            a.bucket == b.bucket && endpoint(&a.endpoint) == endpoint(&b.endpoint) && (a.prefix.starts_with(&b.prefix) || b.prefix.starts_with(&a.prefix))
        }
        _ => match (tree(from), tree(to)) {
            (Some((host_a, root_a)), Some((host_b, root_b))) => host_a == host_b && (root_a.starts_with(&root_b) || root_b.starts_with(&root_a)),
            _ => false,
        },
    }
}

async fn files_meet(from: &FilesAt, to: &FilesAt, connectors: &dyn Connectors, mark: &str) -> Result<bool> {
    match (from, to) {
        (FilesAt::S3(a), FilesAt::S3(b)) => {
            let (Some(below_a), Some(below_b)) = (relative(&a.prefix, &b.prefix), relative(&b.prefix, &a.prefix)) else { return Ok(false) };
            let (source, destination) = (connectors.files(from, 1).await?, connectors.files(to, 1).await?);
            // The mark lies below both prefixes.
            marked(source.as_ref(), destination.as_ref(), &below_b, &[below_a], mark).await
        }
        _ => match (root_of(from), root_of(to)) {
            (Some(root_a), Some(root_b)) => trees_meet(from, root_a, to, root_b, connectors, mark).await,
            _ => Ok(false),
        },
    }
}

/// Where a mark below `own` and `other` lies, seen from `own`; `None` when neither prefix begins with the other.
fn relative(own: &str, other: &str) -> Option<FilePath> {
    match other.strip_prefix(own) {
        Some(below) => Some(FilePath::from(below.trim_end_matches('/'))),
        None => own.starts_with(other).then(FilePath::default),
    }
}

fn root_of(at: &FilesAt) -> Option<&str> {
    match at {
        FilesAt::Local { root } | FilesAt::Sftp { root, .. } => Some(root),
        FilesAt::S3(_) | FilesAt::Objects(_) => None,
    }
}

fn with_root(at: &FilesAt, root: &str) -> FilesAt {
    match at {
        FilesAt::Local { .. } => FilesAt::Local { root: root.to_owned() },
        FilesAt::Sftp { ssh, .. } => FilesAt::Sftp { ssh: ssh.clone(), root: root.to_owned() },
        other => other.clone(),
    }
}

async fn trees_meet(from: &FilesAt, root_a: &str, to: &FilesAt, root_b: &str, connectors: &dyn Connectors, mark: &str) -> Result<bool> {
    let (source, destination) = (connectors.files(from, 1).await?, connectors.files(to, 1).await?);
    if one_file_system(source.as_ref(), destination.as_ref()).await? {
        return Ok(true);
    }
    // A destination that is still to be made can only lie inside the source: its nearest directory tells.
    let above = Path::new(root_b).ancestors().take(MAX_DEPTH).filter_map(Path::to_str);
    for directory in above {
        let place = connectors.files(&with_root(to, directory), 1).await;
        let Some(mark) = Mark::put(place, &FilePath::default(), mark).await? else { continue };
        let seen = seen_from(&mark, &source, from, root_a, directory, directory == root_b, connectors).await;
        mark.remove().await?;
        return seen;
    }
    Ok(false)
}

/// Whether a mark in `directory` of the destination shows in the source, below it, or (when the source may lie inside) above it.
async fn seen_from(
    mark: &Mark,
    source: &Arc<dyn FileTarget>,
    from: &FilesAt,
    root: &str,
    directory: &str,
    inside: bool,
    connectors: &dyn Connectors,
) -> Result<bool> {
    let names: Vec<&str> = directory.split('/').filter(|n| !n.is_empty()).collect();
    for first in (0..=names.len()).rev().take(MAX_DEPTH) {
        if mark.shows(source.as_ref(), &FilePath::from(names[first..].join("/").as_str())).await? {
            return Ok(true);
        }
    }
    if !inside {
        return Ok(false);
    }
    // A server that keeps its users in a directory, or a process that may not look there, shows less.
    let Ok(whole) = connectors.files(&with_root(from, "/"), 1).await else { return Ok(false) };
    for above in Path::new(root).ancestors().skip(1).take(MAX_DEPTH).filter_map(Path::to_str) {
        if mark.shows(whole.as_ref(), &FilePath::from(above.trim_matches('/'))).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn one_file_system(source: &dyn FileTarget, destination: &dyn FileTarget) -> Result<bool> {
    let (Some(a), Some(b)) = (source.place(), destination.place()) else { return Ok(false) };
    let (a, b) = tokio::try_join!(a.physical_path(), b.physical_path())?;
    Ok(a.zip(b).is_some_and(|(a, b)| a.overlaps(&b)))
}

/// Whether a mark that is put into `below` of the destination shows in one of these directories of the source.
async fn marked(source: &dyn FileTarget, destination: &dyn FileTarget, below: &FilePath, directories: &[FilePath], mark: &str) -> Result<bool> {
    let Some(place) = destination.place() else { return Ok(false) };
    let Some(name) = Mark::write(place.as_ref(), below, mark).await? else { return Ok(false) };
    let mut seen = Ok(false);
    for directory in directories {
        seen = shows(source, &directory.join(&name)).await;
        if !matches!(seen, Ok(false)) {
            break;
        }
    }
    destination.remove(&below.join(&name)).await?;
    seen
}

/// A small object of ours at a destination.
struct Mark {
    at: Arc<dyn FileTarget>,
    name: Vec<u8>,
}

impl Mark {
    /// `None` when there is no such place, or nothing may be written into it.
    async fn put(place: Result<Arc<dyn FileTarget>>, below: &FilePath, name: &str) -> Result<Option<Self>> {
        let at = match place {
            Ok(at) => at,
            Err(e) if may_not(e.kind) => return Ok(None),
            Err(e) => return Err(e),
        };
        let Some(place) = at.place() else { return Ok(None) };
        Ok(Self::write(place.as_ref(), below, name).await?.map(|name| Self { at, name }))
    }

    async fn write(place: &dyn FilePlace, below: &FilePath, name: &str) -> Result<Option<Vec<u8>>> {
        match place.write_mark(&below.join(name.as_bytes()), name.as_bytes(), true).await {
            Ok(()) => Ok(Some(name.as_bytes().to_vec())),
            Err(e) if may_not(e.kind) => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn shows(&self, files: &dyn FileTarget, directory: &FilePath) -> Result<bool> {
        shows(files, &directory.join(&self.name)).await
    }

    async fn remove(self) -> Result<()> {
        self.at.remove(&FilePath::new(self.name)).await
    }
}

/// Where nothing can be written, nothing is destroyed either.
fn may_not(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::Permission | ErrorKind::Unsupported | ErrorKind::Invalid | ErrorKind::NoSpace)
}

async fn shows(files: &dyn FileTarget, mark: &FilePath) -> Result<bool> {
    match files.stat(mark).await {
        Ok(found) => Ok(found.is_some()),
        Err(e) if may_not(e.kind) || e.kind == ErrorKind::Name => Ok(false),
        Err(e) => Err(e),
    }
}

/// The name of a mark. A run's is always the same, so that its next try removes what a killed one left; any other is removed by the next run's
/// sweep.
pub fn mark_of(run: Option<&str>) -> String {
    run.map_or_else(unique, |run| format!("{MARK_PREFIX}probe-{run}"))
}

/// Removes the mark that an interrupted try has left in the destination.
///
/// # Errors
/// Those of the system; a missing root is none.
pub async fn remove_mark(destination: &dyn FileTarget, run: &str) -> Result<()> {
    match destination.remove(&FilePath::from(mark_of(Some(run)).as_str())).await {
        Err(e) if may_not(e.kind) => Ok(()),
        other => other,
    }
}

/// A name that nobody else has.
fn unique() -> String {
    use std::hash::{BuildHasher, RandomState};
    let random = || RandomState::new().hash_one(jiff::Timestamp::now().as_nanosecond());
    format!("{MARK_PREFIX}{PROBE_TAG}~{:016x}{:016x}", random(), random())
}

/// Machine and directory of a tree. An SSH server on this machine counts as this machine.
fn tree(at: &FilesAt) -> Option<(String, PathBuf)> {
    match at {
        FilesAt::Local { root } => Some((String::new(), resolved(root))),
        FilesAt::Sftp { ssh, root } if is_here(&ssh.host) && ssh.jump.is_none() => Some((String::new(), resolved(root))),
        FilesAt::Sftp { ssh, root } => {
            let jump = ssh.jump.as_ref().map(|j| format!("{}>", j.host)).unwrap_or_default();
            Some((format!("{jump}{}:{}", ssh.host.to_ascii_lowercase(), ssh.port), PathBuf::from(root)))
        }
        FilesAt::S3(_) | FilesAt::Objects(_) => None,
    }
}

fn is_here(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "::1")
}

/// The directory with its links resolved, as far as it exists.
fn resolved(root: &str) -> PathBuf {
    let path = Path::new(root);
    let mut missing = Vec::new();
    let mut existing = path;
    loop {
        if let Ok(real) = existing.canonicalize() {
            return missing.iter().rev().fold(real, |p, name| p.join(name));
        }
        match (existing.parent(), existing.file_name()) {
            (Some(parent), Some(name)) => {
                missing.push(name);
                existing = parent;
            }
            _ => return path.to_owned(),
        }
    }
}

fn same_database(from: &DatabaseAt, to: &DatabaseAt) -> bool {
    match from.engine {
        DatabaseEngine::Sqlite => resolved(&from.database) == resolved(&to.database),
        _ => {
            let host = |at: &DatabaseAt| if is_here(&at.host) { "localhost".to_owned() } else { at.host.to_ascii_lowercase() };
            host(from) == host(to) && from.port == to.port && from.database == to.database
        }
    }
}

async fn databases_meet(from: &DatabaseAt, to: &DatabaseAt, connectors: &dyn Connectors) -> Result<bool> {
    if from.engine != to.engine || from.database.is_empty() || to.database.is_empty() {
        return Ok(false);
    }
    let (source, destination) = (connectors.database(from, 1).await?, connectors.database(to, 1).await?);
    one_database(source.as_ref(), destination.as_ref()).await
}

/// Whether two databases of one kind are one.
async fn one_database(source: &dyn Database, destination: &dyn Database) -> Result<bool> {
    let (Some(a), Some(b)) = (source.place(), destination.place()) else { return Ok(false) };
    let there = match b.identity().await {
        Ok(found) => found,
        Err(e) if e.kind == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    let here = a.identity().await?;
    if here.database != there.database {
        return Ok(false);
    }
    if here.system == there.system && !here.system.is_empty() && (here.shared || there.shared) {
        return Ok(true);
    }
    let name = unique();
    let Some(lock) = b.lock(&name, "probe").await? else { return Ok(false) };
    let seen = a.holder(&name).await;
    lock.release().await;
    Ok(seen?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(source: &str, destination: &str) -> MigrationSpec {
        let side = |root: &str| json!({"type": "static", "paths": {"web_root": root}});
        MigrationSpec::decode(&json!({"name": "x", "source": side(source), "destination": side(destination)})).unwrap()
    }

    #[test]
    fn a_directory_and_what_lies_inside_it_overlap_also_through_links() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        std::fs::create_dir_all(path("site/inner")).unwrap();
        std::os::unix::fs::symlink(path("site"), path("link")).unwrap();
        for (from, to, overlaps) in [
            ("site", "site", true),
            ("site", "site/inner", true),
            ("site/inner", "site", true),
            ("site", "link/new/deep", true),
            ("site", "site2", false),
            ("site", "other", false),
        ] {
            let spec = spec(&path(from), &path(to));
            let (from_at, to_at) = (spec.source.files.unwrap(), spec.destination.files.unwrap());
            assert_eq!(same_files(&from_at, &to_at), overlaps, "{from} → {to}");
        }
    }

    #[test]
    fn one_database_under_two_names_of_this_machine_is_one() {
        let at = |host: &str, name: &str| {
            let body = json!({"name": "x", "source": {"type": "mysql", "host": host, "username": "u", "database": name},
                "destination": {"type": "mysql", "host": "far", "username": "u", "database": "d"}});
            MigrationSpec::decode(&body).unwrap().source.database.unwrap()
        };
        assert!(same_database(&at("localhost", "shop"), &at("127.0.0.1", "shop")));
        assert!(!same_database(&at("localhost", "shop"), &at("127.0.0.1", "shop2")));
    }

    #[test]
    fn a_mark_below_both_prefixes_is_seen_from_both() {
        for (own, other, expected) in [("", "a/", Some("a")), ("a/", "", Some("")), ("a/", "a/b/", Some("b")), ("a/", "a/", Some("")), ("a/", "b/", None)] {
            assert_eq!(relative(own, other), expected.map(FilePath::from), "{own} {other}");
        }
    }
}
