//! Our spans in OpenTelemetry's words, on their way to the exporter.
//!
//! Ids are the product's own (see `engine::trace`): what is kept with a run, sent to a webhook and exported is one and the same.

use super::fields::Fields;
use control::Trace;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use tokio::sync::mpsc::Sender;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

/// Hands finished spans that are recorded to the exporter; what does not fit into its queue is counted and dropped.
pub(super) struct Spans {
    pub queue: Sender<SpanData>,
    pub dropped: Arc<AtomicU64>,
    pub scope: InstrumentationScope,
}

/// A span that is under way.
struct Open {
    trace: Trace,
    began: SystemTime,
    fields: Fields,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let trace = text(&fields, "traceparent").and_then(Trace::parse).filter(|t| t.is_sampled());
        if let Some(trace) = trace {
            span.extensions_mut().insert(Open { trace, began: SystemTime::now(), fields });
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            values.record(&mut open.fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let open = span.extensions_mut().remove::<Open>();
        if let Some(open) = open
            && self.queue.try_send(finished(span.name(), open, &self.scope)).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Only spans with a place in a trace, whatever the log shows.
pub(super) struct Placed;

impl<S> Filter<S> for Placed {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        metadata.is_span() && metadata.fields().field("traceparent").is_some()
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        let placed = metadata.is_span() && metadata.fields().field("traceparent").is_some();
        if placed { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::ERROR)
    }
}

fn finished(name: &'static str, open: Open, scope: &InstrumentationScope) -> SpanData {
    let Open { trace, began, fields } = open;
    let kind = match text(&fields, "otel.kind") {
        Some("server") => SpanKind::Server,
        Some("client") => SpanKind::Client,
        _ => SpanKind::Internal,
    };
    let parent = text(&fields, "parent_id").and_then(|id| SpanId::from_hex(id).ok());
    let status = text(&fields, "error.type").map_or(Status::Unset, |kind| Status::error(kind.to_owned()));
    SpanData {
        span_context: SpanContext::new(TraceId::from(trace.id()), SpanId::from(trace.span()), TraceFlags::SAMPLED, false, TraceState::NONE),
        parent_span_id: parent.unwrap_or(SpanId::INVALID),
        parent_span_is_remote: kind == SpanKind::Server && parent.is_some(),
        name: text(&fields, "otel.name").map_or(Cow::Borrowed(name), |named| Cow::Owned(named.to_owned())),
        span_kind: kind,
        start_time: began,
        end_time: SystemTime::now(),
        attributes: fields.0.into_iter().filter_map(attribute).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status,
        instrumentation_scope: scope.clone(),
    }
}

/// A field under the name that the semantic conventions give it, or under our own.
fn attribute((name, value): (&'static str, Value)) -> Option<KeyValue> {
    let key = match name {
        "traceparent" | "parent_id" | "otel.name" | "otel.kind" => return None,
        "method" => "http.request.method",
        "route" => "http.route",
        "path" => "url.path",
        "status" => "http.response.status_code",
        "user" => "user.id",
        "error.type" => "error.type",
        "run" => "migration_assistant.migration.id",
        "request_id" => "migration_assistant.request.id",
        "delivery" => "migration_assistant.delivery.id",
        "webhook" => "migration_assistant.webhook.id",
        other => return Some(KeyValue::new(format!("migration_assistant.{other}"), of(value))),
    };
    Some(KeyValue::new(key, of(value)))
}

fn of(value: Value) -> opentelemetry::Value {
    match value {
        Value::String(text) => text.into(),
        Value::Bool(flag) => flag.into(),
        Value::Number(number) => number.as_i64().map_or_else(|| number.as_f64().unwrap_or_default().into(), Into::into),
        other => other.to_string().into(),
    }
}

fn text<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.0.iter().find(|(n, _)| *n == name)?.1.as_str()
}
