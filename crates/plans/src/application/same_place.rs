//! Refusing to move something onto itself, or into itself.

use domain::spec::{DatabaseAt, DatabaseEngine, FilesAt, MigrationSpec};
use std::path::{Path, PathBuf};

/// What is wrong, when source and destination are one place or one lies inside the other.
pub fn conflict(spec: &MigrationSpec, from: Option<&DatabaseAt>, to: Option<&DatabaseAt>) -> Option<String> {
    let files = spec.source.files.as_ref().zip(spec.destination.files.as_ref()).and_then(|(a, b)| same_files(a, b));
    files.or_else(|| from.zip(to).and_then(|(a, b)| same_database(a, b)))
}

fn same_files(from: &FilesAt, to: &FilesAt) -> Option<String> {
    let overlap = match (from, to) {
        (FilesAt::S3(a), FilesAt::S3(b)) => {
            let endpoint = |e: &Option<String>| e.as_deref().unwrap_or("aws").trim_end_matches('/').to_ascii_lowercase();
            a.bucket == b.bucket && endpoint(&a.endpoint) == endpoint(&b.endpoint) && (a.prefix.starts_with(&b.prefix) || b.prefix.starts_with(&a.prefix))
        }
        _ => match (tree(from), tree(to)) {
            (Some((host_a, root_a)), Some((host_b, root_b))) => host_a == host_b && (root_a.starts_with(&root_b) || root_b.starts_with(&root_a)),
            _ => false,
        },
    };
    overlap.then(|| format!("source and destination overlap: {} and {} are one place, or one lies inside the other", from.describe(), to.describe()))
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

fn same_database(from: &DatabaseAt, to: &DatabaseAt) -> Option<String> {
    let same = match from.engine {
        DatabaseEngine::Sqlite => resolved(&from.database) == resolved(&to.database),
        _ => {
            let host = |at: &DatabaseAt| if is_here(&at.host) { "localhost".to_owned() } else { at.host.to_ascii_lowercase() };
            host(from) == host(to) && from.port == to.port && from.database == to.database
        }
    };
    same.then(|| format!("source and destination are the same database: {}", to.describe()))
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
            assert_eq!(conflict(&spec(&path(from), &path(to)), None, None).is_some(), overlaps, "{from} → {to}");
        }
    }

    #[test]
    fn one_database_under_two_names_of_its_host_is_one() {
        let at = |host: &str, name: &str| {
            let body = json!({"name": "x", "source": {"type": "mysql", "host": host, "username": "u", "database": name},
                "destination": {"type": "mysql", "host": "far", "username": "u", "database": "d"}});
            MigrationSpec::decode(&body).unwrap().source.database.unwrap()
        };
        assert!(same_database(&at("localhost", "shop"), &at("127.0.0.1", "shop")).is_some());
        assert!(same_database(&at("localhost", "shop"), &at("127.0.0.1", "shop2")).is_none());
    }
}
