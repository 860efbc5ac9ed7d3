//! Writing: the headers of one thing. The content follows, then [`padding`].

use super::{BLOCK, seconds};
use bytes::{BufMut, BytesMut};
use ports::files::posix::{CHARACTER_DEVICE, FIFO};
use ports::files::{Entry, EntryKind};
use std::ops::Range;

/// The end of an archive.
pub(crate) const END: &[u8] = &[0; 2 * BLOCK];

/// The largest numbers that fit the old header.
const LARGEST_ID: u32 = 0o7_777_777;
const LARGEST_SIZE: u64 = 0o77_777_777_777;

/// What fills the last block of a content.
pub(crate) fn padding(bytes: u64) -> &'static [u8] {
    &END[..(bytes.next_multiple_of(BLOCK as u64) - bytes) as usize]
}

/// Whether the bytes of a file of `size` leave holes.
fn has_holes(size: u64, data: &[Range<u64>]) -> bool {
    data.iter().map(|r| r.end - r.start).sum::<u64>() != size
}

/// The headers of `entry` under `name`; after them come the bytes of `data`.
pub(crate) fn begin(out: &mut BytesMut, name: &[u8], entry: &Entry, data: &[Range<u64>]) {
    let size = entry.size();
    let holes = has_holes(size, data);
    let map = if holes { sparse_map(size, data) } else { Vec::new() };
    let stored = data.iter().map(|r| r.end - r.start).sum::<u64>() + map.len() as u64;
    let mut records = Vec::new();
    if let Some(ns) = entry.modified_ns {
        record(&mut records, b"mtime", seconds(ns).as_bytes());
    }
    if name.len() > 100 {
        record(&mut records, b"path", name);
    }
    if let EntryKind::Symlink { target } = &entry.kind
        && target.len() > 100
    {
        record(&mut records, b"linkpath", target);
    }
    if stored > LARGEST_SIZE {
        record(&mut records, b"size", stored.to_string().as_bytes());
    }
    if holes {
        record(&mut records, b"GNU.sparse.major", b"1");
        record(&mut records, b"GNU.sparse.minor", b"0");
        record(&mut records, b"GNU.sparse.name", name);
        record(&mut records, b"GNU.sparse.realsize", size.to_string().as_bytes());
    }
    facts(&mut records, entry);
    if !records.is_empty() {
        let long = records.len() as u64;
        out.put_slice(&Header { name: b"extended", kind: b'x', mode: 0o644, owner: 0, group: 0, size: long, time: 0, target: b"", node: (0, 0) }.block());
        out.put_slice(&records);
        out.put_slice(padding(long));
    }
    out.put_slice(&plain(name, entry, stored).block());
    out.put_slice(&map);
}

/// Owners that are too large for the old header, and attributes.
fn facts(records: &mut Vec<u8>, entry: &Entry) {
    let Some(posix) = &entry.posix else { return };
    for (key, id) in [(b"uid", posix.owner), (b"gid", posix.group)] {
        if id > LARGEST_ID {
            record(records, key, id.to_string().as_bytes());
        }
    }
    for (name, value) in &posix.attributes {
        let key = format!("SCHILY.xattr.{}", name.replace('%', "%25").replace('=', "%3D"));
        record(records, key.as_bytes(), value);
    }
}

fn plain<'a>(name: &'a [u8], entry: &'a Entry, stored: u64) -> Header<'a> {
    let (kind, target): (u8, &[u8]) = match &entry.kind {
        EntryKind::File { .. } => (b'0', b""),
        EntryKind::Directory => (b'5', b""),
        EntryKind::Symlink { target } => (b'2', target),
        EntryKind::Other(what) if what == FIFO => (b'6', b""),
        EntryKind::Other(what) if what == CHARACTER_DEVICE => (b'3', b""),
        EntryKind::Other(_) => (b'4', b""),
    };
    let default = if kind == b'5' { crate::tree::DIRECTORY_MODE } else { crate::tree::FILE_MODE };
    let (owner, group) = entry.posix.as_ref().map_or((0, 0), |p| (p.owner, p.group));
    Header {
        name,
        kind,
        mode: entry.mode.unwrap_or(default),
        owner: if owner > LARGEST_ID { 0 } else { owner },
        group: if group > LARGEST_ID { 0 } else { group },
        size: if stored > LARGEST_SIZE { 0 } else { stored },
        time: entry.modified_ns.map_or(0, |ns| ns.div_euclid(1_000_000_000).clamp(0, LARGEST_SIZE as i64) as u64),
        target,
        node: entry.posix.as_ref().and_then(|p| p.node).unwrap_or_default(),
    }
}

/// How many stretches there are, then start and length of each, and an empty one at the end where the file ends with a hole.
fn sparse_map(size: u64, data: &[Range<u64>]) -> Vec<u8> {
    let end = data.last().is_none_or(|r| r.end < size).then_some(size..size);
    let stretches: Vec<Range<u64>> = data.iter().cloned().chain(end).collect();
    let mut map = format!("{}\n", stretches.len()).into_bytes();
    for stretch in stretches {
        map.extend_from_slice(format!("{}\n{}\n", stretch.start, stretch.end - stretch.start).as_bytes());
    }
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}

/// `LENGTH KEY=VALUE\n`, where the length counts itself.
fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

struct Header<'a> {
    name: &'a [u8],
    kind: u8,
    mode: u32,
    owner: u32,
    group: u32,
    size: u64,
    time: u64,
    target: &'a [u8],
    node: (u32, u32),
}

impl Header<'_> {
    fn block(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        text(&mut block[..100], self.name);
        octal(&mut block[100..108], u64::from(self.mode & 0o7777));
        octal(&mut block[108..116], u64::from(self.owner));
        octal(&mut block[116..124], u64::from(self.group));
        octal(&mut block[124..136], self.size);
        octal(&mut block[136..148], self.time);
        block[148..156].fill(b' ');
        block[156] = self.kind;
        text(&mut block[157..257], self.target);
        block[257..265].copy_from_slice(b"ustar\x0000");
        octal(&mut block[329..337], u64::from(self.node.0));
        octal(&mut block[337..345], u64::from(self.node.1));
        let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
        octal(&mut block[148..155], sum);
        block
    }
}

fn text(field: &mut [u8], value: &[u8]) {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
}

/// Digits and a NUL.
fn octal(field: &mut [u8], value: u64) {
    let width = field.len() - 1;
    field[..width].copy_from_slice(format!("{value:0width$o}").as_bytes());
}
