//! Where a piece of work belongs among all that happens: a W3C trace context, kept with the run so that its steps join the trace of the
//! request that started it, whoever drives them and however much later.
//!
//! A place is opened as a `tracing` span with the fields `traceparent` (its own) and `parent_id`; whoever exports spans finds the ids there.

use rand::Rng;
use serde_json::Value;
use std::fmt;

/// The name under which a run's options hold its trace.
pub const OPTION: &str = "traceparent";

/// One place in one trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    id: u128,
    span: u64,
    sampled: bool,
}

tokio::task_local! {
    static CURRENT: Trace;
}

impl Trace {
    /// The beginning of a new trace; `sampled` decides by its id whether it is recorded.
    pub fn root(sampled: impl FnOnce(u128) -> bool) -> Self {
        let mut random = rand::rng();
        // Zero means "none"; it comes up about never.
        let id = random.random_range(1..=u128::MAX);
        Self { id, span: random.random_range(1..=u64::MAX), sampled: sampled(id) }
    }

    /// A place below this one.
    pub fn child(self) -> Self {
        Self { span: rand::rng().random_range(1..=u64::MAX), ..self }
    }

    pub fn sampled(self, sampled: bool) -> Self {
        Self { sampled, ..self }
    }

    pub fn is_sampled(self) -> bool {
        self.sampled
    }

    pub fn id(self) -> u128 {
        self.id
    }

    /// The place's own id in its trace.
    pub fn span(self) -> u64 {
        self.span
    }

    /// Sixteen hexadecimal digits, as another place names it as its parent.
    pub fn span_id(self) -> String {
        format!("{:016x}", self.span)
    }

    /// A `traceparent` header. `None` when it is none; later versions are read as the first one, as the standard asks.
    pub fn parse(text: &str) -> Option<Self> {
        let (head, rest) = text.split_at_checked(55)?;
        let mut parts = head.split('-');
        let (version, id, span, flags) = (hex(parts.next()?, 2)?, hex(parts.next()?, 32)?, hex(parts.next()?, 16)?, hex(parts.next()?, 2)?);
        let ends = parts.next().is_none() && (rest.is_empty() || (version > 0 && rest.starts_with('-')));
        let span = u64::try_from(span).ok()?;
        (ends && version < 255 && id > 0 && span > 0).then_some(Self { id, span, sampled: flags & 1 == 1 })
    }

    /// The trace that a run's options name.
    pub fn of_options(options: &Value) -> Option<Self> {
        Self::parse(options.get(OPTION)?.as_str()?)
    }

    /// The place of the work that asks: see [`Trace::around`].
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|trace| *trace).ok()
    }

    /// Does `work` as part of this place. Tasks that it starts do not inherit it.
    pub async fn around<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.id, self.span, u8::from(self.sampled))
    }
}

/// Exactly so many lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let plain = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    plain.then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_header_is_read_and_written_back() {
        let trace = Trace::parse(GOOD).unwrap();
        assert_eq!((trace.to_string().as_str(), trace.span_id().as_str(), trace.is_sampled()), (GOOD, "00f067aa0ba902b7", true));
        assert_eq!(Trace::of_options(&serde_json::json!({ OPTION: GOOD })), Some(trace));
        let child = trace.child();
        assert_eq!((child.id(), child.is_sampled()), (trace.id(), true));
        assert_ne!(child.span(), trace.span());
    }

    #[test]
    fn what_is_no_header_is_refused_and_what_comes_later_is_read() {
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-0f067aa0ba902b7-01",
        ] {
            assert_eq!(Trace::parse(bad), None, "{bad}");
        }
        for later in ["01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"] {
            assert_eq!(Trace::parse(later), Trace::parse(GOOD), "{later}");
        }
    }

    #[tokio::test]
    async fn the_current_place_is_that_of_the_work_around() {
        let trace = Trace::root(|_| true);
        assert_eq!(Trace::current(), None);
        assert_eq!(trace.around(async { Trace::current() }).await, Some(trace));
    }
}
