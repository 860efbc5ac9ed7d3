//! One stream becomes many files: GNU tar unpacks under a staging name, under numbers for names; then each is put in its place.

use super::SshTree;
use super::exec::{self, Input};
use super::place::{self, Staged, State};
use crate::body::shrunk;
use crate::{staging, tar};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use ports::files::posix::{Pack, Packed, Unpacked};
use ports::files::{Entry, FilePath};
use ports::{ErrorKind, Result};
use std::pin::pin;

/// Bytes that are sent to tar together.
const MESSAGE: usize = 64 << 10;

/// A pack of many things; a program puts them in their places where it can.
pub(super) async fn run(tree: &SshTree, tag: &str, pack: Pack) -> Result<Unpacked> {
    unpack_and_place(tree, tag, pack, tree.tools.perl).await
}

/// A pack of one thing, which is renamed over SFTP.
pub(super) async fn one(tree: &SshTree, tag: &str, pack: Pack) -> Result<()> {
    unpack_and_place(tree, tag, pack, false).await?.pop().unwrap_or(Ok(()))
}

async fn unpack_and_place(tree: &SshTree, tag: &str, pack: Pack, at_once: bool) -> Result<Unpacked> {
    let name = staging::name(tag, &FilePath::from("pack"));
    let (placed, left) = match unpack(tree, &name, pack, at_once).await {
        Ok((staged, left)) => (place::by_requests(tree, &name, staged).await, left),
        Err(e) => (Err(e), true),
    };
    if left {
        discard(tree, &name).await;
    }
    placed
}

/// What cannot be removed now is found by the sweep.
async fn discard(tree: &SshTree, name: &str) {
    if let Ok(session) = tree.host.session().await {
        let directory = tree.host.absolute(&FilePath::from(name));
        if session.rmdir(&directory).await.is_ok() {
            return;
        }
    }
    if let Ok(running) = exec::start(&tree.host, &format!("rm -rf -- './{name}'")).await {
        let _ = running.answer(Vec::new()).await;
    }
}

/// The flags with which tar puts everything back that it finds in an archive.
pub(super) fn tar_flags(tree: &SshTree) -> String {
    let owners = if tree.tools.root { "--same-owner " } else { "--no-same-owner " };
    let attributes = if !tree.tools.tar_attributes {
        ""
    } else if tree.tools.root {
        "--xattrs --xattrs-include='*' "
    } else {
        "--xattrs --xattrs-include='user.*' --xattrs-include='system.posix_acl_*' "
    };
    format!("-x -f - -b 128 -p --numeric-owner --warning=no-timestamp {owners}{attributes}")
}

/// What has come, in its order, and whether the staging directory is still there. `at_once`: a program puts in place what it can.
async fn unpack(tree: &SshTree, name: &str, pack: Pack, at_once: bool) -> Result<(Vec<Staged>, bool)> {
    // A directory that hands its access list down must not do so to what is only passing through.
    let room = format!("umask 077; mkdir -- './{name}' && cd './{name}' || exit; setfattr -h -x system.posix_acl_default . 2>/dev/null");
    let flags = tar_flags(tree);
    let script = if at_once { format!("{room}; tar {flags} && {}", place::program(name)) } else { format!("{room}; exec tar {flags}") };
    let (input, output) = exec::start(&tree.host, &script).await?.split();
    let sending = Sending { input, buffer: BytesMut::with_capacity(MESSAGE + (16 << 10)), staged: Vec::new(), left: 0, bytes: 0 };
    let (mut feeding, mut listening) = (pin!(sending.all(tree, pack, at_once)), pin!(ended(tree, output)));
    // What the programs say is read meanwhile: a word that nobody takes would hold up everything on this connection, the pack included.
    let (fed, said) = tokio::select! {
        fed = &mut feeding => (fed, listening.await),
        said = &mut listening => match said {
            Ok(words) => (feeding.await, Ok(words)),
            Err(gone) => return Err(gone),
        },
    };
    match (fed, said) {
        (Ok(staged), Ok(words)) if at_once => place::heard(tree, staged, &words),
        (Ok(staged), said) => said.map(|_| (staged, true)),
        // When tar has gone its last words say more than that nobody listens.
        (Err(e), Err(said)) if e.kind == ErrorKind::Interrupted && said.kind == ErrorKind::NoSpace => Err(said),
        (Err(e), _) => Err(e),
    }
}

/// All that was said.
async fn ended(tree: &SshTree, mut output: exec::Output) -> Result<Vec<u8>> {
    let mut words = Vec::new();
    while let Some(piece) = output.next().await? {
        words.extend_from_slice(&piece);
    }
    let ended = output.ended()?;
    if ended.status == 0 { Ok(words) } else { Err(ended.letter("unpack files at", tree.host.location())) }
}

/// An archive on its way.
struct Sending {
    input: Input,
    buffer: BytesMut,
    staged: Vec<Staged>,
    /// Bytes of the current thing that are still to come, and how many there are in all.
    left: u64,
    bytes: u64,
}

impl Sending {
    /// The whole archive; what is in it, in its order. `places`: in its end it says where everything belongs.
    async fn all(mut self, tree: &SshTree, mut pack: Pack, places: bool) -> Result<Vec<Staged>> {
        while let Some(packed) = pack.next().await {
            let fed = match packed {
                Ok(packed) => self.packed(tree, packed).await,
                Err(e) => Err(e),
            };
            if let Err(e) = fed {
                // tar ends without an archive's end; what it has made goes with its directory.
                let _ = self.input.end().await;
                return Err(e);
            }
        }
        if self.left > 0 {
            return Err(shrunk("a pack", self.bytes - self.left));
        }
        if places {
            place::list(tree, &mut self.staged, &mut self.buffer).await?;
        }
        self.finish().await?;
        Ok(self.staged)
    }

    async fn packed(&mut self, tree: &SshTree, packed: Packed) -> Result<()> {
        match packed {
            Packed::Begin { entry, data, fresh } => {
                self.complete(tree)?;
                crate::tree::accepts(&entry.path, tree.host.location(), tree.host.room())?;
                self.bytes = data.iter().map(|r| r.end - r.start).sum();
                self.left = self.bytes;
                tar::begin(&mut self.buffer, self.staged.len().to_string().as_bytes(), &kept(tree, &entry), &data);
                self.staged.push(Staged { path: entry.path, fresh, state: State::Waits });
            }
            Packed::Piece(piece) => {
                self.left = self.left.checked_sub(piece.len() as u64).ok_or_else(|| shrunk(tree.host.location(), self.bytes))?;
                if piece.len() >= MESSAGE / 2 {
                    self.flush().await?;
                    self.input.send(piece).await?;
                } else {
                    self.buffer.extend_from_slice(&piece);
                }
                if self.left == 0 {
                    self.buffer.extend_from_slice(tar::padding(self.bytes));
                }
            }
        }
        if self.buffer.len() >= MESSAGE { self.flush().await } else { Ok(()) }
    }

    fn complete(&self, tree: &SshTree) -> Result<()> {
        if self.left == 0 { Ok(()) } else { Err(shrunk(tree.host.location(), self.bytes - self.left)) }
    }

    async fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() { Ok(()) } else { self.input.send(self.buffer.split().freeze()).await }
    }

    async fn finish(&mut self) -> Result<()> {
        self.buffer.extend_from_slice(tar::END);
        self.flush().await?;
        // tar has read the archive's end, and may have gone by now.
        let _ = self.input.end().await;
        Ok(())
    }
}

/// The entry with a time, and with what this user can set there.
pub(super) fn kept(tree: &SshTree, entry: &Entry) -> Entry {
    let mut entry = entry.clone();
    entry.modified_ns = entry.modified_ns.or_else(|| i64::try_from(jiff::Timestamp::now().as_nanosecond()).ok());
    if let Some(posix) = entry.posix.as_mut().filter(|_| !tree.tools.root) {
        posix.attributes.retain(|name, _| name.starts_with("user.") || name.starts_with("system.posix_acl_"));
    }
    entry
}

/// A pack of one thing.
pub(super) fn single(entry: Entry, body: ports::files::Body, fresh: bool) -> Pack {
    let size = entry.size();
    let subject = entry.path.to_string();
    let whole = 0..size;
    let data = if size > 0 { vec![whole] } else { Vec::new() };
    let begin = Ok(Packed::Begin { entry: Box::new(entry), data, fresh });
    let mut seen = 0;
    let end = futures::stream::once(async { None::<Result<Bytes>> });
    let pieces = body.map(Some).chain(end).filter_map(move |piece| {
        let step = match piece {
            Some(Ok(piece)) => {
                seen += piece.len() as u64;
                let too_long = seen > size;
                Some(if too_long { Err(crate::body::wrong_length(&subject, size, seen)) } else { Ok(Packed::Piece(piece)) })
            }
            Some(Err(e)) => Some(Err(e)),
            None if seen < size => Some(Err(crate::body::wrong_length(&subject, size, seen))),
            None => None,
        };
        async move { step.filter(|s| !matches!(s, Ok(Packed::Piece(p)) if p.is_empty())) }
    });
    futures::stream::iter([begin]).chain(pieces).boxed()
}
