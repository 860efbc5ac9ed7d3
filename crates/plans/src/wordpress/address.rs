//! A site's address, rewritten wherever it stands: plain text, JSON (`http:\/\/`), URL-encoded (`http%3A%2F%2F`),
//! protocol-relative (`//host`) and inside PHP-serialised values.
//!
//! A host is looked for; then what stands before it must be `//` in some encoding (with or without `http:`/`https:`), and what
//! stands after it must not make it another host, another port or another path: `http://old.example.community` and
//! `http://old.example.com:8080` are not `http://old.example.com`.

use super::serialized::{self, Rewritten};

/// An address taken apart. `path` starts with `/` or is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub scheme: String,
    pub host: String,
    pub port: Option<u16>,
    pub path: String,
}

impl Address {
    /// `https://host[:port][/path]`; a query, a fragment, a user or another scheme give `None`. The scheme's own port counts as none.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let own_port = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        if rest.contains(['?', '#', '@', ' ', '\\']) {
            return None;
        }
        let (authority, path) = rest.find('/').map_or((rest, ""), |cut| rest.split_at(cut));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse::<u16>().ok()?)),
            _ => (authority, None),
        };
        if host.is_empty() {
            return None;
        }
        let path = path.trim_end_matches('/').to_owned();
        Some(Self { scheme, host: host.to_ascii_lowercase(), port: port.filter(|p| *p != own_port), path })
    }

    fn segments(&self) -> impl Iterator<Item = &str> {
        self.path.split('/').skip(1)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.path)
    }
}

/// Rewrites old addresses to new ones. Pure; the same input always gives the same output.
#[derive(Debug, Clone)]
pub struct Rewriter {
    /// Longest old path first, so that the more exact address wins.
    pairs: Vec<(Address, Address)>,
}

impl Rewriter {
    /// `None` when no pair changes anything.
    pub fn new(pairs: Vec<(Address, Address)>) -> Option<Self> {
        let mut kept: Vec<(Address, Address)> = Vec::new();
        for pair in pairs {
            if pair.0 != pair.1 && !kept.contains(&pair) {
                kept.push(pair);
            }
        }
        kept.sort_by_key(|(from, _)| std::cmp::Reverse(from.path.len()));
        (!kept.is_empty()).then_some(Self { pairs: kept })
    }

    pub fn pairs(&self) -> &[(Address, Address)] {
        &self.pairs
    }

    /// Texts of which a value must contain one to be worth reading: the old hosts.
    pub fn needles(&self) -> Vec<String> {
        let mut hosts: Vec<String> = self.pairs.iter().map(|(from, _)| from.host.clone()).collect();
        hosts.sort();
        hosts.dedup();
        hosts
    }

    /// A whole stored value: serialised values are opened, anything else is text.
    pub fn value(&self, value: &[u8]) -> Rewritten {
        if serialized::looks_serialized(value) {
            let out = serialized::rewrite(value, &|text| self.text(text));
            // A broken value without an old address in it is nobody's concern here.
            let malformed = if out.malformed > 0 && self.text(value).is_none() { 0 } else { out.malformed };
            return Rewritten { malformed, ..out };
        }
        Rewritten { bytes: self.text(value), malformed: 0 }
    }

    /// Plain text, JSON or URL-encoded text. `None`: nothing to change.
    pub fn text(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let (mut copied, mut at) = (0, 0);
        while at < text.len() {
            let Some(found) = self.pairs.iter().find_map(|(from, to)| match_at(text, at, from, to, copied)) else {
                at += 1;
                continue;
            };
            out.extend_from_slice(&text[copied..found.start]);
            out.extend_from_slice(&found.new);
            copied = found.end;
            at = found.end;
        }
        if copied == 0 {
            return None;
        }
        out.extend_from_slice(&text[copied..]);
        (out != text).then_some(out)
    }
}

struct Found {
    start: usize,
    end: usize,
    new: Vec<u8>,
}

/// How slash and colon are written around one occurrence.
struct Style<'t> {
    slash: &'t [u8],
    /// For a port: `:` or its URL-encoded form.
    colon: Vec<u8>,
}

fn match_at(text: &[u8], at: usize, from: &Address, to: &Address, floor: usize) -> Option<Found> {
    let host = from.host.as_bytes();
    text.get(at..at + host.len()).filter(|found| found.eq_ignore_ascii_case(host))?;
    let slash = slash_before(&text[floor..at])?;
    let after_colon = at - 2 * slash.len();
    text.get(floor..)?;
    let first = after_colon.checked_sub(floor).map(|_| &text[after_colon..after_colon + slash.len()])?;
    if first != slash {
        return None;
    }
    let style = Style { slash, colon: colon_like(slash) };
    let (start, prefix) = scheme_before(text, floor, after_colon, to)?;
    let end = end_of(text, at + host.len(), from, &style)?;
    let mut new = prefix;
    new.extend_from_slice(slash);
    new.extend_from_slice(slash);
    new.extend_from_slice(to.host.as_bytes());
    if let Some(port) = to.port {
        new.extend_from_slice(&style.colon);
        new.extend_from_slice(port.to_string().as_bytes());
    }
    for segment in to.segments() {
        new.extend_from_slice(slash);
        new.extend_from_slice(segment.as_bytes());
    }
    Some(Found { start, end, new })
}

/// The slash that ends `text`: `/`, `\/`, `\\\/`, `%2F`, `%252f`.
fn slash_before(text: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = text.strip_suffix(b"/") {
        let escapes = rest.iter().rev().take_while(|b| **b == b'\\').count();
        return Some(&text[rest.len() - escapes..]);
    }
    encoded_before(text, b"2F").or_else(|| encoded_before(text, b"2f"))
}

/// `%2F`, `%252F`, … at the end of `text`, for the code `2F`.
fn encoded_before<'t>(text: &'t [u8], code: &[u8]) -> Option<&'t [u8]> {
    let mut rest = text.strip_suffix(code)?;
    while let Some(shorter) = rest.strip_suffix(b"25") {
        rest = shorter;
    }
    let rest = rest.strip_suffix(b"%")?;
    Some(&text[rest.len()..])
}

/// The colon in the same encoding as this slash.
fn colon_like(slash: &[u8]) -> Vec<u8> {
    if slash.ends_with(b"/") {
        return b":".to_vec();
    }
    let upper = slash.ends_with(b"F");
    let mut colon = slash[..slash.len() - 2].to_vec();
    colon.extend_from_slice(if upper { b"3A" } else { b"3a" });
    colon
}

/// What stands before the two slashes: a web scheme with its colon, which becomes the new scheme, or nothing
/// (protocol-relative). Another scheme: no match. Gives where the match starts and the new prefix.
fn scheme_before(text: &[u8], floor: usize, end: usize, to: &Address) -> Option<(usize, Vec<u8>)> {
    let before = &text[floor..end];
    let colon =
        if before.ends_with(b":") { Some(&before[before.len() - 1..]) } else { encoded_before(before, b"3A").or_else(|| encoded_before(before, b"3a")) };
    let Some(colon) = colon else {
        return (!before.ends_with(b"/") && !before.ends_with(b"\\")).then(|| (end, Vec::new()));
    };
    let before = &before[..before.len() - colon.len()];
    let scheme = [&b"https"[..], b"http"].into_iter().find(|s| before.len() >= s.len() && before[before.len() - s.len()..].eq_ignore_ascii_case(s))?;
    let mut prefix = to.scheme.clone().into_bytes();
    prefix.extend_from_slice(colon);
    Some((floor + before.len() - scheme.len(), prefix))
}

/// Where the old address ends, when port and path are the right ones and nothing makes it another address.
fn end_of(text: &[u8], mut at: usize, from: &Address, style: &Style<'_>) -> Option<usize> {
    if let Some(port) = from.port {
        let port = port.to_string();
        let rest = text[at..].strip_prefix(&*style.colon)?.strip_prefix(port.as_bytes())?;
        at = text.len() - rest.len();
        if rest.first().is_some_and(u8::is_ascii_digit) {
            return None;
        }
    } else if [&b":"[..], &style.colon].iter().any(|c| text[at..].strip_prefix(*c).is_some_and(|r| r.first().is_some_and(u8::is_ascii_digit))) {
        return None;
    }
    for segment in from.segments() {
        let rest = text[at..].strip_prefix(style.slash)?.strip_prefix(segment.as_bytes())?;
        at = text.len() - rest.len();
    }
    is_boundary(&text[at..]).then_some(at)
}

fn is_boundary(rest: &[u8]) -> bool {
    let part_of_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    match rest {
        [] => true,
        [b'@' | b'~', ..] => false,
        [b'.', next, ..] => !part_of_name(*next),
        [b, ..] => !part_of_name(*b),
    }
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
