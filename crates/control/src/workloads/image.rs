//! Where a new disk image may lie: judged when it is given, and again when it is made.

use domain::decode::Problems;
use domain::workloads::Target;
use serde::Serialize;
use std::path::{Path, PathBuf};
use utoipa::ToSchema;

/// A disk image that a migration makes.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NewImageView {
    /// On the server's own disk.
    #[schema(example = "/srv/images/web1.qcow2")]
    pub path: String,
    /// Size of its disk.
    #[schema(example = 20)]
    pub size_gib: Option<u64>,
    /// `qcow2` or `raw`.
    #[schema(example = "qcow2")]
    pub format: Option<String>,
}

/// Refuses an image that could not be put at its path. Touches the disk.
pub(crate) fn check(target: &Target, roots: &[PathBuf], problems: &mut Problems) {
    if let Some(why) = target.image().and_then(|image| refusal(&image.path, roots)) {
        problems.note("migration_target.image.path", why);
    }
}

fn refusal(path: &str, roots: &[PathBuf]) -> Option<String> {
    let shown = path.escape_default();
    if roots.is_empty() {
        return Some(format!("'{shown}' is a path on the server's own disk, and this server allows none; start it with --image-root DIR to allow a directory"));
    }
    let below = |real: &Path| roots.iter().filter_map(|r| r.canonicalize().ok()).any(|root| real.starts_with(root));
    match Path::new(path).parent().and_then(|above| above.canonicalize().ok()) {
        Some(above) if above.is_dir() && below(&above) => Path::new(path).symlink_metadata().is_ok().then(|| taken(path)),
        _ => Some(format!("'{shown}' is not in a directory that is there and that this server allows (see serve --image-root)")),
    }
}

pub(super) fn taken(path: &str) -> String {
    format!("something is already at '{}'; nothing is overwritten", path.escape_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_free_name_in_an_allowed_directory_will_do() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        std::fs::create_dir_all(at("images/deep")).unwrap();
        std::fs::write(at("images/taken"), b"x").unwrap();
        std::os::unix::fs::symlink("/", at("images/out")).unwrap();
        let roots = [dir.path().join("images")];
        for good in ["images/a.qcow2", "images/deep/a.raw"] {
            assert_eq!(refusal(&at(good), &roots), None, "{good}");
        }
        for (bad, why) in
            [("images/taken", "already"), ("images/missing/a", "not in a directory"), ("a", "not in a directory"), ("images/out/tmp/a", "not in a directory")]
        {
            assert!(refusal(&at(bad), &roots).is_some_and(|text| text.contains(why)), "{bad}");
        }
        assert!(refusal(&at("images/a"), &[]).unwrap().contains("--image-root"));
    }
}
