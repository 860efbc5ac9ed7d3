//! `cargo xtask bench [CASE…] [--runs N]`: our release binary beside its peers, alternating, on the same data, in one run.
//!
//! Every line is a ratio of medians; ours verifies, the peers do what they do by default. Peak memory is the highest resident
//! set of all processes of a command together. A benchmark is no test: nothing here fails because of a figure.

mod databases;
mod files;
mod listing;
mod measure;
mod peers;

use crate::rig::Rig;
use crate::{interrupt, workspace};
use anyhow::{Context, Result, bail};
use measure::Measured;
use std::path::PathBuf;

/// What a case may use.
pub struct Bench {
    pub rig: Rig,
    pub binary: PathBuf,
    pub runs: usize,
}

type Run<'a> = dyn Fn(&Bench, usize) -> Result<Measured> + 'a;

/// One command that does the case's work once, from nothing. `n` tells the runs apart.
pub struct Contender<'a> {
    pub name: String,
    pub run: Box<Run<'a>>,
}

type Case = (&'static str, &'static [&'static str], fn(&Bench) -> Result<()>);

const CASES: [Case; 7] = [
    ("s3-small", &["s3"], files::s3_small),
    ("s3-large", &["s3"], files::s3_large),
    ("sftp-small", &["ssh"], files::sftp_small),
    ("sftp-large", &["ssh"], files::sftp_large),
    ("mysql", &["mariadb", "mysql"], databases::mysql),
    ("postgres", &["postgres"], databases::postgres),
    ("listing", &[], listing::million),
];

pub fn run(args: &[String]) -> Result<()> {
    let (mut runs, mut wanted) = (3, Vec::new());
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--runs" => runs = rest.next().context("--runs needs a number")?.parse().context("--runs needs a number")?,
            name => {
                wanted
                    .push(CASES.iter().find(|(n, ..)| *n == name).with_context(|| format!("no case '{name}'; there are: {}", CASES.map(|c| c.0).join(", ")))?);
            }
        }
    }
    if runs == 0 {
        bail!("--runs must be at least 1");
    }
    if wanted.is_empty() {
        wanted = CASES.iter().collect();
    }
    workspace::run(workspace::cargo().args(["build", "--release", "--quiet", "--package", "migration-assistant"]))?;
    let mut families: Vec<&'static str> = wanted.iter().flat_map(|(_, families, _)| families.iter().copied()).collect();
    families.sort_unstable();
    families.dedup();
    let bench = Bench { rig: Rig::start(&families)?, binary: workspace::target().join("release/migration-assistant"), runs };
    println!("{} runs each, alternating; medians; memory is the peak of all processes of the command", bench.runs);
    for (name, _, case) in wanted {
        if interrupt::asked() {
            bail!("interrupted");
        }
        case(&bench).with_context(|| format!("case {name}"))?;
    }
    Ok(())
}

/// Runs all contenders in turn, `runs` times, and prints ours beside each peer. The first contender is ours.
pub fn compare(bench: &Bench, case: &str, contenders: &[Contender<'_>]) -> Result<()> {
    let mut times: Vec<Vec<Measured>> = contenders.iter().map(|_| Vec::new()).collect();
    for n in 0..bench.runs {
        for (contender, measured) in contenders.iter().zip(&mut times) {
            if interrupt::asked() {
                bail!("interrupted");
            }
            measured.push((contender.run)(bench, n).with_context(|| contender.name.clone())?);
        }
    }
    let medians: Vec<Measured> = times.into_iter().map(measure::median).collect();
    let ours = &medians[0];
    println!("{case}");
    println!("  ours {:>34} {:>8.2} s {:>7} MiB", "", ours.seconds, ours.peak >> 20);
    for (contender, theirs) in contenders.iter().zip(&medians).skip(1) {
        println!("  {:<39} {:>8.2} s {:>7} MiB   ours is {:.2}x as fast", contender.name, theirs.seconds, theirs.peak >> 20, theirs.seconds / ours.seconds);
    }
    Ok(())
}
