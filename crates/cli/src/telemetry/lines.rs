//! The log: one line for each event, with everything that the spans around it know.

use super::fields::Fields;
use control::Trace;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write as _;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Takes one line.
type Write = Box<dyn Fn(&[u8]) + Send + Sync>;

/// A layer that writes lines. What cannot be written is lost: there is nobody to tell.
pub(super) struct Lines {
    json: bool,
    write: Write,
}

/// What a span adds to its lines, in the words of the log.
#[derive(Default)]
struct Known(Fields);

impl Lines {
    pub fn stderr(json: bool) -> Self {
        Self { json, write: Box::new(|line| drop(std::io::stderr().lock().write_all(line))) }
    }

    fn line(&self, head: Head, fields: Vec<(&'static str, Value)>) -> String {
        let mut line = if self.json { head.json(fields) } else { head.text(fields) };
        line.push('\n');
        line
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut known = Known::default();
        attributes.record(&mut known.0);
        span.extensions_mut().insert(known);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(known) = span.extensions_mut().get_mut::<Known>() {
            values.record(&mut known.0);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = Fields::default();
        event.record(&mut own);
        let message = own.0.iter().position(|(name, _)| *name == "message").map(|at| own.0.remove(at).1);
        let mut fields = in_our_words(&own);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(known) = span.extensions().get::<Known>() {
                let new = in_our_words(&known.0).into_iter().filter(|(name, _)| fields.iter().all(|(have, _)| have != name)).collect::<Vec<_>>();
                fields.extend(new);
            }
        }
        let metadata = event.metadata();
        let message = message.as_ref().and_then(Value::as_str).unwrap_or_default();
        let head = Head { at: Timestamp::now(), level: metadata.level().as_str(), target: metadata.target(), message };
        (self.write)(self.line(head, fields).as_bytes());
    }
}

/// Names of the log: the engine knows runs, callers know migrations.
fn in_our_words(fields: &Fields) -> Vec<(&'static str, Value)> {
    let mut out = Vec::with_capacity(fields.0.len() + 1);
    for (name, value) in &fields.0 {
        match *name {
            "traceparent" => {
                if let Some(trace) = value.as_str().and_then(Trace::parse) {
                    out.extend([("trace_id", json!(format!("{:032x}", trace.id()))), ("span_id", json!(trace.span_id()))]);
                }
            }
            "parent_id" => {}
            internal if internal.starts_with("otel.") || internal.starts_with("log.") => {}
            "run" => out.push(("migration_id", value.clone())),
            "delivery" => out.push(("delivery_id", value.clone())),
            "webhook" => out.push(("webhook_id", value.clone())),
            other => out.push((other, value.clone())),
        }
    }
    out
}

/// What every line begins with.
struct Head<'a> {
    at: Timestamp,
    level: &'static str,
    target: &'a str,
    message: &'a str,
}

impl Head<'_> {
    fn json(&self, fields: Vec<(&'static str, Value)>) -> String {
        let mut line = format!(r#"{{"timestamp":"{:.6}","level":"{}","message":{},"target":{}"#, self.at, self.level, json!(self.message), json!(self.target));
        for (name, value) in &fields {
            let _infallible = write!(line, ",{}:{value}", json!(name));
        }
        line.push('}');
        line
    }

    fn text(&self, fields: Vec<(&'static str, Value)>) -> String {
        let mut line = format!("{:.6} {:>5} {}: {}", self.at, self.level, self.target, harmless(self.message));
        for (name, value) in &fields {
            let _infallible = match value.as_str() {
                Some(plain) if !plain.is_empty() && plain.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'=') => write!(line, " {name}={plain}"),
                _ => write!(line, " {name}={value}"),
            };
        }
        line
    }
}

/// Without line breaks and terminal codes, which could forge lines.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests;
