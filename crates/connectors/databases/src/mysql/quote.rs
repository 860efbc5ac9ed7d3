//! Writing names and values into SQL text. Every name and every value that enters a statement passes through here.

/// A name between backticks.
pub(super) fn ident(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Several names, comma-separated.
pub(super) fn idents<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(ident).collect::<Vec<_>>().join(",")
}

/// A character string literal. Our sessions never have `NO_BACKSLASH_ESCAPES`.
pub(super) fn text(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('\'');
    for c in value.chars() {
        match c {
            '\'' => out.push_str("''"),
            '\\' => out.push_str("\\\\"),
            '\0' => out.push_str("\\0"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{1a}' => out.push_str("\\Z"),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}

/// A binary string literal.
pub(super) fn hex(value: &[u8]) -> String {
    format!("X'{}'", hex::encode(value))
}

/// What a quoted token of the server's own output stands for: the inverse of [`ident`] and [`text`].
pub(super) fn unquote(token: &str) -> String {
    let mut chars = token.chars();
    let Some(quote @ ('`' | '\'' | '"')) = chars.next() else { return token.to_owned() };
    let inner = token.strip_prefix(quote).and_then(|t| t.strip_suffix(quote)).unwrap_or("");
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        if c == quote && chars.peek() == Some(&quote) {
            chars.next();
            out.push(quote);
        } else if c == '\\' && quote != '`' {
            match chars.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('t') => out.push('\t'),
                Some('0') => out.push('\0'),
                Some('Z') => out.push('\u{1a}'),
                Some(other) => out.push(other),
                None => {}
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_survive_quoting() {
        for name in ["a b", "a`b", "ü", "``", "select", ""] {
            assert_eq!(unquote(&ident(name)), name);
        }
        for value in ["it's", "a\\b", "\0\n\r\u{1a}", "", "'"] {
            assert_eq!(unquote(&text(value)), value);
        }
    }
}
