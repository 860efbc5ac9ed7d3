//! Whole trees: as root between real servers' disks, and the ordinary suite through a whole tree of an ordinary user.

use crate::suite::{Case, clear, entries, suite, whole};
use connectors_files::sftp::SftpFiles;
use domain::Secret;
use domain::spec::{HostKeyPin, SshAt, SshLogin};
use ports::ErrorKind;
use ports::files::{FileTarget, PosixTree};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

static NEXT: AtomicU32 = AtomicU32::new(0);

fn at(rig: &testkit::rig::Ssh) -> SshAt {
    SshAt {
        host: rig.host.clone(),
        port: rig.port,
        login: SshLogin { username: rig.user.clone(), password: Some(Secret::new(rig.password.clone())), private_key: None, passphrase: None },
        host_key: HostKeyPin::Pinned(std::fs::read_to_string(&rig.known_hosts_file).expect("known_hosts")),
        jump: None,
    }
}

fn name() -> String {
    format!("whole-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A tree of root's on one of the servers' disks.
async fn on_server(number: u8, disk: &str) -> Arc<dyn PosixTree> {
    let files = SftpFiles::new(&at(&testkit::rig::server_machine(number)), &format!("{disk}/{}", name()), 8);
    files.prepare().await.expect("prepare");
    files.posix().await.expect("probe").unwrap_or_else(|why| panic!("no whole tree: {why}"))
}

/// A local directory, as root.
async fn here() -> (tempfile::TempDir, Arc<dyn PosixTree>) {
    let guard = tempfile::tempdir().expect("tempdir");
    let files = connectors_files::local::LocalFiles::new(guard.path().join("root"));
    files.prepare().await.expect("prepare");
    let tree = files.posix().await.expect("local").expect("a whole tree");
    (guard, tree)
}

macro_rules! on_all_disks {
    ($($test:ident),*) => {$(
        #[tokio::test]
        async fn $test() {
            for (server, disk) in [(3, "/data"), (2, "/srv/shop"), (2, "/var/lib/archive")] {
                let tree = on_server(server, disk).await;
                whole::$test(&*tree).await;
                clear(&*tree).await;
                tree.remove(&ports::files::FilePath::default()).await.expect("remove the root");
            }
            let (_guard, tree) = here().await;
            whole::$test(&*tree).await;
        }
    )*};
}

on_all_disks!(everything_is_kept, names_of_one_file, packs_arrive, each_thing_of_a_pack_is_its_own, a_broken_pack_leaves_nothing);

/// A disk of 8 MB on a server; goes when dropped.
struct SmallDisk(String);

impl SmallDisk {
    fn new() -> Self {
        let at = format!("/data/{}", name());
        command(&format!("mkdir {at} && mount -t tmpfs -o size=8M small {at}"));
        Self(at)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        command(&format!("umount -l {0} && rmdir {0}", self.0));
    }
}

/// Run by root on server 3.
fn command(line: &str) {
    let rig = testkit::rig::server_machine(3);
    let known = format!("UserKnownHostsFile={}", rig.known_hosts_file.display());
    let mut ssh = std::process::Command::new("ssh");
    ssh.args(["-o", "BatchMode=yes", "-o", &known, "-i"]).arg(&rig.key_file).arg(format!("root@{}", rig.host)).arg(line);
    assert!(ssh.status().expect("ssh").success(), "{line}");
}

/// tar complains of each file while the pack goes on: its words must not hold up what feeds it.
#[tokio::test]
async fn a_disk_that_fills_up_in_the_middle_is_told() {
    let disk = SmallDisk::new();
    let files = SftpFiles::new(&at(&testkit::rig::server_machine(3)), &disk.0, 8);
    let tree = files.posix().await.expect("probe").expect("a whole tree");
    let error = tokio::time::timeout(Duration::from_mins(1), tree.unpack("full", whole::noise_pack(64, 1 << 20))).await.expect("an end").expect_err("full");
    assert_eq!(error.kind, ErrorKind::NoSpace, "{error}");
    assert!(error.to_string().contains("the disk is full"), "{error}");
    assert!(entries(&*tree).await.is_empty(), "nothing unfinished is left");
}

/// Somebody removes a directory after we have seen it.
#[tokio::test]
async fn a_directory_that_went_is_made_again() {
    let at_root = format!("/data/{}", name());
    let files = SftpFiles::new(&at(&testkit::rig::server_machine(3)), &at_root, 8);
    files.prepare().await.expect("prepare");
    let tree = files.posix().await.expect("probe").expect("a whole tree");
    for round in 0..2 {
        let outcomes = tree.unpack("again", whole::noise_pack_in("dir/below/", 20, 10)).await.expect("unpack");
        assert!(outcomes.iter().all(Result::is_ok), "round {round}: {outcomes:?}");
        assert_eq!(entries(&*tree).await.len(), 22, "round {round}");
        command(&format!("rm -r {at_root}/dir"));
    }
    tree.remove(&ports::files::FilePath::default()).await.expect("remove the root");
}

mod ordinary {
    use super::*;

    struct Home(std::path::PathBuf);

    impl Drop for Home {
        fn drop(&mut self) {
            // The next run has another name anyway.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    async fn case() -> Case {
        let rig = testkit::rig::ssh();
        let home = rig.home.join(name());
        let disk = home.join("root");
        let open = async |parallel| {
            let files = SftpFiles::new(&at(&rig), disk.to_str().expect("utf-8"), parallel);
            files.prepare().await.expect("prepare");
            let tree: Arc<dyn FileTarget> = files.posix().await.expect("probe").expect("a whole tree");
            tree
        };
        let (target, other) = (open(8).await, open(1).await);
        Case { target, other, disk: Some(disk), _guard: Box::new(Home(home)) }
    }

    suite!(case);
}
