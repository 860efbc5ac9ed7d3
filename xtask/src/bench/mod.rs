//! `cargo xtask bench`: our release binary beside its peers, on the same data, alternating in one run.
//!
//! Ours is the whole command with its checks and verification; a peer's is its plain copy command (rclone and s5cmd compare
//! checksums of what they send; mariadb-dump and pg_dump verify nothing). Peak memory is the sum over the command's processes.

mod api;
mod databases;
mod files;
mod listing;
mod measure;
mod workload;

use crate::{rig::Rig, workspace};
use anyhow::{Context, Result, bail};
use measure::Measured;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

const MIB: u64 = 1 << 20;

/// Every case: name, the server families it needs, and what runs it.
type Case = (&'static str, &'static [&'static str], fn(&Bench) -> Result<()>);

const CASES: [Case; 10] = [
    ("s3-small", &["s3"], files::s3_small),
    ("s3-large", &["s3"], files::s3_large),
    ("sftp-small", &["ssh"], files::sftp_small),
    ("sftp-large", &["ssh"], files::sftp_large),
    ("mysql", &["mariadb", "mysql"], databases::mysql),
    ("postgres", &["postgres"], databases::postgres),
    ("listing", &[], listing::million),
    ("api", &[], api::compare),
    ("workload", &["servers"], workload::whole_tree),
    ("workload-cutover", &["servers"], workload::cutover),
];

/// What every case uses.
struct Bench {
    rig: Rig,
    runs: usize,
    dir: PathBuf,
}

/// One way of doing a case's work.
struct Contender<'a> {
    name: String,
    /// How many times as fast as it we want to be, where there is such an aim.
    aim: Option<f64>,
    /// Makes the command of one run, after clearing what the run before left.
    command: Box<dyn Fn() -> Result<Command> + 'a>,
}

pub fn run(args: &[String]) -> Result<()> {
    let (mut runs, mut build, mut named) = (3, true, Vec::new());
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--runs" => runs = rest.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0).context("--runs needs a number")?,
            "--no-build" => build = false,
            name if CASES.iter().any(|(n, ..)| *n == name) => named.push(name),
            other => bail!("unknown case '{other}'; there are: {}", CASES.map(|(n, ..)| n).join(", ")),
        }
    }
    let cases: Vec<&Case> = CASES.iter().filter(|(n, ..)| named.is_empty() || named.contains(n)).collect();
    if build {
        println!("Building the release binary …");
        workspace::run(workspace::cargo().args(["build", "--quiet", "--release", "--package", "migration-assistant"]))?;
    }
    let mut families: Vec<&'static str> = cases.iter().flat_map(|(_, f, _)| *f).copied().collect();
    families.sort_unstable();
    families.dedup();
    let rig = Rig::start(&families)?;
    let dir = rig.dir().join("bench");
    std::fs::create_dir_all(&dir)?;
    let bench = Bench { rig, runs, dir };
    for (name, _, case) in cases {
        println!("\n{name}: {runs} runs each, alternating");
        case(&bench).with_context(|| format!("case {name}"))?;
    }
    Ok(())
}

impl Bench {
    /// Runs the contenders in turns and prints their medians; the first one is us.
    fn compare(&self, contenders: &[Contender<'_>]) -> Result<()> {
        let mut found: Vec<Vec<Measured>> = contenders.iter().map(|_| Vec::new()).collect();
        for _ in 0..self.runs {
            for (contender, results) in contenders.iter().zip(&mut found) {
                let command = (contender.command)()?;
                results.push(measure::run(command).with_context(|| contender.name.clone())?);
            }
        }
        let medians: Vec<Measured> = found.iter().map(|runs| measure::median(runs)).collect();
        for (n, (contender, median)) in contenders.iter().zip(&medians).enumerate() {
            let ratio = median.seconds / medians[0].seconds;
            let aim = contender.aim.map(|aim| format!(" (aim {aim:.1}×{})", if ratio >= aim { "" } else { ", MISSED" })).unwrap_or_default();
            let verdict = if n == 0 { String::new() } else { format!("   we are {ratio:.2}× as fast{aim}") };
            println!("  {:<44} {:>8.2} s  {:>6} MiB{verdict}", contender.name, median.seconds, median.peak_bytes / MIB);
        }
        Ok(())
    }

    /// `migration-assistant migrate` on this configuration, embedded, with a journal of its own for each run.
    fn ours<'a>(&'a self, configuration: &'a Value, extra: &'static [&'static str], clear: impl Fn() -> Result<()> + 'a) -> Contender<'a> {
        let command = move || {
            clear()?;
            let data = self.dir.join("data");
            remove(&data)?;
            let file = self.dir.join("migration.json");
            std::fs::write(&file, configuration.to_string())?;
            let mut command = Command::new(workspace::target().join("release/migration-assistant"));
            command
                .arg("migrate")
                .arg(file)
                .arg("--data-dir")
                .arg(data)
                .args(extra)
                .env("BENCH_DB_PASSWORD", self.rig.setting("RIG_DB_PASS").unwrap_or_default());
            Ok(command)
        };
        Contender { name: "migration-assistant (verified)".to_owned(), aim: None, command: Box::new(command) }
    }

    /// A program that Python packages bring into the rig's environment.
    fn python_tool(package: &str, program: &str) -> Result<PathBuf> {
        let venv = crate::rig::venv();
        let path = venv.join("bin").join(program);
        if !path.exists() {
            if !venv.join("bin/pip").exists() {
                workspace::run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
            }
            workspace::run(Command::new(venv.join("bin/pip")).args(["-q", "install", package]))?;
        }
        Ok(path)
    }
}

/// The first line that a program says about its version.
fn version(command: &mut Command) -> Result<String> {
    let text = workspace::output(command)?;
    Ok(text.lines().next().unwrap_or_default().trim().chars().take(40).collect())
}

fn remove(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_context(|| format!("remove {}", dir.display())),
        _ => Ok(()),
    }
}
