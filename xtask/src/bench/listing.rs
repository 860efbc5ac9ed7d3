//! Listing and planning a million small files: what it costs in memory, and that all of them are seen.

use super::{Bench, MIB, files, measure};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

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
        let ours = bench.ours(&configuration, &["--dry-run", "--json"], || Ok(()));
        let (measured, said) = measure::run_and_read((ours.command)()?)?;
        let planned = planned(&said)?;
        ensure!(planned == FILES, "the dry run saw {planned} of {FILES} files");
        runs.push(measured);
    }
    let median = measure::median(&runs);
    println!("  {:<44} {:>8.2} s  {:>6} MiB   (aim: at most {} MiB)", "migration-assistant, dry run", median.seconds, median.peak_bytes / MIB, MOST / MIB);
    super::remove(&source)?;
    ensure!(median.peak_bytes <= MOST, "the dry run of a million files needs more than {} MiB", MOST / MIB);
    Ok(())
}

/// The number of files in a dry run's result.
fn planned(said: &str) -> Result<u64> {
    let result: Value = serde_json::from_str(said).context("the dry run's result is no JSON")?;
    result["dry_run"]["files"]["files"].as_u64().context("the dry run's result tells no number of files")
}
