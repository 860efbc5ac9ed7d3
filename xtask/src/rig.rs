//! The real servers that tests and measurements use: started by the scripts in `rig/`, once per run, stopped by pid.
//!
//! A run has its own directory and its own free ports, so that two runs on one machine do not meet. What was installed
//! (server binaries, Python packages) is kept and shared.

use crate::workspace;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The families that `rig/up.sh` starts when none is named.
const ALL: [&str; 13] = ["postgres", "mariadb", "mysql", "s3", "rgw", "ssh", "wordpress", "mail", "oidc", "servers", "schemathesis", "qemu", "clouds"];

/// Servers that run for us. Dropping it stops them and removes their data.
pub struct Rig {
    dir: PathBuf,
    families: Vec<&'static str>,
    settings: BTreeMap<String, String>,
    ports: Vec<(&'static str, u16)>,
}

impl Rig {
    /// Starts the families on free ports. What is missing on this machine is installed (Debian, as root).
    pub fn start(families: &[&'static str]) -> Result<Self> {
        // Servers that give up root must be able to enter: no private directory, and none below a private one.
        let dir = std::env::temp_dir().join(format!("migration-assistant-rig-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o711))?;
        let mut rig = Self { dir, families: families.to_vec(), settings: BTreeMap::new(), ports: free_ports()? };
        if families.is_empty() {
            return Ok(rig);
        }
        eprintln!("xtask: starting {} (a first time installs them)", families.join(", "));
        workspace::run(&mut rig.script("start"))?;
        rig.settings = read_settings(&rig.dir.join("env"))?;
        Ok(rig)
    }

    /// The variables that tell tests and cases where the servers are (`crates/testkit/src/rig.rs` reads them).
    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }

    pub fn setting(&self, name: &str) -> Result<&str> {
        self.settings.get(name).map(String::as_str).with_context(|| format!("{name} is missing in the rig's settings"))
    }

    /// A directory that goes away with the rig.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn script(&self, verb: &str) -> Command {
        let mut command = Command::new(workspace::root().join("rig/up.sh"));
        command.arg(verb).args(&self.families).env("RIG", &self.dir);
        command.env("VENV", venv()).env("NPM", installed().join("npm")).env("MYSQL_ROOT", mysql_root()).env("QEMU_GUEST", installed().join("guest"));
        command.env("VCSIM", installed().join("vcsim"));
        command.env("RIG_SERVERS_NET", format!("10.77.{}", std::process::id() % 254 + 1));
        command.envs(self.ports.iter().map(|(name, port)| (*name, port.to_string())));
        command
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !self.families.is_empty()
            && let Err(error) = self.script("stop").status()
        {
            eprintln!("xtask: stopping the servers failed: {error}; their process ids are in {}/data/*.pid", self.dir.display());
            return;
        }
        // Data of servers that are gone; the next run makes its own.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// `cargo xtask rig start|stop [FAMILY…]`: fixed ports, data in `.rig`, left running.
pub fn develop(args: &[String]) -> Result<()> {
    if !matches!(args.first().map(String::as_str), Some("start" | "stop")) {
        bail!("say `cargo xtask rig start` or `cargo xtask rig stop`, and maybe which of: {}", ALL.join(", "));
    }
    workspace::run(Command::new(workspace::root().join("rig/up.sh")).args(args).env("RIG", workspace::root().join(".rig")))
}

/// Where Python packages are installed.
pub fn venv() -> PathBuf {
    installed().join("venv")
}

/// Where MySQL was unpacked.
pub fn mysql_root() -> PathBuf {
    installed().join("mysqlroot")
}

pub fn all() -> &'static [&'static str] {
    &ALL
}

/// Kept between runs: `.rig` when every user may enter it, else a directory below `/var/tmp`.
pub fn installed() -> PathBuf {
    let own = workspace::root();
    let open = own.ancestors().all(|dir| std::fs::metadata(dir).is_ok_and(|m| m.mode() & 0o001 != 0));
    if open { own.join(".rig") } else { PathBuf::from("/var/tmp/migration-assistant-rig") }
}

fn read_settings(file: &Path) -> Result<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    Ok(text.lines().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned())).collect())
}

/// A free port for every server; the object stores also take some just above their own.
fn free_ports() -> Result<Vec<(&'static str, u16)>> {
    let names: [(&str, &[u16]); 12] = [
        ("RIG_PG15_PORT", &[0]),
        ("RIG_PG18_PORT", &[0]),
        ("RIG_MARIADB_PORT", &[0]),
        ("RIG_MYSQL_PORT", &[0]),
        ("RIG_SSH_PORT", &[0]),
        ("RIG_WP_PORT", &[0]),
        ("RIG_S3_PORT", &[0, 1, 2, 3, 10, 11, 12, 13]),
        ("RIG_RGW_PORT", &[0, 1]),
        ("RIG_SMTP_PORT", &[0, 1]),
        ("RIG_OIDC_PORT", &[0]),
        ("RIG_OIDC_RETURN_PORT", &[0]),
        ("RIG_CLOUDS_PORT", &[0, 1]),
    ];
    // Below the range that the system hands out for outgoing connections. The start differs from run to run.
    let mut next = 20_000 + (std::process::id() % 8_000) as u16;
    let (mut held, mut found) = (Vec::new(), Vec::new());
    for (name, offsets) in names {
        loop {
            if next > 32_000 {
                bail!("no free ports between 20000 and 32000 on this machine");
            }
            let bound: Vec<_> = offsets.iter().filter_map(|o| TcpListener::bind(("127.0.0.1", next + o)).ok()).collect();
            let free = bound.len() == offsets.len();
            if free {
                found.push((name, next));
                held.extend(bound);
            }
            next += 20;
            if free {
                break;
            }
        }
    }
    drop(held);
    Ok(found)
}
