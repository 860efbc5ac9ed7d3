//! From what `find`, `stat` and `getfattr` print to entries.
//!
//! One run over a handful of names prints thirteen fields per thing, then device numbers, then attributes, each field ended by a NUL. So odd
//! names need no quoting, and a listing of millions passes through in stretches.

use crate::staging;
use bytes::{Buf, Bytes, BytesMut};
use ports::files::posix::{BLOCK_DEVICE, CHARACTER_DEVICE, FIFO, MOUNT_POINT, SOCKET};
use ports::files::{Entry, EntryKind, FilePath, Posix};
use std::collections::{BTreeMap, HashMap};

/// Prints the facts of its arguments. `getfattr` is left out where it is missing. GNU find writes out what it has printed before it starts a program,
/// so the numbers of a device node come behind its facts.
pub(super) fn script(getfattr: bool) -> String {
    let attributes = if getfattr { "getfattr -h -d -m - -e hex -- \"$@\" 2>/dev/null; " } else { "" };
    format!(
        r#"find "$@" -maxdepth 0 -printf 'E%y\0%p\0%D\0%i\0%n\0%U\0%G\0%m\0%s\0%b\0%T@\0%C@\0%l\0' \( -type b -o -type c \) -exec stat --printf 'N\0%n\0%t\0%T\0' '{{}}' +; printf 'A\0'; {attributes}printf '\0'"#
    )
}

/// Prints the device of the root, to know what is mounted below.
pub(super) const DEVICE: &str = r"find . -maxdepth 0 -printf 'R\0%D\0'";

const FIELDS: usize = 12;

/// Takes the print apart as it comes.
pub(super) struct Facts {
    buffer: BytesMut,
    /// How much of the buffer holds no NUL.
    searched: usize,
    fields: Vec<Bytes>,
    stretch: Vec<Entry>,
    device: Option<u64>,
    attributes: bool,
}

impl Facts {
    pub(super) fn new() -> Self {
        Self { buffer: BytesMut::new(), searched: 0, fields: Vec::new(), stretch: Vec::new(), device: None, attributes: false }
    }

    /// Gives the entries of all stretches that are complete. `None`: that is not what was asked for.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Option<Vec<Entry>> {
        self.buffer.extend_from_slice(bytes);
        let mut complete = Vec::new();
        while let Some(end) = self.buffer[self.searched..].iter().position(|b| *b == 0) {
            let field = self.buffer.split_to(self.searched + end).freeze();
            self.buffer.advance(1);
            self.searched = 0;
            if std::mem::take(&mut self.attributes) {
                decorate(&mut self.stretch, &field);
                complete.append(&mut self.stretch);
            } else {
                self.field(field)?;
            }
        }
        self.searched = self.buffer.len();
        Some(complete)
    }

    /// Everything that began has ended.
    pub(super) fn is_whole(&self) -> bool {
        self.buffer.is_empty() && self.fields.is_empty() && self.stretch.is_empty() && !self.attributes
    }

    fn field(&mut self, field: Bytes) -> Option<()> {
        self.fields.push(field);
        match (self.fields[0].first()?, self.fields.len()) {
            (b'A', _) => {
                self.fields.clear();
                self.attributes = true;
            }
            (b'R', 2) => {
                self.device = Some(number(&self.fields[1])?);
                self.fields.clear();
            }
            (b'N', 4) => {
                self.node()?;
                self.fields.clear();
            }
            (b'E', n) if n > FIELDS => {
                let entry = self.entry()?;
                self.stretch.extend(entry);
                self.fields.clear();
            }
            (b'E' | b'N' | b'R', _) => {}
            _ => return None,
        }
        Some(())
    }

    /// The outer `None`: nonsense; the inner one: something of ours, unfinished.
    #[expect(clippy::option_option, reason = "nonsense and something to pass over are two answers")]
    fn entry(&self) -> Option<Option<Entry>> {
        let f = &self.fields;
        let path = plain(&f[1]);
        if path.segments().any(staging::is_staging) {
            return Some(None);
        }
        let (device, inode) = (number(&f[2])?, number(&f[3])?);
        let kind = match *f[0].get(1)? {
            b'f' => EntryKind::File { size: number(&f[8])? },
            b'd' if self.device.is_some_and(|root| root != device) => EntryKind::Other(MOUNT_POINT.to_owned()),
            b'd' => EntryKind::Directory,
            b'l' => EntryKind::Symlink { target: f[12].to_vec() },
            b'p' => EntryKind::Other(FIFO.to_owned()),
            b's' => EntryKind::Other(SOCKET.to_owned()),
            b'c' => EntryKind::Other(CHARACTER_DEVICE.to_owned()),
            b'b' => EntryKind::Other(BLOCK_DEVICE.to_owned()),
            _ => EntryKind::Other("unknown".to_owned()),
        };
        let posix = Posix {
            owner: number(&f[5])? as u32,
            group: number(&f[6])? as u32,
            device,
            inode,
            links: number(&f[4])?,
            stored: number(&f[9])?.saturating_mul(512),
            node: None,
            attributes: BTreeMap::new(),
        };
        let mode = u32::from_str_radix(std::str::from_utf8(&f[7]).ok()?, 8).ok()?;
        let version = matches!(kind, EntryKind::File { .. }).then(|| nanoseconds(&f[11]).map(|changed| format!("{inode:x}-{changed:x}")));
        let modified_ns = Some(nanoseconds(&f[10])?);
        let unlisted = f[1].ends_with(NOT_ENTERED.as_bytes()).then(|| "this user may not do that".into());
        let version = version.flatten();
        Some(Some(Entry { modified_ns, mode: Some(mode), version, posix: Some(Box::new(posix)), unlisted, ..Entry::new(path, kind) }))
    }

    /// The numbers of a device node of this stretch.
    fn node(&mut self) -> Option<()> {
        let path = plain(&self.fields[1]);
        let hex = |text: &[u8]| u32::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok();
        let node = (hex(&self.fields[2])?, hex(&self.fields[3])?);
        if let Some(posix) = self.stretch.iter_mut().find(|e| e.path == path).and_then(|e| e.posix.as_mut()) {
            posix.node = Some(node);
        }
        Some(())
    }
}

/// Without `./` before and `/` behind.
fn plain(name: &[u8]) -> FilePath {
    let name = name.strip_prefix(b"./").unwrap_or(if name == b"." { b"" } else { name });
    let end = name.iter().rposition(|b| *b != b'/').map_or(0, |last| last + 1);
    FilePath::new(&name[..end])
}

/// What stands behind the name of a directory that may not be entered.
pub(super) const NOT_ENTERED: &str = "//";

/// What `find` prints of times: whole seconds, rounded down, a point and what is above them, also before 1970 (`-2.5000000000`: a second and a half).
fn nanoseconds(text: &[u8]) -> Option<i64> {
    let (whole, fraction) = std::str::from_utf8(text).ok()?.split_once('.')?;
    let above: i64 = fraction.get(..9)?.parse().ok()?;
    whole.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(above)
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `# file: NAME`, then `attribute=0xHEX` lines, then an empty one. What cannot be read is left out.
fn decorate(entries: &mut [Entry], print: &[u8]) {
    if print.is_empty() {
        return;
    }
    let places: HashMap<FilePath, usize> = entries.iter().enumerate().map(|(at, entry)| (entry.path.clone(), at)).collect();
    let mut current = None;
    for line in print.split(|b| *b == b'\n') {
        if let Some(name) = line.strip_prefix(b"# file: ") {
            current = places.get(&plain(&unescaped(name))).copied();
        } else if let Some(posix) = current.and_then(|at: usize| entries[at].posix.as_mut())
            && let Some((name, value)) = attribute(line)
        {
            posix.attributes.insert(name, value);
        }
    }
}

fn attribute(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let (name, value) = match line.iter().position(|b| *b == b'=') {
        Some(at) => (&line[..at], hex::decode(line[at + 1..].strip_prefix(b"0x")?).ok()?),
        None => (line, Vec::new()),
    };
    let name = String::from_utf8(unescaped(name)).ok()?;
    crate::tree::is_attribute(&name).then_some((name, value))
}

/// `\012` is a newline.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|d| *first == b'\\' && d.iter().all(|b| (b'0'..b'8').contains(b)));
        match octal {
            Some(digits) => {
                out.push(digits.iter().fold(0_u8, |n, d| n.wrapping_mul(8).wrapping_add(d - b'0')));
                rest = &tail[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(kind: &str, name: &str, device: u64, target: &str) -> Vec<u8> {
        format!("E{kind}\0{name}\0{device}\x0077\x001\x005\x006\x004755\x009\x008\x001700000000.1234567890\x001700000001.5000000000\0{target}\0").into_bytes()
    }

    #[test]
    fn a_print_is_taken_apart_however_it_is_cut() {
        let mut whole = b"R\x005\0".to_vec();
        whole.extend(print("d", "./dir/", 5, ""));
        whole.extend(print("f", "./dir/o\ndd", 5, ""));
        whole.extend(print("b", "./disk", 5, ""));
        whole.extend(print("l", "./link", 5, "to/there"));
        whole.extend(print("d", "./mnt/", 6, ""));
        whole.extend(print("f", "./.migration-assistant~x~1", 5, ""));
        whole.extend(b"N\0./disk\x007\x0012c\0A\0# file: dir/o\\012dd\nuser.a\\075b=0x0aff\nuser.empty\n\n\0");
        for cut in [1, 7, whole.len()] {
            let mut facts = Facts::new();
            let found: Vec<Entry> = whole.chunks(cut).flat_map(|piece| facts.push(piece).expect("our own print")).collect();
            assert!(facts.is_whole());
            let names: Vec<String> = found.iter().map(|e| e.path.to_string()).collect();
            assert_eq!(names, ["dir", "dir/o\\ndd", "disk", "link", "mnt"]);
            let posix = |at: usize| found[at].posix.as_ref().expect("facts");
            assert_eq!(posix(1).attributes["user.a=b"], [0x0a, 0xff]);
            assert!(posix(1).attributes["user.empty"].is_empty());
            assert_eq!((posix(2).node, posix(2).stored), (Some((7, 300)), 8 * 512));
            assert_eq!(found[3].kind, EntryKind::Symlink { target: b"to/there".to_vec() });
            assert_eq!(found[4].kind, EntryKind::Other(MOUNT_POINT.to_owned()));
            assert_eq!((found[1].mode, found[1].modified_ns), (Some(0o4755), Some(1_700_000_000_123_456_789)));
        }
    }

    #[test]
    fn times_before_1970() {
        assert_eq!(nanoseconds(b"-2.5000000000"), Some(-1_500_000_000));
        assert_eq!(nanoseconds(b"1700000000.1234567890"), Some(1_700_000_000_123_456_789));
        assert_eq!(nanoseconds(b"x"), None);
    }

    #[test]
    fn something_else_is_noticed() {
        assert!(Facts::new().push(b"Welcome!\0").is_none());
        assert!(Facts::new().push(b"Ef\0./a\0x\0y\x001\x002\x003\x00644\x005\x006\x007\x008\0\0").is_none());
    }
}
