//! Watches a machine that was started with KVM until its guest shows a sign of life.
//!
//! A guest that KVM hangs looks healthy from outside: the process is there and QMP answers. It does not write on its console, does not use its disk,
//! and its processors never rest. One of the three, after the firmware's own moment, is a sign of life.

use super::place::Place;
use super::process::{self, Process};
use super::qmp;
use ports::{ConnectorError, ErrorKind, Result};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// How often the signs are read.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long a guest is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    /// What the firmware does with processors and disk in this time after the start counts for nothing.
    pub firmware: Duration,
    /// Longest that a guest may take to its first sign.
    pub timeout: Duration,
}

pub(super) const WATCH: Watch = Watch { firmware: Duration::from_secs(2), timeout: Duration::from_secs(20) };
/// A kernel's real-mode part writes this line, where its command line asks for early messages; it runs where the kernel itself hangs.
pub(super) const SETUP_LINE: &str = "early console in setup code";

/// Counters that only grow. `None`: QEMU does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counters {
    disk: Option<u64>,
    rests: Option<u64>,
}

impl Counters {
    fn moved_since(self, before: Self) -> bool {
        let moved = |now: Option<u64>, then: Option<u64>| matches!((now, then), (Some(now), Some(then)) if now > then);
        moved(self.disk, before.disk) || moved(self.rests, before.rests)
    }
}

/// Waits for a sign of life. `console` is where its console's log ended before the start.
///
/// # Errors
/// [`ErrorKind::TimedOut`] when there is none in time, [`ErrorKind::Interrupted`] when QEMU died meanwhile. One that the guest switched off has lived.
pub(super) async fn wait(place: &Place, console: u64, watch: Watch) -> Result<()> {
    let begun = Instant::now();
    let mut first = None;
    loop {
        if has_written(place, console)? {
            return Ok(());
        }
        if Process::of(place)?.is_none() {
            let ending = process::ending(place);
            return if ending.clean { Ok(()) } else { Err(error(ErrorKind::Interrupted, place, ending.reason)) };
        }
        if begun.elapsed() >= watch.firmware
            && let Ok(now) = counters(place).await
            && now.moved_since(*first.get_or_insert(now))
        {
            return Ok(());
        }
        if begun.elapsed() >= watch.timeout {
            let seconds = watch.timeout.as_secs();
            let reason = format!("within {seconds} s the guest wrote nothing, did not use its disk, and its processors never rested");
            return Err(error(ErrorKind::TimedOut, place, reason));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn error(kind: ErrorKind, place: &Place, reason: String) -> ConnectorError {
    ConnectorError::new(kind, "start", format!("virtual machine {}", place.id), reason)
}

/// Length of the console's log.
pub(super) fn console_length(place: &Place) -> u64 {
    std::fs::metadata(place.file("console.log")).map_or(0, |m| m.len())
}

fn has_written(place: &Place, from: u64) -> Result<bool> {
    let text = super::console::tail(place, from)?;
    Ok(!String::from_utf8_lossy(&text).replace(SETUP_LINE, "").trim_matches(|c: char| c.is_whitespace() || c == '\0').is_empty())
}

async fn counters(place: &Place) -> Result<Counters> {
    let mut talk = qmp::Talk::open(place).await?;
    let disks = talk.execute("query-blockstats", json!({})).await?;
    // Older programs than QEMU 7.1 do not know it.
    let processors = talk.execute("query-stats", json!({"target": "vcpu"})).await.unwrap_or(Value::Null);
    Ok(Counters { disk: disk_operations(&disks), rests: rests(&processors) })
}

fn disk_operations(answer: &Value) -> Option<u64> {
    let disks = answer.as_array()?.iter().map(|disk| &disk["stats"]);
    disks.map(|s| Some(s["rd_operations"].as_u64()? + s["wr_operations"].as_u64()?)).sum()
}

/// How often processors had nothing to do.
fn rests(answer: &Value) -> Option<u64> {
    let all = answer.as_array()?.iter().filter_map(|part| part["stats"].as_array()).flatten();
    let halts = all.filter(|s| s["name"] == "halt_exits").filter_map(|s| s["value"].as_u64());
    halts.fold(None, |sum, n| Some(sum.unwrap_or(0) + n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_from_what_qemu_says() {
        let disks = json!([{"device": "", "stats": {"rd_operations": 7, "wr_operations": 2}}, {"stats": {"rd_operations": 1, "wr_operations": 0}}]);
        assert_eq!(disk_operations(&disks), Some(10));
        let processor = |n| json!({"provider": "kvm", "stats": [{"name": "exits", "value": 99}, {"name": "halt_exits", "value": n}]});
        assert_eq!(rests(&json!([processor(3), processor(4)])), Some(7));
        assert_eq!((rests(&json!([])), rests(&Value::Null), disk_operations(&Value::Null)), (None, None, None));
    }

    #[test]
    fn counters_that_stand_still_are_no_sign() {
        let at = |disk, rests| Counters { disk, rests };
        assert!(!at(Some(7), Some(1)).moved_since(at(Some(7), Some(1))));
        assert!(at(Some(7), Some(2)).moved_since(at(Some(7), Some(1))));
        assert!(at(Some(8), None).moved_since(at(Some(7), None)));
        assert!(!at(Some(8), None).moved_since(at(None, None)));
    }

    #[test]
    fn the_setup_line_is_no_sign() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path(), "a").unwrap();
        place.make().unwrap();
        std::fs::write(place.file("console.log"), "of the start before\n").unwrap();
        let from = console_length(&place);
        assert!(!has_written(&place, from).unwrap());
        std::fs::write(place.file("console.log"), format!("of the start before\n{SETUP_LINE}\r\n")).unwrap();
        assert!(!has_written(&place, from).unwrap());
        std::fs::write(place.file("console.log"), format!("of the start before\n{SETUP_LINE}\r\nLinux version 6.1\r\n")).unwrap();
        assert!(has_written(&place, from).unwrap());
    }
}
