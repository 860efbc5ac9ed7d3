//! Chooses what runs a guest's instructions: the processor (KVM) or QEMU's translator (TCG).
//!
//! A device `/dev/kvm` that can be opened says little: nested in other machines it may run a boot sector and then hang a Linux kernel. So what will
//! be run is tried: a kernel up to its first line on the console, the machine's own kernel if it has one. The answer is kept until the node boots
//! again, or QEMU or the kernel changes. A start with KVM is watched all the same (`signs_of_life`).

use super::Qemu;
use super::process::boot;
use super::signs_of_life::SETUP_LINE;
use crate::program;
use domain::vms::VmSpec;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, UNIX_EPOCH};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::Mutex;

/// Longest that a kernel may take to its first line.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// A boot sector that runs says nothing of a kernel.
const NO_KERNEL: &str = "there is no Linux kernel at hand to try KVM with (vmlinuz… in /boot or in a directory of images); put one there, or start the server with --accelerator kvm";
/// Answers that are kept; more kernels than that on one node are tried again.
const MAX_ANSWERS: usize = 64;
/// What the machine of this process has shown so far, for every directory of machines.
static KNOWN: Mutex<Option<Known>> = Mutex::const_new(None);

/// The operator's wish.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Accelerator {
    /// KVM where a guest really runs with it, else TCG.
    #[default]
    Auto,
    /// KVM, come what may.
    Kvm,
    Tcg,
}

/// What a start uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    /// `kvm` or `tcg`.
    pub name: &'static str,
    /// Why it is not KVM.
    pub reason: Option<String>,
    /// A start that shows no sign of life is done again with TCG.
    pub may_fall_back: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    boot: String,
    version: String,
    /// For each kernel: nothing when it runs with KVM, else why it does not.
    answers: BTreeMap<String, Option<String>>,
}

impl Choice {
    fn kvm(may_fall_back: bool) -> Self {
        Self { name: "kvm", reason: None, may_fall_back }
    }

    pub fn tcg(reason: impl Into<String>) -> Self {
        Self { name: "tcg", reason: Some(reason.into()), may_fall_back: false }
    }
}

impl Qemu {
    /// What the machine will be started with.
    pub(super) async fn choose_accelerator(&self, spec: &VmSpec) -> Choice {
        match self.accelerator {
            Accelerator::Kvm => return Choice::kvm(false),
            Accelerator::Tcg => return Choice::tcg("the server was started with --accelerator tcg"),
            Accelerator::Auto if !Path::new("/dev/kvm").exists() => return Choice::tcg("this node has no /dev/kvm"),
            Accelerator::Auto => {}
        }
        let Some(kernel) = self.probe_kernel(spec) else { return Choice::tcg(NO_KERNEL) };
        let subject = subject(&kernel);
        let mut known = KNOWN.lock().await;
        let now = self.current(known.take()).await;
        let (now, answer) = match now.answers.get(&subject).cloned() {
            Some(answer) => (now, answer),
            None => self.probe(now, subject, &kernel).await,
        };
        *known = Some(now);
        answer.map_or_else(|| Choice::kvm(true), Choice::tcg)
    }

    /// A start with KVM has shown that it does not work for this machine's kernel.
    pub(super) async fn kvm_failed(&self, spec: &VmSpec, reason: &str) {
        let Some(kernel) = self.probe_kernel(spec) else { return };
        let mut known = KNOWN.lock().await;
        let mut now = self.current(known.take()).await;
        now.answers.insert(subject(&kernel), Some(reason.to_owned()));
        self.keep(&now);
        *known = Some(now);
    }

    async fn probe(&self, mut now: Known, subject: String, kernel: &Path) -> (Known, Option<String>) {
        let answer = runs_kernel(kernel).await;
        tracing::info!(kvm = answer.is_ok(), kernel = subject, reason = answer.as_ref().err(), "tried whether guests run with KVM");
        if now.answers.len() >= MAX_ANSWERS {
            now.answers.clear();
        }
        now.answers.insert(subject, answer.clone().err());
        self.keep(&now);
        (now, answer.err())
    }

    /// The answers that hold for this boot of the node and this QEMU.
    async fn current(&self, known: Option<Known>) -> Known {
        let (boot, version) = (boot(), program::version().await.unwrap_or_default());
        let read = || serde_json::from_slice::<Known>(&std::fs::read(self.answers()).ok()?).ok();
        let fits = |k: &Known| k.boot == boot && k.version == version;
        let kept = known.filter(fits).or_else(|| read().filter(fits));
        kept.unwrap_or_else(|| Known { boot: boot.clone(), version: version.clone(), answers: BTreeMap::new() })
    }

    fn keep(&self, known: &Known) {
        let written = std::fs::create_dir_all(&self.directory).and_then(|()| std::fs::write(self.answers(), serde_json::to_vec(known).unwrap_or_default()));
        if let Err(error) = written {
            tracing::warn!(%error, "whether KVM works could not be kept; the next server tries again");
        }
    }

    fn answers(&self) -> PathBuf {
        self.directory.join(".accelerator.json")
    }

    /// The machine's own kernel; else one that lies at hand on this node.
    fn probe_kernel(&self, spec: &VmSpec) -> Option<PathBuf> {
        let own = spec.kernel.as_ref().map(PathBuf::from);
        own.or_else(|| self.image_roots.iter().map(PathBuf::as_path).chain([Path::new("/boot")]).find_map(kernel_in))
    }
}

/// The last kernel by name in this very directory.
fn kernel_in(directory: &Path) -> Option<PathBuf> {
    let names = std::fs::read_dir(directory).ok()?.flatten().filter(|e| e.file_name().to_string_lossy().starts_with("vmlinuz"));
    names.map(|e| e.path()).filter(|path| path.is_file()).max()
}

/// What an answer is about. A kernel that was replaced is another one.
fn subject(kernel: &Path) -> String {
    let meta = std::fs::metadata(kernel).ok();
    let modified = meta.as_ref().and_then(|m| m.modified().ok()).and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    format!("{} ({} bytes, {})", kernel.display(), meta.map_or(0, |m| m.len()), modified.as_nanos())
}

fn probe_command() -> Command {
    let mut command = Command::new(program::QEMU);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-nic", "none", "-no-reboot", "-accel", "kvm", "-cpu", "host"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs the kernel up to its first line.
async fn runs_kernel(kernel: &Path) -> Result<(), String> {
    let mut command = probe_command();
    command.args(["-machine", "q35,vmport=off", "-m", "256M", "-serial", "stdio", "-append", "console=ttyS0 panic=-1", "-kernel"]).arg(kernel);
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
    let Some(output) = child.stdout.take() else { return Err("the console of a guest could not be read".to_owned()) };
    let mut lines = BufReader::new(output).split(b'\n');
    let first = async {
        while let Ok(Some(line)) = lines.next_segment().await {
            let text = String::from_utf8_lossy(&line);
            if !text.trim().is_empty() && !text.contains(SETUP_LINE) {
                return true;
            }
        }
        false
    };
    let seen = tokio::time::timeout(PROBE_TIMEOUT, first).await;
    if seen == Ok(true) {
        // It may have ended by itself meanwhile.
        let _ended = child.kill().await;
        return Ok(());
    }
    if seen.is_err() {
        let _ended = child.kill().await;
        return Err(format!("with KVM a kernel wrote nothing within {} s", PROBE_TIMEOUT.as_secs()));
    }
    let output = child.wait_with_output().await.map_err(|e| e.to_string())?;
    Err(format!("with KVM QEMU ended at once: {}", program::words(&output.stderr)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_kernel_without_own_kernel_is_the_newest_at_hand() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["vmlinuz-6.1.0-1", "vmlinuz-6.1.0-2", "initrd.img-6.1.0-9"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let host = Qemu::new(dir.path().join("vms"), vec![dir.path().to_owned()], None);
        let spec = |body| VmSpec::decode(&body, &mut domain::decode::Problems::default()).unwrap();
        let empty = spec(serde_json::json!({"name": "n"}));
        assert_eq!(host.probe_kernel(&empty), Some(dir.path().join("vmlinuz-6.1.0-2")));
        let own = spec(serde_json::json!({"name": "n", "kernel": "/k"}));
        assert_eq!(host.probe_kernel(&own), Some(PathBuf::from("/k")));
    }

    #[test]
    fn subject_of_a_replaced_kernel_differs() {
        let dir = tempfile::tempdir().unwrap();
        let kernel = dir.path().join("vmlinuz");
        std::fs::write(&kernel, "one").unwrap();
        let before = subject(&kernel);
        std::fs::write(&kernel, "another").unwrap();
        assert_ne!(subject(&kernel), before);
    }

    #[tokio::test]
    async fn choose_accelerator_follows_the_operator() {
        let dir = tempfile::tempdir().unwrap();
        let spec = VmSpec::decode(&serde_json::json!({"name": "n"}), &mut domain::decode::Problems::default()).unwrap();
        let host = |wish| Qemu::new(dir.path(), Vec::new(), None).accelerated_by(wish);
        assert_eq!(host(Accelerator::Kvm).choose_accelerator(&spec).await, Choice::kvm(false));
        assert_eq!(host(Accelerator::Tcg).choose_accelerator(&spec).await.name, "tcg");
    }

    /// What is no kernel never says a line, with whatever KVM there is.
    #[tokio::test]
    async fn choose_accelerator_is_tcg_for_a_kernel_that_says_nothing_and_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let kernel = dir.path().join("vmlinuz");
        std::fs::write(&kernel, vec![0; 4096]).unwrap();
        let spec = VmSpec::decode(&serde_json::json!({"name": "n", "kernel": kernel}), &mut domain::decode::Problems::default()).unwrap();
        let host = Qemu::new(dir.path().join("vms"), vec![dir.path().to_owned()], None);
        let choice = host.choose_accelerator(&spec).await;
        assert_eq!((choice.name, choice.reason.is_some()), ("tcg", true));
        assert_eq!(host.choose_accelerator(&spec).await, choice);
    }
}
