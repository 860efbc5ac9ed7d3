//! What every POSIX tree (local or behind SFTP) can and cannot hold.

use crate::staging;
use ports::files::posix::{BLOCK_DEVICE, CHARACTER_DEVICE, FIFO};
use ports::files::{Entry, FilePath};
use ports::{ConnectorError, ErrorKind, Result};

/// Modes of what a system without modes gives us.
pub(crate) const FILE_MODE: u32 = 0o644;
pub(crate) const DIRECTORY_MODE: u32 = 0o755;
/// Of a directory that is being filled: nobody else sees what will be private in the end.
pub(crate) const PRIVATE_MODE: u32 = 0o700;

/// Whether a tree can hold this name. `room`: bytes left for the path below the root.
pub(crate) fn accepts(path: &FilePath, location: &str, room: usize) -> Result<()> {
    let refuse = |reason: String| {
        Err(ConnectorError::new(ErrorKind::Name, "use the name", format!("{location}/{path}"), reason).advice("Rename it at the source, or leave it out"))
    };
    if path.as_bytes().is_empty() {
        return refuse("the name is empty".to_owned());
    }
    if path.as_bytes().contains(&0) {
        return refuse("it contains a NUL byte".to_owned());
    }
    for segment in path.segments() {
        if segment.is_empty() {
            return refuse("a directory tree has no empty names ('//', or '/' at the start or the end)".to_owned());
        }
        if segment == b"." || segment == b".." {
            return refuse("'.' and '..' are no names in a directory tree".to_owned());
        }
        if segment.len() > 255 {
            return refuse(format!("a name of {} bytes is longer than the 255 that a directory holds", segment.len()));
        }
        if staging::is_staging(segment) {
            return refuse("names like this are kept for unfinished files of Migration Assistant".to_owned());
        }
    }
    if path.as_bytes().len() > room {
        return refuse(format!("the whole path of {} bytes is longer than the {room} that are possible here", path.as_bytes().len()));
    }
    Ok(())
}

/// Whether something that is no file, directory or link can be made again.
pub(crate) fn can_be_made(kind: &str) -> bool {
    [FIFO, CHARACTER_DEVICE, BLOCK_DEVICE].contains(&kind)
}

/// Whether an attribute is one of its own: XFS shows access lists a second time, in a form of its own.
pub(crate) fn is_attribute(name: &str) -> bool {
    !name.is_empty() && !name.starts_with("trusted.SGI_ACL_")
}

/// Whether a file is known to have holes.
pub(crate) fn has_holes(entry: &Entry) -> bool {
    entry.posix.as_ref().is_some_and(|p| p.stored < entry.size())
}

/// The last segment of a plain path.
pub(crate) fn leaf(path: &FilePath) -> &[u8] {
    path.segments().last().unwrap_or_default()
}

/// The names of one directory, packed, with a little fact beside each: a million of them take little more than their own letters.
pub(crate) struct Names<T> {
    letters: Vec<u8>,
    spans: Vec<(u32, u16, T)>,
    next: usize,
}

impl<T: Copy> Names<T> {
    pub(crate) fn new() -> Self {
        Self { letters: Vec::new(), spans: Vec::new(), next: 0 }
    }

    /// A directory is stored, and so sorted, as `name/`.
    pub(crate) fn push(&mut self, name: &[u8], directory: bool, fact: T) {
        let start = self.letters.len() as u32;
        self.letters.extend_from_slice(name);
        if directory {
            self.letters.push(b'/');
        }
        self.spans.push((start, (self.letters.len() - start as usize) as u16, fact));
    }

    pub(crate) fn sort(&mut self) {
        let letters = &self.letters;
        self.spans.sort_unstable_by(|a, b| slice(letters, a.0, a.1).cmp(slice(letters, b.0, b.1)));
    }

    /// The next name, without the `/` of a directory, and its fact.
    pub(crate) fn take(&mut self) -> Option<(Vec<u8>, T)> {
        let (start, length, fact) = *self.spans.get(self.next)?;
        self.next += 1;
        let name = slice(&self.letters, start, length);
        Some((name.strip_suffix(b"/").unwrap_or(name).to_vec(), fact))
    }

    /// The first name at or after `from` whose fact fits, and where it stands.
    pub(crate) fn next_where(&self, from: usize, fits: impl Fn(T) -> bool) -> Option<(usize, Vec<u8>)> {
        let at = from.max(self.next);
        let (found, (start, length, _)) = self.spans[at.min(self.spans.len())..].iter().enumerate().find(|(_, span)| fits(span.2))?;
        let name = slice(&self.letters, *start, *length);
        Some((at + found, name.strip_suffix(b"/").unwrap_or(name).to_vec()))
    }
}

fn slice(letters: &[u8], start: u32, length: u16) -> &[u8] {
    &letters[start as usize..start as usize + length as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_sorts_as_if_it_ended_with_a_slash() {
        let mut names = Names::new();
        for (name, directory) in [("a", true), ("a-b", false), ("a0", false), ("b", false), ("B", true)] {
            names.push(name.as_bytes(), directory, ());
        }
        names.sort();
        let order: Vec<String> = std::iter::from_fn(|| names.take()).map(|(n, ())| String::from_utf8(n).unwrap()).collect();
        assert_eq!(order, ["B", "a-b", "a", "a0", "b"]);
    }

    #[test]
    fn refused_names_say_why() {
        for (bad, word) in
            [("", "empty"), ("a//b", "empty names"), ("/a", "empty names"), ("a/", "empty names"), ("../a", "'..'"), (".migration-assistant~x~1", "unfinished")]
        {
            let error = accepts(&FilePath::from(bad), "/srv", 4000).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Name);
            assert!(error.reason.contains(word), "{bad}: {error}");
        }
        let long = "x".repeat(256);
        assert!(accepts(&FilePath::from(long.as_str()), "/srv", 4000).unwrap_err().reason.contains("255"));
        assert!(accepts(&FilePath::new(b"caf\xe9/a b".to_vec()), "/srv", 4000).is_ok());
    }
}
