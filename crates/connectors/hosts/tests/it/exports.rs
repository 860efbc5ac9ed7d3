//! Disks as files and back, with the real tools.

use connectors_hosts::Qemu;
use domain::vms::ImageFormat;
use ports::ErrorKind;
use ports::disks::VmDisks;
use std::path::Path;
use std::process::Command;

const RUN: &str = "run";

fn image_tool(arguments: &[&str]) {
    let output = Command::new("qemu-img").args(arguments).output().expect("qemu-img");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a name")
}

/// A machine whose disk lies over an image: `base` at its beginning, and whatever the layer says.
fn machine(dir: &Path, id: &str) -> Qemu {
    let (base, home) = (dir.join("base.raw"), dir.join("vms").join(id));
    let mut content = vec![0; 1 << 20];
    content[..6].copy_from_slice(b"below\n");
    std::fs::write(&base, content).expect("an image");
    std::fs::create_dir_all(&home).expect("a directory");
    image_tool(&["create", "-q", "-f", "qcow2", "-b", text(&base), "-F", "raw", text(&home.join("disk.qcow2")), "2M"]);
    Qemu::new(dir.join("vms"), Vec::new(), None)
}

/// What a guest would read.
fn read(image: &Path) -> Vec<u8> {
    let raw = image.with_extension("seen");
    image_tool(&["convert", "-O", "raw", text(image), text(&raw)]);
    let bytes = std::fs::read(&raw).expect("bytes");
    std::fs::remove_file(raw).expect("gone");
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_leaves_whole_and_becomes_another_machines() {
    let dir = tempfile::tempdir().expect("a directory");
    let host = machine(dir.path(), "aa");
    let staging = host.staging("aa", RUN).await.expect("a directory");
    std::fs::write(staging.join(".cut-off.new"), b"half").expect("what a crash left");
    for (name, compress) in [("plain.qcow2", false), ("small.qcow2", true)] {
        let file = host.export("aa", RUN, name, compress).await.expect("exported");
        assert_eq!((file.size, file.bytes), (2 << 20, std::fs::metadata(staging.join(name)).expect("a file").len()));
        assert_eq!(host.export("aa", RUN, name, compress).await.expect("again"), file);
        assert_eq!(host.examine("aa", RUN, name, ImageFormat::Qcow2).await.expect("whole"), file);
    }
    std::fs::remove_file(dir.path().join("base.raw")).expect("it stands by itself");
    assert!(!staging.join(".cut-off.new").exists());
    let to = host.staging("bb", RUN).await.expect("a directory");
    std::fs::rename(staging.join("small.qcow2"), to.join("image.qcow2")).expect("moved");
    host.adopt("bb", RUN, "image.qcow2", ImageFormat::Qcow2).await.expect("adopted");
    host.adopt("bb", RUN, "image.qcow2", ImageFormat::Qcow2).await.expect("twice is once");
    let seen = read(&dir.path().join("vms/bb/disk.qcow2"));
    assert!(seen.len() == 2 << 20 && seen.starts_with(b"below\n"));
    for id in ["aa", "bb"] {
        host.clear(id, RUN).await.expect("cleared");
        host.clear(id, RUN).await.expect("twice");
        let left: Vec<_> = std::fs::read_dir(dir.path().join("vms").join(id)).expect("its directory").flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, ["disk.qcow2"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_image_becomes_a_disk_also_after_a_crash() {
    let dir = tempfile::tempdir().expect("a directory");
    let host = machine(dir.path(), "aa");
    let staging = host.staging("bb", RUN).await.expect("a directory");
    let raw = staging.join("image.raw");
    std::fs::copy(dir.path().join("base.raw"), &raw).expect("an image");
    host.adopt("bb", RUN, "image.raw", ImageFormat::Raw).await.expect("adopted");
    assert!(!raw.exists() && read(&dir.path().join("vms/bb/disk.qcow2")).starts_with(b"below\n"));
    // The end came between the disk and the removal of what it was made of.
    std::fs::copy(dir.path().join("base.raw"), &raw).expect("left over");
    host.adopt("bb", RUN, "image.raw", ImageFormat::Raw).await.expect("goes on");
    assert!(!raw.exists());
}

/// What somebody else made must not lead its guest to other files of this machine.
#[tokio::test(flavor = "multi_thread")]
async fn images_that_point_elsewhere_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let host = machine(dir.path(), "aa");
    let staging = host.staging("bb", RUN).await.expect("a directory");
    image_tool(&["create", "-q", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", text(&staging.join("backing.qcow2")), "1M"]);
    let data = format!("data_file={}", text(&staging.join("outside.raw")));
    image_tool(&["create", "-q", "-f", "qcow2", "-o", &data, text(&staging.join("data.qcow2")), "1M"]);
    std::fs::write(staging.join("rubbish.qcow2"), b"QFI\xfb and no more").expect("a file");
    for name in ["backing.qcow2", "data.qcow2", "rubbish.qcow2"] {
        let examined = host.examine("bb", RUN, name, ImageFormat::Qcow2).await.expect_err(name);
        let adopted = host.adopt("bb", RUN, name, ImageFormat::Qcow2).await.expect_err(name);
        assert_eq!((examined.kind, adopted.kind), (ErrorKind::Invalid, ErrorKind::Invalid), "{name}: {examined}");
    }
    assert!(!dir.path().join("vms/bb/disk.qcow2").exists());
    for name in ["../aa/disk.qcow2", ".hidden", ""] {
        assert_eq!(host.examine("bb", RUN, name, ImageFormat::Qcow2).await.expect_err(name).kind, ErrorKind::Name, "{name}");
    }
    let none = host.export("cc", RUN, "a.qcow2", false).await.expect_err("no such machine");
    assert_eq!(none.kind, ErrorKind::NotFound, "{none}");
}
