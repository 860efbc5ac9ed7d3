//! The plan for a workload whose target is an image, in the two suites, with images that are really made: loop devices, ext4, GRUB, all of it. And what the
//! door to images promises by itself.

use super::drive::{Driven, output};
use super::write;
use bytes::Bytes;
use connectors_files::local::LocalFiles;
use connectors_hosts::Images;
use domain::spec::{DatabaseAt, FilesAt};
use domain::vms::ImageFormat;
use domain::workloads::NewImage;
use futures::{FutureExt, StreamExt};
use ports::ErrorKind;
use ports::databases::Database;
use ports::files::{Entry, EntryKind, FilePath, FileTarget};
use ports::images::{Boot, DiskImages, Sealed};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use testkit::plan_suite::{self, Case};

/// Where the partition begins.
const PARTITION: u64 = 1 << 20;
const UUID: &str = "0a1b2c3d-1111-2222-3333-444455556666";

/// A "server" whose tree is a directory of this machine.
struct Connectors(PathBuf);

#[async_trait::async_trait]
impl ports::Connectors for Connectors {
    async fn files(&self, at: &FilesAt, parallel: usize) -> ports::Result<Arc<dyn FileTarget>> {
        match at {
            FilesAt::Sftp { root, .. } => Ok(Arc::new(LocalFiles::new(self.0.join(root.trim_start_matches('/'))))),
            other => connectors_files::open(other, parallel).await,
        }
    }

    async fn database(&self, at: &DatabaseAt, parallel: usize) -> ports::Result<Arc<dyn Database>> {
        connectors_databases::open(at, parallel).await
    }
}

fn images(dir: &Path) -> Images {
    Images::new(vec![dir.join("images")], |handle, shown| Arc::new(LocalFiles::of_handle(handle, shown)))
}

fn settings(dir: &Path) -> plans::Settings {
    plans::Settings { connectors: Arc::new(Connectors(dir.join("server"))), images: Some(Arc::new(images(dir))), ..super::settings(dir) }
}

/// A file that looks like a kernel to a boot loader.
fn kernel() -> Vec<u8> {
    let mut kernel = vec![7; 4096];
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    kernel
}

fn lay_out(dir: &Path) {
    let data = dir.join("server/data");
    std::fs::create_dir_all(dir.join("images")).expect("a directory");
    write(&data.join("etc/hostname"), "web1\n");
    write(&data.join("etc/fstab"), &format!("UUID={UUID} / ext4 defaults 0 1\n/dev/sdb1 /var/lib/shop xfs defaults 0 0\n"));
    std::fs::create_dir_all(data.join("boot")).expect("a directory");
    std::fs::write(data.join("boot/vmlinuz-6.1"), kernel()).expect("a kernel");
    // The way out of the image that a careless writer would take.
    std::os::unix::fs::symlink(dir.join("images"), data.join("srv")).expect("a link");
    write(&dir.join("server/shop/orders/1.txt"), "one\n");
}

fn document(dir: &Path, format: &str) -> Value {
    let mount_points = json!([{"mount_point_name": "/data", "total_size": 1 << 20}]);
    let mut selected = mount_points.clone();
    selected[0]["target_directory"] = json!("/");
    json!({
        "selected_mount_points": selected,
        "source": {"ip": "10.0.0.1", "credentials": {"username": "root", "password": "x"}, "storage": {"mount_points": mount_points}},
        "migration_target": {"image": {"path": dir.join("images/web1.disk"), "size_gib": 1, "format": format}},
    })
}

fn debugfs(image: &Path, ask: &str) -> String {
    let output = Command::new("debugfs").args(["-R", ask, &format!("{}?offset={PARTITION}", image.display())]).output().expect("debugfs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Loop devices of files below a directory, once what is on its way out is gone.
async fn loops(dir: &Path) -> String {
    let begun = Instant::now();
    loop {
        let output = Command::new("losetup").args(["--list", "--noheadings", "--output", "BACK-FILE"]).output().expect("losetup");
        let all = String::from_utf8_lossy(&output.stdout).into_owned();
        let ours: Vec<&str> = all.lines().filter(|l| l.contains(&dir.display().to_string())).collect();
        if ours.is_empty() || begun.elapsed() > Duration::from_secs(20) {
            return ours.join("\n");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn mounts(dir: &Path) -> String {
    let all = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    all.lines().filter(|l| l.contains(&dir.display().to_string())).collect::<Vec<_>>().join("\n")
}

/// What lies where images are made, what is in the image, and what hangs on it.
async fn state(dir: &Path) -> String {
    let mut names: Vec<String> =
        std::fs::read_dir(dir.join("images")).expect("images").flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let image = dir.join("images/web1.disk");
    let mut out = format!("images: {names:?}\nloops: {}\nmounts: {}\n", loops(dir).await, mounts(dir));
    if image.exists() {
        for ask in ["cat /etc/hostname", "cat /etc/fstab", "cat /boot/migration-assistant/grub.cfg", "show_super_stats -h"] {
            let stable =
                |l: &&str| !l.contains("time") && !l.contains("created") && !l.contains("writes") && !l.contains("checked") && !l.contains("Hash Seed");
            let stable = |l: &&str| stable(l) && !l.contains("Free") && !l.contains("unt count") && !l.contains("Journal seq") && !l.contains("Journal start");
            out.push_str(&debugfs(&image, ask).lines().filter(stable).collect::<Vec<_>>().join("\n"));
        }
        let listed = Command::new("sfdisk").args(["-d"]).arg(&image).output().expect("sfdisk");
        out.push_str(&String::from_utf8_lossy(&listed.stdout).replace(&dir.display().to_string(), ""));
    }
    out
}

async fn case() -> Case {
    let dir = tempfile::tempdir().expect("a directory");
    lay_out(dir.path());
    let root = dir.path().to_owned();
    Case {
        kind: plans::WORKLOAD.to_owned(),
        registry: plans::registry(settings(dir.path())),
        input: document(dir.path(), "raw"),
        options: json!({}),
        rollback_options: Value::Null,
        fingerprint: Arc::new(move || {
            let root = root.clone();
            async move { state(&root).await }.boxed()
        }),
        keep: Box::new(dir),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_passes_both_suites_into_an_image() {
    plan_suite::run(|| case().boxed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_makes_no_image() {
    let dir = tempfile::tempdir().expect("a directory");
    lay_out(dir.path());
    let before = state(dir.path()).await;
    let spec = |document: Value| domain::workloads::WorkloadSpec::decode(&document).expect("a valid document");
    let stop = tokio_util::sync::CancellationToken::new();
    let found = plans::survey_workload(&spec(document(dir.path(), "qcow2")), &settings(dir.path()), &stop).await.expect("a dry run");
    assert_eq!((found.files.expect("files").files, found.refusals.len()), (3, 0), "{:?}", found.refusals);
    write(&dir.path().join("images/web1.disk"), "mine");
    let refused = plans::survey_workload(&spec(document(dir.path(), "qcow2")), &settings(dir.path()), &stop).await.expect("a dry run");
    assert!(refused.refusals[0].contains("already there"), "{:?}", refused.refusals);
    std::fs::remove_file(dir.path().join("images/web1.disk")).expect("removed");
    assert_eq!(state(dir.path()).await, before);
}

/// A tree without a kernel, and a mount point in another one: both are directories of one file system then.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_machine_starts_from_is_an_image_that_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(dir.path().join("images")).expect("a directory");
    write(&dir.path().join("server/etc/fstab"), "UUID=ABCD / ext4 defaults 0 1\n/dev/sdb1 /var/lib/shop xfs defaults 0 0\n");
    write(&dir.path().join("server/var/lib/shop/order"), "one\n");
    let all = json!([{"mount_point_name": "/", "total_size": 1 << 20}, {"mount_point_name": "/var/lib/shop", "total_size": 1 << 20}]);
    let mut document = document(dir.path(), "raw");
    (document["selected_mount_points"], document["source"]["storage"]["mount_points"]) = (all.clone(), all);
    let driven = Driven::open(dir.path(), plans::registry(settings(dir.path()))).await;
    driven.start(document, false).await;
    let run = driven.completed().await;
    let report = output(&run, "finish");
    let boot = &report["image"]["boot"];
    assert_eq!((&boot["bootable"], &report["partial"], &report["summary"]["files"]), (&json!(false), &json!(false), &json!(2)), "{report:#}");
    assert!(report["warnings"].to_string().contains("no kernel") && boot["notes"].to_string().contains("/var/lib/shop is in the root's"), "{report:#}");
    let image = dir.path().join("images/web1.disk");
    assert_eq!(debugfs(&image, "cat /var/lib/shop/order"), "one\n");
    assert_eq!(debugfs(&image, "cat /boot/migration-assistant/grub.cfg"), "");
    assert_eq!(driven.rollback(Value::Null).await.state, engine::RunState::RolledBack);
    assert_eq!(names(&dir), Vec::<String>::new());
    driven.crash().await;
}

fn new_image(dir: &TempDir, format: ImageFormat) -> NewImage {
    NewImage { path: dir.path().join("images/web1.disk").display().to_string(), format, size_gib: 1 }
}

async fn put(files: &dyn FileTarget, path: &str, text: &[u8]) {
    let entry = Entry { modified_ns: Some(1), mode: Some(0o644), ..Entry::new(FilePath::from(path), EntryKind::File { size: text.len() as u64 }) };
    let body = futures::stream::iter([Ok(Bytes::copy_from_slice(text))]).boxed();
    files.put(&entry, "t", body).await.expect("written");
}

/// From nothing to a published image, each call twice.
async fn made(images: &Images, image: &NewImage) -> (Boot, Sealed) {
    for _ in 0..2 {
        images.check(image).await.expect("it can be made");
        images.begin("run", image).await.expect("begun");
    }
    let open = images.open("run", image).await.expect("open");
    let busy = images.open("run", image).await.err().expect("one at a time");
    assert!(busy.temporary, "{busy}");
    let root = open.directory("/").await.expect("the root");
    put(root.as_ref(), "etc/hostname", b"web1\n").await;
    put(root.as_ref(), "boot/vmlinuz-6.1", &kernel()).await;
    drop((open, root));
    // As after a crash: what was written is there, and the next one can go on.
    let open = images.open("run", image).await.expect("open again");
    let deep = open.directory("/srv/shop").await.expect("made");
    put(deep.as_ref(), "order", b"1").await;
    assert!(deep.location().ends_with("web1.disk:/srv/shop"), "{}", deep.location());
    let boot = open.make_bootable(&["/".to_owned()]).await.expect("bootable");
    assert_eq!(open.make_bootable(&["/".to_owned()]).await.expect("again"), boot);
    open.close().await.expect("closed");
    open.close().await.expect("closed already");
    let late = deep.remove(&FilePath::from("order")).await.expect_err("nothing is written any more");
    assert_eq!(late.kind, ErrorKind::Permission, "{late}");
    let sealed = images.seal("run", image, &boot).await.expect("sealed");
    assert_eq!(images.seal("run", image, &boot).await.expect("again").identity, sealed.identity);
    for _ in 0..2 {
        images.publish("run", image, &sealed).await.expect("published");
    }
    (boot, sealed)
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_made_whole_or_not_at_all() {
    for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(dir.path().join("images")).expect("a directory");
        let (images, image) = (images(dir.path()), new_image(&dir, format));
        let (boot, sealed) = made(&images, &image).await;
        assert_eq!((boot.bootable, boot.kernel.as_deref()), (true, Some("/boot/vmlinuz-6.1")), "{boot:?}");
        assert_eq!(names(&dir), ["web1.disk"]);
        let described = Command::new("qemu-img").args(["info", "--output=json", &image.path]).output().expect("qemu-img");
        let described: Value = serde_json::from_slice(&described.stdout).expect("JSON");
        assert_eq!((&described["format"], &described["virtual-size"]), (&json!(format.word()), &json!(1_u64 << 30)), "{described:#}");
        assert!(sealed.bytes < 64 << 20, "what is empty takes no room: {}", sealed.bytes);
        assert_eq!(images.check(&image).await.expect_err("taken").kind, ErrorKind::AlreadyExists);
        assert_eq!(loops(dir.path()).await, "");
        for _ in 0..2 {
            assert!(!images.remove("run", &image, Some(&sealed)).await.expect("removed"));
        }
        assert_eq!(names(&dir), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ours_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(dir.path().join("images")).expect("a directory");
    let (images, image) = (images(dir.path()), new_image(&dir, ImageFormat::Raw));
    images.begin("run", &image).await.expect("begun");
    let open = images.open("run", &image).await.expect("open");
    open.close().await.expect("closed");
    let sealed = images.seal("run", &image, &Boot::default()).await.expect("sealed");
    std::fs::write(&image.path, "mine").expect("a file");
    assert_eq!(images.publish("run", &image, &sealed).await.expect_err("taken").kind, ErrorKind::AlreadyExists);
    assert!(images.remove("run", &image, Some(&sealed)).await.expect("removed"), "it says that something else is there");
    assert_eq!((names(&dir), std::fs::read_to_string(&image.path).expect("mine").as_str()), (vec!["web1.disk".to_owned()], "mine"));
    let outside = NewImage { path: dir.path().join("web1.disk").display().to_string(), ..image.clone() };
    assert_eq!(images.begin("run", &outside).await.expect_err("not allowed").kind, ErrorKind::Permission);
}

/// Links of the workload lead to places in the image, never to this machine's.
#[tokio::test(flavor = "multi_thread")]
async fn no_link_leads_out_of_an_image() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(dir.path().join("images")).expect("a directory");
    let (images, image) = (images(dir.path()), new_image(&dir, ImageFormat::Raw));
    images.begin("run", &image).await.expect("begun");
    let open = images.open("run", &image).await.expect("open");
    let root = open.directory("/").await.expect("the root");
    let target = dir.path().display().to_string().into_bytes();
    let link = Entry { ..Entry::new(FilePath::from("srv"), EntryKind::Symlink { target }) };
    root.make(&link).await.expect("a link");
    let refused = open.directory("/srv/images").await.err().expect("the link leads nowhere inside");
    assert_eq!(refused.kind, ErrorKind::Internal, "{refused}");
    assert!(!dir.path().join("images/order").exists());
    open.directory(&dir.path().display().to_string()).await.expect("now it leads somewhere, inside");
    let inside = open.directory("/srv/images").await.expect("inside");
    put(inside.as_ref(), "order", b"1").await;
    assert!(!dir.path().join("images/order").exists());
    drop((open, root, inside));
    assert!(!images.remove("run", &image, None).await.expect("removed"));
    assert_eq!((names(&dir), loops(dir.path()).await.as_str()), (Vec::new(), ""));
}

fn names(dir: &TempDir) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir.path().join("images")).expect("images").flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
