//! Which requests are recorded as traces, and how what they start keeps its place in them.

use crate::Control;
use engine::Trace;
use serde_json::{Value, json};

/// Which traces are recorded. The choice is made where a trace begins, and kept by whatever belongs to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Of the traces that begin here, from 0 to 1.
    pub share: f64,
    /// Whether a caller's own choice stands.
    pub by_parent: bool,
}

impl Sampling {
    /// Nothing that begins here is recorded; callers' choices are passed on.
    pub const OFF: Self = Self { share: 0.0, by_parent: true };

    /// Chosen by the trace's id, as others do it: whoever uses the same share makes the same choice.
    fn takes(self, id: u128) -> bool {
        (id as u64 >> 1) as f64 <= self.share * (1_u64 << 63) as f64 && self.share > 0.0
    }

    /// A place for a request, below that of its caller if it has one.
    pub fn place(self, caller: Option<Trace>) -> Trace {
        match caller {
            Some(caller) if self.by_parent => caller.child(),
            Some(caller) => caller.child().sampled(self.takes(caller.id())),
            None => Trace::root(|id| self.takes(id)),
        }
    }
}

impl Control {
    pub fn sampling(&self) -> Sampling {
        self.options().sampling
    }

    /// Options of a run with the place of the work that asks for it, or a new one.
    pub(crate) fn traced(&self, mut options: Value) -> Value {
        let trace = Trace::current().unwrap_or_else(|| self.sampling().place(None));
        options[engine::trace::OPTION] = json!(trace.to_string());
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_choice_stands_unless_the_share_alone_counts() {
        let caller = Trace::root(|_| true);
        let child = Sampling::OFF.place(Some(caller));
        assert_eq!((child.id(), child.is_sampled()), (caller.id(), true));
        assert!(!Sampling { by_parent: false, ..Sampling::OFF }.place(Some(caller)).is_sampled());
        assert!(Sampling { share: 1.0, by_parent: false }.place(Some(caller.sampled(false))).is_sampled());
        assert!(!Sampling::OFF.place(None).is_sampled());
    }

    #[test]
    fn a_share_of_the_traces_is_taken() {
        let taken = |share| (0..10_000).filter(|_| Sampling { share, by_parent: true }.place(None).is_sampled()).count();
        assert_eq!((taken(0.0), taken(1.0)), (0, 10_000));
        assert!((2_000..3_000).contains(&taken(0.25)));
    }
}
