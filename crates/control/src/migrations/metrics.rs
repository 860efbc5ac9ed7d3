//! Document 3's performance metrics of a migration.

use super::status;
use super::totals::{self, Totals};
use crate::{Control, Error};
use domain::units;
use engine::{EventFilter, Level, RunView};
use serde::Serialize;
use utoipa::ToSchema;

/// Answer of `GET /migrations/{id}/metrics`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Metrics {
    pub session_id: String,
    pub metrics: MetricsBody,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MetricsBody {
    pub overall: Overall,
    pub transfer: TransferMetrics,
    pub database: DatabaseMetrics,
    pub system: SystemMetrics,
    pub errors: ErrorCounts,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Overall {
    /// Seconds.
    #[schema(example = 1125.5)]
    pub duration: Option<f64>,
    #[schema(example = 65.5)]
    pub progress: f64,
    /// Seconds, from the bytes that are left to copy and to verify and the average rate; null while that cannot be told.
    #[schema(example = 735.2)]
    pub estimated_remaining: Option<f64>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TransferMetrics {
    #[schema(example = "2.3 MB/s")]
    pub rate_current: String,
    #[schema(example = "2.1 MB/s")]
    pub rate_average: String,
    #[schema(example = "4.7 MB/s")]
    pub rate_peak: String,
    /// Bytes per second.
    pub rate_current_bytes: f64,
    pub rate_average_bytes: f64,
    pub rate_peak_bytes: f64,
    #[schema(example = 13_019_963_392_u64)]
    pub bytes_transferred: u64,
    #[schema(example = 16_642_998_272_u64)]
    pub bytes_total: u64,
    #[schema(example = 12847)]
    pub files_transferred: u64,
    #[schema(example = 15847)]
    pub files_total: u64,
    /// Everything that was sent, parts that were sent again included.
    pub bytes_sent: u64,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DatabaseMetrics {
    /// Null until the tables are known.
    #[schema(example = 15)]
    pub tables_migrated: Option<u64>,
    #[schema(example = 15)]
    pub tables_total: Option<u64>,
    #[schema(example = 125_847)]
    pub rows_migrated: u64,
    #[schema(example = 125_847)]
    pub rows_total: u64,
    #[schema(example = "1.2 GB")]
    pub data_size: String,
    pub data_size_bytes: u64,
}

/// What the process that answers uses, measured.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SystemMetrics {
    /// Percent of one core.
    #[schema(example = 45.2)]
    pub cpu_usage: Option<f64>,
    #[schema(example = "2.1 GB")]
    pub memory_usage: Option<String>,
    /// The process's data directory.
    #[schema(example = "15.3 GB")]
    pub disk_usage: Option<String>,
    /// On all interfaces; null until it was measured twice.
    #[schema(example = "2.3 MB/s")]
    pub network_usage: Option<String>,
    pub memory_usage_bytes: Option<u64>,
    pub disk_usage_bytes: Option<u64>,
    /// Bytes per second.
    pub network_usage_bytes: Option<f64>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ErrorCounts {
    #[schema(example = 0)]
    pub total_errors: u64,
    #[schema(example = 3)]
    pub total_warnings: u64,
    #[schema(example = 5)]
    pub retry_count: u64,
}

impl Control {
    pub async fn metrics(&self, tenant: &str, id: &str) -> Result<Metrics, Error> {
        let view = self.view(tenant, id, "measure").await?;
        let total_errors = self.count_level(tenant, id, Level::Error).await?;
        let total_warnings = self.count_level(tenant, id, Level::Warning).await?;
        let totals = Totals::of(&view);
        let metrics = MetricsBody {
            overall: Overall { duration: status::duration(&view), progress: totals::progress(&view), estimated_remaining: remaining(&view, &totals) },
            transfer: transfer(&view, &totals),
            database: database(&view, &totals),
            system: self.system_metrics().await,
            errors: ErrorCounts { total_errors, total_warnings, retry_count: view.sample.as_ref().map_or(0, |s| s.retries) },
        };
        Ok(Metrics { session_id: id.to_owned(), metrics })
    }

    async fn count_level(&self, tenant: &str, id: &str, level: Level) -> Result<u64, Error> {
        let filter = EventFilter { level: Some(level), ..EventFilter::default() };
        self.engine().count_events(tenant, id, &filter).await.map_err(|e| Error::of_engine(e, id, "measure"))
    }

    async fn system_metrics(&self) -> SystemMetrics {
        let usage = self.inner.process.usage().await;
        SystemMetrics {
            cpu_usage: usage.cpu_percent.map(|p| (p * 10.0).round() / 10.0),
            memory_usage: usage.memory_bytes.map(units::size),
            disk_usage: usage.disk_bytes.map(units::size),
            network_usage: usage.network_rate.map(units::rate),
            memory_usage_bytes: usage.memory_bytes,
            disk_usage_bytes: usage.disk_bytes,
            network_usage_bytes: usage.network_rate,
        }
    }
}

pub(super) fn remaining(view: &RunView, totals: &Totals) -> Option<f64> {
    if view.ended_at.is_some() && !view.state.is_active() {
        return Some(0.0);
    }
    let rate = view.sample.as_ref().map(|s| s.rate_average).filter(|r| *r > 0.0 && totals.bytes() > 0)?;
    Some(totals::bytes_left(view) / rate)
}

fn transfer(view: &RunView, totals: &Totals) -> TransferMetrics {
    let current = status::current_rate(view);
    let (average, peak, sent) = view.sample.as_ref().map_or((0.0, 0.0, 0), |s| (s.rate_average, s.rate_peak, s.bytes));
    TransferMetrics {
        rate_current: units::rate(current),
        rate_average: units::rate(average),
        rate_peak: units::rate(peak),
        rate_current_bytes: current,
        rate_average_bytes: average,
        rate_peak_bytes: peak,
        bytes_transferred: totals.bytes_done(),
        bytes_total: totals.bytes(),
        files_transferred: totals.files_done,
        files_total: totals.files,
        bytes_sent: sent,
    }
}

fn database(view: &RunView, totals: &Totals) -> DatabaseMetrics {
    let number = |step: &str, field: &str| view.steps.iter().find(|s| s.name == step)?.output.as_ref()?.pointer(field)?.as_u64();
    DatabaseMetrics {
        tables_migrated: number("database", "/copied/tables"),
        tables_total: number("validate", "/database/tables"),
        rows_migrated: totals.rows_done,
        rows_total: totals.rows,
        data_size: units::size(totals.database_bytes),
        data_size_bytes: totals.database_bytes,
    }
}
