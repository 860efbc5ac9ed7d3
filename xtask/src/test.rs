//! `cargo xtask test`: the check, then every test of the workspace against real servers that live as long as the run.

use crate::{check, interrupt, leftovers::Leftovers, rig::Rig, workspace};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// How many seeds the adversary suite plays in a night.
const NIGHTLY: [(&str, &str); 3] = [("MA_NIGHTLY", "1"), ("MA_SEEDS_MEMORY", "100000"), ("MA_SEEDS_REAL", "200")];

#[derive(Default, PartialEq, Debug)]
struct Count {
    passed: u64,
    failed: u64,
    ignored: u64,
}

pub fn run(args: &[String]) -> Result<()> {
    let (mut kills, mut checked, mut nightly, mut extra) = ("50".to_owned(), true, false, Vec::new());
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--kills" => kills.clone_from(rest.next().context("--kills needs a number")?),
            "--no-check" => checked = false,
            "--nightly" => nightly = true,
            "--" => extra.extend(rest.by_ref().cloned()),
            other => bail!("unknown argument '{other}'"),
        }
    }
    kills.parse::<u32>().context("--kills needs a number")?;
    if checked {
        check::run()?;
    }
    // Built before the servers start: they need not wait for the compiler.
    workspace::run(workspace::cargo().args(["test", "--workspace", "--no-run", "--quiet"]))?;
    let rig = Rig::start(crate::rig::all())?;
    // After the rig, whose servers are stopped by its own script.
    let leftovers = Leftovers::collect();
    let mut tests = workspace::cargo();
    tests.args(["test", "--workspace", "--no-fail-fast"]).args(&extra);
    tests.envs(rig.settings()).env("MA_KILLS", &kills);
    if nightly {
        tests.envs(NIGHTLY);
    }
    let mut child = tests.stdout(Stdio::piped()).spawn().context("start cargo test")?;
    interrupt::aim(&child);
    let count = follow(child.stdout.take().context("cargo test has no output")?)?;
    let status = interrupt::guard(&mut child)?;
    drop(leftovers);
    drop(rig);
    let verdict = if status.success() { "ok" } else { "FAILED" };
    println!("test result: {verdict}. {} passed; {} failed; {} ignored; all crates together", count.passed, count.failed, count.ignored);
    if !status.success() {
        bail!("tests failed");
    }
    Ok(())
}

/// Passes the output on and adds the closing lines up.
fn follow(output: impl std::io::Read) -> Result<Count> {
    let mut sum = Count::default();
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        add(&line, &mut sum);
    }
    Ok(sum)
}

fn add(line: &str, sum: &mut Count) {
    let Some(rest) = line.strip_prefix("test result: ") else { return };
    for part in rest.split([';', '.']) {
        match part.trim().split_once(' ') {
            Some((n, "passed")) => sum.passed += n.parse().unwrap_or(0),
            Some((n, "failed")) => sum.failed += n.parse().unwrap_or(0),
            Some((n, "ignored")) => sum.ignored += n.parse().unwrap_or(0),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_add_up() {
        let mut sum = Count::default();
        add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s", &mut sum);
        add("test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.23s", &mut sum);
        add("test tests::closing_lines_add_up ... ok", &mut sum);
        assert_eq!(sum, Count { passed: 5, failed: 4, ignored: 1 });
    }
}
