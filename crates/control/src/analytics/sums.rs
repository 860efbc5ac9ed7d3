//! Adding days up, and what follows from the sums.

use super::{AnalyticsSummary, TrendPoint, printed, rounded};
use domain::units;
use jiff::civil::Date;
use ports::records::analytics::DayTotals;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    pub runs: u64,
    pub completed: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub rolled_back: u64,
    pub bytes: u64,
    seconds: f64,
    bytes_ended: u64,
}

impl Sums {
    pub fn add(&mut self, day: &DayTotals) {
        self.runs += day.runs;
        self.completed += day.completed;
        self.failed += day.failed;
        self.cancelled += day.cancelled;
        self.rolled_back += day.rolled_back;
        self.bytes += day.bytes;
        self.bytes_ended += day.bytes_ended;
        self.seconds += day.microseconds as f64 / 1e6;
    }

    pub fn open(&self) -> u64 {
        self.runs - self.completed - self.failed - self.cancelled - self.rolled_back
    }

    fn ended(&self) -> u64 {
        self.completed + self.failed
    }

    pub fn success_rate(&self) -> Option<f64> {
        (self.ended() > 0).then(|| rounded(self.completed as f64 / self.ended() as f64 * 100.0))
    }

    /// Seconds.
    pub fn average_duration(&self) -> Option<f64> {
        (self.ended() > 0).then(|| self.seconds / self.ended() as f64)
    }

    /// Bytes per second.
    pub fn rate(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.bytes_ended as f64 / self.seconds)
    }

    pub fn summary(&self) -> AnalyticsSummary {
        AnalyticsSummary {
            total_migrations: self.runs,
            successful_migrations: self.completed,
            failed_migrations: self.failed,
            cancelled_migrations: self.cancelled,
            rolled_back_migrations: self.rolled_back,
            open_migrations: self.open(),
            success_rate: self.success_rate(),
            average_duration: printed(self.average_duration()),
            average_duration_seconds: self.average_duration(),
            total_data_transferred: units::size(self.bytes),
            total_data_transferred_bytes: self.bytes,
        }
    }

    pub fn point(&self, date: Date) -> TrendPoint {
        TrendPoint {
            date: date.to_string(),
            migrations: self.runs,
            success_rate: self.success_rate(),
            avg_duration: printed(self.average_duration()),
            avg_duration_seconds: self.average_duration(),
            avg_transfer_rate: self.rate().map(units::rate),
            avg_transfer_rate_bytes: self.rate(),
        }
    }
}
