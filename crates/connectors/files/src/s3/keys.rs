//! Keys of objects and paths of files.
//!
//! A key is the path as it is, byte for byte: `a//b`, `/a`, `a b`, `a%20b` stay what they are. Keys must be UTF-8, so a path that is
//! not is escaped: each byte outside UTF-8 becomes `%XX`, and `%` becomes `%25`. A path that is UTF-8 but looks like the
//! outcome of such an escape is escaped once more. So every path has exactly one key and every key exactly one path.
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

fn escape(bytes: &[u8]) -> String {
    let mut key = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        key.push_str(&chunk.valid().replace('%', "%25"));
        for byte in chunk.invalid() {
            key.push_str(&format!("%{byte:02X}"));
        }
    }
    key
}

/// The bytes that [`encode`] escaped into this; `None` when it escaped nothing.
fn unescape(key: &str) -> Option<Vec<u8>> {
    if !key.contains('%') {
        return None;
    }
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(key).collect();
    let made = escape(&bytes) == key && std::str::from_utf8(&bytes).map_or(true, looks_escaped);
    made.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_one_key_and_every_key_one_path() {
        let paths: [&[u8]; 17] = [
            b"a",
            b"a//b",
            b"/a",
            b"a b",
            b"a%20b",
            b"caf\xe9",
            b"caf%E9",
            b"%%caf%E9",
            b"%%%%caf%E9",
            b"100%\xff",
            b"100%25%FF",
            b"caf%e9",
            b"%",
            b"caf%25E9",
            b"#%\x01\xff",
            b"%2525%25E9",
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
        assert_eq!(encode(&FilePath::from("a%20b")), "a%20b");
        assert_eq!(encode(&FilePath::new(b"caf\xe9")), "caf%E9");
        assert_eq!(encode(&FilePath::from("caf%E9")), "caf%25E9");
    }
}
