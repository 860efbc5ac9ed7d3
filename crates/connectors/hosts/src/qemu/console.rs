//! The console's log: QEMU appends to one file; what is too much of it is let go from the front.

use super::place::Place;
use ports::Result;
use ports::vms::{ConsoleText, Part};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};

/// A log that grows beyond this is cut down to [`KEPT`] bytes.
const MOST: u64 = 16 << 20;
const KEPT: u64 = 4 << 20;
const LOG: &str = "console.log";
/// Begins with the name; what follows is how many bytes were let go before it.
const BEFORE: &str = "console.before.";

/// What was kept when the log was cut: where it begins, and its file.
fn before(place: &Place) -> Option<(u64, String)> {
    let names = std::fs::read_dir(&place.dir).ok()?.flatten().filter_map(|e| e.file_name().into_string().ok());
    let numbered = names.filter_map(|name| Some((name.strip_prefix(BEFORE)?.parse::<u64>().ok()?, name)));
    numbered.max()
}

fn length(place: &Place, name: &str) -> u64 {
    std::fs::metadata(place.file(name)).map_or(0, |m| m.len())
}

/// See [`ports::vms::VmHost::console`].
pub(super) fn read(place: &Place, part: Part, limit: u64) -> Result<ConsoleText> {
    let old = before(place);
    let first = old.as_ref().map_or(0, |(at, _)| *at);
    let middle = first + old.as_ref().map_or(0, |(_, name)| length(place, name));
    let end = middle + length(place, LOG);
    let offset = match part {
        Part::From(offset) => offset.clamp(first, end),
        Part::Tail(bytes) => end.saturating_sub(bytes).max(first),
    };
    let mut bytes = Vec::new();
    if let Some((at, name)) = old.filter(|_| offset < middle) {
        append(place, &name, offset - at, limit, &mut bytes)?;
    }
    let rest = limit - (bytes.len() as u64).min(limit);
    append(place, LOG, (offset + bytes.len() as u64).saturating_sub(middle), rest, &mut bytes)?;
    Ok(ConsoleText { offset, bytes, end })
}

/// What stands in the log behind `from`.
pub(super) fn tail(place: &Place, from: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    append(place, LOG, from, KEPT, &mut bytes)?;
    Ok(bytes)
}

fn append(place: &Place, name: &str, from: u64, limit: u64, to: &mut Vec<u8>) -> Result<()> {
    let mut file = match File::open(place.file(name)) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(place.failed("read the console of", &e)),
    };
    let read = file.seek(SeekFrom::Start(from)).and_then(|_| file.take(limit).read_to_end(to));
    read.map(drop).map_err(|e| place.failed("read the console of", &e))
}

/// Cuts a log that has grown too large. QEMU appends: an emptied file is simply written to from its beginning. What it writes in the moment between is
/// lost.
pub(super) fn tidy(place: &Place) -> Result<()> {
    let size = length(place, LOG);
    if size <= MOST {
        return Ok(());
    }
    let failed = |e: std::io::Error| place.failed("cut the console of", &e);
    let old = before(place);
    let start = old.as_ref().map_or(0, |(at, name)| at + length(place, name));
    let mut bytes = Vec::new();
    append(place, LOG, size - KEPT, KEPT, &mut bytes)?;
    let fresh = format!("{BEFORE}{}", start + size - KEPT);
    std::fs::write(place.file("console.new"), &bytes).and_then(|()| std::fs::rename(place.file("console.new"), place.file(&fresh))).map_err(failed)?;
    OpenOptions::new().write(true).open(place.file(LOG)).and_then(|log| log.set_len(0)).map_err(failed)?;
    if let Some((_, name)) = old {
        place.forget(&name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_log_that_was_cut_keeps_its_places() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path(), "a").unwrap();
        place.make().unwrap();
        let mut log = OpenOptions::new().create(true).append(true).open(place.file(LOG)).unwrap();
        let mut written = 0u64;
        let mut line = |log: &mut File| {
            let lines = (0..4096).fold(Vec::new(), |mut all, n| {
                writeln!(all, "{:015}", written + n * 16).unwrap();
                all
            });
            log.write_all(&lines).unwrap();
            written += 4096 * 16;
            written
        };
        for _ in 0..2 {
            while length(&place, LOG) <= MOST {
                line(&mut log);
            }
            tidy(&place).unwrap();
        }
        let end = line(&mut log);
        let whole = read(&place, Part::From(0), u64::MAX).unwrap();
        assert_eq!((whole.end, whole.offset + whole.bytes.len() as u64), (end, end));
        assert!(whole.offset > MOST && whole.bytes.len() as u64 > KEPT && (whole.bytes.len() as u64) < MOST);
        for at in [whole.offset, end - 16, end - 32] {
            let part = read(&place, Part::From(at), 16).unwrap();
            assert_eq!(String::from_utf8(part.bytes).unwrap(), format!("{at:015}\n"));
        }
        assert_eq!(read(&place, Part::Tail(5), 99).unwrap().bytes.len(), 5);
        assert_eq!(std::fs::read_dir(&place.dir).unwrap().count(), 2, "the log and one part before it");
    }
}
