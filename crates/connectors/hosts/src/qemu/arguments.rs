//! QEMU's command line. Nothing in it passes through a shell, and names of files are values of JSON, so that no character in them means anything.

use crate::program::QEMU;
use domain::vms::VmSpec;
use serde_json::json;

/// Memory that TCG may fill with translated code, in MiB.
pub(super) const TRANSLATIONS: u64 = 256;

/// The whole command; its working directory is the machine's. `setsid` gives it a session of its own, so that it outlives ours.
pub(super) fn command(id: &str, spec: &VmSpec, accelerator: &str) -> Vec<String> {
    let kvm = accelerator == "kvm";
    let mut words: Vec<String> = ["setsid", QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-nic", "none"].map(str::to_owned).into();
    let mut add = |name: &str, value: String| words.extend([name.to_owned(), value]);
    add("-name", format!("guest={id}"));
    if let Ok(uuid) = uuid::Uuid::parse_str(id) {
        add("-uuid", uuid.hyphenated().to_string());
    }
    add("-machine", "q35,vmport=off".to_owned());
    add("-accel", if kvm { "kvm".to_owned() } else { format!("tcg,tb-size={TRANSLATIONS}") });
    add("-cpu", if kvm { "host" } else { "max" }.to_owned());
    add("-smp", spec.vcpus.to_string());
    add("-m", format!("{}M", spec.memory_mib));
    add("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny".to_owned());
    add("-pidfile", "qemu.pid".to_owned());
    add("-chardev", "socket,id=qmp,path=qmp.sock,server=on,wait=off".to_owned());
    add("-mon", "chardev=qmp,mode=control".to_owned());
    add("-chardev", "file,id=console,path=console.log,append=on".to_owned());
    add("-serial", "chardev:console".to_owned());
    add("-blockdev", json!({"driver": "qcow2", "node-name": "disk", "file": {"driver": "file", "filename": "disk.qcow2"}}).to_string());
    add("-device", "virtio-blk-pci,drive=disk,bootindex=1".to_owned());
    add("-device", "virtio-rng-pci".to_owned());
    if let Some(kernel) = &spec.kernel {
        add("-kernel", kernel.clone());
        add("-append", spec.append.clone().unwrap_or_else(|| "console=ttyS0".to_owned()));
    }
    if let Some(initrd) = &spec.initrd {
        add("-initrd", initrd.clone());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::decode::Problems;

    #[test]
    fn names_of_files_are_single_words() {
        let body = json!({"name": "a,b=c", "kernel": "/k,x=y z", "append": "a=b,c -device x", "vcpus": 3, "memory_mib": 96});
        let spec = VmSpec::decode(&body, &mut Problems::default()).unwrap();
        let words = command("0198e2b4c5d67f80a1b2c3d4e5f60718", &spec, "tcg");
        let behind = |name: &str| words.iter().position(|w| w == name).map(|at| words[at + 1].as_str());
        assert_eq!((behind("-kernel"), behind("-append"), behind("-m"), behind("-smp")), (Some("/k,x=y z"), Some("a=b,c -device x"), Some("96M"), Some("3")));
        assert_eq!(behind("-name"), Some("guest=0198e2b4c5d67f80a1b2c3d4e5f60718"), "the machine's own name is not QEMU's business");
        assert_eq!((behind("-uuid"), behind("-cpu")), (Some("0198e2b4-c5d6-7f80-a1b2-c3d4e5f60718"), Some("max")));
        assert!(behind("-accel").is_some_and(|a| a.starts_with("tcg,")));
    }
}
