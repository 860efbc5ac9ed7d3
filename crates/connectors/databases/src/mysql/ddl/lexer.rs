//! Cutting the server's own SQL output into tokens, so that a word inside a comment or a literal is never taken for a keyword.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Kind {
    Space,
    /// Unquoted: keyword, number, unquoted name.
    Word,
    /// Between backticks.
    Name,
    /// Between single or double quotes.
    Text,
    /// `/* … */`, also the versioned ones.
    Comment,
    /// One character.
    Sign,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Token<'a> {
    pub kind: Kind,
    pub text: &'a str,
}

impl Token<'_> {
    pub fn is(&self, word: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Sign) && self.text.eq_ignore_ascii_case(word)
    }
}

/// All tokens, in order; joined they give `sql` again.
pub(in super::super) fn tokens(sql: &str) -> Vec<Token<'_>> {
    let mut out = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let (kind, len) = measure(rest, first);
        let (text, tail) = rest.split_at(len);
        out.push(Token { kind, text });
        rest = tail;
    }
    out
}

fn measure(rest: &str, first: char) -> (Kind, usize) {
    let until = |ends: fn(char) -> bool| rest.find(ends).unwrap_or(rest.len());
    match first {
        c if c.is_whitespace() => (Kind::Space, until(|c| !c.is_whitespace())),
        '`' => (Kind::Name, quoted(rest, b'`', false)),
        '\'' | '"' => (Kind::Text, quoted(rest, first as u8, true)),
        '/' if rest.starts_with("/*") => (Kind::Comment, rest[2..].find("*/").map_or(rest.len(), |at| at + 4)),
        c if word_char(c) => (Kind::Word, until(|c| !word_char(c))),
        c => (Kind::Sign, c.len_utf8()),
    }
}

fn word_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '@' | '.')
}

/// Length of a quoted token, both quotes included.
fn quoted(rest: &str, quote: u8, backslashes: bool) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        if backslashes && bytes[at] == b'\\' {
            at += 2;
        } else if bytes[at] == quote {
            if bytes.get(at + 1) != Some(&quote) {
                return at + 1;
            }
            at += 2;
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The tokens that mean something: no spaces, no plain comments.
pub(in super::super) fn words(sql: &str) -> Vec<Token<'_>> {
    tokens(sql).into_iter().filter(|t| !matches!(t.kind, Kind::Space | Kind::Comment)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_join_to_the_text_and_hide_what_is_quoted() {
        let sql = "CREATE TABLE `a``(b` (\n `x` int COMMENT 'it''s \\' (a), `',/*!50100 b, (*/ y \"q,\")";
        let all = tokens(sql);
        assert_eq!(all.iter().map(|t| t.text).collect::<String>(), sql);
        assert_eq!(all.iter().filter(|t| t.is("(")).count(), 1);
        assert_eq!(all.iter().filter(|t| t.is(",")).count(), 1);
        assert!(all.iter().any(|t| t.kind == Kind::Name && t.text == "`a``(b`"));
    }
}
