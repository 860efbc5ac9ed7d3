//! Names of what is not finished yet.
//!
//! `.migration-assistant~TAG~HASH`: TAG is the run's tag, HASH comes from the path and a random number, so that two writers never
//! share a staging file. Such names never appear in a listing and are never accepted as names of files.

use futures::StreamExt;
use ports::files::{Body, Entry, EntryKind, FilePath};
use ports::place::MARK_PREFIX as PREFIX;
use ports::{ConnectorError, ErrorKind, Result};

/// A new staging name for `path`, a single path segment.
pub(crate) fn name(staging: &str, path: &FilePath) -> String {
    let hash = blake3::hash(path.as_bytes());
    format!("{}{}{:08x}", prefix(staging), &hash.to_hex()[..16], rand::random::<u32>())
}

/// The staging name of `path` that every process of the run agrees on.
pub(crate) fn fixed_name(staging: &str, path: &FilePath) -> String {
    format!("{}{}", prefix(staging), &blake3::hash(path.as_bytes()).to_hex()[..32])
}

/// What all staging names of one run begin with.
pub(crate) fn prefix(staging: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !staging.is_empty() && staging.len() <= 64 && staging.chars().all(allowed) {
        return format!("{PREFIX}{staging}~");
    }
    let plain: String = staging.chars().filter(|c| allowed(*c)).take(32).collect();
    format!("{PREFIX}{plain}-{}~", &blake3::hash(staging.as_bytes()).to_hex()[..16])
}

/// What the temporary names of steps begin with that know no run: links, device nodes, marks that are being written, and the [`TRIAL_TAGS`].
pub(crate) const STEP_TAGS: [&str; 5] = ["link", "node", MARK_TAG, TRIAL_TAGS[0], TRIAL_TAGS[1]];
/// Marks under their temporary names.
pub(crate) const MARK_TAG: &str = "mark";
/// Trial files of checks, and marks that show whether two places are one.
pub(crate) const TRIAL_TAGS: [&str; 2] = ["check", ports::place::PROBE_TAG];

/// Whether a name is left over from `prefix`'s run, or from a step of any run that was interrupted.
pub(crate) fn is_leftover(name: &[u8], prefix: &str) -> bool {
    name.starts_with(prefix.as_bytes()) || STEP_TAGS.iter().any(|tag| name.starts_with(self::prefix(tag).as_bytes()))
}

/// Whether a path segment is a staging name of any run.
pub(crate) fn is_staging(segment: &[u8]) -> bool {
    segment.starts_with(PREFIX.as_bytes())
}

/// Writes a mark once more when its temporary file is gone: another run's sweep may have met it. A missing root is missing the second time too.
pub(crate) async fn again_when_swept<F, W>(write: F) -> Result<()>
where
    F: Fn() -> W,
    W: Future<Output = Result<()>>,
{
    match write().await {
        Err(e) if e.kind == ErrorKind::NotFound => write().await,
        written => written,
    }
}

/// A few bytes as the body of a file.
pub(crate) fn body_of(content: &[u8]) -> Body {
    futures::stream::iter([Ok(bytes::Bytes::copy_from_slice(content))]).boxed()
}

/// The entry of a mark; see [`ports::place::FilePlace::write_mark`].
pub(crate) fn mark(path: &FilePath, size: usize, location: &str) -> Result<Entry> {
    if !is_staging(crate::tree::leaf(path)) {
        let subject = format!("{path} in {location}");
        return Err(ConnectorError::new(ErrorKind::Internal, "write a mark", subject, "its name is not one of ours"));
    }
    let kind = EntryKind::File { size: size as u64 };
    Ok(Entry { mode: Some(0o644), ..Entry::new(path.clone(), kind) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_do_not_sweep_each_other() {
        let path = FilePath::from("a/b");
        assert!(name("run-1", &path).starts_with(&prefix("run-1")));
        assert!(!name("run-1-2", &path).starts_with(&prefix("run-1")));
        assert_ne!(prefix("a/b"), prefix("a:b"));
        assert_ne!(name("run-1", &path), name("run-1", &path));
        assert_eq!(fixed_name("run-1", &path), fixed_name("run-1", &path));
        let left = |tag: &str| is_leftover(name(tag, &path).as_bytes(), &prefix("run-1"));
        assert!(left("run-1") && left("link") && left("node") && left("mark") && left("check") && left("probe") && !left("run-2"));
        assert!(is_staging(name("x y/ü", &path).as_bytes()) && !name("x y/ü", &path).contains('/'));
    }
}
