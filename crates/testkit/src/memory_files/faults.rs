//! Faults on demand, at named calls.

use ports::ErrorKind;

/// A call that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    List,
    Stat,
    Open,
    /// A piece of an open body.
    Read,
    Resolve,
    Put,
    Make,
    Remove,
    StoredDigest,
    Begin,
    PutPart,
    Complete,
    Abort,
    Settle,
}

#[derive(Debug, Clone)]
enum Effect {
    Fail(ErrorKind),
    /// The file gets this content (and a new version) under the reader's hands.
    Rewrite(Vec<u8>),
    /// The file is removed under the reader's hands.
    Vanish,
}

/// When what happens: on the calls `skip .. skip + times` of `op` that concern `path`.
#[derive(Debug, Clone)]
pub struct Rule {
    op: Op,
    path: Option<String>,
    skip: u64,
    times: u64,
    effect: Effect,
}

impl Rule {
    fn new(op: Op, effect: Effect) -> Self {
        Self { op, path: None, skip: 0, times: 1, effect }
    }

    /// The call answers with an error of this kind and does nothing.
    pub fn fail(op: Op, kind: ErrorKind) -> Self {
        Self::new(op, Effect::Fail(kind))
    }

    /// The file changes while its first piece is read.
    pub fn rewrite_while_read(path: &str, content: &[u8]) -> Self {
        Self::new(Op::Read, Effect::Rewrite(content.to_vec())).at(path)
    }

    /// The file is removed while its first piece is read.
    pub fn vanish_while_read(path: &str) -> Self {
        Self::new(Op::Read, Effect::Vanish).at(path)
    }

    #[must_use]
    pub fn at(mut self, path: &str) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// Spares the first `calls`.
    #[must_use]
    pub fn after(mut self, calls: u64) -> Self {
        self.skip = calls;
        self
    }

    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    #[must_use]
    pub fn always(self) -> Self {
        self.times(u64::MAX)
    }
}

/// What a call meets.
pub(super) enum Met {
    Nothing,
    Fail(ErrorKind),
    Rewrite(Vec<u8>),
    Vanish,
}

#[derive(Default)]
pub(super) struct Faults(Vec<Rule>);

impl Faults {
    pub(super) fn add(&mut self, rule: Rule) {
        self.0.push(rule);
    }

    /// Counts a call and says what happens to it.
    pub(super) fn meet(&mut self, op: Op, path: &[u8]) -> Met {
        let concerns = |r: &&mut Rule| r.op == op && r.path.as_ref().is_none_or(|p| p.as_bytes() == path);
        for rule in self.0.iter_mut().filter(concerns) {
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if rule.times > 0 {
                rule.times -= 1;
                return match &rule.effect {
                    Effect::Fail(kind) => Met::Fail(*kind),
                    Effect::Rewrite(content) => Met::Rewrite(content.clone()),
                    Effect::Vanish => Met::Vanish,
                };
            }
        }
        Met::Nothing
    }
}
