//! What a loss of power takes: everything that callers changed since they last asked to settle. What people write by hand is on the disk.

use super::{MemoryFiles, Node, State, file};
use bytes::Bytes;

/// What becomes of one change that was not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It was on the disk already.
    Kept,
    /// What stood there before is there again.
    Lost,
    /// Name, size and time are there, and the content is zeros.
    Torn,
}

impl MemoryFiles {
    /// The power fails; `choose` says what becomes of each path.
    pub fn lose_power(&self, mut choose: impl FnMut(&[u8]) -> Loss) {
        // Object stores confirm nothing that can be lost.
        if !self.tree {
            return;
        }
        let mut state = self.lock();
        // What is below a directory comes before it.
        for (key, before) in std::mem::take(&mut state.unsettled).into_iter().rev() {
            match choose(&key) {
                Loss::Kept => {}
                Loss::Torn => state.tear(&key),
                Loss::Lost => match before {
                    Some(item) if state.has_parents(&key) => drop(state.items.insert(key, item)),
                    Some(_) => {}
                    None if key.ends_with(b"/") && state.items.keys().any(|k| k.len() > key.len() && k.starts_with(&key)) => {}
                    None => drop(state.items.remove(&key)),
                },
            }
        }
    }
}

impl State {
    /// Remembers what stands at a path before a caller changes it.
    pub(super) fn unsettle(&mut self, key: &[u8]) {
        let before = self.items.get(key).cloned();
        self.unsettled.entry(key.to_vec()).or_insert(before);
    }

    /// As people do it: at once on the disk, with the directories above.
    pub(super) fn store_settled(&mut self, tree: bool, path: &[u8], node: Node, mode: u32) {
        self.store(tree, path, node, mode, None);
        let above = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| path[..=at].to_vec());
        for key in above.chain([path.to_vec(), [path, b"/"].concat()]) {
            self.unsettled.remove(&key);
        }
    }

    fn has_parents(&self, key: &[u8]) -> bool {
        let path = key.strip_suffix(b"/").unwrap_or(key);
        path.iter().enumerate().filter(|(_, b)| **b == b'/').all(|(at, _)| self.items.contains_key(&path[..=at]))
    }

    fn tear(&mut self, key: &[u8]) {
        if let Some(item) = self.items.get_mut(key)
            && let Node::File { data, content_type, .. } = &item.node
        {
            item.node = file(Bytes::from(vec![0; data.len()]), content_type.clone());
        }
    }
}
