//! Tape archives in POSIX form as GNU tar reads and writes them, in a stream: extended headers, holes, extended attributes.
//!
//! Only what one thing needs is in memory: its headers, and its content in the pieces in which it comes.

mod read;
mod write;

pub(crate) use read::Reader;
pub(crate) use write::{END, begin, padding};

/// Archives are made of blocks.
const BLOCK: usize = 512;

/// Nanoseconds as `seconds.fraction`, signed as a whole.
fn seconds(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let whole = ns.unsigned_abs();
    format!("{sign}{}.{:09}", whole / 1_000_000_000, whole % 1_000_000_000)
}

/// The other way round.
fn nanoseconds(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, plain) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let ns = whole.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(digits.parse().ok()?)?;
    Some(if negative { -ns } else { ns })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use ports::files::posix::Packed;
    use ports::files::{Entry, EntryKind, FilePath, Posix};
    use std::collections::BTreeMap;
    use std::ops::Range;

    #[test]
    fn times_have_one_form() {
        for ns in [0, 1, -1, 1_700_000_000_123_456_789, -1_500_000_000, 999_999_999] {
            assert_eq!(nanoseconds(seconds(ns).as_bytes()), Some(ns));
        }
        assert_eq!(nanoseconds(b"12"), Some(12_000_000_000));
        assert_eq!(nanoseconds(b"x"), None);
    }

    fn entry(path: &[u8], kind: EntryKind, node: Option<(u32, u32)>) -> Entry {
        let attributes = BTreeMap::from([("user.a=b%".to_owned(), vec![0, b'\n', 255]), ("system.posix_acl_access".to_owned(), vec![2; 44])]);
        let posix = Posix { owner: 3_000_000, group: 7, node, attributes, ..Posix::default() };
        let modified_ns = Some(1_700_000_000_123_456_789);
        Entry { modified_ns, mode: Some(0o4755), posix: Some(Box::new(posix)), ..Entry::new(FilePath::new(path), kind) }
    }

    fn written(entry: &Entry, name: &[u8], data: &[Range<u64>]) -> Vec<u8> {
        let mut out = BytesMut::new();
        begin(&mut out, name, entry, data);
        let bytes: u64 = data.iter().map(|r| r.end - r.start).sum();
        out.extend_from_slice(&vec![b'x'; bytes as usize]);
        out.extend_from_slice(padding(bytes));
        out.to_vec()
    }

    /// What was written comes back, however it is cut into pieces.
    #[test]
    fn what_is_written_is_read() {
        let long = [b"d/".to_vec(), vec![b'n'; 200]].concat();
        let things = [
            (entry(b"odd \n\xff name", EntryKind::File { size: 1000 }, None), vec![Range { start: 0, end: 1000 }]),
            (entry(&long, EntryKind::File { size: 1 << 40 }, None), vec![4096..8192, 1 << 20..(1 << 20) + 7]),
            (entry(b"all-hole", EntryKind::File { size: 9999 }, None), vec![]),
            (entry(b"empty", EntryKind::File { size: 0 }, None), vec![]),
            (entry(b"link", EntryKind::Symlink { target: vec![b't'; 300] }, None), vec![]),
            (entry(b"pipe", EntryKind::Other("fifo".to_owned()), None), vec![]),
            (entry(b"disk", EntryKind::Other("block device".to_owned()), Some((7, 300))), vec![]),
            (entry(b"dir", EntryKind::Directory, None), vec![]),
        ];
        let mut archive: Vec<u8> = things.iter().flat_map(|(entry, data)| written(entry, entry.path.as_bytes(), data)).collect();
        archive.extend_from_slice(END);
        for cut in [1, 511, 512, 4096, archive.len()] {
            let mut reader = Reader::new();
            let (mut found, mut bytes) = (Vec::new(), Vec::new());
            for piece in archive.chunks(cut) {
                reader.push(piece.to_vec().into());
                while let Some(event) = reader.next().expect("our own archive") {
                    match event {
                        Packed::Begin { entry, data, .. } => {
                            found.push((*entry, data));
                            bytes.push(0);
                        }
                        Packed::Piece(piece) => *bytes.last_mut().expect("a beginning") += piece.len() as u64,
                    }
                }
            }
            assert!(reader.has_ended());
            assert_eq!(found, things, "cut into {cut}");
            assert!(found.iter().zip(bytes).all(|((_, data), bytes)| data.iter().map(|r| r.end - r.start).sum::<u64>() == bytes));
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        let mut reader = Reader::new();
        reader.push(vec![b'x'; 512].into());
        assert!(reader.next().is_err());
    }
}
