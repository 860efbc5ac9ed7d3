//! The server behind SSH as such: what it is, which file systems it has, what listens there. Asked through a POSIX shell.

use super::root::Host;
use super::whole::exec;
use super::{SftpFiles, checks};
use domain::spec::SshAt;
use ports::hosts::{HostFacts, LeftOutFileSystem, ListeningProgram, MountedFileSystem};
use ports::{Check, ConnectorError, ErrorKind, Examine, Result, Role};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sections, each after a line with its name.
const SCRIPT: &str = r#"LC_ALL=C; export LC_ALL; PATH=$PATH:/usr/sbin:/sbin
echo '#host'; hostname 2>/dev/null || uname -n
echo '#os'; (. /etc/os-release 2>/dev/null && echo "$PRETTY_NAME") || uname -s
echo '#kernel'; uname -r
echo '#machine'; uname -m
echo '#processors'; getconf _NPROCESSORS_ONLN 2>/dev/null
echo '#memory'; sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo 2>/dev/null
echo '#mounts'; cat /proc/self/mountinfo 2>/dev/null
echo '#sizes'; df -Pk -a 2>/dev/null
echo '#listening'; ss -Hltnup 2>/dev/null
echo '#end'"#;

/// What the kernel makes up, or keeps in memory.
const PSEUDO: [&str; 29] = [
    "autofs",
    "bdev",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "pipefs",
    "proc",
    "pstore",
    "ramfs",
    "rootfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "sockfs",
    "swap",
    "sysfs",
    "tmpfs",
    "tracefs",
    "fuse.lxcfs",
];
/// What lies on another machine.
const NETWORK: [&str; 15] =
    ["9p", "afs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "gfs2", "glusterfs", "lustre", "nfs", "nfs4", "smb3", "virtiofs"];
/// What can only be read.
const IMAGES: [&str; 4] = ["erofs", "iso9660", "squashfs", "udf"];

/// A server behind SSH. Connects when it is first used.
pub struct SshServer {
    files: SftpFiles,
    host: Arc<Host>,
}

impl SshServer {
    pub fn new(at: &SshAt) -> Self {
        let files = SftpFiles::new(at, "/", 1);
        Self { host: files.host.clone(), files }
    }
}

impl Examine for SshServer {
    fn checks(&self, role: Role) -> Vec<Check<'_>> {
        checks::all(&self.files, role)
    }
}

#[async_trait::async_trait]
impl ports::Host for SshServer {
    async fn facts(&self) -> Result<HostFacts> {
        let (said, ended) = exec::start_anywhere(&self.host, SCRIPT.as_bytes()).await?.answer(Vec::new()).await?;
        let sections = sections(&String::from_utf8_lossy(&said));
        if !sections.contains_key("end") {
            let reason = format!("it runs no POSIX shell for this user (it ended with {})", ended.status);
            let advice = "Only servers with a POSIX shell can be discovered; give the mount points of others by hand, in `storage`";
            return Err(ConnectorError::new(ErrorKind::Unsupported, "discover", self.host.server(), reason).advice(advice));
        }
        let line = |name: &str| sections.get(name).and_then(|lines| lines.first()).cloned().unwrap_or_default();
        let all = |name: &str| sections.get(name).map(Vec::as_slice).unwrap_or_default();
        let (file_systems, left_out) = file_systems(all("mounts"), &sizes(all("sizes")));
        let mut listening: Vec<ListeningProgram> = all("listening").iter().filter_map(|l| listener(l)).collect();
        listening.sort();
        listening.dedup();
        Ok(HostFacts {
            host_name: line("host"),
            operating_system: line("os"),
            kernel: line("kernel"),
            architecture: line("machine"),
            processors: line("processors").parse().unwrap_or_default(),
            memory: line("memory").parse::<u64>().unwrap_or_default() * 1024,
            file_systems,
            left_out,
            listening,
        })
    }
}

fn sections(said: &str) -> BTreeMap<String, Vec<String>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut name = String::new();
    for line in said.lines() {
        match line.strip_prefix('#') {
            Some(next) => {
                next.clone_into(&mut name);
                out.entry(name.clone()).or_default();
            }
            None => out.entry(name.clone()).or_default().push(line.trim_end().to_owned()),
        }
    }
    out
}

/// Total, used and free bytes by mount point, from the POSIX form of `df`: five columns, then the rest of the line.
fn sizes(lines: &[String]) -> BTreeMap<String, (u64, u64, u64)> {
    let one = |line: &String| {
        let mut rest = line.as_str();
        let mut columns = [""; 5];
        for column in &mut columns {
            rest = rest.trim_start();
            let end = rest.find(char::is_whitespace)?;
            (*column, rest) = rest.split_at(end);
        }
        let bytes = |text: &str| Some(text.parse::<u64>().ok()? * 1024);
        Some((rest.trim_start().to_owned(), (bytes(columns[1])?, bytes(columns[2])?, bytes(columns[3])?)))
    };
    lines.iter().filter_map(one).collect()
}

/// proc(5), mountinfo: the fields up to a lone hyphen, then the file system's type. A later mount hides an earlier one at the same place.
fn file_systems(lines: &[String], sizes: &BTreeMap<String, (u64, u64, u64)>) -> (Vec<MountedFileSystem>, Vec<LeftOutFileSystem>) {
    let mut mounts: Vec<(String, String, String, String)> = Vec::new();
    for line in lines {
        let Some((place, kind)) = line.split_once(" - ") else { continue };
        let fields: Vec<&str> = place.split(' ').collect();
        let (Some(device), Some(root), Some(point), Some(kind)) = (fields.get(2), fields.get(3), fields.get(4), kind.split(' ').next()) else { continue };
        let point = unescaped(point);
        mounts.retain(|(hidden, ..)| *hidden != point);
        mounts.push((point, (*device).to_owned(), unescaped(root), kind.to_owned()));
    }
    let (mut kept, mut left): (Vec<MountedFileSystem>, Vec<LeftOutFileSystem>) = (Vec::new(), Vec::new());
    let mut seen: BTreeMap<(String, String), String> = BTreeMap::new();
    for (mount_point, device, root, kind) in mounts {
        let again = seen.get(&(device.clone(), root.clone())).cloned();
        if let Some(reason) = why_left_out(&mount_point, &kind, &root, again.as_deref()) {
            left.push(LeftOutFileSystem { mount_point, kind, reason });
            continue;
        }
        let (total, used, free) = sizes.get(&mount_point).copied().unwrap_or_default();
        seen.insert((device, root), mount_point.clone());
        kept.push(MountedFileSystem { mount_point, kind, total, used, free });
    }
    kept.sort_by(|a, b| a.mount_point.cmp(&b.mount_point));
    left.sort_by(|a, b| a.mount_point.cmp(&b.mount_point));
    (kept, left)
}

fn why_left_out(mount_point: &str, kind: &str, root: &str, again: Option<&str>) -> Option<String> {
    let has = |list: &[&str]| list.contains(&kind);
    if has(&PSEUDO) {
        return Some("the kernel makes it up or keeps it in memory; it is not stored anywhere".to_owned());
    }
    if has(&NETWORK) {
        return Some("it lies on another machine; move it from there".to_owned());
    }
    if has(&IMAGES) {
        return Some("it is an image that can only be read; install it at the target".to_owned());
    }
    if let Some(first) = again {
        return Some(format!("it is the same file system as {first}"));
    }
    if kind == "overlay" && mount_point != "/" {
        return Some("it is put together of other directories (a container's); move those, or the container".to_owned());
    }
    // A subvolume has a root of its own; anything else that begins below one is a directory that is shown twice.
    (root != "/" && kind != "btrfs").then(|| format!("it is a directory of another file system ({root}), shown here again"))
}

/// `\040` for a blank, and so on.
fn unescaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        let digits = bytes.get(i + 1..i + 4).filter(|d| bytes[i] == b'\\' && d.iter().all(|b| (b'0'..=b'7').contains(b)));
        match digits {
            Some(d) => {
                out.push(d.iter().fold(0_u8, |n, b| n.wrapping_mul(8).wrapping_add(b - b'0')));
                i += 4;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// One line of `ss -Hltnup`: `tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=1,fd=3))`.
fn listener(line: &str) -> Option<ListeningProgram> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (address, port) = fields.get(4)?.rsplit_once(':')?;
    let program = line.split_once("((\"").and_then(|(_, rest)| rest.split_once('"')).map_or("", |(name, _)| name);
    let address = address.trim_matches(['[', ']']).split('%').next().unwrap_or_default().to_owned();
    Some(ListeningProgram { program: program.to_owned(), protocol: (*fields.first()?).to_owned(), address, port: port.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(|l| l.trim().to_owned()).collect()
    }

    #[test]
    fn file_systems_are_told_from_what_only_looks_like_one() {
        let mounts = lines(
            "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
            23 22 0:20 / /proc rw - proc proc rw
            24 22 0:25 / /run rw - tmpfs tmpfs rw
            25 22 8:17 / /srv/my\\040shop rw - xfs /dev/sdb1 rw
            26 22 8:17 /pub /srv/pub rw - xfs /dev/sdb1 rw
            27 22 8:17 / /mnt/again rw - xfs /dev/sdb1 rw
            28 22 0:31 /@home /home rw - btrfs /dev/sdc rw
            29 22 0:40 / /net rw - nfs4 nas:/x rw
            30 22 0:41 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw
            31 22 7:1 / /snap/core rw - squashfs /dev/loop1 ro",
        );
        let df = lines(
            "Filesystem 1024-blocks Used Available Capacity Mounted on
            /dev/sda1 1000 400 600 40% /
            /dev/sdb1 2000 500 1500 25% /srv/my shop
            /dev/sdc 10 5 5 50% /home",
        );
        let (kept, left) = file_systems(&mounts, &sizes(&df));
        let shown: Vec<_> = kept.iter().map(|f| (f.mount_point.as_str(), f.kind.as_str(), f.total, f.used, f.free)).collect();
        assert_eq!(
            shown,
            [("/", "ext4", 1_024_000, 409_600, 614_400), ("/home", "btrfs", 10_240, 5120, 5120), ("/srv/my shop", "xfs", 2_048_000, 512_000, 1_536_000)],
            "the first name of a file system counts"
        );
        let left: Vec<_> = left.iter().map(|l| l.mount_point.as_str()).collect();
        assert_eq!(left, ["/mnt/again", "/net", "/proc", "/run", "/snap/core", "/srv/pub", "/var/lib/docker/overlay2/x/merged"]);
    }

    #[test]
    fn listeners_are_read() {
        let read = |line: &str| listener(line).map(|l| (l.program, l.protocol, l.address, l.port));
        let sshd = r#"tcp LISTEN 0 128 [::]:22 [::]:* users:(("sshd",pid=1,fd=4))"#;
        assert_eq!(read(sshd), Some(("sshd".to_owned(), "tcp".to_owned(), "::".to_owned(), 22)));
        assert_eq!(read("udp UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:*"), Some((String::new(), "udp".to_owned(), "127.0.0.53".to_owned(), 53)));
        assert_eq!(read("nonsense"), None);
    }
}
