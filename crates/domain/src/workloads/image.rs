//! A disk image that a migration makes: where it is to lie, how large its disk is, and in which format.

use super::Selected;
use crate::decode::{Fields, Problems};
use crate::vms::ImageFormat;

/// Largest disk, in GiB: one partition in a table of the kind that every firmware starts from ends at 2 TiB.
const LARGEST: u64 = 2047;
const GIB: u64 = 1 << 30;
/// Longest name of the file, in bytes; room is left for what is appended while it is made.
const LONGEST_NAME: usize = 200;

/// An image to be made on the server's own disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewImage {
    /// Absolute. Nothing may be there yet.
    pub path: String,
    pub format: ImageFormat,
    /// Size of the disk in it, in GiB.
    pub size_gib: u64,
}

impl NewImage {
    /// Reads `{path, size_gib?, format?}`. Without a size it is that of the `selected` mount points together and 1 GiB more; without a format the name's
    /// end tells.
    pub(super) fn read(f: &mut Fields<'_>, selected: &[Selected], p: &mut Problems) -> Self {
        let path = f.required_text("path", p);
        if let Some(why) = Some(&path).filter(|path| !path.is_empty()).and_then(|path| bad_path(path)) {
            p.note(f.path("path"), why);
        }
        let format = f.choice("format", &[("qcow2", ImageFormat::Qcow2), ("raw", ImageFormat::Raw)], p);
        let given = f.integer("size_gib", 1..=LARGEST, p);
        let whole = selected.iter().fold(0_u64, |sum, m| sum.saturating_add(m.mount_point.total_size)).div_ceil(GIB).saturating_add(1);
        if !f.has("size_gib") && whole > LARGEST {
            p.note(
                f.path("size_gib"),
                format!("the selected mount points have {whole} GiB together, and an image has {LARGEST} at most: give the size that their files need"),
            );
        }
        let format = format.unwrap_or_else(|| ImageFormat::of(&path));
        Self { path, format, size_gib: given.unwrap_or(whole.min(LARGEST)) }
    }

    /// Size of the disk in bytes.
    pub fn bytes(&self) -> u64 {
        self.size_gib * GIB
    }
}

fn bad_path(path: &str) -> Option<String> {
    if !crate::vms::is_path(path) {
        return Some("must be an absolute path without '..'".to_owned());
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    (name.is_empty() || name.starts_with('.') || name.len() > LONGEST_NAME)
        .then(|| format!("must end in a file name of 1 to {LONGEST_NAME} bytes that does not begin with a dot"))
}
