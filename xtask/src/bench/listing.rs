//! Listing and planning one million small files: how long, and how much memory at the peak.

use super::{Bench, measure};
use anyhow::Result;
use serde_json::json;
use std::process::Command;

pub fn million(bench: &Bench) -> Result<()> {
    let root = bench.rig.dir().join("million");
    for d in 0..1000 {
        let dir = root.join(format!("d{d:03}"));
        std::fs::create_dir_all(&dir)?;
        for n in 0..1000 {
            std::fs::write(dir.join(format!("f{n:03}.txt")), b"x")?;
        }
    }
    let spec = json!({"name": "million", "source": {"type": "static", "paths": {"web_root": root}},
        "destination": {"type": "static", "paths": {"web_root": bench.rig.dir().join("million-to")}}});
    let file = bench.rig.dir().join("million.json");
    std::fs::write(&file, spec.to_string())?;
    let data = bench.rig.dir().join("million-data");
    let measured = measure::command(Command::new(&bench.binary).args(["migrate", "--dry-run", "--json", "--data-dir"]).arg(data).arg(&file))?;
    println!("listing and planning 1,000,000 files (no peer)");
    println!("  ours {:>34} {:>8.2} s {:>7} MiB", "", measured.seconds, measured.peak >> 20);
    std::fs::remove_dir_all(root)?;
    Ok(())
}
