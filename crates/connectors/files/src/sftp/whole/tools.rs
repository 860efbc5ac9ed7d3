//! What the server has: GNU find and tar, programs for attributes and hashes, and who we are there.

use super::exec;
use crate::sftp::root::Host;
use ports::Result;
use ports::files::DigestKind;
use ports::files::posix::Keeps;

/// How hashes are computed beside the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hasher {
    OpenSsl,
    Sha256sum,
}

#[derive(Debug, Clone)]
pub(super) struct Tools {
    pub(super) root: bool,
    /// GNU tar reads and writes extended attributes.
    pub(super) tar_attributes: bool,
    pub(super) getfattr: bool,
    pub(super) setfattr: bool,
    pub(super) hasher: Hasher,
    /// Only for speed.
    pub(super) perl: bool,
    pub(super) keeps: Keeps,
}

/// One word per line for everything that is there.
const PROBE: &str = r#"[ "$(id -u)" = 0 ] && echo root
find --version 2>/dev/null | grep -q 'GNU findutils' && echo find
tar --version 2>/dev/null | grep -q 'GNU tar' && echo tar
tar --help 2>/dev/null | grep -q -- --xattrs-include && echo tar_attributes
[ "$(printf 'b\0a\0' | sort -z 2>/dev/null | xargs -0 printf %s 2>/dev/null)" = ab ] && echo lists
[ "$(printf x | openssl dgst -sha256 -r 2>/dev/null | cut -c1-8)" = 2d711642 ] && echo openssl
[ "$(printf x | sha256sum -z 2>/dev/null | cut -c1-8 | tr -d '\0')" = 2d711642 ] && echo sha256sum
perl -MConfig -Mstrict -e 'print "perl\n"' 2>/dev/null
for p in getfattr setfattr; do command -v $p >/dev/null 2>&1 && echo $p; done
echo end"#;

/// Looks what is there; the inner error says why a whole tree cannot be had.
pub(super) async fn probe(host: &Host) -> Result<std::result::Result<Tools, String>> {
    let (said, ended) = match exec::start_anywhere(host, PROBE.as_bytes()).await?.answer(Vec::new()).await {
        Ok(answer) => answer,
        Err(e) if e.kind == ports::ErrorKind::Unsupported => return Ok(Err(e.reason)),
        Err(e) => return Err(e),
    };
    let words: Vec<String> = String::from_utf8_lossy(&said).lines().map(|l| l.trim().to_owned()).collect();
    let has = |word: &str| words.iter().any(|w| w == word);
    if !has("end") {
        return Ok(Err(format!("the server runs no POSIX shell for this user (it ended with {})", ended.status)));
    }
    let missing: Vec<&str> =
        [("find", "GNU find"), ("tar", "GNU tar"), ("lists", "sort -z and xargs -0")].iter().filter(|(w, _)| !has(w)).map(|(_, n)| *n).collect();
    if !missing.is_empty() {
        return Ok(Err(format!("the server has no {}", missing.join(" and no "))));
    }
    let hasher = match (has("openssl"), has("sha256sum")) {
        (true, _) => Hasher::OpenSsl,
        (_, true) => Hasher::Sha256sum,
        _ => return Ok(Err("the server has neither openssl nor sha256sum".to_owned())),
    };
    let mut notes = Vec::new();
    if !has("root") {
        notes.push("the user is not root: owners, device nodes and trusted attributes are not kept".to_owned());
    }
    let attributes = has("tar_attributes") && has("getfattr") && has("setfattr");
    if !has("tar_attributes") {
        notes.push("its tar knows no extended attributes".to_owned());
    } else if !attributes {
        notes.push(
            "getfattr and setfattr are missing (package attr): extended attributes and access control lists are neither compared nor adjusted".to_owned(),
        );
    }
    let keeps = Keeps { owners: has("root"), attributes, digest: DigestKind::Sha256, notes };
    Ok(Ok(Tools {
        root: has("root"),
        tar_attributes: has("tar_attributes"),
        getfattr: has("getfattr"),
        setfattr: has("setfattr"),
        hasher,
        perl: has("perl"),
        keeps,
    }))
}
