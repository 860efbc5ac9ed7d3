//! A server: its address, who may log in, and its mount points.

use super::Address;
use super::mount_point::{self, DRIVE_ROOT, MountPoint};
use crate::Secret;
use crate::decode::{Fields, Problems, type_name};
use crate::spec::{FilesAt, HostKeyPin, SshAt, SshLogin};
use serde_json::Value;

/// A name, a password and, where there is one, the domain that they belong to.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub username: String,
    /// `None` where a key logs in, or where the document shows `********` in its place.
    pub password: Option<Secret>,
    pub domain: Option<String>,
}

impl Credentials {
    /// Reads `{username, password, domain?}`. `key`: whether a private key may stand in for the password.
    pub fn read(f: &mut Fields<'_>, key: bool, p: &mut Problems) -> Self {
        let username = f.required_text("username", p);
        let password = if f.has("password") || !key { f.required_text("password", p) } else { String::new() };
        let domain = f.text("domain", p).filter(|d| !d.trim().is_empty());
        Self { username, password: Some(password).filter(|w| !w.is_empty()).map(Secret::new), domain }
    }
}

/// How to get in over SSH, beyond name and password. Ours; document 0 has none of it.
#[derive(Debug, Clone)]
pub struct Ssh {
    pub port: u16,
    pub host_key: HostKeyPin,
    pub private_key: Option<Secret>,
    pub passphrase: Option<Secret>,
    /// Where the server shows a Windows drive.
    pub drive_root: String,
}

impl Default for Ssh {
    fn default() -> Self {
        Self { port: 22, host_key: HostKeyPin::Unknown, private_key: None, passphrase: None, drive_root: DRIVE_ROOT.to_owned() }
    }
}

impl Ssh {
    /// Reads `{port?, host_key?, private_key?, passphrase?, drive_root?}`.
    pub fn read(fields: Option<Fields<'_>>, p: &mut Problems) -> Self {
        let mut out = Self::default();
        let Some(mut f) = fields else { return out };
        out.port = f.integer("port", 1..=65535, p).map_or(out.port, |n| n as u16);
        out.host_key = f.text("host_key", p).map_or(HostKeyPin::Unknown, HostKeyPin::Pinned);
        out.private_key = f.text("private_key", p).map(Secret::new);
        out.passphrase = f.text("passphrase", p).map(Secret::new);
        if let Some(template) = f.text("drive_root", p) {
            if let Err(why) = mount_point::check_drive_root(&template) {
                p.note(f.path("drive_root"), why);
            }
            out.drive_root = template;
        }
        f.done(p);
        out
    }
}

/// A server.
#[derive(Debug, Clone)]
pub struct Workload {
    pub ip: Address,
    pub credentials: Credentials,
    pub mount_points: Vec<MountPoint>,
    pub ssh: Ssh,
}

impl Workload {
    /// Reads `{ip, credentials, storage?: {mount_points}, ssh?}`; `None` when a part of it cannot be read. What an answer shows beside these
    /// (`id`, `version`, …) is passed over, so that an answer can be sent back.
    pub fn read(f: &mut Fields<'_>, p: &mut Problems) -> Option<Self> {
        let before = p.0.len();
        let ip = read_ip(f, p);
        let ssh = Ssh::read(f.object("ssh", p), p);
        let credentials = match f.object("credentials", p) {
            Some(mut c) => {
                let read = Credentials::read(&mut c, ssh.private_key.is_some(), p);
                c.done(p);
                Some(read)
            }
            None => {
                require(f, "credentials", p);
                None
            }
        };
        let mount_points = read_storage(f, p);
        for shown in ["id", "system", "discovered_at", "created_at", "updated_at", "version"] {
            f.value(shown);
        }
        if p.0.len() > before {
            return None;
        }
        Some(Self { ip: ip?, credentials: credentials?, mount_points, ssh })
    }

    /// One of its mount points by any spelling of its name.
    pub fn mount_point(&self, name: &str) -> Option<&MountPoint> {
        let key = mount_point::key(name);
        self.mount_points.iter().find(|m| m.key() == key)
    }

    /// The declared mount point that a directory lies on.
    pub fn mount_point_around(&self, directory: &str) -> Option<&MountPoint> {
        let depth = |m: &&MountPoint| m.key().split(['/', '\\']).filter(|s| !s.is_empty()).count();
        let around = |m: &&MountPoint| {
            let longer = mount_point::key(directory).len() >= m.key().len();
            longer && mount_point::overlap(&m.mount_point_name, directory, &self.ssh.drive_root)
        };
        self.mount_points.iter().filter(around).max_by_key(depth)
    }

    /// Whether both are reached at one place.
    pub fn is_same_server(&self, other: &Self) -> bool {
        self.ip == other.ip && self.ssh.port == other.ssh.port
    }

    /// Whether it names places as Windows does.
    pub fn is_windows(&self) -> bool {
        self.mount_points.iter().any(|m| mount_point::is_drive(&m.mount_point_name))
    }

    /// Where the files of a mount point are reached. The error says what is wrong with the name.
    ///
    /// An account of a Windows domain logs in as `user@domain`; Unix knows no domains.
    pub fn files(&self, mount_point: &str) -> Result<FilesAt, String> {
        let root = mount_point::directory(mount_point, &self.ssh.drive_root)?;
        Ok(FilesAt::Sftp { ssh: self.ssh_at(mount_point::is_drive(mount_point)), root })
    }

    /// How to reach the server itself. `windows`: whether its accounts may belong to a domain.
    pub fn ssh_at(&self, windows: bool) -> SshAt {
        let name = &self.credentials.username;
        let username = match &self.credentials.domain {
            Some(domain) if windows && !name.contains(['@', '\\']) => format!("{name}@{domain}"),
            _ => name.clone(),
        };
        let (private_key, passphrase) = (self.ssh.private_key.clone(), self.ssh.passphrase.clone());
        let login = SshLogin { username, password: self.credentials.password.clone(), private_key, passphrase };
        SshAt { host: self.ip.as_str().to_owned(), port: self.ssh.port, login, host_key: self.ssh.host_key.clone(), jump: None }
    }
}

fn read_ip(f: &mut Fields<'_>, p: &mut Problems) -> Option<Address> {
    let text = f.required_text("ip", p);
    if text.is_empty() {
        return None;
    }
    Address::parse(&text).map_err(|why| p.note(f.path("ip"), why)).ok()
}

fn read_storage(f: &mut Fields<'_>, p: &mut Problems) -> Vec<MountPoint> {
    let Some(mut storage) = f.object("storage", p) else { return Vec::new() };
    let path = storage.path("mount_points");
    let list = match storage.value("mount_points") {
        None => Vec::new(),
        Some(Value::Array(values)) => MountPoint::read_list(values, &path, p),
        Some(other) => {
            p.note(path, format!("must be an array, not {}", type_name(other)));
            Vec::new()
        }
    };
    storage.done(p);
    list
}

/// Notes a field that must be there; one of a wrong type was noted when it was read.
pub(super) fn require(f: &Fields<'_>, field: &str, p: &mut Problems) {
    if !f.has(field) {
        p.note(f.path(field), "is required");
    }
}
