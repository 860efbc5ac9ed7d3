//! How long it will take, from what was measured: sizes by listing, speed by reading a sample.

/// Numbers beside `estimated_duration`.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Estimate {
    pub files: u64,
    pub bytes: u64,
    /// The listing was cut at its time limit: there is more than this.
    pub lower_bound: bool,
    pub tables: u64,
    /// By the engine's own statistics.
    pub rows: u64,
    pub database_bytes: u64,
    /// Bytes per second of one stream that read a sample of the source's files; `None` when no file was read.
    pub sample_rate: Option<f64>,
    /// Seconds that opening and finishing one small file took.
    pub seconds_per_file: Option<f64>,
    /// Transfers in flight that the estimate reckons with.
    pub parallel: u32,
    /// The whole run, in seconds.
    pub seconds_low: f64,
    pub seconds_high: f64,
}

/// Streams beyond this rarely make one source faster.
const USEFUL_STREAMS: u32 = 8;
/// Rows of a database travel at about this many bytes per second when nothing is known: one core's worth of parsing and writing.
const DATABASE_RATE: f64 = 20.0 * 1_048_576.0;
/// At best reading and writing overlap, and what was written is read once more to verify it.
const PASSES_LOW: f64 = 2.0;
/// At worst it is read, written and verified one after the other, and as much is saved before because it will be replaced.
const PASSES_HIGH: f64 = 4.0;

impl Estimate {
    /// Fills in the seconds from the measurements.
    #[must_use]
    pub fn reckon(mut self) -> Self {
        let streams = f64::from(self.parallel.clamp(1, USEFUL_STREAMS));
        let by_bytes = self.sample_rate.filter(|r| *r > 0.0).map_or(0.0, |rate| self.bytes as f64 / rate);
        let by_files = self.seconds_per_file.map_or(0.0, |each| self.files as f64 * each) / streams;
        let database = self.database_bytes as f64 / DATABASE_RATE;
        // One stream's rate is the slow end; all streams together the fast end.
        self.seconds_low = (by_bytes / streams + by_files + database) * PASSES_LOW + 1.0;
        self.seconds_high = (by_bytes / streams.sqrt() + by_files + database) * PASSES_HIGH + 5.0;
        self
    }

    /// Document 3's form: `"35-45 minutes"`; says when it is only a lower bound.
    pub fn words(&self) -> String {
        let span = span(self.seconds_low, self.seconds_high);
        if self.lower_bound { format!("at least {span} (the source is larger than what could be listed within the time limit)") } else { span }
    }
}

fn span(low: f64, high: f64) -> String {
    if high < 60.0 {
        return "less than a minute".to_owned();
    }
    let (step, unit) = if high < 5400.0 { (60.0, "minute") } else { (3600.0, "hour") };
    let (from, to) = ((low / step).floor().max(1.0) as u64, (high / step).ceil() as u64);
    if from == to { format!("{to} {unit}{}", if to == 1 { "" } else { "s" }) } else { format!("{from}-{to} {unit}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_like_the_document() {
        assert_eq!(span(2100.0, 2690.0), "35-45 minutes");
        assert_eq!(span(1.0, 20.0), "less than a minute");
        assert_eq!(span(10.0, 61.0), "1-2 minutes");
        assert_eq!(span(3700.0, 10_000.0), "1-3 hours");
    }

    #[test]
    fn slower_samples_give_longer_times() {
        let at =
            |rate| Estimate { files: 10, bytes: 10 << 30, sample_rate: Some(rate), seconds_per_file: Some(0.01), parallel: 4, ..Default::default() }.reckon();
        let (slow, fast) = (at(2e6), at(2e8));
        assert!(slow.seconds_low > fast.seconds_high && slow.seconds_low < slow.seconds_high);
    }
}
