//! Keys of objects and paths of files.
//!
//! A key is the path as it is, byte for byte: `a//b`, `/a`, `a b`, `a%20b`, `caf%E9.jpg` stay what they are. Keys must be UTF-8, so a
//! path that is not is escaped: each byte outside UTF-8 becomes `%~XX`, a sequence that no program makes for other ends. A path
//! that is UTF-8 but holds such a sequence has its `%` escaped as well. So every path has exactly one key and every key exactly one
//! path.
//!
//! An empty object whose key ends with `/` is a directory; its path has no `/` at the end. Listings come in the order of the
//! keys, which is that of the paths except for escaped ones; `order` puts those in their places.

use ports::files::FilePath;

/// The key (below the prefix) of a path.
pub(super) fn encode(path: &FilePath) -> String {
    match path.as_str() {
        Some(text) if !looks_escaped(text) => text.to_owned(),
        _ => escape(path.as_bytes()),
    }
}

/// The path of a key (below the prefix).
pub(super) fn decode(key: &str) -> FilePath {
    match unescape(key) {
        Some(bytes) => FilePath::new(bytes),
        None => FilePath::from(key),
    }
}

/// Whether it is what [`encode`] makes from something else.
fn looks_escaped(text: &str) -> bool {
    unescape(text).is_some()
}

/// What begins the escape of one byte; two upper-case hexadecimal digits follow.
const ESCAPE: &str = "%~";

fn escape(bytes: &[u8]) -> String {
    let mut key = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find(ESCAPE) {
            key.push_str(&rest[..at]);
            let after = &rest[at + ESCAPE.len()..];
            key.push_str(if hex(after).is_some() { "%~25~" } else { ESCAPE });
            rest = after;
        }
        key.push_str(rest);
        for byte in chunk.invalid() {
            key.push_str(&format!("{ESCAPE}{byte:02X}"));
        }
    }
    key
}

/// The byte that two upper-case hexadecimal digits at the beginning mean.
fn hex(text: &str) -> Option<u8> {
    let digits = text.get(..2)?;
    let upper = digits.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
    u8::from_str_radix(digits, 16).ok().filter(|_| upper)
}

/// The bytes that [`encode`] escaped into this; `None` when it escaped nothing.
fn unescape(key: &str) -> Option<Vec<u8>> {
    if !key.contains(ESCAPE) {
        return None;
    }
    let (mut bytes, mut rest, mut found) = (Vec::with_capacity(key.len()), key, false);
    while let Some(at) = rest.find(ESCAPE) {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let after = &rest[at + ESCAPE.len()..];
        match hex(after) {
            Some(byte) => {
                bytes.push(byte);
                found = true;
                rest = &after[2..];
            }
            None => {
                bytes.extend_from_slice(ESCAPE.as_bytes());
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    let made = found && escape(&bytes) == key && std::str::from_utf8(&bytes).map_or(true, looks_escaped);
    made.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_one_key_and_every_key_one_path() {
        let paths: [&[u8]; 24] = [
            b"a",
            b"a//b",
            b"/a",
            b"a b",
            b"a%20b",
            b"caf\xe9",
            b"caf%E9",
            b"caf%~E9",
            b"caf%~25E9",
            b"caf%~25~E9",
            b"caf%~25%~E9",
            b"%~",
            b"%~%~E9",
            b"%~0",
            b"%~01",
            b"%~e9",
            b"%%caf%E9",
            b"100%\xff",
            b"100%~\xff",
            b"100%25%FF",
            b"%",
            b"%\xff~E9",
            b"%~\xffE9",
            "é".as_bytes(),
        ];
        let mut keys = std::collections::BTreeSet::new();
        for path in paths {
            let path = FilePath::new(path);
            let key = encode(&path);
            assert_eq!(decode(&key), path, "{path:?} → {key}");
            assert_eq!(encode(&decode(&key)), key);
            assert!(keys.insert(key));
        }
        for text in ["a%20b", "caf%E9.jpg", "%25", "100%", "a%~b"] {
            assert_eq!(encode(&FilePath::from(text)), text);
            assert_eq!(decode(text), FilePath::from(text), "the text of a key is kept");
        }
        assert_eq!(encode(&FilePath::new(b"caf\xe9")), "caf%~E9");
        assert_eq!(encode(&FilePath::from("caf%~E9")), "caf%~25~E9");
    }
}
