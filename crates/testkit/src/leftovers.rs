//! A directory for one test. When the test ends, well or with a panic, every process that works in it is ended, whoever's child it is; then it is removed.

use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// See the module.
#[derive(Debug)]
pub struct TestDirectory {
    // Before the directory: fields go in this order.
    processes: ProcessesBelow,
    dir: TempDir,
}

impl TestDirectory {
    /// # Panics
    /// When the system gives no directory.
    #[expect(clippy::new_without_default, reason = "it makes something on the disk")]
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self { processes: ProcessesBelow(dir.path().to_owned()), dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Processes that work in it now.
    pub fn processes(&self) -> Vec<u32> {
        self.processes.found()
    }
}

/// Dropping it ends the processes whose working directory or command line lies below a directory.
#[derive(Debug)]
pub struct ProcessesBelow(pub PathBuf);

impl ProcessesBelow {
    /// Their ids, without this process's own.
    pub fn found(&self) -> Vec<u32> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let ids = entries.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
        ids.filter(|id| *id != std::process::id() && self.works_here(*id)).collect()
    }

    fn works_here(&self, id: u32) -> bool {
        let at_work = std::fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|cwd| cwd.starts_with(&self.0));
        let named = self.0.as_os_str().as_encoded_bytes();
        at_work || std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.windows(named.len()).any(|w| w == named))
    }
}

impl Drop for ProcessesBelow {
    fn drop(&mut self) {
        for id in self.found() {
            // It may have ended meanwhile.
            let _gone = Command::new("kill").args(["-9", &id.to_string()]).status();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_a_test_that_panics_are_ended() {
        let mut started = None;
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let dir = TestDirectory::new();
            let child = Command::new("setsid").args(["sleep", "600"]).current_dir(dir.path()).spawn().expect("setsid");
            started = Some(child);
            while dir.processes().is_empty() {
                std::thread::yield_now();
            }
            panic!("the test fails");
        }));
        assert!(ended.is_err());
        assert!(!started.expect("a process").wait().expect("its end").success());
    }
}
