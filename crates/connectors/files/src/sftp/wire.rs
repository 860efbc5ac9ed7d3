//! The bytes of SFTP version 3 (draft-ietf-secsh-filexfer-02, with OpenSSH's extensions). Names are bytes here, because POSIX
//! names are; the russh-sftp crate takes text only.

use bytes::{Buf, BufMut, Bytes, BytesMut};

pub(super) const INIT: u8 = 1;
pub(super) const VERSION: u8 = 2;
pub(super) const OPEN: u8 = 3;
pub(super) const CLOSE: u8 = 4;
pub(super) const READ: u8 = 5;
pub(super) const WRITE: u8 = 6;
pub(super) const LSTAT: u8 = 7;
pub(super) const SETSTAT: u8 = 9;
pub(super) const FSETSTAT: u8 = 10;
pub(super) const OPENDIR: u8 = 11;
pub(super) const READDIR: u8 = 12;
pub(super) const REMOVE: u8 = 13;
pub(super) const MKDIR: u8 = 14;
pub(super) const RMDIR: u8 = 15;
pub(super) const REALPATH: u8 = 16;
pub(super) const STAT: u8 = 17;
pub(super) const RENAME: u8 = 18;
pub(super) const READLINK: u8 = 19;
pub(super) const SYMLINK: u8 = 20;
pub(super) const EXTENDED: u8 = 200;

pub(super) const OK: u32 = 0;
pub(super) const EOF: u32 = 1;
pub(super) const NO_SUCH_FILE: u32 = 2;
pub(super) const PERMISSION_DENIED: u32 = 3;
pub(super) const FAILURE: u32 = 4;
pub(super) const BAD_MESSAGE: u32 = 5;
pub(super) const OP_UNSUPPORTED: u32 = 8;
/// Of later versions; of version 3, servers say `FAILURE`.
pub(super) const FILE_ALREADY_EXISTS: u32 = 11;

pub(super) const OPEN_READ: u32 = 1;
pub(super) const OPEN_WRITE: u32 = 2;
pub(super) const OPEN_CREATE: u32 = 8;
pub(super) const OPEN_EXCLUSIVE: u32 = 0x20;

/// What a server tells about a file, as far as it tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attrs {
    pub(super) size: Option<u64>,
    /// Type and permission bits.
    pub(super) mode: Option<u32>,
    /// Seconds since 1970.
    pub(super) modified: Option<u32>,
}

/// An answer.
#[derive(Debug)]
pub(super) enum Reply {
    Status {
        code: u32,
        message: String,
    },
    Handle(Bytes),
    Data(Bytes),
    Names(Vec<(Bytes, Attrs)>),
    Attrs(Attrs),
    Extended(Bytes),
    /// The server's extensions.
    Version(Vec<(Bytes, Bytes)>),
}

/// A packet under construction: length (filled in at the end), type, then fields.
pub(super) struct Packet(BytesMut);

impl Packet {
    pub(super) fn new(kind: u8, room: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(room + 32);
        buffer.put_u32(0);
        buffer.put_u8(kind);
        Self(buffer)
    }

    pub(super) fn u32(mut self, value: u32) -> Self {
        self.0.put_u32(value);
        self
    }

    pub(super) fn u64(mut self, value: u64) -> Self {
        self.0.put_u64(value);
        self
    }

    pub(super) fn bytes(mut self, value: &[u8]) -> Self {
        self.0.put_u32(value.len() as u32);
        self.0.put_slice(value);
        self
    }

    pub(super) fn attrs(self, attrs: Attrs) -> Self {
        let flags = u32::from(attrs.size.is_some()) | u32::from(attrs.mode.is_some()) << 2 | u32::from(attrs.modified.is_some()) << 3;
        let mut packet = self.u32(flags);
        if let Some(size) = attrs.size {
            packet = packet.u64(size);
        }
        if let Some(mode) = attrs.mode {
            packet = packet.u32(mode);
        }
        if let Some(time) = attrs.modified {
            packet = packet.u32(time).u32(time);
        }
        packet
    }

    pub(super) fn finish(mut self) -> Bytes {
        let length = (self.0.len() - 4) as u32;
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0.freeze()
    }
}

/// The id and content of an answer; `None` when it is not one. A version has id 0.
pub(super) fn parse(mut packet: Bytes) -> Option<(u32, Reply)> {
    let kind = packet.try_get_u8().ok()?;
    let id = packet.try_get_u32().ok()?;
    let reply = match kind {
        VERSION => {
            let mut extensions = Vec::new();
            while packet.has_remaining() {
                extensions.push((take_bytes(&mut packet)?, take_bytes(&mut packet)?));
            }
            return Some((0, Reply::Version(extensions)));
        }
        101 => {
            let code = packet.try_get_u32().ok()?;
            let message = take_bytes(&mut packet).map(|m| String::from_utf8_lossy(&m).into_owned()).unwrap_or_default();
            Reply::Status { code, message }
        }
        102 => Reply::Handle(take_bytes(&mut packet)?),
        103 => Reply::Data(take_bytes(&mut packet)?),
        104 => Reply::Names(take_names(&mut packet)?),
        105 => Reply::Attrs(take_attrs(&mut packet)?),
        201 => Reply::Extended(packet),
        _ => return None,
    };
    Some((id, reply))
}

fn take_bytes(packet: &mut Bytes) -> Option<Bytes> {
    let length = packet.try_get_u32().ok()? as usize;
    (packet.remaining() >= length).then(|| packet.split_to(length))
}

fn take_names(packet: &mut Bytes) -> Option<Vec<(Bytes, Attrs)>> {
    let count = packet.try_get_u32().ok()?;
    let mut names = Vec::with_capacity(count.min(1024) as usize);
    for _ in 0..count {
        let name = take_bytes(packet)?;
        take_bytes(packet)?; // The long name, for people.
        names.push((name, take_attrs(packet)?));
    }
    Some(names)
}

fn take_attrs(packet: &mut Bytes) -> Option<Attrs> {
    let flags = packet.try_get_u32().ok()?;
    let mut attrs = Attrs::default();
    if flags & 1 != 0 {
        attrs.size = Some(packet.try_get_u64().ok()?);
    }
    if flags & 2 != 0 {
        packet.try_get_u64().ok()?; // Owner and group.
    }
    if flags & 4 != 0 {
        attrs.mode = Some(packet.try_get_u32().ok()?);
    }
    if flags & 8 != 0 {
        packet.try_get_u32().ok()?; // Last access.
        attrs.modified = Some(packet.try_get_u32().ok()?);
    }
    if flags & 0x8000_0000 != 0 {
        for _ in 0..packet.try_get_u32().ok()? {
            take_bytes(packet)?;
            take_bytes(packet)?;
        }
    }
    Some(attrs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_travel() {
        let attrs = Attrs { size: Some(7), mode: Some(0o100_644), modified: Some(1_700_000_000) };
        let mut packet = Packet::new(105, 0).u32(9).attrs(attrs).finish();
        assert_eq!(packet.get_u32() as usize, packet.remaining());
        match parse(packet) {
            Some((9, Reply::Attrs(back))) => assert_eq!(back, attrs),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_torn_packet_is_no_answer() {
        let whole = Packet::new(104, 0).u32(1).u32(1).bytes(b"na\xffme").bytes(b"long").attrs(Attrs { size: Some(1), ..Attrs::default() }).finish().slice(4..);
        assert!(matches!(parse(whole.clone()), Some((1, Reply::Names(names))) if names[0].0 == b"na\xffme"[..]));
        for end in 0..whole.len() {
            assert!(parse(whole.slice(..end)).is_none(), "cut at {end}");
        }
    }
}
