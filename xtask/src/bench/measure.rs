//! How long a command takes, and how much memory its processes have at their highest.

use crate::interrupt;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time between two looks at the memory. Each process' own high-water mark is kept by the kernel, so nothing between is missed.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy)]
pub struct Measured {
    pub seconds: f64,
    pub peak_bytes: u64,
}

/// Runs it to its end; anything but success is an error with what it said.
pub fn run(command: Command) -> Result<Measured> {
    run_and_read(command).map(|(measured, _)| measured)
}

/// The same, with what it wrote to its standard output.
pub fn run_and_read(mut command: Command) -> Result<(Measured, String)> {
    let file = |name: &str| std::env::temp_dir().join(format!("migration-assistant-bench-{}.{name}", std::process::id()));
    let (output, said) = (file("out"), file("log"));
    command.stdin(Stdio::null()).stdout(std::fs::File::create(&output)?).stderr(std::fs::File::create(&said)?);
    let begun = Instant::now();
    let mut child = command.spawn().context("start")?;
    let (over, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let watcher = {
        let (over, peak, pid) = (over.clone(), peak.clone(), child.id());
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                peak.fetch_max(tree_bytes(pid), Ordering::Relaxed);
                std::thread::sleep(LOOK);
            }
        })
    };
    let status = interrupt::guard(&mut child);
    let seconds = begun.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    let watched = watcher.join();
    let words = std::fs::read_to_string(&said).unwrap_or_default();
    let result = std::fs::read_to_string(&output).unwrap_or_default();
    std::fs::remove_file(&said)?;
    std::fs::remove_file(&output)?;
    if !status?.success() {
        let tail: Vec<&str> = result.lines().chain(words.lines()).rev().take(15).collect();
        bail!("it failed: {}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    if watched.is_err() {
        bail!("the memory was not watched");
    }
    Ok((Measured { seconds, peak_bytes: peak.load(Ordering::Relaxed) }, result))
}

/// By time; the memory is that of the worst run.
pub fn median(runs: &[Measured]) -> Measured {
    let mut seconds: Vec<f64> = runs.iter().map(|r| r.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    Measured { seconds: seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN), peak_bytes: runs.iter().map(|r| r.peak_bytes).max().unwrap_or(0) }
}

/// High-water marks of a process and of all below it, added up.
fn tree_bytes(root: u32) -> u64 {
    let parents = parents();
    let mut family = vec![root];
    let mut next = 0;
    while next < family.len() {
        let parent = family[next];
        family.extend(parents.iter().filter(|(_, p)| **p == parent).map(|(child, _)| *child));
        next += 1;
    }
    family.into_iter().filter_map(high_water).sum()
}

/// Process → its parent.
fn parents() -> BTreeMap<u32, u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let parent_of = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything; the parent is the second field after it.
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter_map(|pid| Some((pid, parent_of(pid)?))).collect()
}

fn high_water(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_memory_of_children_are_seen() {
        let mut command = Command::new("bash");
        command.args(["-c", "bash -c 'x=$(head -c 30000000 /dev/zero | tr \"\\0\" x); sleep 0.2; echo ${#x}'"]);
        let measured = run(command).unwrap();
        assert!(measured.seconds >= 0.2 && measured.peak_bytes > 25_000_000, "{measured:?}");
        let mut command = Command::new("bash");
        command.args(["-c", "echo why; exit 3"]);
        assert!(run(command).unwrap_err().to_string().contains("why"));
    }
}
