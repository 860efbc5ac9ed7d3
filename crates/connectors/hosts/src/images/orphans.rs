//! Programs that a killed server has left at work on an image: they would write where the next one writes.

use super::place::Place;
use ports::{ConnectorError, ErrorKind, Result};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// What works on images. `mke2fs` is what `mkfs.ext4` is called in the end.
const OURS: [&str; 7] = ["qemu-img", "mkfs.ext4", "mke2fs", "tune2fs", "e2fsck", "sfdisk", "grub-mkimage"];
/// How long one that was killed may take to go: as long as its last write.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

/// Ends them all. The working directory is named after one run, so whatever works in it works for that run.
pub(super) async fn end(place: &Place) -> Result<()> {
    let begun = Instant::now();
    loop {
        let found = at_work(&place.work);
        for process in &found {
            // The handle first: from then on the number cannot become another process's unnoticed.
            let handle = Pid::from_raw(*process as i32).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
            if let Some(handle) = handle.filter(|_| is_at_work(*process, &place.work)) {
                // One that is gone is what is wanted.
                let _sent_or_gone = pidfd_send_signal(&handle, Signal::KILL);
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            let reason = format!("a program is still at work on it and cannot be ended (process {})", found[0]);
            return Err(ConnectorError::new(ErrorKind::TimedOut, "take up", format!("the image {}", place.image.display()), reason));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn at_work(work: &Path) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| is_at_work(*id, work)).collect()
}

fn is_at_work(process: u32, work: &Path) -> bool {
    let command = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let mut words = command.split(|b| *b == 0);
    let program = words.next().and_then(|word| word.rsplit(|b| *b == b'/').next()).unwrap_or_default();
    let inside = [work.as_os_str().as_bytes(), b"/"].concat();
    OURS.iter().any(|ours| ours.as_bytes() == program) && words.any(|word| word.starts_with(&inside))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::vms::ImageFormat;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    #[tokio::test]
    async fn only_our_programs_at_this_image_are_ended() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { image: dir.path().join("a"), work: dir.path().join(".migration-a"), format: ImageFormat::Raw };
        let spawned = |name: &str, file: &Path| {
            // A shell by another name that waits for its input's end.
            Command::new("/bin/sh").arg0(name).args(["-c", "read line"]).arg(file).stdin(Stdio::piped()).spawn().unwrap()
        };
        let mut ours = spawned("/usr/bin/qemu-img", &place.file("disk.raw"));
        let mut others = [spawned("qemu-img", &dir.path().join(".migration-ab/disk.raw")), spawned("less", &place.file("disk.raw"))];
        let reaper = std::thread::spawn(move || ours.wait().unwrap());
        end(&place).await.unwrap();
        assert!(!reaper.join().unwrap().success(), "it was killed");
        for other in &mut others {
            assert!(other.try_wait().unwrap().is_none(), "it is none of our business");
            other.kill().unwrap();
            other.wait().unwrap();
        }
    }
}
