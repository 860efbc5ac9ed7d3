//! Cutting SQL into tokens, so that a word inside a comment or a literal is never taken for a keyword or a name.
//!
//! What the server words itself (`SHOW CREATE TABLE`, views) is read in the mode of our sessions. The text of a stored program is
//! its author's: it is read in the `sql_mode` that it was written in, comments included.

/// How quotes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in super::super) struct Mode {
    /// Double quotes stand around names.
    pub ansi_quotes: bool,
    /// A backslash is a character like any other.
    pub no_backslash_escapes: bool,
}

impl Mode {
    /// The mode of a program with this `sql_mode`.
    pub fn of(sql_mode: &str) -> Self {
        let has = |name| sql_mode.split(',').any(|m| m.trim().eq_ignore_ascii_case(name));
        Self { ansi_quotes: has("ANSI_QUOTES") || has("ANSI"), no_backslash_escapes: has("NO_BACKSLASH_ESCAPES") }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Kind {
    Space,
    /// Unquoted: keyword, number, unquoted name.
    Word,
    /// Between backticks, or between double quotes where those stand around names.
    Name,
    /// Between single or double quotes.
    Text,
    /// `/* … */`, also the versioned ones, and from `-- ` or `#` to the end of the line.
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

    /// The name that it stands for, if it can stand for one.
    pub fn name(&self) -> Option<String> {
        match self.kind {
            Kind::Word => Some(self.text.to_owned()),
            Kind::Name => {
                let quote = self.text.get(..1)?;
                let inner = self.text.get(1..self.text.len().saturating_sub(1))?;
                Some(inner.replace(&quote.repeat(2), quote))
            }
            _ => None,
        }
    }
}

/// All tokens of a text that the server worded, in order; joined they give `sql` again.
pub(in super::super) fn tokens(sql: &str) -> Vec<Token<'_>> {
    tokens_in(sql, Mode::default())
}

/// All tokens of a text that was written in this mode.
pub(in super::super) fn tokens_in(sql: &str, mode: Mode) -> Vec<Token<'_>> {
    let mut out = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let (kind, len) = measure(rest, first, mode);
        let (text, tail) = rest.split_at(len);
        out.push(Token { kind, text });
        rest = tail;
    }
    out
}

fn measure(rest: &str, first: char, mode: Mode) -> (Kind, usize) {
    let until = |ends: fn(char) -> bool| rest.find(ends).unwrap_or(rest.len());
    match first {
        c if c.is_whitespace() => (Kind::Space, until(|c| !c.is_whitespace())),
        '`' => (Kind::Name, quoted(rest, b'`', false)),
        '"' if mode.ansi_quotes => (Kind::Name, quoted(rest, b'"', false)),
        '\'' | '"' => (Kind::Text, quoted(rest, first as u8, !mode.no_backslash_escapes)),
        '/' if rest.starts_with("/*") => (Kind::Comment, rest[2..].find("*/").map_or(rest.len(), |at| at + 4)),
        '#' => (Kind::Comment, until(|c| c == '\n')),
        '-' if line_comment(rest) => (Kind::Comment, until(|c| c == '\n')),
        c if word_char(c) => (Kind::Word, word(rest)),
        c => (Kind::Sign, c.len_utf8()),
    }
}

/// Two hyphens begin a comment only before white space, a control character or the end.
fn line_comment(rest: &str) -> bool {
    rest.strip_prefix("--").is_some_and(|tail| tail.chars().next().is_none_or(|c| c.is_whitespace() || c.is_control()))
}

fn word_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '@')
}

/// Length of a word. A number takes its fraction along; elsewhere a dot parts names.
fn word(rest: &str) -> usize {
    let end = |text: &str| text.find(|c| !word_char(c)).unwrap_or(text.len());
    let length = end(rest);
    let number = rest[..length].bytes().all(|b| b.is_ascii_digit());
    match rest[length..].strip_prefix('.') {
        Some(fraction) if number && fraction.starts_with(|c: char| c.is_ascii_digit()) => length + 1 + end(fraction),
        _ => length,
    }
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

/// The tokens that mean something: no spaces, no comments.
pub(in super::super) fn words(sql: &str) -> Vec<Token<'_>> {
    words_in(sql, Mode::default())
}

/// [`words`] of a text that was written in this mode.
pub(in super::super) fn words_in(sql: &str, mode: Mode) -> Vec<Token<'_>> {
    tokens_in(sql, mode).into_iter().filter(|t| !matches!(t.kind, Kind::Space | Kind::Comment)).collect()
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

    #[test]
    fn programs_are_read_in_their_own_mode() {
        let words = |sql, mode| words_in(sql, Mode::of(mode)).iter().map(|t| (t.kind, t.text.to_owned())).collect::<Vec<_>>();
        let (word, name, text, sign) = (Kind::Word, Kind::Name, Kind::Text, Kind::Sign);
        let owned = |list: &[(Kind, &str)]| list.iter().map(|(k, t)| (*k, (*t).to_owned())).collect::<Vec<_>>();
        assert_eq!(words("a -- don't\n# it's\nb--1 --", ""), owned(&[(word, "a"), (word, "b"), (sign, "-"), (sign, "-"), (word, "1")]));
        assert_eq!(words("\"a\".b 'x'", "STRICT_ALL_TABLES,ANSI_QUOTES"), owned(&[(name, "\"a\""), (sign, "."), (word, "b"), (text, "'x'")]));
        assert_eq!(words("\"a\"", ""), owned(&[(text, "\"a\"")]));
        assert_eq!(words(r"'C:\', 'b'", "NO_BACKSLASH_ESCAPES"), owned(&[(text, r"'C:\'"), (sign, ","), (text, "'b'")]));
        assert_eq!(words("1.5e3 1a.b", ""), owned(&[(word, "1.5e3"), (word, "1a"), (sign, "."), (word, "b")]));
        assert_eq!(Token { kind: name, text: "\"a\"\"b\"" }.name().as_deref(), Some("a\"b"));
    }
}
