//! Progress for a person: a live bar on a terminal, plain lines elsewhere. Always on stderr.

use super::status::{Status, log_line};
use crate::output::Output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Time between two plain lines of the same step.
const PLAIN_EVERY: Duration = Duration::from_secs(2);

pub struct Screen<'a> {
    output: &'a Output,
    bar: Option<ProgressBar>,
    last: Option<(String, Instant)>,
}

impl<'a> Screen<'a> {
    pub fn new(output: &'a Output) -> Self {
        let bar = output.is_live().then(|| {
            let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr_with_hz(10));
            let style = ProgressStyle::with_template("{bar:16.cyan/blue} {prefix:>6} {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─"));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { output, bar, last: None }
    }

    /// Shows where the migration is now.
    pub fn show(&mut self, status: &Status) {
        if let Some(bar) = &self.bar {
            bar.set_position((status.percent() * 10.0) as u64);
            bar.set_prefix(percent(status));
            bar.set_message(message(status));
            return;
        }
        let now = Instant::now();
        let due = self.last.as_ref().is_none_or(|(step, at)| *step != title(status) || now.duration_since(*at) >= PLAIN_EVERY);
        if due || status.is_at_rest(true) {
            self.output.note(&format!("[{:>6}] {}: {}", percent(status), title(status), status.figures()));
            self.last = Some((title(status), now));
        }
    }

    /// Warnings and errors are worth a line of their own while it runs.
    pub fn event(&mut self, event: &Value) {
        if matches!(event["level"].as_str(), Some("WARNING" | "ERROR")) {
            self.line(&log_line(event));
        }
    }

    pub fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.output.note(text)),
            None => self.output.note(text),
        }
    }

    /// Takes the bar away; what follows is the result.
    pub fn close(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What must be seen comes first: a narrow terminal cuts the rest off.
fn message(status: &Status) -> String {
    match status.flow() {
        Some(flow) => format!("{flow} · {}", title(status)),
        None => format!("{} · {}", title(status), status.figures()),
    }
}

/// Taking back has no percentage of its own.
fn percent(status: &Status) -> String {
    if status.goes_back() { String::new() } else { format!("{:.1}%", status.percent()) }
}

fn title(status: &Status) -> String {
    match status.word() {
        "running" if !status.step().is_empty() => status.step().to_owned(),
        "rolling_back" => "Rolling back".to_owned(),
        word => word.replace('_', " "),
    }
}
