//! Wall-clock time and peak memory of a command with all its processes.

use crate::interrupt;
use anyhow::{Context, Result, bail};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy)]
pub struct Measured {
    pub seconds: f64,
    /// Bytes.
    pub peak: u64,
}

/// Runs a command in a process group of its own and looks at the group's memory until it ends.
pub fn command(command: &mut Command) -> Result<Measured> {
    let log = tempfile()?;
    let begun = Instant::now();
    let mut child =
        command.process_group(0).stdin(Stdio::null()).stdout(log.1.try_clone()?).stderr(log.1).spawn().with_context(|| format!("start {command:?}"))?;
    let (group, mut peak) = (child.id(), 0);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if interrupt::asked() {
            child.kill()?;
        }
        peak = peak.max(memory_of_group(group));
        std::thread::sleep(Duration::from_millis(10));
    };
    let seconds = begun.elapsed().as_secs_f64();
    if !status.success() {
        bail!("ended with {status}: {}", tail(&std::fs::read_to_string(&log.0).unwrap_or_default()));
    }
    std::fs::remove_file(&log.0)?;
    Ok(Measured { seconds, peak })
}

fn tempfile() -> Result<(std::path::PathBuf, std::fs::File)> {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("migration-assistant-bench-{}-{n}.log", std::process::id()));
    let file = std::fs::File::create(&path)?;
    Ok((path, file))
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

/// Sum of the processes' own high-water marks, in bytes.
fn memory_of_group(group: u32) -> u64 {
    let Ok(entries) = std::fs::read_dir("/proc") else { return 0 };
    entries
        .flatten()
        .filter(|e| e.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit))
        .filter(|e| process_group(&e.path()) == Some(group))
        .filter_map(|e| high_water(&e.path()))
        .sum()
}

fn process_group(process: &std::path::Path) -> Option<u32> {
    let stat = std::fs::read_to_string(process.join("stat")).ok()?;
    // The name is in parentheses and may hold anything; the fields after it are state, parent, group.
    stat.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()
}

fn high_water(process: &std::path::Path) -> Option<u64> {
    let status = std::fs::read_to_string(process.join("status")).ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib << 10)
}

pub fn median(mut all: Vec<Measured>) -> Measured {
    all.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let peak = all.iter().map(|m| m.peak).max().unwrap_or(0);
    Measured { seconds: all.get(all.len() / 2).map_or(f64::NAN, |m| m.seconds), peak }
}
