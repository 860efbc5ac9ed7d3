//! Where the rig's real servers are. `cargo xtask test` starts them and exports the variables; a developer's running rig
//! leaves them in `.rig/env`. Nothing is skipped: a server that is not there is a clear panic.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The workspace's root directory.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}

fn file() -> &'static BTreeMap<String, String> {
    static FILE: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    FILE.get_or_init(|| {
        let text = std::fs::read_to_string(workspace().join(".rig/env")).unwrap_or_default();
        text.lines().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned())).collect()
    })
}

/// A setting of the rig, from the environment or from `.rig/env`.
pub fn setting(name: &str) -> String {
    std::env::var(name)
        .ok()
        .or_else(|| file().get(name).cloned())
        .unwrap_or_else(|| panic!("{name} is not set: start the rig with `cargo xtask rig start`, or run `cargo xtask test`"))
}

fn port(name: &str) -> u16 {
    setting(name).parse().unwrap_or_else(|_| panic!("{name} is no port"))
}

/// A database server of the rig on 127.0.0.1.
#[derive(Debug, Clone)]
pub struct Server {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
}

fn server(port_name: &str, user: &str) -> Server {
    Server { host: "127.0.0.1".to_owned(), port: port(port_name), user: user.to_owned(), password: setting("RIG_DB_PASS") }
}

/// MariaDB 10.11; user with all rights.
pub fn mariadb() -> Server {
    server("RIG_MARIADB_PORT", "rig")
}

/// Oracle MySQL 9.
pub fn mysql() -> Server {
    server("RIG_MYSQL_PORT", "rig")
}

pub fn postgres15() -> Server {
    server("RIG_PG15_PORT", "postgres")
}

pub fn postgres18() -> Server {
    server("RIG_PG18_PORT", "postgres")
}

/// An S3 interface.
#[derive(Debug, Clone)]
pub struct S3 {
    pub endpoint: String,
    pub access_key_id: String,
    pub secret_access_key: String,
}

/// SeaweedFS: keeps objects in a directory tree, serves no sites.
pub fn s3() -> S3 {
    s3_on(port("RIG_S3_PORT"))
}

/// Ceph's RADOS Gateway: keys are plain bytes, websites are served.
pub fn rgw() -> S3 {
    s3_on(port("RIG_RGW_PORT"))
}

fn s3_on(port: u16) -> S3 {
    S3 { endpoint: format!("http://127.0.0.1:{port}"), access_key_id: setting("RIG_S3_KEY"), secret_access_key: setting("RIG_S3_SECRET") }
}

/// OpenSSH with SFTP: a real user, with password and key.
#[derive(Debug, Clone)]
pub struct Ssh {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
    pub key_file: PathBuf,
    pub known_hosts_file: PathBuf,
    /// Directory that the user may write.
    pub home: PathBuf,
}

impl Ssh {
    /// The server's key as it may stand in a specification: `ssh-ed25519 AAAA…`.
    pub fn host_key(&self) -> String {
        let text = std::fs::read_to_string(&self.known_hosts_file).unwrap_or_else(|e| panic!("{}: {e}", self.known_hosts_file.display()));
        text.split_whitespace().skip(1).take(2).collect::<Vec<_>>().join(" ")
    }

    /// The text of the user's private key.
    pub fn private_key(&self) -> String {
        std::fs::read_to_string(&self.key_file).unwrap_or_else(|e| panic!("{}: {e}", self.key_file.display()))
    }
}

pub fn ssh() -> Ssh {
    Ssh {
        host: "127.0.0.1".to_owned(),
        port: port("RIG_SSH_PORT"),
        user: setting("RIG_SSH_USER"),
        password: setting("RIG_SSH_PASS"),
        key_file: setting("RIG_SSH_KEY").into(),
        known_hosts_file: setting("RIG_SSH_KNOWN_HOSTS").into(),
        home: setting("RIG_SSH_HOME").into(),
    }
}

/// One of the rig's three servers (1, 2, 3): root, with the machine's own address, `/` and disks.
pub fn server_machine(number: u8) -> Ssh {
    Ssh {
        host: setting(&format!("RIG_SERVER{number}_IP")),
        port: 22,
        user: "root".to_owned(),
        password: setting("RIG_SERVER_PASS"),
        key_file: setting("RIG_SERVER_KEY").into(),
        known_hosts_file: setting("RIG_SERVER_KNOWN_HOSTS").into(),
        home: "/data".into(),
    }
}

/// The rig's real WordPress, served over HTTP.
#[derive(Debug, Clone)]
pub struct Wordpress {
    pub url: String,
    pub root: PathBuf,
    pub database: String,
}

pub fn wordpress() -> Wordpress {
    Wordpress { url: setting("RIG_WP_URL"), root: setting("RIG_WP_ROOT").into(), database: setting("RIG_WP_DB") }
}

/// The e-mail sink.
#[derive(Debug, Clone)]
pub struct Mail {
    /// Wants a login over STARTTLS; the next port wants neither.
    pub port: u16,
    pub user: String,
    pub password: String,
    /// The certificate that it shows.
    pub ca_file: PathBuf,
    /// Where every letter becomes a file.
    pub letters: PathBuf,
}

impl Mail {
    /// The letters to this address, as they came.
    pub fn letters_to(&self, address: &str) -> Vec<String> {
        let files = std::fs::read_dir(&self.letters).expect("the sink's directory").flatten().map(|e| e.path());
        let mut files: Vec<PathBuf> = files.filter(|p| p.extension().is_some_and(|e| e == "eml")).collect();
        files.sort();
        let letters = files.iter().map(|p| std::fs::read_to_string(p).expect("a letter"));
        letters.filter(|l| l.lines().any(|line| line == format!("X-To: {address}"))).collect()
    }
}

/// A guest for QEMU: says "guest is up" and then a number every second on its serial console, and obeys the power button.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Where both files are.
    pub dir: PathBuf,
    pub kernel: PathBuf,
    pub initrd: PathBuf,
}

pub fn guest() -> Guest {
    let dir = PathBuf::from(setting("RIG_GUEST"));
    Guest { kernel: dir.join("vmlinuz"), initrd: dir.join("initrd.gz"), dir }
}

/// aiosmtpd: login over STARTTLS on its port, neither on the next.
pub fn mail() -> Mail {
    let letters = PathBuf::from(setting("RIG_MAIL"));
    Mail { port: port("RIG_SMTP_PORT"), user: "rig".to_owned(), password: setting("RIG_SMTP_PASS"), ca_file: letters.join("c.pem"), letters }
}

/// The Python whose packages hold the OAuth client of document 3.
pub fn python() -> PathBuf {
    setting("RIG_PYTHON").into()
}

/// The OpenID provider.
#[derive(Debug, Clone)]
pub struct OpenId {
    pub issuer: String,
    pub client_id: String,
    pub client_secret: String,
    /// Where the provider sends browsers back to: the product's port.
    pub return_port: u16,
}

pub fn openid() -> OpenId {
    let issuer = format!("http://127.0.0.1:{}", port("RIG_OIDC_PORT"));
    OpenId { issuer, client_id: "rig".to_owned(), client_secret: "rigsecret".to_owned(), return_port: port("RIG_OIDC_RETURN_PORT") }
}

/// Two clouds that know server machines 2 (running) and 3 (stopped).
#[derive(Debug, Clone)]
pub struct Clouds {
    /// STS and EC2.
    pub aws: String,
    pub vcenter: String,
    /// The account of the vCenter, with its password.
    pub vcenter_login: (String, String),
    /// The certificate that both show (PEM).
    pub ca: String,
    known: BTreeMap<String, String>,
}

impl Clouds {
    /// Key and secret of one of AWS' users: `MIGRATOR` may look at machines, `NOBODY` may not, `MOVER` is a role with a session token.
    pub fn key(&self, user: &str) -> (String, String) {
        (self.known(&format!("{user}_ID")), self.known(&format!("{user}_SECRET")))
    }

    /// What was written down when AWS was furnished: `MOVER_TOKEN`, `TARGET_PUBLIC`, …
    pub fn known(&self, name: &str) -> String {
        self.known.get(name).cloned().unwrap_or_else(|| panic!("{name} is not known to the rig's clouds"))
    }
}

pub fn clouds() -> Clouds {
    let (port, dir) = (port("RIG_CLOUDS_PORT"), PathBuf::from(setting("RIG_CLOUDS")));
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_else(|e| panic!("{}: {e}", dir.join(name).display()));
    let known = read("env").lines().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let [aws, vcenter] = [port, port + 1].map(|port| format!("https://127.0.0.1:{port}"));
    Clouds { aws, vcenter, vcenter_login: ("migrator@rig.test".to_owned(), "rigpw".to_owned()), ca: read("c.pem"), known }
}
