//! The span of one try, in the trace of the run that it tells of.

use super::Channel;
use super::dispatch::Leaving;
use super::outgoing::{Outcome, Verdict};
use engine::Trace;
use tracing::field::Empty;
use tracing::{Span, error_span};

/// The try's own place and its span. No address: it may hold a secret.
pub(super) fn of(leaving: &Leaving) -> (Option<Trace>, Span) {
    let stored = &leaving.stored;
    let run = stored.trace.as_deref().and_then(Trace::parse);
    let own = run.map(Trace::child);
    let span = error_span!(
        "delivery",
        otel.name = %format_args!("deliver {}", stored.event),
        otel.kind = "client",
        traceparent = own.map(display),
        parent_id = run.map(|t| display(t.span_id())),
        run = %stored.session_id,
        tenant = %leaving.record.tenant,
        delivery = %leaving.record.id,
        webhook = stored.webhook_id.as_deref(),
        channel = ?stored.channel,
        method = (stored.channel != Channel::Email).then_some("POST"),
        status = Empty,
        outcome = Empty,
        error.type = Empty,
    );
    (own, span)
}

/// What came of the try, on the current span and in the log.
pub(super) fn ended(outcome: &Outcome) {
    let (span, attempt) = (Span::current(), &outcome.attempt);
    if let Some(status) = attempt.status_code {
        span.record("status", status);
    }
    if outcome.verdict == Verdict::Arrived {
        span.record("outcome", "arrived");
        tracing::debug!("delivered");
        return;
    }
    span.record("outcome", if matches!(outcome.verdict, Verdict::Again { .. }) { "again" } else { "given_up" });
    span.record("error.type", attempt.status_code.map_or_else(|| "undelivered".to_owned(), |status| status.to_string()));
    tracing::info!(reason = attempt.error.as_deref(), "not delivered");
}
