//! What keeps a machine from taking more than its share of the node: a control group (version 2) of its own, where we may make one.

use super::arguments::TRANSLATIONS;
use domain::vms::VmSpec;
use std::fs;
use std::io::Result;
use std::path::{Path, PathBuf};

/// Memory beside the guest's own: QEMU itself, devices, buffers. In MiB.
const BESIDE: u64 = 256 + TRANSLATIONS;
const GROUP: &str = "migration-assistant.vms";

/// Where the groups are, or why there are none.
#[derive(Debug, Clone)]
pub(super) struct Limits(std::result::Result<PathBuf, String>);

impl Limits {
    pub fn of_this_machine() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let group = mounts.lines().find(|l| l.split(" - ").nth(1).is_some_and(|rest| rest.starts_with("cgroup2 ")));
        let mounted = group.and_then(|l| l.split(' ').nth(4));
        Self(mounted.map_or_else(|| Err("none: this machine has no control groups of version 2".to_owned()), |at| parent(Path::new(at))))
    }

    /// Puts the process into a group of its own. Says what limits it, or why nothing does.
    pub fn set(&self, id: &str, process: u32, spec: &VmSpec) -> String {
        let group = match &self.0 {
            Ok(parent) => parent.join(id),
            Err(why) => return why.clone(),
        };
        let memory = spec.memory_mib + BESIDE;
        match enter(&group, process, spec.vcpus, memory) {
            Ok(()) => format!("control group: {} processors, {memory} MiB of memory", spec.vcpus),
            Err(e) => {
                self.lift(id);
                format!("none: the control group could not be made: {e}")
            }
        }
    }

    /// The group goes; as long as a process is in it, it stays.
    pub fn lift(&self, id: &str) {
        if let Ok(parent) = &self.0 {
            let _gone_or_busy = fs::remove_dir(parent.join(id));
        }
    }
}

/// The group above those of the machines, with the controllers that limit them.
fn parent(mounted: &Path) -> std::result::Result<PathBuf, String> {
    let offered = fs::read_to_string(mounted.join("cgroup.controllers")).unwrap_or_default();
    let has = |name: &str| offered.split_ascii_whitespace().any(|c| c == name);
    if !has("cpu") || !has("memory") {
        return Err("none: control groups of version 2 have no cpu and memory controllers here".to_owned());
    }
    let group = mounted.join(GROUP);
    let made = fs::write(mounted.join("cgroup.subtree_control"), "+cpu +memory")
        .and_then(|()| fs::create_dir_all(&group))
        .and_then(|()| fs::write(group.join("cgroup.subtree_control"), "+cpu +memory"));
    made.map(|()| group).map_err(|e| format!("none: this server may not make control groups: {e}"))
}

fn enter(group: &Path, process: u32, processors: u32, memory_mib: u64) -> Result<()> {
    fs::create_dir_all(group)?;
    fs::write(group.join("cpu.max"), format!("{} 100000", u64::from(processors) * 100_000))?;
    fs::write(group.join("memory.max"), (memory_mib << 20).to_string())?;
    fs::write(group.join("cgroup.procs"), process.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_the_definitions_numbers() {
        let dir = tempfile::tempdir().unwrap();
        assert!(parent(dir.path()).unwrap_err().contains("no cpu and memory"));
        fs::write(dir.path().join("cgroup.controllers"), "cpuset cpu io memory pids\n").unwrap();
        let limits = Limits(parent(dir.path()));
        let body = serde_json::json!({"name": "n", "vcpus": 2, "memory_mib": 1024});
        let spec = VmSpec::decode(&body, &mut domain::decode::Problems::default()).unwrap();
        assert_eq!(limits.set("a", 77, &spec), "control group: 2 processors, 1536 MiB of memory");
        let read = |name: &str| fs::read_to_string(dir.path().join(GROUP).join("a").join(name)).unwrap();
        assert_eq!((read("cpu.max"), read("memory.max"), read("cgroup.procs")), ("200000 100000".into(), (1536u64 << 20).to_string(), "77".into()));
        assert_eq!(Limits(Err("none: x".into())).set("a", 77, &spec), "none: x");
    }
}
