//! The verbs of SFTP on a [`Session`].

use super::session::{Answer, Fault, Session};
use super::wire::{self, Attrs, Packet, Reply};
use bytes::{Buf, Bytes};

/// Largest read or write that we ask for, whatever the server allows.
const LARGEST: u64 = 255 << 10;

pub(super) fn attrs(reply: Reply) -> Result<Attrs, Fault> {
    match reply {
        Reply::Attrs(attrs) => Ok(attrs),
        other => Err(refused(other)),
    }
}

fn handle(reply: Reply) -> Result<Bytes, Fault> {
    match reply {
        Reply::Handle(handle) => Ok(handle),
        other => Err(refused(other)),
    }
}

fn one_name(reply: Reply) -> Result<Vec<u8>, Fault> {
    match reply {
        Reply::Names(names) if !names.is_empty() => Ok(names[0].0.to_vec()),
        other => Err(refused(other)),
    }
}

/// The answer is `OK`.
pub(super) fn done(reply: Reply) -> Result<(), Fault> {
    match reply {
        Reply::Status { code: wire::OK, .. } => Ok(()),
        other => Err(refused(other)),
    }
}

fn refused(reply: Reply) -> Fault {
    match reply {
        Reply::Status { code, message } if code != wire::OK => Fault::Status { code, message },
        _ => Fault::Odd,
    }
}

/// `SSH_FXE_STATVFS_ST_RDONLY`.
const READ_ONLY: u64 = 1;

/// File system facts, in bytes.
pub(super) struct Space {
    pub(super) free: u64,
    pub(super) read_only: bool,
}

impl Session {
    async fn on_path(&self, kind: u8, path: &[u8]) -> Result<Reply, Fault> {
        self.send_path(kind, path).await.wait().await
    }

    /// Sends a request that has a path only.
    pub(super) async fn send_path(&self, kind: u8, path: &[u8]) -> Answer {
        self.send(kind, path.len(), |p| p.bytes(path)).await
    }

    /// Facts of the thing itself, not of what a link points to.
    pub(super) async fn lstat(&self, path: &[u8]) -> Result<Attrs, Fault> {
        attrs(self.on_path(wire::LSTAT, path).await?)
    }

    pub(super) async fn stat(&self, path: &[u8]) -> Result<Attrs, Fault> {
        attrs(self.on_path(wire::STAT, path).await?)
    }

    /// The path with all links resolved. OpenSSH answers even when the last name does not exist.
    pub(super) async fn realpath(&self, path: &[u8]) -> Result<Vec<u8>, Fault> {
        one_name(self.on_path(wire::REALPATH, path).await?)
    }

    pub(super) async fn readlink(&self, path: &[u8]) -> Result<Vec<u8>, Fault> {
        one_name(self.on_path(wire::READLINK, path).await?)
    }

    pub(super) async fn mkdir(&self, path: &[u8], mode: u32) -> Result<(), Fault> {
        let attrs = Attrs { mode: Some(mode), ..Attrs::default() };
        done(self.send(wire::MKDIR, path.len(), |p| p.bytes(path).attrs(attrs)).await.wait().await?)
    }

    pub(super) async fn rmdir(&self, path: &[u8]) -> Result<(), Fault> {
        done(self.on_path(wire::RMDIR, path).await?)
    }

    pub(super) async fn remove(&self, path: &[u8]) -> Result<(), Fault> {
        done(self.on_path(wire::REMOVE, path).await?)
    }

    /// In OpenSSH's order of arguments, which all servers in use have taken over.
    pub(super) async fn symlink(&self, target: &[u8], link: &[u8]) -> Result<(), Fault> {
        done(self.send(wire::SYMLINK, target.len() + link.len(), |p| p.bytes(target).bytes(link)).await.wait().await?)
    }

    /// Follows links; the caller has looked first.
    pub(super) async fn setstat(&self, path: &[u8], attrs: Attrs) -> Result<(), Fault> {
        done(self.send(wire::SETSTAT, path.len(), |p| p.bytes(path).attrs(attrs)).await.wait().await?)
    }

    /// Renames over what is there. A server without `posix-rename` refuses that; then, and only then, the old file is
    /// removed first, and for a moment there is none.
    pub(super) async fn replace(&self, from: &[u8], to: &[u8]) -> Result<(), Fault> {
        let room = from.len() + to.len();
        if self.features.posix_rename {
            let request = |p: Packet| p.bytes(b"posix-rename@openssh.com").bytes(from).bytes(to);
            return done(self.send(wire::EXTENDED, room + 32, request).await.wait().await?);
        }
        let rename = || self.send(wire::RENAME, room, |p| p.bytes(from).bytes(to));
        match done(rename().await.wait().await?) {
            Err(Fault::Status { .. }) if self.lstat(to).await.is_ok() => {
                self.remove(to).await?;
                done(rename().await.wait().await?)
            }
            other => other,
        }
    }

    /// Sends a rename: over what is there, unless that is `fresh`. A server without `posix-rename` refuses to replace; see [`Self::replace`].
    pub(super) async fn send_rename(&self, from: &[u8], to: &[u8], fresh: bool) -> Answer {
        let room = from.len() + to.len() + 32;
        if fresh || !self.features.posix_rename {
            return self.send(wire::RENAME, room, |p| p.bytes(from).bytes(to)).await;
        }
        self.send(wire::EXTENDED, room, |p| p.bytes(b"posix-rename@openssh.com").bytes(from).bytes(to)).await
    }

    /// Sends a request for a further name of a file; a server that cannot answers that it cannot.
    pub(super) async fn send_link(&self, existing: &[u8], new: &[u8]) -> Answer {
        self.send(wire::EXTENDED, existing.len() + new.len() + 32, |p| p.bytes(b"hardlink@openssh.com").bytes(existing).bytes(new)).await
    }

    /// Renames where nothing stands. OpenSSH does so without a gap (a link, then the old name goes).
    pub(super) async fn rename(&self, from: &[u8], to: &[u8]) -> Result<(), Fault> {
        done(self.send(wire::RENAME, from.len() + to.len(), |p| p.bytes(from).bytes(to)).await.wait().await?)
    }

    pub(super) async fn send_open(&self, path: &[u8], flags: u32, mode: Option<u32>) -> Answer {
        self.send(wire::OPEN, path.len(), |p| p.bytes(path).u32(flags).attrs(Attrs { mode, ..Attrs::default() })).await
    }

    pub(super) async fn opened(answer: Answer) -> Result<Bytes, Fault> {
        handle(answer.wait().await?)
    }

    pub(super) async fn opendir(&self, path: &[u8]) -> Result<Bytes, Fault> {
        handle(self.on_path(wire::OPENDIR, path).await?)
    }

    /// The next names; `None` at the end.
    pub(super) async fn readdir(answer: Answer) -> Result<Option<Vec<(Bytes, Attrs)>>, Fault> {
        match answer.wait().await? {
            Reply::Names(names) => Ok(Some(names)),
            Reply::Status { code: wire::EOF, .. } => Ok(None),
            other => Err(refused(other)),
        }
    }

    pub(super) async fn send_close(&self, handle: &[u8]) -> Answer {
        self.send_path(wire::CLOSE, handle).await
    }

    pub(super) async fn send_read(&self, handle: &[u8], offset: u64, length: u32) -> Answer {
        self.send(wire::READ, 64, |p| p.bytes(handle).u64(offset).u32(length)).await
    }

    /// The bytes; empty at the end of the file.
    pub(super) async fn read(answer: Answer) -> Result<Bytes, Fault> {
        match answer.wait().await? {
            Reply::Data(data) => Ok(data),
            Reply::Status { code: wire::EOF, .. } => Ok(Bytes::new()),
            other => Err(refused(other)),
        }
    }

    pub(super) async fn send_write(&self, handle: &[u8], offset: u64, data: &[u8]) -> Answer {
        self.send(wire::WRITE, data.len() + 64, |p| p.bytes(handle).u64(offset).bytes(data)).await
    }

    pub(super) async fn send_fsetstat(&self, handle: &[u8], attrs: Attrs) -> Answer {
        self.send(wire::FSETSTAT, 64, |p| p.bytes(handle).attrs(attrs)).await
    }

    /// Sends the request to write an open file to the disk (PROTOCOL of OpenSSH, section 4.5).
    pub(super) async fn send_fsync(&self, handle: &[u8]) -> Answer {
        self.send(wire::EXTENDED, 64, |p| p.bytes(b"fsync@openssh.com").bytes(handle)).await
    }

    /// `None` where the server does not tell.
    pub(super) async fn space(&self, path: &[u8]) -> Result<Option<Space>, Fault> {
        if !self.features.statvfs {
            return Ok(None);
        }
        let request = |p: Packet| p.bytes(b"statvfs@openssh.com").bytes(path);
        match self.send(wire::EXTENDED, path.len() + 32, request).await.wait().await? {
            // bsize, frsize, blocks, bfree, bavail, files, ffree, favail, fsid, flag, namemax
            Reply::Extended(mut data) if data.remaining() >= 88 => {
                data.advance(8);
                let fragment = data.get_u64();
                data.advance(16);
                let free = data.get_u64().saturating_mul(fragment);
                data.advance(32);
                Ok(Some(Space { free, read_only: data.get_u64() & READ_ONLY != 0 }))
            }
            other => Err(refused(other)),
        }
    }

    /// Asks how large reads and writes may be.
    pub(super) async fn ask_limits(&mut self) -> Result<(), Fault> {
        match self.send(wire::EXTENDED, 32, |p| p.bytes(b"limits@openssh.com")).await.wait().await? {
            Reply::Extended(mut data) if data.remaining() >= 24 => {
                data.advance(8);
                let within = |limit: u64| if limit == 0 { 32 << 10 } else { limit.min(LARGEST) as u32 };
                self.features.read = within(data.get_u64());
                self.features.write = within(data.get_u64());
                Ok(())
            }
            Reply::Status { .. } => Ok(()),
            _ => Err(Fault::Odd),
        }
    }
}
