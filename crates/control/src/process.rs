//! What this process uses, read from `/proc`. Every number is measured; what cannot be read is `None`.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A new size of the data directory is measured at most this often.
const DISK_FRESH: Duration = Duration::from_secs(30);
/// Rates are taken over at least this long.
const RATE_WINDOW: Duration = Duration::from_millis(500);
/// Entries of the data directory that are looked at, at most.
const DISK_ENTRIES: usize = 200_000;

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Usage {
    /// Percent of one core, since the last reading (the first time: since the process started).
    pub cpu_percent: Option<f64>,
    pub memory_bytes: Option<u64>,
    /// Size of the process's data directory.
    pub disk_bytes: Option<u64>,
    /// Received and sent on all interfaces that this process sees, per second; `None` until a second reading.
    pub network_rate: Option<f64>,
}

pub(crate) struct Meter {
    data_dir: PathBuf,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    reading: Option<Reading>,
    cpu_percent: Option<f64>,
    network_rate: Option<f64>,
    disk: Option<(Instant, u64)>,
}

#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    cpu_seconds: f64,
    network_bytes: u64,
}

impl Meter {
    pub fn new(data_dir: PathBuf) -> Self {
        Self { data_dir, last: Mutex::new(Last { reading: read(), ..Last::default() }) }
    }

    pub async fn usage(&self) -> Usage {
        let disk_bytes = self.disk().await;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(now) = read() {
            match last.reading {
                Some(before) if now.at - before.at >= RATE_WINDOW => {
                    let seconds = (now.at - before.at).as_secs_f64();
                    last.cpu_percent = Some((now.cpu_seconds - before.cpu_seconds).max(0.0) / seconds * 100.0);
                    last.network_rate = Some(now.network_bytes.saturating_sub(before.network_bytes) as f64 / seconds);
                    last.reading = Some(now);
                }
                Some(_) => {}
                None => last.reading = Some(now),
            }
        }
        let cpu_percent = last.cpu_percent.or_else(lifetime_cpu_percent);
        Usage { cpu_percent, memory_bytes: resident(), disk_bytes, network_rate: last.network_rate }
    }

    async fn disk(&self) -> Option<u64> {
        if let Some((at, bytes)) = self.last.lock().unwrap_or_else(PoisonError::into_inner).disk
            && at.elapsed() < DISK_FRESH
        {
            return Some(bytes);
        }
        let data_dir = self.data_dir.clone();
        let bytes = tokio::task::spawn_blocking(move || size_of(&data_dir)).await.ok()??;
        self.last.lock().unwrap_or_else(PoisonError::into_inner).disk = Some((Instant::now(), bytes));
        Some(bytes)
    }
}

fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// The fields of `/proc/self/stat` behind the command's name; the first is the state.
fn stat_fields() -> Option<Vec<String>> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_ascii_whitespace().map(str::to_owned).collect())
}

fn cpu_seconds(fields: &[String]) -> Option<f64> {
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks as f64 / ticks_per_second())
}

/// CPU time of this process so far, in seconds.
pub(crate) fn cpu() -> Option<f64> {
    cpu_seconds(&stat_fields()?)
}

fn read() -> Option<Reading> {
    Some(Reading { at: Instant::now(), cpu_seconds: cpu_seconds(&stat_fields()?)?, network_bytes: network_bytes()? })
}

fn lifetime_cpu_percent() -> Option<f64> {
    let fields = stat_fields()?;
    let started = fields.get(19)?.parse::<u64>().ok()? as f64 / ticks_per_second();
    let uptime: f64 = std::fs::read_to_string("/proc/uptime").ok()?.split_ascii_whitespace().next()?.parse().ok()?;
    Some(cpu_seconds(&fields)? / (uptime - started).max(0.1) * 100.0)
}

fn network_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/net/dev").ok()?;
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let counts = lines.filter_map(|(_, numbers)| {
        let numbers: Vec<u64> = numbers.split_ascii_whitespace().filter_map(|n| n.parse().ok()).collect();
        Some(numbers.first()? + numbers.get(8)?)
    });
    Some(counts.sum())
}

fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}

fn size_of(directory: &Path) -> Option<u64> {
    let mut waiting = vec![std::fs::read_dir(directory).ok()?];
    let (mut bytes, mut seen) = (0, 0);
    while let Some(entries) = waiting.pop() {
        for entry in entries.flatten() {
            seen += 1;
            if seen > DISK_ENTRIES {
                return Some(bytes);
            }
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => waiting.extend(std::fs::read_dir(entry.path())),
                Ok(meta) => bytes += meta.len(),
                Err(_) => {}
            }
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_very_process_is_measured() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("sub/a"), [0; 1234]).unwrap();
        let usage = Meter::new(dir.path().to_owned()).usage().await;
        assert_eq!(usage.disk_bytes, Some(1234));
        assert!(usage.memory_bytes.is_some_and(|b| b > 1 << 20), "{usage:?}");
        assert!(usage.cpu_percent.is_some_and(|p| p >= 0.0), "{usage:?}");
    }
}
