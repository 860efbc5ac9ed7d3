//! The spans of a run: one for each time that a worker drives it, and one for each step or undo below.
//!
//! They are of the highest level because they are the context of log lines of every level; what they cost does not count beside a run.

use crate::Trace;
use crate::journal::Claim;
use tracing::field::Empty;
use tracing::{Span, error_span};

/// A run that a worker begins to drive, below the place that its options name, with the run's own place.
pub(crate) fn run(claim: &Claim) -> (Trace, Span) {
    let (token, asked) = (&claim.token, Trace::of_options(&claim.options));
    let own = place(asked);
    let span = error_span!(
        "run",
        otel.name = %format_args!("run {}", claim.view.kind),
        traceparent = %own,
        parent_id = asked.map(|t| display(t.span_id())),
        run = %token.run,
        tenant = %token.tenant,
        epoch = token.epoch,
        outcome = Empty,
        error.type = Empty,
    );
    (own, span)
}

/// One step, forth (`step`) or back (`undo`), of the run that is driven.
pub(super) fn step(way: &str, name: &str) -> Span {
    let run = Trace::current();
    error_span!(
        "step",
        otel.name = %format_args!("{way} {name}"),
        traceparent = %place(run),
        parent_id = run.map(|t| display(t.span_id())),
        step = name,
        outcome = Empty,
        error.type = Empty,
    )
}

/// How the current span's work ended.
pub(super) fn ended(outcome: &str, error: Option<&str>) {
    let span = Span::current();
    span.record("outcome", outcome);
    if let Some(kind) = error {
        span.record("error.type", kind);
    }
}

/// A place below `parent`; without one, in a trace that nobody records.
fn place(parent: Option<Trace>) -> Trace {
    parent.map_or_else(|| Trace::root(|_| false), Trace::child)
}
