//! Values that PHP's `serialize()` made: strings inside are changed and every length is corrected.
//!
//! The value is walked once; only changed strings are copied anew. Whatever is not exactly what PHP would read back is
//! malformed: such a value is given back byte for byte and counted, so that the report can name it.

/// Deeper nesting than any real value has; beyond it the value counts as malformed.
const MAX_DEPTH: u32 = 256;

/// What became of a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rewritten {
    /// The new bytes; `None`: nothing changed.
    pub bytes: Option<Vec<u8>>,
    /// Serialised values, also nested ones, that were left alone because PHP could not read them either.
    pub malformed: u32,
}

/// Whether the value claims to be serialised: `a:2:{`, `O:8:"`, `s:5:"`. Numbers and booleans hold no text and do not count.
pub fn looks_serialized(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    let [kind, b':', rest @ ..] = value else { return false };
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let opener: &[u8] = match kind {
        b'a' => b":{",
        b's' | b'O' | b'C' | b'E' => b":\"",
        _ => return false,
    };
    digits > 0 && rest[digits..].starts_with(opener)
}

/// Changes the strings inside a serialised value. `change` gets a string that is not itself serialised and answers with its
/// replacement, or `None`. Array keys are changed like strings; class and property names are not.
pub fn rewrite(value: &[u8], change: &dyn Fn(&[u8]) -> Option<Vec<u8>>) -> Rewritten {
    rewrite_nested(value, change, 0)
}

fn rewrite_nested(value: &[u8], change: &dyn Fn(&[u8]) -> Option<Vec<u8>>, depth: u32) -> Rewritten {
    let start = value.len() - value.trim_ascii_start().len();
    let end = start + value.trim_ascii().len();
    let mut walk = Walk { input: &value[..end], at: start, out: Vec::new(), copied: 0, malformed: 0, change };
    if walk.value(depth).is_none() || walk.at != end {
        return Rewritten { bytes: None, malformed: 1 };
    }
    let bytes = (walk.copied > 0).then(|| {
        walk.out.extend_from_slice(&value[walk.copied..]);
        walk.out
    });
    Rewritten { bytes, malformed: walk.malformed }
}

struct Walk<'a> {
    input: &'a [u8],
    at: usize,
    out: Vec<u8>,
    /// Everything of `input` before this position is already in `out`.
    copied: usize,
    malformed: u32,
    change: &'a dyn Fn(&[u8]) -> Option<Vec<u8>>,
}

impl<'a> Walk<'a> {
    /// One value of any kind. `None`: malformed.
    fn value(&mut self, depth: u32) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match self.byte()? {
            b'N' => self.expect(b";"),
            b'b' => {
                self.expect(b":")?;
                matches!(self.byte()?, b'0' | b'1').then_some(())?;
                self.expect(b";")
            }
            b'i' | b'R' | b'r' => self.scalar(|b| b.is_ascii_digit() || b == b'-' || b == b'+'),
            b'd' => self.scalar(|b| b.is_ascii_digit() || b"+-.eEINFA".contains(&b)),
            b's' => self.string(depth),
            b'a' => {
                self.expect(b":")?;
                self.entries(depth, true)
            }
            b'O' => {
                self.name()?;
                self.expect(b":")?;
                self.entries(depth, false)
            }
            b'C' => self.custom(depth),
            b'E' => {
                self.name()?;
                self.expect(b";")
            }
            _ => None,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let b = *self.input.get(self.at)?;
        self.at += 1;
        Some(b)
    }

    fn expect(&mut self, text: &[u8]) -> Option<()> {
        self.input[self.at..].starts_with(text).then(|| self.at += text.len())
    }

    fn scalar(&mut self, allowed: impl Fn(u8) -> bool) -> Option<()> {
        self.expect(b":")?;
        let len = self.input[self.at..].iter().take_while(|b| allowed(**b)).count();
        if len == 0 {
            return None;
        }
        self.at += len;
        self.expect(b";")
    }

    fn number(&mut self) -> Option<usize> {
        let len = self.input[self.at..].iter().take_while(|b| b.is_ascii_digit()).count();
        let text = std::str::from_utf8(&self.input[self.at..self.at + len]).ok()?;
        self.at += len;
        text.parse().ok()
    }

    /// `:5:"hello"`, leaving the position after the closing quote; gives where the number starts and the content.
    fn quoted(&mut self) -> Option<(usize, &'a [u8])> {
        self.expect(b":")?;
        let start = self.at;
        let len = self.number()?;
        self.expect(b":\"")?;
        let content = self.input.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        self.expect(b"\"")?;
        Some((start, content))
    }

    fn name(&mut self) -> Option<()> {
        self.quoted().map(|_| ())
    }

    fn string(&mut self, depth: u32) -> Option<()> {
        let (start, content) = self.quoted()?;
        let new = self.changed(content, depth);
        self.replace_counted(start, new, b"\"", b"\"");
        self.expect(b";")
    }

    /// `n:{key value …}`.
    fn entries(&mut self, depth: u32, array: bool) -> Option<()> {
        let count = self.number()?;
        self.expect(b":{")?;
        for _ in 0..count {
            match self.byte()? {
                b'i' => self.scalar(|b| b.is_ascii_digit() || b == b'-')?,
                b's' if array => {
                    let (start, content) = self.quoted()?;
                    let new = (self.change)(content);
                    self.replace_counted(start, new, b"\"", b"\"");
                    self.expect(b";")?;
                }
                b's' => {
                    self.name()?;
                    self.expect(b";")?;
                }
                _ => return None,
            }
            self.value(depth + 1)?;
        }
        self.expect(b"}")
    }

    /// `C:11:"ArrayObject":21:{…}`: the payload is the class's own form; it is changed only where it is a serialised value.
    fn custom(&mut self, depth: u32) -> Option<()> {
        self.name()?;
        self.expect(b":")?;
        let start = self.at;
        let len = self.number()?;
        self.expect(b":{")?;
        let content = self.input.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        self.expect(b"}")?;
        if looks_serialized(content) {
            let new = self.changed(content, depth);
            self.replace_counted(start, new, b"{", b"}");
        } else if (self.change)(content).is_some() {
            self.malformed += 1;
        }
        Some(())
    }

    fn changed(&mut self, content: &[u8], depth: u32) -> Option<Vec<u8>> {
        if !looks_serialized(content) {
            return (self.change)(content);
        }
        let inner = rewrite_nested(content, self.change, depth + 1);
        self.malformed += inner.malformed;
        inner.bytes
    }

    /// Puts `LENGTH:"new"` in place of everything from `start` to the current position.
    fn replace_counted(&mut self, start: usize, new: Option<Vec<u8>>, open: &[u8], close: &[u8]) {
        let Some(new) = new else { return };
        self.out.extend_from_slice(&self.input[self.copied..start]);
        self.out.extend_from_slice(new.len().to_string().as_bytes());
        self.out.push(b':');
        self.out.extend_from_slice(open);
        self.out.extend_from_slice(&new);
        self.out.extend_from_slice(close);
        self.copied = self.at;
    }
}

#[cfg(test)]
#[path = "serialized_tests.rs"]
mod tests;
