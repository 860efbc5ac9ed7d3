//! Listing and planning a million small files: what it costs in memory.

use super::{Bench, MIB, files, measure};
use anyhow::{Result, ensure};
use serde_json::json;

const FILES: u64 = 1_000_000;
/// The aim.
const MOST: u64 = 256 * MIB;

pub fn million(bench: &Bench) -> Result<()> {
    let source = bench.dir.join("million");
    files::make(&source, FILES, 16)?;
    let configuration = json!({"name": "bench", "source": {"type": "static", "paths": {"web_root": source}},
        "destination": {"type": "server", "paths": {"web_root": bench.dir.join("nowhere")}}});
    let mut runs = Vec::new();
    for _ in 0..bench.runs {
        let ours = bench.ours(&configuration, &["--dry-run"], || Ok(()));
        runs.push(measure::run((ours.command)()?)?);
    }
    let median = measure::median(&runs);
    println!("  {:<44} {:>8.2} s  {:>6} MiB   (aim: at most {} MiB)", "migration-assistant, dry run", median.seconds, median.peak_bytes / MIB, MOST / MIB);
    super::remove(&source)?;
    ensure!(median.peak_bytes <= MOST, "the dry run of a million files needs more than {} MiB", MOST / MIB);
    Ok(())
}
