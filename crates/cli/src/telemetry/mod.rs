//! What the process tells about itself while it works: its log on stderr, and traces for a collector.
//!
//! ```text
//! spans and events ──┬── lines  ──► stderr, as text or JSON; each line carries what the spans around it know
//!                    └── spans  ──► export ──► OTLP over HTTP (only when a collector is named)
//! ```
//! `RUST_LOG` chooses lines, `OTEL_*` chooses traces; neither changes the other.

mod export;
mod fields;
mod lines;
mod settings;
mod spans;

pub use settings::Tracing;

use crate::args::{Args, Command, LogFormat};
use crate::failure::Failure;
use control::operations::Sampling;
use export::Exporting;
use lines::Lines;
use settings::Settings;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, registry};

/// Keeps the exporter, if there is one, until the end of the process.
pub struct Telemetry {
    exporting: Option<Exporting>,
    sampling: Sampling,
}

/// Begins to log, and to export when the options or the environment name a collector. Once per process, inside its runtime.
pub fn begin(args: &Args) -> Result<Telemetry, Failure> {
    let settings = match &args.command {
        Command::Serve(serve) => Settings::read(&serve.tracing, |name| std::env::var(name).ok())?,
        _ => None,
    };
    let (spans, exporting) = settings.as_ref().map(export::begin).transpose()?.unzip();
    let lines = Lines::stderr(args.log_format == LogFormat::Json);
    registry().with(lines.with_filter(chosen(args))).with(spans.map(|s| s.with_filter(spans::Placed))).init();
    Ok(Telemetry { exporting, sampling: settings.map_or(Sampling::OFF, |s| s.sampling) })
}

impl Telemetry {
    pub fn sampling(&self) -> Sampling {
        self.sampling
    }

    /// Exports what is left.
    pub async fn close(self) {
        if let Some(exporting) = self.exporting {
            exporting.close().await;
        }
    }
}

/// `serve` tells what it does; the other commands only what is wrong, and nothing of the run that they show anyway.
fn chosen(args: &Args) -> EnvFilter {
    let default = if matches!(args.command, Command::Serve(_)) { "info" } else { "error,run=off" };
    EnvFilter::try_from_default_env().unwrap_or_else(|_| default.into())
}
