//! Reading: bytes are pushed in, things and their content come out.

use super::{BLOCK, nanoseconds};
use bytes::{Buf, Bytes, BytesMut};
use ports::files::posix::{BLOCK_DEVICE, CHARACTER_DEVICE, FIFO, Packed};
use ports::files::{Entry, EntryKind, FilePath, Posix};
use std::collections::BTreeMap;
use std::ops::Range;

/// Extended headers beyond this are no archive of ours.
const LARGEST_RECORDS: u64 = 64 << 20;
/// Content is handed out in pieces of at least this size, where so much is to come.
const PIECE: u64 = 32 << 10;

/// What comes is no archive that can be read, and why.
#[derive(Debug)]
pub(crate) struct Unreadable(pub(crate) String);

enum State {
    Header,
    /// Records of an extended header; `ours`: of the next thing, not of all.
    Records {
        size: u64,
        ours: bool,
    },
    /// The map of a file with holes.
    Map {
        entry: Box<Entry>,
        left: u64,
    },
    Content {
        left: u64,
        padding: u64,
    },
    Ended,
}

pub(crate) struct Reader {
    buffer: BytesMut,
    state: State,
    records: BTreeMap<Vec<u8>, Bytes>,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self { buffer: BytesMut::new(), state: State::Header, records: BTreeMap::new() }
    }

    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.buffer.extend_from_slice(&bytes);
    }

    /// The end of the archive was seen.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    fn take(&mut self, length: u64) -> Option<Bytes> {
        (self.buffer.len() as u64 >= length).then(|| self.buffer.split_to(length as usize).freeze())
    }

    /// What comes next; `None`: push more, or it has ended.
    pub(crate) fn next(&mut self) -> Result<Option<Packed>, Unreadable> {
        loop {
            match &mut self.state {
                State::Ended => return Ok(None),
                State::Header => {
                    let Some(block) = self.take(BLOCK as u64) else { return Ok(None) };
                    if let Some(begin) = self.header(&block)? {
                        return Ok(Some(begin));
                    }
                }
                State::Records { size, ours } => {
                    let (size, ours) = (*size, *ours);
                    let Some(mut bytes) = self.take(size.next_multiple_of(BLOCK as u64)) else { return Ok(None) };
                    bytes.truncate(size as usize);
                    if ours {
                        self.records = records(bytes)?;
                    }
                    self.state = State::Header;
                }
                State::Map { .. } => match self.map()? {
                    None => return Ok(None),
                    begin => return Ok(begin),
                },
                State::Content { .. } => match self.content() {
                    Some(Some(piece)) => return Ok(Some(Packed::Piece(piece))),
                    Some(None) => {}
                    None => return Ok(None),
                },
            }
        }
    }

    /// A piece, or the end of the content (the inner `None`).
    #[expect(clippy::option_option, reason = "to wait and the end are two answers")]
    fn content(&mut self) -> Option<Option<Bytes>> {
        let State::Content { left, padding } = &mut self.state else { return Some(None) };
        if *left == 0 {
            let padding = *padding;
            self.take(padding)?;
            self.state = State::Header;
            return Some(None);
        }
        let there = self.buffer.len() as u64;
        if there < (*left).min(PIECE) {
            return None;
        }
        let length = there.min(*left);
        *left -= length;
        self.take(length).map(Some)
    }

    fn header(&mut self, block: &[u8]) -> Result<Option<Packed>, Unreadable> {
        if block.iter().all(|b| *b == 0) {
            self.state = State::Ended;
            return Ok(None);
        }
        let header = Header::of(block)?;
        if matches!(header.kind, b'x' | b'g') {
            if header.size > LARGEST_RECORDS {
                return Err(Unreadable("an extended header is absurdly long".to_owned()));
            }
            self.state = State::Records { size: header.size, ours: header.kind == b'x' };
            return Ok(None);
        }
        let records = std::mem::take(&mut self.records);
        let stored = number(&records, b"size")?.unwrap_or(header.size);
        let entry = Box::new(header.entry(records)?);
        if entry.holes {
            self.state = State::Map { entry: Box::new(entry.entry), left: stored };
            return Ok(None);
        }
        self.begin_content(stored);
        let data = std::iter::once(0..stored).filter(|r| !r.is_empty()).collect();
        Ok(Some(Packed::Begin { entry: Box::new(entry.entry), data, fresh: false }))
    }

    fn begin_content(&mut self, stored: u64) {
        self.state = State::Content { left: stored, padding: stored.next_multiple_of(BLOCK as u64) - stored };
    }

    /// Reads the map of a file with holes when all of it is there.
    fn map(&mut self) -> Result<Option<Packed>, Unreadable> {
        let State::Map { entry, left } = &self.state else { return Ok(None) };
        let mut numbers = self.buffer[..].split(|b| *b == b'\n');
        let Some(first) = numbers.next().filter(|n| n.len() < self.buffer.len()) else { return Ok(None) };
        let mut used = first.len() + 1;
        let count = 2 * digits(first)?;
        let mut found = Vec::new();
        for _ in 0..count {
            let Some(text) = numbers.next() else { return Ok(None) };
            used += text.len() + 1;
            if used > self.buffer.len() {
                return Ok(None);
            }
            found.push(digits(text)?);
        }
        let length = used.next_multiple_of(BLOCK);
        if self.buffer.len() < length {
            return Ok(None);
        }
        let data: Vec<Range<u64>> = found.chunks(2).filter(|pair| pair[1] > 0).map(|pair| pair[0]..pair[0].saturating_add(pair[1])).collect();
        let stored = data.iter().map(|r| r.end - r.start).sum::<u64>();
        let ascending = data.windows(2).all(|two| two[0].end <= two[1].start) && data.last().is_none_or(|r| r.end <= entry.size());
        if !ascending || left.checked_sub(length as u64) != Some(stored) {
            return Err(Unreadable("the map of a file with holes does not fit its size".to_owned()));
        }
        let entry = entry.clone();
        self.buffer.advance(length);
        self.begin_content(stored);
        Ok(Some(Packed::Begin { entry, data, fresh: false }))
    }
}

/// `LENGTH KEY=VALUE\n`, again and again.
fn records(mut bytes: Bytes) -> Result<BTreeMap<Vec<u8>, Bytes>, Unreadable> {
    let broken = || Unreadable("an extended header is damaged".to_owned());
    let mut found = BTreeMap::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|b| *b == b' ').ok_or_else(broken)?;
        let length = usize::try_from(digits(&bytes[..space])?).map_err(|_| broken())?;
        if length <= space + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
            return Err(broken());
        }
        let record = bytes.split_to(length).slice(space + 1..length - 1);
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(broken)?;
        found.insert(record[..equals].to_vec(), record.slice(equals + 1..));
    }
    Ok(found)
}

fn digits(text: &[u8]) -> Result<u64, Unreadable> {
    std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).ok_or_else(|| Unreadable("a number in a header is none".to_owned()))
}

fn number(records: &BTreeMap<Vec<u8>, Bytes>, key: &[u8]) -> Result<Option<u64>, Unreadable> {
    records.get(key).map(|text| digits(text)).transpose()
}

struct Header {
    name: Vec<u8>,
    kind: u8,
    mode: u32,
    owner: u64,
    group: u64,
    size: u64,
    time: i64,
    target: Vec<u8>,
    node: (u64, u64),
}

struct Found {
    entry: Entry,
    holes: bool,
}

impl Header {
    fn of(block: &[u8]) -> Result<Self, Unreadable> {
        let sum = |field: &[u8]| field.iter().map(|b| u64::from(*b)).sum::<u64>();
        let expected = sum(&block[..148]) + 8 * u64::from(b' ') + sum(&block[156..]);
        if octal(&block[148..156])? != expected as i64 {
            return Err(Unreadable("the checksum of a header is wrong".to_owned()));
        }
        let unsigned = |field: &[u8]| octal(field).map(|n| n.max(0) as u64);
        let prefix = text(&block[345..500]);
        let name = text(&block[..100]);
        let name = if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() };
        Ok(Self {
            name,
            kind: block[156],
            mode: unsigned(&block[100..108])? as u32,
            owner: unsigned(&block[108..116])?,
            group: unsigned(&block[116..124])?,
            size: unsigned(&block[124..136])?,
            time: octal(&block[136..148])?,
            target: text(&block[157..257]).to_vec(),
            node: (unsigned(&block[329..337])?, unsigned(&block[337..345])?),
        })
    }

    fn entry(self, mut records: BTreeMap<Vec<u8>, Bytes>) -> Result<Found, Unreadable> {
        let holes = records.contains_key(&b"GNU.sparse.realsize"[..]);
        let size = number(&records, b"GNU.sparse.realsize")?.or(number(&records, b"size")?).unwrap_or(self.size);
        let owner = number(&records, b"uid")?.unwrap_or(self.owner) as u32;
        let group = number(&records, b"gid")?.unwrap_or(self.group) as u32;
        let modified_ns = match records.get(&b"mtime"[..]) {
            Some(text) => nanoseconds(text).ok_or_else(|| Unreadable("a time in a header is none".to_owned()))?,
            None => self.time.saturating_mul(1_000_000_000),
        };
        let target = records.remove(&b"linkpath"[..]).map_or(self.target, |t| t.to_vec());
        let name = records.remove(&b"GNU.sparse.name"[..]).or_else(|| records.remove(&b"path"[..])).map_or(self.name, |n| n.to_vec());
        let (kind, node) = match self.kind {
            b'0' | 0 | b'7' => (EntryKind::File { size }, None),
            b'2' => (EntryKind::Symlink { target }, None),
            b'3' => (EntryKind::Other(CHARACTER_DEVICE.to_owned()), Some((self.node.0 as u32, self.node.1 as u32))),
            b'4' => (EntryKind::Other(BLOCK_DEVICE.to_owned()), Some((self.node.0 as u32, self.node.1 as u32))),
            b'5' => (EntryKind::Directory, None),
            b'6' => (EntryKind::Other(FIFO.to_owned()), None),
            other => return Err(Unreadable(format!("something of the unknown kind '{}' is in the archive", char::from(other).escape_default()))),
        };
        let posix = Some(Box::new(Posix { owner, group, node, attributes: attributes(records), ..Posix::default() }));
        let path = FilePath::new(name.strip_suffix(b"/").filter(|_| kind == EntryKind::Directory).unwrap_or(&name));
        Ok(Found { entry: Entry { modified_ns: Some(modified_ns), mode: Some(self.mode & 0o7777), posix, ..Entry::new(path, kind) }, holes })
    }
}

fn attributes(records: BTreeMap<Vec<u8>, Bytes>) -> BTreeMap<String, Vec<u8>> {
    let named = |key: Vec<u8>| {
        let name = String::from_utf8(key.strip_prefix(b"SCHILY.xattr.")?.to_vec()).ok()?;
        Some(name.replace("%3D", "=").replace("%25", "%")).filter(|name| crate::tree::is_attribute(name))
    };
    records.into_iter().filter_map(|(key, value)| Some((named(key)?, value.to_vec()))).collect()
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or_default()
}

/// Octal digits, or GNU's form for what is too large or below zero: the first bit set, then bytes.
fn octal(field: &[u8]) -> Result<i64, Unreadable> {
    if field[0] & 0x80 != 0 {
        let negative = field[0] & 0x40 != 0;
        let start = if negative { -1_i64 } else { 0 };
        return Ok(field[1..].iter().fold(start, |n, b| n << 8 | i64::from(*b)));
    }
    let digits: Vec<u8> = field.iter().copied().filter(|b| !matches!(b, 0 | b' ')).collect();
    if digits.is_empty() {
        return Ok(0);
    }
    let digits = std::str::from_utf8(&digits).ok().and_then(|t| i64::from_str_radix(t, 8).ok());
    digits.ok_or_else(|| Unreadable("a number in a header is none".to_owned()))
}
