//! Whatever the tests of a run have started ends with the run, also what made a session of its own and outlived the test that started it.
//!
//! A process whose parent ends becomes a child of its nearest ancestor that collects such orphans; as long as [`Leftovers`] lives, that is this
//! program.

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};

/// How often what is left is looked for at most: a process that ends may leave others behind.
const MAX_ROUNDS: usize = 20;

/// Dropping it ends all processes that descend from this one and were begun after it.
pub struct Leftovers(());

impl Leftovers {
    pub fn collect() -> Self {
        if let Err(error) = set_child_subreaper(Some(getpid())) {
            eprintln!("xtask: processes that tests leave behind will not be ended: {error}");
        }
        Self(())
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        let mut ended = 0;
        for _ in 0..MAX_ROUNDS {
            let left = descendants(getpid().as_raw_pid(), &processes());
            if left.is_empty() {
                break;
            }
            ended += left.len();
            for pid in left.into_iter().filter_map(Pid::from_raw) {
                eprintln!("xtask: ended what a test left behind: {} ({})", pid.as_raw_pid(), command_line(pid));
                // It may have ended by itself.
                let _ = kill_process(pid, Signal::KILL);
            }
            // The dead are buried; those whose parent lived on come to us in the next round.
            while matches!(wait(WaitOptions::empty()), Ok(Some(_))) {}
        }
        if ended > 0 {
            eprintln!("xtask: {ended} processes were left behind");
        }
        let _ = set_child_subreaper(None);
    }
}

/// Every process and its parent.
fn processes() -> Vec<(i32, i32)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    ids.filter_map(|id| Some((id, parent_of(&std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?)?))).collect()
}

/// The parent's number in a line of `/proc/*/stat`; the name before it may hold anything.
fn parent_of(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn descendants(of: i32, all: &[(i32, i32)]) -> Vec<i32> {
    let mut found = vec![of];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        found.extend(all.iter().filter(|(_, p)| *p == parent).map(|(id, _)| *id));
        at += 1;
    }
    found.split_off(1)
}

fn command_line(pid: Pid) -> String {
    let bytes = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_pid())).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").chars().take(100).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn descendants_are_found_below_descendants() {
        assert_eq!(descendants(1, &[(2, 1), (3, 2), (4, 9), (5, 3)]), [2, 3, 5]);
        assert_eq!(parent_of("12 (a) b) S 7 12 12 0"), Some(7));
    }

    /// In a process of its own: it would end what the tests beside it have started.
    #[test]
    fn dropping_ends_a_process_of_an_own_session_whose_parent_is_gone() {
        let mut alone = Command::new(std::env::current_exe().unwrap());
        alone.args(["--exact", "leftovers::tests::dropping_in_a_process_of_its_own", "--ignored"]);
        assert!(alone.stdout(Stdio::null()).status().unwrap().success());
    }

    #[test]
    #[ignore = "run by the test above"]
    fn dropping_in_a_process_of_its_own() {
        let leftovers = Leftovers::collect();
        let output = Command::new("sh").args(["-c", "setsid sleep 600 >/dev/null 2>&1 & echo $!"]).stderr(Stdio::null()).output().unwrap();
        let orphan: i32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        assert!(std::path::Path::new(&format!("/proc/{orphan}")).exists());
        drop(leftovers);
        assert!(!std::path::Path::new(&format!("/proc/{orphan}")).exists());
    }
}
