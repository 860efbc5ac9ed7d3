//! Exclude patterns. A pattern with a `/` is relative to the root, one without matches a name at any depth; what matches a
//! directory leaves out everything below it. `*` and `?` stop at `/`, `**` does not.

use super::report::Excluded;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use ports::files::{FilePath, Prune};
use ports::{ConnectorError, ErrorKind, Result};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

pub(super) struct Exclude {
    set: GlobSet,
    pub(super) counts: Vec<Excluded>,
    /// The last directory that was found to be included, and the last that was not: listings are sorted.
    inside: Vec<u8>,
    outside: Option<(Vec<u8>, usize)>,
}

impl Exclude {
    /// Compiles the patterns; a malformed one is `Invalid`.
    pub(super) fn new(patterns: &[String]) -> Result<Self> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let plain = pattern.trim_end_matches('/');
            if plain.trim().is_empty() {
                return Err(names_nothing(pattern));
            }
            let anchored = match plain.strip_prefix('/') {
                Some(rest) => rest.to_owned(),
                None if plain.contains('/') => plain.to_owned(),
                None => format!("**/{plain}"),
            };
            let glob = GlobBuilder::new(&anchored).literal_separator(true).backslash_escape(true).build().map_err(|e| invalid(pattern, &e))?;
            set.add(glob);
        }
        let set = set.build().map_err(|e| invalid("all patterns together", &e))?;
        let counts = patterns.iter().map(|p| Excluded { pattern: p.clone(), ..Excluded::default() }).collect();
        Ok(Self { set, counts, inside: Vec::new(), outside: None })
    }

    /// Keeps listings out of directories that are left out.
    pub(super) fn prune(&self) -> Prune {
        let set = self.set.clone();
        Arc::new(move |path| set.is_match(Path::new(OsStr::from_bytes(trim(path.as_bytes())))))
    }

    fn matching(&self, path: &[u8]) -> Option<usize> {
        self.set.matches(Path::new(OsStr::from_bytes(path))).into_iter().next()
    }

    /// The pattern that leaves `path` out, itself or through one of its directories.
    fn find(&mut self, path: &[u8]) -> Option<usize> {
        if self.set.is_empty() {
            return None;
        }
        if let Some((dir, pattern)) = &self.outside
            && super::order::is_below(path, dir)
        {
            return Some(*pattern);
        }
        let parent = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
        if path[..parent] != self.inside[..] {
            for cut in (0..=parent).filter(|cut| *cut > 0 && (*cut == parent || path[*cut] == b'/')) {
                if let Some(pattern) = self.matching(&path[..cut]) {
                    self.outside = Some((path[..cut].to_vec(), pattern));
                    return Some(pattern);
                }
            }
            self.inside = path[..parent].to_vec();
        }
        let found = self.matching(path)?;
        self.outside = Some((path.to_vec(), found));
        Some(found)
    }

    /// Whether an entry of the destination is protected by a pattern.
    pub(super) fn covers(&mut self, path: &FilePath) -> bool {
        self.find(trim(path.as_bytes())).is_some()
    }

    /// Whether an entry of the source stays behind; counts it.
    pub(super) fn leaves_out(&mut self, path: &FilePath, bytes: u64) -> bool {
        let Some(pattern) = self.find(trim(path.as_bytes())) else { return false };
        self.counts[pattern].entries += 1;
        self.counts[pattern].bytes += bytes;
        true
    }
}

fn trim(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}

/// An empty pattern, or one that means the root itself, would leave out everything or nothing: neither was meant.
fn names_nothing(pattern: &str) -> ConnectorError {
    let reason = "it names nothing below the root";
    ConnectorError::new(ErrorKind::Invalid, "read exclude pattern", format!("'{pattern}'"), reason)
        .advice("Remove it, or name a file or directory, as in `wp-content/cache/**`, `*.log`, `/private`.")
}

fn invalid(pattern: &str, error: &globset::Error) -> ConnectorError {
    ConnectorError::new(ErrorKind::Invalid, "read exclude pattern", format!("'{pattern}'"), error.kind().to_string())
        .advice("Patterns look like `wp-content/cache/**`, `*.log`, `/private`.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_people_expect() {
        let patterns = ["*.log", "wp-content/cache", "/top", "a/**/z"].map(str::to_owned);
        let mut exclude = Exclude::new(&patterns).expect("valid patterns");
        let out = ["x.log", "deep/er/y.log", "wp-content/cache", "wp-content/cache/page/1.html", "top", "top/inner", "a/z", "a/b/c/z", "a/b/z/below"];
        let stays = ["x.logs", "x/wp-content/cache", "other/top", "wp-content/cached", "b/a/z2", "a//b", "/x"];
        for path in out {
            assert!(exclude.leaves_out(&path.into(), 3), "{path} should be excluded");
        }
        for path in stays {
            assert!(!exclude.leaves_out(&path.into(), 3), "{path} should stay");
        }
        assert_eq!(exclude.counts[0], Excluded { pattern: "*.log".into(), entries: 2, bytes: 6 });
        for bad in ["a[", "", "/", "//", " "] {
            assert_eq!(Exclude::new(&[bad.to_owned()]).err().map(|e| e.kind), Some(ErrorKind::Invalid), "'{bad}'");
        }
        let prune = exclude.prune();
        assert!(prune(&"wp-content/cache".into()) && prune(&"a/z".into()) && !prune(&"wp-content".into()));
    }
}
