//! What runs guests: the processor (KVM) where a guest really boots with it, else a program (TCG).
//!
//! A device `/dev/kvm` that can be opened says little: nested in other machines it often cannot run a guest. So one is booted: a boot sector of a few
//! bytes that asks QEMU to end with a number. The answer is kept until the machine boots again or QEMU changes.

use super::Qemu;
use super::process::boot;
use crate::program;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Longest that the boot sector may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// `mov al, 42; out 0xf4, al; hlt; jmp -3`: the device there ends QEMU with (42 << 1) | 1.
const SECTOR: [u8; 7] = [0xb0, 0x2a, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd];
const ANSWER: i32 = 85;

#[derive(Serialize, Deserialize)]
struct Known {
    boot: String,
    version: String,
    accelerator: String,
}

impl Qemu {
    /// `kvm` or `tcg`.
    pub(super) async fn accelerator(&self) -> String {
        self.accelerator.get_or_init(|| found(&self.directory)).await.clone()
    }
}

async fn found(directory: &Path) -> String {
    let version = program::version().await.unwrap_or_default();
    let file = directory.join(".accelerator.json");
    let known = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Known>(&bytes).ok());
    if let Some(known) = known.filter(|k| k.boot == boot() && k.version == version) {
        return known.accelerator;
    }
    let accelerator = if Path::new("/dev/kvm").exists() && boots(directory).await { "kvm" } else { "tcg" }.to_owned();
    let known = Known { boot: boot(), version, accelerator: accelerator.clone() };
    if let Err(error) = std::fs::write(&file, serde_json::to_vec(&known).unwrap_or_default()) {
        tracing::warn!(%error, "whether KVM works could not be kept; the next start tries again");
    }
    tracing::info!(accelerator, "found by booting a guest");
    accelerator
}

async fn boots(directory: &Path) -> bool {
    let disk = directory.join(".boot-sector");
    let mut bytes = vec![0; 1 << 20];
    bytes[..SECTOR.len()].copy_from_slice(&SECTOR);
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    if std::fs::create_dir_all(directory).and_then(|()| std::fs::write(&disk, bytes)).is_err() {
        return false;
    }
    let drive = format!("{}", serde_json::json!({"driver": "raw", "node-name": "d", "read-only": true, "file": {"driver": "file", "filename": disk}}));
    let mut command = Command::new(program::QEMU);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc,accel=kvm", "-cpu", "host", "-m", "32"]);
    command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-blockdev", &drive, "-device", "virtio-blk-pci,drive=d"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(PATIENCE, command.status()).await;
    let _gone = std::fs::remove_file(&disk);
    matches!(ended, Ok(Ok(status)) if status.code() == Some(ANSWER))
}
