//! Where the merge stands in the tree: the directories above the current key, and the files that would stand in the way of a
//! directory of the same name. Both are bounded by the length of a path.

use super::item::{Folder, Gone, Stat};
use super::order::is_below;
use super::window::Window;
use ports::files::FilePath;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    Clear,
    Delete,
}

/// A directory above the current key.
pub(super) struct Dir {
    pub(super) path: Vec<u8>,
    /// As it is at the source; `None` when the source has no such entry.
    pub(super) stat: Option<Stat>,
    /// As it was at the destination; `None` when it was not there.
    pub(super) before: Option<Stat>,
    /// Where the window holds it; `None` when it is not planned (yet).
    pub(super) folder: Option<usize>,
    /// To be removed once everything below it was seen, unless something below it stays.
    pub(super) removal: Option<(Removal, Gone)>,
    pub(super) keep: bool,
}

impl Dir {
    pub(super) fn new(path: &FilePath, before: Option<Stat>) -> Self {
        let bytes = path.as_bytes();
        Self { path: bytes.strip_suffix(b"/").unwrap_or(bytes).to_vec(), stat: None, before, folder: None, removal: None, keep: false }
    }
}

/// A file or link `a`: in a tree, nothing can be below `a/` beside it.
pub(super) enum Blocker {
    /// The source's; `told` once the collision is in the report.
    Source { path: FilePath, told: bool },
    /// The destination's; `delete` when the source has nothing there.
    Destination { gone: Gone, delete: bool },
}

impl Blocker {
    fn path(&self) -> &FilePath {
        match self {
            Self::Source { path, .. } => path,
            Self::Destination { gone, .. } => &gone.path,
        }
    }
}

pub(super) struct Chain {
    tree: bool,
    dirs: Vec<Dir>,
    blockers: Vec<Blocker>,
}

impl Chain {
    pub(super) fn new(tree: bool) -> Self {
        Self { tree, dirs: Vec::new(), blockers: Vec::new() }
    }

    /// Leaves everything that the new key (`None`: the end) is not below. Removals that were held back become due.
    pub(super) fn advance(&mut self, key: Option<&[u8]>, window: &mut Window<'_>) {
        let near = |path: &[u8]| key.is_some_and(|k| k.starts_with(path) && k.get(path.len()).is_none_or(|b| *b <= b'/'));
        while self.blockers.last().is_some_and(|b| !near(b.path().as_bytes())) {
            if let Some(Blocker::Destination { gone, delete: true }) = self.blockers.pop() {
                self.touch(gone.path.as_bytes(), window);
                window.delete(gone);
            }
        }
        while self.dirs.last().is_some_and(|d| !key.is_some_and(|k| is_below(k, &d.path))) {
            let Some(dir) = self.dirs.pop() else { return };
            if let Some(place) = dir.folder {
                window.close(place, &dir.path);
            }
            match dir.removal {
                Some((removal, gone)) if !dir.keep => {
                    self.touch(&dir.path, window);
                    match removal {
                        Removal::Clear => window.clear(gone),
                        Removal::Delete => window.delete(gone),
                    }
                }
                _ => {}
            }
        }
    }

    pub(super) fn enter(&mut self, dir: Dir) {
        self.dirs.push(dir);
    }

    pub(super) fn block(&mut self, blocker: Blocker) {
        if self.tree {
            self.blockers.push(blocker);
        }
    }

    /// What stands in the way of anything at `key`.
    pub(super) fn blockers_of<'c>(&'c mut self, key: &'c [u8]) -> impl Iterator<Item = &'c mut Blocker> {
        self.blockers.iter_mut().filter(move |b| {
            let path = b.path().as_bytes();
            key.len() > path.len() && key.starts_with(path) && key[path.len()] == b'/'
        })
    }

    /// Takes the destination's file out of the way of `key`.
    pub(super) fn unblock(&mut self, key: &[u8]) -> Vec<Gone> {
        let (taken, rest) = std::mem::take(&mut self.blockers).into_iter().partition::<Vec<_>, _>(|b| match b {
            Blocker::Destination { gone, .. } => key.starts_with(gone.path.as_bytes()) && key.get(gone.path.as_bytes().len()) == Some(&b'/'),
            Blocker::Source { .. } => false,
        });
        self.blockers = rest;
        taken.into_iter().filter_map(|b| if let Blocker::Destination { gone, .. } = b { Some(gone) } else { None }).collect()
    }

    /// The directories above `path` that neither side has listed, outermost first. Only a tree has such.
    pub(super) fn unlisted(&self, path: &[u8]) -> Vec<FilePath> {
        if !self.tree {
            return Vec::new();
        }
        let cuts = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        cuts.filter(|at| *at > 0 && !self.dirs.iter().any(|d| d.path == path[..*at])).map(|at| FilePath::new(&path[..at])).collect()
    }

    /// Something at `path` stays as it is: no directory above it may be removed.
    pub(super) fn keep_above(&mut self, path: &[u8]) {
        for dir in self.dirs.iter_mut().filter(|d| is_below(path, &d.path)) {
            dir.keep = true;
        }
    }

    /// Something at `path` is there already, and stays.
    pub(super) fn inhabit(&mut self, path: &[u8], window: &mut Window<'_>) {
        self.keep_above(path);
        for dir in self.dirs.iter().filter(|d| is_below(path, &d.path)) {
            if let Some(place) = dir.folder {
                window.has_child(place, &dir.path);
            }
        }
    }

    /// Something at `path` will be changed: in a tree the directories above it are planned too, because their times change with it.
    pub(super) fn touch(&mut self, path: &[u8], window: &mut Window<'_>) {
        for dir in self.dirs.iter_mut().filter(|d| is_below(path, &d.path)) {
            match dir.folder {
                Some(place) => window.has_child(place, &dir.path),
                None if self.tree && dir.removal.is_none() => {
                    let folder = Folder { path: FilePath::new(dir.path.clone()), stat: dir.stat.clone(), before: dir.before.clone(), leaf: false };
                    dir.folder = Some(window.folder(folder));
                }
                None => {}
            }
        }
    }

    /// Something new will be at `path`.
    pub(super) fn fill(&mut self, path: &[u8], window: &mut Window<'_>) {
        self.keep_above(path);
        for dir in self.dirs.iter_mut().filter(|d| is_below(path, &d.path)) {
            dir.removal = None;
        }
        self.touch(path, window);
    }
}
