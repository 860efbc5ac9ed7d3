//! The service's numbers in Prometheus's text format (version 0.0.4).

use super::traffic::{BOUNDS, RouteMeter};
use crate::{Control, Error};
use ports::records::upkeep::{Census, STEP_BOUNDS};
use std::fmt::Write;
use std::time::{Duration, Instant};

/// The content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The store is counted at most this often.
const FRESH: Duration = Duration::from_secs(10);

impl Control {
    /// Every number, of all tenants. What is counted in the database is at most ten seconds old.
    pub async fn service_metrics(&self) -> Result<String, Error> {
        let census = self.census().await?;
        let mut out = Text::default();
        out.family("build_info", "gauge", "The version that runs");
        out.line("build_info", &[("version", self.version())], 1);
        counted(&mut out, &census);
        let routes = self.inner.operations.traffic.routes();
        requests(&mut out, &routes);
        out.0.push_str(&process(self.inner.process.usage().await.memory_bytes));
        Ok(out.0)
    }

    async fn census(&self) -> Result<Census, Error> {
        let mut last = self.inner.operations.census.lock().await;
        if let Some((at, census)) = &*last
            && at.elapsed() < FRESH
        {
            return Ok(census.clone());
        }
        let census = self.records().census().await?;
        *last = Some((Instant::now(), census.clone()));
        Ok(census)
    }
}

fn counted(out: &mut Text, census: &Census) {
    out.family("migrations", "gauge", "Migrations by state");
    for state in engine::RunState::ALL {
        let count = census.runs.iter().find(|(word, _)| word == state.word()).map_or(0, |(_, n)| *n);
        out.line("migrations", &[("state", state.word())], count);
    }
    out.family("moved_bytes", "gauge", "Bytes moved by all migrations that are stored");
    out.line("moved_bytes", &[], census.bytes_moved);
    out.family("waiting_records", "gauge", "What waits for its time, such as deliveries and schedules, by kind");
    for (kind, waiting, _) in &census.waiting {
        out.line("waiting_records", &[("kind", kind)], waiting);
    }
    out.family("due_records", "gauge", "What should be done now, by kind: a queue that does not become shorter is a trouble");
    for (kind, _, due) in &census.waiting {
        out.line("due_records", &[("kind", kind)], due);
    }
    out.family("untold_events", "gauge", "Events that webhooks and receivers of notifications were not told of yet");
    out.line("untold_events", &[], census.untold);
    out.family("set_aside", "gauge", "What some node could not read and passes over, by kind: see db check");
    for (kind, count) in &census.set_aside {
        out.line("set_aside", &[("kind", kind)], count);
    }
    out.family("lease_renewals_total", "counter", "Leases of migrations that this process has renewed");
    out.line("lease_renewals_total", &[], census.renewals);
    out.family("step_duration_seconds", "histogram", "How long the steps took that are done, by name");
    for step in &census.steps {
        let bounds = STEP_BOUNDS.iter().map(ToString::to_string);
        let classes = bounds.zip(step.within).collect::<Vec<_>>();
        out.histogram("step_duration_seconds", &[("step", &step.name)], &classes, step.count, step.microseconds);
    }
}

fn requests(out: &mut Text, routes: &[std::sync::Arc<RouteMeter>]) {
    out.family("http_requests_total", "counter", "Answered requests");
    for route in routes {
        for (status, count) in route.statuses() {
            out.line("http_requests_total", &[("method", &route.method), ("route", route.path), ("status", &status.to_string())], count);
        }
    }
    out.family("http_request_duration_seconds", "histogram", "From the request's head to the answer's head");
    for route in routes {
        let (within, all, micros) = route.durations();
        if all > 0 {
            let classes = BOUNDS.iter().map(|b| (*b as f64 / 1e6).to_string()).zip(within).collect::<Vec<_>>();
            out.histogram("http_request_duration_seconds", &[("method", &route.method), ("route", route.path)], &classes, all, micros);
        }
    }
}

/// The names that every Prometheus client uses for its process.
fn process(resident: Option<u64>) -> String {
    let mut out = String::new();
    let mut gauge = |name: &str, kind: &str, help: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
    };
    gauge("process_resident_memory_bytes", "gauge", "Resident memory", resident.map(|n| n.to_string()));
    gauge("process_cpu_seconds_total", "counter", "CPU time of user and system", crate::process::cpu().map(|n| n.to_string()));
    let open = std::fs::read_dir("/proc/self/fd").ok().map(|d| d.count().to_string());
    gauge("process_open_fds", "gauge", "Open files and sockets", open);
    out
}

/// The text so far. Names get the product's prefix.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing into a String cannot fail, here and below.
        let _ = writeln!(self.0, "# HELP migration_assistant_{name} {help}\n# TYPE migration_assistant_{name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> = labels.iter().map(|(n, v)| format!("{n}=\"{}\"", escaped(v))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "migration_assistant_{name}{labels} {value}");
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], classes: &[(String, u64)], count: u64, micros: u64) {
        let with = |bound: &str, out: &mut Self, n: u64| {
            let all: Vec<(&str, &str)> = labels.iter().copied().chain([("le", bound)]).collect();
            out.line(&format!("{name}_bucket"), &all, n);
        };
        for (bound, n) in classes {
            with(bound, self, *n);
        }
        with("+Inf", self, count);
        self.line(&format!("{name}_sum"), labels, micros as f64 / 1e6);
        self.line(&format!("{name}_count"), labels, count);
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let mut out = Text::default();
        out.family("x_seconds", "histogram", "An x");
        out.histogram("x_seconds", &[("a", "q\"\\\n")], &[("0.5".to_owned(), 1)], 2, 1_500_000);
        let wanted = "# HELP migration_assistant_x_seconds An x\n# TYPE migration_assistant_x_seconds histogram\n\
            migration_assistant_x_seconds_bucket{a=\"q\\\"\\\\\\n\",le=\"0.5\"} 1\n\
            migration_assistant_x_seconds_bucket{a=\"q\\\"\\\\\\n\",le=\"+Inf\"} 2\n\
            migration_assistant_x_seconds_sum{a=\"q\\\"\\\\\\n\"} 1.5\n\
            migration_assistant_x_seconds_count{a=\"q\\\"\\\\\\n\"} 2\n";
        assert_eq!(out.0, wanted);
    }
}
