//! Sends finished spans to a collector, in batches, off the way of all other work.

use super::settings::Settings;
use super::spans::Spans;
use crate::failure::{Exit, Failure};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const NAME: &str = "migration-assistant";
/// Finished spans that may wait; more are dropped.
const QUEUE: usize = 2048;
const BATCH: usize = 512;
/// How long the last spans may take at the end of the process.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// The task that exports.
pub(super) struct Exporting {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Exporting {
    /// Sends what is left, for a moment at most.
    pub async fn close(self) {
        self.stop.cancel();
        if tokio::time::timeout(LAST_WORDS, self.task).await.is_err() {
            tracing::warn!("the last spans did not reach the collector in time");
        }
    }
}

/// Starts the task; gives the layer that feeds it.
pub(super) fn begin(settings: &Settings) -> Result<(Spans, Exporting), Failure> {
    let cannot = |why: String| Failure::new(Exit::Usage, "USAGE", format!("Traces cannot be exported: {why}"));
    let client = reqwest::Client::builder().build().map_err(|e| cannot(e.to_string()))?;
    let mut builder = SpanExporter::builder().with_http().with_http_client(client);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    let mut exporter = builder.build().map_err(|e| cannot(e.to_string()))?;
    exporter.set_resource(&resource());
    let (queue, spans) = mpsc::channel(QUEUE);
    let (stop, dropped) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
    let export = Export { exporter, dropped: dropped.clone(), failing: false };
    let task = tokio::spawn(export.run(spans, settings.delay, stop.clone()));
    let scope = InstrumentationScope::builder(NAME).with_version(env!("CARGO_PKG_VERSION")).build();
    Ok((Spans { queue, dropped, scope }, Exporting { task, stop }))
}

/// Who we are. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` come first.
fn resource() -> Resource {
    let named = |name: &str| std::env::var(name).is_ok_and(|v| !v.trim().is_empty());
    let builder = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    let by_attributes = std::env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|v| v.contains("service.name="));
    if named("OTEL_SERVICE_NAME") || by_attributes { builder.build() } else { builder.with_service_name(NAME).build() }
}

struct Export {
    exporter: SpanExporter,
    dropped: Arc<AtomicU64>,
    /// The last batch did not arrive: that is told once.
    failing: bool,
}

impl Export {
    async fn run(mut self, mut spans: Receiver<SpanData>, delay: Duration, stop: CancellationToken) {
        let mut batch = Vec::new();
        let mut tick = tokio::time::interval(delay.max(Duration::from_millis(10)));
        loop {
            let last = tokio::select! {
                came = spans.recv() => match came {
                    Some(span) => {
                        batch.push(span);
                        if batch.len() < BATCH {
                            continue;
                        }
                        false
                    }
                    None => true,
                },
                _ = tick.tick() => false,
                () = stop.cancelled(), if !spans.is_closed() => {
                    spans.close();
                    continue;
                }
            };
            if !batch.is_empty() {
                self.send(std::mem::take(&mut batch)).await;
            }
            if last {
                return;
            }
        }
    }

    /// A batch that does not arrive is lost: traces are worth less than the memory that keeping them would take.
    async fn send(&mut self, batch: Vec<SpanData>) {
        let spans = batch.len();
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(dropped, "spans were dropped: the collector is too slow");
        }
        match self.exporter.export(batch).await {
            Ok(()) => self.failing = false,
            Err(error) if self.failing => tracing::debug!(%error, spans, "spans did not reach the collector"),
            Err(error) => {
                self.failing = true;
                tracing::warn!(%error, spans, "spans did not reach the collector and are lost; told again when it has been well meanwhile");
            }
        }
    }
}
