//! Real machines. `rig/qemu.sh` installs QEMU and makes the guest.

use connectors_hosts::Qemu;
use domain::decode::Problems;
use domain::vms::VmSpec;
use ports::vms::{Fetch, Observed, Part, VmHost, VmSnapshots};
use ports::{ConnectorError, ErrorKind};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use testkit::leftovers::TestDirectory;
use testkit::rig;
use testkit::vms_suite::{self, Bench};

fn host(dir: &Path) -> Qemu {
    Qemu::new(dir.join("vms"), vec![rig::guest().dir, dir.to_owned()], None)
}

fn spec(body: &Value) -> VmSpec {
    VmSpec::decode(body, &mut Problems::default()).expect("a definition")
}

#[tokio::test(flavor = "multi_thread")]
async fn qemu_keeps_what_hosts_promise() {
    let dir = TestDirectory::new();
    let guest = rig::guest();
    let body = json!({"kernel": guest.kernel, "initrd": guest.initrd, "append": "console=ttyS0 quiet"});
    vms_suite::run(Bench { host: Arc::new(host(dir.path())), guest: body }).await;
    let left: Vec<_> = std::fs::read_dir(dir.path().join("vms")).expect("its directory").flatten().map(|e| e.file_name()).collect();
    assert!(left.iter().all(|name| name.to_string_lossy().starts_with('.')), "{left:?}");
}

/// One process ends, the next finds the machine by what is written down; or, when nothing is, by QEMU's own file.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_found_again() {
    let dir = TestDirectory::new();
    let first = host(dir.path());
    let machine = spec(&json!({"name": "n", "memory_mib": 64}));
    let running = first.start("aa", &machine).await.expect("started");
    let second = host(dir.path());
    let refused = second.start("bb", &machine).await.expect_err("the directory is taken");
    assert!(refused.to_string().contains("another server"), "{refused}");
    drop(first);
    assert_eq!(second.start("aa", &machine).await.expect("as it is"), running);
    std::fs::remove_file(dir.path().join("vms/aa/process.json")).expect("forgotten");
    assert!(matches!(second.observe("aa").await.expect("a look"), Observed::On { running: found, .. } if found.process == running.process));
    // A number that belongs to somebody else's process by now.
    let other = std::process::id();
    assert!(second.stop("aa", None).await.expect("stopped").clean);
    std::fs::write(dir.path().join("vms/aa/qemu.pid"), other.to_string()).expect("a stale file");
    assert!(matches!(second.observe("aa").await.expect("a look"), Observed::Off(ending) if !ending.clean));
    second.remove("aa").await.expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_killed_has_crashed() {
    let dir = TestDirectory::new();
    let host = host(dir.path());
    let running = host.start("aa", &spec(&json!({"name": "n", "memory_mib": 64}))).await.expect("started");
    let killed = std::process::Command::new("kill").args(["-9", &running.process.to_string()]).status().expect("kill");
    assert!(killed.success());
    let ending = host.ended("aa").await.expect("its end");
    assert!(!ending.clean && ending.reason.contains("killed"), "{ending:?}");
    host.remove("aa").await.expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_says_why_and_leaves_nothing_running() {
    let dir = TestDirectory::new();
    let host = host(dir.path());
    let bad = dir.path().join("no-kernel");
    std::fs::write(&bad, b"no kernel at all").expect("a file");
    let outside = tempfile::NamedTempFile::new().expect("a file");
    let rows = [
        (json!({"name": "n", "kernel": bad}), ErrorKind::Invalid, "QEMU ended at once"),
        (json!({"name": "n", "kernel": outside.path()}), ErrorKind::Permission, "allowed directory"),
        (json!({"name": "n", "image": {"path": bad, "format": "qcow2"}}), ErrorKind::Invalid, "format"),
    ];
    for (body, kind, said) in rows {
        let error = host.start("aa", &spec(&body)).await.expect_err("it cannot start");
        assert!(error.kind == kind && error.to_string().contains(said), "{body}: {error}");
        assert!(!matches!(host.observe("aa").await.expect("a look"), Observed::On { .. }), "{body}");
        host.remove("aa").await.expect("removed");
    }
}

fn qemu_img(words: &[&str]) {
    assert!(std::process::Command::new("qemu-img").args(words).stdout(std::process::Stdio::null()).status().expect("qemu-img").success(), "{words:?}");
}

/// The guest writes on its own layer; the image stays as it was. An image that points at another file of this machine is refused.
#[tokio::test(flavor = "multi_thread")]
async fn disks_are_layers_over_images() {
    let dir = TestDirectory::new();
    let (host, guest) = (host(dir.path()), rig::guest());
    let at = |name: &str| dir.path().join(name).display().to_string();
    let mut bytes = vec![0; 1 << 20];
    bytes[..5].copy_from_slice(b"first");
    std::fs::write(at("raw.img"), &bytes).expect("an image");
    qemu_img(&["convert", "-O", "qcow2", &at("raw.img"), &at("base.qcow2")]);
    qemu_img(&["create", "-q", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", &at("spy.qcow2")]);
    let machine = |image: &str, append: &str| json!({"name": "n", "memory_mib": 128, "image": at(image), "kernel": guest.kernel, "initrd": guest.initrd, "append": append});
    let spying = host.start("aa", &spec(&machine("spy.qcow2", "quiet"))).await.expect_err("it points elsewhere");
    assert!(spying.to_string().contains("more than one file"), "{spying}");
    let small = json!({"name": "n", "disk_gib": 1, "image": at("large.qcow2")});
    qemu_img(&["create", "-q", "-f", "qcow2", &at("large.qcow2"), "2G"]);
    assert!(host.start("aa", &spec(&small)).await.expect_err("too small").to_string().contains("larger disk_gib"));
    let before = std::fs::read(at("base.qcow2")).expect("the image");
    let plain = spec(&machine("base.qcow2", "console=ttyS0 quiet"));
    host.start("bb", &spec(&machine("base.qcow2", "console=ttyS0 quiet mark=second"))).await.expect("started");
    says(&host, "bb", "mark 'first'", 1).await;
    says(&host, "bb", "marked second", 1).await;
    host.stop("bb", None).await.expect("stopped");
    assert!(!host.save("bb", "second").await.expect("saved"));
    host.start("bb", &spec(&machine("base.qcow2", "console=ttyS0 quiet mark=third"))).await.expect("started");
    says(&host, "bb", "mark 'second'", 1).await;
    says(&host, "bb", "marked third", 1).await;
    host.stop("bb", None).await.expect("stopped");
    host.restore("bb", "second").await.expect("restored");
    host.start("bb", &plain).await.expect("started");
    says(&host, "bb", "mark 'second'", 2).await;
    assert!(std::fs::read(at("base.qcow2")).expect("the image") == before, "the image was written to");
    for id in ["aa", "bb"] {
        host.remove(id).await.expect("removed");
    }
}

/// A machine that goes back counts on from where it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_with_memory_takes_the_guest_back() {
    let dir = TestDirectory::new();
    let (host, guest) = (host(dir.path()), rig::guest());
    let body = json!({"name": "n", "memory_mib": 128, "kernel": guest.kernel, "initrd": guest.initrd, "append": "console=ttyS0 quiet"});
    host.start("aa", &spec(&body)).await.expect("started");
    says(&host, "aa", "tick 1\r", 1).await;
    assert!(host.save("aa", "early").await.expect("saved"));
    says(&host, "aa", "tick 3\r", 1).await;
    host.restore("aa", "early").await.expect("restored");
    says(&host, "aa", "tick 3\r", 2).await;
    says(&host, "aa", "guest is up", 1).await;
    host.remove("aa").await.expect("removed");
}

/// Waits until the guest has said it so often.
async fn says(host: &Qemu, id: &str, text: &str, times: usize) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(90);
    loop {
        let part = host.console(id, Part::From(0), 1 << 20).await.expect("a console");
        let found = String::from_utf8_lossy(&part.bytes).into_owned();
        if found.matches(text).count() >= times {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "'{text}' is not in: {found}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Brings the same bytes from everywhere, and counts how often.
struct Shelf(std::sync::atomic::AtomicUsize);

#[async_trait::async_trait]
impl Fetch for Shelf {
    async fn fetch(&self, url: &str, to: &mut (dyn tokio::io::AsyncWrite + Send + Unpin)) -> ports::Result<()> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let failed = |e: std::io::Error| ConnectorError::new(ErrorKind::Internal, "fetch", url, e.to_string());
        tokio::io::AsyncWriteExt::write_all(to, &[7; 4096]).await.map_err(failed)
    }
}

/// Fetched once for all machines, used only with the right hash, and nothing of a wrong one is kept.
#[tokio::test(flavor = "multi_thread")]
async fn images_are_fetched_once_and_held_against_their_hash() {
    let dir = TestDirectory::new();
    let shelf = Arc::new(Shelf(0.into()));
    let host = Qemu::new(dir.path().join("vms"), Vec::new(), Some(shelf.clone()));
    let machine = |sha256: &str| spec(&json!({"name": "n", "memory_mib": 64, "image": {"url": "https://images.example/a.img", "sha256": sha256}}));
    let good = "bcfea3e8d7b3e3ebf1f4f0cbd5ddc6f1e5ad9f6f0d6a9b5f0b1c2d3e4f506172";
    let error = host.start("aa", &machine(good)).await.expect_err("another hash");
    assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
    let found = error.reason.split(' ').nth(5).expect("the hash").trim_end_matches(',').to_owned();
    assert_eq!(std::fs::read_dir(dir.path().join("vms/.images")).expect("the images").count(), 0);
    for id in ["aa", "bb"] {
        host.start(id, &machine(&found)).await.expect("started");
        host.remove(id).await.expect("removed");
    }
    assert_eq!(shelf.0.load(std::sync::atomic::Ordering::Relaxed), 2, "a wrong one, and a good one for both");
}
