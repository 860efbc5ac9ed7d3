//! Directories: those that we made are removed, those that we removed are made again, and the others get their modes and times back.

use super::fate::{Fate, named};
use super::{BEHIND_LINK, STRETCH, Undo};
use crate::files::order::key;
use crate::files::sides::Fault;
use ports::files::{EntryKind, FilePath};
use ports::{ErrorKind, Result};
use std::collections::HashSet;

impl Undo<'_> {
    /// Directories that we made, the deepest first. One that holds something foreign stays.
    pub(super) async fn remove_folders(&mut self) -> Result<()> {
        self.folders.sort_by_cached_key(|(path, _)| std::cmp::Reverse(key(path, true)));
        self.folders.dedup_by(|a, b| a.0 == b.0);
        let folders = std::mem::take(&mut self.folders);
        for some in folders.chunks(STRETCH) {
            self.look_above(some.iter().map(|(path, _)| path)).await?;
        }
        let mut straight = Vec::new();
        for (path, before) in folders {
            if self.is_behind_link(&path) {
                self.note(&path, Fate::Kept(BEHIND_LINK.to_owned()));
            } else {
                straight.push((path, before));
            }
        }
        self.folders = straight;
        let made = self.folders.iter().filter(|(_, before)| before.is_none());
        let made: Vec<FilePath> = made.map(|(path, _)| self.mover.folder_path(path)).collect();
        for some in made.chunks(STRETCH) {
            for (path, now) in some.iter().zip(self.stats(some.to_vec()).await?) {
                match now {
                    None => {}
                    Some(e) if !self.mover.tree() || matches!(e.kind, EntryKind::Directory) => {
                        let fate = named(self.remove_folder(path).await)?;
                        self.note(path, fate);
                    }
                    Some(_) => self.note(path, Fate::Kept("something else was put where the directory was".to_owned())),
                }
            }
        }
        self.folders.retain(|(_, before)| before.is_some());
        Ok(())
    }

    async fn remove_folder(&self, path: &FilePath) -> Result<Fate> {
        let remove = || async { self.mover.destination.remove(path).await.map_err(Fault::target) };
        match self.lane.in_writable_directory(path, || self.lane.retry(path, 0, remove)).await {
            Ok(()) => Ok(Fate::Removed),
            // In an object store a directory is but a shadow of the keys below it.
            Err(f) if f.error.kind == ErrorKind::AlreadyExists && !self.mover.destination.traits().modes => Ok(Fate::AsBefore),
            Err(f) if f.error.kind == ErrorKind::AlreadyExists => Ok(Fate::Kept("the directory holds something that is not of the migration".to_owned())),
            Err(f) => Err(f.error),
        }
    }

    /// Makes the removed directories again and puts modes and times back, the deepest first.
    pub(super) async fn restore_folders(&mut self) -> Result<()> {
        self.folders.sort_by_cached_key(|(path, _)| std::cmp::Reverse(key(path, true)));
        // Directories that have another time since something was made in them.
        let mut stirred = HashSet::new();
        for some in std::mem::take(&mut self.folders).chunks(STRETCH) {
            let now = self.stats(some.iter().map(|(path, _)| self.mover.folder_path(path)).collect()).await?;
            for ((path, before), now) in some.iter().zip(now) {
                let Some(before) = before.as_ref().filter(|_| now.is_none() || self.mover.tree()) else { continue };
                if now.as_ref().is_some_and(|n| !matches!(n.kind, EntryKind::Directory)) {
                    self.note(path, Fate::Kept("something else was put where the directory was".to_owned()));
                    continue;
                }
                let differs = now.as_ref().is_none_or(|n| n.mode != before.mode || n.modified_ns != before.modified_ns);
                if !differs && !stirred.contains(path) {
                    continue;
                }
                match named(self.make(path, before).await.map(|()| Fate::Restored))? {
                    Fate::Restored if now.is_none() => {
                        self.done.restored += 1;
                        stirred.extend(path.parent());
                    }
                    Fate::Restored => {}
                    other => self.note(path, other),
                }
            }
        }
        Ok(())
    }
}
