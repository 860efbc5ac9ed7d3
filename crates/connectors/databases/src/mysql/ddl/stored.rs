//! Definitions as bytes: a server may word a binary default with bytes that are no UTF-8.

use super::super::quote::{hex, unquote};
use super::lexer::{Kind, Token, tokens};

/// The text of a definition. Literals that are no UTF-8 become hexadecimal ones where they mean the same there; `None` where
/// something else is no UTF-8, or such a literal stands where it cannot be replaced.
pub(in super::super) fn definition(bytes: Vec<u8>) -> Option<String> {
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => return Some(text),
        Err(error) => error.into_bytes(),
    };
    // One character per byte: what the lexer looks for is ASCII.
    let wide: String = bytes.iter().map(|b| char::from(*b)).collect();
    let all = tokens(&wide);
    let mut out = Vec::with_capacity(bytes.len());
    for (at, token) in all.iter().enumerate() {
        let raw = narrow(token.text);
        if token.kind == Kind::Text && std::str::from_utf8(&raw).is_err() {
            if !is_binary(&all, at) {
                return None;
            }
            out.push(b' ');
            out.extend_from_slice(hex(&narrow(&unquote(token.text))).as_bytes());
        } else {
            out.extend_from_slice(&raw);
        }
    }
    String::from_utf8(out).ok()
}

fn narrow(wide: &str) -> Vec<u8> {
    wide.chars().map(|c| c as u8).collect()
}

/// Whether the literal's own character set is told (`_latin1'…'`) or its column's is (`DEFAULT '…'`).
fn is_binary(all: &[Token<'_>], at: usize) -> bool {
    let before = all[..at].iter().rev().find(|t| !matches!(t.kind, Kind::Space | Kind::Comment));
    before.is_some_and(|t| t.is("DEFAULT") || (t.kind == Kind::Word && t.text.starts_with('_')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_literals_become_hexadecimal() {
        let shown = b"CREATE TABLE `t\xc3\xa9` (`k` binary(4) DEFAULT '\\0\xff''\\'' COMMENT '\xc3\xa9', CHECK (`k` <> _binary'\xfe'))";
        let text = "CREATE TABLE `té` (`k` binary(4) DEFAULT  X'00ff2727' COMMENT 'é', CHECK (`k` <> _binary X'fe'))";
        assert_eq!(definition(shown.to_vec()).as_deref(), Some(text));
        assert_eq!(definition(b"CREATE VIEW v AS select '\xff' AS `a`".to_vec()), None, "its character set is not told");
        assert_eq!(definition(b"CREATE TABLE `\xff` (a int)".to_vec()), None);
    }
}
