//! Where files live: a local directory, a directory behind SSH, a bucket.

use crate::Secret;
use crate::decode::{Fields, Problems};

/// A root of files and how to reach it.
#[derive(Debug, Clone)]
pub enum FilesAt {
    /// An absolute directory on the worker's own machine.
    Local { root: String },
    /// A directory on an SSH server, reached by SFTP.
    Sftp { ssh: SshAt, root: String },
    /// A bucket of S3 or of a compatible store.
    S3(S3At),
    /// A bucket or container of another cloud's object store.
    Objects(ObjectsAt),
}

/// An SSH server. `host_key` absent: the key is unknown and must be confirmed; it is never accepted silently.
#[derive(Debug, Clone)]
pub struct SshAt {
    pub host: String,
    pub port: u16,
    pub login: SshLogin,
    pub host_key: HostKeyPin,
    /// Reached through this server first (ProxyJump).
    pub jump: Option<Box<SshAt>>,
}

#[derive(Debug, Clone)]
pub struct SshLogin {
    /// Empty: the name of the user who runs the worker, as OpenSSH does.
    pub username: String,
    pub password: Option<Secret>,
    /// OpenSSH or PEM text of the key, or the path of a file that holds it.
    pub private_key: Option<Secret>,
    pub passphrase: Option<Secret>,
}

/// What vouches for the server's key.
#[derive(Debug, Clone)]
pub enum HostKeyPin {
    /// A `known_hosts` line, a bare `ssh-ed25519 AAAA…` key, or a `SHA256:…` fingerprint.
    Pinned(String),
    /// A `known_hosts` file on the worker's machine.
    KnownHosts(String),
    /// Nothing yet: validation answers with the fingerprint to confirm.
    Unknown,
}

/// A bucket of S3 or a compatible store. Absent credentials: the usual AWS environment.
#[derive(Debug, Clone)]
pub struct S3At {
    pub bucket: String,
    /// Ends with `/` unless empty.
    pub prefix: String,
    pub region: String,
    pub endpoint: Option<String>,
    /// `None`: path style exactly when an endpoint is given.
    pub path_style: Option<bool>,
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<Secret>,
    pub session_token: Option<Secret>,
    pub index_document: Option<String>,
    pub error_document: Option<String>,
}

/// A GCS bucket or an Azure container: decoded here, moved by connectors that come later.
#[derive(Debug, Clone)]
pub struct ObjectsAt {
    pub bucket: String,
    pub prefix: String,
}

impl FilesAt {
    /// For people: where it is, with no secret in it.
    pub fn describe(&self) -> String {
        match self {
            Self::Local { root } => root.clone(),
            Self::Sftp { ssh, root } => format!("sftp://{}@{}:{}{root}", ssh.login.username, ssh.host, ssh.port),
            Self::S3(s3) => format!("s3://{}/{}", s3.bucket, s3.prefix),
            Self::Objects(at) => format!("{}/{}", at.bucket, at.prefix),
        }
    }
}

/// Reads the SSH fields of `f` itself (host, port, username, …), or a local directory when the host is absent or localhost.
pub(super) fn read_tree(f: &mut Fields<'_>, root: String, p: &mut Problems) -> FilesAt {
    if !root.starts_with('/') {
        p.note(f.path("paths.web_root"), format!("must be an absolute path, not '{root}'"));
    }
    let host = f.text("host", p);
    let local = host.as_deref().is_none_or(|h| h == "localhost") && !f.has("username") && !f.has("port");
    if local {
        for field in ["password", "private_key", "passphrase", "host_key", "known_hosts", "jump"] {
            if f.has(field) {
                p.note(f.path(field), "has no meaning without a host and a username");
            }
        }
        known_ssh_fields(f);
        return FilesAt::Local { root };
    }
    let ssh = read_ssh(f, host, p);
    FilesAt::Sftp { ssh, root }
}

fn known_ssh_fields(f: &mut Fields<'_>) {
    for field in ["port", "username", "password", "private_key", "passphrase", "host_key", "known_hosts", "jump"] {
        f.value(field);
    }
}

fn read_ssh(f: &mut Fields<'_>, host: Option<String>, p: &mut Problems) -> SshAt {
    let host = match host {
        Some(h) => {
            if h.trim().is_empty() {
                p.note(f.path("host"), "must not be empty");
            }
            h
        }
        // There, but no text: that was noted when it was read.
        None if f.has("host") => String::new(),
        None => f.required_text("host", p),
    };
    check_host(&host, &f.path("host"), p);
    let port = f.integer("port", 1..=65535, p).unwrap_or(22) as u16;
    let username = f.text("username", p).unwrap_or_default();
    if f.has("username") && username.trim().is_empty() {
        p.note(f.path("username"), "must not be empty");
    }
    let login = SshLogin {
        username,
        password: f.text("password", p).map(Secret::new),
        private_key: f.text("private_key", p).map(Secret::new),
        passphrase: f.text("passphrase", p).map(Secret::new),
    };
    let pinned = f.text("host_key", p);
    let known = f.text("known_hosts", p);
    let host_key = match (pinned, known) {
        (Some(_), Some(_)) => {
            p.note(f.path("known_hosts"), "give either host_key or known_hosts, not both");
            HostKeyPin::Unknown
        }
        (Some(key), None) => HostKeyPin::Pinned(key),
        (None, Some(file)) => HostKeyPin::KnownHosts(file),
        (None, None) => HostKeyPin::Unknown,
    };
    let jump = f.object("jump", p).map(|mut j| {
        let host = j.text("host", p);
        let at = read_ssh(&mut j, host, p);
        j.done(p);
        Box::new(at)
    });
    SshAt { host, port, login, host_key, jump }
}

/// A host is a DNS name or an IP address: no scheme, no path, no spaces.
pub(super) fn check_host(host: &str, field: &str, p: &mut Problems) {
    if host.contains("://") {
        p.note(field, format!("'{host}' is a URL; give the host name alone"));
    } else if !host.is_empty() && host.chars().any(|c| c.is_whitespace() || c.is_control() || "/@?#\\".contains(c)) {
        p.note(field, format!("'{}' is not a host name or an IP address", host.escape_default()));
    }
}

pub(super) fn read_s3(f: &mut Fields<'_>, p: &mut Problems) -> S3At {
    let bucket = f.required_text("bucket", p);
    check_bucket(&bucket, &f.path("bucket"), p);
    let endpoint = f.text("endpoint", p);
    if let Some(e) = &endpoint
        && !(e.starts_with("http://") || e.starts_with("https://"))
    {
        p.note(f.path("endpoint"), "must start with http:// or https://");
    }
    let access_key_id = f.text("access_key_id", p);
    let secret_access_key = f.text("secret_access_key", p).map(Secret::new);
    if access_key_id.is_some() != secret_access_key.is_some() {
        p.note(f.path("secret_access_key"), "access_key_id and secret_access_key go together");
    }
    let path_style = f.maybe_flag("path_style", p);
    let region = f.text("region", p).unwrap_or_else(|| "us-east-1".to_owned());
    let session_token = f.text("session_token", p);
    for (field, value) in [("region", Some(&region)), ("access_key_id", access_key_id.as_ref()), ("session_token", session_token.as_ref())] {
        check_header_word(value, &f.path(field), p);
    }
    S3At {
        bucket,
        prefix: read_prefix(f, p),
        region,
        endpoint,
        path_style,
        access_key_id,
        secret_access_key,
        session_token: session_token.map(Secret::new),
        index_document: f.text("index_document", p),
        error_document: f.text("error_document", p),
    }
}

pub(super) fn read_objects(f: &mut Fields<'_>, container: &'static str, p: &mut Problems) -> ObjectsAt {
    let bucket = f.required_text(container, p);
    ObjectsAt { bucket, prefix: read_prefix(f, p) }
}

fn read_prefix(f: &mut Fields<'_>, p: &mut Problems) -> String {
    let prefix = f.text("prefix", p).unwrap_or_default();
    if prefix.is_empty() || prefix.ends_with('/') { prefix } else { format!("{prefix}/") }
}

/// It travels in a header of every request, which holds nothing but plain letters.
fn check_header_word(value: Option<&String>, field: &str, p: &mut Problems) {
    if value.is_some_and(|v| !v.chars().all(|c| c.is_ascii_graphic())) {
        p.note(field, "must have plain ASCII letters only, without blanks; was something pasted with it?");
    }
}

/// Bucket name rules of Amazon S3, "General purpose bucket naming rules".
fn check_bucket(bucket: &str, field: &str, p: &mut Problems) {
    if bucket.is_empty() {
        return;
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    if !bucket.chars().all(allowed) {
        p.note(field, "S3 bucket name contains invalid characters: only a-z, 0-9, '-' and '.' are allowed");
    } else if !(3..=63).contains(&bucket.len()) {
        p.note(field, "S3 bucket name must be 3 to 63 characters long");
    } else if bucket.starts_with(['-', '.']) || bucket.ends_with(['-', '.']) || bucket.contains("..") {
        p.note(field, "S3 bucket name must start and end with a letter or a digit and have no '..'");
    }
}
