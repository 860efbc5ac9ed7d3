//! The surface of PHP that a configuration file needs: where code is, where strings and comments are, what is assigned.

use super::ConfigError;
use std::ops::Range;

/// One `define`, `const` or `$table_prefix` assignment: the span of its value, and the value when it is one plain string.
pub(super) struct Assignment {
    pub name: String,
    pub span: Range<usize>,
    pub literal: Option<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    /// A string without interpolation, unescaped.
    Text(Vec<u8>),
    /// A double-quoted string or heredoc that PHP would compute.
    Computed,
    Symbol(u8),
}

type Spanned = (Token, Range<usize>);

/// All assignments, in the order of the file.
pub(super) fn scan(text: &[u8]) -> Result<Vec<Assignment>, ConfigError> {
    let tokens = tokens(text)?;
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        let assignment = define_at(&tokens, at).or_else(|| const_at(&tokens, at)).or_else(|| prefix_at(&tokens, at));
        found.extend(assignment);
    }
    Ok(found)
}

/// `define ( 'NAME' , value [, flag] )`
fn define_at(tokens: &[Spanned], at: usize) -> Option<Assignment> {
    let is_define = matches!(&tokens[at].0, Token::Word(w) if w.eq_ignore_ascii_case("define") || w.eq_ignore_ascii_case("\\define"));
    let method = at > 0 && matches!(tokens[at - 1].0, Token::Symbol(b'>' | b':'));
    let (Token::Symbol(b'('), Token::Text(name), Token::Symbol(b',')) = (&tokens.get(at + 1)?.0, &tokens.get(at + 2)?.0, &tokens.get(at + 3)?.0) else {
        return None;
    };
    if !is_define || method {
        return None;
    }
    value_from(tokens, at + 4, b",)", String::from_utf8_lossy(name).into_owned())
}

/// `const NAME = value;`
fn const_at(tokens: &[Spanned], at: usize) -> Option<Assignment> {
    let (Token::Word(word), Token::Word(name), Token::Symbol(b'=')) = (&tokens[at].0, &tokens.get(at + 1)?.0, &tokens.get(at + 2)?.0) else { return None };
    if !word.eq_ignore_ascii_case("const") {
        return None;
    }
    value_from(tokens, at + 3, b";,", name.clone())
}

/// `$table_prefix = value;`
fn prefix_at(tokens: &[Spanned], at: usize) -> Option<Assignment> {
    let (Token::Word(name), Token::Symbol(b'=')) = (&tokens[at].0, &tokens.get(at + 1)?.0) else { return None };
    if name != "$table_prefix" || matches!(tokens.get(at + 2), Some((Token::Symbol(b'='), _))) {
        return None;
    }
    value_from(tokens, at + 2, b";", name.clone())
}

/// The expression from token `first` to one of `ends` at its own bracket level.
fn value_from(tokens: &[Spanned], first: usize, ends: &[u8], name: String) -> Option<Assignment> {
    let mut depth = 0;
    let mut last = first;
    loop {
        match &tokens.get(last)?.0 {
            Token::Symbol(b) if depth == 0 && ends.contains(b) => break,
            Token::Symbol(b'(' | b'[' | b'{') => depth += 1,
            Token::Symbol(b')' | b']' | b'}') => depth -= 1,
            _ => {}
        }
        last += 1;
    }
    if last == first {
        return None;
    }
    let span = tokens[first].1.start..tokens[last - 1].1.end;
    let literal = match &tokens[first].0 {
        Token::Text(value) if last == first + 1 => Some(value.clone()),
        _ => None,
    };
    Some(Assignment { name, span, literal })
}

/// The code's tokens; inline HTML and comments are passed over.
fn tokens(text: &[u8]) -> Result<Vec<Spanned>, ConfigError> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(open) = find(text, at, b"<?") {
        at = open + 2;
        if text[at..].len() >= 3 && text[at..at + 3].eq_ignore_ascii_case(b"php") {
            at += 3;
        }
        at = code(text, at, &mut out)?;
    }
    Ok(out)
}

/// Reads code until `?>` or the end of the file; gives where it stopped.
fn code(text: &[u8], mut at: usize, out: &mut Vec<Spanned>) -> Result<usize, ConfigError> {
    while at < text.len() {
        let rest = &text[at..];
        let start = at;
        match rest {
            [b'?', b'>', ..] => return Ok(at + 2),
            [b, ..] if b.is_ascii_whitespace() => at += 1,
            [b'/', b'*', ..] => at = find(text, at + 2, b"*/").ok_or_else(|| unfinished("a comment", text, at))? + 2,
            [b'/', b'/', ..] | [b'#', ..] if !rest.starts_with(b"#[") => at = end_of_line_comment(text, at),
            [b'\'', ..] => {
                let (value, end) = single_quoted(text, at)?;
                out.push((Token::Text(value), start..end));
                at = end;
            }
            [b'"', ..] => {
                let (token, end) = double_quoted(text, at)?;
                out.push((token, start..end));
                at = end;
            }
            [b'<', b'<', b'<', ..] => {
                at = heredoc(text, at)?;
                out.push((Token::Computed, start..at));
            }
            [b, ..] if is_word(*b) || matches!(b, b'$' | b'\\') => {
                at += 1 + rest[1..].iter().take_while(|b| is_word(**b) || **b == b'\\').count();
                out.push((Token::Word(String::from_utf8_lossy(&text[start..at]).into_owned()), start..at));
            }
            [b, ..] => {
                at += 1;
                out.push((Token::Symbol(*b), start..at));
            }
            [] => break,
        }
    }
    Ok(at)
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80
}

/// A line comment ends with its line, or with `?>`.
fn end_of_line_comment(text: &[u8], at: usize) -> usize {
    let line = find(text, at, b"\n").unwrap_or(text.len());
    find(&text[..line], at, b"?>").unwrap_or(line)
}

fn single_quoted(text: &[u8], start: usize) -> Result<(Vec<u8>, usize), ConfigError> {
    let mut value = Vec::new();
    let mut at = start + 1;
    loop {
        match text.get(at..).unwrap_or_default() {
            [b'\'', ..] => return Ok((value, at + 1)),
            [b'\\', c @ (b'\'' | b'\\'), ..] => {
                value.push(*c);
                at += 2;
            }
            [b, ..] => {
                value.push(*b);
                at += 1;
            }
            [] => return Err(unfinished("a string", text, start)),
        }
    }
}

fn double_quoted(text: &[u8], start: usize) -> Result<(Token, usize), ConfigError> {
    let mut value = Vec::new();
    let mut computed = false;
    let mut at = start + 1;
    loop {
        match text.get(at..).unwrap_or_default() {
            [b'"', ..] => return Ok((if computed { Token::Computed } else { Token::Text(value) }, at + 1)),
            [b'\\', c, ..] => {
                at += 2;
                match c {
                    b'n' => value.push(b'\n'),
                    b't' => value.push(b'\t'),
                    b'r' => value.push(b'\r'),
                    b'v' => value.push(0x0b),
                    b'e' => value.push(0x1b),
                    b'f' => value.push(0x0c),
                    b'"' | b'\\' | b'$' => value.push(*c),
                    b'0'..=b'7' | b'x' | b'u' => computed = true,
                    other => value.extend_from_slice(&[b'\\', *other]),
                }
            }
            [b'$', b, ..] if is_word(*b) && !b.is_ascii_digit() || *b == b'{' => {
                computed = true;
                at += 1;
            }
            [b'{', b'$', ..] => {
                computed = true;
                at += 1;
            }
            [b, ..] => {
                value.push(*b);
                at += 1;
            }
            [] => return Err(unfinished("a string", text, start)),
        }
    }
}

/// Passes over `<<<NAME … NAME` and `<<<'NAME' … NAME`.
fn heredoc(text: &[u8], start: usize) -> Result<usize, ConfigError> {
    let line = find(text, start, b"\n").ok_or_else(|| unfinished("a heredoc", text, start))?;
    let label = text[start + 3..line].trim_ascii();
    let label: Vec<u8> = label.iter().copied().filter(|b| is_word(*b)).collect();
    let mut at = line + 1;
    while at <= text.len() && !label.is_empty() {
        let end = find(text, at, b"\n").unwrap_or(text.len());
        let indent = text[at..end].len() - text[at..end].trim_ascii_start().len();
        let rest = &text[at + indent..end];
        if rest.starts_with(&label) && !rest.get(label.len()).is_some_and(|b| is_word(*b)) {
            return Ok(at + indent + label.len());
        }
        at = end + 1;
    }
    Err(unfinished("a heredoc", text, start))
}

fn unfinished(what: &'static str, text: &[u8], at: usize) -> ConfigError {
    ConfigError::Unfinished(what, text[..at].split(|b| *b == b'\n').count())
}

fn find(text: &[u8], from: usize, needle: &[u8]) -> Option<usize> {
    text.get(from..)?.windows(needle.len()).position(|w| w == needle).map(|p| p + from)
}
