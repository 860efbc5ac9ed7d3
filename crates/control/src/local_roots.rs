//! The wall around the worker's own disk: over the network a migration may name local paths only below the allowed roots.
//!
//! Checked when a migration is created and again when it starts. It covers directories, SQLite files, and the files that a
//! configuration may name instead of a text (private keys, certificate authorities, `known_hosts`). Resolving happens against
//! the real directories, so `..` and symlinks that lead out are refused; writing itself is bound to directory handles elsewhere.

use domain::decode::Problems;
use domain::spec::{DatabaseAt, DatabaseEngine, FilesAt, HostKeyPin, MigrationSpec, SshAt, System};
use std::path::{Component, Path, PathBuf};

/// Notes every local path of the specification that lies outside `roots`. `None` allows all. Touches the disk.
pub fn check(spec: &MigrationSpec, roots: Option<&[PathBuf]>, problems: &mut Problems) {
    let Some(roots) = roots else { return };
    let wall = Wall { roots: roots.iter().filter_map(|r| r.canonicalize().ok()).collect() };
    for (side, system) in [("source", &spec.source), ("destination", &spec.destination)] {
        wall.check_system(side, system, problems);
    }
}

struct Wall {
    roots: Vec<PathBuf>,
}

impl Wall {
    fn check_system(&self, side: &str, system: &System, problems: &mut Problems) {
        match &system.files {
            Some(FilesAt::Local { root }) => self.check_path(&format!("{side}.paths.web_root"), root, problems),
            Some(FilesAt::Sftp { ssh, .. }) => self.check_ssh(side, ssh, problems),
            Some(FilesAt::S3(_) | FilesAt::Objects(_)) | None => {}
        }
        if let Some(uploads) = system.uploads.as_deref().filter(|_| matches!(system.files, Some(FilesAt::Local { .. }))) {
            self.check_path(&format!("{side}.paths.uploads"), uploads, problems);
        }
        if let Some(config) = system.config.as_deref().filter(|_| matches!(system.files, Some(FilesAt::Local { .. }))) {
            self.check_path(&format!("{side}.paths.config"), config, problems);
        }
        if let Some(database) = &system.database {
            self.check_database(side, system.files.is_none(), database, problems);
        }
    }

    fn check_database(&self, side: &str, alone: bool, database: &DatabaseAt, problems: &mut Problems) {
        let at = if alone { side.to_owned() } else { format!("{side}.database") };
        if database.engine == DatabaseEngine::Sqlite {
            self.check_path(&format!("{at}.database"), &database.database, problems);
        }
        if let Some(ca) = database.ca.as_deref().filter(|text| !text.contains("-----BEGIN")) {
            self.check_path(&format!("{at}.ca"), ca, problems);
        }
    }

    fn check_ssh(&self, at: &str, ssh: &SshAt, problems: &mut Problems) {
        if let Some(key) = ssh.login.private_key.as_ref().filter(|key| !key.expose().contains("-----BEGIN")) {
            // What was meant as a key's text must not be repeated in an answer.
            if self.refusal(key.expose()).is_some() {
                problems.note(format!("{at}.private_key"), "must be the text of the key; files on the server can only be named below its allowed directories");
            }
        }
        if let HostKeyPin::KnownHosts(file) = &ssh.host_key {
            self.check_path(&format!("{at}.known_hosts"), file, problems);
        }
        if let Some(jump) = &ssh.jump {
            self.check_ssh(&format!("{at}.jump"), jump, problems);
        }
    }

    fn check_path(&self, field: &str, path: &str, problems: &mut Problems) {
        if let Some(reason) = self.refusal(path) {
            problems.note(field, reason);
        }
    }

    /// Why this path is not allowed; `None` when it is.
    fn refusal(&self, path: &str) -> Option<String> {
        let shown = path.escape_default();
        if self.roots.is_empty() {
            return Some(format!(
                "'{shown}' is a path on the server's own disk, and this server allows none; start it with --local-root DIR to allow a directory"
            ));
        }
        let wanted = Path::new(path);
        if !wanted.is_absolute() || wanted.components().any(|c| matches!(c, Component::ParentDir)) {
            return Some(format!("'{shown}' must be an absolute path without '..'"));
        }
        match real_path(wanted) {
            Some(real) if self.roots.iter().any(|root| real.starts_with(root)) => None,
            Some(_) => Some(format!("'{shown}' is not below a directory that this server allows (see serve --local-root)")),
            None => Some(format!("'{shown}' cannot be resolved on the server")),
        }
    }
}

/// The path with every link on the way resolved, though its last parts may not exist yet. `None` when a part that is there
/// cannot be followed: a dangling link, a file in the middle, no permission to look.
fn real_path(path: &Path) -> Option<PathBuf> {
    let mut missing = Vec::new();
    let mut at = path;
    loop {
        match at.symlink_metadata() {
            Ok(_) => break,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                missing.push(at.file_name()?);
                at = at.parent()?;
            }
            Err(_) => return None,
        }
    }
    let mut real = at.canonicalize().ok()?;
    real.extend(missing.iter().rev());
    Some(real)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(body: &serde_json::Value, roots: Option<&[PathBuf]>) -> Vec<String> {
        let spec = MigrationSpec::decode(body).expect("a good body");
        let mut problems = Problems::default();
        check(&spec, roots, &mut problems);
        problems.0.into_iter().map(|p| p.field).collect()
    }

    fn body(from: &Path, to: &Path) -> serde_json::Value {
        json!({"name": "n", "source": {"type": "static", "paths": {"web_root": from}, "database": {"type": "sqlite", "database": from.join("a.db")}},
            "destination": {"type": "static", "paths": {"web_root": to}, "database": {"type": "sqlite", "database": to.join("a.db")}}})
    }

    #[test]
    fn only_below_the_roots_links_resolved() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("in"), dir.path().join("out"));
        std::fs::create_dir_all(&inside).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        std::os::unix::fs::symlink(outside.join("nothing"), inside.join("dangling")).unwrap();
        let roots = vec![inside.clone()];
        let all = ["source.paths.web_root", "source.database.database", "destination.paths.web_root", "destination.database.database"];
        assert!(fields(&body(&inside.join("a"), &inside.join("new/deep")), Some(&roots)).is_empty());
        assert_eq!(fields(&body(&inside.join("link"), &outside), Some(&roots)), all);
        assert_eq!(fields(&body(&inside.join("dangling/x"), &inside.join("../out")), Some(&roots)), all);
        assert_eq!(fields(&body(&inside, &inside), Some(&[])), all);
        assert!(fields(&body(&outside, &outside), None).is_empty());
        let beside = dir.path().join("in-beside");
        assert_eq!(fields(&body(&beside, &beside), Some(&roots)), all, "a name that only begins like the root");
    }

    #[test]
    fn files_named_instead_of_a_text_are_behind_the_wall_too() {
        let body = json!({"name": "n",
            "source": {"type": "static", "host": "h", "username": "u", "private_key": "/root/.ssh/id_rsa", "known_hosts": "/root/.ssh/known_hosts",
                "jump": {"host": "j", "username": "u", "private_key": "/root/.ssh/other"},
                "database": {"type": "mysql", "host": "h", "username": "u", "database": "d", "ca": "/etc/shadow"}},
            "destination": {"type": "static", "host": "h", "username": "u", "private_key": "-----BEGIN OPENSSH PRIVATE KEY-----\n…",
                "database": {"type": "mysql", "host": "h", "username": "u", "database": "d"}}});
        let roots = vec![PathBuf::from("/srv")];
        assert_eq!(fields(&body, Some(&roots)), ["source.private_key", "source.known_hosts", "source.jump.private_key", "source.database.ca"]);
    }
}
