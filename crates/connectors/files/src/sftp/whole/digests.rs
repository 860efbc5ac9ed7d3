//! Hashes of what is stored, computed on the server.

use super::SshTree;
use super::exec;
use super::list::names;
use super::tools::Hasher;
use ports::Result;
use ports::files::{Digest, DigestKind, FilePath};
use sha2::{Digest as _, Sha256};

/// Hashes of the files at `paths`, in their order; `None` for what is no file there.
pub(super) async fn run(tree: &SshTree, paths: &[FilePath]) -> Result<Vec<Option<Digest>>> {
    let input = names(paths.iter().filter(|p| p.is_plain()));
    let hash = match tree.tools.hasher {
        Hasher::OpenSsl => "xargs -0 -r openssl dgst -sha256 -r 2>&1",
        Hasher::Sha256sum => "xargs -0 -r sha256sum -z 2>/dev/null",
    };
    // Nothing but files: reading a FIFO would wait for ever.
    let script = format!("xargs -0 -r sh -c 'exec find \"$@\" -maxdepth 0 -type f -print0 2>/dev/null' sh | {hash}");
    let (said, ended) = exec::start(&tree.host, &script).await?.answer(input).await?;
    if !matches!(ended.status, 0 | 1 | 123) {
        return Err(ended.letter("compute hashes at", tree.host.location()));
    }
    Ok(taken_apart(&said, paths, tree.tools.hasher))
}

/// The hash over the hashes of the parts of a large file; `None` for what is no file there.
pub(super) async fn over_parts(tree: &SshTree, path: &FilePath, part_size: u64) -> Result<Option<Digest>> {
    let name = exec::quoted(&[b"./", path.as_bytes()].concat());
    let hash = match tree.tools.hasher {
        Hasher::OpenSsl => "openssl dgst -sha256 -r",
        Hasher::Sha256sum => "sha256sum",
    };
    let rest = format!(
        r#"; [ -f "$f" ] && [ ! -h "$f" ] || exit 0; n=0; size=$(stat -c %s -- "$f"); while [ $((n * {part_size})) -lt "$size" ]; do
        dd if="$f" bs=1M iflag=skip_bytes,count_bytes skip=$((n * {part_size})) count={part_size} 2>/dev/null | {hash} | cut -c1-64; n=$((n + 1)); done"#
    );
    // The name may be no UTF-8, so the script is bytes.
    let script = [b"f=".as_slice(), &name, rest.as_bytes()].concat();
    let (said, ended) = exec::start_bytes(&tree.host, &script).await?.answer(Vec::new()).await?;
    if ended.status != 0 {
        return Err(ended.letter("compute the hash of", &tree.host.subject(path)));
    }
    let hashes: Option<Vec<Vec<u8>>> = said.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|line| hex::decode(line).ok()).collect();
    let Some(hashes) = hashes.filter(|h| !h.is_empty()) else { return Ok(None) };
    let mut whole = Sha256::new();
    for part in &hashes {
        whole.update(part);
    }
    Ok(Some(Digest { kind: DigestKind::Sha256, hex: format!("{}-{}", hex::encode(whole.finalize()), hashes.len()) }))
}

/// `HASH *NAME`, in the order of the names; a file that cannot be read has a line of another form, or none.
fn taken_apart(said: &[u8], paths: &[FilePath], hasher: Hasher) -> Vec<Option<Digest>> {
    let (between, end) = match hasher {
        Hasher::OpenSsl => (b" *./".as_slice(), b'\n'),
        Hasher::Sha256sum => (b"  ./".as_slice(), 0),
    };
    let mut rest = said;
    let mut found = Vec::with_capacity(paths.len());
    for path in paths {
        let mut digest = None;
        // Lines of complaint are passed over; a name may hold newlines, so it is compared, not searched for.
        let mut at = rest;
        while !at.is_empty() {
            if let Some((hash, after)) = named(at, path.as_bytes(), between, end) {
                digest = Some(Digest { kind: DigestKind::Sha256, hex: hash });
                rest = after;
                break;
            }
            if is_line(at, between) {
                break;
            }
            at = at.iter().position(|b| *b == end).map_or(&[], |cut| &at[cut + 1..]);
        }
        found.push(digest);
    }
    found
}

/// The hash of this name, if it is what comes first, and what comes after. Newer OpenSSL begins the line with a backslash and writes a newline in
/// the name as `\n`.
fn named<'a>(at: &'a [u8], name: &[u8], between: &[u8], end: u8) -> Option<(String, &'a [u8])> {
    let (at, name) = match at.strip_prefix(b"\\") {
        Some(rest) => (rest, name.iter().flat_map(|b| if *b == b'\n' { b"\\n".to_vec() } else { vec![*b] }).collect()),
        None => (at, name.to_vec()),
    };
    let after = at.get(64..)?.strip_prefix(between)?.strip_prefix(name.as_slice())?.strip_prefix(&[end])?;
    let hash = &at[..64];
    hash.iter().all(u8::is_ascii_hexdigit).then(|| (String::from_utf8_lossy(hash).into_owned(), after))
}

/// Whether a hash begins here: then it is that of a later name.
fn is_line(at: &[u8], between: &[u8]) -> bool {
    let at = at.strip_prefix(b"\\").unwrap_or(at);
    at.len() > 64 && at[..64].iter().all(u8::is_ascii_hexdigit) && at[64..].starts_with(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_find_their_names() {
        let hash = |c: &str| c.repeat(64);
        let said = format!("{} *./a\nopenssl: ./gone: No such file\n{} *./odd\nname\n{} *./z\n", hash("1"), hash("2"), hash("3"));
        let paths: Vec<FilePath> = ["a", "gone", "odd\nname", "x", "z"].into_iter().map(FilePath::from).collect();
        let found: Vec<Option<String>> = taken_apart(said.as_bytes(), &paths, Hasher::OpenSsl).into_iter().map(|d| d.map(|d| d.hex)).collect();
        assert_eq!(found, [Some(hash("1")), None, Some(hash("2")), None, Some(hash("3"))]);
        let said = format!("\\{} *./odd\\nname\n{} *./z\n", hash("2"), hash("3"));
        let found: Vec<bool> = taken_apart(said.as_bytes(), &paths, Hasher::OpenSsl).iter().map(Option::is_some).collect();
        assert_eq!(found, [false, false, true, false, true]);
        let said = format!("{}  ./a\0{}  ./odd\nname\0", hash("1"), hash("2"));
        let found: Vec<bool> = taken_apart(said.as_bytes(), &paths, Hasher::Sha256sum).iter().map(Option::is_some).collect();
        assert_eq!(found, [true, false, true, false, false]);
    }
}
