//! The workload's table of file systems as it moved here. Before the one in the tree is changed a copy of it lies beside the disk, outside the tree, and
//! every further try begins from that: a file in the tree, whatever it is called, may be the workload's own from an earlier migration.

use super::super::place::Place;
use super::tree::{self, Access};
use cap_std::fs::Dir;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{ErrorKind as Io, Result, Write};
use std::os::unix::fs::OpenOptionsExt;

pub(super) const FSTAB: &str = "etc/fstab";
/// The original of the table, for people.
pub(super) const KEPT: &str = "etc/fstab.before-migration";
/// Ours, in the working directory.
const COPY: &str = "fstab.json";

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Original {
    table: Vec<u8>,
    access: Access,
    /// Where the table's name led, if it was a link.
    link: Option<String>,
}

impl Original {
    /// The copy of an earlier try, or one made now from the tree; on the disk before this returns. `None`: the workload has no table.
    pub fn take(root: &Dir, place: &Place, notes: &mut Vec<String>) -> Result<Option<Self>> {
        match fs::read(place.file(COPY)) {
            Ok(copy) => return Ok(Some(serde_json::from_slice(&copy)?)),
            Err(e) if e.kind() == Io::NotFound => {}
            Err(e) => return Err(e),
        }
        let Some((table, access)) = tree::read(root, FSTAB, notes)? else { return Ok(None) };
        let original = Self { table, access, link: tree::link(root, FSTAB) };
        original.save(place)?;
        Ok(Some(original))
    }

    fn save(&self, place: &Place) -> Result<()> {
        let fresh = place.file("fstab.json.new");
        let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&fresh, place.file(COPY))?;
        File::open(&place.work)?.sync_all()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.table).into_owned()
    }

    /// Puts another table into its place and keeps the original beside it. `run`: see [`tree::write`].
    pub fn replace(&self, root: &Dir, text: &str, run: &str, notes: &mut Vec<String>) -> Result<()> {
        tree::write(root, KEPT, &self.table, self.access, run)?;
        tree::write(root, FSTAB, text.as_bytes(), self.access, run)?;
        if let Some(link) = &self.link {
            notes.push(format!("/{FSTAB} was a link to {link}; it is a file of its own now, and what the link led to is as it was"));
        }
        Ok(())
    }
}
