//! Facts of what is already there: directories in one archive of headers, single files by the small programs; and further names.

use super::SshTree;
use super::exec::{self, NO_ROOT, quoted};
use super::unpack::{kept, tar_flags};
use crate::sftp::session::Fault;
use crate::sftp::verbs::done;
use crate::sftp::write::beside;
use crate::{staging, tar};
use bytes::BytesMut;
use ports::files::posix::Unpacked;
use ports::files::{Entry, EntryKind, FilePath};
use ports::{ConnectorError, ErrorKind, Result};

/// Makes the directories and sets all their facts.
pub(super) async fn directories(tree: &SshTree, entries: &[Entry]) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let paths: Vec<FilePath> = entries.iter().map(|e| e.path.clone()).collect();
    let mut archive = BytesMut::new();
    let mut found = super::list::stats(tree, &paths).await?;
    let mut made = false;
    for (entry, now) in entries.iter().zip(&found) {
        let standing = now.as_ref().filter(|n| n.kind == EntryKind::Directory);
        if standing.is_none() {
            // Clears the way, and makes sure that nothing leads out of the root.
            crate::sftp::write::make(&tree.host, &Entry { modified_ns: None, mode: None, posix: None, ..entry.clone() }).await?;
            made = true;
        }
        let facts = |now: &Entry| Entry {
            posix: entry.posix.clone().or(now.posix.clone()),
            mode: entry.mode.or(now.mode),
            modified_ns: entry.modified_ns.or(now.modified_ns),
            ..entry.clone()
        };
        let entry = kept(tree, &standing.map_or_else(|| entry.clone(), facts));
        tar::begin(&mut archive, &[b"./", entry.path.as_bytes(), b"/"].concat(), &entry, &[]);
    }
    archive.extend_from_slice(tar::END);
    if made {
        found = super::list::stats(tree, &paths).await?;
    }
    // What a parent's default access list has handed down goes before the own facts come.
    bare(tree, entries, found).await?;
    let (_, ended) = exec::start(&tree.host, &format!("exec tar {} --overwrite-dir", tar_flags(tree))).await?.answer(archive.to_vec()).await?;
    if ended.status == 0 { Ok(()) } else { Err(ended.letter("finish the directories of", tree.host.location())) }
}

/// Takes away the attributes that are there and should not be.
async fn bare(tree: &SshTree, entries: &[Entry], now: Vec<Option<Entry>>) -> Result<()> {
    let mut script = Vec::new();
    for (entry, now) in entries.iter().zip(now) {
        let (Some(wanted), Some(now)) = (&entry.posix, now.and_then(|n| n.posix)) else { continue };
        for name in now.attributes.keys().filter(|name| !wanted.attributes.contains_key(*name)) {
            attribute_away(&mut script, name, &entry.path);
        }
    }
    if script.is_empty() || !tree.tools.setfattr { Ok(()) } else { run(tree, script, "take attributes from directories of").await }
}

fn name_of(path: &FilePath) -> Vec<u8> {
    quoted(&[b"./", path.as_bytes()].concat())
}

fn attribute_away(script: &mut Vec<u8>, name: &str, path: &FilePath) {
    // A label of the security system belongs to the host.
    if name == "security.selinux" {
        return;
    }
    script.extend_from_slice(b"setfattr -h -x ");
    script.extend_from_slice(&quoted(name.as_bytes()));
    script.extend_from_slice(b" -- ");
    script.extend_from_slice(&name_of(path));
    script.extend_from_slice(b"\n");
}

/// Feeds a script to a shell in the root; the first command that fails ends it.
async fn run(tree: &SshTree, script: Vec<u8>, operation: &str) -> Result<()> {
    let (_, ended) = exec::start(&tree.host, "exec sh -e -s").await?.answer(script).await?;
    match ended.status {
        0 => Ok(()),
        NO_ROOT => Err(super::list::no_root(tree).await),
        _ => Err(ended.letter(operation, tree.host.location())),
    }
}

/// Sets owner, mode, attributes and time of a file that is there, never through a link.
pub(super) async fn file(tree: &SshTree, entry: &Entry) -> Result<()> {
    let now = super::list::stats(tree, std::slice::from_ref(&entry.path)).await?.pop().flatten();
    let subject = tree.host.subject(&entry.path);
    let Some(now) = now else {
        return Err(ConnectorError::new(ErrorKind::NotFound, "set mode and time of", subject, "it does not exist"));
    };
    if !matches!(now.kind, EntryKind::File { .. }) {
        return Err(ConnectorError::new(ErrorKind::Invalid, "set mode and time of", subject, "it is no file"));
    }
    let name = name_of(&entry.path);
    let mut script = Vec::new();
    // First, because a new owner takes some of them away too.
    let wanted = entry.posix.as_ref().map(|p| &p.attributes);
    let extra = now.posix.iter().flat_map(|p| p.attributes.keys()).filter(|a| tree.tools.setfattr && wanted.is_some_and(|w| !w.contains_key(*a)));
    extra.for_each(|attribute| attribute_away(&mut script, attribute, &entry.path));
    let mut command = |words: &str| {
        script.extend_from_slice(words.as_bytes());
        script.extend_from_slice(b" -- ");
        script.extend_from_slice(&name);
        script.push(b'\n');
    };
    if let Some(posix) = entry.posix.as_ref().filter(|_| tree.tools.root) {
        command(&format!("chown -h {}:{}", posix.owner, posix.group));
    }
    if let Some(mode) = entry.mode {
        command(&format!("chmod {:o}", mode & 0o7777));
    }
    if tree.tools.setfattr {
        for (attribute, value) in wanted.into_iter().flatten().filter(|(a, _)| tree.tools.root || a.starts_with("user.") || a.starts_with("system.posix_acl_"))
        {
            let attribute = String::from_utf8_lossy(&quoted(attribute.as_bytes())).into_owned();
            command(&format!("setfattr -h -n {attribute} -v 0x{}", hex::encode(value)));
        }
    }
    if let Some(ns) = entry.modified_ns {
        script.extend_from_slice(format!("touch -h -c -m -d @{}.{:09} -- ", ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000)).as_bytes());
        script.extend_from_slice(&name);
        script.push(b'\n');
    }
    run(tree, script, "set owner, mode, attributes and time at").await
}

/// Further names of files, in the place of what stands there.
pub(super) async fn link(tree: &SshTree, tag: &str, names: &[(FilePath, FilePath)]) -> Result<Unpacked> {
    let host = &tree.host;
    let session = host.session().await?;
    let mut outcomes = Vec::with_capacity(names.len());
    for (existing, new) in names {
        let subject = host.subject(new);
        let told = |e: Fault| e.tell("make the link", &subject);
        if let Err(e) = host.guard(&session, existing).await.and(host.ready(&session, new).await) {
            outcomes.push(Err(e));
            continue;
        }
        let staged = beside(host, new, &staging::name(tag, new));
        let linked = session.send_link(&host.absolute(existing), &staged).await;
        let placed = session.send_rename(&staged, &host.absolute(new), false).await;
        // Where both are one file already, the rename does nothing and leaves both names.
        let cleared = session.send_path(crate::sftp::wire::REMOVE, &staged).await;
        let linked = linked.wait().await.and_then(done);
        let mut placed = placed.wait().await.and_then(done);
        let _ = cleared.wait().await;
        if linked.is_ok() && placed.is_err() {
            // Something that a rename does not replace: an empty directory.
            placed = match session.send_link(&host.absolute(existing), &staged).await.wait().await.and_then(done) {
                Ok(()) => crate::sftp::write::place(host, &session, &staged, new, crate::sftp::write::Over::Anything).await,
                Err(e) => Err(e),
            };
        }
        match linked.and(placed) {
            Err(Fault::Lost) => return Err(told(Fault::Lost)),
            other => outcomes.push(other.map_err(told)),
        }
    }
    Ok(outcomes)
}
